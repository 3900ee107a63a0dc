# SPDX-License-Identifier: GPL-3.0-or-later
"""Stream management (XEP-0198): with Prosody's mod_smacks, and with a server whose stream is byte by
byte in the hands of the test."""
import re
import socket

import pytest

import attack_certificates as certificates
import peers
from attack_kit import NS_SASL, SECOND, Server, attacked, running, sip  # noqa: F401
from conftest import XMPP_DOMAIN

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


@pytest.fixture(scope="module")
def scene(tmp_path_factory):  # noqa: F811
    with running(tmp_path_factory.mktemp("managed"), {"xmpp": {"confirm_timeout_ms": 500}}) as one:
        yield one


@pytest.fixture
def managed(attacked):  # noqa: F811
    credential = attacked.authority.issue(SECOND, [certificates.dns(SECOND)])
    server = Managed(attacked.second, credential, SECOND)
    server.outbound = lambda: [row for row in attacked.sessions() if row["remote"] == SECOND]
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


@pytest.mark.parametrize("handled", [True, False])
def test_broken_stream(managed, scene, handled):  # noqa: F811
    """What was acknowledged is delivered; of what was not its sender hears."""
    managed.handled = lambda count: 0
    assert ask(scene, "the first") == 202

    def cut(element):
        stream = managed.streams[-1]
        if "<message " in element:
            if handled:
                stream.send(f"<a xmlns='{NS_SM}' h='{managed.count}'/>")
            stream.socket.shutdown(socket.SHUT_RDWR)

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
