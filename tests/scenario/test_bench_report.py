# SPDX-License-Identifier: GPL-3.0-or-later
"""What the load generator tells of a run: over time, as a page, beside another run."""

import json
import os
import pty
import re
import select
import subprocess

import pytest

from pages import page_of
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


# ---- as a page ----

PLOTS = ["CPU a message by thread", "Throughput over time", "Latency by percentile",
         "Latency over time", "CPU a message over time", "Resident memory over time",
         "In flight over time"]


def test_a_page_of_one_run(make_relay, tmp_path):  # noqa: F811
    report = make_relay().run_load("xmpp-sip", 60000, "--fraction", "0.5")
    (tmp_path / "run.json").write_text(json.dumps(report))
    page = page_of(tmp_path / "run.json")
    assert page.figures == PLOTS + PLOTS
    messages = next(row for row in page.rows if row[:2] == ["run", "xmpp-sip"])
    assert messages[2] == f"{report['xmpp-sip']['rate']:,.0f}"
    assert messages[8:11] == ["60,000", "60,000", "0"]
    ratio = report["floor"]["ratio"]
    for what in (f"{ratio:.{2 if ratio < 9.995 else 1}f} × floor", "worker-0", "egress-0", "floor",
                 report["machine"]["kernel"], "closed loop, 256 in flight", "milliseconds",
                 "messages a second", "MiB", "99.9 %"):
        assert what in page.text, what
    # Each interval of the series is a point of its curve.
    usable = sum(sent > 0 for sent in report["series"]["xmpp-sip"]["sent"])
    assert usable - 1 <= len(re.findall("[ML]", page.curves[0])) <= usable


def test_a_page_lays_runs_over_each_other(make_relay, tmp_path):  # noqa: F811
    relay = make_relay()
    name = "a <b> & 'c'"
    for file, drive in ((name, "duplex"), ("other", "xmpp-sip")):
        report = relay.run_load(drive, 30000)
        (tmp_path / f"{file}.json").write_text(json.dumps(report))
    page = page_of(tmp_path / f"{name}.json", tmp_path / "other.json")
    assert page.figures == PLOTS
    for label in (f"{name} xmpp-sip p99", f"{name} sip-xmpp p50", "other xmpp-sip p99"):
        assert label in page.text
    assert [row[:2] for row in page.rows if row[1:2] in (["xmpp-sip"], ["sip-xmpp"])] == [
        [name, "xmpp-sip"], [name, "sip-xmpp"], ["other", "xmpp-sip"]]


def test_equal_names_keep_their_folders(make_relay, tmp_path):  # noqa: F811
    report = make_relay().run_load("xmpp-sip", 500)
    for folder in ("before", "after"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "run.json").write_text(json.dumps(report))
    text = page_of(tmp_path / "before/run.json", tmp_path / "after/run.json").text
    assert "before/run" in text and "after/run" in text


def test_a_page_of_a_run_that_went_wrong(make_relay, tmp_path):  # noqa: F811
    """Nothing arrives: to such addresses there is no way."""
    relay = make_relay()
    done = subprocess.run(relay.load + ["--drive", "xmpp-sip", "--count", "50", "--json",
                                        "--user-suffix", " ", "--timeout", "1"],
                          capture_output=True, text=True)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["xmpp-sip"]["arrived"] == 0
    report["failure"] = "503 <busy>"
    (tmp_path / "bad.json").write_text(json.dumps(report))
    page = page_of(tmp_path / "bad.json")
    assert "the first failed message was told: 503 <busy>" in page.text
    assert "the floor was not measured: without --pid" in page.text
    costs = page.rows[-1]
    assert costs[:3] == ["bad", "–", "–"]


@pytest.mark.parametrize("text, said", [
    (None, "cannot read it: No such file or directory"),
    ("", "line 1, column 0: "),
    ('{"relay": {"cpu_us": 1,\n]', "line 2, column 1: "),
    ("[1, 2]", "is no report: there is no JSON object in it"),
    ('{"a": 1}', "is no report of passerelle-bench --json"),
    ('{"relay": {"cpu_us": 1}, "seconds": 1}', 'is no whole report: "generator.cpu_us" is missing'),
    ('{"targets": []}', 'is no whole report: "runs" is missing')])
@pytest.mark.parametrize("command", ["report", "compare"])
def test_what_is_no_report_is_named(tmp_path, command, text, said):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text('{"floor_us": 4.6}')
    if text is not None:
        bad.write_text(text)
    done = subprocess.run([BUILD / "passerelle-bench", command, good, bad], capture_output=True,
                          text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"passerelle-bench: {bad}: {said}"), done.stderr


def test_a_folder_is_no_report(tmp_path):
    done = subprocess.run([BUILD / "passerelle-bench", "report", tmp_path], capture_output=True,
                          text=True)
    assert done.returncode == 1
    assert f"{tmp_path}: cannot read it: Is a directory" in done.stderr


def test_odd_numbers_do_not_break_a_page(tmp_path):
    """Types that nobody writes: the page is made of what is there."""
    (tmp_path / "odd.json").write_text(json.dumps(
        {"relay": {"cpu_us": "much", "threads": [1]}, "generator": {"cpu_us": None},
         "seconds": -1, "xmpp-sip": {"rate": 1e300, "percentiles": [1, [2], ["a", "b"]]},
         "series": {"end_s": [1, "x", 3], "interval_s": 1, "xmpp-sip": {"sent": [1, 2, 3]}}}))
    assert "odd" in page_of(tmp_path / "odd.json").text


def test_a_page_that_cannot_be_written(tmp_path):
    (tmp_path / "a.json").write_text('{"floor_us": 4.6}')
    with open("/dev/full", "w") as full:
        done = subprocess.run([BUILD / "passerelle-bench", "report", tmp_path / "a.json"],
                              stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and "the output cannot be written" in done.stderr


# ---- two beside each other ----

def kept_load(rate, cpu_us, p99_us, lost=0, spread=0.02, points=20):
    """A report of a run that was even but for a spread in its first fifth."""
    def even(value):
        return [value * (1 + spread * (i < points // 5)) for i in range(points)]
    arrived = [round(value) for value in even(rate * 0.1)]
    return {"kind": "load", "seconds": points / 10, "failure": "",
            "relay": {"cpu_us": cpu_us, "threads": {"worker-0/7": cpu_us},
                      "rss_kib": {"idle": 50000, "max": 60000, "after": 60000}},
            "generator": {"cpu_us": 5, "core": 0.5, "wait": 0.1, "limited": False},
            "floor": {"us": 4.5, "ratio": cpu_us / 4.5, "core": 0},
            "xmpp-sip": {"sent": sum(arrived), "arrived": sum(arrived), "failed": 0, "lost": lost,
                         "duplicated": 0, "reordered": 0, "contradicted": 0, "rate": rate,
                         "p50_us": p99_us / 2, "p90_us": p99_us / 1.5, "p99_us": p99_us,
                         "p999_us": p99_us * 2, "percentiles": [[50, p99_us / 2]]},
            "series": {"interval_s": 0.1, "end_s": [0.1 * (i + 1) for i in range(points)],
                       "in_flight": [1] * points, "rss_kib": [60000] * points,
                       "threads_cpu_us": {"worker-0/7": [a * cpu_us for a in arrived]},
                       "xmpp-sip": {"sent": arrived, "arrived": arrived, "failed": [0] * points,
                                    "p50_us": even(p99_us / 2), "p90_us": even(p99_us / 1.5),
                                    "p99_us": even(p99_us)}}}


def compare(folder, one, two, word="compare"):
    """The rows by measure: (ratio, mark)."""
    for name, report in (("one", one), ("two", two)):
        (folder / f"{name}.json").write_text(json.dumps(report))
    done = subprocess.run([BUILD / "passerelle-bench", word, folder / "one.json",
                           folder / "two.json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = {}
    for line in done.stdout.splitlines()[1:]:
        row = re.fullmatch(r"(\S.*?) +[\d,.]+(?: [/%µmMKs×]\S*|)(?: +[\d,.]+ – [\d,.]+|)"
                           r" +[\d,.]+(?: [/%µmMKs×]\S*|)(?: +[\d,.]+ – [\d,.]+|)"
                           r"(?: +(\d+\.\d{3})|)(?: {2,}(better|WORSE|more|less|\?)|)", line.rstrip())
        if row:
            rows[row[1]] = row[2], row[3]
    return rows


@pytest.mark.parametrize("word", ["compare", "--compare"])
def test_a_difference_beyond_the_noise_is_marked(tmp_path, word):
    rows = compare(tmp_path, kept_load(100000, 9.0, 1500), kept_load(120000, 10.0, 1200), word)
    assert rows["xmpp-sip rate"] == ("1.200", "better")
    assert rows["CPU a message"] == ("1.111", "WORSE")
    assert rows["xmpp-sip p99"] == ("0.800", "better")
    # The sum of all, without a range of its own.
    assert rows["xmpp-sip p99.9"] == ("0.800", "?")
    assert rows["xmpp-sip lost"] == (None, None)


def test_a_difference_within_the_noise_is_not(tmp_path):
    rows = compare(tmp_path, kept_load(100000, 9.0, 1500, spread=0.3),
                   kept_load(120000, 9.0, 1200, spread=0.3))
    assert rows["xmpp-sip rate"] == ("1.200", None)
    assert rows["xmpp-sip p99"] == ("0.800", None)


def test_a_lost_message_is_no_noise(tmp_path):
    rows = compare(tmp_path, kept_load(100000, 9.0, 1500), kept_load(100000, 9.0, 1500, lost=1))
    assert rows["xmpp-sip lost"] == (None, "WORSE")
    assert rows["xmpp-sip rate"] == ("1.000", None)


def test_a_run_too_short_does_not_know_its_noise(tmp_path):
    rows = compare(tmp_path, kept_load(100000, 9.0, 1500, points=9),
                   kept_load(200000, 9.0, 1500, points=9))
    assert rows["xmpp-sip rate"] == ("2.000", "?")


def test_rounds_tell_the_noise_of_the_scripts(tmp_path):
    def figures(cpus):
        rounds = [{"relay": {"cpu_us": cpu}, "xmpp-sip": {"rate": 1e5, "p99_us": 2000}}
                  for cpu in cpus]
        row = {"measure": "XMPP→SIP over UDP, CPU a message", "unit": "µs",
               "measured": sorted(cpus)[1], "low": min(cpus), "high": max(cpus)}
        return {"kind": "figures", "machine": {}, "targets": [row, dict(row, measure="  over TCP")],
                "runs": {"xmpp-sip udp": rounds}}
    rows = compare(tmp_path, figures([9.0, 9.1, 9.3]), figures([9.2, 9.4, 9.5]))
    assert rows["XMPP→SIP over UDP, CPU a message"] == ("1.033", None)
    rows = compare(tmp_path, figures([9.0, 9.1, 9.3]), figures([9.4, 9.5, 9.6]))
    assert rows["XMPP→SIP over UDP, CPU a message"] == ("1.044", "WORSE")
    assert rows["XMPP→SIP over UDP, CPU a message: over TCP"] == ("1.044", "WORSE")
    assert rows["CPU a message"] == ("1.044", "WORSE")
    assert rows["xmpp-sip rate"] == ("1.000", None)


def test_real_reports_have_every_measure(make_relay, tmp_path):  # noqa: F811
    report = make_relay().run_load("duplex", 30000)
    rows = compare(tmp_path, report, report)
    for name in ("xmpp-sip rate", "sip-xmpp p99", "sip-xmpp lost", "CPU a message",
                 "resident at most", "floor", "generator, CPU a message"):
        assert name in rows, name
    assert {mark for _, mark in rows.values()} == {None}
    assert {ratio for ratio, _ in rows.values()} <= {"1.000", None}


def test_reports_of_two_kinds_cannot_be_compared(tmp_path):
    for name, report in (("one", kept_load(1, 1, 1)), ("two", {"floor_us": 4.6})):
        (tmp_path / f"{name}.json").write_text(json.dumps(report))
    done = subprocess.run([BUILD / "passerelle-bench", "compare", tmp_path / "one.json",
                           tmp_path / "two.json"], capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert f"{tmp_path}/one.json and {tmp_path}/two.json have no measure in common" in done.stderr


@pytest.mark.parametrize("words", [["compare", "one"], ["compare"], ["report"],
                                   ["compare", "a", "b", "c"], ["report"] + 9 * ["a"]])
def test_how_many_reports_are_taken(words):
    done = subprocess.run([BUILD / "passerelle-bench", *words], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("usage: passerelle-bench report")
