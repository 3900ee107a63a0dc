# SPDX-License-Identifier: GPL-3.0-or-later
"""Several streams to one partner (rule `streams`): a server that shapes each of them (Prosody's
mod_limits, 10 kB a second) takes more over four, in order for each sender; none is opened that
nobody needs, or that may not be."""
import collections
import contextlib
import json

import pytest

import peers
from attack_wire import Datagrams, sip, status_of
from conftest import SHAPED_DOMAIN, SIP_DOMAIN, SPREAD_DOMAIN

TEXT_SIZE = 600
COUNT = 150


@pytest.fixture(scope="module")
def patient(relay):
    """The relay with the usual T1: SIP senders wait for 32 s."""
    with relay.changed("sip", t1_ms=500):
        yield relay


class Burst:
    """Messages of many senders, or one, to one recipient, and the answers to them."""

    def __init__(self, relay, port, recipient, senders, count=COUNT):
        self.line, self.statuses = Datagrams(peers.ADDRESS, 0, port), collections.Counter()
        self.texts = collections.defaultdict(list)  # of each sender, in their order
        self.requests, self.open = [], set()
        for number in range(count):
            sender = f"user{number % senders}@{SIP_DOMAIN}"
            self.texts[sender].append(f"{number} ".ljust(TEXT_SIZE, "x"))
            self.requests.append(sip(uri=f"sip:{recipient}", sender=f"sip:{sender}",
                                     body=self.texts[sender][-1]))
        self.count = count
        before = relay.count("sip_messages_accepted_total")

        def is_accepted():
            # Again while something was lost on the way: what the relay has takes its time.
            is_whole = relay.count("sip_messages_accepted_total") >= before + count
            for data in self.requests if not is_whole else ():
                self.line.send(data)
            return is_whole
        peers.wait_for("all are accepted", is_accepted)

    def is_answered(self):
        while not self.line.responses.empty():
            status = status_of(self.line.response())
            if status >= 200:
                self.statuses[status] += 1
        return self.statuses.total() == self.count

    def close(self):
        self.line.close()


@pytest.fixture
def burst(world, patient):
    with contextlib.ExitStack() as stack:
        def begin(recipient, senders, count=COUNT):
            return stack.enter_context(contextlib.closing(
                Burst(patient, world.relay_udp, recipient, senders, count)))
        yield begin


@contextlib.contextmanager
def ruled(relay, **rules):
    """The partner's rules are others, by a reload, and as before afterwards."""
    file = relay.folder / "passerelle.yaml"
    before = file.read_text()

    def change(**more):
        settings = json.loads(before)
        next(one for one in settings["partners"]
             if one["domain"] == SPREAD_DOMAIN).update(rules | more)
        file.write_text(json.dumps(settings))
        assert relay.control("reload").startswith("done: ")
    try:
        change()
        yield change
    finally:
        file.write_text(before)
        assert relay.control("reload").startswith("done: ")


def streams(relay, domain=SPREAD_DOMAIN):
    """The rows of the streams to it that stand."""
    return [row for row in json.loads(relay.control("show sess json"))
            if row["direction"] == "out" and row["remote"] == domain and row["stream"] != "-"]


def rested(relay):
    """No stream is left of the test before: the relay starts anew."""
    relay.stop()
    relay.start()


def texts_of(user, count):
    """What has come, by sender, each in order."""
    come = collections.defaultdict(list)
    for _ in range(count):
        message = user.next_message()
        come[message["from"].bare].append(message["body"])
    return come


def test_four_streams(patient, prosody_shaped, xmpp_user, burst):
    """The same to two domains of one server: when all has come over four streams, one has brought
    less than half of it; every sender hears 200 and his messages are in order."""
    rested(patient)
    one = xmpp_user(prosody_shaped, "balthasar")
    four = xmpp_user(prosody_shaped, "balthasar", SPREAD_DOMAIN)
    single, spread = burst(one.jid, 40), burst(four.jid, 40)
    peers.wait_for("all has come over four streams",
                   lambda: four.messages.qsize() == COUNT, patience_s=60)
    share = one.messages.qsize() / COUNT
    assert share < 0.5, f"one stream has brought {share:.2f} of it"
    rows = streams(patient)
    assert sorted(row["stream"] for row in rows) == [f"{number}/4" for number in range(1, 5)]
    assert len({row["worker"] for row in rows}) == 1
    assert all(row["stanzas_out"] > COUNT / 10 for row in rows)
    assert [row["stream"] for row in streams(patient, SHAPED_DOMAIN)] == ["1/1"]

    for flood, user in ((spread, four), (single, one)):
        peers.wait_for("all are answered", flood.is_answered, patience_s=60)
        assert flood.statuses == {200: COUNT}
        assert texts_of(user, COUNT) == flood.texts
        assert user.messages.empty()


def test_quiet_user(patient, prosody_shaped, xmpp_user, burst):
    """One sender has one stream, whatever he writes; it closes when it is idle, and opens again."""
    rested(patient)
    four = xmpp_user(prosody_shaped, "balthasar", SPREAD_DOMAIN)
    with ruled(patient, idle_timeout_ms=1000):
        for _ in range(2):
            flood = burst(four.jid, 1, 10)
            peers.wait_for("all are answered", flood.is_answered)
            assert flood.statuses == {200: 10}
            assert len(streams(patient)) <= 1
            assert texts_of(four, 10) == flood.texts
            peers.wait_for("it is closed", lambda: not streams(patient))
    told = patient.control(f"show policy {SIP_DOMAIN.split('.', maxsplit=1)[0]} {SPREAD_DOMAIN}")
    assert "streams\t4\tpartners[]" in told


def test_reload(patient, prosody_shaped, xmpp_user, burst):
    """Fewer streams and more again while much is under way: every sender hears one answer, and what
    he wrote comes in order; those too many close when they have nothing left to do."""
    rested(patient)
    four = xmpp_user(prosody_shaped, "balthasar", SPREAD_DOMAIN)
    with ruled(patient) as change:
        first = burst(four.jid, 40)
        peers.wait_for("four stand", lambda: len(streams(patient)) == 4)
        change(streams=1)
        second = burst(four.jid, 40)
        assert len(streams(patient)) > 1, "what is under way goes on where it is"
        change(streams=3)
        third = burst(four.jid, 40)
        floods = (first, second, third)
        peers.wait_for("all are answered", lambda: all([one.is_answered() for one in floods]),
                       patience_s=90)
        assert all(one.statuses == {200: COUNT} for one in floods)
        come = texts_of(four, 3 * COUNT)
        for sender, texts in come.items():
            assert texts == first.texts[sender] + second.texts[sender] + third.texts[sender]
        change(streams=1)
        peers.wait_for("the others are closed",
                       lambda: {row["stream"] for row in streams(patient)} <= {"1/1"})
    assert four.messages.empty()


def test_limit(patient, prosody_shaped, xmpp_user, burst):
    """No more streams than a partner may have: who has none goes over one that stands."""
    rested(patient)
    four = xmpp_user(prosody_shaped, "balthasar", SPREAD_DOMAIN)
    with ruled(patient, sessions_per_partner_max=2):
        flood = burst(four.jid, 40)
        peers.wait_for("all are answered", flood.is_answered, patience_s=60)
        assert flood.statuses == {200: COUNT}
        assert texts_of(four, COUNT) == flood.texts
        assert len(streams(patient)) == 2
        assert patient.count("xmpp_links_fell_back_total") >= 2
        assert "sessions_per_partner_max" in patient.control("show errors")
        explained = patient.control(
            f"explain {SPREAD_DOMAIN} tenant {SIP_DOMAIN.split('.', maxsplit=1)[0]}")
        assert "up to 4 streams" in explained and "2 stand now" in explained
