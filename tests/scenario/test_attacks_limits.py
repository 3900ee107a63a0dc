# SPDX-License-Identifier: GPL-3.0-or-later
"""Peers that take time, connections and memory: the deadlines and limits, on a relay whose
configuration makes them short and small."""
import contextlib
import socket
import threading

import pytest

import attack_certificates as certificates
import peers
from attack_certificates import plain_context
from attack_kit import (HOSTILE, NS_TLS, OTHER_TRUNK_HOST, PARTNER, PATIENCE_S, TENANT,  # noqa: F401
                        TRUNK_HOST, Connection, Counting, Datagrams, Server, Stream, attacked, header,
                        message, numbers, running, sip, status_of, steady)

CHANGES = {"xmpp": {"negotiation_timeout_ms": 2000, "sessions_per_address_max": 20,
                    "deliver_timeout_ms": 1500},
           "sip": {"setup_timeout_ms": 1500, "message_timeout_ms": 800, "idle_timeout_ms": 1000,
                   "connections_per_address_max": 10}}
CROWD = "127.0.0.66"


@pytest.fixture(scope="module")
def scene(tmp_path_factory):  # noqa: F811
    with running(tmp_path_factory.mktemp("limits"), CHANGES) as one:
        yield one


class Trickle:
    """Sends a byte now and then on a connection until the relay ends it."""

    def __init__(self, connection, data):
        self.connection, self.over = connection, threading.Event()
        threading.Thread(target=self._run, args=(data,), daemon=True).start()

    def _run(self, data):
        with contextlib.suppress(OSError):
            for byte in data * 1000:
                if self.over.wait(0.05):
                    return
                self.connection.socket.send(bytes([byte]))

    def stop(self):
        self.over.set()


def in_clear(relay):
    stream = relay.stream()
    stream.open()
    return stream


def in_handshake(relay):
    stream = in_clear(relay)
    stream.send(f"<starttls xmlns='{NS_TLS}'/>")
    stream.until("/>")
    return stream


def in_tls(relay):
    stream = relay.stream()
    stream.starttls(relay.good.client())
    return stream


def direct(relay):
    return Stream(relay.direct)


PHASES = {  # how far the peer comes, what it trickles, whether it is told why
    "nothing-at-all": (lambda relay: relay.stream(), b"", True),
    "white-space": (lambda relay: relay.stream(), b" ", True),
    "slow-header": (lambda relay: relay.stream(), header().encode()[:-1], True),
    "nothing-after-features": (in_clear, b"", True),
    "slow-element": (in_clear, b"<a>", True),
    "no-handshake": (in_handshake, b"", False),
    "slow-handshake": (in_handshake, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", False),
    "no-direct-handshake": (direct, b"", False),
    "slow-direct-handshake": (direct, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", False),
    "nothing-under-tls": (in_tls, b"", True),
    "white-space-under-tls": (in_tls, b"\n", True),
}


def test_slow_peers(attacked):  # noqa: F811
    """L1: Peers that do nothing, or a byte now and then, in each phase of a stream: each is
    closed at the deadline, with connection-timeout where a stream can say it."""
    slow = {}
    for name, (reach, data, _) in PHASES.items():
        stream = reach(attacked)
        slow[name] = (stream, Trickle(stream, data))
    for name, (stream, trickle) in slow.items():
        text = stream.rest()
        trickle.stop()
        stream.close()
        assert ("<connection-timeout " in text) == PHASES[name][2], (name, text)


def test_crowd_of_one_address(scene, attacked):  # noqa: F811
    """L2: One address opens connection after connection: those over
    xmpp.sessions_per_address_max are closed at once and counted; others come in."""
    with Counting(attacked, "xmpp_sessions_refused_total"):
        crowd = [attacked.stream(CROWD) for _ in range(60)]
        peers.wait_for("the refused are counted",
                       lambda: attacked.count("xmpp_sessions_refused_total") >= 40)
        assert sum(one["peer"].startswith(CROWD) for one in attacked.sessions()) == 20
        attacked.trusted(source="127.0.0.67").close()
        scene.to_sip(f"in the crowd {next(numbers)}")
    for stream in crowd:
        stream.close()


def test_slow_sip_connections(attacked):  # noqa: F811
    """L3: A trunk's address opens connections and sends nothing, a header that never ends, a
    body that never comes, no handshake: each is closed at its deadline."""
    request = sip(transport="TCP", body="x" * 100)
    slow = [(Connection(attacked.tcp), b""), (Connection(attacked.tcp), b"X"),
            (Connection(attacked.tcp), b"MESSAGE sip:x@y SIP/2.0\r\nX: y\r\n"),
            (Connection(attacked.tls), b""), (Connection(attacked.tls), b"\x16\x03\x01\x02")]
    half = Connection(attacked.tcp)
    half.send(request[:-50])
    trickles = [Trickle(connection, data) for connection, data in slow]
    for connection in [half, *(one for one, _ in slow)]:
        connection.rest()
        connection.close()
    for trickle in trickles:
        trickle.stop()
    assert attacked.logged("event=sip.connection_closed", "a message did not end in time")


def test_crowd_of_sip_connections(scene, attacked):  # noqa: F811
    """L4: One address opens more SIP connections than sip.connections_per_address_max, over TCP
    and TLS: refused and counted; another trunk comes in."""
    with Counting(attacked, "sip_connections_refused_total"):
        crowd = [Connection(attacked.tcp) for _ in range(15)]
        crowd += [Connection(attacked.tls, CROWD) for _ in range(15)]
        with Connection(attacked.tcp, OTHER_TRUNK_HOST) as other:
            assert other.ask(sip(method="OPTIONS", transport="TCP")) == 200
    for connection in crowd:
        connection.close()


def test_white_space_flood(scene, attacked):  # noqa: F811
    """L5: A partner sends nothing but white space, megabytes of it: policy-violation. A few bytes
    now and then are keep-alives (RFC 6120 §4.6.1) and stay allowed."""
    with attacked.trusted() as stream:
        for _ in range(20):
            stream.send(" \n")
        stream.barrier()
        for _ in range(64):
            stream.send_quietly(" " * 16384)
        assert stream.error() == "policy-violation"
    assert attacked.logged("event=session.close", "white space")


def test_peer_that_does_not_read(attacked):  # noqa: F811
    """L6: A partner asks for answers by the thousand and reads none: the connection ends and its
    memory is free again."""
    def flood():
        with attacked.trusted() as stream:
            for _ in range(100):
                stream.send_quietly("".join(
                    f"<db:result from='{PARTNER}' to='n{n}.{'x' * 60}.example'>k</db:result>"
                    for n in range(100)))
            peers.wait_for("the relay gives up", lambda: not any(
                one["peer"].startswith("127.0.0.9:") for one in attacked.sessions()))
    steady(attacked, flood)


def test_trunk_that_does_not_read(attacked):  # noqa: F811
    """L7: The same on SIP connections: OPTIONS without end, no answer read."""
    def flood():
        for _ in range(4):
            with Connection(attacked.tcp) as connection:
                connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                # An answer is as long as its question, so 64 MiB are far more than the kernel and
                # the relay may keep: before that the relay ends the connection.
                with pytest.raises(ConnectionError):
                    for _ in range(640):
                        connection.send(b"".join(
                            sip(method="OPTIONS", transport="TCP", Call_ID="c" * 2000)
                            for _ in range(50)))
    steady(attacked, flood, slack=6 << 20)
    assert attacked.logged("event=sip.connection_closed", "the peer does not read")


def test_partner_that_stops_reading(scene, attacked):  # noqa: F811
    """L8: A partner's server takes the relay's stream and then reads no more: every SIP sender is
    answered, and the others are served."""
    stuck = threading.Event()

    class Stuck(Server):
        def collect(self, stream):
            stuck.wait(PATIENCE_S)
    server = Stuck(attacked.second, attacked.good, HOSTILE[30])
    user = Datagrams(TRUNK_HOST, 0, attacked.udp)
    calls = [sip(uri=f"sip:x@{server.domain}", body="x" * 500) for _ in range(200)]
    for data in calls:
        user.send(data)
    scene.to_xmpp(f"meanwhile {next(numbers)}")
    answered = set()
    while len(answered) < len(calls):
        answered.add(call_of(user.response()))
    stuck.set()
    server.close()
    user.close()


class Trickling(Server):
    """Answers the relay's first ping on each stream over `own`, a stream to the relay, and then
    reads a byte a second. There are no more than `streams` to it."""

    def __init__(self, relay, domain, streams=1):
        self.left = streams
        credential = relay.authority.issue(domain, [certificates.dns(domain)])
        self.own = relay.trusted(domain, credential=credential)
        self.began, self.over = threading.Event(), threading.Event()
        super().__init__(relay.second, credential, domain)

    def serve(self, stream):
        self.left -= 1
        if self.left >= 0:
            super().serve(stream)

    def collect(self, stream):
        ping = ""
        while " id='ping-" not in ping:
            ping = stream.until("</message>", "</iq>")
        number = ping.split(" id='ping-")[1].split("'")[0]
        self.own.send(f"<iq type='result' from='{self.domain}' to='{TENANT}' id='ping-{number}'/>")
        self.began.set()
        while not self.over.wait(1) and stream.socket.recv(1):
            pass

    def close(self):
        self.over.set()
        self.own.close()
        super().close()


def call_of(data):
    return data.split(b"Call-ID: ")[1].split(b"\r\n")[0]


def trickle(folder, streams, senders):
    """300 messages to a partner that reads a byte a second of each stream: others are served."""
    changes = {"global": {"parcel_count": 512},
               "xmpp": {"deliver_timeout_ms": 4000, "confirm_timeout_ms": 1000, "streams": streams}}
    first = 20 * streams  # more than goes before it has answered again
    with running(folder, changes) as small:
        relay, user = small.relay, Datagrams(TRUNK_HOST, 0, small.relay.udp)
        server = Trickling(relay, HOSTILE[31], streams)
        calls = [sip(uri=f"sip:x@{server.domain}", sender=f"sip:user{number % senders}@{TENANT}",
                     body="x" * 1000) for number in range(300)]
        left = {call_of(data) for data in calls}
        for number, data in enumerate(calls):
            user.send(data)
            if number == 0:
                assert server.began.wait(PATIENCE_S)
            if number == first:
                peers.wait_for("it is found slow", lambda: any(
                    one["remote"] == server.domain and one["bytes_s"] is not None
                    for one in relay.sessions()))
            if number > 0 and number % 10 == 0:  # no more at a time than a socket's buffer takes
                assert small.to_xmpp(f"meanwhile {next(numbers)}")[0] == 200
        assert relay.count("xmpp_queue_refused_total") > 0
        rows = [one for one in relay.sessions()
                if one["direction"] == "out" and one["remote"] == server.domain]
        assert 0 < len(rows) <= streams
        assert sum(one["waiting"] or 0 for one in rows) <= 512 / 4

        def is_answered():
            """All answers come at once when it is given up: what the buffer lost is asked again."""
            came = user.responses.qsize()
            for _ in range(came):
                left.discard(call_of(user.response()))
            for data in calls if came == 0 else ():
                if call_of(data) in left:
                    user.send(data)
            return not left
        peers.wait_for("all are answered", is_answered, patience_s=60)
        peers.wait_for("it is given up",
                       lambda: relay.logged("event=session.close", "the peer does not read"))
        server.close()
        user.close()


def test_partner_that_reads_a_byte_a_second(tmp_path):
    """L16: A partner's server that has answered a ping, so that it is believed to read, reads one byte
    a second: it holds a fifth of the parcels, others are served, the stream is given up, and
    every SIP sender is answered."""
    trickle(tmp_path, 1, 1)


def test_streams_that_are_read_a_byte_a_second(tmp_path):
    """L19: The same with four streams and many senders: all of them together hold no more."""
    trickle(tmp_path, 4, 30)


def test_forged_users(tmp_path):
    """L18: A SIP server writes under the names of 300 users to a partner with several streams: there
    are no more than the rule says, and everybody is answered."""
    with running(tmp_path, {"xmpp": {"streams": 3}}) as one:
        user = Datagrams(TRUNK_HOST, 0, one.relay.udp)
        for first in range(0, 300, 20):  # no more at a time than the socket's buffer takes
            left = set()
            for number in range(first, first + 20):
                call = sip(sender=f"sip:forged{number}@{TENANT}")
                left.add(call_of(call))
                user.send(call)
            while left:
                answer = user.response()
                assert status_of(answer) in (100, 200, 202)
                left.discard(call_of(answer) if status_of(answer) != 100 else None)
        opened = [row["stream"] for row in one.relay.sessions()
                  if row["direction"] == "out" and row["local"] == TENANT]
        assert sorted(opened) == ["1/3", "2/3", "3/3"]
        user.close()


def test_many_handshakes(attacked):  # noqa: F811
    """L9: TLS handshakes begun and broken off, whole and with noise: counted, no memory kept."""
    def flood():
        for number in range(60):
            with direct(attacked) as stream:
                if number % 3 == 0:
                    with contextlib.suppress(OSError):
                        stream.wrap(plain_context(), TENANT)
                else:
                    stream.send_quietly(b"\x16\x03\x01\x00\x30" + b"\x01" * 48)
    with Counting(attacked, "tls_failures_total"):
        steady(attacked, flood)


def test_datagrams_of_strangers(scene, attacked):  # noqa: F811
    """L10: A stranger's flood of datagrams, as fast as the relay reads: each is answered 403, the
    trunk's messages pass between them. What is more than it reads does no harm that lasts."""
    stranger = Datagrams(CROWD, 0, attacked.udp)
    stranger.status = None
    data, over, refused = sip(sender="sip:x@evil.example"), threading.Event(), []
    # A socket's queue that is full takes nobody's datagrams: who is faster than the relay, however
    # fast that is, shuts the trunk out. Its message is sent again until there is room for it, and
    # then nothing of this is left, for what came before it has been read.
    for _ in range(20000):
        stranger.send(data)
    assert scene.trunk.ask(sip(body=f"after the flood {next(numbers)}")) in (200, 202)
    stranger.close()
    stranger = Datagrams(CROWD, 0, attacked.udp)
    stranger.status = None

    def flood():
        # The queue is never empty and never full.
        for _ in range(64):
            stranger.send(data)
        while not over.is_set():
            refused.append(status_of(stranger.response()))
            stranger.send(data)
        refused.append("to the end")
    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    for _ in range(20):
        assert scene.trunk.ask(sip(body=f"in the flood {next(numbers)}")) in (200, 202)
    over.set()
    thread.join()
    stranger.close()
    assert set(refused) == {403, "to the end"}
