# SPDX-License-Identifier: GPL-3.0-or-later
"""The load generator's modes beyond a plain load, against the real relay."""
import json
import subprocess

import pytest

from test_bench import TOP, assert_clean, make_relay, relay  # noqa: F401


def metric(relay, name):
    """The value of one counter of the relay."""
    lines = dict(line.rsplit(" ", 1) for line in relay.ask("metrics").splitlines()
                 if line and not line.startswith("#"))
    return float(lines[f"passerelle_{name}"])


def play(relay, *words):
    """A run of the generator that may fail."""
    return subprocess.run([*relay.load, "--pid", str(relay.process.pid), "--timeout", "30",
                           "--json", *map(str, words)],
                          capture_output=True, text=True, timeout=300, check=False)


# ---- streams that come and go ----

def assert_streams(streams, count):
    assert streams["opened"] == streams["ready"] == streams["closed"] == count
    assert streams["refused"] == streams["broken"] == streams["unfinished"] == 0
    assert streams["relay_cpu_us"] > 0
    assert 0 < streams["p50_us"] <= streams["p99_us"]


def test_churn_loses_nothing(relay):  # noqa: F811
    report = relay.run_load("churn", 300, "--streams", "12", "--messages", "7")
    assert_clean(report, "xmpp-sip", 300 * 7)
    assert_streams(report["streams"], 300)
    assert metric(relay, "xmpp_messages_accepted_total") == 300 * 7
    assert metric(relay, "xmpp_messages_delivered_total") == 300 * 7


def test_churn_at_a_rate(make_relay):  # noqa: F811
    report = make_relay().run_load("churn", 100, "--rate", "200", "--seconds", "0.5")
    streams = report["streams"]
    assert_streams(streams, streams["opened"])
    assert 1 <= streams["opened"] <= 101
    assert_clean(report, "xmpp-sip", streams["opened"] * 10)


def test_handshakes_are_told_one_by_one(make_relay):  # noqa: F811
    relay = make_relay()
    report = relay.run_load("handshake", 200, "--streams", "8")
    assert_streams(report["streams"], 200)
    assert "xmpp-sip" not in report
    assert metric(relay, "xmpp_messages_accepted_total") == 0
    assert metric(relay, "xmpp_sessions_opened_total") == 200


def test_streams_that_the_relay_refuses_are_told(make_relay):  # noqa: F811
    """A domain that the certificate does not prove: the relay offers no EXTERNAL to it."""
    relay = make_relay()
    name = relay.folder / "dev/other.example"
    subprocess.run([TOP / "tools/dev-certificates", relay.folder / "dev", "other.example"],
                   check=True, capture_output=True)
    result = play(relay, "--drive", "handshake", "--count", "20", "--certificate", f"{name}.pem",
                  "--key", f"{name}.key")
    assert result.returncode == 1
    streams = json.loads(result.stdout)["streams"]
    assert streams["opened"] == streams["refused"] == 20
    assert "EXTERNAL" in streams["failure"]
