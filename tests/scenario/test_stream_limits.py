# SPDX-License-Identifier: GPL-3.0-or-later
"""Stream limits (XEP-0478): the relay tells its own, and keeps within those of a peer."""
import contextlib
import queue
import re

import pytest

import peers
from attack_kit import (NS_SASL, SECOND, TENANT, TRUNK_HOST, AttackedRelay, Connection, Server,
                        sip)

LIMITS = ("<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>{}</max-bytes>"
          "<idle-seconds>{}</idle-seconds></limits>")
MECHANISMS = f"<mechanisms xmlns='{NS_SASL}'><mechanism>EXTERNAL</mechanism></mechanisms>"


@pytest.fixture(scope="module")
def relay(tmp_path_factory):
    changes = {"xmpp": {"stanza_size_max": 20000, "idle_timeout_ms": 90000,
                        "confirm_timeout_ms": 500}}
    one = AttackedRelay(tmp_path_factory.mktemp("limits"), changes)
    one.settings["tenants"][0]["xmpp"] = {"idle_timeout_ms": 120000}
    one.write()
    with one:
        yield one
        assert one.alive(), one.tail()
        assert one.stop() == 0, one.tail()


@contextlib.contextmanager
def limited(relay, before, behind, collect):
    """A server that tells limits before and behind the authentication."""
    server = Server(relay.second, relay.good, SECOND)

    def serve(stream):
        server.secure(stream)
        server.greet(stream, MECHANISMS + before)
        stream.until("</auth>")
        stream.send(f"<success xmlns='{NS_SASL}'/>")
        server.greet(stream, behind)
        collect(server, stream)
    server.serve = serve
    with contextlib.closing(server):
        yield server


def ask(relay, body):
    with Connection(relay.tcp, TRUNK_HOST) as trunk:
        return trunk.ask(sip(uri=f"sip:juliet@{SECOND}", body=body))


def test_relay_tells_its_limits(relay):
    """Under TLS, before the authentication as well as behind it; not in clear. The idle time is
    the tenant's."""
    limits = LIMITS.format(20000, 120)
    with relay.stream() as stream:
        assert "limits" not in stream.open()
    with relay.stream() as stream:
        assert limits in stream.starttls(relay.good.client())
        stream.send(f"<auth xmlns='{NS_SASL}' mechanism='EXTERNAL'>=</auth>")
        stream.until("<success")
        stream.until("/>")
        assert limits in stream.open()


@pytest.mark.parametrize("before, behind", [
    (LIMITS.format(10500, 0), ""), (LIMITS.format(262144, 0), LIMITS.format(10500, 0)),
    # RFC 6120 §13.12: no limit is below 10,000 bytes.
    ("", LIMITS.format(7, 0))], ids=["before", "behind", "too-small"])
def test_message_that_is_too_long_for_the_peer(relay, before, behind):
    """Its sender is told, the stream stays, and what fits goes on over it."""
    with limited(relay, before, behind, Server.collect) as server:
        assert ask(relay, "one") in (200, 202)
        text = ask(relay, "x" * 10490)
        assert text == 403, text
        assert ask(relay, "two") in (200, 202)
        found = []
        while len(found) < 2:
            stanza = server.stanzas.get(timeout=peers.PATIENCE_S)
            found += re.findall("<body>(.*)</body>", stanza)
        assert found == ["one", "two"]
        assert ask(relay, "y" * 9000) in (200, 202)
    peers.wait_for("the stream is gone", lambda: not relay.sessions())


def test_peer_that_ends_silent_streams(relay):
    """White space comes before its time is over."""
    heard = queue.Queue()

    def collect(_, stream):
        stream.until("</message>")
        stream.until("</iq>")
        heard.put(stream.unread or stream.until(" "))
    with limited(relay, "", LIMITS.format(100000, 10), collect):
        assert ask(relay, "hello") in (200, 202)
        assert heard.get(timeout=peers.PATIENCE_S) == " "
