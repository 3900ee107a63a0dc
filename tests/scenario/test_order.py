# SPDX-License-Identifier: GPL-3.0-or-later
"""A thousand messages each way, through the real servers, in order; none lost, none twice."""
import threading

import pytest

from conftest import EJABBERD_DOMAIN, SIP_DOMAIN, TLS_DOMAIN, XMPP_DOMAIN

COUNT = 1000
PEOPLE = {XMPP_DOMAIN: ("prosody", "romeo"), EJABBERD_DOMAIN: ("ejabberd", "tybalt")}
PAIRS = [(XMPP_DOMAIN, SIP_DOMAIN), (EJABBERD_DOMAIN, TLS_DOMAIN)]


@pytest.fixture(params=PAIRS, ids=["prosody-udp", "ejabberd-tls"])
def pair(request, xmpp_user, sip_user):
    domain, tenant = request.param
    server, user = PEOPLE[domain]
    stranger, alice = xmpp_user(request.getfixturevalue(server), user), sip_user("alice", tenant)
    # Prosody sends what waited for a new link behind what comes when the link is just there.
    stranger.send(alice.uri.removeprefix("sip:"), "first")
    assert alice.next_request().body == b"first"
    return stranger, alice


def bodies(take):
    return [take() for _ in range(COUNT)]


def test_a_thousand_to_sip(relay, pair):
    """Sent as fast as the client can: what the relay cannot send on at once, it queues."""
    stranger, alice = pair
    for number in range(COUNT):
        stranger.send(alice.uri.removeprefix("sip:"), f"line {number}")
    received = bodies(lambda: alice.next_request().body.decode())
    assert received == [f"line {number}" for number in range(COUNT)]
    assert alice.requests.empty() and stranger.messages.empty()


def test_a_thousand_to_xmpp(relay, pair):
    """One after the other, as RFC 3428 §8 wants it; each was confirmed."""
    stranger, alice = pair
    statuses = [alice.send(f"sip:{stranger.jid}", f"line {number}").status
                for number in range(COUNT)]
    assert set(statuses) == {200}
    received = bodies(lambda: stranger.next_message()["body"])
    assert received == [f"line {number}" for number in range(COUNT)]
    assert stranger.messages.empty()


def test_a_thousand_both_ways_at_once(relay, pair):
    stranger, alice = pair
    statuses = []

    def answer():
        statuses.extend(alice.send(f"sip:{stranger.jid}", f"back {number}").status
                        for number in range(COUNT))
    thread = threading.Thread(target=answer)
    thread.start()
    for number in range(COUNT):
        stranger.send(alice.uri.removeprefix("sip:"), f"there {number}")
    assert bodies(lambda: alice.next_request().body.decode()) == [
        f"there {number}" for number in range(COUNT)]
    assert bodies(lambda: stranger.next_message()["body"]) == [
        f"back {number}" for number in range(COUNT)]
    thread.join()
    assert set(statuses) == {200} and len(statuses) == COUNT
    assert alice.requests.empty() and stranger.messages.empty()
