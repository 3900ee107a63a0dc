# SPDX-License-Identifier: GPL-3.0-or-later
"""The relay when things go badly: stopped under load, with too little of everything, between
peers that do not read or do not answer."""

import json
import signal
import subprocess
import time

from test_bench import make_relay  # noqa: F401  (a fixture)


def counters(relay):
    rows = (line.rsplit(" ", 1) for line in relay.ask("metrics").splitlines()
            if line and not line.startswith("#") and "{" not in line)
    return {name.removeprefix("passerelle_"): int(float(value)) for name, value in rows}


def wait_for(relay, condition):
    """The counters, as soon as they fulfil the condition."""
    end = time.monotonic() + 60
    while True:
        seen = counters(relay)
        if condition(seen):
            return seen
        assert relay.process.poll() is None and time.monotonic() < end, seen
        time.sleep(0.02)


def test_stop_in_a_flood(make_relay):  # noqa: F811
    relay = make_relay(workers=2, egress=2)
    load = subprocess.Popen(relay.load + ["--drive", "duplex", "--seconds", "60", "--window", "2000",
                                          "--timeout", "2"],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(relay, lambda seen: seen["xmpp_messages_accepted_total"] +
                 seen["sip_messages_accepted_total"] > 3000)
        relay.process.terminate()
        assert relay.process.wait(timeout=60) == 0
    finally:
        load.terminate()
        load.wait(timeout=60)


def test_tiny_pools_push_back(make_relay):  # noqa: F811
    """64 parcels for traffic, thousands of messages at once: the streams are read as fast as
    there are parcels, and nothing is lost."""
    relay = make_relay(parcels=128)
    report = relay.run_load("xmpp-sip", 10000, "--window", "10000")
    assert report["xmpp-sip"]["arrived"] == 10000
    assert counters(relay)["backpressure_pauses_total"] > 0


def test_peers_that_stop_reading_and_go_on(make_relay):  # noqa: F811
    """Both sides stand still in the middle of a flood, longer than any buffer lasts."""
    relay = make_relay(workers=2, egress=2, parcels=128)
    load = subprocess.Popen(relay.load + ["--drive", "duplex", "--count", "20000", "--window",
                                          "1000", "--timeout", "40", "--json"],
                            stdout=subprocess.PIPE, text=True)
    wait_for(relay, lambda seen: seen["xmpp_messages_accepted_total"] > 2000)
    load.send_signal(signal.SIGSTOP)
    time.sleep(2)  # that they stand still is what is tested
    load.send_signal(signal.SIGCONT)
    report = json.loads(load.communicate(timeout=300)[0])
    assert load.returncode is not None
    for direction in ("xmpp-sip", "sip-xmpp"):
        one = report[direction]
        assert one["sent"] == one["arrived"] + one["failed"] == 20000, one
        for fault in ("lost", "duplicated", "reordered", "contradicted"):
            assert one[fault] == 0, one
    assert report["xmpp-sip"]["failed"] == 0  # the streams are held back; SIP is told 503
