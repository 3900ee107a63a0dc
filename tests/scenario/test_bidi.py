# SPDX-License-Identifier: GPL-3.0-or-later
"""Streams that go both ways (XEP-0288): with a server whose stream is byte by byte in the hands of the
test, and with Prosody's mod_s2s_bidi."""
import json
import re

import pytest

import attack_certificates as certificates
import peers
from attack_kit import (NS_SASL, PATIENCE_S, SECOND, TENANT, AttackedRelay, Scene, attacked,  # noqa: F401
                        message, running, sip)
from attack_wire import answer as sip_answer
from conftest import SIP_DOMAIN
from test_managed import NS_SM, Managed, break_off

OFFER = "<bidi xmlns='urn:xmpp:features:bidi'/>"
ENABLED = "<bidi xmlns='urn:xmpp:bidi'/>"
EXTERNAL = f"<mechanisms xmlns='{NS_SASL}'><mechanism>EXTERNAL</mechanism></mechanisms>"


class Bidi(Managed):
    """Offers `first` in its features under TLS; `proof` is what the relay sent behind them. Pings are
    answered over the stream that they come on; `opened` is called as soon as stanzas may go, or, by
    dialback, before."""

    first, offer = EXTERNAL + OFFER, ""

    def __init__(self, relay, domain=SECOND, opened=lambda stream: None, authority=None):
        self.opened, self.proof, self.relay = opened, None, relay
        authority = authority or relay.authority
        super().__init__(relay.second, authority.issue(domain, [certificates.dns(domain)]), domain)
        self.answer = self.pong

    def serve(self, stream):
        self.secure(stream)
        self.greet(stream, self.first)
        self.proof = stream.until("</auth>")
        self.prove(stream)
        self.greet(stream, self.offer)
        self.streams.append(stream)
        self.opened(stream)
        self.collect(stream)

    def prove(self, stream):
        stream.send(f"<success xmlns='{NS_SASL}'/>")

    def pong(self, stanza):
        found = re.search(r"<iq type='get' from='([^']*)' to='([^']*)' id='(ping-\d+)'", stanza)
        if found:
            self.say(f"<iq type='result' from='{found.group(2)}' to='{found.group(1)}' "
                     f"id='{found.group(3)}'/>")

    def say(self, text):
        self.streams[-1].send(text)

    def rows(self):
        return [row for row in self.relay.sessions() if row["remote"] == self.domain]


class BothManaged(Bidi):
    """Each direction is acknowledged. `acks` are those of the relay."""

    offer = f"<sm xmlns='{NS_SM}'/>"
    enabled = f"<enabled xmlns='{NS_SM}' id='here' resume='true' max='60'/>"

    def __init__(self, *arguments):
        self.acks, self.resume, self.resumed = [], None, lambda stream: None
        super().__init__(*arguments)

    def take(self, stream, element):
        if element.startswith("<a "):
            self.acks.append(int(re.search("h='([0-9]+)'", element).group(1)))
        elif element.startswith("<resume "):
            self.resume = element
            stream.send(f"<resumed xmlns='{NS_SM}' h='{self.count}' previd='here'/>")
            self.resumed(stream)
        else:
            super().take(stream, element)

    def acknowledged(self):
        self.say(f"<r xmlns='{NS_SM}'/>")
        return self.acks and self.acks[-1]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    with running(tmp_path_factory.mktemp("bidi"), {"xmpp": {"bidi": True}}) as one:
        yield one


@pytest.fixture
def serving(attacked):  # noqa: F811
    """serving(Bidi) is the other server until the test's end."""
    started = []

    def start(kind=Bidi, **more):
        started.append(kind(attacked, **more))
        return started[-1]
    yield start
    for one in started:
        one.close()
        peers.wait_for("its streams are gone", lambda one=one: not one.rows())


def to_xmpp(scene, text="hello", domain=SECOND):
    """The answer to a message to that server, which is tried again while its link backs off."""
    statuses = []
    peers.wait_for("the server is tried", lambda: statuses.append(scene.trunk.ask(
        sip(uri=f"sip:juliet@{domain}", body=text))) or statuses[-1] != 504)
    return statuses[-1]


def say(text, to="bob", domain=SECOND):
    return message(text, sender=f"juliet@{domain}", to=f"{to}@{TENANT}", stanza_id=text)


def kept(scene, text):
    """The request with this text; older ones may come again."""
    while text.encode() not in (request := scene.trunk.requests.get(timeout=PATIENCE_S)):
        pass
    return request


def test_messages_go_both_ways(scene, serving):
    """Over the one stream of the relay: messages, the answer to its ping, and errors."""
    server = serving()
    before = scene.relay.count("xmpp_bidirectional_streams_total")
    assert to_xmpp(scene) == 200
    assert server.proof.startswith(f"{ENABLED}<auth ")
    server.say(say("the other way"))
    kept(scene, "the other way")
    scene.trunk.status = "404 Not Found"
    server.say(say("to nobody"))
    while "to nobody" not in (stanza := server.stanzas.get(timeout=PATIENCE_S)):
        pass
    scene.trunk.status = "200 OK"
    assert "<item-not-found " in stanza
    row, = server.rows()
    assert row["direction"] == "out"
    assert row["pairs"] == f"{TENANT}>{SECOND},{SECOND}>{TENANT}"
    assert scene.relay.count("xmpp_bidirectional_streams_total") == before + 1


def test_server_asks_on_the_stream(scene, serving):
    """A key of the relay it may ask about, its own pair it has; for more it needs another stream."""
    server = serving()
    assert to_xmpp(scene) == 200
    server.take = lambda _, element: server.stanzas.put(element)
    server.say(f"<db:result from='{SECOND}' to='{TENANT}'>k</db:result>"
               f"<db:result from='muc.{SECOND}' to='{TENANT}'>k</db:result>"
               f"<db:verify from='{SECOND}' to='{TENANT}' id='i'>k</db:verify>")
    heard = ""
    while "<db:verify " not in heard:
        heard += server.stanzas.get(timeout=PATIENCE_S)
    assert f"to='{SECOND}' type='valid'/>" in heard
    assert f"to='muc.{SECOND}' type='error'><error type='cancel'><resource-constraint" in heard
    assert f"to='{SECOND}' id='i' type='invalid'/>" in heard


class ByDialback(Bidi):
    """Verifies the relay's key by nothing."""

    first = f"<dialback xmlns='urn:xmpp:features:dialback'/>{OFFER}"

    def serve(self, stream):
        self.secure(stream)
        local = self.greet(stream, self.first)
        self.proof = stream.until("</db:result>")
        self.opened(stream)
        stream.send(f"<db:result from='{self.domain}' to='{local}' type='valid'/>")
        self.streams.append(stream)
        self.collect(stream)


def test_no_acknowledgement_is_given_up(scene, serving):
    """Who has a good certificate can have its own stream managed; this one by dialback could not be."""
    server = serving(ByDialback)
    server.answer = lambda stanza: None
    scene.trunk.ask(sip(uri=f"sip:juliet@{SECOND}", body="hello"))
    assert "<bidi" not in server.proof
    row, = server.rows()
    assert row["pairs"] == f"{TENANT}>{SECOND}"


def test_by_dialback(tmp_path):
    """Nothing is to be acknowledged here."""
    changes = {"xmpp": {"bidi": True, "stream_management": False}}
    with running(tmp_path, changes) as scene:  # noqa: F811
        server = ByDialback(scene.relay)
        assert to_xmpp(scene) == 200
        assert server.proof.startswith(f"{ENABLED}<db:result ")
        server.say(say("the other way"))
        kept(scene, "the other way")
        server.close()


def test_both_directions_are_acknowledged(scene, serving):
    server = serving(BothManaged)
    assert to_xmpp(scene) == 200
    peers.wait_for("the relay has the pong", lambda: server.acknowledged() == 1)
    scene.trunk.status = None
    server.say(say("one") + say("two", "ann"))
    one, two = kept(scene, "one"), kept(scene, "two")
    scene.trunk.send(sip_answer(two, "200 OK"))
    assert to_xmpp(scene, "on the way back") == 200
    assert server.acknowledged() == 1
    # These two, and the second pong.
    peers.wait_for("three are open", lambda: [
        (row["managed"], row["unacked"]) for row in server.rows()] == [("on", 3)])
    scene.trunk.send(sip_answer(one, "200 OK"))
    scene.trunk.status = "200 OK"
    peers.wait_for("all are acknowledged", lambda: server.acknowledged() == 4)


def test_broken_stream_is_resumed_both_ways(scene, serving):
    """By the relay, as only it can: what it has is not sent again, and what it lacks comes once."""
    server = serving(BothManaged)
    assert to_xmpp(scene) == 200
    peers.wait_for("it is two seconds old", lambda: server.rows()[0]["age_s"] >= 2)
    before = scene.relay.counts()
    scene.trunk.status = None
    server.say(say("first") + say("second", "ann"))
    first, second = kept(scene, "first"), kept(scene, "second")
    scene.trunk.send(sip_answer(first, "200 OK"))
    peers.wait_for("the first one is acknowledged", lambda: server.acknowledged() == 2)
    server.resumed = lambda stream: stream.send(say("second", "ann") + say("third", "eve"))
    break_off(server.streams[-1])
    third = kept(scene, "third")
    assert server.resume == f"<resume xmlns='{NS_SM}' h='2' previd='here'/>"
    for request in (second, third):
        scene.trunk.send(sip_answer(request, "200 OK"))
    scene.trunk.status = "200 OK"
    peers.wait_for("all are acknowledged", lambda: server.acknowledged() == 4)
    after = scene.relay.counts()
    for name in ("xmpp_messages_accepted_total", "xmpp_messages_delivered_total"):
        assert after[name] == before[name] + 3
    assert after["xmpp_streams_resumed_total"] == before["xmpp_streams_resumed_total"] + 1


def test_idle_stream_is_heard_to_its_end(tmp_path):
    with running(tmp_path, {"xmpp": {"bidi": True, "idle_timeout_ms": 1000}}) as scene:
        server = Bidi(scene.relay)
        assert to_xmpp(scene) == 200
        late = []

        def collect(stream):
            stream.until("</stream:stream>")
            stream.send(say("said late") + "</stream:stream>")
            late.append(stream.rest())
        server.close()
        peers.wait_for("its stream is gone", lambda: not server.rows())
        server = Bidi(scene.relay)
        server.collect = collect
        scene.trunk.ask(sip(uri=f"sip:juliet@{SECOND}", body="hello"))
        kept(scene, "said late")
        peers.wait_for("it is over", lambda: late == [""])
        server.close()
        scene.line = scene.relay.trusted(source="127.0.0.10")


def test_pair_that_is_served_no_longer(tmp_path):
    """Until its stream ends each message is answered."""
    with running(tmp_path, {"xmpp": {"bidi": True}}) as scene:
        server, relay = Bidi(scene.relay), scene.relay
        assert to_xmpp(scene) == 200
        relay.settings["tenants"][0].update({"policy": "list", "partners": ["good.example"]})
        relay.write()
        assert relay.control("reload").startswith("done: ")
        server.say(say("too late"))
        while "too late" not in (stanza := server.stanzas.get(timeout=PATIENCE_S)):
            pass
        assert "<not-allowed " in stanza
        peers.wait_for("its stream is closed", lambda: not server.rows())
        server.close()


def test_stop_acknowledges_what_came(tmp_path):
    """And leaves the rest to the other server."""
    with AttackedRelay(tmp_path, {"xmpp": {"bidi": True}}) as relay, Scene(relay) as scene:  # noqa: F811
        server = BothManaged(relay)
        assert to_xmpp(scene) == 200
        scene.trunk.status = None
        server.say(say("the last"))
        request = kept(scene, "the last")
        server.acks.clear()
        relay.process.terminate()
        peers.wait_for("it is stopping", lambda: relay.logged("event=session.close", "stopping"))
        server.say(say("too late"))
        scene.trunk.send(sip_answer(request, "200 OK"))
        assert relay.process.wait(PATIENCE_S) == 0
        peers.wait_for("the message and the pong are acknowledged", lambda: server.acks[-1:] == [2])
        server.close()


# ---- Prosody ----

@pytest.fixture(params=["external", "dialback"])
def sampson(request, xmpp_user):
    """A user of Prosody behind mod_s2s_bidi, and how the relay's stream proves itself."""
    name, user = {"external": ("prosody_bidi", "sampson"),
                  "dialback": ("prosody_bidi_dialback", "gregory")}[request.param]
    return xmpp_user(request.getfixturevalue(name), user), request.param


def test_prosody_answers_over_the_stream(relay, sampson, sip_user):
    """Both ways over one stream. By SASL it is the one that the relay has opened, there is no other, and
    Prosody's mod_smacks counts both directions of it; by dialback Prosody has a second one, over which
    it has asked about the relay's key, and which the relay takes if it stands first."""
    (user, auth), alice = sampson, sip_user("alice")
    domain = user.jid.split("@")[1]

    def rows():
        return [row for row in json.loads(relay.control("show sess json"))
                if row["remote"] == domain]
    for number in range(3):
        assert alice.send(f"sip:{user.jid}", f"there {number}").status in (200, 202)
        assert user.next_message()["body"] == f"there {number}"
        user.send(f"alice@{SIP_DOMAIN}", f"back {number}")
        assert alice.next_request().body.decode() == f"back {number}"
    assert alice.send(f"sip:nobody@{domain}", "refused").status == 403
    both = {f"{SIP_DOMAIN}>{domain}", f"{domain}>{SIP_DOMAIN}"}
    row, = [row for row in rows() if set(row["pairs"].split(",")) == both]
    assert row["auth"] == auth and row["stanzas_in"] >= 3
    assert row["managed"] == ("on" if auth == "external" else "-")
    peers.wait_for("all is acknowledged", lambda: not [row for row in rows() if row["unacked"]])
    if auth == "external":
        assert row["direction"] == "out" and len(rows()) == 1
        assert not [line for line in relay.output().splitlines()
                    if "session.close" in line and f"remote={domain}" in line]
    assert "bidirectional streams (bidi: true)" in relay.control(f"explain {domain} tenant sip")
