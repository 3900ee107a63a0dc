# SPDX-License-Identifier: GPL-3.0-or-later
"""Listeners of XMPP and SIP behind a proxy that speaks the PROXY protocol, version 2, as HAProxy's
`send-proxy-v2` does: who may say whom a connection is from, and what it is believed."""
import socket
import struct

import pytest

import peers
from attack_kit import (OTHER_TRUNK_HOST, PARTNER, PATIENCE_S, STRANGER_HOST,  # noqa: F401
                        TENANT, TLS_TENANT, TRUNK_HOST, AttackedRelay, Closed, Connection,
                        Counting, Scene, Stream, attacked, header, message, sip)
from ports import take_port

PROXY_HOST = "127.0.0.77"
CLIENT, OTHER_CLIENT, SIX_CLIENT = "192.0.2.44", "192.0.2.45", "2001:db8::44"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL = SIGNATURE + b"\x20\0\0\0"
REFUSED = "xmpp_proxy_refused_total"
SIP_REFUSED, FORBIDDEN = "sip_proxy_refused_total", "sip_requests_forbidden_total"
PER_ADDRESS = 3


def proxied(client=CLIENT, tlvs=b"", port=40000):
    """The header for a connection of this client."""
    six = ":" in client
    kind = socket.AF_INET6 if six else socket.AF_INET
    target = "2001:db8::1" if six else "198.51.100.1"
    addresses = (socket.inet_pton(kind, client) + socket.inet_pton(kind, target) +
                 struct.pack("!HH", port, 5269))
    return (SIGNATURE + (b"\x21\x21" if six else b"\x21\x11") +
            struct.pack("!H", len(addresses) + len(tlvs)) + addresses + tlvs)


class ProxiedRelay(AttackedRelay):
    """More listeners, that only PROXY_HOST may connect to."""

    def _settings(self):
        self.proxied, self.proxied_direct = take_port(), take_port()
        self.proxied_tcp, self.proxied_tls = take_port(), take_port()
        settings = super()._settings()
        xmpp = settings["xmpp"]
        xmpp["listen"].append(f"{peers.ADDRESS}:{self.proxied}")
        xmpp["listen_direct_tls"].append(f"{peers.ADDRESS}:{self.proxied_direct}")
        xmpp["proxy_listen"] = [f"{peers.ADDRESS}:{port}"
                                for port in (self.proxied, self.proxied_direct)]
        xmpp["proxy_sources"] = [f"{PROXY_HOST}/32", "2001:db8:77::/48"]
        xmpp["sessions_per_address_max"] = PER_ADDRESS
        xmpp["negotiation_timeout_ms"] = 2000
        sip_side = settings["sip"]
        sip_side["listen_tcp"].append(f"{peers.ADDRESS}:{self.proxied_tcp}")
        sip_side["listen_tls"].append(f"{peers.ADDRESS}:{self.proxied_tls}")
        sip_side["proxy_listen"] = [f"{peers.ADDRESS}:{port}"
                                    for port in (self.proxied_tcp, self.proxied_tls)]
        sip_side["proxy_sources"] = [PROXY_HOST]
        sip_side["connections_per_address_max"] = PER_ADDRESS
        sip_side["setup_timeout_ms"] = 2000
        return settings

    def behind(self, head, port=None, source=PROXY_HOST):
        """A connection that begins with these bytes."""
        stream = Stream(port or self.proxied, source)
        stream.send_quietly(head)
        return stream


@pytest.fixture(scope="module")
def scene(tmp_path_factory):  # noqa: F811
    with ProxiedRelay(tmp_path_factory.mktemp("proxy")) as relay, Scene(relay) as one:
        yield one
        assert relay.alive(), relay.tail()
        assert relay.stop() == 0, relay.tail()


def seen(relay, client):
    """The streams of this client."""
    return [one for one in relay.sessions() if one["peer"].rsplit(":", 1)[0].strip("[]") == client]


@pytest.mark.parametrize("client", [CLIENT, SIX_CLIENT])
@pytest.mark.parametrize("tlvs", [b"", b"\x04\x00\x03xyz\x20\x00\x00", b"\x04\x0f\xa0" + bytes(4000)])
def test_client_of_the_proxy(attacked, client, tlvs):
    """V1: The honest proxy: the stream is its client's, in `show sess` and in the log, in clear and
    by STARTTLS, torn into bytes too."""
    stream = attacked.behind(proxied(client, tlvs)[:7])
    for byte in proxied(client, tlvs)[7:60]:
        stream.send(bytes([byte]))
    stream.send(proxied(client, tlvs)[60:])
    stream.starttls(attacked.good.client(), TENANT, PARTNER)
    stream.external(TENANT, PARTNER)
    stream.barrier()
    assert [one["auth"] for one in seen(attacked, client)] == ["external"]
    stream.close()
    peers.wait_for("the log names the client", lambda: attacked.logged(
        "event=session.close", client))


def test_direct_tls_behind_the_proxy(attacked):
    """V2: The same for direct TLS, with the hello in one packet behind the header."""
    stream = attacked.behind(proxied(), attacked.proxied_direct)
    stream.wrap(attacked.good.client(), TENANT)
    stream.open(TENANT, PARTNER)
    stream.external(TENANT, PARTNER)
    assert len(seen(attacked, CLIENT)) == 1
    stream.close()


def test_header_of_somebody_else(attacked):
    """V3: A header, or a stream, from who is no proxy, on a listener that is behind one."""
    for port in (attacked.proxied, attacked.proxied_direct):
        for head in (proxied(), LOCAL, header()):
            with Counting(attacked, REFUSED):
                assert attacked.behind(head, port, STRANGER_HOST).rest() == ""
    assert not seen(attacked, CLIENT)


@pytest.mark.parametrize("head", [
    header().encode(), b"\x16\x03\x01\x00\xc8", b"PROXY TCP4 192.0.2.44 198.51.100.1 1 2\r\n",
    SIGNATURE + b"\x31" + proxied()[13:], SIGNATURE + b"\x22" + proxied()[13:],
    SIGNATURE + b"\x21\x00\0\0", SIGNATURE + b"\x21\x12" + proxied()[14:],
    SIGNATURE + b"\x21\x31\0\xd8" + bytes(216), SIGNATURE + b"\x21\x11\0\x04" + bytes(4),
    SIGNATURE + b"\x21\x11\xff\xff" + bytes(65535), b"\r\n\r\n\0\r\nQUIT\r\n"],
    ids=["none", "tls", "version-1", "version-3", "command", "unspec", "udp", "unix", "short",
         "long", "signature"])
def test_proxy_without_a_good_header(attacked, head):
    """V4: The proxy's address, and no header or a broken one."""
    for port in (attacked.proxied, attacked.proxied_direct):
        with Counting(attacked, REFUSED):
            assert attacked.behind(head, port).rest() == ""


def test_header_where_none_belongs(attacked):
    """V5: A header on a listener without a proxy is no stream, and nobody believes it."""
    with Counting(attacked, "xmpp_stream_errors_sent_total"):
        stream = attacked.behind(proxied() + header().encode(), attacked.s2s)
        assert stream.error() is not None
    assert not seen(attacked, CLIENT)
    stream = attacked.behind(proxied(), attacked.direct)
    assert "<" not in stream.rest()


def test_second_header(attacked):
    """V6: A client that sends a header of its own behind the proxy's."""
    with Counting(attacked, "xmpp_stream_errors_sent_total"):
        stream = attacked.behind(proxied() + proxied(OTHER_CLIENT))
        assert stream.error() is not None
    assert not seen(attacked, OTHER_CLIENT)


def test_slow_header(attacked):
    """V7: A header that does not end, and none at all, meet the deadline of a negotiation."""
    slow, mute = attacked.behind(proxied()[:-1]), attacked.behind(b"")
    assert slow.rest() == "" and mute.rest() == ""


def test_limits_are_the_clients(attacked):
    """V8: Sessions per address are counted for the client: one that has too many is refused,
    another one is served through the same proxy, and so are more clients than one may have."""
    streams = [attacked.behind(proxied(CLIENT, port=40000 + i)) for i in range(PER_ADDRESS)]
    for stream in streams:
        stream.open()
    with Counting(attacked, "xmpp_sessions_refused_total"):
        assert attacked.behind(proxied() + header().encode()).rest() == ""
    others = [attacked.behind(proxied(f"198.51.100.{i}")) for i in range(2 * PER_ADDRESS)]
    for stream in others:
        stream.open()
    for stream in streams + others:
        stream.close()


def test_checks_of_the_proxy(attacked):
    """V9: LOCAL, by which a proxy sees whether we are there, is a stream of the proxy's own; when
    it just ends that is no trouble."""
    before = attacked.control("show errors")
    for _ in range(5):
        attacked.behind(LOCAL).close()
    stream = attacked.behind(LOCAL)
    stream.open()
    assert len(seen(attacked, PROXY_HOST)) == 1
    stream.close()
    peers.wait_for("it is gone", lambda: not seen(attacked, PROXY_HOST))
    assert attacked.control("show errors") == before


def test_last_places_behind_the_proxy(tmp_path):
    """V10: In the total that sessions_max limits, a client behind the proxy counts once."""
    with ProxiedRelay(tmp_path, {"xmpp": {"sessions_max": 2}}) as relay:
        streams = [relay.behind(proxied()), relay.behind(proxied(OTHER_CLIENT))]
        for stream in streams:
            stream.open()
        with Counting(relay, "xmpp_sessions_refused_total"):
            assert relay.behind(proxied() + header().encode()).rest() == ""
        for stream in streams:
            stream.close()
        assert relay.stop() == 0, relay.tail()


# ---- SIP ----

def behind_tcp(relay, head, source=PROXY_HOST):
    return Connection(relay.proxied_tcp, source, head=head)


def behind_tls(relay, head, credential, source=PROXY_HOST):
    return Connection(relay.proxied_tls, source, credential.client(), TLS_TENANT, head)


def over_tcp(**changes):
    return sip(transport="TCP", **changes)


def over_tls(**changes):
    return sip(transport="TLS", sender=f"sip:bob@{TLS_TENANT}", **changes)


def test_trunk_behind_the_proxy(scene, attacked):
    """V11: The honest proxy before SIP: a trunk is known by the address that the header names over
    TCP, by its certificate over TLS, whatever stands in the header; torn into bytes, or with the
    request in one packet behind it. The answers come the same way."""
    head = proxied(TRUNK_HOST, b"\x04\x00\x03xyz")
    with behind_tcp(attacked, b"") as connection:
        for byte in head:
            connection.send(bytes([byte]))
        assert connection.ask(over_tcp()) in (200, 202)
        assert connection.ask(over_tcp()) in (200, 202)
    with behind_tcp(attacked, head + over_tcp(method="OPTIONS")) as connection:
        assert b" 200 " in connection.response()
    with behind_tls(attacked, proxied(), attacked.pool) as connection:
        assert connection.ask(over_tls()) in (200, 202)


def test_proxied_connection_is_no_alias(scene, attacked):
    """V18: A trunk behind the proxy wants the relay's requests on its connection (RFC 5923), where
    somebody else's could come once the proxy takes it elsewhere: the relay calls the trunk itself."""
    via = f"SIP/2.0/TLS {TRUNK_HOST}:{attacked.tls_trunk};branch=z9hG4bKalias;alias"
    with behind_tls(attacked, proxied(TRUNK_HOST), attacked.pool) as connection, \
            socket.create_server((TRUNK_HOST, attacked.tls_trunk)) as trunk:
        assert connection.ask(over_tls(method="OPTIONS", via=via)) == 200
        trunk.settimeout(PATIENCE_S)
        with attacked.trusted(to=TLS_TENANT) as stream:
            stream.send(message("to the trunk", to=f"bob@{TLS_TENANT}"))
            trunk.accept()[0].close()


def test_sip_header_of_somebody_else(scene, attacked):
    """V12: A trunk's address in a header of who is no proxy, be it the trunk itself: closed at
    once, nothing of it is read."""
    for source in (STRANGER_HOST, TRUNK_HOST):
        for head in (proxied(TRUNK_HOST), LOCAL, b""):
            with Counting(attacked, SIP_REFUSED):
                connection = behind_tcp(attacked, head + over_tcp(), source)
                assert connection.rest() == b""
    with Counting(attacked, SIP_REFUSED):
        assert Connection(attacked.proxied_tls, TRUNK_HOST).rest() == b""


@pytest.mark.parametrize("head", [
    sip(transport="TCP"), b"\x16\x03\x01\x00\xc8", b"PROXY TCP4 127.0.0.2 198.51.100.1 1 2\r\n",
    SIGNATURE + b"\x22" + proxied()[13:], SIGNATURE + b"\x21\x12" + proxied()[14:],
    SIGNATURE + b"\x21\x11\xff\xff" + bytes(65535), b"\r\n\r\n\r\n\r\n"],
    ids=["none", "tls", "version-1", "command", "udp", "long", "pings"])
def test_proxy_without_a_good_header_for_sip(scene, attacked, head):
    """V13: The proxy's address before SIP, and no header or a broken one."""
    for port in (attacked.proxied_tcp, attacked.proxied_tls):
        with Counting(attacked, SIP_REFUSED):
            assert Connection(port, PROXY_HOST, head=head).rest() == b""


def test_stranger_behind_the_proxy(scene, attacked):
    """V14: What a client may not do it may not do through the proxy: an address that no trunk has
    is closed over TCP, another tenant's trunk and a certificate that proves nothing get 403."""
    with Counting(attacked, "sip_connections_refused_total"):
        assert behind_tcp(attacked, proxied() + over_tcp()).rest() == b""
    with Counting(attacked, FORBIDDEN):
        with behind_tcp(attacked, proxied(OTHER_TRUNK_HOST)) as connection:
            assert connection.ask(over_tcp()) == 403
    with Counting(attacked, FORBIDDEN):
        with behind_tls(attacked, proxied(TRUNK_HOST), attacked.good) as connection:
            assert connection.ask(over_tls()) == 403


def test_sip_header_where_none_belongs(scene, attacked):
    """V15: A header on a SIP listener that is behind no proxy, or a second one behind the proxy's,
    is no request: the connection ends, and the address that it names counts for nothing."""
    forged = proxied(TRUNK_HOST) + over_tcp()
    for connection in (Connection(attacked.tcp, OTHER_TRUNK_HOST, head=forged),
                       behind_tcp(attacked, proxied(OTHER_TRUNK_HOST) + forged)):
        assert b" 20" not in connection.rest()


def test_sip_limits_are_the_clients(scene, attacked):
    """V16: Connections per address are counted for the client: one that has too many is refused,
    another one is served through the same proxy; headers that do not end meet the deadline."""
    slow = [behind_tcp(attacked, proxied(TRUNK_HOST)[:20]) for _ in range(2 * PER_ADDRESS)]
    crowd = [behind_tcp(attacked, proxied(TRUNK_HOST)) for _ in range(PER_ADDRESS)]
    for connection in crowd:
        assert connection.ask(over_tcp(method="OPTIONS")) == 200
    with Counting(attacked, "sip_connections_refused_total"):
        assert behind_tcp(attacked, proxied(TRUNK_HOST)).rest() == b""
    with behind_tcp(attacked, proxied(OTHER_TRUNK_HOST)) as other:
        assert other.ask(over_tcp(method="OPTIONS")) == 200
    for connection in slow:
        assert connection.rest() == b""
    for connection in crowd:
        connection.close()


def test_checks_of_the_proxy_for_sip(scene, attacked):
    """V17: LOCAL, by which a proxy sees whether we are there: more of them than connections of an
    address, that just end; who asks for more is the proxy, which is no trunk."""
    checks = [behind_tcp(attacked, LOCAL) for _ in range(2 * PER_ADDRESS)]
    with Counting(attacked, FORBIDDEN):
        assert checks[0].ask(over_tcp()) == 403
    for connection in checks:
        connection.close()
