# SPDX-License-Identifier: GPL-3.0-or-later
"""A managed stream of the relay's own breaks (XEP-0198 §5): with a server whose stream is byte by byte
in the hands of the test. That of streams which others opened is in test_managed."""
import re

import pytest

import attack_certificates as certificates
import peers
from attack_kit import SECOND, attacked, sip  # noqa: F401
from test_managed import NS_SM, Managed, ask, break_off, scene  # noqa: F401


class Resuming(Managed):
    """Its streams can be resumed: `resumed` is what it says to <resume/>. `heard` are the elements
    on the last stream."""

    enabled = f"<enabled xmlns='{NS_SM}' id='an &apos;id&apos;' resume='true' max='60'/>"

    def __init__(self, *arguments):
        self.heard, self.loses = [], lambda element: False
        self.resumed = lambda count: (f"<resumed xmlns='{NS_SM}' h='{count}' "
                                      "previd='an &apos;id&apos;'/>")
        super().__init__(*arguments)

    def collect(self, stream):
        self.heard = []
        super().collect(stream)

    def take(self, stream, element):
        if self.loses(element):
            break_off(stream)
            raise ConnectionError("what is behind it is lost too")
        self.heard.append(element)
        if element.startswith("<resume "):
            stream.send(self.resumed(self.count))
        else:
            super().take(stream, element)


@pytest.fixture
def resuming(attacked, scene):  # noqa: F811
    """With a stream that is old enough to be missed: a younger one would be a race."""
    server = Resuming(attacked.second, attacked.authority.issue(SECOND, [
        certificates.dns(SECOND)]), SECOND)
    server.outbound = lambda: [row for row in attacked.sessions()
                               if (row["remote"], row["direction"]) == (SECOND, "out")]
    assert ask(scene) == 200
    peers.wait_for("it is two seconds old", lambda: server.outbound()[0]["age_s"] >= 2)
    yield server
    server.close()
    peers.wait_for("its stream is gone", lambda: not server.outbound())


def lose(server, scene, text="the last"):  # noqa: F811
    """The status of a message whose stream breaks when it comes for the first time."""
    once = [True]
    server.loses = lambda element: f">{text}<" in element and bool(once and once.pop())
    return scene.trunk.ask(sip(uri=f"sip:juliet@{SECOND}", body=text))


def kinds(elements):
    """Of stanzas, without what is said of them: the texts, and pings."""
    return [re.search("<body>(.*)</body>", one).group(1) if "<body>" in one else "ping"
            for one in elements if one.startswith(("<message ", "<iq "))]


def test_broken_stream_is_resumed(resuming, scene):  # noqa: F811
    """What was lost goes again, once, and what was sent is acknowledged to the end."""
    before = scene.relay.counts()
    assert lose(resuming, scene) == 200
    assert resuming.heard[0] == f"<resume xmlns='{NS_SM}' h='0' previd='an &apos;id&apos;'/>"
    assert kinds(resuming.heard)[0] == "the last"
    assert kinds(resuming.heard).count("the last") == 1
    peers.wait_for("all is acknowledged", lambda: resuming.outbound()[0]["unacked"] == 0)
    after = scene.relay.counts()
    assert after["xmpp_streams_resumed_total"] == before["xmpp_streams_resumed_total"] + 1
    assert after["xmpp_stanzas_resent_total"] > before["xmpp_stanzas_resent_total"]
    assert after["xmpp_stanzas_unacknowledged_total"] == before["xmpp_stanzas_unacknowledged_total"]


def test_places_of_a_resumed_stream_are_kept(resuming, scene):  # noqa: F811
    """The other side has counted nothing since `count`: what has its outcome is not said again, a
    ping stands for it, and what is new comes behind."""
    count = resuming.count
    resuming.handled = lambda _: count
    assert ask(scene, "told") == 202
    resuming.resumed = lambda _: f"<resumed xmlns='{NS_SM}' h='{count}' previd='an &apos;id&apos;'/>"
    assert lose(resuming, scene) == 202
    assert kinds(resuming.heard)[:3] == ["ping", "ping", "the last"]


@pytest.mark.parametrize("handled, status", [(0, 504), (1, 200), (None, 504)],
                         ids=["not handled", "handled", "unknown"])
def test_resumption_is_refused(resuming, scene, handled, status):  # noqa: F811
    """Then its h is the last word on what the other side has, and nothing goes again."""
    count = resuming.count
    h = "" if handled is None else f" h='{count + handled}'"
    resuming.resumed = lambda _: f"<failed xmlns='{NS_SM}'{h}/>"
    assert lose(resuming, scene) == status
    peers.wait_for("it is enabled anew", lambda: resuming.heard[1:])
    assert resuming.heard[1].startswith("<enable ")
    assert not kinds(resuming.heard)
    assert ask(scene, "after") == 200


def test_closed_stream_is_not_resumed(resuming, scene):  # noqa: F811
    """A closing tag ends it, whatever is unacknowledged (XEP-0198 §5)."""
    def close(element):
        if "<message " in element and len(resuming.streams) == 1:
            resuming.streams[-1].send("</stream:stream>")

    before = resuming.count
    resuming.handled = lambda count: before
    resuming.answer = close
    assert scene.trunk.ask(sip(uri=f"sip:juliet@{SECOND}", body="the last")) == 504
    resuming.handled = lambda count: count
    assert ask(scene, "after") == 200
    assert resuming.heard[0].startswith("<enable ")
