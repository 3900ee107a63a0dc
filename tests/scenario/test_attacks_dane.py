# SPDX-License-Identifier: GPL-3.0-or-later
"""DANE (RFC 7673, RFC 7671): signed zones of a real name server, and servers whose certificates
nothing but TLSA records vouches for."""
import contextlib
import hashlib
import json
import re
import socket
import subprocess
import threading

import dns.message
import dns.rdatatype
import pytest
from cryptography.hazmat.primitives import serialization

import attack_certificates as certificates
import peers
from attack_certificates import DAY
from attack_kit import PATIENCE_S, SECOND, TENANT, AttackedRelay, Scene, Server, sip
from policy_kit import claim
from ports import take_port

SIGNED, PLAIN, STOLEN, SPOILT = "signed", "plain", "stolen", "spoilt"
CASES = ("good", "key", "all", "wrong", "expired", "authority", "unnamed", "outdone", "unusable",
         "withheld", "estranged",
         "held", "anchored", "first", "strict", "refused", "warned", "allowed", "clear", "vague", "asked", "silent",
         "hosted")


def data_of(certificate, selector, matching):
    """The association data of a TLSA record (RFC 6698 §2.1.4)."""
    der = serialization.Encoding.DER
    data = certificate.public_bytes(der) if selector == 0 else certificate.public_key(
        ).public_bytes(der, serialization.PublicFormat.SubjectPublicKeyInfo)
    return {0: lambda: data, 1: hashlib.sha256(data).digest, 2: hashlib.sha512(data).digest}[
        matching]().hex()


def tlsa(credential, usage=3, selector=1, matching=1):
    return f"{usage} {selector} {matching} {data_of(credential.certificate, selector, matching)}"


class Zones(peers.NameServer):
    """A zone for each top level domain, those in `signed` signed by it."""

    def __init__(self, folder, port, signed):
        super().__init__(folder, port)
        self.signed, self.records = set(signed), {}

    def add(self, name, kind, *data):
        zone = name.rsplit(".", maxsplit=1)[-1]
        self.records.setdefault(zone, []).extend(f"{name}. {kind} {one}" for one in data)

    def _zone(self, zone):
        signing = "dnssec-signing: on\n    dnssec-policy: one" if zone in self.signed else ""
        return f"""
  - domain: {zone}.
    storage: "{self.folder}"
    file: {zone}.zone
    zonefile-load: whole
    zonefile-sync: {0 if signing else -1}
    journal-content: {"all" if signing else "none"}
    {signing}"""

    def write(self):
        for zone, records in self.records.items():
            (self.folder / f"{zone}.zone").write_text("\n".join([
                "$TTL 5", f"{zone}. SOA ns.{zone}. h.{zone}. 1 60 60 60 1", f"{zone}. NS ns.{zone}.",
                f"ns.{zone}. A {peers.ADDRESS}", *records]) + "\n")
        self._configure()

    def _configure(self):
        zones = "".join(self._zone(zone) for zone in self.records)
        self.configure(f"policy:\n  - id: one\n    single-type-signing: on\nzone:{zones}")

    def ready(self):
        with contextlib.suppress(OSError, peers.dns.exception.DNSException):
            return all(self.ask(f"{zone}.", "DNSKEY" if zone in self.signed else "SOA")
                       for zone in self.records)
        return False

    def sign(self):
        """Has Knot sign the zones once: from here on they are files that may be spoilt."""
        self.write()
        with self:
            self.keys = {zone: self.ask(f"{zone}.", "DNSKEY") for zone in self.signed}
            subprocess.run(["/usr/sbin/knotc", "-b", "-s", self.folder / "knot.sock", "zone-flush"],
                           check=True, capture_output=True, timeout=PATIENCE_S)
        assert all("RRSIG" in (self.folder / f"{zone}.zone").read_text() for zone in self.signed)
        self.signed = set()
        self._configure()

    def spoil(self, zone, kind):
        """Another first letter for every signature of this type."""
        path = self.folder / f"{zone}.zone"
        text, count = re.subn(
            rf"(RRSIG\s+{kind}\s.*\s)([A-Za-z0-9+/])(\S{{60,}})$",
            lambda found: found[1] + ("B" if found[2] == "A" else "A") + found[3],
            path.read_text(), flags=re.MULTILINE)
        assert count > 0
        path.write_text(text)


class Way:
    """On the way to the name server: UDP goes through, but for questions for TLSA with "silent" in
    their name."""

    def __init__(self, target):
        self.port = take_port()
        self._target = (peers.ADDRESS, target)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((peers.ADDRESS, self.port))
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError):
            while data_and_source := self._socket.recvfrom(65535):
                data, source = data_and_source
                if not data:
                    return  # shut down
                question = dns.message.from_wire(data).question[0]
                if question.rdtype == dns.rdatatype.TLSA and "silent" in question.name.to_text():
                    continue
                threading.Thread(target=self._pass, args=(data, source), daemon=True).start()

    def _pass(self, data, source):
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(PATIENCE_S)
            one.sendto(data, self._target)
            self._socket.sendto(one.recv(65535), source)

    def close(self):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class World:
    def __init__(self, folder):
        self.relay = AttackedRelay(folder / "relay")
        self.zones = Zones(folder / "knot", take_port(), [SIGNED, STOLEN, SPOILT])
        self.port = {name: take_port() for name in CASES}
        self.authority = certificates.Authority(folder / "private", "private")
        self.credentials = {name: self._issue(name) for name in CASES}
        for name in CASES:
            self._announce(name)
        for name, zone in (("one", PLAIN), ("one", STOLEN), ("one", SPOILT), ("strict", PLAIN)):
            key = zone if name == "one" else "loose"
            self.port[key] = take_port()
            self._records(f"{name}.{zone}", self.port[key], tlsa(self.credentials["good"]))
        self.zones.sign()
        self.zones.spoil(SPOILT, "TLSA")
        keys = dict(self.zones.keys)
        keys[STOLEN] = keys[SIGNED]
        anchor = folder / "anchor.key"
        anchor.write_text("".join(f"{zone}. 60 IN DNSKEY {key}\n"
                                  for zone, all_keys in keys.items() for key in all_keys))
        settings = self.relay.settings
        self.way = Way(self.zones.port)
        settings["dns"].update(server=f"{peers.ADDRESS}@{self.way.port}", timeout_ms=4000,
                               trust_anchor=str(anchor))
        settings["xmpp"]["confirm_timeout_ms"] = 300
        settings["partners"] += [
            {"domain": f"strict.{SIGNED}", "trust": "dane"},
            {"domain": f"strict.{PLAIN}", "trust": "dane"},
            {"domain": f"asked.{SIGNED}", "trust": "dane"},
            {"domain": f"clear.{SIGNED}", "tls": "optional"},
            {"domain": f"vague.{SIGNED}", "tls": "optional"},
            *({"domain": f"{name}.{SIGNED}", "trust_downgrade": reaction} for name, reaction in
              (("refused", "refuse"), ("warned", "warn"), ("allowed", "allow")))]
        self.relay.write()

    def _issue(self, name):
        """What no authority of the relay has signed."""
        own = [certificates.dns(f"{name}.{SIGNED}")]
        if name in ("authority", "unnamed"):
            names = own if name == "authority" else [certificates.dns("other.example")]
            return self.authority.issue(name, names, chain=[self.authority.own.certificate])
        if name in ("held", "withheld"):  # the authority is not sent: DNS has it
            return self.authority.issue(name, own)
        if name in ("anchored", "estranged"):  # one of the relay's own authority
            return self.relay.authority.issue(name, own)
        if name == "hosted":  # and it has no TLSA records
            return self.relay.authority.issue(name, [certificates.dns(f"host.{name}.{SIGNED}")])
        if name == "expired":
            return self.authority.issue(name, [certificates.dns("other.example")],
                                        self_signed=True, age=9 * DAY, life=8 * DAY)
        return self.authority.issue(name, own, self_signed=True)

    def _announce(self, name):
        own = self.credentials[name]
        records = {"key": [tlsa(own, 3, 1, 2)], "all": [tlsa(own, 3, 0, 0)],
                   "wrong": [tlsa(self.authority.own)],
                   "authority": [tlsa(self.authority.own, 2, 0, 1)],
                   "unnamed": [tlsa(self.authority.own, 2, 0, 1)],
                   "outdone": [tlsa(own), tlsa(self.authority.own, 3, 1, 2)],
                   "unusable": [f"3 1 1 {'00' * 31}", f"9 1 1 {'00' * 32}", f"0 0 2 {'00' * 32}"],
                   "held": [tlsa(self.relay.authority.own, 2, 0, 0),
                            tlsa(self.authority.own, 2, 0, 0)],
                   "withheld": [tlsa(self.relay.authority.own, 2, 0, 0)],
                   "anchored": [tlsa(self.relay.authority.own, 0, 0, 1)],
                   "estranged": [tlsa(self.authority.own, 0, 0, 1)],
                   "first": [tlsa(self.authority.own), tlsa(own)], "hosted": []}
        records["vague"] = records["unusable"]
        domain, port = f"{name}.{SIGNED}", self.port[name]
        self._records(domain, port, *records.get(name, [tlsa(own)]))
        if name in ("refused", "warned", "allowed"):  # a second server, of which TLSA says nothing
            self.port[name, "other"] = take_port()
            self.zones.add(f"_xmpp-server._tcp.{domain}", "SRV",
                           f"9 0 {self.port[name, 'other']} host.{domain}.")

    def _records(self, domain, port, *records):
        self.zones.add(f"_xmpp-server._tcp.{domain}", "SRV", f"0 0 {port} host.{domain}.")
        self.zones.add(f"host.{domain}", "A", peers.ADDRESS)
        self.zones.add(f"_{port}._tcp.host.{domain}", "TLSA", *records)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("dane"))
    with contextlib.closing(made.way), made.zones, made.relay as relay, Scene(relay) as scene:
        made.scene = scene
        yield made
        assert relay.alive(), relay.tail()
        assert relay.stop() == 0, relay.tail()


@contextlib.contextmanager
def served(world, name, zone=SIGNED, port=None, label=None):
    """The server of this case."""
    domain = f"{label or name}.{zone}"
    with contextlib.closing(Server(port or world.port[name], world.credentials.get(
            name, world.credentials["good"]), domain)) as server:
        yield domain, server


def tell(world, domain, text="hello"):
    """The status of a message to the domain."""
    return world.scene.trunk.ask(sip(uri=f"sip:x@{domain}", body=text))


def trust_of(world, domain):
    return [one["trust"] for one in world.relay.sessions() if one["remote"] == domain]


def steps(world, domain):
    """What `explain` says."""
    return json.loads(world.relay.control(f"explain {domain} tenant {TENANT} json"))


def explained(world, domain):
    """What `explain` says of DANE at each address, and its verdict."""
    rows = steps(world, domain)
    return [(row["result"], rows[-1]["result"]) for row in rows if row["step"] == "dane"]


@pytest.mark.parametrize("name", ["good", "key", "all", "expired", "authority", "held",
                                  "anchored", "first"])
def test_record_vouches(world, name):
    """D1: A certificate that no authority has signed, by key or whole, by digest or in full; an
    expired one with another name (DANE-EE, RFC 7671 §5.1); one of a private authority (DANE-TA), which the
    server sends, or which DNS alone has (§5.2.2); one of an authority that the relay knows and the
    server does not send (PKIX-TA); one of two records."""
    before = world.relay.count("dane_proved_total")
    with served(world, name) as (domain, server):
        assert tell(world, domain, f"by {name}") == 202
        assert f"by {name}" in server.stanzas.get(timeout=PATIENCE_S)
        assert trust_of(world, domain) == ["dane"]
        assert world.relay.count("dane_proved_total") == before + 1
        assert explained(world, domain) == [("ok", "ok")]


@pytest.mark.parametrize("name", ["wrong", "unnamed", "outdone", "withheld", "estranged"])
def test_no_record_vouches(world, name):
    """D2: TLSA records that name another certificate, or an authority whose certificate is in
    another name, or one that did not sign it, be it whole in DNS or known here (PKIX-TA), or this
    one only by a weaker digest than another record has (RFC 7671 §9): no stream, though the rules
    allow dialback."""
    before = world.relay.count("dane_failed_total")
    with served(world, name) as (domain, server):
        assert tell(world, domain) >= 400
        assert server.stanzas.empty()
        assert world.relay.logged("event=link.failed", f"partner={domain}", "no TLSA record of")
        assert world.relay.count("dane_failed_total") == before + 1
        assert explained(world, domain) == [("failed", "failed")]


@pytest.mark.parametrize("zone, name", [(PLAIN, "one"), (SIGNED, "unusable")])
def test_records_that_do_not_count(world, zone, name):
    """D3: TLSA records in a zone that nobody signed, and such as cannot be used: as if there were
    none."""
    with served(world, name if zone == SIGNED else zone, zone, label=name) as (domain, server):
        assert tell(world, domain, "as before") == 202
        assert "as before" in server.stanzas.get(timeout=PATIENCE_S)
        assert trust_of(world, domain) == ["dialback"]
        assert explained(world, domain) == [("note", "ok")]


def test_name_of_the_host(world):
    """D10: Where DNSSEC vouches for the way, a certificate in the name of the host proves the server
    (RFC 7673 §4.1)."""
    with served(world, "hosted") as (domain, server):
        assert tell(world, domain, "by name") == 202
        assert "by name" in server.stanzas.get(timeout=PATIENCE_S)
        assert trust_of(world, domain) == ["pkix"]
        assert [(row["result"], row["text"]) for row in steps(world, domain)
                if row["step"] == "identity"] == [
                    ("ok", f"dNSName host.{domain} speaks for host.{domain}")]


@pytest.mark.parametrize("zone", [STOLEN, SPOILT])
def test_bogus_signatures(world, zone):
    """D4: A zone signed with another key than its parent knows, and TLSA records whose signature
    is wrong: the server is not even connected to (RFC 7673 §3)."""
    opened = world.relay.count("xmpp_sessions_opened_total")
    with served(world, zone, zone, label="one") as (domain, server):
        assert tell(world, domain) >= 400
        assert server.stanzas.empty()
        assert world.relay.logged("event=link.failed", f"partner={domain}",
                                  "DNSSEC validation failed")
        failed = [row["step"] for row in steps(world, domain) if row["result"] == "failed"]
        assert failed[0] == "dns" and failed[-1] == "verdict"
        assert "signatures are wrong or expired" in steps(world, domain)[-1]["text"]
    assert world.relay.count("xmpp_sessions_opened_total") == opened


def test_records_are_kept_back(world):
    """D9: Somebody on the way drops the questions for TLSA records: no connection."""
    opened = world.relay.count("xmpp_sessions_opened_total")
    with served(world, "silent") as (domain, server):
        assert tell(world, domain) >= 400
        assert server.stanzas.empty()
    assert world.relay.count("xmpp_sessions_opened_total") == opened


@pytest.mark.parametrize("name", ["clear", "vague"])
def test_tls_cannot_be_stripped(world, name):
    """D5: TLSA records, those too that cannot be used, say that there is TLS: a server that offers
    none gets nothing in clear, though the rules allow it."""
    class Clear(Server):
        def serve(self, stream):
            self.greet(stream, "<dialback xmlns='urn:xmpp:features:dialback'/>")
            self.stanzas.put(stream.until("</message>", "<db:result", "</stream:stream>"))

    domain = f"{name}.{SIGNED}"
    with contextlib.closing(Clear(world.port[name], world.credentials[name], domain)) as server:
        assert tell(world, domain) >= 400
        assert "</stream:stream>" in server.stanzas.get(timeout=PATIENCE_S)


def test_rule_wants_dane(world):
    """D6: trust: dane takes a server that TLSA records vouch for, and no other."""
    with served(world, "strict") as (domain, server):
        assert tell(world, domain, "strictly") == 202
        assert "strictly" in server.stanzas.get(timeout=PATIENCE_S)
    before = world.relay.count("trust_refused_total")
    with served(world, "loose", PLAIN, label="strict") as (domain, server):
        assert tell(world, domain) >= 400
        assert server.stanzas.empty()
        assert world.relay.logged("event=link.failed", f"partner={domain}", "trust: dane is wanted")
        assert world.relay.count("trust_refused_total") == before + 1
        assert explained(world, domain) == [("failed", "failed")]


def test_who_comes_in(world):
    """D7: Under trust: dane a certificate lets nobody in; a dialback claim does, when the server
    that is asked about it proves itself by DANE."""
    class Authority(Server):
        def serve(self, stream):
            self.secure(stream)
            self.greet(stream, "<dialback xmlns='urn:xmpp:features:dialback'/>")
            self.answer = lambda stanza: stream.send(re.sub(
                r".*<db:(\w+) from='([^']*)' to='([^']*)'( id='[^']*')?.*",
                r"<db:\1 from='\3' to='\2'\4 type='valid'/>", stanza, flags=re.DOTALL))
            self.collect(stream)

    domain = f"asked.{SIGNED}"
    good = world.relay.authority.issue("asked-in", [certificates.dns(domain)])
    with world.relay.stream() as stream:
        assert "EXTERNAL" not in stream.starttls(good.client(), TENANT, domain)
    with contextlib.closing(Authority(world.port["asked"], world.credentials["asked"], domain)):
        with world.relay.stream() as stream:
            stream.starttls(certificates.plain_context(), TENANT, domain)
            assert "type='valid'" in claim(stream, domain)
            assert "dane" in trust_of(world, domain)
    with contextlib.closing(Authority(world.port["loose"], world.credentials["good"],
                                      f"strict.{PLAIN}")), world.relay.stream() as stream:
        stream.starttls(certificates.plain_context(), TENANT, f"strict.{PLAIN}")
        assert "type='valid'" not in claim(stream, f"strict.{PLAIN}")
    # Whose rules hold is told by the claim, not by the header of the stream that it comes on.
    with contextlib.closing(Authority(world.relay.second, world.relay.good, SECOND)), \
            world.relay.stream() as stream:
        stream.starttls(certificates.plain_context(), TENANT, domain)
        assert "type='valid'" in claim(stream, SECOND)
        assert "dialback" in trust_of(world, SECOND) or "pkix" in trust_of(world, SECOND)


@pytest.mark.parametrize("name", ["refused", "warned", "allowed"])
def test_downgrade(world, name):
    """D8: A partner whose server has proved itself by DANE is met by another that has not: refused,
    told, or allowed and then forgotten."""
    with served(world, name) as (domain, server):
        assert tell(world, domain, "before") == 202
        server.stanzas.get(timeout=PATIENCE_S)
    peers.wait_for("the stream is gone", lambda: trust_of(world, domain) == [])
    with served(world, name, port=world.port[name, "other"]) as (domain, server):
        # explain tells what traffic would meet, and changes nothing for it.
        told = [row["result"] for row in steps(world, domain) if row["step"] == "identity"
                and "by dane before, now only by dialback" in row["text"]]
        assert told == ["failed" if name == "refused" else "note"]
        assert not world.relay.logged("event=trust.downgrade", f"partner={domain}")
        before = world.relay.count("trust_downgrades_total")
        status = tell(world, domain, "after")
        assert (status == 202) == (name != "refused")
        assert server.stanzas.empty() == (name == "refused")
        assert world.relay.count("trust_downgrades_total") == before + 1
        assert world.relay.logged("event=trust.downgrade", f"partner={domain}", "dane before")
        assert f"{domain}" in world.relay.control("show errors")
    peers.wait_for("the stream is gone", lambda: trust_of(world, domain) == [])
    if name != "refused":  # whose link waits before it tries again
        with served(world, name, port=world.port[name, "other"]) as (domain, server):
            assert tell(world, domain, "again") == 202
        more = 2 if name == "warned" else 1
        assert world.relay.count("trust_downgrades_total") == before + more
