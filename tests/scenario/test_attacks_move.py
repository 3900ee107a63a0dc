# SPDX-License-Identifier: GPL-3.0-or-later
"""Streams that come in go to the worker of their pair of domains: who is cut off on the way, and who
chooses the way."""
import socket
import struct

import pytest

import peers
from attack_kit import (TENANT, Counting, Stream, attacked, header, running,  # noqa: F401
                        steady)

WORKERS = 3
CROWD = "127.0.0.66"
CHANGES = {"global": {"workers": WORKERS}, "xmpp": {"sessions_per_address_max": 20}}


@pytest.fixture(scope="module")
def scene(tmp_path_factory):  # noqa: F811
    with running(tmp_path_factory.mktemp("move"), CHANGES) as one:
        yield one


def worker_of(domain):
    """As core/thread.h does it: FNV-1a over both names, each with an end."""
    value = 2166136261
    for byte in b"".join(name.encode() + b"\xff" for name in (TENANT, domain)):
        value = (value ^ byte) * 16777619 % 2 ** 32
    return (value >> 8) % WORKERS


def names(worker):
    """That all belong to one."""
    return (name for number in range(1000) if worker_of(
        name := f"crowd{number}.example") == worker)


def cut_off(stream):
    """By a reset."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()


@pytest.mark.parametrize("end", [cut_off, Stream.close])
def test_cut_off_on_the_way(attacked, end):  # noqa: F811
    """W1: Nothing is left of a connection that ends behind the header that has it move."""
    def crowd():
        for name in list(names(0))[:100]:
            stream = attacked.stream(CROWD)
            stream.send(header(TENANT, name))
            end(stream)
        peers.wait_for("they are gone", lambda: not [
            row for row in attacked.sessions() if row["peer"].startswith(CROWD)])

    before = attacked.counts()
    with Counting(attacked, "xmpp_sessions_moved_total"):
        steady(attacked, crowd)
    opened = attacked.count("xmpp_sessions_opened_total") - before["xmpp_sessions_opened_total"]
    closed = attacked.count("xmpp_sessions_closed_total") - before["xmpp_sessions_closed_total"]
    assert opened == closed > 0


def test_names_of_one_worker(attacked):  # noqa: F811
    """W2: Who chooses names that one worker owns has no more connections there than elsewhere."""
    streams = []
    for name in list(names(1))[:20]:
        streams.append(attacked.stream(CROWD))
        streams[-1].open(sender=name)
    rows = [row for row in attacked.sessions() if row["peer"].startswith(CROWD)]
    assert [row["worker"] for row in rows] == [1] * 20
    with Counting(attacked, "xmpp_sessions_refused_total"), attacked.stream(CROWD) as one_more:
        assert one_more.rest() == ""
    for stream in streams:
        stream.close()
