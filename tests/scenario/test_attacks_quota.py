# SPDX-License-Identifier: GPL-3.0-or-later
"""One tenant, or one partner, that has more than its share: the others go on, and each of its
messages is delivered or answered."""
import contextlib
import json
import queue
import re
import time

import pytest

from attack_kit import AttackedRelay, Counting, Scene
from attack_wire import (OTHER_TENANT, OTHER_TRUNK_HOST, PARTNER, PATIENCE_S, TRUNK_HOST, message,
                         sip)

POOL = 64  # parcels for messages: 128 without those that are kept for answers
BURST = 5
RATED = {"messages_per_second_max": 1, "messages_burst_max": BURST}


@contextlib.contextmanager
def running(folder, more=None):
    """A relay with few parcels; `more` are further keys of the second tenant."""
    relay = AttackedRelay(folder, {"global": {"parcel_count": 128, "log_level": "info"}})
    relay.settings["tenants"][1].update(more or {})
    relay.write()
    with relay, Scene(relay) as scene:
        yield scene
        assert relay.alive(), relay.tail()
        assert relay.stop() == 0, relay.tail()


def flood(stream, count, sender=PARTNER, to=OTHER_TENANT):
    """A message to each of so many users."""
    stream.send("".join(message(f"flood {number}", sender=f"juliet@{sender}", to=f"u{number}@{to}",
                                stanza_id=f"f{number}") for number in range(count)))


def errors(scene, count):
    """The next error stanzas that the honest partner gets."""
    found = []
    while len(found) < count:
        stanza = scene.partner.stanzas.get(timeout=PATIENCE_S)
        if "type='error'" in stanza:
            found.append(stanza)
    return found


def over_quota(relay):
    return {row["tenant"]: row["over_quota"] for row in json.loads(
        relay.control("show tenants json"))}


def test_a_silent_tenant_on_a_shared_stream(tmp_path):
    """L11: Its messages to users that never answer fill half of the pool; more are refused, and the
    other tenant on the same stream is served."""
    with running(tmp_path) as scene:
        scene.other_trunk.status = None
        flood(scene.line, 2 * POOL)
        scene.to_sip("behind the flood")
        refused = errors(scene, 2 * POOL - POOL // 2 - 1)
        for stanza in refused:
            assert "<resource-constraint " in stanza and "type='wait'" in stanza
            assert "Too many messages for this SIP domain are in flight" in stanza
        assert scene.to_xmpp("the other way")[0] in (200, 202)
        assert over_quota(scene.relay) == {"a": 0, "b": len(refused), "t": 0}
        assert "Too many messages for this SIP domain" in scene.relay.control("show errors")
        assert (f'passerelle_tenant_over_quota_total{{tenant="b"}} {len(refused)}\n'
                in scene.relay.control("metrics"))


def test_a_silent_tenant_on_its_own_stream(tmp_path):
    """L12: A stream that carries nothing else stands still, as long as the trunk is silent; nobody is
    refused, and other streams go on."""
    with running(tmp_path, {"xmpp": {"messages_in_flight_max": 10}}) as scene:
        relay = scene.relay
        scene.other_trunk.status = None
        with relay.trusted(to=OTHER_TENANT) as stream:
            with Counting(relay, "quota_pauses_total"):
                flood(stream, 30)
            scene.to_sip("beside the stream")
            assert scene.to_xmpp("the other way")[0] in (200, 202)
            scene.other_trunk.status = "200 OK"
            seen = set()
            while len(seen) < 30:
                request = scene.other_trunk.requests.get(timeout=PATIENCE_S)
                seen.update(re.findall(rb"\r\n\r\nflood (\d+)", request))
            assert relay.count("quota_refused_total") == 0


PLACES = {"tenant": ({"xmpp": RATED}, 503, "for this SIP domain"),
          "partner": ({"partner_rules": [{"domain": PARTNER, **RATED}]}, 500,
                      "between these two domains")}


@pytest.mark.parametrize("place", PLACES)
def test_too_many_a_second(tmp_path, place):
    """L13: What is more than a burst is refused, both ways, with a sentence; another tenant's is not.
    503 makes a server stop: where one partner is the reason, the answer is about the request."""
    more, status, words = PLACES[place]
    with running(tmp_path, more) as scene:
        since_s = time.monotonic()
        flood(scene.line, 20)
        scene.to_sip("behind the flood")
        most = BURST + 1 + int(time.monotonic() - since_s)
        for stanza in errors(scene, 20 - most):
            assert f"Too many messages a second {words}" in stanza
        arrived = set()
        with contextlib.suppress(queue.Empty):
            while True:
                patience_s = PATIENCE_S if len(arrived) < BURST else 0.1
                request = scene.other_trunk.requests.get(timeout=patience_s)
                arrived.update(re.findall(rb"\r\n\r\nflood (\d+)", request))
        assert BURST <= len(arrived) <= most

        answers = [refused_or_taken(scene, f"bob@{OTHER_TENANT}") for _ in range(20)]
        refused = [one for one in answers if one is not None]
        assert refused
        for one in refused:
            assert one.startswith(f"SIP/2.0 {status} Too many messages a second {words}\r\n")
            assert "\r\nRetry-After: 1\r\n" in one
        assert over_quota(scene.relay)["b"] >= 20 - most + len(refused)
        errors_shown = scene.relay.control("show errors")
        assert "sip.over_quota\tb\t" in errors_shown and words in errors_shown
        for number in range(20):
            assert scene.to_xmpp(f"another tenant {number}")[0] in (200, 202)


def test_far_too_many_a_second_on_its_own_stream(tmp_path):
    """L15: What a stream that carries nothing else brings is read no faster than twice the rate, and
    a little more where the rate is small; each message is delivered or refused in the end."""
    count = 60
    with running(tmp_path, {"xmpp": RATED}) as scene:
        relay = scene.relay
        with relay.trusted(to=OTHER_TENANT) as stream:
            with Counting(relay, "quota_pauses_total"):
                flood(stream, count)
            scene.to_sip("beside the stream")
            assert scene.to_xmpp("the other way")[0] in (200, 202)
            delivered, refused = set(), set()
            end_s = time.monotonic() + PATIENCE_S
            while len(delivered | refused) < count and time.monotonic() < end_s:
                with contextlib.suppress(queue.Empty):
                    request = scene.other_trunk.requests.get(timeout=0.05)
                    delivered.update(re.findall(rb"\r\n\r\nflood (\d+)", request))
                with contextlib.suppress(queue.Empty):
                    stanza = scene.partner.stanzas.get(timeout=0.05)
                    if "type='error'" in stanza:
                        assert "Too many messages a second for this SIP domain" in stanza
                        refused.update(re.findall(rb"id='f(\d+)'", stanza.encode()))
            assert len(delivered | refused) == len(delivered) + len(refused) == count
            assert min(len(delivered), len(refused)) >= BURST
            assert over_quota(relay)["b"] == len(refused)


def test_far_too_many_a_second_on_a_shared_stream(tmp_path):
    """L17: What is refused on a stream of several tenants comes in runs of a few, others being
    served between them; the log has a line a second for it, which says how many it stands for."""
    count = 1000
    with running(tmp_path, {"xmpp": RATED}) as scene:
        since_s = time.monotonic()
        flood(scene.line, count)
        scene.to_sip("behind the flood")
        refused = errors(scene, count - BURST - 1 - int(time.monotonic() - since_s))
        lasted_s = time.monotonic() - since_s
        assert len({re.search(r"id='f(\d+)'", stanza).group() for stanza in refused}) == len(refused)
        lines = [int(re.search(r" refused=(\d+) ", line).group(1))
                 for line in scene.relay.output().splitlines() if "event=xmpp.over_quota" in line]
        assert 1 <= len(lines) <= 2 + lasted_s and lines[0] == 1
        assert sum(lines) <= over_quota(scene.relay)["b"]
        assert "xmpp.over_quota\tb\t" in scene.relay.control("show errors")


def refused_or_taken(scene, sender):
    """The final answer to a message of that user when it is a refusal; else None."""
    trunk = scene.other_trunk
    request = sip(sender=f"sip:{sender}", body="one of many")
    call = re.search(rb"\r\nCall-ID: [^\r]*", request).group()
    trunk.send(request)
    while True:
        response = trunk.response()
        if call in response and not response.startswith(b"SIP/2.0 1"):
            return None if response.startswith(b"SIP/2.0 2") else response.decode()


def test_a_server_of_several_tenants(tmp_path):
    """L14: 503 would keep it from sending anything of the others: it gets 500."""
    with running(tmp_path) as scene:
        relay = scene.relay
        relay.settings["tenants"][0]["xmpp"] = RATED
        relay.settings["tenants"][1]["trunks"][0]["sources"] = [OTHER_TRUNK_HOST, TRUNK_HOST]
        relay.write()
        assert relay.control("reload").startswith("done: ")
        statuses = [scene.trunk.ask(sip(body="one of many")) for _ in range(20)]
        assert set(statuses) - {200, 202} == {500}
        assert statuses.index(500) >= BURST - 1
