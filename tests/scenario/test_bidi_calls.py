# SPDX-License-Identifier: GPL-3.0-or-later
"""Streams that go both ways (XEP-0288) and that others have opened: by servers in the hands of the
test, and by Prosody's mod_s2s_bidi."""
import contextlib
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

import attack_certificates as certificates
import peers
from attack_kit import (OTHER_TENANT, PATIENCE_S, SECOND, TENANT, AttackedRelay, Scene,  # noqa: F401
                        Server, attacked, running)
from attack_wire import answer as sip_answer
from bidi_kit import ENABLE, NS_SM, OFFER, Caller, kept, say, to_xmpp
from conftest import SIP_DOMAIN
from policy_kit import Neighbour


POOL = ThreadPoolExecutor()


def ask(scene, text):
    """A message that has its answer later: .result()."""
    return POOL.submit(to_xmpp, scene, text)


@pytest.fixture
def serving(attacked):  # noqa: F811
    """serving("external") is the server that the relay may call, until the test's end."""
    with contextlib.ExitStack() as stack:
        def start(kind):
            return stack.enter_context(contextlib.closing(Neighbour(attacked, SECOND, kind)))
        yield start
    peers.wait_for("its streams are gone", lambda: not [
        row for row in attacked.sessions() if row["remote"] == SECOND])


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    with running(tmp_path_factory.mktemp("calls"), {"xmpp": {"bidi": True}}) as one:
        one.relay.every = one.relay.authority.issue("every", [certificates.dns(SECOND)])
        yield one


def test_everything_goes_over_the_stream_of_the_other(attacked, scene):  # noqa: F811
    """Messages and their outcome, errors and answers to IQs. The relay opens no stream."""
    before = attacked.counts()
    with Caller(attacked) as caller:
        assert OFFER in caller.features
        caller.settle()
        assert to_xmpp(scene) == 200
        caller.say(say("the other way"))
        kept(scene, "the other way")
        scene.trunk.status = "404 Not Found"
        caller.say(say("to nobody"))
        assert "<item-not-found " in caller.got("to nobody")
        scene.trunk.status = "200 OK"
        caller.say(f"<iq type='get' from='{SECOND}' to='{TENANT}' id='are-you'>"
                   "<ping xmlns='urn:xmpp:ping'/></iq>")
        assert "type='result'" in caller.got("are-you")
        row, = caller.rows()
        assert row["direction"] == "in"
        assert row["pairs"] == f"{SECOND}>{TENANT},{TENANT}>{SECOND}"
        assert row["managed"] == "-" and row["stanzas_out"] >= 3
    after = attacked.counts()
    for name in ("xmpp_bidirectional_streams_total", "xmpp_streams_adopted_total"):
        assert after[name] == before[name] + 1


def test_refusal_is_the_answer(attacked, scene):  # noqa: F811
    with Caller(attacked) as caller:
        caller.settle()
        caller.pongs = False
        line = ask(scene, "no")
        stanza = caller.got("no")
        number, to = (re.search(f" {name}='([^']*)'", stanza).group(1) for name in ("id", "from"))
        caller.say(f"<message type='error' from='juliet@{SECOND}' to='{to}' id='{number}'>"
                   "<error type='cancel'><item-not-found "
                   "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
        assert line.result(PATIENCE_S) == 604


def test_silent_server_is_written_to_after_a_moment(attacked, scene):  # noqa: F811
    """It could have wanted acknowledgements, and then may not any more."""
    with Caller(attacked) as caller:
        peers.wait_for("it is taken for both ways", lambda: attacked.count(
            "xmpp_bidirectional_streams_total") and to_xmpp(scene) == 200)
        caller.got("hello")
        caller.say(ENABLE)
        assert "<unexpected-request " in caller.told("</failed>")


def test_each_direction_is_acknowledged(attacked, scene):  # noqa: F811
    with Caller(attacked, first=ENABLE) as caller:
        caller.told("<enabled ")
        assert to_xmpp(scene) == 200
        row, = caller.rows()
        assert row["managed"] == "on"
        peers.wait_for("all is acknowledged", lambda: not caller.rows()[0]["unacked"])
        caller.say(f"<r xmlns='{NS_SM}'/>")
        assert "h='1'" in caller.told("<a ")  # the pong
        caller.handled = lambda count: 2
        assert to_xmpp(scene, "more") == 200
        peers.wait_for("two are not", lambda: caller.rows()[0]["unacked"] == 2)


def broken(attacked, scene):  # noqa: F811
    """A caller whose stream breaks with a message of each direction on it, its id, and the request
    that has its outcome later."""
    caller = Caller(attacked, first=ENABLE)
    name = caller.told("<enabled ").split(" id='")[1].split("'")[0]
    assert to_xmpp(scene, "before") == 200
    peers.wait_for("all is acknowledged", lambda: not caller.rows()[0]["unacked"])
    caller.pongs, caller.handled = False, lambda count: 2
    scene.trunk.status = None
    caller.say(say("still open"))
    request = kept(scene, "still open")
    scene.trunk.status = "200 OK"
    return caller, name, request


@pytest.mark.parametrize("is_first", [True, False], ids=["noticed first", "still open here"])
def test_peer_resumes_both_directions(attacked, scene, is_first):  # noqa: F811
    """What it lacks comes again, once and in its place; what the relay has it need not send."""
    caller, name, request = broken(attacked, scene)
    line = ask(scene, "once more")
    caller.got("once more")
    if is_first:
        caller.stream.socket.shutdown(2)
        peers.wait_for("its stream is gone", lambda: not caller.rows())
    with Caller(attacked, first=f"<resume xmlns='{NS_SM}' h='2' previd='{name}'/>",
                count=2) as again:
        assert "h='1'" in again.told("<resumed ")
        again.got("once more")
        assert line.result(PATIENCE_S) == 200
        again.say(say("still open") + say("and new"))
        scene.trunk.send(sip_answer(request, "200 OK"))
        kept(scene, "and new")
        peers.wait_for("all is acknowledged", lambda: not again.rows("in")[0]["unacked"])
        assert "once more" not in again.all()
        assert not again.rows("out")


def test_nobody_resumes(attacked, scene, serving):  # noqa: F811
    """After a while the sender hears, and the next message goes over a stream of the relay's own."""
    server = serving("external")
    caller, _, request = broken(attacked, scene)
    scene.trunk.send(sip_answer(request, "200 OK"))
    line = ask(scene, "lost")
    caller.got("lost")
    caller.stream.socket.shutdown(2)
    peers.wait_for("it is waited for", lambda: [
        row["state"] for row in json.loads(attacked.control("show links json"))
        if row["remote"] == SECOND and row["waiting"] == 1] == ["awaited"])
    assert line.result(PATIENCE_S) == 504
    assert to_xmpp(scene, "the next") in (200, 202)
    assert "lost" not in server.stanzas.get(timeout=PATIENCE_S)


def test_stream_ends_in_order(attacked, scene, serving):  # noqa: F811
    """What it has not acknowledged is refused, and the next goes over a stream of the relay's own."""
    server = serving("external")
    with Caller(attacked, first=ENABLE) as caller:
        caller.told("<enabled ")
        caller.pongs, caller.handled = False, lambda count: 0
        line = ask(scene, "not taken")
        caller.got("not taken")
        caller.say("</stream:stream>")
        assert line.result(PATIENCE_S) == 504
        assert to_xmpp(scene, "the next") in (200, 202)
        while "the next" not in (stanza := server.stanzas.get(timeout=PATIENCE_S)):
            assert "not taken" not in stanza


def test_further_pairs_go_another_way(attacked, scene, serving):  # noqa: F811
    """They are heard on it (XEP-0220 §2.5); what is for them goes over a stream of their own."""
    server = serving("external")
    with Caller(attacked) as caller:
        caller.say(f"<db:result from='{SECOND}' to='{OTHER_TENANT}'>x</db:result>")
        assert "type='valid'" in caller.told("db:result")
        caller.settle()
        assert to_xmpp(scene, "for the first pair") == 200
        assert to_xmpp(scene, "for the other pair", trunk=scene.other_trunk,
                       sender=f"sip:eve@{OTHER_TENANT}") in (200, 202)
        while "for the other pair" not in server.stanzas.get(timeout=PATIENCE_S):
            pass
        assert "for the first pair" in (said := caller.all()) and "other pair" not in said
        row, = caller.rows("in")
        assert row["pairs"] == f"{SECOND}>{TENANT},{SECOND}>{OTHER_TENANT},{TENANT}>{SECOND}"


def test_keys_are_asked_about_elsewhere(attacked, scene, serving):  # noqa: F811
    """A second stream of the same server, by dialback: not the one that it has opened is asked
    about its key (XEP-0288 §2.2), and stanzas still go over that."""
    server = serving("dialback")
    stranger = certificates.Authority(attacked.folder / "stranger", "stranger").issue(
        SECOND, [certificates.dns(SECOND)])
    with Caller(attacked) as caller:
        caller.settle()
        assert to_xmpp(scene, "before") == 200
        with Caller(attacked, credential=stranger, dialback=True, before="") as other:
            assert "type='valid'" in other.verdict
        assert to_xmpp(scene, "behind") == 200
        assert "behind" in caller.all()
        assert "db:" not in "".join(caller.heard.queue)
        assert [row["stanzas_out"] for row in caller.rows("out")] == [0]


def test_limit_of_the_other_is_kept(attacked, scene):  # noqa: F811
    """XEP-0478 §4: what it told with <bidi/>."""
    told = ("<bidi xmlns='urn:xmpp:bidi'><limits xmlns='urn:xmpp:stream-limits:0'>"
            "<max-bytes>10000</max-bytes></limits></bidi>")
    with Caller(attacked, before=told) as caller:
        caller.settle()
        assert to_xmpp(scene, "x" * 10000) >= 400
        assert to_xmpp(scene, "short") == 200
        assert "xxxx" not in caller.all()


def test_pair_that_may_not_be_written_to(tmp_path):
    """After a reload the stream is closed, and the next message goes as the rules want it now."""
    with running(tmp_path, {"xmpp": {"bidi": True}}) as scene, Caller(scene.relay) as caller:
        relay = scene.relay
        caller.settle()
        assert to_xmpp(scene) == 200
        relay.settings["tenants"][0].update({"policy": "list", "partners": ["good.example"]})
        relay.write()
        assert relay.control("reload").startswith("done: ")
        caller.told("</stream:stream>")
        assert to_xmpp(scene) == 403


def test_stop_waits_for_acknowledgements(tmp_path):
    with AttackedRelay(tmp_path, {"xmpp": {"bidi": True}}) as relay, Scene(relay) as scene:
        caller = Caller(relay, first=ENABLE)
        caller.told("<enabled ")
        caller.handled = lambda count: 0
        assert to_xmpp(scene) == 200
        relay.process.terminate()
        peers.wait_for("it is stopping", lambda: relay.logged("event=session.close", "stopping"))
        caller.say(f"<a xmlns='{NS_SM}' h='{caller.count}'/>")
        caller.told("<system-shutdown ")
        assert relay.process.wait(PATIENCE_S) == 0
        caller.close()


def test_idle_stream_is_closed_and_the_next_is_the_relays(tmp_path):
    with running(tmp_path, {"xmpp": {"bidi": True, "idle_timeout_ms": 1000}}) as scene:
        relay = scene.relay
        relay.every = relay.authority.issue("every", [certificates.dns(SECOND)])
        caller = Caller(relay).settle()
        assert to_xmpp(scene) == 200
        caller.told("</stream:stream>")
        server = Neighbour(relay, SECOND, "external")
        assert to_xmpp(scene, "the next") in (200, 202)
        while "the next" not in server.stanzas.get(timeout=PATIENCE_S):
            pass
        server.close()
        scene.line = relay.trusted(source="127.0.0.10")


# ---- Prosody ----

@pytest.mark.parametrize("server, name, auth", [
    ("prosody_bidi", "sampson", "external"), ("prosody_bidi_dialback", "gregory", "dialback")])
def test_prosody_is_answered_over_its_stream(request, relay, xmpp_user, sip_user, server, name, auth):
    """It calls first. By dialback the relay asks about its key on a stream of its own, which it
    gives up when Prosody's is good for stanzas, or uses when its own was sooner."""
    user, alice = xmpp_user(request.getfixturevalue(server), name), sip_user("alice")
    domain = user.jid.split("@")[1]
    relay.stop()
    relay.start()

    def rows():
        return [row for row in json.loads(relay.control("show sess json"))
                if row["remote"] == domain]
    for number in range(3):
        user.send(f"alice@{SIP_DOMAIN}", f"there {number}")
        assert alice.next_request().body.decode() == f"there {number}"
        assert alice.send(f"sip:{user.jid}", f"back {number}").status in (200, 202)
        assert user.next_message()["body"] == f"back {number}"
    assert alice.send(f"sip:nobody@{domain}", "refused").status == 403
    row, = [row for row in rows() if row["direction"] == "in"]
    assert row["auth"] == auth
    assert row["pairs"] == f"{domain}>{SIP_DOMAIN},{SIP_DOMAIN}>{domain}"
    assert row["managed"] == ("on" if auth == "external" else "-")
    assert row["stanzas_out"] >= 4 and row["stanzas_in"] >= 3
    assert not [row for row in rows() if row["direction"] == "out" and row["stanzas_out"]]
    peers.wait_for("all is acknowledged", lambda: not [row for row in rows() if row["unacked"]])
