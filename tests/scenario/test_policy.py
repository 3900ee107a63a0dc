# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules for partners against the real program: every cell of the negotiation matrix with every
kind of server, in both directions; what `--check`, a start, a reload and `show policy` tell."""
import contextlib
import json
import subprocess
import threading

import pytest

import peers
import relay as relays
from attack_kit import AttackedRelay, Counting
from attack_wire import NS_SASL, SECOND, TENANT, Closed, condition, message, numbers, sip
from policy_kit import (CELLS, KINDS, Neighbour, claim, domain_of, enter, gone, running,
                        session_of)

EACH = [pytest.param(cell, kind, id=f"{cell[0]}-{cell[1]}-{cell[2]}-{kind}")
        for cell in CELLS for kind in KINDS]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    names = [f"{way}-{kind}" for kind in KINDS for way in ("in", "out")]
    with running(tmp_path_factory.mktemp("policy"), [*names, "show"]) as one:
        yield one


def as_it_is(session):
    """The kind of proof that `show sess` tells."""
    if session["tls"] == "-":
        return "clear"
    return session["auth"]


@pytest.mark.parametrize("cell, kind", EACH)
def test_the_relay_calls(scene, cell, kind):
    relay, domain, text = scene.relay, domain_of(cell, f"out-{kind}"), f"out {next(numbers)}"
    with contextlib.closing(Neighbour(relay, domain, kind)) as server:
        status = scene.trunk.ask(sip(uri=f"sip:juliet@{domain}", body=text))
        if kind in CELLS[cell]:
            assert status in (200, 202)
            while text not in server.stanzas.get(timeout=peers.PATIENCE_S):
                pass
            assert as_it_is(session_of(relay, domain, "out")) == kind
        else:
            assert status >= 400
            assert all(text not in one for one in list(server.stanzas.queue))
            assert "<db:" not in server.in_clear
    gone(relay, domain)


@pytest.mark.parametrize("cell, kind", EACH)
def test_the_relay_is_called(scene, cell, kind):
    relay, domain, text = scene.relay, domain_of(cell, f"in-{kind}"), f"in {next(numbers)}"
    with contextlib.ExitStack() as stack:
        # It is asked about keys in the way that the rules allow the relay to ask.
        authority = "dialback" if "dialback" in CELLS[cell] else "clear"
        stack.enter_context(contextlib.closing(Neighbour(relay, domain, authority)))
        if kind not in CELLS[cell]:
            with pytest.raises(Closed):
                enter(relay, domain, kind)
            return
        stream = stack.enter_context(enter(relay, domain, kind))
        assert as_it_is(session_of(relay, domain, "in")) == kind
        stream.send(message(text, sender=f"juliet@{domain}"))
        while text.encode() not in scene.trunk.requests.get(timeout=peers.PATIENCE_S):
            pass
    gone(relay, domain)


@pytest.mark.parametrize("cell", CELLS)
def test_show_policy(scene, cell):
    """What is in force, and where it stands: every second one at the tenant."""
    domain = domain_of(cell, "show")
    rows = {row["rule"]: row for row in json.loads(
        scene.relay.control(f"show policy a {domain} json"))}
    sasl, dialback, tls = cell
    assert [rows[key]["value"] for key in ("sasl", "dialback", "tls")] == [
        sasl, str(dialback).lower(), tls]
    place = "tenants[].partner_rules[]" if list(CELLS).index(cell) % 2 else "partners[]"
    assert {rows[key]["from"] for key in ("sasl", "dialback", "tls")} == {place}
    assert set(rows["proof"]["value"].split(", ")) == {KINDS[kind] for kind in CELLS[cell]}
    other = scene.relay.control(f"show policy b {domain}")
    if place != "partners[]":
        assert "tls\trequired\tdefault\n" in other
    assert scene.relay.control(f"show policy {TENANT.upper()} {domain} json") == \
        scene.relay.control(f"show policy a {domain} json")
    assert "no tenant of this name" in scene.relay.control(f"show policy nobody {domain}")
    assert "this is no domain" in scene.relay.control("show policy a")


NEAR = {"one": ("x.wild.example", True), "bare": ("wild.example", False),
        "two": ("y.x.wild.example", False), "glued": ("xwild.example", False),
        "additional": ("extra.example", True)}


@pytest.mark.parametrize("name", NEAR)
def test_wildcards_and_additional_domains(listed, name):
    """The list of a tenant and the address of a partner, by a wildcard for one label."""
    domain, is_good = NEAR[name]
    with contextlib.closing(Neighbour(listed.relay, domain, "external")) as server:
        status = listed.trunk.ask(sip(uri=f"sip:x@{domain}", body="listed"))
        assert (status in (200, 202)) == is_good
        assert server.stanzas.empty() != is_good
        if not is_good:
            assert status == 403
            with pytest.raises(Closed):
                enter(listed.relay, domain, "external")
        else:
            enter(listed.relay, domain, "external").close()
    gone(listed.relay, domain)


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    partners = [{"domain": "*.wild.example", "additional_domains": [
        "extra.example", "wild.example", "*.x.wild.example", "xwild.example"]},
        {"domain": "patient.example", "negotiation_timeout_ms": 60000, "idle_timeout_ms": 60000,
         "keepalive_interval_ms": 100},
        {"domain": "hasty.example", "negotiation_timeout_ms": 300, "idle_timeout_ms": 1000},
        {"domain": "few.example", "sessions_per_partner_max": 2},
        {"domain": "mute.example", "keepalive_demand_ms": 3000, "idle_timeout_ms": 60000}]
    with running(tmp_path_factory.mktemp("listed"), [], partners, {
            "policy": "list", "partners": ["*.wild.example", "extra.example", "good.example",
                                           "patient.example", "hasty.example", "few.example",
                                           "mute.example"]},
                 proves=("wild.example", "*.x.wild.example", "xwild.example",
                         "extra.example")) as one:
        yield one


def test_timeouts_of_a_partner(listed):
    """Each has its own: who is known to be slow may be, nobody else waits for him."""
    relay = listed.relay
    with relay.stream() as slow, relay.stream() as fast:
        slow.open(TENANT, "patient.example")
        fast.open(TENANT, "hasty.example")
        assert fast.error() == "connection-timeout"
        assert not slow.ended
    with enter(relay, "patient.example", "external") as slow, \
            enter(relay, "hasty.example", "external") as fast:
        assert "</stream:stream>" in fast.rest()
        slow.send(message("still here", sender="x@patient.example"))
        while b"still here" not in listed.trunk.requests.get(timeout=peers.PATIENCE_S):
            pass


def test_blanks_keep_a_stream_alive(listed):
    """A blank for each interval without anything else, and it does not count as a sign of life:
    the relay closes its own streams when they are idle."""
    relay = listed.relay
    with Counting(relay, "xmpp_keepalives_sent_total"), \
            enter(relay, "patient.example", "external") as stream:
        assert stream.until("   ").strip(" ") == ""
        assert relay.alive()
    rules = {row["rule"]: row["value"]
             for row in json.loads(relay.control("show policy a patient.example json"))}
    assert rules["keepalive_interval_ms"] == "100"


@contextlib.contextmanager
def blanks(stream):
    """It gets one all the time."""
    done = threading.Event()

    def send():
        while not done.wait(0.1):
            stream.send(" ")
    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        done.set()
        sender.join()


def test_a_partner_must_give_a_sign_of_life(listed):
    """Without one, be it a blank, his stream is closed; one who sends blanks stays, and who is asked
    for none may be silent. He is told the time, and the operator why."""
    relay = listed.relay
    with enter(relay, "patient.example", "external") as other, \
            enter(relay, "mute.example", "external") as alive, \
            Counting(relay, "xmpp_keepalives_missed_total"):
        with blanks(alive), relay.stream() as silent:
            assert "<idle-seconds>3</idle-seconds>" in silent.starttls(
                relay.every.client(), TENANT, "mute.example")
            silent.send(f"<auth xmlns='{NS_SASL}' mechanism='EXTERNAL'>=</auth>")
            silent.until("<success")
            silent.open(TENANT, "mute.example")
            assert silent.error() == "connection-timeout"
        for stream, sender in (alive, "x@mute.example"), (other, "x@patient.example"):
            text = f"still here {next(numbers)}"
            stream.send(message(text, sender=sender))
            while text.encode() not in listed.trunk.requests.get(timeout=peers.PATIENCE_S):
                pass
    row = next(one for one in json.loads(relay.control("show errors json"))
               if "keepalive_demand_ms" in one["reason"])
    assert row["partner"] == "mute.example"
    gone(relay, "mute.example")


def test_streams_of_a_partner_are_bounded(listed):
    """The third is told so; when one ends there is room again; others are not concerned."""
    relay = listed.relay
    with enter(relay, "few.example", "external"), \
            enter(relay, "few.example", "external") as second:
        with Counting(relay, "xmpp_sessions_refused_total"), relay.stream() as third:
            third.starttls(relay.every.client(), TENANT, "few.example")
            third.send(f"<auth xmlns='{NS_SASL}' mechanism='EXTERNAL'>=</auth>")
            assert condition(third.rest()) == "resource-constraint"
        enter(relay, "hasty.example", "external").close()
        second.close()
        peers.wait_for("there is room", lambda: len(
            [one for one in relay.sessions() if one["remote"] == "few.example"]) < 2)
        enter(relay, "few.example", "external").close()
    gone(relay, "few.example")


def check(relay):
    return subprocess.run([relays.PROGRAM, "--check", "-c", relay.file], capture_output=True,
                          text=True, timeout=60, check=False)


def test_what_is_read_is_judged(tmp_path):
    """A combination that leaves no way is refused by --check, at the start and by a reload; one in
    doubt is told by all of them."""
    relay = AttackedRelay(tmp_path)
    relay.settings["xmpp"].update(tls="not_supported", dialback=False)
    relay.write()
    done = check(relay)
    assert done.returncode == 2
    assert "xmpp.tls: SASL needs TLS: tls: not_supported and dialback: false leave no way" \
        in done.stderr
    started = subprocess.run(relay.command(), capture_output=True, text=True, timeout=60,
                             check=False)
    assert started.returncode == 2 and "xmpp.tls: SASL needs TLS" in started.stderr
    relay.settings["xmpp"].update(tls="optional", dialback=True)
    relay.write()
    done = check(relay)
    assert done.returncode == 0
    assert "xmpp.tls: streams may fail: SASL needs TLS, which is only optional" in done.stderr
    with relay:
        assert relay.logged("event=config.warning", "xmpp.tls: streams may fail")
        told = relay.control("reload")
        assert "done: " in told and "\nwarning: " in told and "xmpp.tls: streams may fail" in told
        relay.settings["xmpp"].update(tls="not_supported", dialback=False)
        relay.write()
        assert "xmpp.tls: SASL needs TLS" in relay.control("reload")
        assert relay.stop() == 0


def test_reload_takes_a_way_back(tmp_path):
    """A stream in clear ends when TLS is required from now on; one that proved more stays."""
    cell = ("optional", True, "optional")
    with running(tmp_path, ["clear", "external"]) as scene:
        relay = scene.relay
        domains = {kind: domain_of(cell, kind) for kind in ("clear", "external")}
        with contextlib.closing(Neighbour(relay, domains["clear"], "clear")), \
                enter(relay, domains["clear"], "clear") as clear, \
                enter(relay, domains["external"], "external") as external:
            for one in [*relay.settings["partners"],
                        *relay.settings["tenants"][0]["partner_rules"]]:
                if one["domain"] in domains.values():
                    one["tls"] = "required"
            relay.write()
            assert relay.control("reload").startswith("done: ")
            assert "</stream:stream>" in clear.rest()
            external.send(message("still here", sender=f"juliet@{domains['external']}"))
            while b"still here" not in scene.trunk.requests.get(timeout=peers.PATIENCE_S):
                pass
            with pytest.raises(Closed):
                enter(relay, domains["clear"], "clear")


def test_reload_judges_each_pair_of_a_stream(tmp_path):
    """A domain that dialback has proved, on a stream that a certificate has opened for another one,
    has no certificate: when it is to have one from now on, the stream ends."""
    with running(tmp_path, ["external"]) as scene:
        relay, domain = scene.relay, domain_of(("optional", True, "required"), "external")
        with contextlib.closing(Neighbour(relay, SECOND, "dialback")), \
                enter(relay, domain, "external") as stream:
            assert "type='valid'" in claim(stream, SECOND)
            stream.send(message("as yet", sender=f"juliet@{SECOND}"))
            while b"as yet" not in scene.trunk.requests.get(timeout=peers.PATIENCE_S):
                pass
            for one in relay.settings["partners"]:
                if one["domain"] == SECOND:
                    one["sasl"] = "required"
            relay.write()
            assert relay.control("reload").startswith("done: ")
            assert "</stream:stream>" in stream.rest()
