# SPDX-License-Identifier: GPL-3.0-or-later
"""Hostile and broken DNS: what a partner's zone may do to the relay and to other partners."""
import contextlib
import json
import socket
import struct
import threading

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

import peers
from attack_certificates import plain_context
from attack_kit import PATIENCE_S, TENANT, Server, message, numbers, running, sip  # noqa: F401
from ports import take_port

SOA = "ns.example. x.example. 1 60 60 60 5"


class Names:
    """A name server over UDP and TCP. `zone` maps a name to {type: (TTL, [data, …])}; names with
    "silent" in them get no answer at all."""

    def __init__(self):
        self.zone = {}
        self.port = take_port()
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((peers.ADDRESS, self.port))
        self._tcp = socket.create_server((peers.ADDRESS, self.port))
        for run in (self._run_udp, self._run_tcp):
            threading.Thread(target=run, daemon=True).start()

    def add(self, name, kind, *data, ttl=60):
        self.zone.setdefault(name, {})[kind] = (ttl, data)

    def _answer(self, data):
        question = dns.message.from_wire(data)
        response = dns.message.make_response(question)
        response.flags |= dns.flags.RA
        name = question.question[0].name.to_text().rstrip(".").lower()
        kind = dns.rdatatype.to_text(question.question[0].rdtype)
        if "silent" in name:
            return None
        if name not in self.zone:
            response.set_rcode(dns.rcode.NXDOMAIN)
        for one in {kind, "CNAME"} & set(self.zone.get(name, {})):
            ttl, items = self.zone[name][one]
            response.answer.append(dns.rrset.from_text(f"{name}.", ttl, "IN", one, *items))
        if not response.answer:
            response.authority.append(dns.rrset.from_text("example.", 5, "IN", "SOA", SOA))
        return response

    def _run_udp(self):
        with contextlib.suppress(OSError):
            while data_and_source := self._udp.recvfrom(4096):
                data, source = data_and_source
                if not data:
                    return  # shut down
                response = self._answer(data)
                if response is None:
                    continue
                wire = response.to_wire(max_size=65535)
                if len(wire) > 1200:
                    response.answer.clear()
                    response.flags |= dns.flags.TC
                    wire = response.to_wire()
                self._udp.sendto(wire, source)

    def _run_tcp(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._tcp.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
            while size := stream.read(2):
                response = self._answer(stream.read(struct.unpack("!H", size)[0]))
                if response is not None:
                    wire = response.to_wire(max_size=65535)
                    connection.sendall(struct.pack("!H", len(wire)) + wire)

    def close(self):
        for one in (self._udp, self._tcp):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@pytest.fixture(scope="module")
def names():
    server = Names()
    yield server
    server.close()


@pytest.fixture(scope="module")
def scene(names, tmp_path_factory):  # noqa: F811
    changes = {"dns": {"server": f"{peers.ADDRESS}@{names.port}", "timeout_ms": 4000},
               "xmpp": {"deliver_timeout_ms": 10000, "confirm_timeout_ms": 300}}
    with running(tmp_path_factory.mktemp("dns"), changes) as one:
        yield one


@pytest.fixture(scope="module")
def strict(names, tmp_path_factory):
    """A relay as on the open internet: answers may not name special addresses."""
    changes = {"dns": {"server": f"{peers.ADDRESS}@{names.port}", "allow_special": False}}
    with running(tmp_path_factory.mktemp("strict"), changes) as one:
        yield one


@pytest.fixture
def attacked(scene):  # noqa: F811
    yield scene.relay
    scene.check()


def links(relay):
    counts = relay.counts()
    return counts["xmpp_links_opened_total"] - counts["xmpp_links_closed_total"]


def fresh():
    """An address that nobody spoke from yet."""
    number = next(numbers)
    return f"127.1.{number // 250}.{number % 250 + 1}"


def claims(relay, sender, count, source):
    """Dialback claims for so many domains on one stream, none of them proved."""
    stream = relay.stream(source)
    stream.starttls(plain_context(), TENANT, sender.format("x"))
    for number in range(count):
        stream.send(f"<db:result from='{sender.format(number)}' to='{TENANT}'>k</db:result>")
    return stream


def found(relay, names, domain, port=None):
    """A partner by DNS, who takes what the relay sends."""
    port = port or take_port()
    names.add(f"_xmpp-server._tcp.{domain}", "SRV", f"0 0 {port} host.{domain}.")
    names.add(f"host.{domain}", "A", peers.ADDRESS)
    return Server(port, relay.good, domain)


def test_silent_name_servers(scene, attacked, names):
    """N1: Hundreds of domains whose name server never answers: everybody else's questions are
    answered as before."""
    stream = claims(attacked, f"n{next(numbers)}-{{}}.silent.example", 64, fresh())
    for number in range(200):
        scene.trunk.send(sip(uri=f"sip:x@s{number}.silent.example"))
    domain = f"found{next(numbers)}.example"
    with contextlib.closing(found(attacked, names, domain)) as server:
        assert scene.trunk.ask(sip(uri=f"sip:x@{domain}", body="found")) == 202
        assert "found" in server.stanzas.get(timeout=PATIENCE_S)
    stream.close()


def test_claims_of_one_address_are_bounded(attacked):
    """N2: One address claims domains whose name servers are silent: 64 are looked into at a time,
    the rest get resource-constraint at once, on whatever stream."""
    source = fresh()
    kept = claims(attacked, f"n{next(numbers)}-{{}}.silent.example", 64, source)
    kept.barrier()
    with claims(attacked, f"n{next(numbers)}-{{}}.silent.example", 20, source) as stream:
        for _ in range(20):
            assert "<resource-constraint " in stream.until("</db:result>")
    kept.close()


def test_thousands_of_names(attacked):
    """N3: Claims and messages for ever new domains: what the relay keeps for each is forgotten."""
    before = attacked.count("xmpp_links_opened_total")
    for _ in range(6):
        with claims(attacked, f"n{next(numbers)}-{{}}.example", 64, fresh()) as stream:
            for _ in range(64):
                assert "type='error'" in stream.until("</db:result>")
    assert attacked.count("xmpp_links_opened_total") > before + 300
    peers.wait_for("the links are forgotten", lambda: links(attacked) < 20)


@pytest.mark.parametrize("kind, address", [
    ("A", "127.0.0.1"), ("A", "10.1.2.3"), ("A", "192.168.1.1"), ("A", "172.16.0.1"),
    ("A", "169.254.169.254"), ("A", "0.0.0.0"), ("A", "100.64.0.1"), ("A", "224.0.0.1"),
    ("A", "255.255.255.255"), ("AAAA", "::1"), ("AAAA", "::"), ("AAAA", "::ffff:127.0.0.1"),
    ("AAAA", "64:ff9b::7f00:1"), ("AAAA", "2002:7f00:1::"), ("AAAA", "fe80::1"),
    ("AAAA", "fc00::1"), ("AAAA", "ff02::1")])
def test_answer_names_a_special_address(strict, names, kind, address):
    """N4: SRV or the domain itself names loopback, private, link-local, multicast or embedded
    addresses: refused without a connection, unless dns.allow_special."""
    relay, number = strict.relay, next(numbers)
    names.add(f"_xmpp-server._tcp.p{number}.example", "SRV", f"0 0 {relay.second} h{number}.example.")
    names.add(f"h{number}.example", kind, address)
    names.add(f"q{number}.example", kind, address)
    opened = relay.count("xmpp_sessions_opened_total")
    for name in (f"p{number}.example", f"q{number}.example"):
        assert strict.trunk.ask(sip(uri=f"sip:x@{name}")) >= 400
        assert relay.logged("event=link.failed", f"partner={name}",
                            "only loopback or private addresses")
    assert relay.count("xmpp_sessions_opened_total") == opened
    strict.check()


def test_answer_names_the_relay_itself(scene, attacked, names):
    """N5: A domain's SRV names the relay's own listener: it calls itself once, is told
    host-unknown, and the sender gets an error; no circle."""
    domain = f"mirror{next(numbers)}.example"
    names.add(f"_xmpp-server._tcp.{domain}", "SRV", f"0 0 {attacked.s2s} h.{domain}.")
    names.add(f"h.{domain}", "A", peers.ADDRESS)
    opened = attacked.count("xmpp_sessions_opened_total")
    assert scene.trunk.ask(sip(uri=f"sip:x@{domain}")) >= 400
    assert attacked.count("xmpp_sessions_opened_total") - opened == 2
    with attacked.stream() as stream:
        stream.starttls(plain_context(), TENANT, domain)
        stream.send(f"<db:result from='{domain}' to='{TENANT}'>k</db:result>")
        assert "type='valid'" not in stream.until("/>", "</db:result>")


BROKEN = {
    "cname-loop": lambda n, d: (n.add(f"_xmpp-server._tcp.{d}", "CNAME", f"x.{d}."),
                                n.add(f"x.{d}", "CNAME", f"_xmpp-server._tcp.{d}.")),
    "host-loop": lambda n, d: (n.add(f"_xmpp-server._tcp.{d}", "SRV", f"0 0 5 x.{d}."),
                               n.add(f"x.{d}", "CNAME", f"y.{d}."),
                               n.add(f"y.{d}", "CNAME", f"x.{d}.")),
    "service-denied": lambda n, d: (n.add(f"_xmpp-server._tcp.{d}", "SRV", "0 0 0 ."),
                                    n.add(d, "A", peers.ADDRESS)),
    "host-without-address": lambda n, d: n.add(f"_xmpp-server._tcp.{d}", "SRV", f"0 0 5 x.{d}."),
    "thousand-hosts-without-address": lambda n, d: n.add(
        f"_xmpp-server._tcp.{d}", "SRV", *[f"0 0 5 x{i}.{d}." for i in range(1000)]),
    "thousand-records-that-refuse": lambda n, d: (
        n.add(f"_xmpp-server._tcp.{d}", "SRV", *[f"0 0 {i + 1} x.{d}." for i in range(1000)]),
        n.add(f"x.{d}", "A", peers.ADDRESS)),
    "port-zero": lambda n, d: (n.add(f"_xmpp-server._tcp.{d}", "SRV", f"0 0 0 x.{d}."),
                               n.add(f"x.{d}", "A", peers.ADDRESS)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_zone(scene, attacked, names, name):
    """N6: Loops, 1,000 SRV records, SRV ".", hosts without addresses: at most 32 targets are
    looked at, and the sender gets an error."""
    domain = f"broken{next(numbers)}.example"
    BROKEN[name](names, domain)
    opened = attacked.count("xmpp_sessions_opened_total")
    assert scene.trunk.ask(sip(uri=f"sip:x@{domain}")) >= 400
    assert attacked.count("xmpp_sessions_opened_total") - opened <= 32


@pytest.mark.parametrize("ttl", [0, 2**31 - 1])
def test_strange_lifetime(scene, attacked, names, ttl):
    """N7: TTL 0 and the longest: the answer serves."""
    domain = f"ttl{ttl}.example"
    with contextlib.closing(found(attacked, names, domain)) as server:
        for one in (f"_xmpp-server._tcp.{domain}", f"host.{domain}"):
            names.zone[one] = {kind: (ttl, data) for kind, (_, data) in names.zone[one].items()}
        assert scene.trunk.ask(sip(uri=f"sip:x@{domain}", body="lives")) == 202
        assert "lives" in server.stanzas.get(timeout=PATIENCE_S)


@contextlib.contextmanager
def silence(host, port):
    """A listener whose queue is full answers no SYN, as if packets to it were lost."""
    with contextlib.ExitStack() as stack:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        stack.enter_context(socket.create_server((host, port), family=family, backlog=0))
        while True:
            one = stack.enter_context(socket.socket(family))
            one.settimeout(0.3)
            try:
                one.connect((host, port))
            except TimeoutError:
                break
        yield


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no IPv6 here")
def test_address_where_nobody_answers(scene, attacked, names):
    """N8: A server's first address swallows packets: the next one is tried beside it, at once, and
    nothing is left of the other; `explain` tells of both."""
    domain, port = f"hole{next(numbers)}.example", take_port()
    names.add(f"host.{domain}", "AAAA", "::1")
    before = attacked.count("xmpp_connections_outrun_total")
    with silence("::1", port), contextlib.closing(found(attacked, names, domain, port)) as server:
        # It waits for both families, and the resolver then has them at hand: none comes too late.
        rows = json.loads(attacked.control(f"explain {domain} tenant a json"))
        assert rows[-1]["result"] == "partly", rows
        assert [row["target"] for row in rows if row["result"] == "failed"] == [f"[::1]:{port}"]
        assert "whether this machine reaches others over IPv6" in rows[-1]["text"]
        assert scene.trunk.ask(sip(uri=f"sip:x@{domain}", body="around it")) == 202
        assert "around it" in server.stanzas.get(timeout=PATIENCE_S)
        assert attacked.count("xmpp_connections_outrun_total") == before + 1
        # explain's own stream may still be closing.
        assert {one["peer"] for one in attacked.sessions() if one["remote"] == domain} == {
            f"{peers.ADDRESS}:{port}"}
