# SPDX-License-Identifier: GPL-3.0-or-later
"""Streams that go both ways (XEP-0288) under attack."""
import pytest

import attack_wire
import peers
from attack_certificates import Authority
from attack_kit import (HOSTILE, OTHER_TENANT, PARTNER, TENANT, Counting, attacked,  # noqa: F401
                        message, sip)
from test_bidi import ENABLED, EXTERNAL, Bidi, ByDialback, scene, serving  # noqa: F401


def ending(serving, scene, domain, kind=Bidi, **more):  # noqa: F811
    """The stream error with which the relay ends its stream to a server."""
    ends = []

    class Ending(kind):
        def collect(self, stream):
            ends.append(attack_wire.condition(stream.rest()))
    serving(Ending, domain=domain, **more)
    scene.trunk.ask(sip(uri=f"sip:x@{domain}", body="hello"))
    return peers.wait_for("the relay ends its stream", lambda: ends)[0]


FOREIGN = {
    "another-sender": (dict(sender=f"juliet@{PARTNER}"), "invalid-from"),
    "another-tenant": (dict(to=f"bob@{OTHER_TENANT}"), "host-unknown"),
    "the-way-of-the-relay": (dict(sender=f"bob@{TENANT}", to="x@{domain}"), "invalid-from"),
}


@pytest.mark.parametrize("number, name", list(enumerate(FOREIGN)))
def test_traffic_for_another_pair(scene, serving, number, name):  # noqa: F811
    """B12: On a stream of the relay that goes both ways the server sends from another domain, to
    another tenant, or in the name of ours: only the inverse of the stream's own pair counts."""
    domain = HOSTILE[number]
    said, wanted = FOREIGN[name]
    text = message("no", **{"sender": f"x@{domain}",
                            **{key: value.format(domain=domain) for key, value in said.items()}})
    with Counting(scene.relay, "policy_refused_total"):
        assert ending(serving, scene, domain,
                      opened=lambda stream: stream.send(text)) == wanted


def test_stanza_before_the_proof(scene, serving, tmp_path):  # noqa: F811
    """B13: The server sends a stanza before it has taken the relay's proof: not-authorized. Behind
    <auth/> the relay says nothing more (RFC 6120 §6.3.2) and ends the connection."""
    before = scene.relay.count("xmpp_messages_accepted_total")
    ends = []

    class Hasty(Bidi):
        def prove(self, stream):
            stream.send(message("too early", sender=f"x@{self.domain}"))
            ends.append(stream.rest())
    server = serving(Hasty, domain=HOSTILE[3])
    scene.trunk.ask(sip(uri=f"sip:x@{server.domain}", body="hello"))
    assert server.proof.startswith(ENABLED)
    peers.wait_for("the connection is ended", lambda: ends == [""])
    server.close()
    text = message("too early", sender=f"x@{HOSTILE[5]}")
    assert ending(serving, scene, HOSTILE[5], ByDialback, authority=Authority(tmp_path),
                  opened=lambda stream: stream.send(text)) == "not-authorized"
    assert scene.relay.count("xmpp_messages_accepted_total") == before


class OneWay(Bidi):
    first = EXTERNAL + ENABLED  # the name of the other element


def test_stanza_on_a_stream_that_goes_one_way(scene, serving):  # noqa: F811
    """B14: The server sends a stanza on a stream that was not enabled for that, having offered it in a
    wrong namespace: not-authorized."""
    text = message("no", sender=f"x@{HOSTILE[4]}")
    assert ending(serving, scene, HOSTILE[4], OneWay,
                  opened=lambda stream: stream.send(text)) == "not-authorized"
