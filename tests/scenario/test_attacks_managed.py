# SPDX-License-Identifier: GPL-3.0-or-later
"""Stream management (XEP-0198) in the hands of a hostile partner."""
import re

import pytest

import attack_certificates as certificates
import peers
from attack_kit import PARTNER, SECOND, TENANT, Counting, attacked, message, running, sip  # noqa: F401
from attack_kit import steady
from test_managed import NS_SM, Managed, break_off
from test_resumption import Resuming

SENDER = f"juliet@{SECOND}"


@pytest.fixture(scope="module")
def scene(tmp_path_factory):  # noqa: F811
    """Whatever worker a stream comes to, it is as with one."""
    with running(tmp_path_factory.mktemp("managed"), {"global": {"workers": 3}}) as one:
        yield one


@pytest.fixture
def second(attacked):  # noqa: F811
    return attacked.authority.issue(SECOND, [certificates.dns(SECOND)])


def enabled(stream, resume=True):
    """The SM-ID."""
    stream.send(f"<enable xmlns='{NS_SM}' resume='{str(resume).lower()}'/>")
    said = stream.until("<enabled ") + stream.until("/>")
    return re.search(" id='([^']*)'", said).group(1) if resume else None


def open_streams(relay):
    return [row for row in relay.sessions() if row["remote"] == SECOND]


@pytest.mark.parametrize("first", ["enable", "resume"])
def test_peer_acknowledges_what_was_never_sent(attacked, second, first):  # noqa: F811
    """M1: The relay sends no stanza on a stream that it takes."""
    stream = attacked.trusted(SECOND, credential=second)
    if first == "enable":
        enabled(stream)
        stream.send(f"<a xmlns='{NS_SM}' h='1'/>")
    else:
        stream.send(f"<resume xmlns='{NS_SM}' previd='x' h='1'/>")
    said = stream.rest()
    assert "<undefined-condition " in said
    assert f"<handled-count-too-high xmlns='{NS_SM}' h='1' send-count='0'/>" in said


@pytest.mark.parametrize("shift", [1, -4, 2 ** 31])
def test_called_server_acknowledges_what_was_never_sent(attacked, second, scene, shift):  # noqa: F811
    """M2: Nor does a server that the relay called get away with a count of its own."""
    server = Managed(attacked.second, second, SECOND)
    try:
        statuses = []
        peers.wait_for("a stream", lambda: statuses.append(scene.trunk.ask(sip(
            uri=f"sip:{SENDER}", body="counted"))) or statuses[-1] != 504)
        server.handled = lambda count: (count + shift) % 2 ** 32
        heard, take = [], server.take
        server.take = lambda stream, element: (heard.append(element), take(stream, element))
        scene.trunk.send(sip(uri=f"sip:{SENDER}", body="counted"))
        stream = server.streams[-1]
        peers.wait_for("the relay says so", lambda: "handled-count-too-high" in
                       stream.unread + "".join(heard))
    finally:
        server.close()
    peers.wait_for("its stream is gone", lambda: not open_streams(attacked))


@pytest.fixture
def resumed(attacked, second, scene):  # noqa: F811
    """The server that the relay called, which has broken a stream off with a message on it. Its
    `resumed` answers the relay that wants to resume it."""
    server = Resuming(attacked.second, second, SECOND)
    statuses = []

    def lost(element):
        """Of the message that is lost, the first time it comes."""
        return ">lost<" in element and bool(once and once.pop())

    def lose():
        peers.wait_for("a stream", lambda: statuses.append(scene.trunk.ask(sip(
            uri=f"sip:{SENDER}", body="first"))) or statuses[-1] != 504)
        peers.wait_for("it is two seconds old", lambda: [
            row for row in open_streams(attacked) if row["age_s"] >= 2])
        once.append(True)
        server.loses = lost
        return scene.trunk.ask(sip(uri=f"sip:{SENDER}", body="lost"))

    once, server.lose = [], lose
    yield server
    server.close()
    peers.wait_for("its stream is gone", lambda: not open_streams(attacked))


@pytest.mark.parametrize("name", ["resumed", "failed"])
@pytest.mark.parametrize("shift", [1000, -1])
def test_called_server_resumes_what_was_never_sent(attacked, resumed, name, shift):  # noqa: F811
    """M8: Its count is checked there too; the sender hears that nothing is known, and the relay does
    not come back with it."""
    resumed.resumed = lambda count: (f"<{name} xmlns='{NS_SM}' h='{(count + shift) % 2 ** 32}' "
                                     "previd='an &apos;id&apos;'/>")
    with Counting(attacked, "xmpp_stream_errors_sent_total"):
        assert resumed.lose() == 504
    assert len([one for one in resumed.heard if one.startswith("<resume ")]) == 1


def test_called_server_breaks_every_stream(attacked, resumed):  # noqa: F811
    """M9: Neither does the relay race with who breaks every stream that he resumes."""
    streams = []

    def count(_):
        streams.append(1)
        break_off(resumed.streams[-1])
        raise ConnectionError("broken again")

    resumed.resumed = count
    assert resumed.lose() == 504
    assert len(streams) == 1


def test_stream_of_somebody_else(attacked, second):  # noqa: F811
    """M3: An SM-ID serves only who proves the same pair of domains; the owner's stream stays."""
    owner = attacked.trusted(SECOND, credential=second)
    previous = enabled(owner)
    thief = attacked.trusted()  # PARTNER, well authenticated
    with Counting(attacked, "xmpp_resumes_refused_total"):
        thief.send(f"<resume xmlns='{NS_SM}' previd='{previous}' h='0'/>")
        assert "<item-not-found " in thief.until("</failed>")
    # Nor with a pair more, which the stream's header does not name.
    thief.send(f"<db:result from='{PARTNER}' to='{TENANT}'>x</db:result>")
    thief.until("type='valid'/>")
    thief.send(f"<resume xmlns='{NS_SM}' previd='{previous}' h='0'/>")
    assert "<item-not-found " in thief.until("</failed>")
    owner.send(f"<r xmlns='{NS_SM}'/>")
    owner.until(f"<a xmlns='{NS_SM}' h='0'/>")
    # Broken, it waits for its owner and for nobody else.
    owner.socket.close()
    peers.wait_for("it is broken", lambda: not open_streams(attacked))
    thief.send(f"<resume xmlns='{NS_SM}' previd='{previous}' h='0'/>")
    assert "<item-not-found " in thief.until("</failed>")
    heir = attacked.trusted(SECOND, credential=second)
    heir.send(f"<resume xmlns='{NS_SM}' previd='{previous}' h='0'/>")
    heir.until(f"<resumed xmlns='{NS_SM}' h='0'")
    heir.close()
    thief.close()


def test_ids_are_guessed(attacked, second):  # noqa: F811
    """M4: An SM-ID has 128 random bits, and a stream has four tries."""
    ids = set()
    for _ in range(8):
        with attacked.trusted(SECOND, credential=second) as stream:
            ids.add(enabled(stream))
    assert len(ids) == 8 and all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)
    stream = attacked.trusted(SECOND, credential=second)
    for number in range(5):
        stream.send(f"<resume xmlns='{NS_SM}' previd='{number:032x}' h='0'/>")
    said = stream.rest()
    assert said.count("<failed ") == 4 and "<policy-violation " in said


def test_endless_questions(attacked, second):  # noqa: F811
    """M5: Questions by the thousand are answered once a turn, and not at all to who does not read."""
    stream = attacked.trusted(SECOND, credential=second)
    enabled(stream)

    def ask():
        stream.send(f"<r xmlns='{NS_SM}'/>" * 20000)
        stream.barrier(SECOND)

    steady(attacked, ask)
    stream.send(message("still heard", sender=SENDER))
    stream.send(f"<r xmlns='{NS_SM}'/>")
    stream.until(f"<a xmlns='{NS_SM}' h='1'/>")
    stream.close()


def test_streams_left_to_be_resumed(attacked, second):  # noqa: F811
    """M6: Of the streams that a partner breaks off the last four are kept."""
    ids = []

    def crowd():
        for _ in range(20):
            with attacked.trusted(SECOND, credential=second) as stream:
                ids.append(enabled(stream))
            peers.wait_for("it is broken", lambda: not open_streams(attacked))

    steady(attacked, crowd)
    for previous, answer in ((ids[-5], "<failed "), (ids[-4], "<resumed "), (ids[-1], "<resumed ")):
        with attacked.trusted(SECOND, credential=second) as stream:
            stream.send(f"<resume xmlns='{NS_SM}' previd='{previous}' h='0'/>")
            stream.until(answer)
            stream.send("</stream:stream>")
            stream.rest()


def test_enabled_twice(attacked, second):  # noqa: F811
    """M7: There is one count of a stream, and none before the authentication."""
    stream = attacked.stream()
    stream.starttls(second.client(), sender=SECOND)
    stream.send(f"<enable xmlns='{NS_SM}'/>")
    assert "<unexpected-request " in stream.until("</failed>")
    stream.external(sender=SECOND)
    enabled(stream)
    stream.send(f"<enable xmlns='{NS_SM}'/>")
    assert stream.error() == "policy-violation"
