# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules for partners against the real program: every cell of the negotiation matrix with every
kind of server, in both directions; what `--check`, a start, a reload and `show policy` tell."""
import contextlib
import json
import subprocess

import pytest

import peers
import relay as relays
from attack_kit import AttackedRelay
from attack_wire import Closed, message, numbers, sip
from policy_kit import CELLS, KINDS, Neighbour, domain_of, enter, gone, running, session_of

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
    assert "no tenant of this name" in scene.relay.control(f"show policy nobody {domain}")
    assert "this is no domain" in scene.relay.control("show policy a")


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
