# SPDX-License-Identifier: GPL-3.0-or-later
"""The load generator's modes beyond a plain load, against the real relay."""
import ctypes
import json
import re
import resource
import socket
import statistics
import subprocess
import threading

import pytest

from pages import page_of
from ports import take_port
from test_bench import BUILD, TOP, assert_clean, make_relay, relay  # noqa: F401


def metric(relay, name):
    """The value of one counter of the relay."""
    lines = dict(line.rsplit(" ", 1) for line in relay.ask("metrics").splitlines()
                 if line and not line.startswith("#"))
    return float(lines[f"passerelle_{name}"])


def play(relay, *words):
    """A run of the generator that may fail."""
    return subprocess.run([*relay.load, "--pid", str(relay.process.pid), "--timeout", "30",
                           "--json", *map(str, words)],
                          capture_output=True, text=True, timeout=300, check=False)


# ---- streams that come and go ----

def assert_streams(streams, count):
    assert streams["opened"] == streams["ready"] == streams["closed"] == count
    assert streams["refused"] == streams["broken"] == streams["unfinished"] == 0
    assert streams["relay_cpu_us"] > 0
    assert 0 < streams["p50_us"] <= streams["p99_us"]


def test_churn_loses_nothing(relay):  # noqa: F811
    report = relay.run_load("churn", 300, "--streams", "12", "--messages", "7")
    assert_clean(report, "xmpp-sip", 300 * 7)
    assert_streams(report["streams"], 300)
    assert metric(relay, "xmpp_messages_accepted_total") == 300 * 7
    assert metric(relay, "xmpp_messages_delivered_total") == 300 * 7


def test_churn_at_a_rate(make_relay):  # noqa: F811
    report = make_relay().run_load("churn", 100, "--rate", "200", "--seconds", "0.5")
    streams = report["streams"]
    assert_streams(streams, streams["opened"])
    assert 1 <= streams["opened"] <= 101
    assert_clean(report, "xmpp-sip", streams["opened"] * 10)


def test_handshakes_are_told_one_by_one(make_relay):  # noqa: F811
    relay = make_relay()
    report = relay.run_load("handshake", 200, "--streams", "8")
    assert_streams(report["streams"], 200)
    assert "xmpp-sip" not in report
    assert metric(relay, "xmpp_messages_accepted_total") == 0
    assert metric(relay, "xmpp_sessions_opened_total") == 200


def test_streams_that_the_relay_refuses_are_told(make_relay):  # noqa: F811
    """A domain that the certificate does not prove: the relay offers no EXTERNAL to it."""
    relay = make_relay()
    name = relay.folder / "dev/other.example"
    subprocess.run([TOP / "tools/dev-certificates", relay.folder / "dev", "other.example"],
                   check=True, capture_output=True)
    result = play(relay, "--drive", "handshake", "--count", "20", "--certificate", f"{name}.pem",
                  "--key", f"{name}.key")
    assert result.returncode == 1
    streams = json.loads(result.stdout)["streams"]
    assert streams["opened"] == streams["refused"] == 20
    assert "EXTERNAL" in streams["failure"]


# ---- the highest rate ----

def ramp(relay, *words):
    """(exit status, report) of a search."""
    result = play(relay, "--ramp", *words)
    return result.returncode, json.loads(result.stdout)["ramp"]


def replay(report, first):
    """The rates that a search must have tried, from what each of them told, and its result."""
    held = failed = 0
    rate, again = min(first, report["most"]), False
    for step in report["steps"]:
        assert step["rate"] == pytest.approx(rate, abs=0.06), step
        assert step["held"] == (step["limit"] == "none")
        faults = sum(step[key] for key in ("lost", "failed", "duplicated", "reordered"))
        assert step["held"] == (faults == 0 and step["p99_us"] <= report["bound_ms"] * 1000)
        if not step["held"] and not again:
            again = True
            continue
        again = False
        held, failed = (rate, failed) if step["held"] else (held, rate)
        if failed == 0:
            rate = min(2 * held, report["most"])
        else:
            rate = failed / 2 if held == 0 else (held + failed) / 2
    assert (held == report["most"] or (failed and (held == 0 and failed < 2
                                                   or failed <= 1.05 * held)))
    return held


@pytest.mark.parametrize("drive", ["xmpp-sip", "duplex"])
def test_a_ramp_ends_at_the_highest_rate_that_it_may_try(make_relay, drive):  # noqa: F811
    status, report = ramp(make_relay(), "20000", "--drive", drive, "--step", "0.2", "--rate",
                          "100", "--rate-max", "1000")
    assert status == 0
    assert [step["rate"] for step in report["steps"]] == [100, 200, 400, 800, 1000]
    assert report["rate"] == replay(report, 100) == 1000
    assert report["limit"] == "none"
    for step in report["steps"]:
        assert step["sent"] > 0 and step["held"]


def test_a_ramp_searches_below_what_fails(make_relay):  # noqa: F811
    """Nothing comes within a microsecond: down to the end, each rate twice."""
    status, report = ramp(make_relay(), "0.001", "--step", "0.02", "--rate", "100")
    assert status == 1
    assert len(report["steps"]) == 2 * 7 and not any(step["held"] for step in report["steps"])
    assert report["rate"] == replay(report, 100) == 0
    assert report["limit"] == "latency"


def test_a_ramp_finds_where_the_relay_ends(make_relay):  # noqa: F811
    """One recipient's messages go one by one and 64 of them wait, so a limit there is."""
    status, report = ramp(make_relay(), "50", "--step", "0.1", "--users", "1", "--streams", "1",
                          "--rate", "2000")
    assert report["rate"] == pytest.approx(replay(report, 2000), abs=0.06)
    assert status == (0 if report["rate"] else 1)
    assert report["limit"] != "none" and not all(step["held"] for step in report["steps"])


# ---- many ----

RELEASE = BUILD.name == "build"  # the sanitizers' builds are slow


def test_ten_thousand_sessions(make_relay):  # noqa: F811
    """As many as file descriptors allow, the relay's and ours; none is closed meanwhile."""
    sessions = min(10000 if RELEASE else 300,
                   resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 2 - 128)
    relay = make_relay(load=["--xmpp-domains", "20000", "--streams", str(sessions)])
    report = relay.run_load("idle", 1, "--settle", "0.5")
    assert report["sessions"] == sessions
    assert report["session_kib"] > 0 and report["open_s"] > 0
    assert metric(relay, "xmpp_sessions_opened_total") == sessions


def test_a_hundred_thousand_tenants(make_relay):  # noqa: F811
    tenants = 100000 if RELEASE else 5000
    relay = make_relay(load=["--sip-domains", str(tenants), "--xmpp-domains", "40", "--streams",
                             "40"])
    assert relay.config.read_text().count("- name: ") == tenants
    assert f"tenants={tenants} " in (relay.folder / "relay.log").read_text()
    assert_clean(relay.run_load("duplex", 2000), "duplex", 2000)


def test_too_few_descriptors_are_told_before_anything_is_opened(make_relay):  # noqa: F811
    def limit():
        ctypes.CDLL(None).prctl(24, 24, 0, 0, 0)  # PR_CAPBSET_DROP, CAP_SYS_RESOURCE
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
    relay = make_relay(load=["--xmpp-domains", "150", "--users", "150"])
    command = [*relay.load, "--count", "100"]
    for words, good in ((["--streams", "130"], True), (["--streams", "140"], False),
                        (["--streams", "60", "--drive", "sip-xmpp"], True),
                        (["--streams", "70", "--drive", "duplex"], False)):
        result = subprocess.run([*command, *words], capture_output=True, text=True, timeout=60,
                                preexec_fn=limit, check=False)
        assert (result.returncode == 0) == good, result.stderr
        assert good or "204 file descriptors, the hard limit is 200" in result.stderr


# ---- TLS ----

def key_kind(path):
    return subprocess.run(["openssl", "x509", "-noout", "-text", "-in", path], check=True,
                          capture_output=True, text=True).stdout


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_tls_versions_and_kinds_of_keys(tmp_path, make_relay, kind):  # noqa: F811
    """Certificates that are there and fit are kept, so these are what the relay gets."""
    words = ["--rsa"] if kind == "rsa" else []
    names = ["relay.bench,127.0.0.1", "partner.bench,*.bench,trunk.bench"]
    if kind == "rsa":
        # RSA after ECDSA: what is there but of the other kind is made anew.
        subprocess.run([TOP / "tools/dev-certificates", tmp_path / "rsa", *names], check=True,
                       capture_output=True)
    for _ in range(2):
        made = subprocess.run([TOP / "tools/dev-certificates", *words, tmp_path / "rsa", *names],
                              check=True, capture_output=True, text=True).stdout
    assert made.count("kept ") == 2
    for name in ("relay.bench", "partner.bench"):
        text = key_kind(tmp_path / "rsa" / f"{name}.pem")
        assert ("prime256v1" in text) == (kind == "ecdsa")
        assert ("rsaEncryption" in text and "(2048 bit)" in text) == (kind == "rsa")
    relay = make_relay(transport="tls", certificates=tmp_path / "rsa")
    for version, name in (("1.2", "TLSv1.2"), ("1.3", "TLSv1.3"), ("any", "TLSv1.3")):
        streams = relay.run_load("churn", 20, "--tls", version)["streams"]
        assert streams["tls"] == name
        if version == "1.2":
            assert f"-{kind.upper()}-" in streams["cipher"].replace("_", "-")
        assert_clean(relay.run_load("duplex", 300, "--tls", version), "duplex", 300)


# ---- whose messages, and how long ----

@pytest.mark.parametrize("spread, users, low, high", [
    ("even", 64, 1 / 64, 1 / 64), ("uniform", 64, 1 / 64, 2 / 64),
    # The first of 64 has 1 / (1 + 1/2 + … + 1/64) = 21 % with exponent 1, 61 % with 2.
    ("zipf", 64, 0.19, 0.23), ("zipf:2", 64, 0.58, 0.65)])
def test_users_are_drawn_as_asked(make_relay, spread, users, low, high):  # noqa: F811
    relay = make_relay(transport="tcp", load=["--spread", spread])
    reports = [relay.run_load("duplex", 6400, "--seed", seed) for seed in ("1", "1", "2")]
    for report in reports:
        assert_clean(report, "duplex", 6400)
        for direction in ("xmpp-sip", "sip-xmpp"):
            one = report["texts"][direction]
            assert low <= one["busiest"] <= high, one
            assert one["users"] == users or (spread == "zipf:2" and 30 < one["users"] < users)
    texts = [report["texts"]["xmpp-sip"] for report in reports]
    # One seed, one run: the draws do not depend on what else happens.
    assert texts[0] == texts[1]
    assert (texts[0] == texts[2]) == (spread == "even")


def test_sizes_are_drawn_as_asked_and_texts_arrive_unchanged(make_relay):  # noqa: F811
    """The mean is known from the counts of bytes; the SIP text is the size, a stanza has it."""
    relay = make_relay(transport="tcp")
    for size, mean in (("700", 700), ("400-1000", 700), ("200*9,6000-7000", 830)):
        for text in ("ascii", "utf8"):
            report = relay.run_load("duplex", 4000, "--size", size, "--text", text)
            assert_clean(report, "duplex", 4000)
            for direction, frame in (("xmpp-sip", 90), ("sip-xmpp", 0)):
                one = report["texts"][direction]
                assert one["bytes_sent"] == one["bytes_arrived"]
                assert one["damaged"] == 0
                # 4,000 draws: the mean of the widest mix is within 15 % for all practical seeds.
                assert one["bytes_sent"] / 4000 == pytest.approx(mean - frame, rel=0.15)


def garble(source, target):
    """Carries one direction; of each piece one letter of a text becomes another."""
    while data := source.recv(65536):
        target.sendall(data.replace(b"xxxx", b"xxyx", 1))
    target.close()


def test_a_text_that_changed_on_its_way_is_counted(make_relay):  # noqa: F811
    """Somebody between the relay and the SIP side changes a letter."""
    relay = make_relay(transport="tcp")
    port = take_port()

    def carry(listener):
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", port))
            for ends in ((near, far), (far, near)):
                threading.Thread(target=garble, args=ends, daemon=True).start()
    with socket.create_server(("127.0.0.1", relay.trunk)) as listener:
        threading.Thread(target=carry, args=(listener,), daemon=True).start()
        result = play(relay, "--count", "50", "--window", "1", "--listen-sip",
                      f"127.0.0.1:{port}")
        listener.shutdown(socket.SHUT_RDWR)
    report = json.loads(result.stdout)
    assert result.returncode == 1
    assert report["xmpp-sip"]["arrived"] == 50
    assert report["texts"]["xmpp-sip"]["damaged"] == 50


def test_what_is_too_long_for_datagrams_comes_back_and_is_counted(make_relay):  # noqa: F811
    relay = make_relay()
    result = play(relay, "--count", "100", "--size", "300,3000")
    report = json.loads(result.stdout)
    one, texts = report["xmpp-sip"], report["texts"]["xmpp-sip"]
    assert result.returncode == 1
    assert one["lost"] == 0 and 0 < one["failed"] < 100
    assert one["arrived"] + one["failed"] == 100
    assert 0 < texts["bytes_arrived"] < texts["bytes_sent"] and texts["damaged"] == 0


@pytest.mark.parametrize("words", [
    "--spread zipf:0", "--spread zipf:x", "--spread pareto", "--size 0", "--size 500-100",
    "--size 9000", "--size 100,", "--size 100*0", "--size -5", "--seed x", "--text latin1",
    "--tls 1.1", "--sip-domains 100001", "--streams 16385", "--ramp 0", "--messages 0"])
def test_wrong_values_are_refused(words):
    result = subprocess.run([BUILD / "passerelle-bench", *words.split()], capture_output=True,
                            text=True, timeout=60, check=False)
    assert result.returncode == 1
    option, value = words.split()
    assert f"bad value for {option}: {value}" in result.stderr


def test_help_and_manual_have_every_option():
    """What the program knows is in its help; what it is for is in the manual."""
    known = [line.split('"')[1] for line in (TOP / "bench/options.def").read_text().splitlines()
             if line.startswith("OPTION(")]
    assert len(known) > 40
    said = subprocess.run([BUILD / "passerelle-bench", "--help"], check=True,
                          capture_output=True, text=True).stdout
    for option in known:
        assert f"--{option}" in said, option
    manual = (TOP / "docs/man/passerelle-bench.1").read_text().replace("\\-", "-")
    for option in ("ramp", "step", "rate-max", "tls", "spread", "seed", "size", "text", "messages",
                   "slow", "hostile", "greedy", "half-open", "rounds",
                   "minutes", "every", "stats", "stream-management"):
        assert f"--{option}" in manual, option


# ---- a greedy tenant ----

@pytest.mark.parametrize("drive, transport, way", [
    ("xmpp-sip", "udp", "stream"), ("duplex", "tls", "stream"), ("xmpp-sip", "udp", "pairs"),
    ("xmpp-sip", "udp", "sip"), ("xmpp-sip", "tcp", "sip"), ("sip-xmpp", "tls", "sip")])
def test_a_greedy_tenant_beside_a_load(make_relay, tmp_path, drive, transport, way):  # noqa: F811
    """It gets what its quota allows, and an answer to everything else; within its quota nothing is
    refused to it. The load loses nothing."""
    relay = make_relay(load=["--greedy", "10"], transport=transport)
    result = play(relay, "--drive", drive, "--rate", "200", "--seconds", "2", "--warmup", "50",
                  "--greedy-by", way)
    assert result.returncode == 0, result.stdout + result.stderr
    report = json.loads(result.stdout)
    for phase in (report, report["beside_within"], report["beside_greedy"]):
        sent = phase["xmpp-sip" if drive == "duplex" else drive]["sent"]
        assert_clean(phase, drive, sent)
        assert sent > 200
    greedy = report["greedy"]
    within, over = greedy["within"], greedy["over"]
    assert greedy["clean"] and within["unanswered"] == over["unanswered"] == 0
    assert 1 <= within["delivered"] == within["sent"] <= 23
    assert over["due"] > 1000 and 1 <= over["delivered"] and 1 <= over["refused"]
    assert over["delivered"] + over["refused"] == over["sent"]
    assert over["refused"] == metric(relay, "quota_refused_total")
    if way == "stream":
        assert over["sent"] < over["due"] / 4  # the rest was never read
    assert all(value > 0 for ratio in greedy["ratio"].values() for value in ratio.values())
    (tmp_path / "greedy.json").write_text(result.stdout)
    page = page_of(tmp_path / "greedy.json")
    assert "Then beside a tenant within its quota" in page.text
    assert "Then beside a greedy tenant" in page.text and "hostile" not in page.text
    assert f"{over['delivered']} were delivered, {over['refused']} refused" in page.text


def test_a_greedy_tenant_in_words(make_relay):  # noqa: F811
    relay = make_relay(load=["--greedy", "10"])
    done = subprocess.run([*relay.load, "--count", "200", "--rounds", "3"], capture_output=True,
                          text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "beside a tenant that may have 10 messages a second and is sent 10," in done.stdout
    assert "beside the same tenant when it is sent 1000, to the load alone:" in done.stdout
    assert "the same, to the load beside it within its quota:" in done.stdout
    assert re.findall(r"^round (\d) ", done.stdout, re.M) == ["1", "2", "3"]


def test_rounds_of_a_greedy_tenant(make_relay):  # noqa: F811
    """The ratio is that of the medians."""
    result = play(make_relay(load=["--greedy", "20"]), "--rate", "300", "--seconds", "0.5",
                  "--rounds", "3")
    assert result.returncode == 0, result.stdout + result.stderr
    greedy = json.loads(result.stdout)["greedy"]
    rounds = {"alone": greedy["alone"], "within": greedy["within"]["rounds"],
              "over": greedy["over"]["rounds"]}
    assert [len(each) for each in rounds.values()] == [3, 3, 3]
    p99 = {key: statistics.median(one["p99_us"] for one in each) for key, each in rounds.items()}
    for one, other in (("within", "alone"), ("over", "alone"), ("over", "within")):
        assert greedy["ratio"][f"{one}_to_{other}"]["p99"] == pytest.approx(
            p99[one] / p99[other], rel=1e-3)


def test_a_greedy_tenant_is_played_alone(make_relay):  # noqa: F811
    result = play(make_relay(), "--greedy", "10", "--slow", "1")
    assert result.returncode != 0 and "--greedy is played alone" in result.stderr


# ---- connections that stop half-way ----

def test_half_open_connections_end_in_their_time(make_relay, tmp_path):  # noqa: F811
    """Each is held until its deadline and gone behind it; the load loses nothing meanwhile."""
    relay = make_relay(load=["--half-open", "100"])
    result = play(relay, "--rate", "200", "--seconds", "1", "--warmup", "50")
    assert result.returncode == 0, result.stdout + result.stderr
    report = json.loads(result.stdout)
    for phase in (report, report["beside_half_open"], report["beside_expiring"]):
        assert_clean(phase, "xmpp-sip", phase["xmpp-sip"]["sent"])
    half_open = report["half_open"]
    assert half_open["opened"] == half_open["gone"] == 100
    assert half_open["early"] == 0 and half_open["clean"]
    assert half_open["first_s"] >= half_open["timeout_s"] / 2
    assert [one["name"] for one in half_open["kinds"]] == ["silent", "header", "starttls", "hello",
                                                           "flight"]
    assert sum(one["kib"] for one in half_open["kinds"]) > 0
    assert metric(relay, "xmpp_sessions_opened_total") == 104
    (tmp_path / "half.json").write_text(result.stdout)
    page = page_of(tmp_path / "half.json")
    assert "Then beside half-open connections" in page.text
    assert "100 half-open connections" in page.text


def test_half_open_connections_at_a_slower_rate(make_relay):  # noqa: F811
    """Begun more slowly, they are waited for longer."""
    words = ["--half-open", "100", "--half-open-rate", "50"]
    relay = make_relay(load=words)
    assert "negotiation_timeout_ms: 11000" in relay.config.read_text()


def test_half_open_connections_need_a_length(make_relay):  # noqa: F811
    result = play(make_relay(), "--half-open", "10")
    assert result.returncode != 0 and "--half-open needs --seconds" in result.stderr
