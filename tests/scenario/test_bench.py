# SPDX-License-Identifier: GPL-3.0-or-later
"""The relay under the bundled load generator: nothing lost, doubled or out of order."""

import json
import os
import pathlib
import subprocess
import threading
import time

import pytest

from pages import page_of
from ports import take_port

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = TOP / os.environ.get("PASSERELLE_BUILD", "build")


class Relay:
    """A relay with a configuration made for the load generator."""

    def __init__(self, folder, workers=1, egress=1, transport="udp", load=(), parcels=1024,
                 certificates=None):
        self.folder = folder
        self.s2s, self.partner, self.sip, self.trunk = (take_port() for _ in range(4))
        dev = certificates or folder / "dev"
        if certificates is None:
            subprocess.run([TOP / "tools/dev-certificates", dev, "relay.bench,127.0.0.1",
                            "partner.bench,*.bench,trunk.bench"], check=True,
                           capture_output=True)
        self.load = [BUILD / "passerelle-bench", "--relay", f"127.0.0.1:{self.s2s}",
                     "--relay-sip", f"127.0.0.1:{self.sip}", "--transport", transport,
                     "--listen", f"127.0.0.1:{self.partner}",
                     "--listen-sip", f"127.0.0.1:{self.trunk}",
                     "--certificate", dev / "partner.bench.pem",
                     "--key", dev / "partner.bench.key", "--ca", dev / "ca.pem",
                     *load]
        self.config = folder / "relay.yaml"
        self.config.write_text(subprocess.run(
            self.load + ["--print-config", "--workers", str(workers), "--egress", str(egress),
                         "--relay-certificate", dev / "relay.bench.pem",
                         "--relay-key", dev / "relay.bench.key"],
            check=True, capture_output=True, text=True).stdout
            .replace("global:\n", f"global:\n  parcel_count: {parcels}\n"))
        self.log = open(folder / "relay.log", "w+")
        self.process = subprocess.Popen([BUILD / "passerelle", "-c", self.config],
                                        stderr=self.log, cwd=folder)
        end = time.monotonic() + 60
        while "start.ready" not in (folder / "relay.log").read_text():
            assert self.process.poll() is None, (folder / "relay.log").read_text()
            assert time.monotonic() < end, "the relay did not become ready"
            time.sleep(0.02)

    def ask(self, command):
        return subprocess.run([BUILD / "passerellectl", "-s", self.folder / "stats.sock",
                               *command.split()], check=True, capture_output=True,
                              text=True).stdout

    def run_load(self, drive, count, *more):
        """The report of a run that must be clean."""
        result = subprocess.run(self.load + ["--drive", drive, "--count", str(count), "--pid",
                                             str(self.process.pid), "--timeout", "30", "--json",
                                             *more],
                                capture_output=True, text=True, timeout=300)
        log = (self.folder / "relay.log").read_text()[-4000:]
        assert result.returncode == 0, result.stdout + result.stderr + log
        return json.loads(result.stdout)

    def stop(self):
        self.process.terminate()
        code = self.process.wait(timeout=60)
        self.log.close()
        return code


@pytest.fixture
def make_relay(tmp_path):
    """make_relay(…) starts a relay; that it ends well is part of the test."""
    relays = []

    def make(**options):
        relays.append(Relay(tmp_path, **options))
        return relays[-1]
    yield make
    for relay in relays:
        assert relay.stop() == 0, (tmp_path / "relay.log").read_text()[-4000:]


@pytest.fixture(params=[(1, 1), (2, 2)], ids=["1+1", "2+2"])
def relay(make_relay, request):
    return make_relay(workers=request.param[0], egress=request.param[1])


def assert_clean(report, drive, count):
    for direction in ["xmpp-sip", "sip-xmpp"] if drive == "duplex" else [drive]:
        one = report[direction]
        assert one["sent"] == one["arrived"] == count
        for fault in ("failed", "lost", "duplicated", "reordered", "contradicted"):
            assert one[fault] == 0, (direction, fault)


@pytest.mark.parametrize("drive", ["xmpp-sip", "sip-xmpp", "duplex"])
def test_no_message_is_lost_doubled_or_out_of_order(relay, drive):
    assert_clean(relay.run_load(drive, 5000), drive, 5000)


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_trunks_over_connections_keep_every_message(make_relay, transport):
    relay = make_relay(transport=transport)
    for drive in ("xmpp-sip", "sip-xmpp", "duplex"):
        assert_clean(relay.run_load(drive, 2000), drive, 2000)


def test_many_sessions_and_tenants(make_relay):
    load = ["--xmpp-domains", "200", "--sip-domains", "300", "--users", "200"]
    relay = make_relay(load=load)
    for streams in ("1", "200"):
        report = relay.run_load("xmpp-sip", 2000, "--streams", streams)
        assert_clean(report, "xmpp-sip", 2000)
    assert_clean(relay.run_load("sip-xmpp", 2000, "--streams", "200"), "sip-xmpp", 2000)


def test_an_open_loop_at_half_the_peak(make_relay):
    report = make_relay().run_load("xmpp-sip", 3000, "--fraction", "0.5")
    assert_clean(report, "xmpp-sip", 3000)
    half = report["at_fraction"]
    assert_clean(half, "xmpp-sip", 3000)
    # The rate is kept whatever the relay does: what it cannot do in time becomes latency.
    assert half["xmpp-sip"]["rate"] <= report["xmpp-sip"]["rate"] * 0.6
    assert half["xmpp-sip"]["p50_us"] <= half["xmpp-sip"]["p99_us"]


def test_what_the_relay_costs_is_told_by_thread(make_relay):
    relay = make_relay()
    cost = relay.run_load("xmpp-sip", 3000)["relay"]
    named = {name.split("/")[0]: cpu for name, cpu in cost["threads"].items()}
    assert named["worker-0"] > 0 and named["egress-0"] > 0
    assert sum(cost["threads"].values()) == pytest.approx(cost["cpu_us"], abs=0.1)
    assert 0 < cost["rss_kib"]["idle"] <= cost["rss_kib"]["max"]


def test_idle_sessions(make_relay):
    relay = make_relay(load=["--xmpp-domains", "50", "--streams", "50"])
    report = relay.run_load("idle", 1, "--settle", "0.2")
    assert report["sessions"] == 50
    assert report["anonymous_kib"]["after"] > report["anonymous_kib"]["before"] > 0
    assert report["session_kib"] == pytest.approx(
        (report["anonymous_kib"]["after"] - report["anonymous_kib"]["before"]) / 50, abs=0.01)


def test_the_ledger_balances(relay):
    relay.run_load("duplex", 2000)
    metrics = dict(line.rsplit(" ", 1) for line in relay.ask("metrics").splitlines()
                   if line and not line.startswith("#") and "{" not in line)
    value = {k.removeprefix("passerelle_"): float(v) for k, v in metrics.items()}
    assert value["xmpp_messages_accepted_total"] == 2000
    assert value["xmpp_messages_delivered_total"] == 2000
    assert value["sip_messages_accepted_total"] == 2000
    assert value["sip_messages_delivered_total"] + value["sip_messages_handed_over_total"] == 2000


QUESTIONS = ["show info", "show stat", "show sess", "show tenants json", "show trunks",
             "show errors", "metrics"]


def test_reports_while_traffic_flows_both_ways(tmp_path):
    """Every thread is asked all the time; the thread sanitizer's build has much to look at."""
    relay = Relay(tmp_path, 2, 2)
    done = threading.Event()
    asked = []

    def ask():
        while not done.is_set():
            for question in QUESTIONS:
                asked.append(relay.ask(question))
    asker = threading.Thread(target=ask)
    asker.start()
    try:
        report = relay.run_load("duplex", 5000)
    finally:
        done.set()
        asker.join()
        code = relay.stop()
    assert code == 0, (tmp_path / "relay.log").read_text()[-4000:]
    assert len(asked) >= len(QUESTIONS) and all(asked)
    assert report["xmpp-sip"]["arrived"] == report["sip-xmpp"]["arrived"] == 5000


def test_memory_stays_bounded_under_flood(make_relay):
    memory = make_relay().run_load("duplex", 40000)["relay"]["rss_kib"]
    # A sanitizer keeps what is freed, and much beside.
    assert memory["max"] - memory["idle"] < 64 * 1024 or BUILD.name != "build"


def test_the_floor_is_the_sum_of_its_parts(tmp_path):
    subprocess.run([TOP / "tools/dev-certificates", tmp_path, "*.bench"], check=True,
                   capture_output=True)
    result = subprocess.run([BUILD / "passerelle-bench", "floor", "--json", "--certificate",
                             tmp_path / "*.bench.pem", "--key", tmp_path / "*.bench.key",
                             "--ca", tmp_path / "ca.pem"],
                            check=True, capture_output=True, text=True)
    floor = json.loads(result.stdout)
    parts = [floor[f"{part}_us"] for part in ("decrypt", "expat", "write", "udp_send",
                                              "udp_receive")]
    assert all(part > 0 for part in parts)
    assert floor["floor_us"] == pytest.approx(sum(parts), abs=0.01)


@pytest.mark.parametrize("drive, count, streams, stanzas", [("duplex", 3000, 8, 3000),
                                                            ("churn", 60, 60, 0)])
def test_managed_streams(tmp_path, drive, count, streams, stanzas):
    """XEP-0198 on the streams of both sides, what the relay sends is acknowledged; the generator
    fails when the relay counts otherwise than it does."""
    relay = Relay(tmp_path, load=["--stream-management"])
    try:
        report = relay.run_load(drive, count)
        assert report["parameters"]["stream_management"] is True
        counts = dict(row.split() for row in relay.ask("show stat").splitlines())
        assert int(counts["xmpp_managed_streams_total"]) >= streams
        assert int(counts["xmpp_stanzas_acknowledged_total"]) >= stanzas
    finally:
        relay.stop()


def test_one_command_shows_every_target(tmp_path):
    """Correctness of the counts only: at this size the figures say nothing."""
    report = tmp_path / "figures.json"
    result = subprocess.run([TOP / "bench/figures", "--no-build", "--seconds", "0.2", "--rounds",
                             "1", "--sessions", "20", "--crowd", "30", "--tenants", "50", "--json", report],
                            capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    figures = json.loads(report.read_text())
    # p99 and p99.9 once more where this user may have real-time priority.
    first = "half of the peak, real-time" in figures["runs"]
    assert sum(target["met"] is not None for target in figures["targets"]) == 38 + 2 * first
    for name, runs in figures["runs"].items():
        for run in runs:
            for direction in {"xmpp-sip", "sip-xmpp"} & run.keys():
                assert run[direction]["sent"] > 0, name
                assert run[direction]["lost"] == run[direction]["duplicated"] == 0, name
    page = page_of(report)
    for target in figures["targets"]:
        assert target["measure"].strip() in result.stdout
        assert target["measure"].strip() in [row[0] for row in page.rows]
    for name in figures["runs"]:
        assert name in [row[0] for row in page.rows], name
    assert page.figures == ["CPU a message by thread", "Latency by percentile"]


def test_the_same_load_through_other_gateways(tmp_path):
    """Passerelle and four chains of Debian's servers; at this size the figures say nothing."""
    report = tmp_path / "compare.json"
    result = subprocess.run([TOP / "bench/compare", "--no-build", "--seconds", "0.3", "--rounds",
                             "1", "--sessions", "30", "--cores", "0", "--json", report],
                            capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads(report.read_text())["cores"] == [0]
    chains = {chain["chain"]: chain for chain in json.loads(report.read_text())["chains"]}
    assert list(chains) == ["Passerelle", "ejabberd + Kamailio", "ejabberd alone, to a component",
                            "Prosody + Kamailio", "Prosody alone, to a component"]
    assert all(chain["rate"] > 0 and chain["cpu_us"] > 0 for chain in chains.values())
    assert chains["Passerelle"]["lost"] == chains["Passerelle"]["failed"] == 0
    assert chains["Passerelle"]["session_kib"] > 0
    page = page_of(report)
    for chain in chains.values():
        row = next(row for row in page.rows if row[0] == chain["chain"])
        assert float(row[1].replace(",", "")) == pytest.approx(chain["rate"], abs=0.5)
        assert row[7] == f"{chain['lost']:,}"
    assert page.figures == ["Throughput", "CPU a message", "Latency", "Memory of an idle session",
                            "Latency by percentile",
                            "CPU a message by thread"]
