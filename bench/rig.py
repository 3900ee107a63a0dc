# SPDX-License-Identifier: GPL-3.0-or-later
"""What bench/figures and bench/compare share: building, relays made for the load generator, runs
of it, and tables. Standard library only. Whatever is started here ends with its starter."""
import ctypes
import datetime
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "tools"))

from ports import take_port  # noqa: E402

BUILD = TOP / os.environ.get("PASSERELLE_BUILD", "build")
ADDRESS = "127.0.0.1"


def say(text):
    print(text, file=sys.stderr, flush=True)


def build():
    """The release build, as the README's commands make it."""
    say("building")
    setup = subprocess.run([TOP / "tools/setup", "--wolfssl-prefix"], check=True, text=True,
                           stdout=subprocess.PIPE)
    prefix = setup.stdout.split()[-1]
    for command in (["cmake", "--preset", "release", f"-DPASSERELLE_WOLFSSL={prefix}"],
                    ["cmake", "--build", "build"]):
        result = subprocess.run(command, cwd=TOP, text=True, capture_output=True)
        if result.returncode != 0:
            sys.exit(result.stdout[-4000:] + result.stderr[-4000:])


def machine():
    """What the figures were measured on."""
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo")
                  if line.startswith("model name")), platform.machine())
    commit = subprocess.run(["git", "-C", TOP, "describe", "--always", "--dirty"], text=True,
                            capture_output=True).stdout.strip()
    return {"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            "cpu": model, "cores": os.cpu_count(), "kernel": platform.release(),
            "commit": commit or "unknown", "load": os.getloadavg()[0]}


def machine_line(about):
    return (f"{about['date']}, {about['cores']} cores of {about['cpu']}, Linux "
            f"{about['kernel']}, commit {about['commit']}; load average {about['load']:.1f} "
            "before the start")


def _die_with_parent():
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def start(command, folder, name, **options):
    """A server in its own session, its output in folder/name.log."""
    with open(folder / f"{name}.log", "ab") as log:
        return subprocess.Popen([str(word) for word in command], cwd=folder, stdout=log,
                                stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                                preexec_fn=_die_with_parent, **options)


def stop(process):
    """Ends a server and what it has forked."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def wait_for(what, check, process, log, patience_s=60):
    """Asks until the answer is true; tells the log when the process ends before."""
    end = time.monotonic() + patience_s
    while not check():
        if process.poll() is not None or time.monotonic() > end:
            sys.exit(f"{what}: did not start:\n" + log.read_text(errors="replace")[-3000:])
        time.sleep(0.01)


def certificates(folder, *domains):
    subprocess.run([TOP / "tools/dev-certificates", folder / "dev", *domains], check=True,
                   stdout=subprocess.DEVNULL)


_generator_cores = set()


def generator_cores(cores):
    """Where the generator runs from now on, whatever cores its starter has."""
    _generator_cores.clear()
    _generator_cores.update(cores)


def _on_generator_cores():
    if _generator_cores:
        os.sched_setaffinity(0, _generator_cores)


class Failed(Exception):
    """The generator could not run; what it said."""


def generate(words, patience_s=900):
    """One run of passerelle-bench; its report. A run that lost messages has one too."""
    result = subprocess.run([str(word) for word in [BUILD / "passerelle-bench", *words, "--json"]],
                            text=True, capture_output=True, timeout=patience_s,
                            preexec_fn=_on_generator_cores)
    try:
        report = json.loads(result.stdout)
    except json.JSONDecodeError:
        raise Failed(f"{' '.join(map(str, words))}: {result.stderr.strip()}") from None
    report["said"] = result.stderr.strip()
    return report


# A relay that does not wait for others' slices of a core (docs/operations.md, "Latency").
FIRST = ("chrt", "--fifo", "1")


def may_be_first():
    """Whether this user may have real-time priority here."""
    return subprocess.run([*FIRST, "true"], capture_output=True).returncode == 0


class Relay:
    """A relay with 1 worker and 1 egress thread, made for one kind of load; `first`: at real-time
    priority; `config_words`: more options that its configuration depends on."""

    def __init__(self, folder, name, transport="udp", xmpp_domains=4, sip_domains=1,
                 direct_tls=False, first=False, tenants_file=False, own_certificates=False,
                 config_words=()):
        self.folder = folder / name
        self.folder.mkdir()
        certificates(self.folder, "relay.bench,127.0.0.1", "partner.bench,*.bench,trunk.bench")
        where = [f"{ADDRESS}:{take_port()}" for _ in range(4)]
        dev = self.folder / "dev"
        self.words = ["--relay", where[0], "--relay-sip", where[1], "--listen", where[2],
                      "--listen-sip", where[3], "--transport", transport,
                      "--certificate", dev / "partner.bench.pem",
                      "--key", dev / "partner.bench.key", "--ca", dev / "ca.pem",
                      "--xmpp-domains", xmpp_domains, "--sip-domains", sip_domains]
        config = subprocess.run(
            [str(word) for word in
             [BUILD / "passerelle-bench", *self.words, *config_words, "--print-config",
              "--relay-certificate", dev / "relay.bench.pem",
              "--relay-key", dev / "relay.bench.key"]],
            check=True, text=True, stdout=subprocess.PIPE).stdout
        if direct_tls:
            self.tls_port = take_port()
            config = config.replace(
                "xmpp:\n", f"xmpp:\n  listen_direct_tls: [\"{ADDRESS}:{self.tls_port}\"]\n", 1)
        if own_certificates:
            config = config.replace("    policy: open\n", f"    policy: open\n    certificate: "
                                    f"{dev}/relay.bench.pem\n    key: {dev}/relay.bench.key\n")
        self.config = self.folder / "relay.yaml"
        self.config.write_text(config)
        self.import_s = self._move_tenants(config) if tenants_file else None
        begin = time.monotonic()
        self.process = start([*(FIRST if first else ()), BUILD / "passerelle", "-c", "relay.yaml"],
                             self.folder, "relay")
        log = self.folder / "relay.log"
        wait_for("passerelle", lambda: "start.ready" in log.read_text(), self.process, log)
        self.start_s = time.monotonic() - begin

    def _move_tenants(self, config):
        """From the YAML to an SQLite file; the seconds that the import takes."""
        old = self.config.rename(self.folder / "old.yaml")
        before, rest = config.split("tenants:\n", 1)
        partners = rest[rest.index("partners:\n"):]
        self.config.write_text(f"{before}tenants_file: sqlite:tenants.db\n{partners}")
        begin = time.monotonic()
        subprocess.run([BUILD / "passerellectl", "-c", self.config, "-N", "tenant", "import", old],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.monotonic() - begin

    def anonymous_kib(self):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
        return 0

    def run(self, drive, *words):
        return generate([*self.words, "--pid", self.process.pid, "--drive", drive, *words])


class Openssl:
    """s_server as a yardstick: it asks for a client's certificate, as the relay does, and gives no
    tickets."""

    def __init__(self, folder):
        self.folder = folder / "openssl"
        self.folder.mkdir()
        certificates(self.folder, "relay.bench")
        self.tls_port = take_port()
        self.process = start(["openssl", "s_server", "-accept", self.tls_port, "-quiet",
                              "-cert", "dev/relay.bench.pem", "-key", "dev/relay.bench.key",
                              "-CAfile", "dev/ca.pem", "-verify", 1, "-num_tickets", 0],
                             self.folder, "openssl")
        wait_for("openssl", lambda: accepts(self.tls_port), self.process,
                 self.folder / "openssl.log")


def accepts(port):
    with socket.socket() as connection:
        return connection.connect_ex((ADDRESS, port)) == 0


def handshakes(server, seconds):
    """Full TLS 1.3 handshakes for a second of the server's CPU, by openssl's s_time."""
    ticks = os.sysconf("SC_CLK_TCK")

    def cpu():
        fields = open(f"/proc/{server.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / ticks
    before = cpu()
    result = subprocess.run(["openssl", "s_time", "-connect", f"{ADDRESS}:{server.tls_port}",
                             "-new", "-tls1_3", "-time", str(max(1, round(seconds)))],
                            text=True, capture_output=True, stdin=subprocess.DEVNULL)
    count = next((int(line.split()[0]) for line in result.stdout.splitlines()
                  if " connections in " in line and " real seconds" not in line), 0)
    if count == 0:
        raise Failed(f"openssl s_time: {result.stdout[-500:]}{result.stderr[-500:]}")
    return count / max(cpu() - before, 1 / ticks)


class Rig:
    """A folder for everything and the servers in it; `with` ends them all."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="passerelle-bench-"))
        self.servers = []

    def relay(self, name, **options):
        self.servers.append(Relay(self.folder, name, **options))
        return self.servers[-1]

    def openssl(self):
        self.servers.append(Openssl(self.folder))
        return self.servers[-1]

    def __enter__(self):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.process.terminate()
        for server in self.servers:
            stop(server.process)
        shutil.rmtree(self.folder, ignore_errors=True)


DIRECTIONS = ("xmpp-sip", "sip-xmpp")
# By their key in a report: how a table names them.
INNER_PHASES = {"at_fraction": "then the half", "beside_greedy": "then beside",
                "beside_within": "then beside, within",
                "beside_half_open": "then beside", "beside_expiring": "then while they end"}


def phases(report):
    """A report and the phases inside it."""
    return [report] + [report[key] for key in INNER_PHASES if key in report]


def inner_names(report):
    """What the phases inside it are called, behind the name of the run."""
    return [f", {name}" for key, name in INNER_PHASES.items() if key in report]


def faults(reports):
    """What must be zero, summed up; what we sent again over UDP may overtake."""
    sums = {key: 0 for key in ("sent", "lost", "duplicated", "reordered", "contradicted",
                               "failed")}
    for report in reports:
        for phase in phases(report):
            for direction in DIRECTIONS:
                one = phase.get(direction)
                for key in sums if one else ():
                    if key != "reordered" or one["resent"] == 0:
                        sums[key] += one[key]
    return sums


def thread_us(report, name):
    """CPU a message of one of the relay's threads."""
    return sum(us for thread, us in report["relay"]["threads"].items()
               if thread.split("/")[0] == name)


def floor_ratio(report):
    """CPU a message as a multiple of the unavoidable work, both of one invocation; None when the
    generator did not measure it."""
    return report["floor"].get("ratio")


def floor_median(reports):
    """Of the rounds; None when one of them has none."""
    ratios = [floor_ratio(report) for report in reports]
    return None if None in ratios else median(ratios)


def times(value):
    """A multiple, for people."""
    return "" if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def calmest(reports):
    """The report of the round whose open loop waited least for a core: the least disturbed one,
    whatever it measured."""
    return min(reports, key=lambda report: report["at_fraction"]["generator"]["wait"])


def median(values):
    return statistics.median(list(values))


def table(rows, head):
    """Text in columns; numbers are strings already."""
    rows = [head, ["-" * len(cell) for cell in head], *rows]
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(head))]
    return "\n".join("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip()
                     for row in rows)
