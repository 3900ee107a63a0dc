# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures: one small internet for the whole run. The world's ports and names are settled
first, because the DNS zone must know them all; servers start when a test first asks for them."""
import contextlib
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import peers  # noqa: E402
import relay as relays  # noqa: E402
import users  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SIP_DOMAIN = "sip.example"          # the tenant, behind Kamailio
XMPP_DOMAIN = "xmpp.example"        # a partner with certificates only
DIALBACK_DOMAIN = "dialback.example"  # a partner nobody can verify: dialback only
ANY_DOMAIN = "any.example"          # a partner that takes either
RELAY_HOST = "relay.example"


class World:
    """Who is where. `relay_*` ports are the relay's to listen on."""

    def __init__(self, folder):
        self.folder, self.ports = folder, peers.Ports()
        names = """dns kamailio relay_s2s relay_direct relay_udp relay_tcp relay_tls
            xmpp_s2s xmpp_c2s dialback_s2s dialback_c2s any_s2s any_c2s""".split()
        for name in names:
            setattr(self, name, self.ports.take())
        self.certificates = folder / "certificates"
        # The authority of these certificates is trusted by nobody else.
        self.strange_certificates = folder / "strange-certificates"
        for place, domains in (
                (self.certificates, (SIP_DOMAIN, XMPP_DOMAIN, ANY_DOMAIN, RELAY_HOST)),
                (self.strange_certificates, (DIALBACK_DOMAIN,))):
            subprocess.run([ROOT / "tools/dev-certificates", place, *domains], check=True,
                           stdout=subprocess.DEVNULL)
        self.ca_file = self.certificates / "ca.pem"

    def records(self):
        """The zone. The SIP domain's XMPP service is the relay's, and the XMPP domains' SIP
        service is the relay's too."""
        hosts = [f"{name.split('.')[0]} A {peers.ADDRESS}"
                 for name in (SIP_DOMAIN, XMPP_DOMAIN, DIALBACK_DOMAIN, ANY_DOMAIN, RELAY_HOST)]
        services = [("_xmpp-server._tcp.sip", self.relay_s2s, "relay"),
                    ("_xmpps-server._tcp.sip", self.relay_direct, "relay"),
                    ("_xmpp-server._tcp.xmpp", self.xmpp_s2s, "xmpp"),
                    ("_xmpp-server._tcp.dialback", self.dialback_s2s, "dialback"),
                    ("_xmpp-server._tcp.any", self.any_s2s, "any"),
                    ("_sip._udp.sip", self.kamailio, "sip"),
                    ("_sip._tcp.sip", self.kamailio, "sip")]
        for domain in ("xmpp", "dialback", "any"):
            services += [(f"_sip._udp.{domain}", self.relay_udp, "relay"),
                         (f"_sip._tcp.{domain}", self.relay_tcp, "relay"),
                         (f"_sips._tcp.{domain}", self.relay_tls, "relay"),
                         (f"_sipfederationtls._tcp.{domain}", self.relay_tls, "relay")]
        return hosts + [f"{name} SRV 0 0 {port} {target}" for name, port, target in services]


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def dns_server(world):
    with peers.Knot(world.folder / "knot", world.dns, world.records()) as knot:
        yield knot


@pytest.fixture(scope="session")
def prosody(world, dns_server):
    """The partner that accepts and shows certificates, for romeo and juliet."""
    with peers.Prosody(world.folder / "xmpp", XMPP_DOMAIN, (world.xmpp_s2s, world.xmpp_c2s),
                       dns_server.port, world.certificates, "external",
                       ["romeo", "juliet"]) as server:
        yield server


@pytest.fixture(scope="session")
def prosody_dialback(world, dns_server):
    """The partner whose certificate proves nothing: dialback over TLS, for mercutio."""
    with peers.Prosody(world.folder / "dialback", DIALBACK_DOMAIN,
                       (world.dialback_s2s, world.dialback_c2s), dns_server.port,
                       world.strange_certificates, "dialback", ["mercutio"]) as server:
        yield server


@pytest.fixture(scope="session")
def prosody_any(world, dns_server):
    """The partner that takes either proof, for benvolio."""
    with peers.Prosody(world.folder / "any", ANY_DOMAIN, (world.any_s2s, world.any_c2s),
                       dns_server.port, world.certificates, "any", ["benvolio"]) as server:
        yield server


@pytest.fixture(scope="session")
def kamailio(world, dns_server):
    relay_uri = f"sip:{peers.ADDRESS}:{world.relay_udp}"
    with peers.Kamailio(world.folder / "kamailio", SIP_DOMAIN, world.kamailio, relay_uri,
                        [XMPP_DOMAIN, DIALBACK_DOMAIN, ANY_DOMAIN]) as server:
        yield server


@pytest.fixture(scope="session")
def relay(world, dns_server, kamailio):
    """The relay between all of them; that it is still alive at the end is part of every test."""
    if not relays.PROGRAM.exists():
        pytest.skip(f"there is no {relays.PROGRAM.name} yet")
    with relays.Relay(world.folder / "relay", world, dns_server.port, [SIP_DOMAIN]) as server:
        yield server
        assert server.alive(), server.tail()
        assert server.stop() == 0, "it ended badly on SIGTERM"


@pytest.fixture
def xmpp_user():
    """xmpp_user(server, "romeo") is online until the test's end."""
    with contextlib.ExitStack() as stack:
        yield lambda server, user: stack.enter_context(users.XmppUser(server, user))


@pytest.fixture
def sip_user(world, kamailio):
    """sip_user("alice") is registered at Kamailio until the test's end."""
    with contextlib.ExitStack() as stack:
        def make(name):
            user = stack.enter_context(
                users.SipUser(name, SIP_DOMAIN, world.ports.take(), kamailio.port))
            assert user.register().status == 200
            return user
        yield make


@pytest.fixture
def sipp(world, tmp_path):
    """sipp("message_uas", calls=2): a started SIPp, stopped at the test's end."""
    with contextlib.ExitStack() as stack:
        def make(scenario, port=None, **options):
            folder = tmp_path / f"sipp-{scenario}"
            return stack.enter_context(
                peers.Sipp(folder, scenario, port or world.ports.take(), **options))
        yield make
