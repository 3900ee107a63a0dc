# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine around the relay: its configuration, its control socket, its log, and a kernel that
refuses what it needs."""
import ctypes
import json
import os
import re
import resource
import socket
import stat
import struct
import subprocess

import pytest

import peers
import relay as relays
from attack_certificates import dns
from attack_kit import (HOSTILE, PATIENCE_S, TENANT, AttackedRelay, Datagrams,  # noqa: F401
                        Server, attacked, header, message, numbers, running, scene, sip)

CONTROL_LINE_MAX, CONTROL_CLIENT_MAX = 1024, 64


def control(relay):
    one = socket.socket(socket.AF_UNIX)
    one.settimeout(PATIENCE_S)
    one.connect(relay.settings["global"]["stats_socket"])
    return one


def drained(one):
    """True when the relay has closed."""
    try:
        while one.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


# ---- control socket ----

def test_permissions_of_the_control_socket(attacked):  # noqa: F811
    """H1: The stats socket is for the relay's own user only."""
    mode = os.stat(attacked.settings["global"]["stats_socket"]).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600


@pytest.mark.parametrize("data", [
    b"x" * 100000, b"\0" * 2000, b"show stat " + b"x" * 5000 + b"\n", b"\xff" * 3000])
def test_huge_command(attacked, data):  # noqa: F811
    """H2: A command without end: the client is dropped at 1,024 bytes."""
    with control(attacked) as one:
        try:
            one.sendall(data)
        except OSError:
            pass
        assert drained(one)


@pytest.mark.parametrize("line", [
    "", "show", "show nothing", "show stat xml", "show stat json json", "metrics x", "show \0 stat",
    "'; drop table", "shutdown", "set log_level debug", "show info\tjson", "SHOW STAT"])
def test_wrong_command(attacked, line):  # noqa: F811
    """H3: Unknown and half commands get one line; nothing here changes the relay."""
    with control(attacked) as one:
        one.sendall(f"{line}\nhelp\n".encode())
        one.shutdown(socket.SHUT_WR)
        text = b""
        while data := one.recv(65536):
            text += data
        assert b"this text" in text


def test_slow_reader_of_the_control_socket(attacked):  # noqa: F811
    """H4: A client that asks for everything and reads nothing: it is dropped, others are
    answered meanwhile."""
    with control(attacked) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        one.settimeout(0.2)
        try:
            for _ in range(3000):
                one.sendall(b"metrics\nshow stat json\n")
        except OSError:
            pass
        assert attacked.count("xmpp_sessions_opened_total") > 0
        assert attacked.control("show sess json")


def test_thousand_clients_of_the_control_socket(attacked):  # noqa: F811
    """H5: More clients than there are places: the rest is closed, the first go on, and there is
    room again afterwards."""
    crowd = []
    for _ in range(200):
        one = socket.socket(socket.AF_UNIX)
        one.setblocking(False)
        crowd.append(one)
        try:
            one.connect(attacked.settings["global"]["stats_socket"])
        except BlockingIOError:
            break  # the backlog is full: nobody waits in the relay's memory
    crowd[0].setblocking(True)
    crowd[0].settimeout(PATIENCE_S)
    crowd[0].sendall(b"help\n")
    assert b"this text" in crowd[0].recv(65536)
    for one in crowd:
        one.close()
    peers.wait_for("room again", lambda: "passerelle" in attacked.control("metrics"))


# ---- log ----

INJECTION = "x\n2026 level=error event=owned\r\n\x1b[31mred\x1b[0m \"quote\" \\ =\u009b31m\u202e"


def lines_are_whole(relay):
    data = (relay.folder / "output").read_bytes()
    text = data.decode()  # bytes that are no UTF-8 would raise
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\x80-\x9f]", text)
    for line in text.splitlines():
        assert line.startswith("time=") or line.startswith("{"), line
    return text


def hostile_names(scene, relay):
    """Text of a peer's choice by every way into the log."""
    with relay.stream() as stream:
        stream.send(header(sender="x&#10;event=owned.example"))
        stream.rest()
    with relay.stream() as stream:
        stream.open()
        stream.send("<stream:error><undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
                    "<text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>x&#10;event=owned</text>"
                    "</stream:error>")
        stream.rest()
    for call in ("x\x85event=owned", "x\x9b31m", "=\"\\", "x\udc80\udcff"):
        scene.trunk.send(sip(Call_ID=call, Require="x"))
    scene.trunk.send(sip(Call_ID='a"b', uri=f"sip:x@{'y' * 300}.example"))
    scene.to_xmpp(f"after {next(numbers)}")
    assert not relay.logged("event=owned ") and "\nevent=owned" not in relay.output()


def test_log_of_hostile_names(scene, attacked):  # noqa: F811
    """H6: Line ends, terminal escapes, C1 controls, bad UTF-8 and quotes in names and Call-IDs:
    each event stays one line of clean UTF-8."""
    hostile_names(scene, attacked)
    lines_are_whole(attacked)


def test_json_log_of_hostile_names(tmp_path):
    """H7: The same in JSON: every line parses."""
    with running(tmp_path, {"global": {"stats_socket": str(tmp_path / "stats.sock"),
                                       "log_level": "debug", "log_format": "json"}}) as scene_of_json:
        hostile_names(scene_of_json, scene_of_json.relay)
        for line in lines_are_whole(scene_of_json.relay).splitlines():
            json.loads(line)
        scene_of_json.check()


def test_metrics_of_hostile_names(scene, attacked):  # noqa: F811
    """H8: Names that peers choose make no metric and no label."""
    with attacked.stream() as stream:
        stream.send(header(sender="label-of-mine.example"))
        stream.until("</stream:features>")
        text = attacked.control("metrics")
        assert "label-of-mine" not in text
        for line in text.splitlines():
            assert re.fullmatch(r"#.*|passerelle_[a-z_0-9]+(\{([a-z]+=\"[^\"]*\",?)+\})? [\d.]+|",
                                line), line


# ---- configuration ----

def checked(settings, folder, name="passerelle.yaml"):
    """What `passerelle --check` says, and its status."""
    path = folder / name
    path.write_text(settings if isinstance(settings, str) else json.dumps(settings, indent=1))
    found = subprocess.run([relays.PROGRAM, "--check", "-c", path], capture_output=True, text=True,
                           timeout=PATIENCE_S)
    return found.returncode, found.stdout + found.stderr


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return AttackedRelay(tmp_path_factory.mktemp("sample"))


def changed(sample, change):
    settings = json.loads(json.dumps(sample.settings))
    change(settings)
    return settings


MISTAKES = {
    "unknown-key": (lambda s: s["xmpp"].update(lisen=[]), "lisen"),
    "unknown-section": (lambda s: s.update(evil={}), "evil"),
    "wrong-type": (lambda s: s["xmpp"].update(stanza_size_max="big"), "stanza_size_max"),
    "negative": (lambda s: s["xmpp"].update(sessions_max=-1), "sessions_max"),
    "too-great": (lambda s: s["xmpp"].update(stanza_size_max=99999999), "stanza_size_max"),
    "beyond-32-bits": (lambda s: s["xmpp"].update(sessions_max=2**32 + 1), "sessions_max"),
    "domain-twice": (lambda s: s["tenants"][1].update(domains=["A.example."]), "domains"),
    "tenant-as-partner": (lambda s: s["partners"].append({"domain": TENANT}), "domain"),
    "key-missing": (lambda s: s["xmpp"].update(key="/nonexistent/key"), "xmpp.key"),
    "key-is-a-folder": (lambda s: s["xmpp"].update(key="/tmp"), "xmpp.key"),
    "key-is-a-device": (lambda s: s["xmpp"].update(key="/dev/zero"), "xmpp.key"),
    "bad-network": (lambda s: s["tenants"][0]["trunks"][0].update(sources=["1.2.3.4/99"]),
                    "sources"),
    "bad-trunk": (lambda s: s["tenants"][0]["trunks"][0].update(uri="http://x"), "uri"),
    "include-missing": (lambda s: s.update(include="../../nonexistent"), "include"),
    "socket-path-too-long": (lambda s: s["global"].update(stats_socket="/" + "x" * 200),
                             "stats_socket"),
    "short-secret": (lambda s: s["xmpp"].update(dialback_secret="short"), "dialback_secret"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_in_the_configuration(sample, tmp_path, name):
    """H9: Unknown keys, wrong types, numbers out of range, a domain twice, missing and strange
    files: refused with file, line and key."""
    change, key = MISTAKES[name]
    status, text = checked(changed(sample, change), tmp_path)
    assert status == 2
    assert re.search(rf"passerelle\.yaml:\d+: .*{key}", text), text


def test_key_that_others_can_read(sample, tmp_path):
    """H10: A private key that others may read, or the group may write, is refused, not warned about."""
    key = tmp_path / "open.key"
    key.write_bytes(sample.own.key.read_bytes())
    for mode in (0o644, 0o660, 0o602):
        key.chmod(mode)
        status, text = checked(changed(sample, lambda s: s["xmpp"].update(key=str(key))), tmp_path)
        assert status == 2 and "is open to others" in text and "xmpp.key" in text
    key.chmod(0o600)
    assert checked(changed(sample, lambda s: s["xmpp"].update(key=str(key))), tmp_path)[0] == 0


BOMBS = {
    "aliases": "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(8)),
    "depth": "[" * 20000,
    "huge": "tenants:\n" + "# padding\n" * 2000000,
    "nul": "xmpp:\n  listen: [\0]\n",
    "binary": "\x7fELF\x01\x02",
    "empty": "",
    "list": "- a\n- b\n",
    "tab": "xmpp:\n\tlisten: []\n",
    "cut": '{"xmpp": {"listen": ["127.0.0.1:1"',
}


@pytest.mark.parametrize("name", BOMBS)
def test_file_that_is_a_bomb(tmp_path, name):
    """H11: Alias bombs, depth, megabytes, binary and half-written files: refused, in time."""
    status, text = checked(BOMBS[name], tmp_path)
    assert status == 2 and "passerelle.yaml" in text


def test_include_that_comes_back(sample, tmp_path):
    """H12: Included files that include, set other sections, link to themselves or climb out of
    their folder: refused or left out; never a circle."""
    folder = tmp_path / "d"
    folder.mkdir()
    settings = changed(sample, lambda s: s.update(include=str(folder)))
    for text in (json.dumps({"include": str(folder)}), json.dumps({"xmpp": {}})):
        (folder / "a.yaml").write_text(text)
        status, told = checked(settings, tmp_path)
        assert status == 2 and "a.yaml:" in told
    (folder / "a.yaml").unlink()
    (folder / "loop.yaml").symlink_to(folder / "loop.yaml")
    status, told = checked(settings, tmp_path)
    assert status == 2 and "loop.yaml" in told
    (folder / "loop.yaml").unlink()
    (folder / ".hidden.yaml").write_text("[")
    (folder / "README").write_text("[")
    assert checked(settings, tmp_path)[0] == 0


# ---- the machine ----

def refuse_io_uring():
    """A seccomp filter in the child: io_uring_setup (425) is EPERM, as in many containers."""
    libc = ctypes.CDLL(None, use_errno=True)
    program = struct.pack("HBBI", 0x20, 0, 0, 0) + struct.pack("HBBI", 0x15, 0, 1, 425) + \
        struct.pack("HBBI", 0x06, 0, 0, 0x00050001) + struct.pack("HBBI", 0x06, 0, 0, 0x7fff0000)
    code = ctypes.create_string_buffer(program)
    filters = struct.pack("HxxxxxxP", 4, ctypes.addressof(code))
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.c_char_p(filters)) == 0


def limited(what, value):
    return lambda: resource.setrlimit(what, (value, value))


def started(relay, preexec=None):
    """A start that must fail: its status and what it says."""
    found = subprocess.run([str(word) for word in relay.command()], capture_output=True, text=True,
                           timeout=PATIENCE_S, preexec_fn=preexec, cwd=relay.folder)
    return found.returncode, found.stdout + found.stderr


def test_io_uring_is_forbidden(sample):
    """H13: io_uring refused by seccomp or sysctl: the start fails and says where to look."""
    status, text = started(sample, refuse_io_uring)
    assert status == 1
    assert "io_uring" in text and "kernel.io_uring_disabled" in text and "seccomp" in text


@pytest.mark.parametrize("count", [8, 12, 16])
def test_few_file_descriptors(sample, count):
    """H14: Hardly any file descriptors: the start fails and says what is short."""
    status, text = started(sample, limited(resource.RLIMIT_NOFILE, count))
    assert status == 1
    assert "open files" in text or "file descriptor" in text or "LimitNOFILE" in text, text


def test_port_is_taken(sample):
    """H15: Somebody else listens, over UDP, TCP or on the stats socket, another relay too: the
    start fails and names the address."""
    for port, kind in ((sample.s2s, socket.SOCK_STREAM), (sample.direct, socket.SOCK_STREAM),
                       (sample.udp, socket.SOCK_DGRAM), (sample.tcp, socket.SOCK_STREAM),
                       (sample.tls, socket.SOCK_STREAM)):
        with socket.socket(socket.AF_INET, kind) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            other.bind((peers.ADDRESS, port))
            if kind == socket.SOCK_STREAM:
                other.listen()
            status, text = started(sample)
        assert status == 1 and f"{peers.ADDRESS}:{port}" in text, text


def test_descriptors_run_out(tmp_path):
    """H16: Connections until no descriptor is left: the relay says so, serves those that it has,
    and accepts again when some are free."""
    class Small(AttackedRelay):
        def command(self):
            return ["/bin/sh", "-c", f"ulimit -n 80; exec {relays.PROGRAM} -c {self.file}"]
    with Small(tmp_path) as relay:
        assert relay.logged("event=start.descriptors", "LimitNOFILE")
        crowd = []
        for number in range(90):
            with_source = f"127.0.2.{number + 1}"
            crowd.append(socket.create_connection((peers.ADDRESS, relay.s2s), PATIENCE_S,
                                                  (with_source, 0)))
        assert relay.alive()
        for one in crowd:
            one.close()
        relay.trusted().close()


def test_what_a_server_says_when_it_is_explained(attacked):
    """H17: Names in a certificate and texts of stream errors with tabs, line ends, terminal escapes
    and marks of direction make no row of `explain` of their own and turn no terminal."""
    names = [dns("evil.example\tok\tverdict"), dns("x" * 200 + ".example")] * 40
    hostile = attacked.authority.issue("hostile", names)
    text = "a&#9;b\nverdict\u202e\u009b31m\u2066" + "x" * 2000

    def serve(stream):
        server.secure(stream)
        server.greet(stream, None)
        stream.send("<stream:error><undefined-condition "
                    "xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
                    f"<text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>{text}</text>"
                    "</stream:error></stream:stream>")
        stream.rest()
    server = Server(attacked.second, hostile, HOSTILE[0])
    server.serve = serve
    try:
        answer = attacked.control(f"explain {HOSTILE[0]} tenant a")
        rows = json.loads(attacked.control(f"explain {HOSTILE[0]} tenant a json"))
    finally:
        server.close()
    lines = answer.rstrip("\n").split("\n")
    assert all(line.count("\t") == 4 for line in lines), answer
    assert [line.split("\t")[0] for line in lines].count("verdict") == 1
    assert not set("\u202e\u009b\u2066") & set(answer)
    assert re.search(r"and \d+ more", answer)
    assert rows[-1]["step"] == "verdict" and "undefined-condition" in rows[-1]["text"]
