# SPDX-License-Identifier: GPL-3.0-or-later
"""A partner whose server reads slowly (Prosody's mod_limits, ejabberd's s2s_shaper): what it does not read waits in the
relay, in its order, and each sender is told what became of his message."""
import contextlib
import json

import pytest

import peers
from attack_wire import Datagrams, sip, status_of
from conftest import SIP_DOMAIN

TEXT_SIZE = 600


class Burst:
    """Messages to one recipient, sent at once by a SIP server, and the answers to them."""

    def __init__(self, relay, port, recipient, count):
        self.line = Datagrams(peers.ADDRESS, 0, port)
        self.bodies = [f"{number} ".ljust(TEXT_SIZE, "x") for number in range(count)]
        self.statuses = []
        requests = [sip(uri=f"sip:{recipient}", sender=f"sip:alice@{SIP_DOMAIN}", body=body)
                    for body in self.bodies]
        before = relay.count("sip_messages_accepted_total")

        def is_accepted():
            # Again while something was lost on the way: what the relay has takes its time.
            is_whole = relay.count("sip_messages_accepted_total") == before + count
            for data in requests if not is_whole else ():
                self.line.send(data)
            return is_whole
        peers.wait_for("all are accepted", is_accepted)

    def is_answered(self):
        while not self.line.responses.empty():
            status = status_of(self.line.response())
            self.statuses += [status] if status >= 200 else []
        return len(self.statuses) == len(self.bodies)

    def close(self):
        self.line.close()


@pytest.fixture(scope="module")
def patient(relay):
    """The relay with the usual T1: SIP senders wait for 32 s."""
    with relay.changed("sip", t1_ms=500):
        yield relay


@pytest.fixture
def burst(world, patient):
    with contextlib.ExitStack() as stack:
        def begin(recipient, count):
            return stack.enter_context(contextlib.closing(
                Burst(patient, world.relay_udp, recipient, count)))
        yield begin


def link_of(relay, domain):
    """The row of the stream to it."""
    rows = json.loads(relay.control("show sess json"))
    return next((row for row in rows if row["direction"] == "out" and row["remote"] == domain), None)


@pytest.mark.parametrize("kind", ["prosody_shaped", "ejabberd_shaped"])
def test_slow_partner(request, patient, prosody, xmpp_user, burst, kind):
    """Twelve times as much as it reads in a second: all of it is confirmed, none handed over into
    the dark; another partner is served as ever."""
    server = request.getfixturevalue(kind)
    balthasar, romeo = xmpp_user(server, "balthasar"), xmpp_user(prosody, "romeo")
    before = patient.count("xmpp_partners_slowed_total")
    flood = burst(balthasar.jid, 150)
    peers.wait_for("the partner is found slow",
                   lambda: flood.is_answered() or patient.count("xmpp_partners_slowed_total") > before)
    assert link_of(patient, server.domain)["waiting"] > 0
    assert patient.count("xmpp_stanzas_waiting") > 0
    assert 1000 < link_of(patient, server.domain)["bytes_s"] < 100000

    other = burst(romeo.jid, 30)
    peers.wait_for("the others are answered", other.is_answered)
    assert set(other.statuses) == {200}
    assert link_of(patient, server.domain)["waiting"] > 0, "it was pressed all the while"

    peers.wait_for("all are answered", flood.is_answered, patience_s=60)
    assert set(flood.statuses) == {200}
    assert [balthasar.next_message()["body"] for _ in flood.bodies] == flood.bodies
    assert balthasar.messages.empty()
    assert link_of(patient, server.domain)["waiting"] == 0


def test_proxy_with_a_short_timer(patient, kamailio, prosody_shaped, xmpp_user):
    """Kamailio waits 5 s. The relay answers before, and truly: what it refuses never arrives."""
    balthasar, arrived, last = xmpp_user(prosody_shaped, "balthasar"), [], "the last"
    with patient.changed("tenants.sip", deliver_timeout_ms=1500, confirm_timeout_ms=1500), \
            contextlib.closing(Burst(patient, kamailio.port, balthasar.jid, 150)) as flood:
        peers.wait_for("all are answered", flood.is_answered)
        assert set(flood.statuses) <= {200, 202, 504}
        assert flood.statuses.count(504) == patient.count("xmpp_queue_expired_total") > 0

        def is_through():
            return flood.line.ask(sip(uri=f"sip:{balthasar.jid}", body=last,
                                      sender=f"sip:alice@{SIP_DOMAIN}")) == 200
        peers.wait_for("the partner has read the rest", is_through)
        while (body := balthasar.next_message()["body"]) != last:
            arrived.append(body)
        good = [status for status in flood.statuses if status < 300]
        # Kamailio keeps no order: its processes take turns.
        assert len(arrived) == len(set(arrived)) == len(good)
        assert set(arrived) <= set(flood.bodies)
