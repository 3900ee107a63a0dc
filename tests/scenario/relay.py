# SPDX-License-Identifier: GPL-3.0-or-later
"""The relay itself as a peer of the scenarios."""
import contextlib
import json
import os
import pathlib
import socket

import peers

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# Another build may be tried: PASSERELLE_BUILD=build-asan pytest tests/scenario
BUILD = ROOT / os.environ.get("PASSERELLE_BUILD", "build")
PROGRAM = BUILD / "passerelle"


class Relay(peers.Peer):
    """Configured for the world of conftest; `changes` replaces whole keys of a section, such as
    {"xmpp": {"confirm_timeout_ms": 500}}. JSON is YAML."""

    name = "passerelle"

    def __init__(self, folder, world, dns_port, domains, changes=None):
        super().__init__(folder)
        self.ports = (world.relay_s2s, world.relay_direct, world.relay_tcp, world.relay_tls)

        def listen(port):
            return [f"{peers.ADDRESS}:{port}"]
        name = domains[0]
        settings = {
            "global": {"stats_socket": str(self.folder / "stats.sock"), "log_level": "debug"},
            "xmpp": {"listen": listen(world.relay_s2s),
                     "listen_direct_tls": listen(world.relay_direct),
                     "certificate": str(world.certificates / f"{name}.pem"),
                     "key": str(world.certificates / f"{name}.key"),
                     "ca_file": str(world.ca_file)},
            "sip": {"listen_udp": listen(world.relay_udp), "listen_tcp": listen(world.relay_tcp),
                    "listen_tls": listen(world.relay_tls)},
            "dns": {"server": f"{peers.ADDRESS}@{dns_port}", "allow_special": True,
                    "timeout_ms": 5000},
            "tenants": [{"name": "scenario", "domains": list(domains), "trunks": [
                {"uri": f"sip:{peers.ADDRESS}:{world.kamailio};transport=udp",
                 "options_interval": 0}]}]}
        for section, values in (changes or {}).items():
            if isinstance(values, dict):
                settings.setdefault(section, {}).update(values)
            else:
                settings[section] = values
        (self.folder / "passerelle.yaml").write_text(json.dumps(settings, indent=1))

    def command(self):
        return [PROGRAM, "-c", self.folder / "passerelle.yaml"]

    @contextlib.contextmanager
    def changed(self, section, **values):
        """It is started again with these keys of a section, and as it was afterwards. A section
        tenants.NAME is the rules of this tenant."""
        file = self.folder / "passerelle.yaml"
        before = file.read_text()
        settings = json.loads(before)
        kind, _, name = section.partition(".")
        if name:
            tenant = next(one for one in settings[kind] if one["name"] == name)
            tenant.setdefault("xmpp", {}).update(values)
        else:
            settings[section].update(values)
        try:
            self._restart_with(json.dumps(settings))
            yield self
        finally:
            self._restart_with(before)

    def _restart_with(self, text):
        (self.folder / "passerelle.yaml").write_text(text)
        self.stop()
        self.start()

    def control(self, command):
        """The answer of the stats socket to one command."""
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(peers.PATIENCE_S)
            one.connect(str(self.folder / "stats.sock"))
            one.sendall(f"{command}\n".encode())
            one.shutdown(socket.SHUT_WR)
            data = b""
            while chunk := one.recv(65536):
                data += chunk
        return data.decode()

    def count(self, name):
        rows = (line.split("\t") for line in self.control("show stat").splitlines())
        return next(int(row[1]) for row in rows if row[0] == name)

    def ready(self):
        return all(peers.listens(port) for port in self.ports)
