# SPDX-License-Identifier: GPL-3.0-or-later
"""The load generator with slow and hostile peers beside its load, and its soak, against the real
relay: nothing of the load is lost, the peers and faults really come, a relay that dies is told."""
import json
import re
import subprocess

import pytest

from pages import page_of
from test_bench import BUILD, TOP, Relay, assert_clean, make_relay  # noqa: F401
from test_bench_modes import metric, play

PEERS = ["--slow", "8", "--hostile", "14"]


def rows(name):
    """(constant, name, the next column) of a table."""
    return re.findall(r'^[A-Z]+\((\w+), "([\w-]+)", (\w+),',
                      (TOP / "bench" / name).read_text(), re.M)


# ---- peers beside a load ----

def fits(name, transport):
    """The kinds that speak SIP over a connection of their own speak no TLS."""
    if name in ("sip-drip", "sip-deaf"):
        return transport == "tcp"
    return transport != "tls" or name in ("sip-junk", "sip-endless", "sip-late") or not (
        name.startswith("sip-") or name == "deaf")


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_peers_beside_a_load(make_relay, tmp_path, transport):  # noqa: F811
    relay = make_relay(transport=transport, load=PEERS)
    result = play(relay, "--drive", "duplex", "--rate", "300", "--seconds", "4")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    for phase in (report, report["beside"]):
        assert_clean(phase, "duplex", phase["xmpp-sip"]["sent"])
        assert phase["xmpp-sip"]["sent"] > 300
    peers = report["peers"]
    assert (peers["slow"], peers["hostile"]) == (8, 14)
    assert all(value > 0 for value in peers["ratio"].values())
    kinds = {kind["name"]: kind for kind in peers["kinds"]}
    assert set(kinds) == {name for _, name, _ in rows("rogue.def")}
    for name, kind in kinds.items():
        ends = [kind[end] for end in ("answered", "refused", "closed", "held", "left")]
        assert sum(ends) == kind["tried"]
        assert (kind["tried"] > 0) == fits(name, transport), name
        # No hostile one ever gets what it wants.
        assert kind["family"] == "slow" or kind["answered"] == 0, kind
    for name in ("junk", "junk-stanza", "oversize", "deep", "doctype", "spoof"):
        assert kinds[name]["refused"] + kinds[name]["left"] + kinds[name]["held"] == kinds[name][
            "tried"], kinds[name]
    assert sum(kind["refused"] for kind in kinds.values()) > 0
    (tmp_path / "beside.json").write_text(result.stdout)
    page = page_of(tmp_path / "beside.json")
    assert "Then with slow and hostile peers beside it" in page.text
    assert ["spoof", "hostile"] in [row[:2] for row in page.rows]
    if transport == "udp":
        # What the relay tells of its batches is what it did.
        assert metric(relay, "datagrams_sent_total") >= report["xmpp-sip"]["sent"]
        assert metric(relay, "datagrams_batched_total") <= metric(relay, "datagrams_sent_total")
    for name in ("enters", "submissions", "completions"):
        assert metric(relay, f"ring_{name}_total") > 0
    assert metric(relay, "ring_overflows_total") == 0


def test_peers_are_shown_in_words(make_relay):  # noqa: F811
    relay = make_relay(load=["--slow", "1", "--hostile", "1"])
    done = subprocess.run([*relay.load, "--count", "200"], capture_output=True, text=True,
                          timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "with 1 slow and 1 hostile peers beside it, to the load alone: rate " in done.stdout


# ---- the soak ----

def soak(relay, *words):
    return subprocess.run([*relay.load, "--pid", str(relay.process.pid), "--stats",
                           relay.folder / "stats.sock", "--json", "soak", *words],
                          capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_a_soak_explains_every_message(make_relay, tmp_path, transport):  # noqa: F811
    relay = make_relay(transport=transport, workers=2, egress=2, load=["--slow", "2",
                                                                       "--hostile", "2"])
    result = soak(relay, "--minutes", "0.1", "--every", "0.2", "--seed", "3")
    log = (relay.folder / "relay.log").read_text()[-4000:]
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr + log
    report = json.loads(result.stdout)
    told = report["soak"]
    assert told["clean"] and told["ended_by_relay"] == 0 and told["relay"]["lives"]
    happened = {fault["name"]: fault["happened"] for fault in told["faults"]}
    assert set(happened) == {name for _, name, _ in rows("fault.def")}
    assert sum(happened.values()) == len(told["log"])
    assert sum(count > 0 for count in happened.values()) >= 8, happened
    assert (happened["loss"] == 0) if transport != "udp" else (happened["sip-reset"] == 0)
    for direction in ("xmpp-sip", "sip-xmpp"):
        verdict, flow = told[direction], report[direction]
        assert flow["sent"] > 0 and verdict["delivered"] > 0
        assert not any(verdict["unexplained"].values())
        # Every message is in the verdict, some of them with two faults.
        excused = sum(sum(causes.values()) for causes in verdict["excused"].values())
        assert verdict["delivered"] + verdict["refused"] + excused >= flow["sent"]
        assert verdict["delivered"] + verdict["refused"] <= flow["sent"]
        assert told["balance"][direction]["in_flight"] == 0
        assert told["balance"][direction]["accepted"] > 0
    assert told["balance"]["reloads"] == happened["reload"]
    assert told["relay"]["descriptors"]["most"] >= told["relay"]["descriptors"]["end"] > 0
    (tmp_path / "soak.json").write_text(result.stdout)
    page = page_of(tmp_path / "soak.json")
    assert "everything is explained" in page.text
    assert [told["log"][0]["name"], told["log"][0]["target"]] in [row[:2] for row in page.rows]


def test_a_relay_that_dies_fails_the_soak(tmp_path):
    """And the soak ends, whatever it had in mind."""
    relay = Relay(tmp_path)
    with subprocess.Popen([*relay.load, "--pid", str(relay.process.pid), "--progress", "--json",
                           "soak", "--minutes", "5", "--every", "0.1"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as bench:
        while not re.search(r"\d\.\d s  [a-z]+-?[a-z]+\b", bench.stderr.readline()):
            assert bench.poll() is None
        relay.process.kill()
        out, err = bench.communicate(timeout=120)
    relay.stop()
    assert bench.returncode == 1
    assert "the relay has died" in err
    told = json.loads(out)["soak"]
    assert not told["clean"] and not told["relay"]["lives"]
    (tmp_path / "dead.json").write_text(out)
    assert "something is NOT explained" in page_of(tmp_path / "dead.json").text


def test_a_stats_socket_that_does_not_answer_is_told(make_relay):  # noqa: F811
    relay = make_relay()
    done = subprocess.run([*relay.load, "--stats", "/nowhere/stats.sock", "soak"], text=True,
                          capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "the stats socket /nowhere/stats.sock: No such file" in done.stderr


# ---- the command line ----

def test_help_lists_every_peer_and_fault():
    said = subprocess.run([BUILD / "passerelle-bench", "--help"], check=True,
                          capture_output=True, text=True).stdout
    for table, least in (("rogue.def", 20), ("fault.def", 12)):
        names = [name for _, name, _ in rows(table)]
        assert len(names) >= least
        for name in names:
            assert re.search(rf"^  {name} +[a-z1-9]", said, re.M), name


@pytest.mark.parametrize("words, said", [
    ("--slow 1001", "bad value for --slow: 1001"), ("--hostile x", "bad value for --hostile"),
    ("--minutes 0", "bad value for --minutes"), ("--every 0", "bad value for --every"),
    ("--slow 1 --ramp 5", "without --ramp"), ("--hostile 1 --fraction 0.5", "without --ramp"),
    ("--slow 1 --drive churn", "--slow, --hostile and --greedy are for"),
    ("--minutes 1", "--minutes, --every and --stats are for soak"),
    ("--every 1 --drive churn", "--minutes, --every and --stats are for soak"),
    ("--stats s", "--minutes, --every and --stats are for soak"),
    ("soak --sip-name sip.example", "leave --sip-name away"),
    ("soak soak", "unexpected argument: soak")])
def test_what_does_not_go_together_is_refused(words, said):
    done = subprocess.run([BUILD / "passerelle-bench", "--certificate", "c", "--key", "k", "--ca",
                           "a", *words.split()], capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.returncode == 1
    assert said in done.stderr
