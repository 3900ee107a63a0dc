# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates that their authority has taken back: CRLs, OCSP responses that are stapled by the
relay, and those that come with the certificates of others."""
import contextlib
import json
import os
import pathlib
import queue
import re
import subprocess
import threading

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

import peers
import revocation_kit as kit
from attack_certificates import DAY, Authority, dns
from attack_kit import (HOSTILE, OTHER_TENANT, PATIENCE_S, POOL, TENANT, TLS_TENANT,
                        TRUNK_HOST, AttackedRelay, Connection, Counting, Server, message, running, sip)
from attack_wire import NS_SASL, Stream
from relay import PROGRAM

EXTERNAL = "<mechanism>EXTERNAL</mechanism>"
VICTIM = HOSTILE[0]
# Each must prove itself by a certificate and is found for direct TLS. One a test: the relay does
# not hurry back to whom it could not trust.
STAPLERS = [f"stapler{n}.example" for n in range(50)]
unused = iter(STAPLERS)
SECOND = DAY / 86400
VERSIONS = ("-tls1_2", "-tls1_3")
REVOKED = "it has been revoked, says the OCSP response that came with it"


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("revocation")
    lists = folder / "crls"
    lists.mkdir()
    with running(folder, {"xmpp": {"crl": str(lists)}}) as one:
        relay = one.relay
        own = relay.authority.issue("tenant-b", [dns(OTHER_TENANT)])
        relay.settings["tenants"][1].update(certificate=str(own.pem), key=str(own.key))
        relay.settings["partners"] += [
            {"domain": name, "host": peers.ADDRESS, "port": relay.second, "sasl": "required",
             "direct_tls": True} for name in STAPLERS]
        relay.write()
        relay.lists, relay.own_b = lists, own
        reload(relay)
        yield one


@pytest.fixture
def attacked(scene):
    """The relay of the module, which must serve as before when the CRLs are gone."""
    yield scene.relay
    for one in scene.relay.lists.iterdir():
        one.unlink()
    reload(scene.relay)
    scene.check()


def reload(relay):
    answer = relay.control("reload")
    assert answer.startswith("done: "), answer
    return answer


def revoke(relay, *credentials, authority=None, **options):
    """From now on a CRL of the authority names them."""
    (relay.lists / "one.crl").write_bytes(
        kit.crl(authority or relay.authority.own, credentials, **options))
    return reload(relay)


# ---- CRLs ----

def features(relay, credential, sender=VICTIM):
    with relay.stream() as stream:
        return stream.starttls(credential.client(), TENANT, sender)


@pytest.mark.parametrize("encoding", (Encoding.PEM, Encoding.DER), ids=("pem", "der"))
def test_revoked_client(attacked, encoding):
    """K1: A certificate that a CRL of its authority names proves nothing any more; others of the
    authority do."""
    revoked, other = (attacked.authority.issue(name, [dns(VICTIM)]) for name in ("gone", "kept"))
    assert EXTERNAL in features(attacked, revoked)
    revoke(attacked, 7, revoked, encoding=encoding)
    with Counting(attacked, "tls_peers_revoked_total"):
        assert EXTERNAL not in features(attacked, revoked)
    assert EXTERNAL in features(attacked, other)
    reason = "it has been revoked, says a CRL of its authority"
    assert attacked.logged("event=tls.revoked", reason)
    errors = json.loads(attacked.control("show errors json"))
    assert any(one["event"] == "tls.revoked" and reason in one["reason"] for one in errors)
    with attacked.stream() as stream:
        stream.starttls(revoked.client(), TENANT, VICTIM)
        stream.send(f"<auth xmlns='{NS_SASL}' mechanism='EXTERNAL'>=</auth>")
        stream.until("<not-authorized/>")


def test_revoked_authority(attacked):
    """K2: A leaf below an authority that its own one has revoked."""
    middle = Authority(attacked.folder / "middle", "middle", issuer=attacked.authority)
    leaf = middle.issue("leaf", [dns(VICTIM)], chain=[middle.own.certificate])
    assert EXTERNAL in features(attacked, leaf)
    revoke(attacked, middle.own)
    assert EXTERNAL not in features(attacked, leaf)
    assert attacked.logged("event=tls.revoked", "an authority in its chain has been revoked")


def test_crl_of_another(attacked, tmp_path):
    """K3: A list in the authority's name that another key has signed, and another authority's
    list with the same number, revoke nobody."""
    rogue = Authority(tmp_path, "rogue")
    honest = attacked.authority.issue("honest", [dns(VICTIM)])
    revoke(attacked, honest, key=rogue.own.private)
    assert EXTERNAL in features(attacked, honest)
    revoke(attacked, honest, authority=rogue.own)
    assert EXTERNAL in features(attacked, honest)


def test_old_crl(attacked):
    """K4: A list that should have been renewed still revokes whom it names; this is told."""
    gone, kept = (attacked.authority.issue(name, [dns(VICTIM)]) for name in ("old", "new"))
    answer = revoke(attacked, gone, age=40 * DAY)
    assert "warning: " in answer and "xmpp.crl: " in answer and "should have been renewed" in answer
    assert EXTERNAL not in features(attacked, gone)
    assert EXTERNAL in features(attacked, kept)
    row, = (one for one in rows(attacked) if one["key"] == "xmpp.crl")
    assert row["state"].startswith("old") and row["revoked"] == 1


def test_trunk_is_revoked(attacked):
    """K5: A SIP trunk over TLS whose certificate is revoked: 403."""
    pool = attacked.authority.issue("pool-gone", [dns(POOL)])
    request = sip(sender=f"sip:bob@{TLS_TENANT}", transport="TLS")
    for status in (200, 403):
        with contextlib.closing(Connection(attacked.tls, TRUNK_HOST, pool.client(),
                                           TLS_TENANT)) as connection:
            assert (connection.ask(request) == 403) == (status == 403)
        revoke(attacked, pool)


BAD_LISTS = {
    "indirect": dict(extensions=[kit.point(indirect=True)]),
    "attribute-certificates": dict(extensions=[kit.point(attributes=True)]),
    "delta": dict(extensions=[kit.x509.DeltaCRLIndicator(1)]),
}


@pytest.mark.parametrize("name", [*BAD_LISTS, "garbage", "none"])
def test_bad_crl(attacked, name):
    """K6: A list that cannot be judged by is refused as a whole, with file, line and key; the one
    before stays in force."""
    gone = attacked.authority.issue("gone-already", [dns(VICTIM)])
    revoke(attacked, gone)
    if name in BAD_LISTS:
        data = kit.crl(attacked.authority.own, **BAD_LISTS[name])
    else:
        data = b"" if name == "none" else b"-----BEGIN X509 CRL-----\n!\n-----END X509 CRL-----\n"
    (attacked.lists / "two.crl").write_bytes(data)
    answer = attacked.control("reload")
    assert re.match(r"error: .*passerelle\.yaml:\d+: xmpp\.crl: cannot take .*two\.crl: ", answer)
    assert EXTERNAL not in features(attacked, gone)
    check = subprocess.run([PROGRAM, "--check", "-c", attacked.file], capture_output=True,
                           text=True, timeout=60, check=False)
    assert check.returncode != 0 and "two.crl: " in check.stderr + check.stdout


def test_crl_is_watched(tmp_path):
    """K7: With global.watch a list that takes the place of another in the folder counts without a
    word."""
    lists = tmp_path / "crls"
    lists.mkdir()
    with AttackedRelay(tmp_path, {"global": {"watch": True},
                                  "xmpp": {"crl": str(lists)}}) as relay:
        gone = relay.authority.issue("gone", [dns(VICTIM)])
        (lists / "a.crl").write_bytes(kit.crl(relay.authority.own))
        peers.wait_for("the first list is read", lambda: relay.logged("event=reload.done"))
        assert EXTERNAL in features(relay, gone)
        (lists / ".new").write_bytes(kit.crl(relay.authority.own, [gone]))
        (lists / ".new").rename(lists / "a.crl")
        peers.wait_for("it is revoked", lambda: EXTERNAL not in features(relay, gone))
        assert relay.stop() == 0


# ---- responses that come with the certificates of others ----

class Pipe:
    """What attack_wire.Stream needs of a socket, over the pipes of a program."""

    def __init__(self, process):
        self.process = process

    def recv(self, size):
        return os.read(self.process.stdout.fileno(), size)

    def sendall(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def settimeout(self, _):
        pass

    def close(self):
        self.process.terminate()


class Stapler(Server):
    """An XMPP server for direct TLS behind `openssl s_server`, which staples the response (DER;
    None: it has none)."""

    def __init__(self, relay, domain, credential, response, version):
        self.domain, self.stanzas = domain, queue.Queue()
        self.answer = lambda stanza: None
        command = ["openssl", "s_server", "-quiet", "-accept", f"{peers.ADDRESS}:{relay.second}",
                   "-cert", credential.pem, "-key", credential.key, "-cert_chain", credential.pem,
                   "-alpn", "xmpp-server", version]
        if response is not None:
            file = pathlib.Path(f"{credential.pem}.response")
            file.write_bytes(response)
            command += ["-status_file", file]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL)
        peers.wait_for("s_server listens", lambda: peers.listens(relay.second))
        threading.Thread(target=self._talk, daemon=True).start()

    def _talk(self):
        stream = Stream.__new__(Stream)
        stream.socket, stream.unread, stream.ended = Pipe(self.process), "", False
        stream.lock = threading.Lock()
        with contextlib.suppress(Exception):
            self.greet(stream, f"<mechanisms xmlns='{NS_SASL}'>{EXTERNAL}</mechanisms>")
            stream.until("</auth>")
            stream.send(f"<success xmlns='{NS_SASL}'/>")
            self.greet(stream, "")
            self.collect(stream)

    def close(self):
        self.process.kill()
        self.process.wait()


def delivered(scene, server):
    """Does a message of the trunk get through to the server?"""
    status = scene.trunk.ask(sip(uri=f"sip:x@{server.domain}", body="secret"))
    assert (status == 202) == (not server.stanzas.empty())
    return status == 202


def responses(relay, credential):
    root, rogue = relay.authority.own, Authority(relay.folder / "rogue", "rogue")
    delegate = relay.authority.issue("delegate", [], purposes=(kit.RESPONDER,))
    stranger = rogue.issue("stranger", [], purposes=(kit.RESPONDER,))
    other = relay.authority.issue("other", [dns(VICTIM)])
    return {
        "none": (None, True),
        "good": (kit.response(root, credential), True),
        "good-by-delegate": (kit.response(root, credential, responder=delegate,
                                          shown=[delegate]), True),
        "revoked": (kit.response(root, credential, revoked=True), False),
        "revoked-by-delegate": (kit.response(root, credential, revoked=True, responder=delegate,
                                             shown=[delegate]), False),
        "expired": (kit.response(root, credential, revoked=True, age=9 * DAY), True),
        "another-number": (kit.response(root, other, revoked=True), True),
        "foreign": (kit.response(rogue.own, credential, revoked=True, issuer=root), True),
        "foreign-delegate": (kit.response(root, credential, revoked=True, responder=stranger,
                                          shown=[stranger]), True),
    }


RESPONSES = ("none", "good", "good-by-delegate", "revoked", "revoked-by-delegate", "expired",
             "another-number", "foreign", "foreign-delegate")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", RESPONSES)
def test_called_server_staples(scene, attacked, name, version):
    """K8: What the called server staples: revoked, by the authority or a responder of it, ends it
    before a message, and is told; what is old, about another certificate, or of others counts as
    none."""
    domain = next(unused)
    credential = attacked.authority.issue(domain, [dns(domain)])
    response, is_good = responses(attacked, credential)[name]
    with contextlib.closing(Stapler(attacked, domain, credential, response, version)) as server:
        assert delivered(scene, server) == is_good
    if not is_good:
        assert attacked.logged("event=session.close", f"remote={domain}", REVOKED)
        assert attacked.logged("event=tls.revoked", REVOKED)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ("none", "good", "expired", "foreign"))
def test_called_server_promises(scene, attacked, name, version):
    """K9: A certificate that promises a response (RFC 7633) proves nothing without one that can be
    used."""
    domain = next(unused)
    credential = attacked.authority.issue(domain, [dns(domain)], feature=kit.MUST_STAPLE)
    response, _ = responses(attacked, credential)[name]
    with contextlib.closing(Stapler(attacked, domain, credential, response, version)) as server:
        assert delivered(scene, server) == (name == "good")
    if name != "good":
        assert attacked.logged("event=session.close", f"remote={domain}",
                               "it promises an OCSP response, and none that can be used")


@pytest.mark.parametrize("name, result, mark", (
    ("revoked", "failed", REVOKED),
    ("expired", "note", "counts for nothing: it has expired"),
    ("good", "ok", "says that it is good")))
def test_explained(attacked, name, result, mark):
    """K14: `explain` says what came with the certificate, and what is to be done."""
    domain = next(unused)
    credential = attacked.authority.issue(domain, [dns(domain)])
    response, _ = responses(attacked, credential)[name]
    with contextlib.closing(Stapler(attacked, domain, credential, response, "-tls1_3")):
        told = json.loads(attacked.control(f"explain {domain} tenant a json"))
    chain = [one for one in told if one["step"] == "chain"]
    assert any(one["result"] == result and mark in one["text"] for one in chain), told
    if name == "revoked":
        assert "must get another certificate" in told[-1]["text"], told


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ("good", "revoked"))
def test_trunk_staples(attacked, name, version):
    """K10: A SIP trunk over TLS, called by the relay, that staples."""
    credential = attacked.authority.issue(f"trunk-{name}{version}", [dns(POOL)])
    response, is_good = responses(attacked, credential)[name]
    file = pathlib.Path(f"{credential.pem}.response")
    file.write_bytes(response)
    trunk = subprocess.Popen(
        ["openssl", "s_server", "-quiet", "-accept", f"{TRUNK_HOST}:{attacked.tls_trunk}", "-cert",
         credential.pem, "-key", credential.key, "-status_file", file, version],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        peers.wait_for("s_server listens",
                       lambda: peers.listens(attacked.tls_trunk, TRUNK_HOST))
        with attacked.trusted(to=TLS_TENANT) as stream:
            stream.send(message("hello", to=f"bob@{TLS_TENANT}"))
            if is_good:
                data = b""
                while b"hello" not in data:
                    data += os.read(trunk.stdout.fileno(), 65536)
                assert b"MESSAGE sip:bob" in data
            else:
                peers.wait_for("it is refused", lambda: attacked.logged(
                    "event=sip.connection_closed", "does not prove the trunk", REVOKED))
    finally:
        trunk.kill()
        trunk.wait()


# ---- the relay's own ----

def rows(relay, tenant=""):
    return json.loads(relay.control(f"show certificates {tenant} json"))


def stapled(port, name, version, *more):
    """What `openssl s_client -status` says of the relay's response: good, or None."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"{peers.ADDRESS}:{port}", "-servername", name,
         "-status", version, *more], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=PATIENCE_S, check=False)
    assert "OCSP" in done.stdout, done
    if "OCSP response: no response sent" in done.stdout:
        return None
    return re.search(r"Cert Status: (\w+)", done.stdout).group(1)


def put(credential, response):
    file = pathlib.Path(f"{credential.pem}.ocsp")
    if response is None:
        file.unlink(missing_ok=True)
    else:
        file.write_bytes(response)


@pytest.mark.parametrize("version", VERSIONS)
def test_own_response(attacked, version):
    """K11: The relay staples CERTIFICATE.ocsp, of its own certificate and of a tenant's, wherever
    it accepts TLS, as long as that is good; else it says why not."""
    root = attacked.authority.own
    ways = ((attacked.direct, TENANT, "-alpn", "xmpp-server"), (attacked.tls, TENANT),
            (attacked.s2s, TENANT, "-starttls", "xmpp-server", "-xmpphost", TENANT))
    other = (attacked.direct, OTHER_TENANT, "-alpn", "xmpp-server")

    def answers():
        return [stapled(port, name, version, *more) for port, name, *more in ways]
    assert answers() == [None] * 3
    put(attacked.own, kit.response(root, attacked.own))
    reload(attacked)
    assert answers() == ["good"] * 3 and stapled(other[0], other[1], version) is None
    put(attacked.own_b, kit.response(root, attacked.own_b))
    reload(attacked)
    assert stapled(other[0], other[1], version, *other[2:]) == "good"
    assert rows(attacked, "b")[1]["state"] == "stapled"
    own = [one for one in rows(attacked) if one["file"].endswith(".ocsp")]
    assert [one["state"] for one in own] == ["stapled"] and own[0]["until"] > "2"
    for response, why in ((kit.response(root, attacked.own, age=9 * DAY), "it has expired"),
                          (kit.response(root, attacked.good), "it is about another certificate"),
                          (kit.response(root, attacked.own, revoked=True), "has been revoked"),
                          (b"garbage", "it cannot be read")):
        put(attacked.own, response)
        answer = reload(attacked)
        assert "warning: " in answer and "xmpp.certificate: " in answer and why in answer
        assert answers() == [None] * 3
        assert any(why in one["state"] for one in rows(attacked))
    put(attacked.own_b, kit.response(root, attacked.own_b, age=9 * DAY))
    reload(attacked)
    assert stapled(other[0], other[1], version) is None
    assert attacked.logged("event=tls.unstapled", "tenant=b", "it has expired")
    put(attacked.own, None)
    put(attacked.own_b, None)
    reload(attacked)


def test_own_response_ends(attacked):
    """K13: A response that ends while the relay runs is stapled no more, and that is told."""
    put(attacked.own, kit.response(attacked.authority.own, attacked.own, life=DAY + 6 * SECOND))
    reload(attacked)
    first = stapled(attacked.direct, TENANT, "-tls1_3", "-alpn", "xmpp-server")
    peers.wait_for("its end is told", lambda: attacked.logged("event=tls.stale", "OCSP response"))
    assert first == "good"
    assert stapled(attacked.direct, TENANT, "-tls1_3", "-alpn", "xmpp-server") is None
    put(attacked.own, None)


def test_list_ends(attacked):
    """K15: A list that ends while the relay runs is told of, beside one that is old for good."""
    root = attacked.authority.own
    (attacked.lists / "old.crl").write_bytes(kit.crl(root, [5], age=40 * DAY))
    (attacked.lists / "soon.crl").write_bytes(kit.crl(root, [6], life=DAY + 6 * SECOND))
    answer = reload(attacked)
    assert "old.crl" in answer and "soon.crl" not in answer
    peers.wait_for("its end is told", lambda: attacked.logged("event=tls.stale", "a CRL"))


def test_own_response_of_openssl(attacked):
    """K12: A response as `openssl ocsp` makes it, of an authority's own responder, by its index."""
    folder, root = attacked.folder, attacked.authority.own
    serial = f"{attacked.own.certificate.serial_number:X}"
    (folder / "index.txt").write_text(f"V\t400101000000Z\t\t{serial:0>40}\tunknown\t/CN=relay\n")
    subprocess.run(["openssl", "ocsp", "-issuer", root.pem, "-cert", attacked.own.pem, "-no_nonce",
                    "-reqout", folder / "request"], check=True, timeout=PATIENCE_S)
    subprocess.run(["openssl", "ocsp", "-index", folder / "index.txt", "-CA", root.pem, "-rsigner",
                    root.pem, "-rkey", root.key, "-reqin", folder / "request", "-ndays", "2",
                    "-respout", f"{attacked.own.pem}.ocsp"], check=True, timeout=PATIENCE_S)
    reload(attacked)
    assert stapled(attacked.direct, TENANT, "-tls1_3", "-alpn", "xmpp-server") == "good"
    put(attacked.own, None)
    reload(attacked)
