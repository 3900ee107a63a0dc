# SPDX-License-Identifier: GPL-3.0-or-later
"""What the load generator tells of a run: over time, as a page, beside another run."""

import json
import os
import pty
import re
import select
import subprocess

import pytest

from test_bench import BUILD, TOP, make_relay  # noqa: F401


# ---- over time ----

@pytest.mark.parametrize("drive", ["xmpp-sip", "duplex"])
def test_the_series_adds_up_to_the_sums(make_relay, drive):  # noqa: F811
    relay = make_relay()
    report = relay.run_load(drive, 30000)
    series = report["series"]
    points = len(series["end_s"])
    assert points >= 1 and series["end_s"] == sorted(series["end_s"])
    assert series["end_s"][-1] == pytest.approx(report["seconds"], abs=0.05)
    directions = {"xmpp-sip", "sip-xmpp"} & report.keys()
    assert directions == {"xmpp-sip", "sip-xmpp"} & series.keys()
    for direction in directions:
        flow = series[direction]
        for key in ("sent", "arrived", "failed"):
            assert len(flow[key]) == points
            assert sum(flow[key]) == report[direction][key], (direction, key)
        for key in ("p50_us", "p90_us", "p99_us"):
            for arrived, latency in zip(flow["arrived"], flow[key]):
                assert (latency is None) == (arrived == 0)
        assert all(low <= high for low, high in zip(flow["p50_us"], flow["p99_us"])
                   if low is not None)
    assert len(series["rss_kib"]) == len(series["in_flight"]) == points
    assert all(kib > 0 for kib in series["rss_kib"])
    assert series["in_flight"][-1] == 0
    # What the threads used in the intervals is what they used in all.
    for name, each in report["relay"]["threads"].items():
        whole = each * sum(report[direction]["arrived"] for direction in directions)
        if name in series["threads_cpu_us"]:
            assert sum(series["threads_cpu_us"][name]) == pytest.approx(whole, rel=0.05, abs=5000)
    assert any(name.startswith("worker-0/") for name in series["threads_cpu_us"])


def test_percentiles_reach_as_far_as_there_are_messages(make_relay):  # noqa: F811
    one = make_relay().run_load("xmpp-sip", 3000)["xmpp-sip"]
    percents = [percent for percent, _ in one["percentiles"]]
    # Of 3,000 messages one is beyond 99.95 %, none beyond 99.99 %.
    assert percents == [50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 100]
    values = [us for _, us in one["percentiles"]]
    assert values == sorted(values)
    assert dict(one["percentiles"])[99] == pytest.approx(one["p99_us"])


def test_a_report_says_what_was_run_and_where(make_relay):  # noqa: F811
    report = make_relay().run_load("xmpp-sip", 500, "--window", "32", "--fraction", "0.5")
    assert report["kind"] == "load"
    assert {"date", "cpu", "cores", "kernel", "version"} <= report["machine"].keys()
    assert report["parameters"]["drive"] == "xmpp-sip"
    assert report["parameters"]["closed_loop_window"] == 32
    assert report["parameters"]["count"] == 500
    assert report["at_fraction"]["parameters"]["open_loop_rate"] == pytest.approx(
        report["xmpp-sip"]["rate"] / 2, rel=0.01)


def test_a_line_on_the_terminal_tells_the_last_second(make_relay):  # noqa: F811
    relay = make_relay()
    ours, terminal = pty.openpty()
    load = subprocess.Popen(relay.load + ["--drive", "xmpp-sip", "--count", "60000", "--pid",
                                          str(relay.process.pid)],
                            stdout=subprocess.DEVNULL, stderr=terminal)
    os.close(terminal)
    said = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            said += os.read(ours, 65536)
        except OSError:
            break  # the other end is closed
    os.close(ours)
    assert load.wait(timeout=60) == 0
    lines = [line for line in said.decode().replace("\x1b[K", "").split("\r") if "/s" in line]
    assert lines
    for line in lines:
        assert re.fullmatch(r" *[\d.]+ s +\d+/s  p99 +[\d.]+ ms +\d+ in flight +[\d.]+ µs/msg +"
                            r"\d+ MiB", line.strip("\n")), line
        assert len(line) < 80


# ---- beside the floor ----

def test_the_cost_is_a_multiple_of_the_floor(make_relay):  # noqa: F811
    report = make_relay().run_load("xmpp-sip", 3000, "--fraction", "0.5")
    for phase in (report, report["at_fraction"]):
        assert phase["floor"]["us"] == report["floor"]["us"] > 0
        assert phase["floor"]["ratio"] == pytest.approx(
            phase["relay"]["cpu_us"] / phase["floor"]["us"], rel=0.001)
        assert 0 <= phase["floor"]["core"] < os.cpu_count()


def test_a_table_shows_the_floor_or_says_why_not(make_relay):  # noqa: F811
    relay = make_relay()
    load = relay.load + ["--drive", "xmpp-sip", "--count", "500"]
    beside = subprocess.run(load + ["--pid", str(relay.process.pid)], check=True, text=True,
                            capture_output=True).stdout
    assert re.search(r"^floor     [\d.]+ µs is the unavoidable work of a message .*: [\d.]+ × that$",
                     beside, re.M), beside
    alone = subprocess.run(load, check=True, text=True, capture_output=True).stdout
    assert "floor     not measured: without --pid there is nothing to compare it with" in alone


@pytest.mark.parametrize("size", ["1", "300", "8000"])
def test_the_floor_of_any_size(tmp_path, size):
    subprocess.run(["tools/dev-certificates", tmp_path, "*.bench"], check=True, cwd=TOP,
                   capture_output=True)
    done = subprocess.run([BUILD / "passerelle-bench", "floor", "--json", "--size", size,
                           "--certificate", tmp_path / "*.bench.pem", "--key",
                           tmp_path / "*.bench.key", "--ca", tmp_path / "ca.pem"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["floor_us"] > 0
