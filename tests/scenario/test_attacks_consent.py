# SPDX-License-Identifier: GPL-3.0-or-later
"""Attacks on consent: whoever comes from a public_unverified partner reaches nobody who has not
written to him, learns nothing, and fills nothing."""
import contextlib
import resource

import pytest

import peers
from attack_wire import OTHER_TENANT, OTHER_TRUNK_HOST, TENANT, Datagrams, message, sip
from consent_kit import DELIVERED, PUBLIC, Public, is_refused, running, start_again, stored


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    folder = tmp_path_factory.mktemp("consent")
    with running(folder, {"additional_domains": ["also.public.example"]},
                 store=stored(folder)) as scene:
        scene.relay.settings["tenants"][0]["users"] = {"default": "allow",
                                                       "deny": [f"mallory@{TENANT}"]}
        scene.relay.write()
        assert scene.relay.control("reload").startswith("done: ")
        with contextlib.closing(Public(scene)) as one:
            one.is_written_to("bob", "eve")
            yield one
        scene.check()


def nothing_came(scene, mark):
    """No request with this mark has reached SIP; what else came is dropped."""
    return all(mark not in scene.trunk.requests.get_nowait()
               for _ in range(scene.trunk.requests.qsize()))


def test_unsolicited_messages(public):
    """C1: Messages to users who have not written first: subscription-required, and SIP hears
    nothing. One who exists, one who does not and one who is barred from XMPP are told alike."""
    answers = {}
    for user in ("alice", "nobody", "mallory"):
        text = public.send(user)
        answers[user] = public.outcome(text).replace(user, "USER").replace(text, "ID")
        assert is_refused(answers[user])
        assert nothing_came(public.scene, text.encode())
    assert len(set(answers.values())) == 1
    assert public.writes("bob") == DELIVERED


def test_names_near_one_who_may(public):
    """C2: Senders who nearly are the one whom the user has written to: another user, a part of the
    name, the domain alone, the same name elsewhere; and other types of message."""
    for peer in ("eve2", "ev", "e.ve", "bob", "évе"):
        assert is_refused(public.writes("bob", peer)), peer
    for kind in ("normal", "chat", "groupchat"):
        text = public.send("bob", "mallory", kind)
        assert public.outcome(text) != DELIVERED
    public.stream.send(message("from-the-domain", sender=PUBLIC, to=f"bob@{TENANT}",
                               stanza_id="from-the-domain"))
    assert is_refused(public.outcome("from-the-domain"))
    public.send("bob", "mallory", "headline")  # nobody is answered
    assert public.writes("bob", "EVE") == DELIVERED
    assert nothing_came(public.scene, b"mallory")


def test_flood_of_new_senders(public):
    """C3: Ever new senders to ever new users: each is refused, and no consent comes of it, in
    memory or on disk."""
    relay = public.scene.relay
    before = relay.counts()
    for number in range(4000):
        public.stream.send(message("buy", sender=f"s{number}@{PUBLIC}", to=f"u{number}@{TENANT}",
                                   stanza_id="flood"))
    peers.wait_for("all are refused", lambda: relay.count(
        "consent_refused_total") >= before["consent_refused_total"] + 4000)
    after = relay.counts()
    for name in ("consents_given_total", "store_writes_total"):
        assert after[name] == before[name]
    assert relay.control("show consent a json").count("partner") == 1
    assert public.writes("bob") == DELIVERED


def test_user_who_writes_to_the_whole_world(tmp_path):
    """C4: A tenant's user writes to more partners than there is room for: his own domain's oldest
    consents go, another tenant's stay."""
    # Room for all to be in flight: nobody answers pings here.
    with running(tmp_path, store={"consents_max": 1000},
                 **{"global": {"parcel_count": 4096}}) as scene, \
            contextlib.closing(Public(scene)) as public, \
            contextlib.closing(Datagrams(OTHER_TRUNK_HOST, 0, scene.relay.udp)) as other:
        relay = scene.relay
        status = other.ask(sip(uri=f"sip:eve@{PUBLIC}", sender=f"sip:carol@{OTHER_TENANT}"))
        assert status in (200, 202)
        for number in range(700):
            scene.trunk.send(sip(uri=f"sip:p{number}@{PUBLIC}", sender=f"sip:bob@{TENANT}"))
            if number % 50 == 49:
                peers.wait_for("they are taken", lambda n=number: relay.count(
                    "consents_given_total") == n + 2)
        assert relay.count("consents_forgotten_total") == 700 - 500
        assert relay.control("show consent b json").count("carol") == 1
        assert is_refused(public.writes("bob", "p0"))
        assert public.writes("bob", "p699") == DELIVERED


def test_disk_is_full(tmp_path):
    """C5: Nothing can be written to the store: messages and consents go on, it is told, and
    written as soon as there is room."""
    with running(tmp_path, store=stored(tmp_path)) as scene, \
            contextlib.closing(Public(scene)) as public:
        relay = scene.relay
        public.is_written_to("bob", "eve")
        peers.wait_for("it is written", lambda: relay.count("store_writes_total") >= 1)
        unlimited = resource.prlimit(relay.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(relay.process.pid, resource.RLIMIT_FSIZE, (1, unlimited[1]))
        public.is_written_to("bob", "ann")
        peers.wait_for("it is told", lambda: relay.count("store_failures_total") >= 1)
        assert "store.failed" in relay.control("show errors")
        assert public.writes("bob", "ann") == DELIVERED
        written = relay.count("store_writes_total")
        resource.prlimit(relay.process.pid, resource.RLIMIT_FSIZE, unlimited)
        peers.wait_for("it is written", lambda: relay.count("store_writes_total") > written)
        assert relay.count("store_lost_total") == 0
        relay.kill()
        start_again(relay)
        public.enter()
        assert public.writes("bob", "ann") == DELIVERED
