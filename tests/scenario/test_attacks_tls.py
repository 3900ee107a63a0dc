# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS and the steps around it: downgrades, names, resumption, what is sent too early; and hostile
servers that the relay calls."""
import contextlib
import ssl
import warnings

import pytest

from attack_certificates import Authority, dns, plain_context
from attack_kit import (HOSTILE, NS_SASL, NS_TLS, OTHER_TENANT, PARTNER, PATIENCE_S, STRICT,  # noqa: F401
                        TENANT, TLS_TENANT, Connection, Counting, Server, Stream, attacked,
                        header, message, numbers, scene, sip)

OLD = [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1]


def weak(credential, **options):
    """A client that would take anything."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context = credential.client(**options)
    return context


WEAK = {
    "tls-1.0": dict(minimum=OLD[0], maximum=OLD[0], ciphers="ALL:@SECLEVEL=0"),
    "tls-1.1": dict(minimum=OLD[1], maximum=OLD[1], ciphers="ALL:@SECLEVEL=0"),
    "cbc": dict(maximum=ssl.TLSVersion.TLSv1_2, ciphers="ECDHE-ECDSA-AES128-SHA256:"
                "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA256:AES128-SHA:@SECLEVEL=0"),
    "no-forward-secrecy": dict(maximum=ssl.TLSVersion.TLSv1_2,
                               ciphers="AES128-GCM-SHA256:AES256-GCM-SHA384:@SECLEVEL=0"),
    "no-encryption": dict(maximum=ssl.TLSVersion.TLSv1_2, ciphers="eNULL:@SECLEVEL=0"),
    "anonymous": dict(maximum=ssl.TLSVersion.TLSv1_2, ciphers="aNULL:@SECLEVEL=0"),
}


@pytest.mark.parametrize("name", WEAK)
@pytest.mark.parametrize("where", ["starttls", "direct", "sip"])
def test_weak_tls(attacked, name, where):  # noqa: F811
    """T1: Clients that offer nothing but old versions, CBC, no forward secrecy, no encryption or
    no authentication: the handshake fails and is counted, at each of the three doors."""
    context = weak(attacked.good, **WEAK[name])
    with Counting(attacked, "tls_failures_total"), pytest.raises((ssl.SSLError, OSError)):
        if where == "sip":
            Connection(attacked.tls, context=context, name=TLS_TENANT)
        elif where == "direct":
            Stream(attacked.direct).wrap(context)
        else:
            attacked.stream().starttls(context)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_good_tls(attacked, version):  # noqa: F811
    """T2: TLS 1.2 and 1.3 with AEAD are good; renegotiation is not offered."""
    with attacked.stream() as stream:
        stream.starttls(attacked.good.client(minimum=version, maximum=version))
        assert stream.socket.cipher()[0].find("GCM") > 0 or "CHACHA" in stream.socket.cipher()[0]
        stream.external()


@pytest.mark.parametrize("name", ["evil.example", "a.example.evil.example", "a", "x" * 60])
def test_name_that_is_not_served(attacked, name):  # noqa: F811
    """T3: SNI of a domain that is not served: the relay's own certificate is shown, and the
    stream header decides what is served."""
    with attacked.stream() as stream:
        stream.open()
        stream.send(f"<starttls xmlns='{NS_TLS}'/>")
        stream.until("/>")
        try:
            stream.wrap(plain_context(), name)
        except ssl.SSLError:
            return
        stream.send(header("evil.example"))
        assert stream.error() == "host-unknown"


def test_name_of_another_tenant(attacked):  # noqa: F811
    """T4: SNI of one tenant, stream header of another: what counts is the header, and what is
    proved is proved for its pair only."""
    with attacked.stream() as stream:
        stream.starttls(attacked.good.client(), TENANT, name=OTHER_TENANT)
        stream.external()
        stream.send(message("cross", to=f"bob@{OTHER_TENANT}"))
        assert stream.error() == "host-unknown"


def test_header_names_another_domain_under_tls(attacked):  # noqa: F811
    """T5: `to` or `from` changes between the header in clear and the one under TLS."""
    for to, sender in ((OTHER_TENANT, PARTNER), (TENANT, "evil.example")):
        with attacked.stream() as stream:
            stream.open(TENANT, PARTNER)
            stream.send(f"<starttls xmlns='{NS_TLS}'/>")
            stream.until("/>")
            stream.wrap(attacked.good.client())
            stream.send(header(to, sender))
            assert stream.error() == "not-authorized"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_session_is_not_resumed(attacked, version):  # noqa: F811
    """T6: A TLS session of one tenant, taken to another one's name and by a peer without its
    certificate: a full handshake, and nothing is proved."""
    context = attacked.good.client(maximum=version)
    first = Stream(attacked.direct)
    first.wrap(context, TENANT)
    first.open()
    session = first.socket.session
    first.close()
    second = Stream(attacked.direct)
    other = ssl.SSLContext.wrap_socket
    second.socket = other(context, second.socket, server_hostname=OTHER_TENANT, session=session)
    assert not second.socket.session_reused
    second.close()


@pytest.mark.parametrize("behind", [
    header(), "<message/>", message("early"), "\0",
    f"<auth xmlns='{NS_SASL}' mechanism='EXTERNAL'>=</auth>"])
def test_plaintext_behind_starttls(attacked, behind):  # noqa: F811
    """T7: Bytes in clear in one packet with <starttls/>, to be read as if they had come under
    TLS: the connection ends; none of them is parsed."""
    before = attacked.count("xmpp_stanzas_received_total")
    with attacked.stream() as stream:
        stream.open()
        stream.send_quietly(f"<starttls xmlns='{NS_TLS}'/>{behind}")
        text = stream.rest()
        assert condition_free(text)
    assert attacked.logged("event=session.close", "plaintext behind STARTTLS")
    assert attacked.count("xmpp_stanzas_received_total") == before


def condition_free(text):
    return "<stream:features" not in text and "<success" not in text


EARLY = {
    "stanza": (message("early"), "not-authorized"),
    "iq": (f"<iq type='get' from='x@{PARTNER}' to='{TENANT}' id='1'/>", "not-authorized"),
    "sasl": (f"<auth xmlns='{NS_SASL}' mechanism='EXTERNAL'>=</auth>" * 2, "not-authorized"),
    "dialback": (f"<db:result from='{PARTNER}' to='{TENANT}'>k</db:result>", "policy-violation"),
    "verify": (f"<db:verify from='{PARTNER}' to='{TENANT}' id='x'>k</db:verify>",
               "policy-violation"),
    "features": ("<stream:features/>", "unsupported-stanza-type"),
    "success": (f"<success xmlns='{NS_SASL}'/>", "unsupported-stanza-type"),
    "proceed": (f"<proceed xmlns='{NS_TLS}'/>", "unsupported-stanza-type"),
}


@pytest.mark.parametrize("name", EARLY)
def test_too_early(attacked, name):  # noqa: F811
    """T8: Stanzas, SASL, dialback and a server's own elements in clear, before TLS."""
    text, wanted = EARLY[name]
    with attacked.stream() as stream:
        stream.open()
        stream.send_quietly(text)
        assert stream.error() == wanted


@pytest.mark.parametrize("name", ["stanza", "features", "success", "proceed"])
def test_too_early_under_tls(attacked, name):  # noqa: F811
    """T9: The same under TLS, before anything is proved."""
    text, wanted = EARLY[name]
    with attacked.stream() as stream:
        stream.starttls(attacked.good.client())
        stream.send_quietly(text)
        assert stream.error() == wanted


def test_starttls_again(attacked):  # noqa: F811
    """T10: STARTTLS under TLS, before and after authentication: failure, and the stream ends."""
    for proved in (False, True):
        with attacked.stream() as stream:
            stream.starttls(attacked.good.client())
            if proved:
                stream.external()
            stream.send(f"<starttls xmlns='{NS_TLS}'/>")
            assert f"<failure xmlns='{NS_TLS}'/>" in stream.rest()


def test_compression(attacked):  # noqa: F811
    """T11: <compress/> (the decompression bomb's door) is never offered and refused."""
    with attacked.trusted() as stream:
        stream.send("<compress xmlns='http://jabber.org/protocol/compress'>"
                    "<method>zlib</method></compress>")
        assert "<unsupported-method/>" in stream.until("</failure>")
        stream.barrier()


def test_header_without_version_or_names(attacked):  # noqa: F811
    """T12: No version (before RFC 3920), no `to`, a `to` that is not served or no domain."""
    for text, wanted in (
            (header().replace(" version='1.0'>", ">"), "policy-violation"),
            (header(to=None), "improper-addressing"), (header(to=""), "improper-addressing"),
            (header(to="evil.example"), "host-unknown"),
            (header(to="a b"), "improper-addressing"), (header(to="x" * 3000), "improper-addressing"),
            (header(sender="a b"), "improper-addressing"),
            (header(to=f"bob@{TENANT}"), "improper-addressing")):
        with attacked.stream() as stream:
            stream.send(text)
            assert stream.error() == wanted, text


# ---- the relay calls ----

FEATURES = {
    "no-starttls": "<stream:features/>",
    "sasl-in-clear": f"<stream:features><mechanisms xmlns='{NS_SASL}'><mechanism>EXTERNAL"
                     "</mechanism></mechanisms></stream:features>",
    "dialback-in-clear": "<stream:features><dialback xmlns='urn:xmpp:features:dialback'/>"
                         "</stream:features>",
    "starttls-refused": f"<stream:features><starttls xmlns='{NS_TLS}'/></stream:features>"
                        f"<failure xmlns='{NS_TLS}'/>",
    "plaintext-behind-proceed": f"<stream:features><starttls xmlns='{NS_TLS}'/></stream:features>"
                                f"<proceed xmlns='{NS_TLS}'/><stream:features/>",
    "success-in-clear": f"<success xmlns='{NS_SASL}'/>",
    "valid-in-clear": "<db:result from='{0}' to='{1}' type='valid'/></stream:stream>",
    "stanza": "<message from='x@{0}' to='y@{1}'><body>spoof</body></message>",
    "doctype": "<!DOCTYPE x>",
    "error": "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
             "</stream:error>",
    "endless-features": "<stream:features>" + "<x xmlns='urn:x'/>" * 30000,
    "end": "</stream:stream>",
}


class InClear(Server):
    """Says in clear what it was given and keeps what the relay sends."""

    def __init__(self, relay, domain, text):
        self.text = text
        super().__init__(relay.second, relay.good, domain)

    def serve(self, stream):
        local = self.greet(stream, None)
        stream.send_quietly(self.text.format(self.domain, local))
        self.stanzas.put(stream.rest())


@pytest.mark.parametrize("number, name", list(enumerate(FEATURES, 10)))
def test_called_server_wants_it_in_clear(scene, attacked, number, name):  # noqa: F811
    """T13: A server that the relay calls offers no STARTTLS, takes it back, or sends what only
    belongs under TLS: no message and no key is sent; the SIP sender gets an error."""
    with contextlib.closing(InClear(attacked, HOSTILE[number], FEATURES[name])) as server:
        status = scene.trunk.ask(sip(uri=f"sip:x@{server.domain}", body="secret"))
        text = server.stanzas.get(timeout=PATIENCE_S)
    assert status >= 400
    assert "secret" not in text and "<db:" not in text and "<auth" not in text


CERTIFICATES = {
    "another-name": lambda relay: relay.authority.issue("wrong", [dns("evil.example")]),
    "self-signed": lambda relay: relay.authority.issue("self", [dns("x")], self_signed=True),
}


@pytest.mark.parametrize("number, name", list(enumerate(CERTIFICATES, 25)))
def test_called_server_offers_external_only(scene, attacked, number, name):  # noqa: F811
    """T14: The called server's certificate is not its domain's and it wants EXTERNAL: without
    dialback there is no message."""
    class Strict(Server):
        def serve(self, stream):
            self.secure(stream)
            stream.until("version='1.0' xml:lang='en'>")
            stream.send("<stream:stream xmlns='jabber:server' version='1.0' id='x' xmlns:stream="
                        f"'http://etherx.jabber.org/streams' from='{self.domain}'>"
                        "<stream:features/>")
            self.stanzas.put(stream.rest())
    credential = CERTIFICATES[name](attacked)
    with contextlib.closing(Strict(attacked.second, credential, HOSTILE[number])) as server:
        status = scene.trunk.ask(sip(uri=f"sip:x@{server.domain}", body="secret"))
        text = server.stanzas.get(timeout=PATIENCE_S)
    assert status >= 400 and "secret" not in text and "<db:" not in text


def test_called_server_sends_stanzas(scene, attacked):  # noqa: F811
    """T15: The called server sends stanzas on the relay's own stream, which is one way: not
    authorised, nothing reaches SIP."""
    server = Server(attacked.second, attacked.good, HOSTILE[28])

    def collect(stream):
        server.stanzas.put(stream.until("</message>"))
        stream.send(message("backwards", sender=f"x@{server.domain}"))
        server.stanzas.put(stream.rest())
    server.collect = collect
    scene.trunk.send(sip(uri=f"sip:x@{server.domain}", body="forwards"))
    assert "forwards" in server.stanzas.get(timeout=PATIENCE_S)
    assert "<not-authorized " in server.stanzas.get(timeout=PATIENCE_S)
    server.close()
    scene.to_sip(f"after {next(numbers)}")
    assert not any(b"backwards" in one for one in list(scene.trunk.requests.queue))


def test_called_server_brings_its_own_authority(scene, attacked, tmp_path):  # noqa: F811
    """T16: Called servers show chains to an authority of their own; the relay trusts none of it,
    then or later: a partner that must prove itself gets nothing, the honest one does."""
    evil = Authority(tmp_path, "evil")
    chain = [evil.own.certificate]
    honest = attacked.authority.issue("honest", [dns(STRICT[3])])
    for name, credential in zip(STRICT, (
            evil.issue("with", [dns(STRICT[0])], chain=chain), evil.issue("without", [dns(STRICT[1])]),
            attacked.authority.issue("strange", [dns("x.example")]), honest)):
        with contextlib.closing(Server(attacked.second, credential, name)) as server:
            status = scene.trunk.ask(sip(uri=f"sip:x@{name}", body="secret"))
            assert (status == 202) == (credential is honest)
            assert server.stanzas.empty() == (credential is not honest)
            assert credential is honest or attacked.logged(
                "event=session.close", f"remote={name}", "its certificate is refused")
