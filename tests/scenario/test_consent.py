# SPDX-License-Identifier: GPL-3.0-or-later
"""Partner types: whose users may write at once, and whose only to who has written to them first;
what is remembered of it over a stop and a kill, and what operators see and take away."""
import contextlib
import json
import subprocess

import pytest

import attack_certificates as certificates
import peers
import relay as relays
from attack_kit import AttackedRelay, Counting
from attack_wire import TENANT, sip
from consent_kit import DELIVERED, PUBLIC, Public, is_refused, running, start_again, stored
from policy_kit import Neighbour

TYPES = ["federated", "public_verified", "public_unverified"]


@pytest.mark.parametrize("kind", TYPES)
def test_types(tmp_path, kind):
    """Only a user of a public_unverified partner needs to have been written to."""
    with running(tmp_path, {"type": kind}) as scene, contextlib.closing(Public(scene)) as public:
        if kind == "public_unverified":
            with Counting(scene.relay, "consent_refused_total", "xmpp_messages_failed_total"):
                refusal = public.writes()
            assert is_refused(refusal)
            assert "Here you may only write to who has written to you first" in refusal
            assert f"{PUBLIC}" in scene.relay.control("show errors")
            public.is_written_to()
            assert scene.relay.count("consents_given_total") == 1
        assert public.writes() == DELIVERED
        rules = {row["rule"]: row for row in json.loads(
            scene.relay.control(f"show policy a {PUBLIC} json"))}
        assert rules["type"] == {"rule": "type", "value": kind, "from": "partners[]"}


def test_a_consent_is_of_two_users(tmp_path):
    with running(tmp_path) as scene, contextlib.closing(Public(scene)) as public:
        public.is_written_to("bob", "eve")
        assert public.writes("bob", "eve") == DELIVERED
        assert is_refused(public.writes("bob", "mallory"))
        assert is_refused(public.writes("alice", "eve"))
        # A refusal is not the end of it.
        public.is_written_to("alice", "eve")
        assert public.writes("alice", "eve") == DELIVERED
        scene.check(quiet=False)


@pytest.mark.parametrize("egress", [1, 3])
def test_no_answer_is_too_fast(tmp_path, egress):
    """An answer sent the moment the message arrives is let in, every time."""
    with running(tmp_path, **{"global": {"egress": egress, "workers": 2}}) as scene, \
            contextlib.closing(Public(scene)) as public:
        for number in range(50):
            scene.trunk.send(sip(uri=f"sip:p{number}@{PUBLIC}", sender=f"sip:u{number}@{TENANT}",
                                 body=f"first {number}."))
            while f"first {number}." not in public.server.stanzas.get(timeout=peers.PATIENCE_S):
                pass
            assert public.writes(f"u{number}", f"p{number}") == DELIVERED
        assert scene.relay.count("consent_refused_total") == 0


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_consents_survive(tmp_path, end):
    """What the counter calls written is there after SIGKILL; a stop writes what is left."""
    with running(tmp_path, store=stored(tmp_path)) as scene, \
            contextlib.closing(Public(scene)) as public:
        relay = scene.relay
        public.is_written_to("bob", "eve")
        public.is_written_to("alice", "ann")
        if end == "kill":
            peers.wait_for("it is written", lambda: relay.count("store_writes_total") >= 2)
            relay.kill()
        else:
            assert relay.stop() == 0
        relay.settings["global"]["egress"] = 2
        relay.write()
        start_again(relay)
        public.enter()
        assert public.writes("bob", "eve") == DELIVERED
        assert public.writes("alice", "ann") == DELIVERED
        assert is_refused(public.writes("alice", "eve"))
        assert relay.logged("event=consent.loaded", "count=2")


def test_killed_again_and_again(tmp_path):
    """Killed at any moment the file is whole, and what was written before is in it."""
    with running(tmp_path, store=stored(tmp_path)) as scene, \
            contextlib.closing(Public(scene)) as public:
        relay, written = scene.relay, 0
        for life in range(4):
            for number in range(20):
                public.is_written_to(f"u{number}", f"p{life}")
            written += relay.count("store_writes_total")
            relay.kill()
            start_again(relay)
            rows = json.loads(relay.control("show consent a json"))
            # What was written are also the proofs of two partners' servers.
            assert written - 2 <= len(rows) <= 20 * (life + 1)
            written = len(rows)
            public.enter()
        assert public.writes("u0", "p0") == DELIVERED


def test_without_a_store_they_are_forgotten(tmp_path):
    """… which --check, the start and a reload say."""
    with running(tmp_path) as scene, contextlib.closing(Public(scene)) as public:
        relay = scene.relay
        public.is_written_to()
        assert relay.logged("event=config.warning", "store.path: is not given")
        assert "store.path: is not given" in relay.control("reload")
        assert relay.stop() == 0
        start_again(relay)
        public.enter()
        assert is_refused(public.writes())


def start(relay):
    return subprocess.run([relays.PROGRAM, "-c", relay.file], capture_output=True, text=True,
                          timeout=60, check=False)


def test_a_store_that_cannot_be_read_is_told_at_the_start(tmp_path):
    relay = AttackedRelay(tmp_path, {"store": stored(tmp_path)})
    path = tmp_path / "store.db"
    path.write_text("This is no database, however long one looks at it.")
    done = start(relay)
    assert done.returncode == 1
    assert f"cannot start: store: {path}: is no store of passerelle" in done.stderr
    path.unlink()
    with relay:
        other = AttackedRelay(tmp_path / "other", {"store": stored(tmp_path)})
        done = start(other)
        assert done.returncode == 1
        assert f"store: {path}: another process has it open" in done.stderr
        assert relay.stop() == 0
    assert path.stat().st_mode & 0o777 == 0o600
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)
    done = start(relay)
    assert done.returncode == 1
    assert f"store: {path}: is damaged; put a copy in its place" in done.stderr


def test_operators_see_and_take_away(tmp_path):
    with running(tmp_path, store=stored(tmp_path)) as scene, \
            contextlib.closing(Public(scene)) as public:
        relay = scene.relay

        def ctl(*words):
            return subprocess.run(
                [relays.BUILD / "passerellectl", "-s", relay.settings["global"]["stats_socket"],
                 *words], capture_output=True, text=True, timeout=60, check=False)

        for user, peer in (("bob", "eve"), ("bob", "ann"), ("alice", "eve")):
            public.is_written_to(user, peer)
        rows = json.loads(ctl("--json", "show", "consent", "a").stdout)
        assert {(row["user"], row["partner"]) for row in rows} == {
            (f"bob@{TENANT}", f"eve@{PUBLIC}"), (f"bob@{TENANT}", f"ann@{PUBLIC}"),
            (f"alice@{TENANT}", f"eve@{PUBLIC}")}
        assert ctl("show", "consent", "a", "alice").stdout.splitlines()[1].startswith(
            f"alice@{TENANT}")
        assert ctl("show", "consent", TENANT, "alice").stdout == \
            ctl("show", "consent", "a", "alice").stdout
        assert len(json.loads(ctl("--json", "show", "consent", "b").stdout)) == 0
        gone = ctl("consent", "remove", "a", f"bob@{TENANT}", f"eve@{PUBLIC}")
        assert gone.returncode == 0 and f"eve@{PUBLIC}" in gone.stdout
        assert is_refused(public.writes("bob", "eve"))
        assert public.writes("bob", "ann") == DELIVERED
        assert len(json.loads(ctl("--json", "consent", "remove", "a", "bob").stdout)) == 1
        for words, said in ((("show", "consent"), "which tenant?"),
                            (("show", "consent", "nobody"), "no tenant of this name"),
                            (("show", "consent", "a", "@"), "this is no user"),
                            (("consent", "remove", "a"), "consent remove TENANT USER"),
                            (("consent", "remove", "a", "bob", "x"), "no XMPP address"),
                            (("show", "consent", "a", "b", "c"), "show consent TENANT")):
            done = ctl(*words)
            assert done.returncode == 1 and said in done.stdout + done.stderr, words
        assert relay.stop() == 0
        start_again(relay)
        assert len(json.loads(relay.control("show consent a json"))) == 1


def test_a_reload_changes_the_type(tmp_path):
    """From now on; and what was written before the type came does not count."""
    with running(tmp_path, {"type": "federated"}) as scene, \
            contextlib.closing(Public(scene)) as public:
        relay = scene.relay
        public.is_written_to()
        relay.settings["partners"][-1]["type"] = "public_unverified"
        relay.write()
        assert relay.control("reload").startswith("done: ")
        assert is_refused(public.writes())
        public.is_written_to()
        assert public.writes() == DELIVERED
        # A tenant may agree something else with him.
        relay.settings["tenants"][0]["partner_rules"] += [{"domain": PUBLIC, "type": "federated"}]
        relay.write()
        assert relay.control("reload").startswith("done: ")
        assert public.writes("anybody", "stranger") == DELIVERED


def test_proofs_survive(tmp_path):
    """trust_downgrade remembers over a restart what a partner's server had proved."""
    with running(tmp_path, {"trust_downgrade": "refuse"}, store=stored(tmp_path)) as scene:
        relay = scene.relay
        with contextlib.closing(Public(scene)) as public:
            public.is_written_to()
            peers.wait_for("both are written", lambda: relay.count("store_writes_total") >= 2)
            relay.kill()
        start_again(relay)
        relay.every = relay.authority.issue("lesser", [certificates.dns(PUBLIC)],
                                            self_signed=True)
        with contextlib.closing(Neighbour(relay, PUBLIC, "dialback")) as server, \
                Counting(relay, "trust_downgrades_total", "trust_refused_total"):
            assert scene.trunk.ask(sip(uri=f"sip:eve@{PUBLIC}", body="secret")) >= 400
            assert server.stanzas.empty()
        assert relay.logged("event=trust.downgrade", f"partner={PUBLIC}", "by pkix before")
