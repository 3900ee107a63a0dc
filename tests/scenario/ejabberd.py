# SPDX-License-Identifier: GPL-3.0-or-later
"""ejabberd as a peer: one node without distribution (no name, so no epmd), several domains.

It asks our DNS server for SRV records, but the machine's own resolver for addresses (getaddrinfo):
it can only follow SRV records that name localhost."""
import json

import peers


class Ejabberd(peers.Peer):
    """`domains` names each domain's certificate folder. Those in `dialback` have dialback beside
    certificates, the others only certificates; TLS is always required. Every domain gets `users`.
    `rate`: bytes a second that it reads of the stream of another server."""

    name = "ejabberd"

    def __init__(self, folder, domains, ports, dns_port, ca_file, users, dialback=(),
                 rate=None):
        super().__init__(folder)
        self.domain, (self.s2s_port, self.c2s_port) = next(iter(domains)), ports
        self.users = {user: f"secret of {user}" for user in users}
        self._accounts = [(user, domain) for domain in domains for user in users]
        certificates = [str(place / f"{domain}.{kind}") for domain, place in domains.items()
                        for kind in ("pem", "key")]
        settings = {
            "loglevel": "debug", "hosts": list(domains), "certfiles": certificates,
            "ca_file": str(ca_file), "auth_method": "internal", "s2s_use_starttls": "required",
            # Five minutes by default, while it answers nothing of that domain, no ping either.
            "s2s_max_retry_delay": 1,
            "listen": [{"port": port, "ip": peers.ADDRESS, "module": module}
                       for port, module in ((self.s2s_port, "ejabberd_s2s_in"),
                                            (self.c2s_port, "ejabberd_c2s"))],
            "modules": {"mod_disco": {}, "mod_ping": {}, "mod_roster": {}},
            "append_host_config": {domain: {"modules": {"mod_s2s_dialback": {}}}
                                   for domain in dialback}}
        if rate is not None:
            settings["shaper"] = {"slow": {"rate": rate, "burst_size": rate}}
            settings["shaper_rules"] = {"s2s_shaper": "slow"}
            settings["listen"][0]["shaper"] = "s2s_shaper"
        # JSON is YAML.
        (self.folder / "ejabberd.yml").write_text(json.dumps(settings, indent=1))
        host, port = peers.ADDRESS.replace(".", ","), dns_port
        (self.folder / "inetrc").write_text(
            f'{{resolv_conf, ""}}.\n{{lookup, [dns]}}.\n'
            f"{{nameserver, {{{host}}}, {port}}}.\n")

    def command(self):
        register = "".join(f'ejabberd_auth:try_register(<<"{user}">>, <<"{domain}">>, '
                           f'<<"{self.users[user]}">>), ' for user, domain in self._accounts)
        return ["/usr/bin/env", "ERL_LIBS=/usr/lib/x86_64-linux-gnu:/usr/lib/aarch64-linux-gnu",
                f"EJABBERD_CONFIG_PATH={self.folder}/ejabberd.yml",
                f"EJABBERD_LOG_PATH={self.folder}/ejabberd.log",
                f"ERL_INETRC={self.folder}/inetrc", f"HOME={self.folder}",
                "RES_OPTIONS=timeout:1 attempts:1",
                "/usr/bin/erl", "-noinput", "+S", "1:1", "-mnesia", "dir",
                f'"{self.folder}/spool"', "-s", "ejabberd",
                "-eval", f'{register}io:format("accounts are ready~n").']

    def ready(self):
        return "accounts are ready" in self.output() and peers.listens(self.s2s_port) and \
            peers.listens(self.c2s_port)
