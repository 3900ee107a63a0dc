# SPDX-License-Identifier: GPL-3.0-or-later
"""How streams end: politely, with nothing lost on either side, and for the right reason."""
import contextlib
import datetime
import json
import re
import socket
import time

import pytest

import attack_certificates as certificates
import peers
from attack_kit import (HOSTILE, NS_SASL, OTHER_TENANT, PARTNER, PARTNER_HOST, PATIENCE_S,  # noqa: F401
                        Server, attacked, message, numbers, running, scene, sip)
from ports import take_port

ERRORS = "urn:ietf:params:xml:ns:xmpp-streams"
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"


@pytest.fixture(scope="module")
def hasty(tmp_path_factory):
    """A relay that closes streams soon when nothing is said on them."""
    with running(tmp_path_factory.mktemp("hasty"), {"xmpp": {"idle_timeout_ms": 1000}}) as one:
        yield one


def arrived(trunk, text):
    while True:
        if text.encode() in trunk.requests.get(timeout=PATIENCE_S):
            return


def test_what_is_behind_our_closing_tag_still_counts(hasty):
    stream = hasty.relay.trusted()
    stream.until("</stream:stream>")
    stream.send(message("said late") + "</stream:stream>")
    arrived(hasty.trunk, "said late")
    assert stream.rest() == ""


def test_idle_streams_close_and_open_again(hasty):
    relay = hasty.relay
    # White space keeps the connection, not a stream that nobody uses.
    peers.wait_for("the idle streams are closed", lambda: relay.sessions() == [])
    assert relay.count("xmpp_stream_errors_sent_total") == 0
    hasty.line = relay.trusted(source=PARTNER_HOST)
    assert hasty.to_xmpp("after a rest")[0] in (200, 202)


def test_what_is_before_the_closing_tag_counts(attacked, scene):  # noqa: F811
    stream = attacked.trusted()
    texts = [f"last words {n}." for n in range(50)]
    stream.send("".join(map(message, texts)) + "</stream:stream>")
    stream.until("</stream:stream>")
    stream.close()
    for text in texts:
        arrived(scene.trunk, text)


def test_expired_certificate_resets_the_stream(attacked):  # noqa: F811
    life = certificates.DAY + datetime.timedelta(seconds=6)
    short = attacked.authority.issue("short", [certificates.dns(PARTNER)], life=life)
    assert attacked.trusted(credential=short).error() == "reset"


def test_server_that_says_nothing_any_more(tmp_path):
    """It has answered pings on this stream, and none for as long as a message may take, whoever writes
    to it meanwhile: it is not there, or does not reach the relay. Another stream is opened, nothing
    that was on the way is lost, and one that has never answered is left in peace."""
    with running(tmp_path, {"xmpp": {"confirm_timeout_ms": 300, "deliver_timeout_ms": 1500}}) as one:
        relay = one.relay
        assert one.to_xmpp("anybody?")[0] == 200
        pong, one.partner.answer = one.partner.answer, lambda stanza: None
        opened = relay.count("xmpp_sessions_opened_total")
        peers.wait_for("another stream", lambda: one.to_xmpp(f"anybody {next(numbers)}?")[0] == 202
                       and relay.count("xmpp_sessions_opened_total") == opened + 1)
        assert relay.logged("event=session.close", "error=connection-timeout", "answers no pings")
        until = time.monotonic() + 3
        peers.wait_for("its time is over again", lambda: one.to_xmpp(f"still {next(numbers)}")[0]
                       == 202 and time.monotonic() > until)
        assert relay.count("xmpp_sessions_opened_total") == opened + 1
        one.partner.answer = pong
        assert one.to_xmpp("there again")[0] == 200


@pytest.mark.parametrize("says_good_bye", [True, False])
def test_server_that_ends_the_stream_with_a_certificates_refusal(attacked, scene, says_good_bye):  # noqa: F811
    """As XEP-0178 §3 lets it. Where dialback is allowed another stream tries that, and `explain` says
    the same."""
    tried = []

    class Strict(Server):
        def serve(self, stream):
            self.secure(stream)
            local = self.greet(stream, f"<mechanisms xmlns='{NS_SASL}'><mechanism>EXTERNAL</mechanism>"
                                       "</mechanisms><dialback xmlns='urn:xmpp:features:dialback'/>")
            tried.append(stream.until("</auth>", "</db:result>"))
            if "</auth>" in tried[-1]:
                stream.send(f"<failure xmlns='{NS_SASL}'><not-authorized/></failure>" +
                            ("</stream:stream>" if says_good_bye else ""))
                stream.socket.shutdown(socket.SHUT_WR)
                stream.rest()
                return
            stream.send(f"<db:result from='{self.domain}' to='{local}' type='valid'/>")
            self.collect(stream)

    domain = HOSTILE[int(says_good_bye)]
    with contextlib.closing(Strict(attacked.second, attacked.good, domain)) as server:
        rows = json.loads(attacked.control(f"explain {domain} tenant a json"))
        assert rows[-1]["result"] == "ok", rows
        assert any("SASL EXTERNAL is refused" in row["text"] for row in rows)
        tried.clear()
        assert scene.trunk.ask(sip(uri=f"sip:x@{domain}", body="after all")) == 202
        while "after all" not in server.stanzas.get(timeout=PATIENCE_S):
            pass
    assert ["</auth>" in one for one in tried] == [True, False]


def test_refusal_that_comes_before_the_pong_is_the_answer(attacked, scene):  # noqa: F811
    pong = scene.partner.answer

    def refuse(stanza):
        found = re.search(r"<message from='([^']*)' to='([^']*)' id='([^']*)'", stanza)
        if found and "nobody is there" in stanza:
            scene.line.send(
                f"<message type='error' from='{found.group(2)}' to='{found.group(1)}' "
                f"id='{found.group(3)}'><error type='cancel'><item-not-found "
                f"xmlns='{STANZAS}'/></error></message>")
        pong(stanza)

    scene.partner.answer = refuse
    try:
        assert scene.trunk.ask(sip(body="nobody is there")) == 604
        assert scene.trunk.ask(sip(body="somebody is there")) == 200
    finally:
        scene.partner.answer = pong


def test_other_host_is_followed_once(attacked, scene):  # noqa: F811
    """RFC 6120 §4.9.3.19; the pair is not the one that has a stream already."""
    port, calls, honest = take_port(), [], scene.partner.serve
    other = Server(port, attacked.good)
    line = attacked.trusted(to=OTHER_TENANT)

    def pong(stanza):
        found = re.search(r"<iq type='get' from='([^']*)' to='([^']*)' id='([^']*)'", stanza)
        if found:
            line.send(f"<iq type='result' from='{found.group(2)}' to='{found.group(1)}' "
                      f"id='{found.group(3)}'/>")

    other.answer = pong

    def send_away(server):
        def serve(stream):
            calls.append(server)
            server.secure(stream)
            server.greet(stream, None)
            stream.send(f"<stream:error><see-other-host xmlns='{ERRORS}'>{peers.ADDRESS}:{port}"
                        "</see-other-host></stream:error></stream:stream>")
            stream.rest()
        return serve

    def ask(text):
        return scene.other_trunk.ask(sip(body=text, sender=f"sip:bob@{OTHER_TENANT}"))

    elsewhere = other.serve
    scene.partner.serve, other.serve = send_away(scene.partner), send_away(other)
    try:
        assert ask("sent round in circles") >= 400
        assert calls == [scene.partner, other]
        other.serve = elsewhere
        # The next try is after the back-off.
        peers.wait_for("the message goes elsewhere", lambda: ask("elsewhere") in (200, 202))
        assert "elsewhere" in other.stanzas.get(timeout=PATIENCE_S)
    finally:
        scene.partner.serve = honest
        line.close()
        other.close()
