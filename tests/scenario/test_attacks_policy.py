# SPDX-License-Identifier: GPL-3.0-or-later
"""Attacks on the rules for partners: whoever can take something out of a stream, or claim another
name, must not get less than the rules want."""
import contextlib

import pytest

import peers
from attack_kit import Counting
from attack_wire import (NS_TLS, TENANT, Closed, Stream, condition, header, message, sip)
from policy_kit import CELLS, Neighbour, claim, domain_of, enter, gone, running

OPEN = ("optional", True, "optional")          # everything goes
TLS_ONLY = ("optional", True, "required")      # dialback, but under TLS
STRICT = ("required", True, "required")        # certificates only
CLEAR = ("not_supported", True, "not_supported")
NAMES = [f"l{number}" for number in range(10)]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    with running(tmp_path_factory.mktemp("attacks"), NAMES) as one:
        yield one
        one.check()


@pytest.mark.parametrize("cell", [cell for cell in CELLS if "clear" not in CELLS[cell]])
def test_starttls_is_taken_out(scene, cell):
    """R1: Somebody on the way takes STARTTLS out of the features, where TLS is required, or where
    nothing but a certificate counts: the relay sends nothing more in clear, the sender gets an
    error."""
    domain = domain_of(cell, "l1")
    with contextlib.closing(Neighbour(scene.relay, domain, "clear")) as server:
        assert scene.trunk.ask(sip(uri=f"sip:x@{domain}", body="secret")) >= 400
        assert server.stanzas.empty()
    gone(scene.relay, domain)


@pytest.mark.parametrize("way", ["in", "out"])
def test_dialback_where_a_certificate_is_required(scene, way):
    """R2: Dialback instead of a certificate, from a claimant or by the server that is called,
    where SASL is required: nobody is asked, nothing is sent."""
    domain = domain_of(STRICT, "l2" if way == "in" else "l3")
    with contextlib.closing(Neighbour(scene.relay, domain, "dialback")) as server:
        if way == "in":
            with pytest.raises(Closed):
                enter(scene.relay, domain, "dialback")
        else:
            assert scene.trunk.ask(sip(uri=f"sip:x@{domain}", body="secret")) >= 400
        assert server.stanzas.empty()
    gone(scene.relay, domain)


def test_another_name_on_a_stream_in_clear(scene):
    """R3: A stream in clear of a partner that may: its claim for one that needs TLS, or a
    question about a key for that one, gets a dialback error; the stream goes on."""
    relay, weak, strong = scene.relay, domain_of(OPEN, "l4"), domain_of(TLS_ONLY, "l4")
    with contextlib.closing(Neighbour(relay, weak, "clear")), \
            enter(relay, weak, "clear") as stream:
        assert "policy-violation" in claim(stream, strong)
        stream.send(f"<db:verify from='{strong}' to='{TENANT}' id='s'>k</db:verify>")
        assert "policy-violation" in stream.until("</db:verify>")
        with Counting(relay, "policy_refused_total"):
            stream.send(message("spoof", sender=f"x@{strong}"))
            assert condition(stream.rest()) == "invalid-from"
    gone(relay, weak)
    gone(relay, strong)


def test_tls_behind_a_claim_in_clear(scene):
    """R4: STARTTLS behind a claim that was made in clear: failure and the end; nothing said in
    clear counts under TLS."""
    relay, domain = scene.relay, domain_of(OPEN, "l5")
    with contextlib.closing(Neighbour(relay, domain, "clear")), \
            enter(relay, domain, "clear") as stream:
        stream.send(f"<starttls xmlns='{NS_TLS}'/>")
        assert "<failure" in stream.rest()
    gone(relay, domain)


def test_stanza_in_clear_before_the_verdict(scene):
    """R5: A stanza in clear before anything is proved, where clear is allowed: not-authorized."""
    relay, domain = scene.relay, domain_of(OPEN, "l6")
    with relay.stream() as stream:
        stream.open(TENANT, domain)
        stream.send(message("early", sender=f"x@{domain}"))
        assert stream.error() == "not-authorized"
    gone(relay, domain)


def test_tls_where_it_is_not_used(scene):
    """R6: STARTTLS, and direct TLS with a good certificate, by a partner with which TLS is not
    used: failure; policy-violation."""
    relay, domain = scene.relay, domain_of(CLEAR, "l7")
    with relay.stream() as stream:
        assert "starttls" not in stream.open(TENANT, domain)
        stream.send(f"<starttls xmlns='{NS_TLS}'/>")
        assert "<failure" in stream.rest()
    with Stream(relay.direct) as stream:
        stream.wrap(relay.every.client(), TENANT)
        stream.send(header(TENANT, domain))
        assert condition(stream.rest()) == "policy-violation"
    gone(relay, domain)


def test_name_that_is_not_said_in_clear(scene):
    """R7: A header in clear without `from` gets what the tenant allows to everybody, not what it
    allows to one: TLS is required, a claim for the one who may ends the stream."""
    relay, domain = scene.relay, domain_of(OPEN, "l8")
    with relay.stream() as stream:
        stream.send(header(TENANT, None))
        assert "<required/>" in stream.until("</stream:features>")
        stream.send(f"<db:result from='{domain}' to='{TENANT}'>x</db:result>")
        assert stream.error() == "policy-violation"


def test_names_around_a_wildcard(tmp_path):
    """R9: Names that nearly fall under a wildcard of the tenant's list: the bare domain, a deeper
    one, one that only ends alike, the wildcard itself as a name: refused, whatever they prove."""
    near = ("wild.example", "y.x.wild.example", "xwild.example")
    with running(tmp_path, [], [{"domain": "*.wild.example"}],
                 {"policy": "list", "partners": ["good.example", "*.wild.example"]},
                 proves=(*near, "*.x.wild.example")) as one:
        for name in near:
            with one.relay.stream() as stream:
                stream.open(TENANT, name)
                stream.send(f"<starttls xmlns='{NS_TLS}'/>")
                stream.until("<proceed", "/>")
                stream.until("/>")
                stream.wrap(one.relay.every.client(), TENANT)
                stream.send(header(TENANT, name))
                assert condition(stream.rest()) == "policy-violation", name
        with one.relay.stream() as stream:
            stream.send(header(TENANT, "*.wild.example"))
            assert condition(stream.rest()) == "improper-addressing"
        enter(one.relay, "x.wild.example", "external").close()
        one.check()


USERS = {"deny": {"deny": [f"mallory@{TENANT}"]},
         "allow": {"default": "deny", "allow": [f"bob@{TENANT}"]}}


@pytest.mark.parametrize("name", USERS)
def test_who_may_is_nobodys_business(tmp_path, name):
    """R10: A stranger tries names of a tenant to learn who is barred: a user who may not talk with
    XMPP gets him the very answer of one who does not exist. He himself is told by his own side."""
    with running(tmp_path, [], [], {"users": USERS[name]}) as scene:
        relay, answers = scene.relay, {}
        scene.trunk.status = "404 Not Found"
        for user in ("mallory", "nobody"):
            scene.line.send(message("anybody?", to=f"{user}@{TENANT}", stanza_id=f"to-{user}"))
            error = ""
            while f"to-{user}" not in error:
                error = scene.partner.stanzas.get(timeout=peers.PATIENCE_S)
            answers[user] = error.replace(user, "USER")
        scene.trunk.status = "200 OK"
        assert answers["mallory"] == answers["nobody"]
        assert "<item-not-found " in answers["mallory"] and "type='error'" in answers["mallory"]
        assert relay.count("users_refused_total") == (1 if name == "deny" else 2)
        assert relay.logged("event=xmpp.message_failed", "tenants[].users does not let this user")
        assert all(b"mallory" not in one for one in list(scene.trunk.requests.queue))
        assert scene.trunk.ask(sip(sender=f"sip:mallory@{TENANT}", body="let me out")) == 403
        assert relay.logged("event=sip.forbidden", "forbids you XMPP")
        scene.check()


def test_weak_name_first_strong_name_later(scene):
    """R8: The header in clear names a partner that may, the one under TLS another:
    not-authorized."""
    relay, weak, strong = scene.relay, domain_of(OPEN, "l9"), domain_of(STRICT, "l9")
    with relay.stream() as stream:
        stream.open(TENANT, weak)
        stream.send(f"<starttls xmlns='{NS_TLS}'/>")
        stream.until("<proceed", "/>")
        stream.until("/>")
        stream.wrap(relay.every.client(), TENANT)
        stream.send(header(TENANT, strong))
        assert condition(stream.rest()) == "not-authorized"
    peers.wait_for("it is gone", lambda: not any(
        one["remote"] in (weak, strong) for one in relay.sessions()))
