# SPDX-License-Identifier: GPL-3.0-or-later
"""Many tenants write to a partner whom none of them reaches."""
import contextlib
import json

import pytest

import peers
from attack_kit import PATIENCE_S, SECOND, TENANT, AttackedRelay, Datagrams, Server, sip
from attack_wire import TRUNK_HOST

PAIRS = 3
DOMAINS = [f"d{number}.{TENANT}" for number in range(20)]


class Refusing(Server):
    """Ends each stream with this error while there is one, and counts them."""

    def __init__(self, *arguments):
        self.condition, self.streams = None, 0
        super().__init__(*arguments)

    def serve(self, stream):
        self.streams += 1
        if self.condition is None:
            super().serve(stream)
            return
        self.secure(stream)
        self.greet(stream, None)
        stream.send(f"<stream:error><{self.condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
                    "</stream:error></stream:stream>")


@pytest.fixture
def relay(tmp_path):
    one = AttackedRelay(tmp_path, {"xmpp": {"breaker_pairs": PAIRS}})
    one.settings["global"]["workers"] = 1
    one.settings["tenants"][0]["domains"] += DOMAINS
    one.write()
    with one:
        yield one
        assert one.alive(), one.tail()
        assert one.stop() == 0, one.tail()


@pytest.fixture
def trunk(relay):
    with contextlib.closing(Datagrams(TRUNK_HOST, relay.trunk, relay.udp)) as one:
        yield one


@pytest.fixture
def partner(relay):
    with contextlib.closing(Refusing(relay.second, relay.good, SECOND)) as one:
        yield one


def write(trunk, domain):
    return trunk.ask(sip(uri=f"sip:x@{SECOND}", sender=f"sip:bob@{domain}", body=domain))


def links(relay):
    """What `show links` says of the pairs without a stream: local domain → row."""
    rows = json.loads(relay.control("show links json"))
    assert all(row["remote"] == SECOND and row["worker"] == 0 for row in rows), rows
    return {row["local"]: row for row in rows}


def test_partner_that_refuses_everybody(relay, trunk, partner):
    """N9: host-unknown for three pairs opens the breaker: the others hear it at once, without a
    stream. `explain` finds out that it is over."""
    partner.condition = "host-unknown"
    answers = {write(trunk, domain) for domain in DOMAINS}
    assert answers == {404}
    counts = relay.counts()
    assert counts["xmpp_breakers_opened_total"] == 1
    assert counts["xmpp_breaker_refused_total"] == len(DOMAINS) - partner.streams
    assert PAIRS <= partner.streams <= len(DOMAINS) // 2
    row = [one for one in json.loads(relay.control("show errors json"))
           if one["event"] == "breaker.open"]
    assert len(row) == 1 and row[0]["partner"] == SECOND and "host-unknown" in row[0]["reason"]
    assert {row["state"] for row in links(relay).values()} == {"breaker"}
    assert all("host-unknown" in row["reason"] and row["failures"] > 0 and row["waiting"] == 0
               for row in links(relay).values())
    partner.condition = None
    rows = json.loads(relay.control(f"explain {SECOND} tenant a json"))
    told = [one["text"] for one in rows if one["step"] == "policy" and one["result"] == "note"]
    assert len(told) == 1 and "host-unknown" in told[0], rows
    assert rows[-1]["result"] == "ok", rows
    assert relay.count("xmpp_breakers_closed_total") == 1
    assert write(trunk, TENANT) in (200, 202)
    assert TENANT in partner.stanzas.get(timeout=PATIENCE_S)
    assert relay.logged("breaker.closed", SECOND)
    assert TENANT not in links(relay)


def test_partner_that_refuses_each(relay, trunk, partner):
    """N9: policy-violation may be about the tenant: each tries for itself, and one that is
    welcome is let in."""
    partner.condition = "policy-violation"
    for domain in DOMAINS:
        assert write(trunk, domain) >= 400
    assert partner.streams == len(DOMAINS)
    assert relay.count("xmpp_breakers_opened_total") == 0
    rows = links(relay)
    assert set(rows) == set(DOMAINS)
    assert all("policy-violation" in row["reason"] and row["state"] in ("backoff", "none")
               for row in rows.values()), rows
    partner.condition = None
    assert write(trunk, TENANT) in (200, 202)
    assert TENANT in partner.stanzas.get(timeout=PATIENCE_S)


def test_partner_that_does_not_answer(relay, trunk):
    """Nobody listens there. With another configuration everybody may try again."""
    answers = {write(trunk, domain) for domain in DOMAINS}
    assert answers == {504}
    assert relay.count("xmpp_breakers_opened_total") == 1
    refused = relay.count("xmpp_breaker_refused_total")
    assert "done" in relay.control("reload")
    with contextlib.closing(Server(relay.second, relay.good, SECOND)) as server:
        assert write(trunk, TENANT) in (200, 202)
        assert TENANT in server.stanzas.get(timeout=PATIENCE_S)
    assert relay.count("xmpp_breaker_refused_total") == refused
