# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures: one small internet for the whole run. The world's ports and names are settled
first, because the DNS zone must know them all; servers start when a test first asks for them."""
import contextlib
import datetime
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "tools"), str(ROOT / "bench")]

import attack_certificates  # noqa: E402
import ejabberd as ejabberds  # noqa: E402
import peers  # noqa: E402
import relay as relays  # noqa: E402
import terminal  # noqa: E402
import users  # noqa: E402
from ports import take_port  # noqa: E402

RELAY_HOST = "relay.example"
PROXY_HOST = "proxy.example"          # what Kamailio's certificate names

# The tenants. All live behind Kamailio; the relay's trunk to it differs.
SIP_DOMAIN = "sip.example"            # over UDP
TCP_DOMAIN = "tcp.example"
TLS_DOMAIN = "tls.example"            # both sides show certificates
FAILOVER_DOMAIN = "failover.example"  # a front proxy first, over TCP, then Kamailio over UDP
GONE_DOMAIN = "gone.example"          # over UDP to where nobody listens
STRAIGHT_DOMAIN = "straight.example"  # found by XMPP servers for direct TLS only
LIST_DOMAIN = "list.example"          # talks with XMPP_DOMAIN only; over UDP, else over TCP
CLOSED_DOMAIN = "closed.example"      # talks with nobody
NAPTR_DOMAIN = "naptr.example"        # a trunk that DNS finds: NAPTR wants TCP before UDP
SRV_DOMAIN = "srv.example"            # without NAPTR: SRV for TLS, whose first target is dead, and UDP
TENANTS = (SIP_DOMAIN, TCP_DOMAIN, TLS_DOMAIN, FAILOVER_DOMAIN, GONE_DOMAIN, STRAIGHT_DOMAIN,
           LIST_DOMAIN, CLOSED_DOMAIN, NAPTR_DOMAIN, SRV_DOMAIN)

# The partners.
XMPP_DOMAIN = "xmpp.example"          # Prosody, with certificates only
DIALBACK_DOMAIN = "dialback.example"  # Prosody nobody can verify: dialback only
ANY_DOMAIN = "any.example"            # Prosody that takes either
CLEAR_DOMAIN = "clear.example"        # Prosody without TLS: dialback in clear
EJABBERD_DOMAIN = "ejabberd.example"  # ejabberd, with certificates only
RUSTIC_DOMAIN = "rustic.example"      # ejabberd nobody can verify: dialback only
BIDI_DOMAIN = "bidi.example"          # Prosody with certificates only, and streams that go both ways
BIDI_DIALBACK_DOMAIN = "bidi-dialback.example"  # the same, and nobody can verify it
DIRECT_DOMAIN = "direct.example"      # Prosody, found for direct TLS only
SIX_DOMAIN = "six.example"            # Prosody on IPv6 only
SHAPED_DOMAIN = "shaped.example"      # Prosody that reads 10 kB a second of a server's stream
SPREAD_DOMAIN = "spread.example"      # … the same one, to which the relay may open four
SHAPED_EJABBERD_DOMAIN = "shaped-ejabberd.example"  # ejabberd that does the same
SPARE_DOMAIN = "spare.example"        # Prosody behind SRV records of which only the last works
DOWN_DOMAIN = "down.example"          # nobody listens
PLAIN_DOMAIN = "plain.example"        # nobody listens, and there is no SRV record
MUTE_DOMAIN = "mute.example"          # SRV ".": no service
# Prosody again, with certificates that the relay must refuse.
MISMATCH_DOMAIN, EXPIRED_DOMAIN = "mismatch.example", "expired.example"
STRANGER_DOMAIN = "stranger.example"  # signed by an authority that the relay does not know
CROOKED = (MISMATCH_DOMAIN, EXPIRED_DOMAIN, STRANGER_DOMAIN)


class World:
    """Who is where. `relay_*` ports are the relay's to listen on."""

    def __init__(self, folder):
        self.folder = folder
        names = """dns kamailio kamailio_tls front relay_s2s relay_direct relay_udp relay_tcp
            relay_tls xmpp_s2s xmpp_c2s dialback_s2s dialback_c2s any_s2s any_c2s ejabberd_s2s
            ejabberd_c2s bidi_s2s bidi_c2s bidi_dialback_s2s
            bidi_dialback_c2s shaped_s2s shaped_c2s shaped_ejabberd_s2s
            shaped_ejabberd_c2s many_s2s many_c2s many_direct clear_s2s
            clear_c2s nobody""".split()
        for name in names:
            setattr(self, name, take_port())
        self.certificates = folder / "certificates"
        # The authority of these certificates is trusted by nobody else.
        self.strange_certificates = folder / "strange-certificates"
        honest = (*TENANTS, XMPP_DOMAIN, ANY_DOMAIN, EJABBERD_DOMAIN, DIRECT_DOMAIN, SIX_DOMAIN,
                  SHAPED_DOMAIN, SHAPED_EJABBERD_DOMAIN, SPREAD_DOMAIN, SPARE_DOMAIN,
                  BIDI_DOMAIN, RELAY_HOST, PROXY_HOST)
        for place, domains in (
                (self.certificates, honest),
                (self.strange_certificates, (
                    DIALBACK_DOMAIN, RUSTIC_DOMAIN, STRANGER_DOMAIN, BIDI_DIALBACK_DOMAIN))):
            subprocess.run([ROOT / "tools/dev-certificates", place, *domains], check=True,
                           stdout=subprocess.DEVNULL)
        self.ca_file = self.certificates / "ca.pem"
        self._make_crooked()

    def _make_crooked(self):
        """Two certificates of an authority that the relay trusts, and that it must refuse."""
        self.crooked_certificates = self.folder / "crooked-certificates"
        authority = attack_certificates.Authority(self.crooked_certificates)
        authority.issue(MISMATCH_DOMAIN, [attack_certificates.dns("elsewhere.example")])
        authority.issue(EXPIRED_DOMAIN, [attack_certificates.dns(EXPIRED_DOMAIN)],
                        age=datetime.timedelta(days=9), life=datetime.timedelta(days=8))
        self.relay_ca_file = self.folder / "relay-authorities.pem"
        self.relay_ca_file.write_bytes(self.ca_file.read_bytes() + authority.pem.read_bytes())

    def records(self):
        """The zone. The tenants' XMPP service is the relay's."""
        hosts = [f"{name} A {peers.ADDRESS}" for name in ("relay", "prosody", "ejabberd-host",
                                                     "proxy")]
        hosts.append("prosody-six AAAA ::1")
        # A domain that has no SRV record, and one that declares that it has no service.
        hosts += [f"plain A {peers.ADDRESS}", "_xmpp-server._tcp.mute SRV 0 0 0 ."]
        services = []
        for tenant in TENANTS:
            label = tenant.split(".", maxsplit=1)[0]
            # localhost is for ejabberd, which can find no other host here.
            for priority, host in ((0, "relay"), (10, "localhost.")):
                services.append((f"_xmpps-server._tcp.{label}", priority, self.relay_direct, host))
                if tenant != STRAIGHT_DOMAIN:
                    services.append((f"_xmpp-server._tcp.{label}", priority, self.relay_s2s, host))
        services += [(f"_xmpp-server._tcp.{label}", priority, port, host)
                     for label, priority, port, host in (
                         ("xmpp", 0, self.xmpp_s2s, "prosody"),
                         ("dialback", 0, self.dialback_s2s, "prosody"),
                         ("any", 0, self.any_s2s, "prosody"),
                         ("clear", 0, self.clear_s2s, "prosody"),
                         ("bidi", 0, self.bidi_s2s, "prosody"),
                         ("bidi-dialback", 0, self.bidi_dialback_s2s, "prosody"),
                         ("shaped", 0, self.shaped_s2s, "prosody"),
                         ("spread", 0, self.shaped_s2s, "prosody"),
                         ("shaped-ejabberd", 0, self.shaped_ejabberd_s2s, "ejabberd-host"),
                         ("ejabberd", 0, self.ejabberd_s2s, "ejabberd-host"),
                         ("rustic", 0, self.ejabberd_s2s, "ejabberd-host"),
                         ("six", 0, self.many_s2s, "prosody-six"),
                         # Refused, without an address, and only then somebody who listens.
                         ("spare", 10, self.nobody, "prosody"),
                         ("spare", 20, self.many_s2s, "nowhere"),
                         ("spare", 30, self.many_s2s, "prosody"),
                         ("down", 0, self.nobody, "prosody"),
                         ("mismatch", 0, self.many_s2s, "prosody"),
                         ("expired", 0, self.many_s2s, "prosody"),
                         ("stranger", 0, self.many_s2s, "prosody"))]
        services.append(("_xmpps-server._tcp.direct", 0, self.many_direct, "prosody"))
        services += [("_sip._tcp.elsewhere", 0, self.kamailio, "proxy"),
                     ("_sip._udp.elsewhere", 0, self.kamailio, "proxy"),
                     ("_sips._tcp.srv-trunk", 0, self.nobody, "proxy"),
                     ("_sips._tcp.srv-trunk", 10, self.kamailio_tls, "proxy"),
                     ("_sip._udp.srv-trunk", 0, self.kamailio, "proxy")]
        hosts += ['naptr-trunk NAPTR 10 10 "s" "SIP+D2T" "" _sip._tcp.elsewhere',
                  'naptr-trunk NAPTR 20 10 "s" "SIP+D2U" "" _sip._udp.elsewhere']
        return hosts + [f"{name} SRV {priority} 0 {port} {target}"
                        for name, priority, port, target in services]

    def relay_settings(self):
        """The keys of the relay's configuration that relays.Relay does not have by itself."""
        def trunk(port, transport="udp", **more):
            return {"uri": f"sip:{peers.ADDRESS}:{port};transport={transport}",
                    "options_interval": 0, **more}
        trunks = {TCP_DOMAIN: [trunk(self.kamailio, "tcp")],
                  TLS_DOMAIN: [trunk(self.kamailio_tls, "tls", identity=PROXY_HOST)],
                  FAILOVER_DOMAIN: [trunk(self.kamailio, priority=10),
                                    trunk(self.front, "tcp")],
                  GONE_DOMAIN: [trunk(self.nobody)],
                  NAPTR_DOMAIN: [{"uri": "sip:naptr-trunk.example", "options_interval": 0}],
                  SRV_DOMAIN: [{"uri": "sip:srv-trunk.example", "options_interval": 0,
                                "identity": PROXY_HOST}],
                  LIST_DOMAIN: [trunk(self.kamailio), trunk(self.kamailio, "tcp", priority=10)]}
        policies = {LIST_DOMAIN: {"policy": "list", "partners": [XMPP_DOMAIN]},
                    CLOSED_DOMAIN: {"policy": "closed"}}
        tenants = [{"name": domain.split(".", maxsplit=1)[0], "domains": [domain],
                    "trunks": trunks.get(domain, [trunk(self.kamailio)]),
                    "certificate": str(self.certificates / f"{domain}.pem"),
                    "key": str(self.certificates / f"{domain}.key"),
                    **policies.get(domain, {})} for domain in TENANTS]
        strict = (XMPP_DOMAIN, EJABBERD_DOMAIN, *CROOKED)
        # Kamailio waits 5 s for an answer here: the relay must have given up on the ping by then.
        return {"xmpp": {"ca_file": str(self.relay_ca_file), "confirm_timeout_ms": 3000},
                "tenants": tenants,
                # T1 makes a peer that says nothing known after 6.4 s instead of 32 s. One
                # recipient may fill the relay: then it reads no further and refuses nothing.
                "sip": {"t1_ms": 100, "recipient_queue_max": 1024,
                        "certificate": str(self.certificates / f"{RELAY_HOST}.pem"),
                        "key": str(self.certificates / f"{RELAY_HOST}.key"),
                        "ca_file": str(self.ca_file)},
                "partners": [{"domain": CLEAR_DOMAIN, "tls": "not_supported"},
                             {"domain": BIDI_DOMAIN, "sasl": "required", "bidi": True},
                             {"domain": BIDI_DIALBACK_DOMAIN, "bidi": True},
                             {"domain": SPREAD_DOMAIN, "streams": 4},
                             *({"domain": domain, "sasl": "required"} for domain in strict)]}


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
    with peers.Prosody(world.folder / "xmpp", {XMPP_DOMAIN: world.certificates},
                       (world.xmpp_s2s, world.xmpp_c2s), dns_server.port, world.ca_file,
                       "external", ["romeo", "juliet"]) as server:
        yield server


@pytest.fixture(scope="session")
def prosody_dialback(world, dns_server):
    """The partner whose certificate proves nothing: dialback over TLS, for mercutio."""
    with peers.Prosody(world.folder / "dialback", {DIALBACK_DOMAIN: world.strange_certificates},
                       (world.dialback_s2s, world.dialback_c2s), dns_server.port,
                       world.strange_certificates / "ca.pem", "dialback",
                       ["mercutio"]) as server:
        yield server


@pytest.fixture(scope="session")
def prosody_any(world, dns_server):
    """The partner that takes either proof, for benvolio."""
    with peers.Prosody(world.folder / "any", {ANY_DOMAIN: world.certificates},
                       (world.any_s2s, world.any_c2s), dns_server.port, world.ca_file, "any",
                       ["benvolio"]) as server:
        yield server


@pytest.fixture(scope="session")
def prosody_clear(world, dns_server):
    """The partner that knows no TLS, for rosaline."""
    with peers.Prosody(world.folder / "clear", {CLEAR_DOMAIN: world.certificates},
                       (world.clear_s2s, world.clear_c2s), dns_server.port, world.ca_file,
                       "clear", ["rosaline"]) as server:
        yield server


@pytest.fixture(scope="session")
def prosody_shaped(world, dns_server):
    """The partner that reads slowly, for balthasar in each of its two domains."""
    with peers.Prosody(world.folder / "shaped",
                       {SHAPED_DOMAIN: world.certificates, SPREAD_DOMAIN: world.certificates},
                       (world.shaped_s2s, world.shaped_c2s), dns_server.port, world.ca_file,
                       "external", ["balthasar"], rate="10kb/s") as server:
        yield server


@pytest.fixture(scope="session")
def prosody_bidi(world, dns_server):
    """The partner whose streams go both ways, for sampson."""
    with peers.Prosody(world.folder / "bidi", {BIDI_DOMAIN: world.certificates},
                       (world.bidi_s2s, world.bidi_c2s), dns_server.port, world.ca_file,
                       "external", ["sampson"], modules=["s2s_bidi"]) as server:
        yield server


@pytest.fixture(scope="session")
def prosody_bidi_dialback(world, dns_server):
    """The same by dialback, for gregory."""
    with peers.Prosody(world.folder / "bidi-dialback",
                       {BIDI_DIALBACK_DOMAIN: world.strange_certificates},
                       (world.bidi_dialback_s2s, world.bidi_dialback_c2s), dns_server.port,
                       world.strange_certificates / "ca.pem", "dialback", ["gregory"],
                       modules=["s2s_bidi"]) as server:
        yield server


@pytest.fixture(scope="session")
def prosody_many(world, dns_server):
    """One server for the partners that are hard to find or not to be trusted, for paris."""
    places = dict.fromkeys((DIRECT_DOMAIN, SIX_DOMAIN, SPARE_DOMAIN), world.certificates)
    places.update({MISMATCH_DOMAIN: world.crooked_certificates,
                   EXPIRED_DOMAIN: world.crooked_certificates,
                   STRANGER_DOMAIN: world.strange_certificates})
    with peers.Prosody(world.folder / "many", places, (world.many_s2s, world.many_c2s),
                       dns_server.port, world.ca_file, "external", ["paris"],
                       direct_port=world.many_direct,
                       interfaces=(peers.ADDRESS, "::1")) as server:
        yield server


@pytest.fixture(scope="session")
def ejabberd(world, dns_server):
    """EJABBERD_DOMAIN with certificates only and RUSTIC_DOMAIN with dialback, for tybalt."""
    with ejabberds.Ejabberd(
            world.folder / "ejabberd",
            {EJABBERD_DOMAIN: world.certificates, RUSTIC_DOMAIN: world.strange_certificates},
            (world.ejabberd_s2s, world.ejabberd_c2s), dns_server.port, world.ca_file,
            ["tybalt"], dialback=[RUSTIC_DOMAIN]) as server:
        yield server


@pytest.fixture(scope="session")
def ejabberd_shaped(world, dns_server):
    """The other partner that reads slowly, for balthasar."""
    with ejabberds.Ejabberd(
            world.folder / "shaped-ejabberd", {SHAPED_EJABBERD_DOMAIN: world.certificates},
            (world.shaped_ejabberd_s2s, world.shaped_ejabberd_c2s), dns_server.port,
            world.ca_file, ["balthasar"], rate=10000) as server:
        yield server


@pytest.fixture(scope="session")
def kamailio(world):
    routes = dict.fromkeys(TENANTS, f"sip:{peers.ADDRESS}:{world.relay_udp}")
    routes[TCP_DOMAIN] = f"sip:{peers.ADDRESS}:{world.relay_tcp};transport=tcp"
    routes[TLS_DOMAIN] = f"sip:{peers.ADDRESS}:{world.relay_tls};transport=tls"
    with peers.Kamailio(world.folder / "kamailio", routes, world.kamailio,
                        (world.kamailio_tls, world.certificates / f"{PROXY_HOST}.pem",
                         world.ca_file)) as server:
        yield server


@pytest.fixture
def front(world):
    """The proxy that FAILOVER_DOMAIN's messages go through as long as it is there."""
    with peers.Kamailio(world.folder / "front",
                        {FAILOVER_DOMAIN: f"sip:{peers.ADDRESS}:{world.relay_udp}"},
                        world.front) as server:
        yield server


@pytest.fixture(scope="session")
def relay(world, dns_server, kamailio):
    """The relay between all of them; that it is still alive at the end is part of every test."""
    with relays.Relay(world.folder / "relay", world, dns_server.port, [SIP_DOMAIN],
                      world.relay_settings()) as server:
        yield server
        assert server.alive(), server.tail()
        assert server.stop() == 0, "it ended badly on SIGTERM"


@pytest.fixture
def xmpp_user():
    """xmpp_user(server, "romeo") is online until the test's end; `domain` is one of the
    server's, by default its first."""
    with contextlib.ExitStack() as stack:
        yield lambda server, user, domain=None: stack.enter_context(
            users.XmppUser(server, user, domain))


@pytest.fixture
def sip_user(world, kamailio):
    """sip_user("alice") is registered at Kamailio until the test's end."""
    with contextlib.ExitStack() as stack:
        def make(name, domain=SIP_DOMAIN, proxy_port=None):
            user = stack.enter_context(
                users.SipUser(name, domain, take_port(), proxy_port or kamailio.port))
            assert user.register().status == 200
            return user
        yield make


@pytest.fixture
def baresip(kamailio, tmp_path):
    """baresip("bob", contact): registered at Kamailio until the test's end."""
    with contextlib.ExitStack() as stack:
        def make(name, contact, domain=SIP_DOMAIN):
            phone = stack.enter_context(terminal.Baresip(
                tmp_path / name, f"sip:{name}@{domain}", kamailio.port, contact))
            phone.wait_for("200 OK")
            return phone
        yield make


@pytest.fixture
def sipp(world, tmp_path):
    """sipp("message_uas", calls=2): a started SIPp, stopped at the test's end."""
    with contextlib.ExitStack() as stack:
        def make(scenario, port=None, **options):
            folder = tmp_path / f"sipp-{scenario}"
            return stack.enter_context(
                peers.Sipp(folder, scenario, port or take_port(), **options))
        yield make
