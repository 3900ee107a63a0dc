# SPDX-License-Identifier: GPL-3.0-or-later
"""Stream management (XEP-0198): with Prosody's mod_smacks, and with a server whose stream is byte by
byte in the hands of the test."""
import contextlib
import json
import re
import socket

import pytest

import attack_certificates as certificates
import peers
from attack_kit import (NS_SASL, NS_TLS, PATIENCE_S, SECOND, TENANT, AttackedRelay,  # noqa: F401
                        Scene, Server, Stream, answer, attacked, header, message, running, sip)
from conftest import XMPP_DOMAIN
from test_restart import recover

NS_SM = "urn:xmpp:sm:3"


class Managed(Server):
    """A server that counts the stanzas since <enable/> and acknowledges what `handled` says of
    them when it is asked; it answers no ping unless told. `offer` is in its last features;
    `enabled` answers <enable/>."""

    offer = f"<sm xmlns='{NS_SM}'/>"
    enabled = f"<enabled xmlns='{NS_SM}'/>"

    def __init__(self, *arguments):
        self.count, self.streams = 0, []
        self.handled = lambda count: count
        super().__init__(*arguments)

    def serve(self, stream):
        self.secure(stream)
        self.greet(stream, f"<mechanisms xmlns='{NS_SASL}'><mechanism>EXTERNAL</mechanism>"
                           "</mechanisms>")
        stream.until("</auth>")
        stream.send(f"<success xmlns='{NS_SASL}'/>")
        self.greet(stream, self.offer)
        self.streams.append(stream)
        self.collect(stream)

    def collect(self, stream):
        while True:
            element = stream.until("</message>", "</iq>", "/>")
            kind = re.match(r"<(message|iq) ", element)
            if kind and not element.endswith(f"</{kind.group(1)}>"):
                element += stream.until(f"</{kind.group(1)}>")
            self.take(stream, element)

    def take(self, stream, element):
        if element.startswith("<enable "):
            self.count = 0
            stream.send(self.enabled)
        elif element.startswith("<r "):
            stream.send(f"<a xmlns='{NS_SM}' h='{self.handled(self.count)}'/>")
        elif element.startswith(("<message ", "<iq ")):
            self.count += 1
            self.stanzas.put(element)
            self.answer(element)


@pytest.fixture(scope="module", params=[1, 3], ids=["one worker", "three workers"])
def scene(request, tmp_path_factory):  # noqa: F811
    with running(tmp_path_factory.mktemp("managed"), {
            "global": {"workers": request.param}, "xmpp": {"confirm_timeout_ms": 500}}) as one:
        yield one


@pytest.fixture
def managed(attacked):  # noqa: F811
    credential = attacked.authority.issue(SECOND, [certificates.dns(SECOND)])
    server = Managed(attacked.second, credential, SECOND)
    server.outbound = lambda: [row for row in attacked.sessions()
                               if (row["remote"], row["direction"]) == (SECOND, "out")]
    yield server
    server.close()
    peers.wait_for("its stream is gone", lambda: not server.outbound())


def ask(scene, text="hello"):  # noqa: F811
    """The answer to a message to the managed server."""
    # The link may back off from the last test's server.
    statuses = []
    peers.wait_for("the server is tried", lambda: statuses.append(scene.trunk.ask(
        sip(uri=f"sip:juliet@{SECOND}", body=text))) or statuses[-1] != 504)
    return statuses[-1]


def test_acknowledged_is_delivered_without_a_pong(managed, scene):  # noqa: F811
    """The server has it, and nothing was heard against it."""
    before = scene.relay.counts()
    assert ask(scene) == 200
    row, = managed.outbound()
    assert row["managed"] == "on"
    after = scene.relay.counts()
    assert after["xmpp_managed_streams_total"] > before["xmpp_managed_streams_total"]
    # The message and the ping.
    peers.wait_for("both are acknowledged", lambda: scene.relay.count(
        "xmpp_stanzas_acknowledged_total") == before["xmpp_stanzas_acknowledged_total"] + 2)


def test_unacknowledged_is_handed_over(managed, scene):  # noqa: F811
    managed.handled = lambda count: 0
    assert ask(scene) == 202
    row, = managed.outbound()
    assert row["unacked"] == 2


def test_refusal_behind_the_answer(line, managed, scene):  # noqa: F811
    """Later than confirm_timeout_ms it changes nothing: the acknowledgement has counted."""
    assert ask(scene, "refused late") == 200
    while "refused late" not in (stanza := managed.stanzas.get(timeout=PATIENCE_S)):
        pass
    said, to = re.search(r" id='([^']*)'", stanza).group(1), re.search(
        r"<message from='([^']*)'", stanza).group(1)
    before = scene.relay.count("xmpp_messages_ignored_total")
    line.send(f"<message type='error' from='juliet@{SECOND}' to='{to}' id='{said}'><error type='cancel'>"
              "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
    peers.wait_for("it is ignored", lambda: scene.relay.count(
        "xmpp_messages_ignored_total") == before + 1)


def break_off(stream):
    stream.socket.shutdown(socket.SHUT_RDWR)


def end_tls(stream):
    """Which is not the stream (XEP-0198 §7)."""
    with contextlib.suppress(OSError):
        stream.socket.unwrap()


@pytest.mark.parametrize("end", [break_off, end_tls])
@pytest.mark.parametrize("handled", [True, False])
def test_broken_stream(managed, scene, handled, end):  # noqa: F811
    """What was acknowledged is delivered; of what was not its sender hears."""
    managed.handled = lambda count: 0
    assert ask(scene, "the first") == 202

    def cut(element):
        stream = managed.streams[-1]
        if "<message " in element:
            if handled:
                stream.send(f"<a xmlns='{NS_SM}' h='{managed.count}'/>")
            end(stream)

    managed.answer = cut
    before = scene.relay.count("xmpp_stanzas_unacknowledged_total")
    status = scene.trunk.ask(sip(uri=f"sip:juliet@{SECOND}", body="the last"))
    assert status == (200 if handled else 504)
    assert scene.relay.count("xmpp_stanzas_unacknowledged_total") > before


@pytest.mark.parametrize("answer", ["", f"<failed xmlns='{NS_SM}'/>"], ids=["silent", "refuses"])
def test_server_that_does_not_enable(managed, scene, answer):  # noqa: F811
    """Then it is as without: the stanza went, and nothing more is claimed."""
    managed.enabled, managed.handled = answer, lambda count: 0
    assert ask(scene) == 202


# ---- what the relay receives ----

@pytest.fixture
def line(attacked, scene):  # noqa: F811
    """A managed stream to the relay, and a trunk that keeps what it gets."""
    scene.trunk.status = None
    stream = attacked.trusted(SECOND, credential=attacked.authority.issue(
        SECOND, [certificates.dns(SECOND)]))
    stream.send(f"<enable xmlns='{NS_SM}' resume='true'/>")
    enabled = stream.until("<enabled ") + stream.until("/>")
    assert "resume='true'" in enabled and "max='60'" in enabled
    stream.id = re.search(" id='([0-9a-f]{32})'", enabled).group(1)
    yield stream
    scene.trunk.status = "200 OK"
    stream.close()


def again(attacked, previous, h=0, domain=SECOND):  # noqa: F811
    """A new stream that asks for a former one, and the answer."""
    stream = attacked.trusted(domain, credential=attacked.authority.issue(
        domain, [certificates.dns(domain)]))
    stream.send(f"<resume xmlns='{NS_SM}' h='{h}' previd='{previous}'/>")
    return stream, stream.until("<resumed ", "<failed ", "<stream:error>") + stream.until("/>")


@pytest.fixture
def broken(attacked, line, scene):  # noqa: F811
    """The id of a stream that broke while the second of three messages had its outcome, the
    requests of the others, and the counters before."""
    before = attacked.counts()
    line.send(say("first", "bob") + say("second", "ann") + say("third", "eve"))
    requests = [kept(scene, text) for text in ("first", "second", "third")]
    scene.trunk.send(answer(requests[1], "200 OK"))
    line.socket.close()
    peers.wait_for("the stream is gone", lambda: not [
        row for row in attacked.sessions() if row["remote"] == SECOND])
    return line.id, requests[0], requests[2], before


def next_answer(stream):
    text = stream.until(f"<a xmlns='{NS_SM}'") + stream.until("/>")
    return int(re.search(r"h='(\d+)'/>$", text).group(1))


def acknowledged(stream):
    """What is said when it is asked for now; a dialback answer marks where now is."""
    stream.barrier(SECOND)
    stream.send(f"<r xmlns='{NS_SM}'/>")
    return next_answer(stream)


def acknowledges(stream, h):
    """Sooner or later, and never more."""
    while (said := next_answer(stream)) < h:
        pass
    assert said == h


def kept(scene, text):  # noqa: F811
    """The request with this text, unanswered; older ones may come again."""
    while text.encode() not in (request := scene.trunk.requests.get(timeout=PATIENCE_S)):
        pass
    return request


def say(text, to):
    return message(text, sender=f"juliet@{SECOND}", to=f"{to}@{TENANT}")


def test_handled_is_what_has_an_outcome_in_order(line, scene):  # noqa: F811
    line.send(say("one", "bob") + say("two", "ann"))
    one, two = kept(scene, "one"), kept(scene, "two")
    assert acknowledged(line) == 0
    scene.trunk.send(answer(two, "200 OK"))
    line.send(say("three", "eve"))
    three = kept(scene, "three")
    assert acknowledged(line) == 0
    scene.trunk.send(answer(one, "200 OK"))
    peers.wait_for("both are handled", lambda: acknowledged(line) == 2)
    scene.trunk.send(answer(three, "200 OK"))
    # Without another question: it was open when it was asked last.
    acknowledges(line, 3)


def test_local_answers_count_too(line):
    """What carries nothing to relay, and what the relay answers itself."""
    line.send(f"<presence from='juliet@{SECOND}' to='bob@{TENANT}'/>"
              f"<message from='juliet@{SECOND}' to='bob@{TENANT}'/>"
              f"<message type='error' from='juliet@{SECOND}' to='bob@{TENANT}' id='x'/>")
    acknowledges(line, 3)
    line.send(f"<iq type='result' from='{SECOND}' to='{TENANT}' id='x'/>")
    acknowledges(line, 4)
    assert acknowledged(line) == 4


def test_error_counts_when_it_is_acknowledged(line, managed, scene):  # noqa: F811
    """An error stanza is on its way only when the other side has it."""
    managed.handled = lambda count: 0
    line.send(say("no", "bob"))
    scene.trunk.send(answer(kept(scene, "no"), "404 Not Found"))
    error = managed.stanzas.get(timeout=PATIENCE_S)
    assert "item-not-found" in error
    assert acknowledged(line) == 0
    managed.streams[-1].send(f"<a xmlns='{NS_SM}' h='1'/>")
    acknowledges(line, 1)


# ---- resumption ----

def direct(attacked, credential):  # noqa: F811
    return Stream(attacked.direct).wrap(credential.client(), TENANT)


def starttls(attacked, credential):  # noqa: F811
    stream = attacked.stream()
    stream.starttls(credential.client(), TENANT, SECOND)
    return stream


def nameless(attacked, credential):  # noqa: F811
    """It says its name under TLS only."""
    stream = attacked.stream()
    stream.send(header(TENANT, ""))
    stream.until("</stream:features>")
    stream.send(f"<starttls xmlns='{NS_TLS}'/>")
    stream.until("<proceed ")
    stream.until("/>")
    return stream.wrap(credential.client(), TENANT)


@pytest.mark.parametrize("begin", [starttls, direct, nameless])
def test_streams_come_to_the_worker_of_their_pair(attacked, managed, scene, begin):  # noqa: F811
    """Where its link is, wherever the kernel gave the connection to."""
    credential = attacked.authority.issue(SECOND, [certificates.dns(SECOND)])
    before = attacked.count("xmpp_sessions_moved_total")
    assert ask(scene) == 200
    streams = []
    for _ in range(16):
        streams.append(begin(attacked, credential))
        if begin is not starttls:
            streams[-1].open(sender=SECOND)
        streams[-1].external(sender=SECOND)
    workers = {row["worker"] for row in attacked.sessions() if row["remote"] == SECOND}
    assert len(workers) == 1
    has_moved = attacked.count("xmpp_sessions_moved_total") > before
    assert has_moved == (scene.relay.settings["global"]["workers"] > 1)
    for stream in streams:
        stream.close()


def test_resumed_stream_goes_on_counting(attacked, scene, broken):  # noqa: F811
    """What the peer sends again is known by its number: nothing comes twice, nothing is lost."""
    previous, first, third, before = broken
    scene.trunk.send(answer(first, "200 OK"))  # while there is no stream
    peers.wait_for("two have their outcome", lambda: attacked.count(
        "xmpp_messages_delivered_total") == before["xmpp_messages_delivered_total"] + 2)
    stream, said = again(attacked, previous)
    with stream:
        assert f"previd='{previous}'" in said and "h='2'" in said
        # As it has to: what was not acknowledged, then something new.
        stream.send(say("third", "eve") + say("fourth", "bob"))
        fourth = kept(scene, "fourth")
        assert acknowledged(stream) == 2
        scene.trunk.send(answer(third, "200 OK"))
        scene.trunk.send(answer(fourth, "200 OK"))
        acknowledges(stream, 4)
    after = attacked.counts()
    for name in ("xmpp_messages_accepted_total", "xmpp_messages_delivered_total"):
        assert after[name] == before[name] + 4
    assert after["xmpp_streams_resumed_total"] == before["xmpp_streams_resumed_total"] + 1


def test_stream_that_is_resumed_while_it_is_open(attacked, line):  # noqa: F811
    """The peer noticed first that its connection is dead."""
    stream, said = again(attacked, line.id)
    with stream:
        assert "<resumed " in said
        assert line.error() == "conflict"
        stream.send(say("hello", "bob"))
        assert acknowledged(stream) == 0


def test_failed_resumption_leaves_a_stream(attacked, line):  # noqa: F811
    """It may be enabled anew, and what was closed in order is over."""
    line.send("</stream:stream>")
    line.rest()
    stream, said = again(attacked, line.id)
    with stream:
        assert "<failed " in said
        assert "<item-not-found " in said
        stream.until("</failed>")
        stream.send(f"<enable xmlns='{NS_SM}'/>")
        assert "id=" not in stream.until("<enabled ") + stream.until("/>")


def test_resumption_has_its_time(tmp_path):
    """Afterwards nothing is known of the stream."""
    changes = {"xmpp": {"resume_timeout_ms": 300}}
    with running(tmp_path, changes) as scene:  # noqa: F811
        relay = scene.relay
        stream, said = again(relay, "0" * 32)
        assert "<failed " in said
        stream.send(f"<enable xmlns='{NS_SM}' resume='1'/>")
        previous = re.search(" id='([0-9a-f]{32})'", stream.until("<enabled ") +
                             stream.until("/>")).group(1)
        stream.close()

        peers.wait_for("it is forgotten", lambda: relay.logged("event=session.forgotten"))
        stream, said = again(relay, previous)
        stream.close()
        assert "<failed " in said
        assert relay.count("xmpp_resumes_refused_total") == 2


def test_stop_waits_for_outcomes(tmp_path):
    """And says so before it closes the stream: nothing is refused that was delivered."""
    with AttackedRelay(tmp_path) as relay, Scene(relay) as scene:  # noqa: F811
        stream = relay.trusted(SECOND, credential=relay.authority.issue(
            SECOND, [certificates.dns(SECOND)]))
        stream.send(f"<enable xmlns='{NS_SM}'/>")
        stream.until("<enabled ")
        stream.until("/>")
        scene.trunk.status = None
        stream.send(say("the last", "bob"))
        request = kept(scene, "the last")
        relay.process.terminate()
        peers.wait_for("it is stopping", lambda: relay.logged("event=session.close", "stopping"))
        scene.trunk.send(answer(request, "200 OK"))
        assert f"<a xmlns='{NS_SM}' h='1'/><stream:error><system-shutdown" in stream.rest()
        assert relay.process.wait(PATIENCE_S) == 0


# ---- Prosody ----

def test_prosody_acknowledges(relay, prosody, xmpp_user, sip_user):
    """And where it refuses, its refusal is the answer, not the acknowledgement before it."""
    romeo, alice = xmpp_user(prosody, "romeo"), sip_user("alice")
    before = relay.count("xmpp_stanzas_acknowledged_total")
    assert alice.send(f"sip:{romeo.jid}", "counted").status == 200
    assert romeo.next_message()["body"] == "counted"
    for _ in range(20):
        assert alice.send(f"sip:nobody@{XMPP_DOMAIN}", "counted").status == 403
    peers.wait_for("they are acknowledged",
                   lambda: relay.count("xmpp_stanzas_acknowledged_total") > before + 20)


class Flow:
    """300 messages to Alice (Prosody keeps 500), and the relay killed when 20 of them have come: what
    became of them."""

    def __init__(self, relay, romeo, alice, name):
        recover(romeo, alice)
        self.romeo, self.alice = romeo, alice
        self.texts = {f"flow {name}.{number}" for number in range(300)}
        self.delivered, self.refused = set(), set()
        for text in sorted(self.texts):
            romeo.send(alice.uri.removeprefix("sip:"), text, stanza_id=text)
        while len(self.delivered) < 20:
            self.delivered.add(alice.next_request().body.decode())
        relay.kill()
        relay.start()

    def unknown(self):
        """Neither arrived nor refused, yet."""
        while not self.alice.requests.empty():
            self.delivered.add(self.alice.next_request().body.decode())
        while not self.romeo.messages.empty():
            self.refused.add(self.romeo.next_fault().id)
        return self.texts - self.delivered - self.refused


@pytest.fixture
def unmanaged(relay):
    """The relay without stream management, for this test."""
    with relay.changed("xmpp", stream_management=False):
        yield relay


def test_kill_in_full_flow_loses_without_stream_management(unmanaged, prosody, xmpp_user, sip_user):
    """What was on the wire is known to nobody: so it is the acknowledgements that save it below."""
    romeo, alice = xmpp_user(prosody, "romeo"), sip_user("alice")
    flow = Flow(unmanaged, romeo, alice, "unmanaged")
    last = "behind all of them"

    def is_through():
        """A message that was sent later has arrived, or one more is sent."""
        flow.unknown()
        romeo.send(alice.uri.removeprefix("sip:"), last)
        return last in flow.delivered

    peers.wait_for("it goes on", is_through)
    assert flow.unknown()


@pytest.mark.parametrize("kill", range(3))
def test_kill_in_full_flow_loses_nothing(relay, prosody, xmpp_user, sip_user, kill):
    """What the relay had not acknowledged, Prosody refuses: every sender hears of his message, or it
    arrived. Both may be true of what was answered and not acknowledged, as XEP-0198 §4 says."""
    flow = Flow(relay, xmpp_user(prosody, "romeo"), sip_user("alice"), kill)
    try:
        peers.wait_for("every message is known", lambda: not flow.unknown())
    finally:
        both = flow.delivered & flow.refused
        print(len(flow.delivered), "delivered,", len(flow.refused), "refused,", len(both),
              "both, neither:", flow.unknown())
    # It was in full flow, and few are both: those between an answer and its acknowledgement.
    assert flow.refused and len(both) < len(flow.texts) / 2
