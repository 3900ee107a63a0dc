# SPDX-License-Identifier: GPL-3.0-or-later
"""Real peers on loopback: a DNS server (Knot), XMPP servers (Prosody), a SIP proxy and registrar
(Kamailio), SIPp. Each runs in the foreground in its own folder, on ports that were free a moment
before, and is stopped by its process id."""
import ctypes
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

import dns.exception
import dns.message
import dns.query

ADDRESS = "127.0.0.1"
PATIENCE_S = 20
SIPP_SCENARIOS = pathlib.Path(__file__).parent / "sipp"


def wait_for(what, check, patience_s=PATIENCE_S):
    """Asks until the answer is true, and returns it."""
    deadline = time.monotonic() + patience_s
    while True:
        answer = check()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {patience_s} s")
        time.sleep(0.05)


def _die_with_parent():
    """A killed pytest must not leave servers behind: PR_SET_PDEATHSIG."""
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)


class Peer:
    """A server as a child process; what it prints is in folder/output."""

    name = "peer"

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = None

    def command(self):
        raise NotImplementedError

    def ready(self):
        """True as soon as it serves."""
        raise NotImplementedError

    def start(self):
        assert self.process is None
        with open(self.folder / "output", "ab") as output:
            self.process = subprocess.Popen(
                [str(word) for word in self.command()], cwd=self.folder, stdout=output,
                stderr=output, stdin=subprocess.DEVNULL, start_new_session=True,
                preexec_fn=_die_with_parent)
        try:
            wait_for(f"{self.name} serves", self._ready_or_dead)
        except Exception as error:
            self.stop()
            raise RuntimeError(f"{self.name} did not start: {error}\n{self.tail()}") from error
        return self

    def _ready_or_dead(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"it ended with status {self.process.returncode}")
        return self.ready()

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def stop(self):
        """Ends it politely, then firmly. Its children share its session and go with it."""
        process, self.process = self.process, None
        if process is None:
            return None
        if process.poll() is None:
            process.terminate()
        try:
            status = process.wait(10)
        except subprocess.TimeoutExpired:
            status = None
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        return process.wait() if status is None else status

    def kill(self):
        """As a crash: nothing is said to anybody."""
        process, self.process = self.process, None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def output(self):
        path = self.folder / "output"
        return path.read_text(errors="replace") if path.exists() else ""

    def tail(self, count=30):
        return "\n".join(self.output().splitlines()[-count:])

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


def listens(port):
    try:
        with socket.create_connection((ADDRESS, port), timeout=1):
            return True
    except OSError:
        return False


class NameServer(Peer):
    """Knot, with the zones that `configure` is given."""

    name = "knotd"

    def __init__(self, folder, port):
        super().__init__(folder)
        self.port = port

    def configure(self, sections):
        """`sections` are those of its configuration with the zones."""
        (self.folder / "knot.conf").write_text(f"""
server:
    rundir: "{self.folder}"
    listen: "{ADDRESS}@{self.port}"
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stdout
    any: info
database:
    storage: "{self.folder}"
control:
    listen: "{self.folder}/knot.sock"
{sections}
""")

    def command(self):
        return ["/usr/sbin/knotd", "-c", self.folder / "knot.conf"]

    def ask(self, name, kind):
        """The answer's records as text, without name and TTL."""
        query = dns.message.make_query(name, kind)
        answer = dns.query.udp(query, ADDRESS, port=self.port, timeout=1)
        return sorted(record.to_text() for rrset in answer.answer for record in rrset)


class Knot(NameServer):
    """The DNS of everybody: authoritative for `example.`, with the records that it is given."""

    def __init__(self, folder, port, records):
        super().__init__(folder, port)
        zone = ["$ORIGIN example.", "$TTL 5", "@ SOA ns hostmaster 1 60 60 60 1", "@ NS ns",
                f"ns A {ADDRESS}", *records]
        (self.folder / "example.zone").write_text("\n".join(zone) + "\n")
        self.configure(f"""zone:
  - domain: example.
    storage: "{self.folder}"
    file: example.zone
    zonefile-load: whole
    zonefile-sync: -1
    journal-content: none""")

    def ready(self):
        try:
            return bool(self.ask("example.", "SOA"))
        except (OSError, dns.exception.DNSException):
            return False


class Prosody(Peer):
    """An XMPP server. `domains` names each domain's certificate folder; every domain gets `users`.
    `auth` is "external" (certificates only), "dialback" (certificates are not looked at), "any" or
    "clear" (dialback without TLS). `direct_port` adds a listener for direct TLS, and `modules` are
    further ones. `rate` is how fast it reads a server's stream (mod_limits): "10kb/s". With the
    file `anchor` it validates DNSSEC and believes TLSA records; `strict` says whether servers must
    prove themselves by more than dialback, where that is not what `auth` says."""

    name = "prosody"

    def __init__(self, folder, domains, ports, dns_port, ca_file, auth="external", users=(),
                 direct_port=None, interfaces=(ADDRESS,), modules=(), rate=None, anchor=None,
                 strict=None):
        super().__init__(folder)
        self.domain, (self.s2s_port, self.c2s_port) = next(iter(domains)), ports
        self.ports = [port for port in (*ports, direct_port) if port]
        self.users = {user: f"secret of {user}" for user in users}
        for domain in domains:
            self._add_accounts(domain)
        strict = "true" if (auth == "external" if strict is None else strict) else "false"
        dane = "" if anchor is None else f'trustfile = "{anchor}"; '
        steps = "iterator" if anchor is None else "validator iterator"
        dialback = "" if auth == "external" else '"dialback";'
        external = '"s2s_auth_certs";' if auth in ("external", "any") else ""
        disabled = {"external": "", "any": "", "dialback": '"s2s_auth_certs"',
                    "clear": '"s2s_auth_certs"; "tls"'}[auth]
        shaper = "" if rate is None else '"limits";'
        hosts = "".join(self._host(domain, place, ca_file) for domain, place in domains.items())
        more = "".join(f'"{module}"; ' for module in modules)
        addresses = "; ".join(f'"{address}"' for address in interfaces)
        (self.folder / "prosody.cfg.lua").write_text(f"""
run_as_root = true
pidfile = "{self.folder}/prosody.pid"
data_path = "{self.folder}/data"
log = {{ {{ levels = {{ min = "debug" }}; to = "console" }} }}
interfaces = {{ {addresses} }}
c2s_ports = {{ {self.c2s_port} }}
s2s_ports = {{ {self.s2s_port} }}
c2s_direct_tls_ports = {{}}
s2s_direct_tls_ports = {{ {direct_port or ""} }}
s2s_direct_tls_ssl = {{ {self._credentials(self.domain, domains[self.domain], ca_file)} }}
http_ports = {{}}
https_ports = {{}}
modules_enabled = {{ "roster"; "saslauth"; {'' if auth == "clear" else '"tls";'} "disco"; "ping"; "smacks"; "offline"; {more}{dialback} {external} {shaper} }}
limits = {{ s2sin = {{ rate = "{rate}" }} }}
modules_disabled = {{ {disabled} }}
authentication = "internal_plain"
storage = "internal"
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
s2s_require_encryption = {"false" if auth == "clear" else "true"}
s2s_secure_auth = {strict}
use_dane = {"true" if dane else "false"}
unbound = {{
    resolvconf = false; hoststxt = false; forward = {{ "{ADDRESS}@{dns_port}" }}; {dane}
    options = {{ ["do-not-query-localhost:"] = "no"; ["module-config:"] = "{steps}" }};
}}
{hosts}""")

    def _add_accounts(self, domain):
        # Prosody's file store writes a name's other bytes as %xx.
        encoded = re.sub(r"[^A-Za-z0-9]", lambda found: f"%{ord(found.group()):02x}", domain)
        accounts = self.folder / "data" / encoded / "accounts"
        accounts.mkdir(parents=True)
        for user, password in self.users.items():
            (accounts / f"{user}.dat").write_text(f'return {{ ["password"] = "{password}" }};\n')

    @staticmethod
    def _credentials(domain, place, ca_file):
        return (f'certificate = "{place}/{domain}.pem"; key = "{place}/{domain}.key"; '
                f'cafile = "{ca_file}"; verify = {{ "peer"; "client_once" }};')

    def _host(self, domain, place, ca_file):
        return (f'VirtualHost "{domain}"\n'
                f'    ssl = {{ {self._credentials(domain, place, ca_file)} }}\n')

    def command(self):
        return ["/usr/bin/prosody", "-F", "--config", self.folder / "prosody.cfg.lua"]

    def ready(self):
        return all(listens(port) for port in self.ports)


class Kamailio(Peer):
    """The proxy and registrar of the SIP domains, whose users speak UDP. `routes` gives each
    domain's URI of the relay: requests of its users for anybody else go there. With `tls`
    (port, certificate, authority) it takes and shows certificates too."""

    name = "kamailio"

    def __init__(self, folder, routes, port, tls=None):
        super().__init__(folder)
        self.port = port
        own = " || ".join(f'$rd == "{domain}"' for domain in routes)
        relay = "\n        else ".join(f'if ($fd == "{domain}") $du = "{uri}";'
                                       for domain, uri in routes.items())
        modules = "tm sl rr maxfwd pv textops siputils usrloc registrar xlog kex corex".split()
        loads = "\n".join(f'loadmodule "{name}.so"' for name in modules)
        aliases = "\n".join(f'alias="{domain}"' for domain in routes)
        listen_tls = "" if tls is None else self._add_tls(*tls)
        (self.folder / "kamailio.cfg").write_text(f"""#!KAMAILIO
debug=2
log_stderror=yes
fork=yes
children=2
tcp_children=2
auto_aliases=no
{aliases}
listen=udp:{ADDRESS}:{port}
listen=tcp:{ADDRESS}:{port}
{listen_tls}
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/:/usr/lib/aarch64-linux-gnu/kamailio/modules/"
{loads}
modparam("usrloc", "db_mode", 0)
modparam("usrloc", "use_domain", 1)
modparam("tm", "failure_reply_mode", 3)
modparam("tm", "fr_timer", 5000)

request_route {{
    if (!mf_process_maxfwd_header("10")) {{
        sl_send_reply("483", "Too Many Hops");
        exit;
    }}
    xlog("L_NOTICE", "request $rm $ru from $fu by $proto\n");
    if (is_method("CANCEL")) {{
        if (t_check_trans()) t_relay();
        exit;
    }}
    if (has_totag()) {{
        if (loose_route()) {{ t_relay(); exit; }}
        if (is_method("ACK")) {{ if (t_check_trans()) t_relay(); exit; }}
    }}
    if (is_method("INVITE|SUBSCRIBE")) record_route();
    if (is_method("REGISTER")) {{
        # 0x04: the newest contact only; those of earlier tests are gone.
        if (!save("location", "0x04")) sl_reply_error();
        exit;
    }}
    if (is_method("OPTIONS") && $rU == $null) {{
        sl_send_reply("200", "OK");
        exit;
    }}
    if ({own} || uri == myself) {{
        if (!lookup("location")) {{
            sl_send_reply("404", "Not Found");
            exit;
        }}
    }} else {{
        {relay}
        else {{ sl_send_reply("403", "Not a domain of ours"); exit; }}
    }}
    if (!t_relay()) sl_reply_error();
}}
""")

    def _add_tls(self, port, certificate, ca_file):
        """Both as server and as client: a certificate is shown, and one is required."""
        profile = (f"method = TLSv1.2+\ncertificate = {certificate}\n"
                   f"private_key = {certificate.with_suffix('.key')}\nca_list = {ca_file}\n"
                   "verify_certificate = yes\nrequire_certificate = yes\n")
        (self.folder / "tls.cfg").write_text(f"[server:default]\n{profile}\n"
                                             f"[client:default]\n{profile}")
        return (f'listen=tls:{ADDRESS}:{port}\nenable_tls=yes\nloadmodule "tls.so"\n'
                f'modparam("tls", "config", "{self.folder}/tls.cfg")')

    def command(self):
        return ["/usr/sbin/kamailio", "-DD", "-E", "-m", "256", "-M", "8", "-Y", self.folder,
                "-f", self.folder / "kamailio.cfg"]

    def ready(self):
        return listens(self.port)


class Sipp(Peer):
    """SIPp with a scenario of the folder sipp/. A client ends by itself: `wait` tells how."""

    name = "sipp"

    def __init__(self, folder, scenario, port, target=None, calls=1, keys=(), transport="u1"):
        super().__init__(folder)
        self.port = port
        self.words = ["/usr/bin/sipp", "-sf", SIPP_SCENARIOS / f"{scenario}.xml", "-i", ADDRESS,
                      "-p", port, "-m", calls, "-t", transport, "-nostdin", "-nd", "-trace_err",
                      "-trace_msg", "-message_file", self.folder / "messages",
                      "-error_file", self.folder / "errors", "-timeout", f"{PATIENCE_S}s",
                      "-timeout_error"]
        for key, value in dict(keys).items():
            self.words += ["-key", key, value]
        if target is not None:
            self.words.append(target)

    def command(self):
        return self.words

    def start(self):
        """A client may be done before anybody looks: only servers are waited for."""
        with open(self.folder / "output", "ab") as output:
            self.process = subprocess.Popen(
                [str(word) for word in self.words], cwd=self.folder, stdout=output,
                stderr=output, stdin=subprocess.DEVNULL, start_new_session=True,
                preexec_fn=_die_with_parent)
        wait_for("sipp opens its port", lambda: self.process.poll() is not None or self._bound())
        return self

    def _bound(self):
        """SIPp answers nothing by itself: its socket shows in the kernel's tables."""
        mark = f":{self.port:04X} "
        return any(mark in pathlib.Path(f"/proc/net/{table}").read_text()
                   for table in ("udp", "tcp"))

    def wait(self, patience_s=PATIENCE_S):
        """True when every call went as the scenario says."""
        return self.process.wait(patience_s) == 0

    def messages(self):
        path = self.folder / "messages"
        return path.read_text(errors="replace") if path.exists() else ""
