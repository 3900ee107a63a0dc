# SPDX-License-Identifier: GPL-3.0-or-later
"""What the attack tests share: a relay with tenants, one honest partner and honest trunks, and
ways to attack it. Everything is on loopback; who somebody is to the relay is told by the address
127.0.0.x that he speaks from."""
import contextlib
import json
import pathlib
import re
import socket

import pytest

import attack_certificates as certificates
import peers
import relay as relays
from ports import take_port
from attack_wire import *  # noqa: F401,F403
from attack_wire import (HOSTILE, OTHER_TENANT, OTHER_TRUNK_HOST, PARTNER, PARTNER_HOST, PATIENCE_S,
                         POOL, SECOND, SECRET, STRANGER_HOST, STRICT, TENANT, TLS_TENANT, TRUNK_HOST,
                         Datagrams, Server, Stream, message, numbers, sip)

SHADOW_END = 0x550000000000


class AttackedRelay(peers.Peer):
    """A relay whose settings are built here; `changes` replaces whole keys of a section."""

    name = "passerelle"

    def __init__(self, folder, changes=None):
        super().__init__(folder)
        self.authority = certificates.Authority(self.folder / "ca")
        names = "s2s direct udp tcp tls partner second trunk other_trunk tls_trunk".split()
        for name in names:
            setattr(self, name, take_port())
        self.own = self.authority.issue("relay", [certificates.dns(name) for name in (
            TENANT, OTHER_TENANT, TLS_TENANT)])
        self.good = self.authority.issue(PARTNER, [certificates.dns(PARTNER)])
        self.pool = self.authority.issue(POOL, [certificates.dns(POOL)])
        self.settings = self._settings()
        for section, values in (changes or {}).items():
            if isinstance(values, dict):
                self.settings.setdefault(section, {}).update(values)
            else:
                self.settings[section] = values
        self.file = self.folder / "passerelle.yaml"
        self.write()

    def write(self):
        self.file.write_text(json.dumps(self.settings, indent=1))

    def _settings(self):
        def listen(port):
            return [f"{peers.ADDRESS}:{port}"]

        def trunk(host, port, transport="udp", **more):
            return {"uri": f"sip:{host}:{port};transport={transport}", "options_interval": 0,
                    **more}
        return {
            "global": {"stats_socket": str(self.folder / "stats.sock"), "log_level": "debug",
                       "parcel_count": 1024},
            "xmpp": {"listen": listen(self.s2s), "listen_direct_tls": listen(self.direct),
                     "certificate": str(self.own.pem), "key": str(self.own.key),
                     "ca_file": str(self.authority.pem), "connect_timeout_ms": 5000,
                     "deliver_timeout_ms": 5000, "confirm_timeout_ms": 5000,
                     "dialback_secret": SECRET},
            "sip": {"listen_udp": listen(self.udp), "listen_tcp": listen(self.tcp),
                    "listen_tls": listen(self.tls)},
            # Nobody answers here: what is not listed below cannot be found.
            "dns": {"server": f"{peers.ADDRESS}@9", "allow_special": True, "timeout_ms": 500},
            "tenants": [
                {"name": "a", "domains": [TENANT], "trunks": [trunk(TRUNK_HOST, self.trunk)]},
                {"name": "b", "domains": [OTHER_TENANT],
                 "trunks": [trunk(OTHER_TRUNK_HOST, self.other_trunk)]},
                {"name": "t", "domains": [TLS_TENANT], "trunks": [
                    trunk(TRUNK_HOST, self.tls_trunk, "tls", identity=POOL)]}],
            "partners": [{"domain": PARTNER, "host": peers.ADDRESS, "port": self.partner},
                         *({"domain": name, "host": peers.ADDRESS, "port": self.second}
                           for name in (SECOND, *HOSTILE)),
                         *({"domain": name, "host": peers.ADDRESS, "port": self.second,
                            "sasl": "required"} for name in STRICT)]}

    def command(self):
        return [relays.PROGRAM, "-c", self.file]

    def ready(self):
        return "start.ready" in self.output()

    # What the relay tells about itself.

    def control(self, command):
        """The answer of the stats socket to one command."""
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(PATIENCE_S)
            one.connect(self.settings["global"]["stats_socket"])
            one.sendall(f"{command}\n".encode())
            one.shutdown(socket.SHUT_WR)
            data = b""
            while chunk := one.recv(65536):
                data += chunk
        return data.decode()

    def counts(self):
        return {row[0]: int(row[1]) for row in (line.split("\t") for line in
                self.control("show stat").splitlines()[1:]) if len(row) == 2}

    def count(self, name):
        return self.counts()[name]

    def sessions(self):
        return json.loads(self.control("show sess json"))

    def memory(self):
        """Resident bytes. Not the shadow that a sanitizer keeps of every address once used: Linux
        on x86-64 puts nothing of a position-independent program below SHADOW_END."""
        total = start = 0
        for line in pathlib.Path(f"/proc/{self.process.pid}/smaps").read_text().splitlines():
            if mapping := re.match(r"([0-9a-f]+)-[0-9a-f]+ ", line):
                start = int(mapping.group(1), 16)
            elif line.startswith("Rss:") and start >= SHADOW_END:
                total += int(line.split()[1]) * 1024
        return total

    def cpu_s(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().split()
        return (int(fields[13]) + int(fields[14])) / 100

    def logged(self, *marks):
        """True when one line of the log holds all the marks."""
        return any(all(mark in line for mark in marks) for line in self.output().splitlines())

    # Ways in.

    def stream(self, source=STRANGER_HOST):
        return Stream(self.s2s, source)

    def trusted(self, domain=PARTNER, to=TENANT, credential=None, source=STRANGER_HOST):
        """An authenticated stream of a partner."""
        stream = self.stream(source)
        stream.starttls((credential or self.good).client(), to, domain)
        return stream.external(to, domain)


class Scene:
    """The relay with its honest neighbours. `check` is the end of each attack: the relay serves
    messages both ways as before, and holds no more sessions than before."""

    def __init__(self, relay):
        self.relay = relay
        self.partner = Server(relay.partner, relay.good)
        self.trunk = Datagrams(TRUNK_HOST, relay.trunk, relay.udp)
        self.other_trunk = Datagrams(OTHER_TRUNK_HOST, relay.other_trunk, relay.udp)
        self.line = None
        self.partner.answer = self._pong

    def _pong(self, stanza):
        found = re.search(r"<iq type='get' from='([^']*)' to='([^']*)' id='(ping-\d+)'", stanza)
        if found and self.line is not None:
            self.line.send_quietly(f"<iq type='result' from='{found.group(2)}' "
                                   f"to='{found.group(1)}' id='{found.group(3)}'/>")

    def __enter__(self):
        self.line = self.relay.trusted(source=PARTNER_HOST)
        # The answers to the relay's pings for each tenant go back over the one stream.
        for name in (OTHER_TENANT, TLS_TENANT):
            self.line.send(f"<db:result from='{PARTNER}' to='{name}'>x</db:result>")
            self.line.until("type='valid'/>")
        self.check(quiet=False)
        return self

    def __exit__(self, *_):
        for one in (self.line, self.partner, self.trunk, self.other_trunk):
            one.close()

    def to_sip(self, text):
        """What the trunk gets for a message of the honest partner."""
        self.line.send(message(text, stanza_id=text))
        while True:
            request = self.trunk.requests.get(timeout=PATIENCE_S)
            if text.encode() in request:
                return request

    def to_xmpp(self, text):
        """The answer and the stanza for a message of the honest trunk."""
        status = self.trunk.ask(sip(body=text))
        while True:
            stanza = self.partner.stanzas.get(timeout=PATIENCE_S)
            if text in stanza:
                return status, stanza

    def check(self, quiet=True):
        relay, number = self.relay, next(numbers)
        assert relay.alive(), relay.tail()
        self.to_sip(f"still to sip {number}")
        assert self.to_xmpp(f"still to xmpp {number}")[0] in (200, 202)
        if quiet:
            peers.wait_for("the sessions of the attack are gone",
                           lambda: not [
                               one for one in relay.sessions() if one["remote"] != PARTNER
                               or one["peer"].split(":")[0] not in (PARTNER_HOST, peers.ADDRESS)])


@contextlib.contextmanager
def running(folder, changes=None):
    """A relay under attack, which must end well on SIGTERM."""
    with AttackedRelay(folder, changes) as relay, Scene(relay) as scene:
        yield scene
        assert relay.alive(), relay.tail()
        assert relay.stop() == 0, relay.tail()


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    with running(tmp_path_factory.mktemp("attacks")) as one:
        yield one


@pytest.fixture
def attacked(scene):
    """The relay of the module; after the test it must serve as before."""
    yield scene.relay
    scene.check()


class Counting:
    """with counting(relay, "xmpp_stream_errors_sent_total"): the counter must have grown."""

    def __init__(self, relay, *names):
        self.relay, self.names = relay, names

    def __enter__(self):
        self.before = self.relay.counts()
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            peers.wait_for(f"{self.names} grow", lambda: all(
                self.relay.count(name) > self.before[name] for name in self.names))


def steady(relay, action, slack=4 << 20, warm=1):
    """Repeats `action`; the relay's memory must not grow by it."""
    for _ in range(warm):
        action()
    before = relay.memory()
    action()
    after = relay.memory()
    assert after - before < slack, f"{before} → {after}"
