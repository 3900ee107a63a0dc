# SPDX-License-Identifier: GPL-3.0-or-later
"""The relay goes away under traffic and comes back: the servers around it are not touched."""
import collections
import queue
import threading
import time

import pytest

import peers
from conftest import EJABBERD_DOMAIN, SIP_DOMAIN, TLS_DOMAIN, XMPP_DOMAIN

PEOPLE = {XMPP_DOMAIN: ("prosody", "romeo"), EJABBERD_DOMAIN: ("ejabberd", "tybalt")}
PAIRS = [(XMPP_DOMAIN, SIP_DOMAIN), (EJABBERD_DOMAIN, TLS_DOMAIN)]
RECOVERY_S = 60
BEFORE, AFTER = 50, 20  # messages each way


class Traffic:
    """Numbered messages each way at a steady pace. `sent` are the texts to SIP, `answers` the
    final statuses of the texts to XMPP."""

    def __init__(self, stranger, alice):
        self.stranger, self.alice = stranger, alice
        self.sent, self.answers = [], {}
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._to_sip),
                         threading.Thread(target=self._to_xmpp)]

    def _to_sip(self):
        while not self._over.wait(0.01):
            self.sent.append(f"there {len(self.sent)}")
            self.stranger.send(self.alice.uri.removeprefix("sip:"), self.sent[-1],
                               stanza_id=self.sent[-1])

    def _to_xmpp(self):
        while not self._over.wait(0.01):
            text = f"back {len(self.answers)}"
            self.answers[text] = self.alice.send(f"sip:{self.stranger.jid}", text).status

    def wait_for(self, count):
        sent, answered = len(self.sent) + count, len(self.answers) + count
        peers.wait_for("messages each way", lambda: len(self.sent) >= sent and
                       len(self.answers) >= answered, RECOVERY_S)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()


def drain(items):
    """What has come, until a quiet half second."""
    taken = []
    while True:
        try:
            taken.append(items.get(timeout=0.5))
        except queue.Empty:
            return taken


def recover(stranger, alice):
    """Until both ways work again, by what the servers around do of themselves."""
    deadline = time.monotonic() + RECOVERY_S
    number = 0
    while True:
        number += 1
        stranger.send(alice.uri.removeprefix("sip:"), f"again {number}")
        status = alice.send(f"sip:{stranger.jid}", "again").status
        texts = {request.body.decode() for request in drain(alice.requests)}
        if status == 200 and f"again {number}" in texts:
            drain(stranger.messages)
            return
        assert time.monotonic() < deadline, (status, texts)


@pytest.mark.parametrize("pair", PAIRS, ids=["prosody-udp", "ejabberd-tls"])
@pytest.mark.parametrize("way", ["stop", "kill"])
def test_restart_under_traffic(relay, request, xmpp_user, sip_user, pair, way):
    """Nobody hears twice what became of a message: delivered or refused, never both. What is on
    the wire when the relay is killed is lost, or comes again where SIP repeats its request.
    With stream management (Prosody's) nothing to SIP is lost; behind a kill Prosody may refuse
    what was delivered and not acknowledged."""
    domain, tenant = pair
    server, user = PEOPLE[domain]
    stranger = xmpp_user(request.getfixturevalue(server), user)
    alice = sip_user("alice", tenant)
    recover(stranger, alice)
    with Traffic(stranger, alice) as traffic:
        traffic.wait_for(BEFORE)
        if way == "stop":
            assert relay.stop() == 0, relay.tail()
        else:
            relay.kill()
        relay.start()
        traffic.wait_for(AFTER)
    delivered = collections.Counter(item.body.decode() for item in drain(alice.requests))
    messages = drain(stranger.messages)
    refused = collections.Counter(item["id"] for item in messages if item["type"] == "error")
    arrived = collections.Counter(item["body"] for item in messages if item["type"] != "error")
    ends = [delivered[text] + refused[text] for text in traffic.sent]
    is_managed = domain == XMPP_DOMAIN
    assert max(ends) <= (2 if is_managed and way == "kill" else 1)
    assert min(ends) >= is_managed, ends
    assert all(arrived[text] for text, status in traffic.answers.items() if status == 200)
    again = sum(count - 1 for count in arrived.values())
    assert again <= (way == "kill"), arrived
    if way == "stop":
        assert not any(arrived[text] for text, status in traffic.answers.items()
                       if status >= 300), traffic.answers
    recover(stranger, alice)
