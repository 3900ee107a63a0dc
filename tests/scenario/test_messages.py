# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages through the relay, between people behind real servers."""
import pytest

import users
from conftest import SIP_DOMAIN, XMPP_DOMAIN
from ports import take_port

# Markup, characters beyond the BMP, right-to-left text, and a quote for every syntax.
HARD_TEXT = "<b>&amp;</b> \"'\\ ]]> Grüße 🜁 שלום\nsecond line"


@pytest.fixture(params=["certificates", "dialback"])
def stranger(request, xmpp_user):
    """Someone at a partner of each kind."""
    if request.param == "certificates":
        return xmpp_user(request.getfixturevalue("prosody"), "romeo")
    return xmpp_user(request.getfixturevalue("prosody_dialback"), "mercutio")


def test_xmpp_to_sip(relay, stranger, sip_user):
    alice = sip_user("alice")
    stranger.send(f"alice@{SIP_DOMAIN}", HARD_TEXT)
    request = alice.next_request()
    assert request.method == "MESSAGE", relay.tail()
    assert request.body.decode().replace("\r\n", "\n") == HARD_TEXT
    assert f"<sip:{stranger.jid}" in request.header("from")
    assert request.header("content-type").lower().startswith("text/plain")


def test_sip_to_xmpp(relay, stranger, sip_user):
    alice = sip_user("alice")
    response = alice.send(f"sip:{stranger.jid}", HARD_TEXT)
    assert response.status in (200, 202), relay.tail()
    message = stranger.next_message()
    assert message["type"] != "error"
    assert message["body"].replace("\r\n", "\n") == HARD_TEXT
    assert message["from"].bare == f"alice@{SIP_DOMAIN}"


def test_unknown_sip_user_becomes_item_not_found(relay, stranger):
    """RFC 7247 table: 404 is item-not-found; the stanza's id tells which message failed."""
    sent = stranger.send(f"nobody@{SIP_DOMAIN}", "Anyone?")
    answer = stranger.next_message()
    assert answer["type"] == "error"
    assert answer["id"] == sent
    assert answer["error"]["condition"] == "item-not-found"
    assert answer["from"].bare == f"nobody@{SIP_DOMAIN}"


def test_unknown_xmpp_domain_is_an_error_for_the_sip_sender(relay, sip_user, world):
    """Nothing listens for this name: never a 2xx before the fact. The proxy only knows the
    partners, so the request goes to the relay directly."""
    alice = sip_user("alice")
    alice.proxy = ("127.0.0.1", world.relay_udp)
    assert alice.send("sip:nobody@nowhere.example", "Hello?").status >= 400


def test_one_sender_keeps_the_order(relay, prosody, xmpp_user, sip_user):
    romeo, alice = xmpp_user(prosody, "romeo"), sip_user("alice")
    texts = [f"line {number}" for number in range(30)]
    for text in texts:
        romeo.send(alice.uri.removeprefix("sip:"), text)
    assert [alice.next_request().body.decode() for _ in texts] == texts


def test_a_character_xml_forbids_does_not_break_the_link(relay, prosody, xmpp_user, sip_user):
    romeo, alice = xmpp_user(prosody, "romeo"), sip_user("alice")
    alice.send(f"sip:romeo@{XMPP_DOMAIN}", "bell \x07 here")
    assert alice.send(f"sip:romeo@{XMPP_DOMAIN}", "after").status in (200, 202)
    bodies = []
    while "after" not in bodies:
        bodies.append(romeo.next_message()["body"])
    assert all("\x07" not in body for body in bodies)


def test_sip_sender_of_a_foreign_domain_is_refused(relay, world, prosody, xmpp_user):
    """A trunk speaks for its tenant's domains only."""
    romeo = xmpp_user(prosody, "romeo")
    with users.SipUser("alice", "evil.example", take_port(), world.relay_udp) as alice:
        assert alice.send(f"sip:{romeo.jid}", "Trust me").status == 403
    assert romeo.messages.empty()


def test_partner_comes_back_after_a_restart(relay, prosody, xmpp_user, sip_user):
    alice = sip_user("alice")
    assert alice.send(f"sip:romeo@{XMPP_DOMAIN}", "before").status in (200, 202)
    prosody.kill()
    prosody.start()
    romeo = xmpp_user(prosody, "romeo")
    # The link that died with the server may cost one message, which its sender is told.
    statuses = [alice.send(f"sip:romeo@{XMPP_DOMAIN}", "after").status for _ in range(2)]
    assert statuses[-1] in (200, 202), (statuses, relay.tail())
    while romeo.next_message()["body"] != "after":
        pass


def test_sip_to_an_unknown_user_is_an_error(relay, prosody, sip_user):
    """Prosody answers service-unavailable; with the confirmation the SIP sender learns it."""
    response = sip_user("alice").send(f"sip:nobody@{XMPP_DOMAIN}", "Hello?")
    assert response.status >= 400, response.start
