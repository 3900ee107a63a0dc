# SPDX-License-Identifier: GPL-3.0-or-later
"""Free ports on loopback, for the servers that tests, benches and the demonstration start.

A port is named long before its server binds it. Until then nobody else may get it: not from the
kernel, which gives the ports of its own range to everybody who asks for any, so these are below
that range; and not another process that uses this file, so each has blocks of its own. A process
owns a block by an abstract Unix socket of the block's name, which ends with it."""
import pathlib
import random
import socket

FIRST = 16384     # below it are the well-known ports and those that programs here ask for by number
BLOCK = 256
KINDS = ((socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1"),
         (socket.AF_INET, socket.SOCK_DGRAM, "127.0.0.1"),
         (socket.AF_INET6, socket.SOCK_STREAM, "::1"))

_owned = []      # sockets that say which blocks are ours
_candidates = []
_given = set()


def take_port(wanted=None):
    """A port that is free for UDP and TCP, on IPv4 and IPv6, never the same twice in a process: the
    wanted one when nobody has it, otherwise any."""
    port = wanted or _next()
    while port in _given or not all(_is_free(port, *kind) for kind in KINDS):
        port = _next()
    _given.add(port)
    return port


def _next():
    if not _candidates:
        _candidates.extend(_own_a_block())
    return _candidates.pop()


def _own_a_block():
    kernel = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    end = int(kernel.split()[0])
    if end < FIRST + 16 * BLOCK:  # a machine that leaves no room below
        end = 65536
    starts = range(FIRST, end - BLOCK + 1, BLOCK)
    for start in random.sample(starts, len(starts)):
        owner = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            owner.bind(f"\0passerelle-ports-{start}")
        except OSError:
            owner.close()
            continue
        _owned.append(owner)
        return random.sample(range(start, start + BLOCK), BLOCK)
    raise OSError(f"every port from {FIRST} to {end} is given to some test or bench")


def _is_free(port, family, kind, address):
    with socket.socket(family, kind) as probe:
        if kind == socket.SOCK_STREAM:  # connections that are over do not count
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
