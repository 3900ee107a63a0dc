# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator sees of a running relay: the stats socket through passerellectl, the log, the
metrics. Each test asks what somebody on duty would ask."""
import json
import re
import signal
import socket
import subprocess
import types
import uuid

import pytest
from prometheus_client.parser import text_string_to_metric_families

import peers
import relay as relays
from conftest import SIP_DOMAIN, XMPP_DOMAIN
from ports import take_port

TENANT = SIP_DOMAIN.split(".", maxsplit=1)[0]  # as the relay of conftest calls it
CONTROL = relays.BUILD / "passerellectl"
FIELD = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "]*)')


def control(relay, *words, status=0):
    """What passerellectl prints; its standard error when it must fail."""
    done = subprocess.run([CONTROL, "-s", relay.folder / "stats.sock", *words], text=True,
                          capture_output=True, timeout=30, check=False)
    assert done.returncode == status, (words, done.stdout, done.stderr)
    return done.stdout if status == 0 else done.stderr


def rows(relay, what):
    return json.loads(control(relay, "--json", "show", what))


def of_tenant(found):
    """The row of the tenant that most tests use."""
    return next((row for row in found if row["tenant"] == TENANT), None)


def events(relay, name):
    """The log lines of an event, each as a dict."""
    lines = [line for line in relay.output().splitlines() if f" event={name} " in line + " "]
    return [{key: value.strip('"') for key, value in FIELD.findall(line)} for line in lines]


def wait_for_event(relay, name, **fields):
    def check():
        return [event for event in events(relay, name)
                if all(event.get(key) == value for key, value in fields.items())]
    return peers.wait_for(f"event {name} {fields}", check)[-1]


@pytest.fixture
def lone(world, tmp_path):
    """lone({"global": {…}}): a relay of its own, without peers."""
    started = []

    def start(changes=None, **places):
        names = ("relay_s2s", "relay_direct", "relay_udp", "relay_tcp", "relay_tls", "kamailio")
        place = {name: take_port() for name in names}
        corner = types.SimpleNamespace(certificates=world.certificates, ca_file=world.ca_file,
                                       **{**place, **places})
        server = relays.Relay(tmp_path / f"relay-{len(started)}", corner, take_port(),
                              [SIP_DOMAIN], changes)
        server.corner = corner
        started.append(server)
        return server.start()
    yield start
    for server in started:
        server.stop()


def sip_request(port, method="OPTIONS", sender=f"alice@{SIP_DOMAIN}", source=peers.ADDRESS):
    """Sends one request over UDP and returns the first line of the answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as place:
        place.bind((source, 0))
        place.settimeout(peers.PATIENCE_S)
        lines = [f"{method} sip:romeo@{XMPP_DOMAIN} SIP/2.0",
                 f"Via: SIP/2.0/UDP {source}:{place.getsockname()[1]}"
                 f";branch=z9hG4bK{uuid.uuid4().hex};rport",
                 "Max-Forwards: 70", f"From: <sip:{sender}>;tag=a", f"To: <sip:x@{XMPP_DOMAIN}>",
                 f"Call-ID: {uuid.uuid4().hex}", f"CSeq: 1 {method}", "Content-Length: 0", "", ""]
        place.sendto("\r\n".join(lines).encode(), (peers.ADDRESS, port))
        return place.recv(65536).decode().splitlines()[0]


# ---- one message, followed ----

def test_a_message_to_sip_is_followed_by_its_trace(relay, prosody, xmpp_user, sip_user):
    alice, romeo = sip_user("alice"), xmpp_user(prosody, "romeo")
    stanza_id = romeo.send(f"alice@{SIP_DOMAIN}", "Follow me")
    alice.next_request()
    taken = wait_for_event(relay, "xmpp.message", id=stanza_id)
    assert re.fullmatch("[0-9a-f]{16}", taken["trace"])
    assert taken["thread"].startswith("worker-")
    assert (taken["from"], taken["to"]) == (f"{romeo.jid}/scenario", f"alice@{SIP_DOMAIN}")
    for name, thread in (("sip.request", "egress-"), ("sip.outcome", "egress-"),
                         ("xmpp.message_delivered", "worker-")):
        assert wait_for_event(relay, name, trace=taken["trace"])["thread"].startswith(thread)
    assert "Follow me" not in relay.output()


def test_a_message_to_xmpp_is_followed_by_its_trace(relay, prosody, xmpp_user, sip_user):
    alice, romeo = sip_user("alice"), xmpp_user(prosody, "romeo")
    response = alice.send(f"sip:{romeo.jid}", "Follow me back")
    taken = wait_for_event(relay, "sip.message", call_id=response.header("call-id"))
    assert taken["thread"].startswith("egress-")
    written = wait_for_event(relay, "xmpp.written", trace=taken["trace"])
    assert written["thread"].startswith("worker-")
    assert written["remote"] == XMPP_DOMAIN
    answered = wait_for_event(relay, "sip.message_answered", trace=taken["trace"])
    assert int(answered["status"]) == response.status


# ---- what went wrong ----

def test_errors_name_time_tenant_partner_and_reason(relay, prosody, xmpp_user):
    romeo = xmpp_user(prosody, "romeo")
    before = sum(row["count"] for row in rows(relay, "errors")
                 if row["event"] == "xmpp.message_failed")
    for _ in range(2):
        romeo.send(f"nobody@{SIP_DOMAIN}", "Anyone?")
        assert romeo.next_message()["type"] == "error"
    failed = [row for row in rows(relay, "errors") if row["event"] == "xmpp.message_failed"
              and row["partner"] == XMPP_DOMAIN and " 404 " in row["reason"]]
    assert len(failed) == 1, "repeats share a row"
    row = failed[0]
    assert sum(r["count"] for r in rows(relay, "errors")
               if r["event"] == "xmpp.message_failed") == before + 2
    assert row["tenant"] == TENANT
    assert row["reason"].startswith("The SIP side answered 404 ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row["time"])
    line = wait_for_event(relay, "xmpp.message_failed", trace=row["trace"])
    assert (line["tenant"], line["partner"], line["status"]) == (TENANT, XMPP_DOMAIN, "404")
    table = control(relay, "show", "errors").splitlines()
    assert table[0].split() == ["time", "count", "event", "tenant", "partner", "trace", "reason"]
    assert any(TENANT in line and row["trace"] in line for line in table[1:])


def test_an_unreachable_partner_is_explained(relay, world, sip_user):
    alice = sip_user("alice")
    alice.proxy = (peers.ADDRESS, world.relay_udp)
    alice.send("sip:nobody@nowhere.example", "Hello?")
    found = {row["event"]: row for row in rows(relay, "errors")
             if row["partner"] == "nowhere.example"}
    assert "DNS" in found["link.failed"]["reason"]
    assert "DNS" in found["sip.message_failed"]["reason"]
    assert found["link.failed"]["tenant"] == TENANT


def test_a_request_from_no_trunk_is_told_once_for_all(lone):
    relay = lone()
    for _ in range(3):
        answer = sip_request(relay.corner.relay_udp, "MESSAGE", source="127.0.0.99")
        assert answer.startswith("SIP/2.0 403 ")
    row, = [row for row in rows(relay, "errors") if row["event"] == "sip.stranger"]
    assert row["count"] == 3
    assert row["tenant"] == "scenario"
    assert "127.0.0.99" in row["reason"] and "UDP" in row["reason"]


def test_a_broken_trunk_is_told(lone, world):
    """Nothing listens at the trunk: OPTIONS find it down, and since when."""
    relay = lone({"sip": {"t1_ms": 10}, "tenants": [
        {"name": "acme", "domains": [SIP_DOMAIN], "trunks": [
            {"uri": f"sip:{peers.ADDRESS}:{take_port()};transport=tcp",
             "options_interval": 1}]}]})
    down = peers.wait_for("the trunk is down", lambda: [
        row for row in rows(relay, "trunks") if row["state"] == "down"])[0]
    assert down["tenant"] == "acme"
    assert down["failed"] >= 3
    assert down["answered_s"] is None
    assert down["since_s"] >= 0
    row, = [row for row in rows(relay, "errors") if row["event"] == "trunk.down"]
    assert row["partner"].endswith("transport=tcp")
    assert row["reason"].startswith("The trunk is down: ")
    metrics = parsed(control(relay, "metrics"))
    assert [sample.value for sample in metrics["passerelle_trunk_down"].samples] == [1]


# ---- what is there ----

def test_sessions_are_shown(relay, prosody, xmpp_user, sip_user):
    alice, romeo = sip_user("alice"), xmpp_user(prosody, "romeo")
    assert alice.send(f"sip:{romeo.jid}", "There").status in (200, 202)
    romeo.send(f"alice@{SIP_DOMAIN}", "and back")
    alice.next_request()
    there, back = f"{SIP_DOMAIN}>{XMPP_DOMAIN}", f"{XMPP_DOMAIN}>{SIP_DOMAIN}"
    found = {(row["direction"], row["pairs"]): row for row in rows(relay, "sess")}
    for key, count in ((("out", there), "stanzas_out"), (("in", back), "stanzas_in")):
        row = found[key]
        assert row["state"] == "open"
        assert row["auth"] == "external"
        assert row["tls"] in ("TLSv1.2", "TLSv1.3")
        assert "AES" in row["cipher"] or "CHACHA" in row["cipher"]
        assert row[count] >= 1
        assert row["age_s"] >= 0 and row["idle_s"] >= 0
        assert row["peer"].startswith(f"{peers.ADDRESS}:")


def test_trunks_and_tenants_are_shown(relay, world, prosody, xmpp_user, sip_user):
    alice, romeo = sip_user("alice"), xmpp_user(prosody, "romeo")
    tenant = of_tenant(rows(relay, "tenants"))
    romeo.send(f"alice@{SIP_DOMAIN}", "Up?")
    alice.next_request()
    assert alice.send(f"sip:{romeo.jid}", "Up.").status in (200, 202)
    trunk = peers.wait_for("an answer of the trunk", lambda: of_tenant([
        row for row in rows(relay, "trunks") if row["state"] == "up"]))
    assert trunk["trunk"] == f"sip:{peers.ADDRESS}:{world.kamailio};transport=udp"
    assert trunk["target"] == f"{peers.ADDRESS}:{world.kamailio}"
    assert trunk["answered_s"] is not None and trunk["queued"] == 0
    after = of_tenant(rows(relay, "tenants"))
    assert after["to_sip"] == tenant["to_sip"] + 1
    assert after["to_xmpp"] == tenant["to_xmpp"] + 1
    assert after["to_sip_failed"] == tenant["to_sip_failed"]
    info = rows(relay, "info")
    assert info["process"] == relay.process.pid
    assert info["log_level"] == "debug"
    assert info["sessions"] >= 1


def parsed(text):
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_metrics_are_prometheus_text(relay):
    text = control(relay, "metrics")
    families = parsed(text)
    names = re.findall(r'^STAT\(\w+, "(\w+)", (\w+), "(.*)"\)', (relays.ROOT / "core/stats.def")
                       .read_text(), re.M)
    assert len(names) > 30
    for name, kind, sentence in names:
        # The parser takes _total off, as the data model does for counters.
        family = families["passerelle_" + name.removesuffix("_total")]
        assert family.type == kind.lower()
        assert family.documentation == sentence
        assert len(family.samples) == 1
    assert families["passerelle_info"].samples[0].labels["version"] == rows(relay, "info")["version"]
    values = {sample.labels["tenant"]: sample.value
              for sample in families["passerelle_tenant_to_sip"].samples}
    assert values == {row["tenant"]: row["to_sip"] for row in rows(relay, "tenants")}
    assert families["passerelle_resident_memory_bytes"].samples[0].value > 1e6
    assert families["passerelle_xmpp_sessions"].type == "gauge"
    # Each family once and in one piece, each line in its form (Prometheus text format 0.0.4).
    heads = re.findall(r"^# TYPE (\S+) ", text, re.M)
    assert len(heads) == len(set(heads))
    for line in text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) passerelle_\w+ .+|'
                            r'passerelle_\w+(\{(\w+="(?:[^"\\]|\\.)*",?)+\})? [0-9.]+', line), line


# ---- passerellectl and the socket ----

def test_help_names_every_command_and_mistakes_are_told(relay):
    text = control(relay, "help")
    for word in ("info", "stat", "sess", "tenants", "trunks", "errors", "metrics", "log-level", "reload"):
        assert word in text
    assert "unknown command; try help" in control(relay, "reboot", status=1)
    assert "show what?" in control(relay, "show", "everything", status=1)
    assert "a log level is" in control(relay, "set", "log-level", "loud", status=1)


def test_metrics_have_no_json(relay):
    assert control(relay, "--json", "metrics").startswith("# HELP ")


def test_tables_are_aligned(relay):
    lines = control(relay, "show", "stat").splitlines()
    assert lines[0].split() == ["name", "value"]
    assert len({line.rindex(" ") for line in lines}) == 1


def test_without_a_relay_passerellectl_says_so(tmp_path):
    done = subprocess.run([CONTROL, "-s", tmp_path / "none.sock", "show", "info"], text=True,
                          capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("passerellectl: cannot reach the relay at ")


# ---- the log ----

def test_the_log_level_changes_at_run_time(lone):
    relay = lone({"global": {"log_level": "warn", "stats_socket": "stats.sock"}})
    sip_request(relay.corner.relay_udp, "MESSAGE", source="127.0.0.99")
    assert events(relay, "sip.rejected") == []
    assert control(relay, "set", "log-level", "debug") == "done\n"
    sip_request(relay.corner.relay_udp, "MESSAGE", source="127.0.0.99")
    assert wait_for_event(relay, "sip.rejected")["level"] == "debug"
    assert rows(relay, "info")["log_level"] == "debug"


def test_json_lines(lone):
    relay = lone({"global": {"log_format": "json", "stats_socket": "stats.sock",
                             "log_level": "debug"}})
    sip_request(relay.corner.relay_udp, "MESSAGE", source="127.0.0.99")
    lines = [json.loads(line) for line in relay.output().splitlines()]
    assert {line["event"] for line in lines} >= {"start.ready", "sip.stranger", "sip.rejected"}
    for line in lines:
        assert {"time", "level", "thread", "event"} <= set(line)
    stranger, = [line for line in lines if line["event"] == "sip.stranger"]
    assert stranger["status"] == 403


def test_without_a_journal_the_log_goes_to_standard_error(lone):
    relay = lone({"global": {"log_format": "journald", "stats_socket": "stats.sock"}})
    wait_for_event(relay, "start.ready")
    assert events(relay, "start.journal")[0]["level"] == "warn"


def test_repeats_are_limited_and_counted(lone):
    """A flood of one event writes what the limit allows, and tells how much it left out."""
    relay = lone({"global": {"log_level": "info", "stats_socket": "stats.sock"}})
    count = 3000
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as place:
        place.bind(("127.0.0.99", 0))
        place.settimeout(peers.PATIENCE_S)
        for number in range(count):
            place.sendto(f"OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.99;rport;branch="
                         f"z9hG4bK{number}\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:x>\r\nCall-ID: "
                         f"{number}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 7\r\n\r\n".encode(),
                         (peers.ADDRESS, relay.corner.relay_udp))
            place.recv(65536)
    row, = [row for row in rows(relay, "errors") if row["event"] == "sip.stranger"]
    assert row["count"] == count

    def all_are_told():
        sip_request(relay.corner.relay_udp, source="127.0.0.99")
        total, = [row["count"] for row in rows(relay, "errors") if row["event"] == "sip.stranger"]
        lines = events(relay, "sip.stranger")
        assert len(lines) < total
        return len(lines) + sum(int(line.get("suppressed", 0)) for line in lines) == total
    peers.wait_for("the lines tell of those left out", all_are_told)


# ---- start and stop ----

def test_a_second_relay_on_the_same_ports_is_refused(lone):
    first = lone()
    with pytest.raises(RuntimeError) as error:
        lone(relay_s2s=first.corner.relay_s2s)
    assert "cannot start" in str(error.value)
    assert f"{peers.ADDRESS}:{first.corner.relay_s2s}" in str(error.value)
    with pytest.raises(RuntimeError) as error:
        lone(relay_udp=first.corner.relay_udp)
    assert f"{peers.ADDRESS}:{first.corner.relay_udp}" in str(error.value)
    assert first.alive()


def test_signals(lone):
    """SIGTERM ends it within the drain time, status 0, and removes the socket; SIGHUP has it read
    its configuration."""
    relay = lone()
    relay.process.send_signal(signal.SIGHUP)
    wait_for_event(relay, "reload.done")
    assert rows(relay, "info")["process"] == relay.process.pid
    assert relay.stop() == 0
    assert not (relay.folder / "stats.sock").exists()
    assert events(relay, "stop.signal")[0]["signal"] == str(int(signal.SIGTERM))
