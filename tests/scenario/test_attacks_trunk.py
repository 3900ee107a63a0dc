# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may speak for whom on the SIP side: source addresses, TLS identities, From; and what a
partner or a trunk may smuggle from one side to the other."""
import queue
import re
import socket

import pytest

from attack_certificates import CLIENT, DAY, Authority, dns, plain_context, uri
from attack_kit import (OTHER_TENANT, OTHER_TRUNK_HOST, PARTNER, PATIENCE_S, POOL,  # noqa: F401
                        STRANGER_HOST, TENANT, TLS_TENANT, TRUNK_HOST, Closed, Connection,
                        Counting, Datagrams, attacked, message, numbers, scene, sip, status_of)

FORBIDDEN = "sip_requests_forbidden_total"


@pytest.mark.parametrize("sender", [
    f"sip:bob@{OTHER_TENANT}", "sip:bob@evil.example", f"sip:bob@sub.{TENANT}",
    f"sip:bob@not{TENANT}", f"sip:bob@{TENANT}.evil.example", f"sip:{TENANT}@evil.example",
    f"sip:bob@evil.example;x=@{TENANT}", f"sip:bob%40{TENANT}@evil.example",
    "sip:bob@127.0.0.2", f"sip:bob@{TLS_TENANT}", f"sip:bob@{PARTNER}"])
def test_from_of_another_domain(scene, attacked, sender):  # noqa: F811
    """Q1: A trunk sends in the name of a domain that is not its tenant's: 403."""
    with Counting(attacked, "sip_requests_rejected_total"):
        assert scene.trunk.ask(sip(sender=sender)) in (403, 400 if ";" in sender else 403)
    with Connection(attacked.tcp) as connection:
        status = connection.ask(sip(sender=sender, transport="TCP"))
        assert status in (403, 400 if ";" in sender else 403)


@pytest.mark.parametrize("sender", [
    f'"Bob <sip:bob@{OTHER_TENANT}>" <sip:bob@evil.example>',
    f"sip:bob@evil.example?x=<sip:bob@{TENANT}>", f"<sip:bob@evil.example>;x=<sip:bob@{TENANT}>",
    f'"\\" <sip:bob@{TENANT}>" <sip:bob@evil.example>'])
def test_from_that_reads_in_two_ways(scene, attacked, sender):  # noqa: F811
    """Q2: A From that a careless reader takes for the tenant's: 400 or 403."""
    assert scene.trunk.ask(sip(From=f"{sender};tag=x")) in (400, 403)


def test_trunk_of_another_tenant(scene, attacked):  # noqa: F811
    """Q3: A request with a tenant's From from the address of another tenant's trunk, over UDP and
    TCP: 403; from its own it is served."""
    spoof = sip(sender=f"sip:bob@{TENANT}")
    with Counting(attacked, FORBIDDEN):
        assert scene.other_trunk.ask(spoof) == 403
    with Connection(attacked.tcp, OTHER_TRUNK_HOST) as connection:
        assert connection.ask(sip(transport="TCP")) == 403
        own = sip(sender=f"sip:bob@{OTHER_TENANT}", transport="TCP")
        assert connection.ask(own) in (200, 202)


@pytest.mark.parametrize("method", ["MESSAGE", "OPTIONS", "REGISTER", "INVITE", "PWN"])
def test_stranger(attacked, method):  # noqa: F811
    """Q4: An address that no trunk has: 403 over UDP whatever is asked, and no TCP connection."""
    stranger = Datagrams(STRANGER_HOST, 0, attacked.udp)
    with Counting(attacked, FORBIDDEN):
        assert stranger.ask(sip(method=method)) == 403
    stranger.close()
    with Counting(attacked, "sip_connections_refused_total"):
        with Connection(attacked.tcp, STRANGER_HOST) as connection:
            connection.send_quietly(sip(method=method, transport="TCP"))
            assert connection.rest() == b""


def test_tenants_are_no_partners(scene, attacked):  # noqa: F811
    """Q5: A message from one tenant to another one, or to itself: 404, no XMPP stream."""
    opened = attacked.count("xmpp_links_opened_total")
    for name in (OTHER_TENANT, TENANT, TENANT.upper(), f"{TENANT}."):
        assert scene.trunk.ask(sip(uri=f"sip:x@{name}")) == 404
    assert attacked.count("xmpp_links_opened_total") == opened


# ---- TLS ----

@pytest.fixture
def tls(attacked):  # noqa: F811
    """tls(credential) is a SIP connection over TLS; None: without a certificate."""
    opened = []

    def connect(credential, source=TRUNK_HOST):
        context = plain_context() if credential is None else credential.client()
        opened.append(Connection(attacked.tls, source, context, TLS_TENANT))
        return opened[-1]
    yield connect
    for one in opened:
        one.close()


def over_tls(sender=f"sip:bob@{TLS_TENANT}"):
    return sip(sender=sender, transport="TLS")


def test_trunk_proves_itself(attacked, tls):  # noqa: F811
    """Q6: The honest trunk over TLS, from any address; the names of RFC 5922 §7.1."""
    for names in ([dns(POOL)], [uri(f"sip:{POOL}")], [dns("x.example"), dns(POOL.upper())]):
        credential = attacked.authority.issue("honest-pool", names)
        assert tls(credential, STRANGER_HOST).ask(over_tls()) in (200, 202)


PRETENDERS = {
    "no-certificate": None,
    "another-name": dict(names=[dns("pool.evil.example")]),
    "nul": dict(names=[dns(f"{POOL}\0.evil.example")]),
    "wildcard": dict(names=[dns("*.t.example")]),
    "tenant-domain": dict(names=[dns(TLS_TENANT)]),
    "uri-decides": dict(names=[uri("sip:pool.evil.example"), dns(POOL)]),
    "uri-with-user": dict(names=[uri(f"sip:x@{POOL}")]),
    "uri-sips": dict(names=[uri(f"sips:{POOL}")]),
    "common-name": dict(names=[], common_name=POOL),
    "expired": dict(names=[dns(POOL)], age=9 * DAY, life=DAY),
    "self-signed": dict(names=[dns(POOL)], self_signed=True),
    "purpose-client-only": dict(names=[dns(POOL)], purposes=[CLIENT]),
}


@pytest.mark.parametrize("name", PRETENDERS)
def test_trunk_that_proves_nothing(attacked, tls, name):  # noqa: F811
    """Q7: TLS with a certificate that does not prove the trunk's identity: 403, from the trunk's
    own address too."""
    given = PRETENDERS[name]
    credential = given and attacked.authority.issue(f"pretender-{name}", **given)
    connection = tls(credential)
    with Counting(attacked, FORBIDDEN):
        assert connection.ask(over_tls()) == 403
    assert connection.ask(sip(method="OPTIONS", transport="TLS")) == 403


def test_trunk_of_an_attackers_authority(attacked, tls, tmp_path):  # noqa: F811
    """Q8: The right name by an authority that nobody trusts, sent along; and again without."""
    evil = Authority(tmp_path, "evil")
    for chain in ([evil.own.certificate], []):
        credential = evil.issue("pool", [dns(POOL)], chain=chain)
        assert tls(credential).ask(over_tls()) == 403


def test_proved_trunk_speaks_for_others(attacked, tls):  # noqa: F811
    """Q9: A trunk that has proved itself over TLS sends for tenants that it does not carry, also
    for one whose trunk has the same address."""
    connection = tls(attacked.pool)
    for name in (TENANT, OTHER_TENANT, "evil.example"):
        assert connection.ask(over_tls(f"sip:bob@{name}")) == 403
    assert connection.ask(over_tls()) in (200, 202)


def test_tls_trunk_without_tls(scene, attacked):  # noqa: F811
    """Q10: A tenant's trunk is to prove itself over TLS; who only has its address, over UDP or
    TCP, is nobody."""
    assert scene.trunk.ask(sip(sender=f"sip:bob@{TLS_TENANT}")) == 403
    with Connection(attacked.tcp, TRUNK_HOST) as connection:
        assert connection.ask(sip(sender=f"sip:bob@{TLS_TENANT}", transport="TCP")) == 403


# ---- from one side to the other ----

HOSTILE_TEXT = "x&#13;&#10;X-Evil: yes&#13;&#10;&#13;&#10;MESSAGE sip:a@b SIP/2.0"
INSIDES = {
    "subject": f"<subject>{HOSTILE_TEXT}</subject>",
    "subject-line-feed": "<subject>a&#10;X-Evil: yes</subject>",
    "thread": f"<thread>{HOSTILE_TEXT}</thread>",
    "thread-with-blank": "<thread>a b&#9;c</thread>",
    "language": f"<body xml:lang='{HOSTILE_TEXT}'>other</body>",
    "delay": f"<delay xmlns='urn:xmpp:delay' stamp='{HOSTILE_TEXT}'/>",
    "long-subject": f"<subject>{'s' * 4000}</subject>",
    "long-thread": f"<thread>{'t' * 4000}</thread>",
}


def header_lines(request):
    return request.split(b"\r\n\r\n", 1)[0].decode().split("\r\n")[1:]


def clean(request):
    """One request, with the headers that the relay writes and no others."""
    known = {"via", "max-forwards", "from", "to", "call-id", "cseq", "user-agent", "subject",
             "content-language", "content-type", "content-length", "date"}
    head, _, body = request.partition(b"\r\n\r\n")
    assert b"\r" not in head.replace(b"\r\n", b"") and b"\n" not in head.replace(b"\r\n", b"")
    names = [line.split(":")[0].lower() for line in header_lines(request)]
    assert set(names) <= known, names
    assert len(set(names)) == len(names), names
    length = int(re.search(rb"Content-Length: (\d+)", head).group(1))
    assert len(body) == length
    return True


def relayed(scene, text):
    while True:
        request = scene.trunk.requests.get(timeout=PATIENCE_S)
        if text.encode() in request:
            return request


@pytest.mark.parametrize("name", INSIDES)
def test_stanza_that_writes_headers(scene, attacked, name):  # noqa: F811
    """Q11: Line ends and whole headers in the parts of a stanza that become SIP headers."""
    text = f"marker {next(numbers)}"
    with attacked.trusted() as stream:
        stream.send(message(text, inside=INSIDES[name]))
        assert clean(relayed(scene, text))


@pytest.mark.parametrize("body", [
    "a&#13;&#10;&#13;&#10;MESSAGE sip:x@y SIP/2.0&#13;&#10;Via: z", "&#10;&#10;&#10;", "&lt;xml/&gt;",
    "%0d%0aX-Evil: yes", "&#x2028;&#x85;&#x202e;"])
def test_body_that_looks_like_sip(scene, attacked, body):  # noqa: F811
    """Q12: A body that looks like the rest of a SIP message stays a body of the right length."""
    text = f"marker {next(numbers)}"
    with attacked.trusted() as stream:
        stream.send(message(text + body))
        assert clean(relayed(scene, text))


@pytest.mark.parametrize("local", [
    "x\\20y", "x\\22y", "x\\26y", "x\\2fy", "x\\3ay", "x\\3cy\\3e", "x\\40evil.example", "x\\5cy",
    "x%0d%0ay", "x%00y", "x;y=z", "x?y=z", "x,y", "x\\0d\\0ay", "x\\0ay", "ü", "x" * 900, "x#y",
    "x%40evil.example", "x(y)", "x[y]", "x{y}", "x^y", "x`y", "x|y", "+1555", "x=y$z"])
def test_address_that_escapes(scene, attacked, local):  # noqa: F811
    """Q13: Local parts with escapes of XEP-0106, percent escapes and SIP's own marks, as sender
    and as recipient: one user in the URI of the right domain, or an error; never another header,
    host or parameter."""
    text = f"marker {next(numbers)}"
    with attacked.trusted() as stream:
        stream.send(message(text, sender=f"{local}@{PARTNER}", to=f"{local}@{TENANT}"))
        try:
            stream.barrier()
        except Closed as closed:
            assert "<improper-addressing " in str(closed)
            return
        request = relayed_or_error(scene, text)
    if request is None:
        return
    assert clean(request)
    start = request.split(b"\r\n", 1)[0].decode()
    assert re.fullmatch(rf"MESSAGE sip:[^\s@<>\"]+@{TENANT} SIP/2\.0", start), start
    sender = [line for line in header_lines(request) if line.startswith("From:")][0]
    assert re.match(rf"From: <sip:[^\s@<>\"]+@{PARTNER}(;gr=[^>]*)?>;tag=", sender), sender


def relayed_or_error(scene, text):
    """The request, or None when nothing came: a later message is there."""
    marker = f"after {next(numbers)}"
    scene.line.send(message(marker))
    while True:
        request = scene.trunk.requests.get(timeout=PATIENCE_S)
        if text.encode() in request:
            return request
        if marker.encode() in request:
            return None


@pytest.mark.parametrize("user", [
    "x%0d%0aX-Evil:%20yes", "x%00y", "x%40evil.example", "x%2fres", "x%3c%3e", "x%22%27", "x%20y",
    "x%5c40y", "x%c3", "x%ed%a0%80", "x%c0%af", "%", "x%", "x%4", "x%zz", "x\\40y", "x%E2%80%AE",
    "x" * 1500, "%20", "x%26amp;"])
def test_sip_user_that_escapes(scene, attacked, user):  # noqa: F811
    """Q14: Percent escapes in From and Request-URI that decode to line ends, NUL, '@', '/', marks
    of XML or bad UTF-8: one well-formed stanza between the right domains, or an error."""
    text = f"marker {next(numbers)}"
    status = scene.trunk.ask(sip(uri=f"sip:{user}@{PARTNER}", sender=f"sip:{user}@{TENANT}",
                                 body=text))
    if status >= 300:
        assert status in (400, 403, 404, 414), status
        return
    while text not in (stanza := scene.partner.stanzas.get(timeout=PATIENCE_S)):
        pass
    found = re.match(r"<message[^>]* from='([^'@/<>\"]*)@([^'@/]*)' to='([^'@/<>\"]*)@([^'@/]*)'",
                     stanza[stanza.index("<message"):])
    assert found and (found.group(2), found.group(4)) == (TENANT, PARTNER), stanza


CPIM = ("From: <im:eve@evil.example>\r\nTo: <im:juliet@{0}>\r\nDateTime: x\r\nSubject: s\r\n\r\n"
        "Content-Type: text/plain\r\n\r\n{1}")


def test_cpim_of_another_sender(scene, attacked):  # noqa: F811
    """Q15: A CPIM body names another sender and recipient than the request: the stanza is from
    and to whom the request names."""
    text = f"marker {next(numbers)}"
    status = scene.trunk.ask(sip(body=CPIM.format(PARTNER, text), Content_Type="message/cpim"))
    if status < 300:
        while text not in (stanza := scene.partner.stanzas.get(timeout=PATIENCE_S)):
            pass
        assert "evil.example" not in stanza and f"from='bob@{TENANT}" in stanza
    else:
        assert status in (400, 403, 415)


@pytest.mark.parametrize("body", [
    "</body><x/>", "<![CDATA[", "]]>", "&amp;&#0;", "<!-- -->", "<stream:stream>", "'\"><y a='"])
def test_body_that_looks_like_xml(scene, attacked, body):  # noqa: F811
    """Q16: A SIP body of markup arrives as the text that it is, in one stanza."""
    text = f"marker {next(numbers)}"
    assert scene.trunk.ask(sip(body=text + body)) in (200, 202)
    while text not in (stanza := scene.partner.stanzas.get(timeout=PATIENCE_S)):
        pass
    inside = re.search(r"<body[^>]*>(.*?)</body>", stanza, re.S).group(1)
    assert "<" not in inside
    plain = inside.removeprefix(text).replace("&lt;", "<").replace("&gt;", ">").replace(
        "&quot;", '"').replace("&apos;", "'").replace("&amp;", "&")
    assert plain == body


def test_errors_are_not_bounced(scene, attacked):  # noqa: F811
    """Q17: Error stanzas and answers that nobody asked for end here: an error about an error, and
    the two sides would never come to rest."""
    sent = attacked.count("xmpp_error_stanzas_sent_total")
    with attacked.trusted() as stream:
        for to in (f"bob@{TENANT}", TENANT, f"nobody@{TENANT}/x"):
            stream.send(message("bounce", to=to, kind="error",
                                inside="<error type='cancel'><item-not-found xmlns='urn:ietf:"
                                       "params:xml:ns:xmpp-stanzas'/></error>"))
            for kind in ("error", "result"):
                stream.send(f"<iq type='{kind}' from='x@{PARTNER}' to='{to}' id='bounce'/>")
        stream.barrier()
    scene.to_sip(f"after {next(numbers)}")
    assert attacked.count("xmpp_error_stanzas_sent_total") == sent
    assert not any(b"bounce" in one for one in list(scene.trunk.requests.queue))


def test_refused_message_is_answered_once(scene, attacked):  # noqa: F811
    """Q18: A message that SIP refuses costs its sender one error stanza, however often the trunk
    repeats its answer."""
    text = f"refused {next(numbers)}"
    scene.trunk.status = "404 Not Found\r\nX: y"
    try:
        scene.line.send(message("x", stanza_id=text))
        answers = 0
        while answers == 0:
            stanza = scene.partner.stanzas.get(timeout=PATIENCE_S)
            answers += f"id='{text}'" in stanza and "<item-not-found " in stanza
    finally:
        scene.trunk.status = "200 OK"
    scene.to_xmpp(f"after {next(numbers)}")
    assert not any(text in one for one in list(scene.partner.stanzas.queue))
