# SPDX-License-Identifier: GPL-3.0-or-later
"""The relay when things go badly: stopped under load, with too little of everything, between
peers that do not read or do not answer."""

import subprocess
import time

from test_bench import make_relay  # noqa: F401  (a fixture)


def counters(relay):
    rows = (line.rsplit(" ", 1) for line in relay.ask("metrics").splitlines()
            if line and not line.startswith("#") and "{" not in line)
    return {name.removeprefix("passerelle_"): int(value) for name, value in rows}


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
