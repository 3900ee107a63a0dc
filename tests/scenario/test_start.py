# SPDX-License-Identifier: GPL-3.0-or-later
"""How the relay starts, and why it does not."""
import contextlib
import json
import os
import pathlib
import socket
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = TOP / os.environ.get("PASSERELLE_BUILD", "build") / "passerelle"
KEYS = {"xmpp.listen": socket.SOCK_STREAM, "xmpp.listen_direct_tls": socket.SOCK_STREAM,
        "sip.listen_udp": socket.SOCK_DGRAM, "sip.listen_tcp": socket.SOCK_STREAM,
        "sip.listen_tls": socket.SOCK_STREAM}


@pytest.mark.parametrize("taken", KEYS)
def test_a_port_that_is_shared_is_refused(tmp_path, taken):
    """As a second relay of the same user would: SO_REUSEPORT lets both bind."""
    subprocess.run([TOP / "tools/dev-certificates", tmp_path, "relay.example"], check=True,
                   stdout=subprocess.DEVNULL)
    settings = {"global": {"stats_socket": str(tmp_path / "stats")},
                "xmpp": {"certificate": "relay.example.pem", "key": "relay.example.key",
                         "ca_file": "ca.pem"},
                "sip": {},
                "tenants": [{"name": "one", "domains": ["sip.example"],
                             "trunks": [{"uri": "sip:127.0.0.1:9;transport=udp"}]}]}
    with contextlib.ExitStack() as stack:
        for key, kind in KEYS.items():
            other = stack.enter_context(socket.socket(socket.AF_INET, kind))
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            other.bind(("127.0.0.1", 0))
            if kind == socket.SOCK_STREAM:
                other.listen()
            address = "127.0.0.1:%d" % other.getsockname()[1]
            if key == taken:
                busy = address
            else:
                other.close()
            section, name = key.split(".")
            settings[section][name] = [address]
        config = tmp_path / "relay.yaml"
        config.write_text(json.dumps(settings))
        ended = subprocess.run([PROGRAM, "-c", config], capture_output=True, text=True,
                               timeout=30)
    assert ended.returncode == 1
    assert f"{taken}: {busy}" in ended.stderr
    assert "another relay" in ended.stderr
