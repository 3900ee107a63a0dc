# SPDX-License-Identifier: GPL-3.0-or-later
"""Streams that go both ways (XEP-0288) under attack."""
import pytest

import attack_wire
import peers
from attack_certificates import Authority, dns
from attack_kit import (HOSTILE, OTHER_TENANT, PARTNER, SECOND, TENANT, Counting,  # noqa: F401
                        attacked, message, running, sip)
from bidi_kit import ENABLE, NS_SM, OFFER, Caller
from policy_kit import Neighbour, claim
from test_bidi import (ENABLED, EXTERNAL, Bidi, ByDialback, scene, serving,  # noqa: F401
                       to_xmpp)


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


# ---- on streams that others open ----

def refused(scene, before="", after="", domain=SECOND):  # noqa: F811
    """The stream error for what is said before the proof, or behind it."""
    relay = scene.relay
    credential = relay.authority.issue(domain, [dns(domain)])
    with relay.stream() as stream:
        stream.starttls(credential.client(), TENANT, domain)
        stream.send(before)
        if after:
            stream.external(TENANT, domain)
            stream.send_quietly(after)
        return stream.error()


@pytest.mark.parametrize("said, error", [
    (dict(before=ENABLED + ENABLED), "policy-violation"),
    (dict(after=ENABLED), "policy-violation"),
    (dict(before=ENABLED, after=ENABLED), "policy-violation"),
    (dict(before=OFFER), "unsupported-stanza-type"),
    (dict(before=f"<db:result from='{SECOND}' to='{TENANT}'>k</db:result>{ENABLED}"),
     "policy-violation")], ids=["twice", "late", "again", "feature", "behind a claim"])
def test_bidi_out_of_order(attacked, scene, said, error):  # noqa: F811
    """B16: Who opens a stream enables bidi twice, behind the proof or while that is under way, or by
    the name of the feature."""
    assert refused(scene, **said) == error


def test_bidi_that_is_not_offered(tmp_path):
    """B17: It is enabled where the rule does not offer it, in clear, and by who has not said its name."""
    with running(tmp_path) as scene:  # noqa: F811
        assert refused(scene, before=ENABLED) == "unsupported-stanza-type"
        scene.relay.settings["xmpp"]["bidi"] = True
        scene.relay.write()
        assert scene.relay.control("reload").startswith("done: ")
        for sender in (SECOND, None):
            with scene.relay.stream() as stream:
                assert "bidi" not in stream.open(TENANT, sender)
                stream.send(ENABLED)
                assert stream.error() == "unsupported-stanza-type"


@pytest.mark.parametrize("claimed", [True, False])
def test_messages_of_another_domain_are_not_to_be_had(attacked, scene, serving, claimed):  # noqa: F811
    """B18: An authenticated server enables bidi and claims the domain of another, on its own stream or
    with that name in the header: what is for the other goes to the other."""
    domain = HOSTILE[6]
    own = attacked.authority.issue(domain, [dns(domain)])
    if claimed:
        thief = Caller(attacked, domain)
        thief.say(f"<db:result from='{SECOND}' to='{TENANT}'>k</db:result>")
        assert "type='valid'" not in thief.told("db:result")
        thief.settle()
    else:
        thief = stream = attacked.stream()
        stream.starttls(own.client(), TENANT, SECOND)
        stream.send(ENABLED)
        assert "type='valid'" in claim(stream, domain)
        stream.send(message("to be let in", sender=f"x@{domain}"))
    with thief:
        server = serving()
        assert to_xmpp(scene, "a secret", SECOND) == 200
        while "a secret" not in server.stanzas.get(timeout=20):
            pass
        assert "secret" not in (thief.all() if claimed else stream.barrier(domain))
        for row in attacked.sessions():
            assert row["direction"] == "out" or row["stanzas_out"] == 0


def test_good_stream_is_not_displaced(attacked, scene, serving):  # noqa: F811
    """B19: A second server with the domain's certificate opens a stream that goes both ways while the
    relay's own is good: messages still go where DNS leads. They go over it when that has ended."""
    server = serving()
    assert to_xmpp(scene, "first", SECOND) == 200
    with Caller(attacked) as caller:
        caller.settle()
        for number in range(3):
            assert to_xmpp(scene, f"still there {number}", SECOND) == 200
        assert "still there" not in caller.all()
        assert caller.rows("in")[0]["pairs"] == f"{SECOND}>{TENANT},({TENANT}>{SECOND})"
        server.close()
        peers.wait_for("it is gone", lambda: not caller.rows("out"))
        assert to_xmpp(scene, "now here", SECOND) == 200
        caller.got("now here")


def test_weaker_proof_is_not_sent_to(tmp_path):
    """B20: Where the server that is called must show a good certificate, one that calls with another
    and is let in by dialback is heard, and gets nothing."""
    with running(tmp_path, {"xmpp": {"bidi": True, "trust": "pkix"}}) as scene:  # noqa: F811
        relay = scene.relay
        relay.every = relay.authority.issue("every", [dns(SECOND)])
        stranger = Authority(tmp_path / "stranger", "stranger").issue(SECOND, [dns(SECOND)])
        server = Neighbour(relay, SECOND, "dialback")
        with Caller(relay, credential=stranger, dialback=True) as caller:
            assert "type='valid'" in caller.verdict
            caller.settle()
            assert to_xmpp(scene, "for the other", SECOND) in (200, 202)
            while "for the other" not in server.stanzas.get(timeout=20):
                pass
            server.close()
            peers.wait_for("the relay's stream is gone", lambda: not caller.rows("out"))
            assert scene.trunk.ask(sip(uri=f"sip:x@{SECOND}", body="for nobody")) == 504
            assert "for " not in caller.all()
            assert relay.count("xmpp_streams_adopted_total") == 0


def test_acknowledges_what_was_never_sent(attacked, scene):  # noqa: F811
    """B21: On a stream that goes both ways it acknowledges, or resumes behind, more than it got."""
    with Caller(attacked, first=ENABLE) as caller:
        caller.told("<enabled ")
        caller.say(f"<a xmlns='{NS_SM}' h='1'/>")
        assert "<handled-count-too-high " in caller.told("</stream:error>")
    with Caller(attacked, first=ENABLE) as caller:
        name = caller.told("<enabled ").split(" id='")[1].split("'")[0]
        assert to_xmpp(scene, "one", SECOND) == 200
        caller.say(f"<a xmlns='{NS_SM}' h='7'/>")
        assert "<handled-count-too-high " in caller.told("</stream:error>")
    with Caller(attacked, first=ENABLE) as caller:
        name = caller.told("<enabled ").split(" id='")[1].split("'")[0]
        with Caller(attacked, first=f"<resume xmlns='{NS_SM}' h='9' previd='{name}'/>") as again:
            assert "<handled-count-too-high " in again.told("</stream:error>")
