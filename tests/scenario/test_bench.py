# SPDX-License-Identifier: GPL-3.0-or-later
"""The relay under the bundled load generator: nothing lost, doubled or out of order."""

import json
import os
import pathlib
import socket
import subprocess
import threading
import time

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = TOP / os.environ.get("PASSERELLE_BUILD", "build")


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Relay:
    """A relay with a configuration made for the load generator."""

    def __init__(self, folder, workers=1, egress=1):
        self.folder = folder
        ports = [free_port(socket.SOCK_STREAM) for _ in range(3)]
        self.s2s, self.partner, self.direct = ports
        self.sip, self.trunk = (free_port(socket.SOCK_DGRAM) for _ in range(2))
        names = ["x%d.bench" % i for i in range(4)]
        subprocess.run([TOP / "tools/dev-certificates", folder / "dev", "relay.bench,s0.bench",
                        "partner.bench," + ",".join(names)], check=True, capture_output=True)
        self.load = [BUILD / "passerelle-bench", "--relay", f"127.0.0.1:{self.s2s}",
                     "--relay-sip", f"127.0.0.1:{self.sip}",
                     "--listen", f"127.0.0.1:{self.partner}",
                     "--listen-sip", f"127.0.0.1:{self.trunk}",
                     "--certificate", folder / "dev/partner.bench.pem",
                     "--key", folder / "dev/partner.bench.key", "--ca", folder / "dev/ca.pem"]
        tail = subprocess.run(self.load + ["--print-config"], check=True, capture_output=True,
                              text=True).stdout
        self.config = folder / "relay.yaml"
        self.config.write_text(f"""\
global:
  workers: {workers}
  egress: {egress}
  stats_socket: {folder}/stats.sock
xmpp:
  listen: ["127.0.0.1:{self.s2s}"]
  listen_direct_tls: ["127.0.0.1:{self.direct}"]
  certificate: dev/relay.bench.pem
  key: dev/relay.bench.key
  ca_file: dev/ca.pem
sip:
  listen_udp: ["127.0.0.1:{self.sip}"]
dns:
  allow_special: true
""" + tail)
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

    def run_load(self, drive, count):
        result = subprocess.run(self.load + ["--drive", drive, "--count", str(count), "--pid",
                                             str(self.process.pid), "--timeout", "30", "--json"],
                                capture_output=True, text=True, timeout=300)
        log = (self.folder / "relay.log").read_text()[-4000:]
        assert result.returncode == 0, result.stdout + result.stderr + log
        return json.loads(result.stdout)

    def stop(self):
        self.process.terminate()
        code = self.process.wait(timeout=60)
        self.log.close()
        return code


@pytest.fixture(params=[(1, 1), (2, 2)], ids=["1+1", "2+2"])
def relay(tmp_path, request):
    relay = Relay(tmp_path, *request.param)
    yield relay
    assert relay.stop() == 0, (tmp_path / "relay.log").read_text()[-4000:]


@pytest.mark.parametrize("drive", ["xmpp-sip", "sip-xmpp", "duplex"])
def test_no_message_is_lost_doubled_or_out_of_order(relay, drive):
    report = relay.run_load(drive, 5000)
    directions = ["xmpp-sip", "sip-xmpp"] if drive == "duplex" else [drive]
    for direction in directions:
        one = report[direction]
        assert one["arrived"] == 5000
        assert one["failed"] == one["lost"] == one["duplicated"] == one["reordered"] == 0


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


def test_memory_stays_bounded_under_flood(tmp_path):
    relay = Relay(tmp_path)
    try:
        before, after = relay.run_load("duplex", 40000)["relay_rss_kib"]
        # A sanitizer keeps what is freed.
        assert after - before < 64 * 1024 or "PASSERELLE_BUILD" in os.environ
    finally:
        relay.stop()
