# SPDX-License-Identifier: GPL-3.0-or-later
"""Hostile SIP over UDP, TCP and TLS: requests that are no requests, framing, hops, methods,
responses that nobody asked for."""
import contextlib
import pathlib
import re

import pytest

import peers
from attack_kit import (PARTNER, STRANGER_HOST, TENANT, Connection, Counting, Datagrams,  # noqa: F401
                        attacked, message, numbers, scene, sip, status_of, steady)

TORTURE = pathlib.Path(__file__).resolve().parents[1] / "data/rfc4475"
CRLF = "\r\n"


def reordered(data, old, new):
    """The request with a piece of its bytes replaced."""
    assert old in data
    return data.replace(old, new, 1)


def body_of(size):
    return "x" * size


# What a trusted trunk may send wrongly, and the status that it gets on each transport.
REQUESTS = {
    "max-forwards-0": (lambda: sip(Max_Forwards="0"), 483),
    "max-forwards-negative": (lambda: sip(Max_Forwards="-1"), 400),
    "max-forwards-300": (lambda: sip(Max_Forwards="300"), 400),
    "max-forwards-twice": (lambda: sip(Max_Forwards=["70", "70"]), 400),
    "version-7": (lambda: reordered(sip(), b"SIP/2.0\r\nVia", b"SIP/7.0\r\nVia"), 505),
    "version-of-letters": (lambda: reordered(sip(), b"SIP/2.0\r\nVia", b"SIP/x.y\r\nVia"), 400),
    "cseq-of-another-method": (lambda: sip(CSeq="1 INVITE"), 400),
    "cseq-too-great": (lambda: sip(CSeq="4294967296 MESSAGE"), 400),
    "cseq-twice": (lambda: sip(CSeq=["1 MESSAGE", "2 MESSAGE"]), 400),
    "cseq-missing": (lambda: sip(CSeq=None), 400),
    "from-twice": (lambda: sip(From=[f"<sip:bob@{TENANT}>;tag=a", "<sip:eve@evil.example>;tag=b"]),
                   400),
    "from-compact-too": (lambda: sip(f="<sip:eve@evil.example>;tag=b"), 400),
    "to-twice": (lambda: sip(To=[f"<sip:juliet@{PARTNER}>", "<sip:x@y.example>"]), 400),
    "to-compact-too": (lambda: sip(t="<sip:x@y.example>"), 400),
    "call-id-twice": (lambda: sip(Call_ID=["a", "b"]), 400),
    "call-id-compact-too": (lambda: sip(i="b"), 400),
    "content-type-twice": (lambda: sip(c="message/cpim"), 400),
    "from-of-two-addresses": (lambda: sip(
        From=f"<sip:bob@{TENANT}>, <sip:eve@evil.example>;tag=a"), 400),
    "from-not-closed": (lambda: sip(From=f"<sip:bob@{TENANT};tag=a"), 400),
    "from-quote-not-closed": (lambda: sip(From=f'"bob <sip:bob@{TENANT}>;tag=a'), 400),
    "unknown-method": (lambda: sip(method="PWN"), 501),
    "invite": (lambda: sip(method="INVITE"), 405),
    "register": (lambda: sip(method="REGISTER", uri=f"sip:{TENANT}"), 405),
    "method-in-lower-case": (lambda: sip(method="message"), 501),
    "require-unknown": (lambda: sip(Require="100rel, telepathy"), 420),
    "unknown-scheme": (lambda: sip(uri="urn:service:sos"), 416),
    "tel-uri": (lambda: sip(uri="tel:+15551234"), (400, 416)),
    "xmpp-uri": (lambda: sip(uri=f"xmpp:juliet@{PARTNER}"), 416),
    "uri-with-headers": (lambda: sip(uri=f"sip:juliet@{PARTNER}?Subject=x",
                                     To=f"<sip:juliet@{PARTNER}>"), 400),
    "uri-in-brackets": (lambda: sip(uri=f"<sip:juliet@{PARTNER}>", To="<sip:x@y>"), 400),
    "uri-too-long": (lambda: sip(uri=f"sip:{'j' * 3000}@{PARTNER}", To="<sip:x@y>"), 414),
    "uri-without-a-user": (lambda: sip(uri=f"sip:{PARTNER}"), 404),
    "cancel-of-nothing": (lambda: sip(method="CANCEL"), 481),
    "bye-of-nothing": (lambda: sip(method="BYE", To=f"<sip:juliet@{PARTNER}>;tag=x"), 481),
    "message-in-no-dialog": (lambda: sip(To=f"<sip:juliet@{PARTNER}>;tag=x"), 481),
    "hundred-headers": (lambda: sip(X=["y"] * 100), 400),
    "hundred-vias": (lambda: sip(Via=["SIP/2.0/UDP h;branch=z9hG4bKx;rport"] * 40), 400),
    "vias-in-one-line": (lambda: sip(
        Via=",".join(["SIP/2.0/UDP h;branch=z9hG4bKx;rport"] * 60)), 400),
    "thousands-of-separators": (lambda: sip(Accept="," * 3000), 400),
    "colon-in-a-header-name": (lambda: sip(X_Y="z").replace(b"X-Y: ", b"X Y: "), 400),
    "header-without-colon": (lambda: sip().replace(b"Max-Forwards: 70", b"Max-Forwards 70"), 400),
    "control-character": (lambda: sip(Subject="a\x07b"), 400),
    "nul-in-a-header": (lambda: sip(Subject="a\0b"), 400),
    "body-is-not-utf-8": (lambda: sip(body=b"\xff\xfe"), 400),
    "body-of-an-unknown-type": (lambda: sip(Content_Type="application/x-evil"), 415),
    "body-in-an-unknown-coding": (lambda: sip(Content_Encoding="gzip"), 415),
    "body-with-a-nul": (lambda: sip(body=b"a\0b"), 400),
    "body-with-a-bell": (lambda: sip(body=b"a\x07b"), 400),
    "multipart-without-end": (lambda: sip(
        body="--b\r\nContent-Type: text/plain\r\n\r\nx",
        Content_Type="multipart/mixed;boundary=b"), (400, 415)),
    "multipart-nul-in-a-part-header": (lambda: sip(
        body=b"--b\r\nContent-Type: text/pl\0ain\r\n\r\nx\r\n--b--\r\n",
        Content_Type="multipart/mixed;boundary=b"), (400, 415)),
    "multipart-of-a-thousand-parts": (lambda: sip(
        body="--b\r\n\r\n" * 1000 + "--b--", Content_Type="multipart/mixed;boundary=b"),
        (400, 415)),
    "multipart-in-multipart": (lambda: sip(
        body="".join(f"--b{n}\r\nContent-Type: multipart/mixed;boundary=b{n + 1}\r\n\r\n"
                     for n in range(60)), Content_Type="multipart/mixed;boundary=b0"),
        (400, 415)),
}


def wanted(result):
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("name", REQUESTS)
def test_wrong_request(scene, attacked, name):  # noqa: F811
    """P1: A trusted trunk sends what is wrong, over UDP and over TCP: each gets its status and
    nothing of it reaches XMPP."""
    make, result = REQUESTS[name]
    before = attacked.count("sip_messages_accepted_total")
    assert scene.trunk.ask(make()) in wanted(result)
    with Connection(attacked.tcp) as connection:
        assert connection.ask(make()) in wanted(result)
        assert connection.ask(sip(method="OPTIONS", transport="TCP")) == 200
    assert attacked.count("sip_messages_accepted_total") == before


# Framing on a connection: what ends it, with or without an answer.
FRAMES = {
    "content-length-twice": lambda: sip(Content_Length=["5", "50"]),
    "content-length-twice-alike": lambda: sip(Content_Length=["5", "5"]),
    "content-length-compact-too": lambda: sip(l="0"),
    "content-length-negative": lambda: sip(Content_Length="-1"),
    "content-length-signed": lambda: sip(Content_Length="+5"),
    "content-length-of-33-bits": lambda: sip(Content_Length="4294967301"),
    "content-length-of-65-bits": lambda: sip(Content_Length="18446744073709551621"),
    "content-length-hexadecimal": lambda: sip(Content_Length="0x5"),
    "content-length-list": lambda: sip(Content_Length="5, 5"),
    "content-length-empty": lambda: sip(Content_Length=""),
    "content-length-missing": lambda: sip(Content_Length=None),
    "content-length-too-great": lambda: sip(Content_Length="100000"),
    "lone-cr": lambda: sip(Subject="a\rX-Evil: b"),
    "lone-lf": lambda: sip(Subject="a\nX-Evil: b"),
    "lone-lf-everywhere": lambda: sip().replace(b"\r\n", b"\n"),
    "cr-cr-lf": lambda: sip().replace(b"\r\n", b"\r\r\n", 1),
    "header-too-long": lambda: sip(Subject="x" * 70000),
    "no-sip": lambda: b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "tls-on-the-wrong-port": lambda: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 40 + b"\n",
    "body-instead-of-a-start": lambda: b"\n\n\n\n",
}


@pytest.mark.parametrize("name", FRAMES)
def test_wrong_framing_on_a_connection(attacked, name):  # noqa: F811
    """P2: A request whose end is not certain, with another one right behind it: the connection is
    closed, and what is behind is never read."""
    before = attacked.count("sip_requests_received_total")
    with Connection(attacked.tcp) as connection, Counting(attacked, "sip_guard_rejected_total"):
        connection.send_quietly(FRAMES[name]() + sip(method="OPTIONS", transport="TCP"))
        text = connection.rest()
        assert b" 200 " not in text
        assert text == b"" or status_of(text) in (400, 413, 513)
    assert attacked.count("sip_requests_received_total") - before <= 1


@pytest.mark.parametrize("name", [one for one in FRAMES if one.startswith("content-length-")
                                  and not one.endswith("missing")])
def test_wrong_length_in_a_datagram(scene, attacked, name):  # noqa: F811
    """P3: The same lengths in a datagram: 400, never a guess."""
    data = re.sub(rb"\r\n(Call-ID: [^\r]*)", rb"\r\n\1", FRAMES[name]())
    scene.trunk.send(data)
    assert status_of(scene.trunk.response()) in (400, 413)


def test_body_that_holds_a_request(scene, attacked):  # noqa: F811
    """P4: A whole forged request inside of a body, on a connection: it is text and nothing
    else."""
    inner = sip(sender="sip:eve@evil.example", body="smuggled")
    with Connection(attacked.tcp) as connection:
        before = attacked.count("sip_requests_received_total")
        assert connection.ask(sip(body=inner, transport="TCP")) in (200, 202)
        assert attacked.count("sip_requests_received_total") - before == 1
    stanza = scene.partner.stanzas.get(timeout=peers.PATIENCE_S)
    while "smuggled" not in stanza:
        stanza = scene.partner.stanzas.get(timeout=peers.PATIENCE_S)
    assert f"from='bob@{TENANT}'" in stanza or f"from='bob@{TENANT}/" in stanza


def test_requests_behind_a_shorter_length(scene, attacked):  # noqa: F811
    """P5: Content-Length says less than what is sent: the rest is the next message and is judged
    as one, with its own sender."""
    inner = sip(sender="sip:eve@evil.example", body="smuggled", transport="TCP")
    first = sip(body="x", transport="TCP")
    with Connection(attacked.tcp) as connection:
        connection.send(first + inner)
        statuses = []
        while len(statuses) < 2:
            status = status_of(connection.response())
            statuses += [status] if status >= 200 else []
        assert sorted(statuses) in ([200, 403], [202, 403])


def test_long_datagram(scene, attacked):  # noqa: F811
    """P6: Datagrams over 8 KiB are refused, whatever is in them."""
    scene.trunk.send(sip(body="x" * 9000))
    assert status_of(scene.trunk.response()) in (400, 513)


def test_garbage_in_datagrams(scene, attacked):  # noqa: F811
    """P7: Thousands of datagrams of noise, binary and nearly SIP, from a trunk and from a
    stranger: no answer to noise, and memory stays."""
    noise = [bytes((n * m) % 256 for m in range(200)) for n in range(50)]
    noise += [b"", b"\r\n\r\n", b"\0" * 8000, b"SIP/2.0 200 OK\r\n\r\n", b"SIP/2.0", b"\r\n" * 4000,
              sip()[:-60], b"MESSAGE", b"A" * 8000, b"\r\n\r\n" + b"x" * 2000]

    def flood():
        for _ in range(50):
            for data in noise:
                scene.trunk.send(data)
    steady(attacked, flood)


TORTURES = sorted(path.name for path in TORTURE.glob("*.dat"))


@pytest.mark.parametrize("name", TORTURES)
def test_torture_message(scene, attacked, name):  # noqa: F811
    """P8: The messages of RFC 4475, from a trunk over UDP and TCP: none of them is relayed, as
    their senders are nobody's tenants; the grammar is judged in the unit tests."""
    data = (TORTURE / name).read_bytes()
    before = attacked.count("sip_messages_accepted_total")
    scene.trunk.send(data)
    with Connection(attacked.tcp) as connection:
        connection.send_quietly(data)
    assert attacked.count("sip_messages_accepted_total") == before


@pytest.mark.parametrize("via", [
    "SIP/2.0/UDP {0}", "SIP/2.0/TCP {0};branch=z9hG4bKold", "SIP / 2.0 / UDP  {0} ;branch=x",
    "SIP/2.0/UDP x{0}, SIP/2.0/UDP {0}", "SIP/2.0/UDP other,\r\n SIP/2.0/UDP {0}",
    "SIP/2.0/UDP other ,SIP/2.0/TLS {0};received=1.2.3.4"])
def test_request_that_came_through_here(scene, attacked, via):  # noqa: F811
    """P9: A Via of the relay's own below the top, in every writing: 482."""
    own = f"{peers.ADDRESS}:{attacked.udp}"
    top = f"SIP/2.0/UDP 127.0.0.2:5099;branch=z9hG4bKl{next(numbers)};rport"
    with Counting(attacked, "loops_refused_total"):
        assert scene.trunk.ask(sip(Via=[top, via.format(own)])) == 482


def test_merged_request(scene, attacked):  # noqa: F811
    """P10: The same request by two ways (other branch): relayed once, 482 for the second."""
    number = next(numbers)
    fixed = dict(From=f"<sip:bob@{TENANT}>;tag=m{number}", Call_ID=f"merged{number}",
                 body=f"merged {number}")
    assert scene.trunk.ask(sip(**fixed)) in (200, 202)
    assert scene.trunk.ask(sip(**fixed)) == 482


def test_retransmission_and_replay(scene, attacked):  # noqa: F811
    """P11: The same datagram again and again: one stanza, the same answer each time."""
    text = f"once {next(numbers)}"
    data = sip(body=text)
    first = scene.trunk.ask(data)
    assert {scene.trunk.ask(data) for _ in range(20)} == {first}
    scene.to_xmpp("marker")
    assert not any(text in one for one in list(scene.partner.stanzas.queue))
    assert attacked.count("sip_retransmissions_received_total") >= 20


FORGED = {
    "unknown-branch": "z9hG4bKnever",
    "branch-of-the-form": "z9hG4bKp01" + "0" * 16,
    "foreign-shard": "z9hG4bKpff" + "0" * 16,
    "empty-branch": "z9hG4bK",
    "long-branch": "z9hG4bKp" + "f" * 4000,
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_response(scene, attacked, name):  # noqa: F811
    """P12: Responses to requests that the relay never sent: dropped and counted."""
    data = (f"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP {peers.ADDRESS}:{attacked.udp};branch="
            f"{FORGED[name]}\r\nFrom: <sip:a@b>;tag=x\r\nTo: <sip:c@d>;tag=y\r\nCall-ID: x\r\n"
            "CSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n").encode()
    with Counting(attacked, "sip_responses_received_total"):
        scene.trunk.send(data)
    while not scene.trunk.responses.empty():
        scene.trunk.responses.get()


def test_acks_are_never_answered(scene, attacked):  # noqa: F811
    """P13: ACK for nothing, right and wrong ones: no answer, for answers to ACK make circles."""
    for data in (sip(method="ACK"), sip(method="ACK", Max_Forwards="0"),
                 sip(method="ACK", sender="sip:eve@evil.example")):
        with Counting(attacked, "sip_requests_received_total"):
            scene.trunk.send(data)
    assert scene.trunk.ask(sip(method="OPTIONS")) == 200
    assert scene.trunk.responses.empty()


def test_answers_do_not_amplify(scene, attacked):  # noqa: F811
    """P14: An error answer to a forged source is no weapon: it is hardly longer than the request,
    and one request has one answer."""
    stranger = Datagrams(STRANGER_HOST, 0, attacked.udp)
    for data in (sip(), sip(body="x" * 500), sip(Require="a" * 1000)):
        stranger.send(data)
        answer = stranger.response()
        assert status_of(answer) == 403
        assert len(answer) < len(data) + 100
        assert b"\r\nServer: Passerelle" in answer, "blanks for a stranger"
    scene.to_xmpp("a moment passes")
    assert stranger.responses.empty()
    stranger.close()


def test_expensive_headers(attacked):  # noqa: F811
    """P15: Hundreds of messages of 60 KiB whose headers are many, long, folded or full of
    separators: what would cost a quadratic parser minutes costs the relay no second."""
    bombs = [sip(X=["y"] * 15000, transport="TCP"), sip(Accept="a," * 30000, transport="TCP"),
             sip(Via=["SIP/2.0/TCP h;branch=z9hG4bKx"] * 1500, transport="TCP"),
             sip(Subject="x" * 60000, transport="TCP"),
             sip(Subject="x\r\n " * 15000, transport="TCP"),
             sip(Contact=";a" * 30000, transport="TCP")]
    before = attacked.cpu_s()
    for _ in range(40):
        for data in bombs:
            with Connection(attacked.tcp) as connection:
                connection.send_quietly(data)
                with contextlib.suppress(OSError):  # the relay may have closed already
                    connection.socket.shutdown(1)
                connection.rest()
    # 240 messages: 10 ms each would be 2.4 s; sofia-sip alone would take seconds for one.
    assert attacked.cpu_s() - before < 2.4
