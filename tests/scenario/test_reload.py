# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration is read again while the relay runs: what is new is in force, what stays is
not disturbed, what is bad changes nothing."""
import contextlib
import re
import shutil
import signal
import socket
import threading

import pytest
import yaml

import peers
from attack_kit import certificates, running
from attack_wire import (OTHER_TENANT, PARTNER, PARTNER_HOST, PATIENCE_S, TENANT,
                         TLS_TENANT, TRUNK_HOST, Closed, Datagrams, Stream, answer, message, sip)
from test_bench import assert_clean, make_relay  # noqa: F401  (the latter is a fixture)
from ports import take_port

RELOADS = 1000
NEW_TENANT = "new.example"


@pytest.fixture
def scene(tmp_path):
    with running(tmp_path) as one:
        yield one


def reload(relay, **changes):
    """Writes the settings with whole keys replaced, and says what the relay answers."""
    relay.settings.update(changes)
    relay.write()
    return relay.control("reload")


def tenants_of(relay, *names):
    return [one for one in relay.settings["tenants"] if one["name"] in names]


def named(relay, name):
    return tenants_of(relay, name)[0]


def accepted(said):
    assert said.startswith("done: "), said
    return said


def balanced(counts):
    """The ledger when nothing is under way."""
    def total(direction, *ends):
        return sum(counts[f"{direction}_messages_{end}_total"] for end in ends)
    return (counts["xmpp_messages_accepted_total"] ==
            total("xmpp", "delivered", "failed", "dropped") and
            counts["sip_messages_accepted_total"] ==
            total("sip", "delivered", "handed_over", "failed", "dropped"))


def subject_of(stream):
    """The certificate that the relay has shown."""
    return stream.socket.getpeercert(binary_form=True)


def shown(relay, name):
    """What a new connection by direct TLS is shown for `name`."""
    with Stream(relay.direct) as stream:
        return subject_of(stream.wrap(certificates.plain_context(), name))


def replace(old, new):
    """As a renewal does: another file under the same name."""
    for name in ("pem", "key"):
        target = getattr(old, name)
        fresh = target.with_suffix(".new")
        shutil.copy(getattr(new, name), fresh)
        fresh.replace(target)


@contextlib.contextmanager
def welcomed(scene, port):
    """The trunk of the new tenant, which has just taken a message and sent one."""
    scene.line.send(f"<db:result from='{PARTNER}' to='{NEW_TENANT}'>x</db:result>")
    scene.line.until("type='valid'/>")
    with contextlib.closing(Datagrams(TRUNK_HOST, port, scene.relay.udp)) as trunk:
        scene.line.send(message("welcome", to=f"bob@{NEW_TENANT}"))
        assert b"welcome" in trunk.requests.get(timeout=PATIENCE_S)
        assert trunk.ask(sip(sender=f"sip:bob@{NEW_TENANT}")) in (200, 202)
        yield trunk


# ---- what is new ----

def test_a_tenant_is_added(scene):
    relay, port = scene.relay, take_port()
    said = accepted(reload(relay, tenants=[
        {"name": "new", "domains": [NEW_TENANT], "trunks": [
            {"uri": f"sip:{TRUNK_HOST}:{port};transport=udp", "options_interval": 0}]},
        *relay.settings["tenants"]]))
    assert "4 tenants (1 added, 0 removed, 0 changed)" in said
    with welcomed(scene, port):
        scene.check()


def test_counters_stay_with_their_tenants(scene):
    """Wherever a tenant stands in the file, and whoever had its place in it before."""
    relay = scene.relay

    def counted():
        rows = [line.split("\t") for line in relay.control("show tenants").splitlines()[1:]]
        return {row[0]: row[4:] for row in rows if len(row) > 4}
    before = counted()
    assert int(before["a"][0]) >= 1
    accepted(reload(relay, tenants=list(reversed(relay.settings["tenants"]))))
    assert counted() == before
    kept = relay.settings["tenants"]
    accepted(reload(relay, tenants=tenants_of(relay, "a", "t")))
    fresh = {**named(relay, "t"), "name": "fresh", "domains": ["fresh.example"]}
    accepted(reload(relay, tenants=[fresh, *relay.settings["tenants"]]))
    assert counted() == {"fresh": ["0"] * 5, "a": before["a"], "t": before["t"]}
    accepted(reload(relay, tenants=kept))
    assert counted()["b"] == ["0"] * 5
    assert counted()["a"] == before["a"]


def test_another_trunk_takes_over(scene):
    """What is on its way to the old one is still answered by it."""
    relay, trunk = scene.relay, scene.trunk
    trunk.status = None
    scene.line.send(message("under way", stanza_id="under way"))
    request = trunk.requests.get(timeout=PATIENCE_S)
    port = take_port()
    changed = {**named(relay, "a"), "trunks": [
        {"uri": f"sip:{TRUNK_HOST}:{port};transport=udp", "options_interval": 0}]}
    delivered = relay.count("xmpp_messages_delivered_total")
    accepted(reload(relay, tenants=[changed, *tenants_of(relay, "b", "t")]))
    with contextlib.closing(Datagrams(TRUNK_HOST, port, relay.udp)) as other:
        scene.line.send(message("elsewhere", sender=f"romeo@{PARTNER}", to=f"eve@{TENANT}"))
        assert b"elsewhere" in other.requests.get(timeout=PATIENCE_S)
        trunk.send(answer(request, "200 OK"))
        peers.wait_for("both are delivered", lambda: relay.count(
            "xmpp_messages_delivered_total") == delivered + 2)
    assert "under way" not in "".join(scene.partner.stanzas.queue)


def test_a_partner_moves(scene):
    """The next stream goes where the new configuration says."""
    relay = scene.relay
    others = [one for one in relay.settings["partners"] if one["domain"] != PARTNER]
    moved = {"domain": PARTNER, "host": peers.ADDRESS, "port": relay.partner}
    accepted(reload(relay, partners=[{**moved, "port": take_port()}, *others]))
    scene.check()  # the stream that stands is used
    accepted(reload(relay, partners=[moved, *others]))
    scene.check()


def test_a_policy_closes(scene):
    """Each message that comes too late is answered, and nothing of the kind begins again."""
    relay, tenant = scene.relay, named(scene.relay, "b")
    assert scene.other_trunk.ask(sip(sender=f"sip:bob@{OTHER_TENANT}")) in (200, 202)
    accepted(reload(relay, tenants=[{**tenant, "policy": "closed"},
                                    *tenants_of(relay, "a", "t")]))
    scene.line.send(message("too late", to=f"bob@{OTHER_TENANT}", stanza_id="late"))
    while "id='late'" not in (stanza := scene.partner.stanzas.get(timeout=PATIENCE_S)):
        pass
    assert "not-allowed" in stanza
    assert scene.other_trunk.ask(sip(sender=f"sip:bob@{OTHER_TENANT}")) == 403
    with relay.stream(PARTNER_HOST) as stream:
        with pytest.raises(Closed, match="policy-violation"):
            stream.starttls(relay.good.client(), OTHER_TENANT)


# ---- who leaves ----

def test_a_removed_tenant_leaves_in_order(scene):
    """Its streams are closed with a good-bye, not an error; what others have on the same stream
    is not lost; what was for it is answered; then nobody knows it."""
    relay = scene.relay
    assert scene.other_trunk.ask(sip(sender=f"sip:bob@{OTHER_TENANT}")) in (200, 202)
    accepted(reload(relay, tenants=tenants_of(relay, "a", "t")))
    scene.line.send(message("for nobody", to=f"bob@{OTHER_TENANT}", stanza_id="late") +
                    message("for a neighbour"))
    assert b"for a neighbour" in scene.trunk.requests.get(timeout=PATIENCE_S)
    while "id='late'" not in (stanza := scene.partner.stanzas.get(timeout=PATIENCE_S)):
        pass
    assert "<gone " in stanza and "type='error'" in stanza
    assert "<stream:error>" not in scene.line.until("</stream:stream>")
    assert scene.other_trunk.ask(sip(sender=f"sip:bob@{OTHER_TENANT}")) == 403
    with relay.stream(PARTNER_HOST) as stream:
        stream.send(f"<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream="
                    f"'http://etherx.jabber.org/streams' to='{OTHER_TENANT}' from='{PARTNER}' "
                    "version='1.0'>")
        assert stream.error() == "host-unknown"
    peers.wait_for("no stream of it is left", lambda: not any(
        OTHER_TENANT in row["pairs"] for row in relay.sessions()))
    scene.line = relay.trusted(source=PARTNER_HOST)
    scene.check(quiet=False)
    assert balanced(relay.counts())


def test_what_is_under_way_for_a_removed_tenant_ends(scene):
    """Both directions: the outcome that comes afterwards is the one that counts."""
    relay = scene.relay
    held, scene.other_trunk.status = [], None
    scene.partner.answer = held.append
    scene.line.send(message("to sip", to=f"bob@{OTHER_TENANT}", stanza_id="there"))
    request = scene.other_trunk.requests.get(timeout=PATIENCE_S)
    scene.other_trunk.send(sip(sender=f"sip:bob@{OTHER_TENANT}", body="to xmpp"))
    peers.wait_for("the relay's ping", lambda: any("urn:xmpp:ping" in one for one in held))
    before = relay.counts()
    accepted(reload(relay, tenants=tenants_of(relay, "a", "t")))
    scene.other_trunk.send(answer(request, "200 OK"))
    for stanza in held:
        scene._pong(stanza)
    scene.partner.answer = scene._pong
    while b" 100 " in (response := scene.other_trunk.response())[:12]:
        pass
    assert response.startswith((b"SIP/2.0 200 ", b"SIP/2.0 202 "))
    peers.wait_for("it is delivered", lambda: relay.count("xmpp_messages_delivered_total") ==
                   before["xmpp_messages_delivered_total"] + 1)
    peers.wait_for("the ledger balances", lambda: balanced(relay.counts()))
    scene.line = relay.trusted(source=PARTNER_HOST)


# ---- certificates ----

def test_renewed_certificates_are_shown(scene):
    """By every new connection; streams that stand are not touched."""
    relay = scene.relay
    own = relay.authority.issue("tenant", [certificates.dns(OTHER_TENANT)])
    accepted(reload(relay, tenants=[
        {**named(relay, "b"), "certificate": str(own.pem), "key": str(own.key)},
        *tenants_of(relay, "a", "t")]))
    before = {name: shown(relay, name) for name in (TENANT, OTHER_TENANT)}
    assert before[TENANT] != before[OTHER_TENANT]
    sessions = {row["peer"] for row in relay.sessions() if row["state"] == "open"}
    for old, name, names in ((relay.own, "own2", (TENANT, TLS_TENANT)),
                             (own, "tenant2", (OTHER_TENANT,))):
        replace(old, relay.authority.issue(name, [certificates.dns(one) for one in names]))
    for name, certificate in before.items():
        assert shown(relay, name) == certificate  # nobody has said that they are renewed
    accepted(relay.control("reload"))
    for name, certificate in before.items():
        assert shown(relay, name) != certificate
    assert sessions <= {row["peer"] for row in relay.sessions() if row["state"] == "open"}
    scene.check(quiet=False)


@pytest.mark.parametrize("which", ["xmpp", "tenant"])
def test_a_broken_renewal_is_refused(scene, which):
    relay = scene.relay
    own = relay.authority.issue("tenant", [certificates.dns(OTHER_TENANT)])
    accepted(reload(relay, tenants=[
        {**named(relay, "b"), "certificate": str(own.pem), "key": str(own.key)},
        *tenants_of(relay, "a", "t")]))
    name = TENANT if which == "xmpp" else OTHER_TENANT
    before, broken = shown(relay, name), relay.own if which == "xmpp" else own
    broken.pem.write_text("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n")
    said = relay.control("reload")
    key = "xmpp.certificate" if which == "xmpp" else "tenants[0].certificate"
    assert re.search(rf"error: .*passerelle.yaml:\d+: {re.escape(key)}: .*belong together",
                     said), said
    assert shown(relay, name) == before
    scene.check(quiet=False)


# ---- what cannot be ----

def test_a_bad_configuration_changes_nothing(scene):
    relay = scene.relay
    kept = relay.file.read_text()
    for text, said in (("nonsense: [", "syntax error"),
                       (kept.replace(f'"{OTHER_TENANT}"', f'"{TENANT}"'),
                        f"'{TENANT}' also belongs to tenant 'a'"),
                       (kept.replace('"name": "b"', '"name": "a"'),
                        "tenants[1].name: another tenant has the name 'a', too")):
        relay.file.write_text(text)
        told = relay.control("reload")
        assert told.startswith(f"error: {relay.file}:") and said in told
        scene.check()
    relay.file.unlink()
    assert "cannot read it" in relay.control("reload")
    scene.check()
    relay.file.write_text(kept)
    assert "(0 added, 0 removed, 0 changed)" in accepted(relay.control("reload"))
    counts = relay.counts()
    assert counts["config_reloads_refused_total"] == 4
    assert counts["config_reloads_total"] == 1


def test_what_needs_a_restart_is_named(scene):
    relay = scene.relay
    for section, key, value in (("global", "workers", 2), ("global", "parcel_count", 2048),
                                ("xmpp", "sessions_max", 77), ("sip", "host", "sip.example"),
                                ("sip", "listen_tcp", []), ("dns", "timeout_ms", 700)):
        relay.settings[section][key] = value
    relay.settings["global"]["log_level"] = "info"
    relay.settings["xmpp"]["idle_timeout_ms"] = 5000
    said = accepted(reload(relay))
    assert re.findall(r"^needs a restart: (.*)$", said, re.M) == [
        "global.workers", "global.parcel_count", "xmpp.sessions_max", "dns.timeout_ms",
        "sip.host", "sip.listen_tcp"]
    assert "log_level\tinfo" in relay.control("show info")
    assert "workers\t1" in relay.control("show info")
    assert peers.listens(relay.tcp)
    scene.check()


def test_a_signal_does_the_same(scene):
    relay = scene.relay
    relay.settings["tenants"] = tenants_of(relay, "a", "t")
    relay.write()
    relay.process.send_signal(signal.SIGHUP)
    peers.wait_for("the reload", lambda: relay.logged("event=reload.done"))
    assert relay.logged("event=reload.read", "removed=1")
    assert "\nb\t" not in relay.control("show tenants")
    relay.file.write_text("tenants: 7\n")
    relay.process.send_signal(signal.SIGHUP)
    peers.wait_for("the refusal", lambda: relay.logged("event=reload.refused", "tenants"))
    scene.line = relay.trusted(source=PARTNER_HOST)


# ---- under load ----

class Reloads:
    """Reads another configuration again and again over one connection to the stats socket."""

    def __init__(self, relay):
        self.relay, self.settings = relay, yaml.safe_load(relay.config.read_text())
        self.done = self.refused = 0
        self.fault, self.over = None, threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _tenants(self, number):
        """The tenants in another order, with others that come and go, and what else may change."""
        tenants = [dict(one) for one in self.settings["tenants"]]
        if number % 2:
            tenants.reverse()
        for one in tenants:
            one["trunks"] = [{**one["trunks"][0], "options_interval": number % 3},
                             *([{"uri": "sip:127.0.0.1:9"}] if number % 5 == 0 else [])]
            one["trunks"][-1]["priority"] = 9 if len(one["trunks"]) > 1 else 0
        place = number % (len(tenants) + 1)
        tenants[place:place] = [
            {"name": f"passing {index}", "domains": [f"p{index}.bench"],
             "trunks": [{"uri": "sip:127.0.0.1:9"}]}
            for index in range(number, number + number % 4)]
        return tenants

    def _renew(self):
        own = self.relay.config.parent / "dev/relay.bench.pem"
        fresh = own.with_suffix(".new")
        shutil.copyfile(own, fresh)
        fresh.replace(own)

    def _put(self, tenants, good):
        """Writes them; not good: so that they must be refused."""
        text = yaml.safe_dump({**self.settings, "tenants": tenants})
        self.relay.config.write_text(text if good else text + "tenants: []\n")

    def _run(self):
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self.relay.folder / "stats.sock"))
            answers = line.makefile()
            while self.done + self.refused < RELOADS and self.fault is None:
                number = self.done + self.refused
                if number % 10 == 7:
                    self._renew()
                good = number % 25 != 13
                self._put(self._tenants(number), good)
                line.sendall(b"reload\n")
                said = answers.readline()
                while answers.readline().strip():
                    pass
                if said.startswith("done: " if good else "error: "):
                    self.done, self.refused = self.done + good, self.refused + (not good)
                else:
                    self.fault = said or "the relay closed the stats socket"
        self.over.set()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.fault = self.fault or "the test is over"
        self.thread.join()


def reload_under_load(relay, kind):
    """A load that goes on until all reloads are done, and what it must not show."""
    rounds = 0
    with kind(relay) as reloads:
        while not reloads.over.is_set() or rounds == 0:
            rounds += 1
            assert_clean(relay.run_load("duplex", 5000), "duplex", 5000)
        assert reloads.fault is None
    assert reloads.done + reloads.refused == RELOADS
    counts = {row[0]: int(row[1]) for row in (line.split() for line in relay.ask(
        "show stat").splitlines()[1:]) if len(row) == 2}
    assert counts["config_reloads_total"] == reloads.done
    assert counts["config_reloads_refused_total"] == reloads.refused
    assert counts["xmpp_messages_accepted_total"] >= 5000 * rounds
    assert balanced(counts)
    for refusal in ("xmpp_sessions_refused_total", "tls_failures_total", "policy_refused_total",
                    "xmpp_messages_failed_total", "xmpp_messages_dropped_total",
                    "sip_messages_dropped_total", "xmpp_stream_errors_sent_total"):
        assert counts[refusal] == 0, refusal


def test_a_thousand_reloads_under_load(make_relay):  # noqa: F811
    reload_under_load(make_relay(workers=2, egress=2, load=["--sip-domains", "3"]), Reloads)
