# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be delivered, and what its sender is told: the right error, and words that a person
understands in the program that he uses."""
import re

import pytest

from conftest import (CLOSED_DOMAIN, CROOKED, DOWN_DOMAIN, EJABBERD_DOMAIN, EXPIRED_DOMAIN,
                      LIST_DOMAIN, MISMATCH_DOMAIN, SIP_DOMAIN, STRANGER_DOMAIN, TLS_DOMAIN,
                      XMPP_DOMAIN)

# What is wrong with each certificate, as the SIP side is told.
CROOKED_WORDS = {MISMATCH_DOMAIN: "it speaks for other names", EXPIRED_DOMAIN: "it has expired",
                 STRANGER_DOMAIN: "no authority known here signed it"}


@pytest.fixture(params=[("prosody", "romeo"), ("ejabberd", "tybalt")],
                ids=["prosody", "ejabberd"])
def stranger(request, xmpp_user):
    server, user = request.param
    return xmpp_user(request.getfixturevalue(server), user)


@pytest.mark.parametrize("status, condition, kind", [
    ("404 Not Found", "item-not-found", "cancel"),
    ("480 Gone fishing", "recipient-unavailable", "wait"),
    ("486 Busy Here", "recipient-unavailable", "wait"),
    ("488 Not Acceptable Here", "not-acceptable", "modify"),
    ("500 Café closed", "internal-server-error", "cancel"),
    ("603 Decline", "recipient-unavailable", "wait")])
def test_phone_that_refuses(relay, stranger, sip_user, status, condition, kind):
    alice = sip_user("alice")
    alice.answer = lambda request: status
    sent = stranger.send(f"alice@{SIP_DOMAIN}", "Hello?")
    fault = stranger.next_fault()
    assert (fault.id, fault.condition, fault.type) == (sent, condition, kind)
    assert fault.sender == f"alice@{SIP_DOMAIN}"
    assert fault.text == f"The SIP side answered {status}."
    assert alice.next_request().body == b"Hello?" and alice.requests.empty()


def test_sip_user_who_is_unknown_or_has_left(relay, stranger, sip_user):
    stranger.send(f"nobody@{SIP_DOMAIN}", "Hello?")
    fault = stranger.next_fault()
    assert fault.condition == "item-not-found"
    assert fault.text == "The SIP side answered 404 Not Found."
    sip_user("alice").register(expires_s=0)
    stranger.send(f"alice@{SIP_DOMAIN}", "Hello?")
    assert stranger.next_fault().condition == "item-not-found"


def test_phone_that_is_switched_off(relay, prosody, xmpp_user, sip_user):
    """Registered, but nobody answers: the proxy gives up."""
    romeo, alice = xmpp_user(prosody, "romeo"), sip_user("alice")
    alice.answer = lambda request: None
    sent = romeo.send(f"alice@{SIP_DOMAIN}", "Hello?")
    fault = romeo.next_fault()
    assert (fault.id, fault.condition) == (sent, "remote-server-timeout")
    assert "408" in fault.text


def test_xmpp_user_who_is_unknown(relay, prosody, ejabberd, sip_user):
    alice = sip_user("alice")
    for domain in (XMPP_DOMAIN, EJABBERD_DOMAIN):
        response = alice.send(f"sip:nobody@{domain}", "Hello?")
        assert response.start == "SIP/2.0 403 The XMPP side answered service-unavailable"


def test_xmpp_user_who_is_offline(relay, prosody, ejabberd, sip_user, xmpp_user):
    """Prosody keeps the message, which is a delivery; ejabberd without mod_offline refuses it."""
    alice = sip_user("alice")
    assert alice.send(f"sip:juliet@{XMPP_DOMAIN}", "for later").status == 200
    message = xmpp_user(prosody, "juliet").next_message()
    assert (message["body"], message["from"].bare) == ("for later", f"alice@{SIP_DOMAIN}")
    response = alice.send(f"sip:tybalt@{EJABBERD_DOMAIN}", "for later")
    assert response.start == "SIP/2.0 403 User session not found"


@pytest.mark.parametrize("domain", [SIP_DOMAIN, TLS_DOMAIN])
def test_xmpp_server_that_cannot_be_reached(relay, sip_user, domain):
    alice = sip_user("alice", domain)
    response = alice.send("sip:romeo@nowhere.example", "Hello?")
    assert response.status == 404 and "DNS names no XMPP server" in response.start
    response = alice.send(f"sip:romeo@{DOWN_DOMAIN}", "Hello?")
    assert response.status == 504 and "Connection refused" in response.start


@pytest.mark.parametrize("domain", CROOKED)
def test_partner_with_a_wrong_certificate(relay, prosody_many, sip_user, xmpp_user, domain):
    """Neither way; both senders hear of the certificate."""
    alice, paris = sip_user("alice"), xmpp_user(prosody_many, "paris", domain)
    response = alice.send(f"sip:{paris.jid}", "Trust me?")
    assert response.status == 504 and CROOKED_WORDS[domain] in response.start
    sent = paris.send(f"alice@{SIP_DOMAIN}", "Trust me!")
    fault = paris.next_fault()
    assert fault.id == sent and "certificate" in fault.text, fault
    assert paris.messages.empty() and alice.requests.empty()


def test_policy_says_no(relay, stranger, sip_user):
    for domain in (CLOSED_DOMAIN, LIST_DOMAIN):
        alice = sip_user("alice", domain)
        if domain == LIST_DOMAIN and stranger.jid.endswith(XMPP_DOMAIN):
            continue
        sent = stranger.send(f"alice@{domain}", "May I?")
        fault = stranger.next_fault()
        assert fault.id == sent
        # ejabberd sometimes looks at the closed connection before it reads why.
        assert re.search("policy.violation|does not talk with|Connection failed",
                         fault.text), fault
        response = alice.send(f"sip:{stranger.jid}", "May I?")
        assert response.start == "SIP/2.0 403 The policy of your domain forbids this partner"
        assert alice.requests.empty() and stranger.messages.empty()


def test_policy_says_yes_to_the_listed(relay, prosody, xmpp_user, sip_user):
    romeo, alice = xmpp_user(prosody, "romeo"), sip_user("alice", LIST_DOMAIN)
    romeo.send(f"alice@{LIST_DOMAIN}", "I am on the list")
    assert alice.next_request().body == b"I am on the list"
    assert alice.send(f"sip:{romeo.jid}", "So am I").status == 200
    assert romeo.next_message()["body"] == "So am I"


def test_addresses_the_xmpp_side_does_not_have(relay, world, sip_user):
    """Another tenant is no XMPP partner, and a domain alone is nobody."""
    alice = sip_user("alice")
    alice.proxy = ("127.0.0.1", world.relay_udp)
    for address in (f"bob@{TLS_DOMAIN}", XMPP_DOMAIN):
        response = alice.send(f"sip:{address}", "Hello?")
        assert response.start == "SIP/2.0 404 The XMPP side has no such address"
