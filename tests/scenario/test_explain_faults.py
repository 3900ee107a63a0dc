# SPDX-License-Identifier: GPL-3.0-or-later
"""`explain` against servers that fail in each step of a stream."""
import contextlib
import datetime
import json
import re
import socket

import pytest

import peers
from attack_certificates import CLIENT, DAY, dns
from attack_kit import (HOSTILE, NS_SASL, NS_TLS, SECOND, STRICT, TENANT, AttackedRelay, Server)

DOMAIN = SECOND
MECHANISMS = f"<mechanisms xmlns='{NS_SASL}'><mechanism>EXTERNAL</mechanism></mechanisms>"
WITHOUT_TLS, PERHAPS_TLS = HOSTILE[:2]
DIALBACK = "<dialback xmlns='urn:xmpp:features:dialback'/>"


@pytest.fixture(scope="module")
def relay(tmp_path_factory):
    changes = {"xmpp": {"connect_timeout_ms": 1000, "negotiation_timeout_ms": 1000}}
    one = AttackedRelay(tmp_path_factory.mktemp("explain"), changes)
    tenant, *_ = one.settings["tenants"]
    tenant["users"] = {"default": "deny", "allow": [f"alice@{TENANT}", f"bob@{TENANT}"]}
    tenant["partner_rules"] = [{"domain": WITHOUT_TLS, "tls": "not_supported"},
                               {"domain": PERHAPS_TLS, "tls": "optional"}]
    one.write()
    with one:
        yield one
        assert one.alive(), one.tail()
        assert one.stop() == 0, one.tail()


def explained(relay, domain=DOMAIN):
    rows = json.loads(relay.control(f"explain {domain} tenant a json"))
    assert rows[-1]["step"] == "verdict"
    return rows


def fault(relay, domain=DOMAIN):
    """The step and the text of the one that failed, and the verdict."""
    rows = explained(relay, domain)
    failed = [(row["step"], row["text"]) for row in rows[:-1] if row["result"] == "failed"]
    assert len(failed) == 1, rows
    assert rows[-1]["result"] == "failed" and failed[0][1] in rows[-1]["text"], rows
    return (*failed[0], rows[-1]["text"])


@contextlib.contextmanager
def playing(relay, serve, credential=None, domain=DOMAIN):
    server = Server(relay.second, credential or relay.good, domain)
    server.serve = lambda stream: serve(server, stream)
    try:
        yield server
    finally:
        server.close()


def without_starttls(server, stream):
    server.greet(stream, "")
    stream.rest()


def that_refuses_starttls(server, stream):
    server.greet(stream, f"<starttls xmlns='{NS_TLS}'/>")
    stream.until("<starttls")
    stream.send(f"<failure xmlns='{NS_TLS}'/>")
    stream.rest()


def that_breaks_tls(server, stream):
    server.greet(stream, f"<starttls xmlns='{NS_TLS}'/>")
    stream.until("<starttls")
    stream.send(f"<proceed xmlns='{NS_TLS}'/>")
    stream.socket.recv(10000)
    stream.send(b"this is no TLS record at all")
    stream.socket.recv(10000)


def that_is_silent(server, stream):
    stream.socket.settimeout(20)
    stream.rest()


def that_does_not_know_us(server, stream):
    server.greet(stream, None)
    stream.send("<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
                "<text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>Not\there</text>"
                "</stream:error></stream:stream>")
    stream.rest()


def greet_without_dialback(server, stream, features):
    """Its header does not declare the dialback namespace either, which would offer it."""
    stream.until("version='1.0' xml:lang='en'>")
    stream.send("<?xml version='1.0'?><stream:stream xmlns='jabber:server' "
                "xmlns:stream='http://etherx.jabber.org/streams' "
                f"from='{server.domain}' to='{TENANT}' id='x' version='1.0'>"
                f"<stream:features>{features}</stream:features>")


def without_authentication(server, stream):
    server.secure(stream)
    greet_without_dialback(server, stream, "")
    stream.rest()


def refuse_external(server, stream, more=""):
    server.secure(stream)
    greet_without_dialback(server, stream, MECHANISMS + more)
    stream.until("</auth>")
    stream.send(f"<failure xmlns='{NS_SASL}'><not-authorized/><text>Who are you?</text>"
                "</failure>")


def that_refuses_external(server, stream):
    refuse_external(server, stream)
    stream.rest()


def that_refuses_dialback(server, stream):
    refuse_external(server, stream, DIALBACK)
    stream.until("</db:result>")
    stream.send(f"<db:result xmlns:db='jabber:server:dialback' from='{DOMAIN}' to='{TENANT}' type='error'><error type='cancel'>"
                "<remote-server-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
                "</db:result>")
    stream.rest()


def that_calls_the_key_invalid(server, stream):
    server.secure(stream)
    server.greet(stream, DIALBACK)
    stream.until("</db:result>")
    stream.send(f"<db:result from='{DOMAIN}' to='{TENANT}' type='invalid'/>")
    stream.rest()


@pytest.mark.parametrize("serve, step, words, remedy", [
    (without_starttls, "features", "does not offer STARTTLS", "switch on TLS"),
    (that_refuses_starttls, "tls", "refuses STARTTLS", "must speak TLS 1.2"),
    (that_breaks_tls, "tls", "the TLS handshake failed", "must speak TLS 1.2"),
    (that_is_silent, "features", "negotiation took too long", "not that for clients"),
    (that_does_not_know_us, "features", 'host-unknown, "Not?here"', "does not serve the domain"),
    (without_authentication, "auth", "offers no authentication", "dialback"),
    (that_refuses_external, "auth", 'EXTERNAL: not-authorized, "Who are you?"',
     "must name our domain"),
    (that_refuses_dialback, "auth", "key: remote-server-not-found", "SRV record must lead"),
    (that_calls_the_key_invalid, "auth", "key: invalid", "SRV record must lead")])
def test_server(relay, serve, step, words, remedy):
    with playing(relay, serve):
        found, text, verdict = fault(relay)
    assert found == step and words in text, (found, text)
    assert remedy in verdict, verdict


def test_policy_says_which_rules_and_who(relay):
    ok, note = (row["text"] for row in explained(relay, WITHOUT_TLS)[:2])
    assert ok == (f"tenant a may talk with {WITHOUT_TLS}; its proof: dialback in clear (tls: "
                  "not_supported by tenants[].partner_rules[], sasl: optional by default, "
                  "dialback: true by default, trust: dialback by default)")
    assert note == "not every user of tenant a may: tenants[].users lists 2 who may"


def test_server_that_requires_tls_where_it_is_not_used(relay):
    def strict(server, stream):
        server.greet(stream, f"<starttls xmlns='{NS_TLS}'><required/></starttls>")
        stream.rest()
    with playing(relay, strict, domain=WITHOUT_TLS):
        found, text, verdict = fault(relay, WITHOUT_TLS)
    assert (found, text) == ("features", "it requires TLS, and tls: not_supported is set for it")
    assert "tls: required or optional" in verdict


def test_server_without_tls_where_it_is_optional(relay):
    def clear(server, stream):
        server.greet(stream, DIALBACK)
        stream.until("</db:result>")
        stream.send(f"<db:result from='{PERHAPS_TLS}' to='{TENANT}' type='valid'/>")
        stream.rest()
    with playing(relay, clear, domain=PERHAPS_TLS):
        rows = explained(relay, PERHAPS_TLS)
    assert rows[-1]["result"] == "ok", rows
    assert [row["text"] for row in rows if row["step"] == "features"] == [
        "in clear offers: dialback"]
    assert [row["step"] for row in rows if row["result"] == "ok"][-3:] == [
        "features", "auth", "verdict"]


def test_certificate_that_signs_itself(relay):
    own = relay.authority.issue("selfsigned", [dns(STRICT[0])], self_signed=True)
    with playing(relay, Server.serve, own, STRICT[0]):
        rows = explained(relay, STRICT[0])
    failed = [row["text"] for row in rows if row["result"] == "failed"]
    assert failed[0] == "the certificate is not trusted: it is self-signed", rows
    assert "xmpp.ca_file" in rows[-1]["text"]


@pytest.mark.parametrize("age, life, words, remedy", [
    (-2 * DAY, 30 * DAY, "it is not valid yet", "The clock of this machine ("),
    (10 * DAY, DAY, "it has expired", "or the clock of this machine (")])
def test_clocks_that_differ(relay, age, life, words, remedy):
    """Whose clock is wrong nobody can tell here: the one of this machine is shown."""
    dated = relay.authority.issue("dated", [dns(STRICT[0])], age=age, life=life)
    with playing(relay, Server.serve, dated, STRICT[0]):
        rows = explained(relay, STRICT[0])
    failed = [row["text"] for row in rows if row["result"] == "failed"]
    assert words in failed[0] and remedy in rows[-1]["text"], rows
    now = datetime.datetime.now(datetime.timezone.utc)
    told = re.search(r"of this machine \(([^)]*)Z\)", rows[-1]["text"]).group(1)
    told = datetime.datetime.strptime(told + "+0000", "%Y-%m-%d %H:%M%z")
    assert abs(now - told) < datetime.timedelta(minutes=5)


def test_host_of_the_configuration(relay):
    """Its own mistake is not looked for in the partner's DNS."""
    step, text, verdict = fault(relay)
    assert (step, text) == ("tcp", "the connection failed: Connection refused")
    assert "host and port of the partner in the configuration" in verdict
    assert "SRV" not in verdict


def test_purpose_of_a_certificate(relay):
    client_only = relay.authority.issue("client", [dns(STRICT[1])], purposes=(CLIENT,))
    with playing(relay, Server.serve, client_only, STRICT[1]):
        rows = explained(relay, STRICT[1])
    assert rows[-1]["result"] == "ok", rows
    assert any("lacks server authentication" in row["text"] for row in rows)


def test_packets_that_vanish(relay):
    """A listener whose queue is full answers no SYN, as a firewall that drops it would."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(socket.create_server((peers.ADDRESS, relay.second), backlog=0))
        while True:
            one = stack.enter_context(socket.socket())
            one.settimeout(0.3)
            try:
                one.connect((peers.ADDRESS, relay.second))
            except TimeoutError:
                break
        step, text, verdict = fault(relay)
    assert (step, text) == ("tcp", "the connection attempt timed out")
    assert "firewall" in verdict


def test_name_server_that_does_not_answer(relay):
    rows = explained(relay, "unknown.example")
    failed = [row for row in rows[:-1] if row["result"] == "failed"]
    assert failed[0]["step"] == "dns" and "SRV" in failed[0]["text"], rows
    assert "dns.server" in rows[-1]["text"]


def test_server_that_sends_us_elsewhere(relay):
    """It is followed once, as with traffic."""
    def elsewhere(server, stream):
        server.secure(stream)
        server.greet(stream, None)
        stream.send("<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>"
                    f"{peers.ADDRESS}:{relay.partner}</see-other-host></stream:error>"
                    "</stream:stream>")
        stream.rest()
    other = Server(relay.partner, relay.good, DOMAIN)
    with contextlib.closing(other), playing(relay, elsewhere):
        rows = explained(relay)
    assert rows[-1]["result"] == "ok", rows
    assert any("sends us to another host" in row["text"] for row in rows)
