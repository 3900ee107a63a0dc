# SPDX-License-Identifier: GPL-3.0-or-later
"""Server Dialback (XEP-0220) under attack, in its three roles: the relay as the authority for its
tenants, as the server that is called, and as the server that calls."""
import datetime
import hashlib
import hmac
import json
import queue
import re

import pytest

import attack_wire
import peers
from attack_certificates import DAY, dns, plain_context
from attack_kit import (HOSTILE, NS_SASL, OTHER_TENANT, PARTNER, PATIENCE_S, SECOND, SECRET, TENANT,  # noqa: F401
                        Counting, Server, attacked, message, numbers, scene, sip)

DIALBACK = "<dialback xmlns='urn:xmpp:features:dialback'/>"


def key_of(receiving, originating, stream_id, secret=SECRET):
    """XEP-0185 §3."""
    hashed = hashlib.sha256(secret.encode()).hexdigest()
    text = f"{receiving} {originating} {stream_id}"
    return hmac.new(hashed.encode(), text.encode(), hashlib.sha256).hexdigest()


def unproved(relay, sender=SECOND, to=TENANT):
    """A stream under TLS without a certificate."""
    stream = relay.stream()
    stream.starttls(plain_context(), to, sender)
    return stream


def claim(stream, sender=SECOND, to=TENANT, key="x"):
    stream.send(f"<db:result from='{sender}' to='{to}'>{key}</db:result>")


class Authority(Server):
    """The server that the relay asks about SECOND: takes the relay's own claim and answers its
    db:verify as `verdict` says, which is given the question's from, to and id."""

    def __init__(self, relay, verdict):
        self.verdict = verdict
        super().__init__(relay.second, relay.good, SECOND)

    def serve(self, stream):
        self.secure(stream)
        self.greet(stream, DIALBACK)
        self.speak = stream
        self.collect(stream)

    def answer(self, stanza):
        found = re.search(r"<db:(\w+) from='([^']*)' to='([^']*)'(?: id='([^']*)')?", stanza)
        if found and found.group(1) == "result":
            self.speak.send(f"<db:result from='{SECOND}' to='{found.group(2)}' type='valid'/>")
        elif found:
            self.speak.send(self.verdict(found.group(2), found.group(3), found.group(4)))

    def __setattr__(self, name, value):
        if name != "answer":  # the method above is the answer
            super().__setattr__(name, value)


def verify(sender, to, stream_id, verdict):
    return f"<db:verify from='{sender}' to='{to}' id='{stream_id}' type='{verdict}'/>"


@pytest.fixture
def authority(attacked):  # noqa: F811
    """authority(verdict) is there until the test's end."""
    started = []

    def start(verdict):
        started.append(Authority(attacked, verdict))
        return started[-1]
    yield start
    for one in started:
        one.close()
    peers.wait_for("the link to the authority is gone", lambda: not any(
        one["remote"] == SECOND for one in attacked.sessions()))


# ---- as the authority ----

KEYS = {
    "another-stream": key_of(PARTNER, TENANT, "other"),
    "another-receiver": key_of("other.example", TENANT, "s1"),
    "another-tenant": key_of(PARTNER, OTHER_TENANT, "s1"),
    "the-other-way": key_of(TENANT, PARTNER, "s1"),
    "another-secret": key_of(PARTNER, TENANT, "s1", "another secret of a relay"),
    "shortened": key_of(PARTNER, TENANT, "s1")[:-1],
    "lengthened": key_of(PARTNER, TENANT, "s1") + "0",
    "in-capitals": key_of(PARTNER, TENANT, "s1").upper(),
    "empty": "",
    "long": "a" * 8000,
}


@pytest.mark.parametrize("name", KEYS)
def test_key_that_was_never_given(attacked, name):  # noqa: F811
    """B1: The relay is asked about a key for another stream or pair, a shifted or cut one: it
    calls it invalid. The right one is valid, so that the others are wrong for their reason."""
    good = key_of(PARTNER, TENANT, "s1")
    with unproved(attacked, PARTNER) as stream:
        for key, wanted in ((KEYS[name], "invalid"), (good, "valid")):
            stream.send(f"<db:verify from='{PARTNER}' to='{TENANT}' id='s1'>{key}</db:verify>")
            assert f"type='{wanted}'" in stream.until("/>")


@pytest.mark.parametrize("stream_id, key", [
    (f"{TENANT} s1", key_of(PARTNER, TENANT, "s1")),
    ("s1 ", key_of(PARTNER, TENANT, "s1")),
    ("", key_of(PARTNER, TENANT, "s1"))])
def test_key_with_shifted_boundaries(attacked, stream_id, key):  # noqa: F811
    """B2: What was the end of a domain moves into the stream id, and the other way round."""
    with unproved(attacked, PARTNER) as stream:
        stream.send(f"<db:verify from='{PARTNER}' to='{TENANT}' id='{stream_id}'>{key}</db:verify>")
        assert "type='invalid'" in stream.until("/>")


# ---- as the server that is called ----

@pytest.mark.parametrize("said", [SECOND, None])
def test_claim_is_verified(scene, attacked, authority, said):  # noqa: F811
    """B3: The honest case, so that the attacks below fail for their own reason: a claim that the
    authority confirms is good for its pair and for no other, be its domain in the stream's header
    or not (RFC 6120 §4.7.1: old servers leave it out)."""
    authority(lambda local, remote, stream_id: verify(remote, local, stream_id, "valid"))
    text = f"by dialback {next(numbers)}"
    with unproved(attacked, said) as stream:
        claim(stream)
        stream.until("type='valid'/>")
        stream.send(message(text, sender=f"x@{SECOND}"))
        while text.encode() not in scene.trunk.requests.get(timeout=PATIENCE_S):
            pass
        stream.send(message("no", sender=f"x@{SECOND}", to=f"bob@{OTHER_TENANT}"))
        assert stream.error() == "host-unknown"


def test_claim_that_the_authority_denies(attacked, authority):  # noqa: F811
    """B4: The authority says invalid: so does the relay, and ends the stream."""
    authority(lambda local, remote, stream_id: verify(remote, local, stream_id, "invalid"))
    with Counting(attacked, "dialback_refused_total"), unproved(attacked) as stream:
        claim(stream)
        assert "type='invalid'" in stream.rest()
    assert attacked.logged("event=dialback.refused", f"partner={SECOND}", "key invalid")


CROSSED = {
    "another-id": lambda local, remote, stream_id: verify(remote, local, "i0", "valid"),
    "no-id": lambda local, remote, stream_id: verify(remote, local, "", "valid"),
    "another-sender": lambda local, remote, stream_id: verify("x.example", local, stream_id,
                                                              "valid"),
    "another-tenant": lambda local, remote, stream_id: verify(remote, OTHER_TENANT, stream_id,
                                                              "valid"),
    "a-result": lambda local, remote, stream_id:
        f"<db:result from='{remote}' to='{local}' id='{stream_id}' type='valid'/>",
    "no-type": lambda local, remote, stream_id:
        f"<db:verify from='{remote}' to='{local}' id='{stream_id}'/>",
    "another-type": lambda local, remote, stream_id: verify(remote, local, stream_id, "maybe"),
}


@pytest.mark.parametrize("name", CROSSED)
def test_answer_that_does_not_fit_the_question(attacked, authority, name):  # noqa: F811
    """B5: What comes back over the authority's stream is for another stream id, another pair, or
    of another kind: it proves nothing."""
    authority(lambda *question: CROSSED[name](*question) + verify(
        question[1], question[0], question[2], "invalid"))
    with unproved(attacked) as stream:
        claim(stream)
        assert "type='valid'" not in stream.rest()


def test_peer_answers_its_own_claim(attacked, authority):  # noqa: F811
    """B6: While the relay asks the authority, the claimant itself sends the answer on its own
    stream: nobody asked there, it is ignored and counted."""
    late = queue.Queue()

    def verdict(local, remote, stream_id):
        late.get(timeout=PATIENCE_S)
        return verify(remote, local, stream_id, "invalid")
    authority(verdict)
    with Counting(attacked, "dialback_refused_total"), unproved(attacked) as stream:
        claim(stream)
        for kind in ("result", "verify"):
            stream.send(f"<db:{kind} from='{SECOND}' to='{TENANT}' id='i1' type='valid'/>")
        stream.barrier(SECOND)
        late.put(True)
        assert "type='invalid'" in stream.rest()
    assert attacked.logged("event=dialback.refused", "that nobody made")


def test_stanza_before_the_verdict(attacked, authority):  # noqa: F811
    """B7: A message right behind the claim, before the authority has spoken: not-authorized."""
    late = queue.Queue()

    def verdict(local, remote, stream_id):
        late.get(timeout=PATIENCE_S)
        return verify(remote, local, stream_id, "valid")
    authority(verdict)
    with unproved(attacked) as stream:
        claim(stream)
        stream.send(message("too early", sender=f"x@{SECOND}"))
        assert stream.error() == "not-authorized"
    late.put(True)


def test_second_pair_is_refused_on_a_multiplexed_stream(scene, attacked):  # noqa: F811
    """B8: A proved partner claims a domain that its certificate does not name, and one for a
    domain that is not served: it gets a dialback error each, and the stream goes on."""
    with attacked.trusted() as stream:
        for sender, to in (("nobody.example", TENANT), (PARTNER, "elsewhere.example")):
            claim(stream, sender, to)
            assert f"to='{sender}' type='error'" in stream.until("</db:result>")
            peers.wait_for("it shows", lambda: any(
                row["event"] == "dialback.refused" and row["partner"] == sender for row in
                json.loads(attacked.control("show errors json"))))
        text = f"goes on {next(numbers)}"
        stream.send(message(text))
        while text.encode() not in scene.trunk.requests.get(timeout=PATIENCE_S):
            pass
        stream.send(message("no", sender="x@nobody.example"))
        assert stream.error() == "invalid-from"


def test_tenant_as_a_partner(attacked):  # noqa: F811
    """B9: A peer that claims to be one of the relay's own tenants, by certificate or by
    dialback: the relay would be its own authority, and messages between tenants would pass as
    federation."""
    credential = attacked.authority.issue("as-tenant", [
        dns(OTHER_TENANT), dns(TENANT)])
    for sender in (OTHER_TENANT, TENANT):
        with attacked.stream() as stream:
            with pytest.raises(attack_wire.Closed) as closed:
                stream.starttls(credential.client(), TENANT, sender)
            assert attack_wire.condition(str(closed.value)) == "policy-violation"
        with attacked.stream() as stream:
            stream.starttls(credential.client(), TENANT, SECOND)
            claim(stream, sender, TENANT, key_of(TENANT, sender, "s1"))
            assert "type='error'" in stream.until("</db:result>")
            stream.send(message("hello neighbour", sender=f"x@{sender}"))
            assert stream.error() == "not-authorized"


def test_pairs_of_one_stream(attacked):  # noqa: F811
    """B10: One stream claims more domains than it may hold pairs: resource-constraint for the
    rest, and the stream goes on."""
    names = [dns(f"many{number}.example") for number in range(70)]
    credential = attacked.authority.issue("many", names)
    with attacked.stream() as stream:
        stream.starttls(credential.client(), TENANT, "many0.example")
        for number in range(70):
            claim(stream, f"many{number}.example")
            text = stream.until("</db:result>", "type='valid'/>")
            assert ("<resource-constraint " in text) == (number >= 64)


def test_certificate_that_has_expired_by_the_claim(attacked):  # noqa: F811
    """B15: A certificate that was good in the handshake and has expired since spares no call back
    (XEP-0344 §3), and there is nobody to call; nor does SASL take it any more."""
    life = DAY + datetime.timedelta(seconds=3)
    short = attacked.authority.issue("brief", [dns(SECOND)], life=life)
    over = datetime.datetime.now() + datetime.timedelta(seconds=3)
    with attacked.stream() as stream:
        stream.starttls(short.client(), TENANT, SECOND)
        peers.wait_for("it has expired", lambda: datetime.datetime.now() > over)
        stream.send(f"<auth xmlns='{NS_SASL}' mechanism='EXTERNAL'>=</auth>")
        assert "<not-authorized/>" in stream.until("</failure>")
        claim(stream)
        assert "type='error'" in stream.until("</db:result>", "type='valid'/>")


# ---- as the server that calls ----

ANSWERS = {
    "for-another-tenant": "<db:result from='{0}' to='b.example' type='valid'/>",
    "from-another-domain": f"<db:result from='{PARTNER}' to='{{1}}' type='valid'/>",
    "as-verify": "<db:verify from='{0}' to='{1}' id='x' type='valid'/>",
    "without-type": "<db:result from='{0}' to='{1}'/>",
    "invalid": "<db:result from='{0}' to='{1}' type='invalid'/>",
    "right": "<db:result from='{0}' to='{1}' type='valid'/>",
}


class Answering(Server):
    """Takes the relay's key, gives its answer, and ends the stream when the relay has made up
    its mind: it sends what waits, ends the stream itself, or counts the answer as refused."""

    def __init__(self, relay, domain, text):
        self.text, self.relay = text, relay
        super().__init__(relay.second, relay.good, domain)

    def serve(self, stream):
        self.secure(stream)
        local = self.greet(stream, DIALBACK)
        stream.until("</db:result>")
        refused = self.relay.count("dialback_refused_total")
        stream.send(self.text.format(self.domain, local))
        if self.text == ANSWERS["right"]:
            self.stanzas.put(stream.until("</message>"))
            return
        if self.text != ANSWERS["invalid"]:
            peers.wait_for("the answer is refused", lambda: self.relay.count(
                "dialback_refused_total") > refused)
            stream.send("</stream:stream>")
        self.stanzas.put(stream.rest())


@pytest.mark.parametrize("number, name", list(enumerate(ANSWERS)))
def test_result_that_is_not_for_the_pair(scene, attacked, number, name):  # noqa: F811
    """B11: The called server says valid for another pair or in another element, or invalid: the
    relay sends it no message; the SIP sender is told an error."""
    server = Answering(attacked, HOSTILE[number], ANSWERS[name])
    status = scene.trunk.ask(sip(uri=f"sip:x@{server.domain}", body="secret"))
    assert ("secret" in server.stanzas.get(timeout=PATIENCE_S)) == (name == "right")
    assert name == "right" or status >= 400
    server.close()
