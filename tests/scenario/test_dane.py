# SPDX-License-Identifier: GPL-3.0-or-later
"""DANE (RFC 7673) between the relay and a real Prosody, each with a resolver of its own that
validates the zones of a real name server."""
import contextlib

import pytest

import attack_certificates as certificates
import peers
from attack_kit import OTHER_TENANT, TENANT, AttackedRelay, Scene, sip
from ports import take_port
from test_attacks_dane import SIGNED, Zones, tlsa
from users import XmppUser

DOMAIN = f"prosody.{SIGNED}"
ZONES = (SIGNED, TENANT.rsplit(".", maxsplit=1)[-1])


class World:
    """Nobody knows the authority of the other one's certificate."""

    def __init__(self, folder):
        self.folder, self.relay = folder, AttackedRelay(folder / "relay")
        self.zones = Zones(folder / "knot", take_port(), ZONES)
        self.ports = (take_port(), take_port())
        self.anchor = folder / "anchor.key"
        self.authority = certificates.Authority(folder / "other", "other")
        self.own = self.authority.issue(DOMAIN, [certificates.dns(DOMAIN)])
        self._announce(DOMAIN, self.ports[0], tlsa(self.own))
        self._announce(TENANT, self.relay.s2s, tlsa(self.relay.own))
        self._announce(OTHER_TENANT, self.relay.s2s, tlsa(self.own))  # another one's
        self.zones.sign()
        self.anchor.write_text("".join(f"{zone}. 60 IN DNSKEY {key}\n"
                                       for zone in ZONES for key in self.zones.keys[zone]))
        self.relay.settings["dns"].update(server=f"{peers.ADDRESS}@{self.zones.port}",
                                          timeout_ms=4000, trust_anchor=str(self.anchor))
        self.relay.write()

    def _announce(self, domain, port, *records):
        self.zones.add(f"_xmpp-server._tcp.{domain}", "SRV", f"0 0 {port} host.{domain}.")
        self.zones.add(f"host.{domain}", "A", peers.ADDRESS)
        self.zones.add(f"_{port}._tcp.host.{domain}", "TLSA", *records)

    @contextlib.contextmanager
    def prosody(self, credential, **how):
        place = self.folder / "prosody-certificates"
        place.mkdir(exist_ok=True)
        for name, source in (("pem", credential.pem), ("key", credential.key)):
            (place / f"{DOMAIN}.{name}").write_bytes(source.read_bytes())
        with peers.Prosody(self.folder / "prosody", {DOMAIN: place}, self.ports, self.zones.port,
                           self.authority.pem, users=["romeo"], **how) as server, \
                XmppUser(server, "romeo") as user:
            yield user


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    with made.zones, made.relay as relay, Scene(relay) as scene:
        made.scene = scene
        yield made
        assert relay.stop() == 0, relay.tail()


def trust_of(world, direction):
    return {one["trust"] for one in world.relay.sessions()
            if one["remote"] == DOMAIN and one["direction"] == direction}


def test_prosody_proves_itself(world):
    """Its certificate is nobody's whom the relay knows: its TLSA record vouches for it."""
    with world.prosody(world.own, auth="dialback") as romeo:
        assert world.scene.trunk.ask(sip(uri=f"sip:{romeo.jid}", body="vouched for")) in (200, 202)
        assert romeo.next_message()["body"] == "vouched for"
        assert trust_of(world, "out") == {"dane"}
        # Who comes in by dialback is as good as the server that is asked about it.
        romeo.send(f"bob@{TENANT}", "and back")
        while b"and back" not in world.scene.trunk.requests.get(timeout=peers.PATIENCE_S):
            pass
        assert trust_of(world, "in") == {"dane"}


def test_the_relay_proves_itself(world):
    """Prosody wants more than dialback and does not know the relay's authority: the TLSA record of
    the relay's host does it. That of the other tenant's names another certificate."""
    known = world.relay.authority.issue(DOMAIN, [certificates.dns(DOMAIN)])
    with world.prosody(known, auth="any", strict=True, anchor=world.anchor) as romeo:
        romeo.send(f"bob@{OTHER_TENANT}", "to nobody")
        assert romeo.next_fault().condition.startswith("remote-server")
        romeo.send(f"bob@{TENANT}", "to one who is vouched for")
        while b"vouched for" not in world.scene.trunk.requests.get(timeout=peers.PATIENCE_S):
            pass
        assert world.scene.other_trunk.requests.empty()
