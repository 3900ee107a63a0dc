# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports of benches and tests: nobody else gets them before their server binds them."""
import pathlib
import socket
import subprocess
import sys

import rig
from ports import BLOCK, take_port


def test_bench_takes_none_that_the_kernel_gives_to_others():
    low = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    given = {rig.take_port() for _ in range(50)}
    assert len(given) == 50 and max(given) < low


def test_two_processes_never_get_the_same():
    """More than a block each, at the same time: the other keeps its own until its input ends."""
    code = f"import ports, sys; print(*[ports.take_port() for _ in range({BLOCK} + 9)], " \
           "flush=True); sys.stdin.read()"
    others = [subprocess.Popen([sys.executable, "-c", code], cwd=rig.TOP / "tools", text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(3)]
    given = [port for other in others for port in map(int, other.stdout.readline().split())]
    given += [take_port() for _ in range(9)]
    for other in others:
        other.communicate()
    assert len(given) == len(set(given)) == 3 * (BLOCK + 9) + 9


def test_wanted_port_only_when_it_is_free():
    wanted = take_port()
    assert take_port(wanted) != wanted
    code = "import ports, sys; print(ports.take_port(), flush=True); sys.stdin.read()"
    # While its process lives nobody else is given it.
    with subprocess.Popen([sys.executable, "-c", code], cwd=rig.TOP / "tools", text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        busy = int(owner.stdout.readline())
        with socket.create_server(("127.0.0.1", busy)):
            assert take_port(busy) != busy
        assert take_port(busy) == busy
        owner.communicate()
