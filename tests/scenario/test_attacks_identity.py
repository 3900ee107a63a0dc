# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may speak for whom on the XMPP side: certificates, SASL EXTERNAL and the addresses of
stanzas. Dialback has a file of its own."""
import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.x509 import NameConstraints

from attack_certificates import (CLIENT, DAY, MAIL, SERVER, Authority, dns, plain_context, srv_name,
                                 uri, xmpp_address)
from attack_kit import (OTHER_TENANT, PARTNER, PATIENCE_S, TENANT, Counting,  # noqa: F401
                        attacked, base64_of, header, message, numbers, scene)

EXTERNAL = "<mechanism>EXTERNAL</mechanism>"
VICTIM = "victim.example"

CROOKED = {
    "none-of-its-names": dict(names=[dns("other.example")]),
    "no-names": dict(names=[]),
    "common-name-only": dict(names=[], common_name=VICTIM),
    "common-name-beside-another-name": dict(names=[dns("other.example")], common_name=VICTIM),
    "nul-behind-the-name": dict(names=[dns(f"{VICTIM}\0.evil.example")]),
    "nul-before-the-name": dict(names=[dns(f"evil.example\0{VICTIM}")]),
    "nul-in-xmppAddr": dict(names=[xmpp_address(f"{VICTIM}\0.evil.example")]),
    "blank-behind-the-name": dict(names=[dns(f"{VICTIM} ")]),
    "partial-wildcard": dict(names=[dns("vic*.example")]),
    "wildcard-inside": dict(names=[dns("v*m.example")]),
    "wildcard-in-the-middle": dict(names=[dns("*.*.example"), dns("victim.*")]),
    "wildcard-for-all": dict(names=[dns("*"), dns("*.*"), dns("**.example")]),
    "wildcard-of-its-subdomains": dict(names=[dns(f"*.{VICTIM}")]),
    "wildcard-in-xmppAddr": dict(names=[xmpp_address("*.example")]),
    "subdomain": dict(names=[dns(f"im.{VICTIM}")]),
    "parent": dict(names=[dns("example")]),
    "suffix": dict(names=[dns(f"not{VICTIM}")]),
    "name-as-a-uri": dict(names=[uri(f"sip:{VICTIM}"), uri(f"xmpp:{VICTIM}")]),
    "user-in-xmppAddr": dict(names=[xmpp_address(f"juliet@{VICTIM}")]),
    "resource-in-xmppAddr": dict(names=[xmpp_address(f"{VICTIM}/x")]),
    "srv-name-of-another-service": dict(names=[srv_name(f"_xmpp-client.{VICTIM}"),
                                               srv_name(f"_imap.{VICTIM}")]),
    "expired": dict(names=[dns(VICTIM)], age=10 * DAY, life=DAY),
    "not-yet-valid": dict(names=[dns(VICTIM)], age=-2 * DAY),
    "self-signed": dict(names=[dns(VICTIM)], self_signed=True),
    "signed-by-sha1": dict(names=[dns(VICTIM)], digest=SHA1()),
    "key-of-1024-bits": dict(names=[dns(VICTIM)], rsa_bits=1024),
    "mail-purpose-only": dict(names=[dns(VICTIM)], purposes=(MAIL,)),
}

HONEST = {
    "domain": dict(names=[dns(VICTIM)]),
    "domain-in-capitals": dict(names=[dns("VICTIM.Example")]),
    "wildcard": dict(names=[dns("*.example")]),
    "server-purpose-only": dict(names=[dns(VICTIM)], purposes=(SERVER,)),
    "client-purpose-only": dict(names=[dns(VICTIM)], purposes=(CLIENT,)),
    "key-of-2048-bits": dict(names=[dns(VICTIM)], rsa_bits=2048),
    "no-purposes": dict(names=[dns(VICTIM)], purposes=None),
    "xmppAddr-only": dict(names=[xmpp_address(VICTIM)]),
    "srv-name-only": dict(names=[srv_name(f"_xmpp-server.{VICTIM}")]),
    "last-of-many": dict(names=[dns(f"n{n}.example") for n in range(20)] + [dns(VICTIM)]),
}


def features(relay, credential, sender=VICTIM, to=TENANT):
    """What is offered to who shows this certificate."""
    with relay.stream() as stream:
        return stream.starttls(credential.client(), to, sender)


@pytest.mark.parametrize("name", CROOKED)
def test_certificate_that_does_not_prove_the_domain(attacked, name):  # noqa: F811
    """I1: A certificate of a trusted authority (or none at all) whose names come close, or that
    is good for nothing."""
    credential = attacked.authority.issue(f"crooked-{name}", **CROOKED[name])
    with attacked.stream() as stream:
        assert EXTERNAL not in stream.starttls(credential.client(), TENANT, VICTIM)
        stream.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>"
                    f"{base64_of(VICTIM)}</auth>")
        stream.until("<not-authorized/>")
        stream.send(message("let me in", sender=f"x@{VICTIM}"))
        assert stream.error() == "not-authorized"


@pytest.mark.parametrize("name", HONEST)
def test_certificate_that_proves_the_domain(attacked, name):  # noqa: F811
    """I2: Forms of certificates that are good, so that the checks above refuse no honest one."""
    credential = attacked.authority.issue(f"honest-{name}", **HONEST[name])
    attacked.trusted(VICTIM, credential=credential).close()


def test_authority_of_an_attacker(attacked, tmp_path):  # noqa: F811
    """I3: Chains to an authority that nobody trusts, with the authority sent along. The relay
    keeps no trust from one connection to the next: a certificate seen in a chain that failed
    vouches for nobody later."""
    evil = Authority(tmp_path / "evil", "evil")
    below = Authority(tmp_path / "below", "below", issuer=evil)
    root = evil.own.certificate
    for credential in (
            evil.issue("alone", [dns(VICTIM)]),
            evil.issue("root", [dns(VICTIM)], chain=[root]),
            evil.issue("alone-again", [dns(VICTIM)]),
            below.issue("whole", [dns(VICTIM)], chain=[below.own.certificate, root]),
            below.issue("middle", [dns(VICTIM)], chain=[below.own.certificate]),
            below.issue("leaf", [dns(VICTIM)]),
            evil.issue("again", [dns(VICTIM)])):
        assert EXTERNAL not in features(attacked, credential)


def test_leaf_that_plays_authority(attacked, tmp_path):  # noqa: F811
    """I4: A partner signs another domain's certificate with its own, which is no authority's
    (basicConstraints CA:FALSE)."""
    partner = Authority.__new__(Authority)
    partner.folder, partner.own = tmp_path, attacked.good
    credential = partner.issue("forged", [dns(VICTIM)], chain=[attacked.good.certificate])
    for _ in range(2):
        assert EXTERNAL not in features(attacked, credential)


def test_honest_intermediate_authority(attacked, tmp_path):  # noqa: F811
    """I5: A chain through an intermediate authority is good, with the intermediate sent along."""
    middle = Authority(tmp_path / "middle", "middle", issuer=attacked.authority)
    credential = middle.issue("through", [dns(VICTIM)], chain=[middle.own.certificate])
    attacked.trusted(VICTIM, credential=credential).close()


def test_forged_authority(attacked, tmp_path):  # noqa: F811
    """I13: An intermediate authority that names the trusted one as its issuer, key identifier and
    all, with a signature of the attacker's: with it, and then without it."""
    real = attacked.authority.own.certificate
    false = Authority(tmp_path / "false", "ca", key_of=real)
    assert false.own.certificate.subject == real.subject
    below = Authority(tmp_path / "below", "below", issuer=false)
    for chain in ([below.own.certificate], [below.own.certificate, real], []):
        credential = below.issue("leaf", [dns(VICTIM)], chain=chain)
        assert EXTERNAL not in features(attacked, credential)


LIMITED = {
    "nobody-below-it": dict(below=0),
    "other-domains": dict(limits=NameConstraints([dns("other.example")], None)),
    "not-this-domain": dict(limits=NameConstraints(None, [dns(VICTIM)])),
    "expired": dict(age=10 * DAY, life=DAY),
}


@pytest.mark.parametrize("name", LIMITED)
def test_authority_beyond_its_limits(attacked, tmp_path, name):  # noqa: F811
    """I14: An authority that a trusted one has limited (path length, names, dates) hands its power
    to another below it, which knows no limits. It vouches for nobody then or later."""
    limited = Authority(tmp_path / "limited", f"limited-{name}", issuer=attacked.authority,
                        **LIMITED[name])
    free = Authority(tmp_path / "free", f"free-{name}", issuer=limited)
    for chain in ([free.own.certificate, limited.own.certificate], []):
        for names in ([dns(VICTIM)], [xmpp_address(VICTIM)], [srv_name(f"_xmpp-server.{VICTIM}")]):
            credential = free.issue("leaf", names, chain=chain)
            assert EXTERNAL not in features(attacked, credential)


def test_chain_that_is_broken(attacked, tmp_path):  # noqa: F811
    """I6: The right names, the wrong signature: the issuer's name is trusted, its key is not."""
    double = Authority(tmp_path / "double", "ca")
    assert double.own.certificate.subject == attacked.authority.own.certificate.subject
    for chain in ([], [double.own.certificate], [attacked.authority.own.certificate]):
        credential = double.issue(f"double{len(chain)}", [dns(VICTIM)], chain=chain)
        assert EXTERNAL not in features(attacked, credential)


def test_no_certificate(attacked):  # noqa: F811
    """I7: A peer without a certificate may use dialback, nothing else."""
    with attacked.stream() as stream:
        offered = stream.starttls(plain_context(), TENANT, VICTIM)
        assert EXTERNAL not in offered and "urn:xmpp:features:dialback" in offered


@pytest.mark.parametrize("authzid, wanted", [
    (base64_of(VICTIM), "invalid-authzid"), (base64_of(f"x@{PARTNER}"), "invalid-authzid"),
    (base64_of(f"{PARTNER}\0{VICTIM}"), "invalid-authzid"),
    (base64_of("x" * 255), "invalid-authzid"), ("!!!", "incorrect-encoding"),
    (base64_of("x" * 400), "incorrect-encoding")])
def test_external_for_somebody_else(attacked, authzid, wanted):  # noqa: F811
    """I8: SASL EXTERNAL with an authorisation identity other than the stream's own 'from'."""
    with attacked.stream() as stream:
        assert EXTERNAL in stream.starttls(attacked.good.client())
        for _ in range(2):
            stream.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>"
                        f"{authzid}</auth>")
            assert wanted in stream.until("</failure>")
        assert stream.error() == "not-authorized"


@pytest.mark.parametrize("to, sender", [
    (OTHER_TENANT, PARTNER), (TENANT, VICTIM), (TENANT, None)])
def test_addresses_change_over_a_restart(attacked, to, sender):  # noqa: F811
    """I9: After SASL the new stream header names another domain of ours or of the peer."""
    with attacked.stream() as stream:
        stream.starttls(attacked.good.client())
        stream.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>="
                    "</auth>")
        stream.until("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
        stream.send(header(to, sender))
        assert stream.error() == "not-authorized"


@pytest.mark.parametrize("sender, to, wanted", [
    (f"x@{VICTIM}", f"bob@{TENANT}", "invalid-from"),
    (f"x@sub.{PARTNER}", f"bob@{TENANT}", "invalid-from"),
    (f"x@{TENANT}", f"bob@{TENANT}", "invalid-from"),
    (PARTNER + "\\40x", f"bob@{TENANT}", "improper-addressing"),
    ("", f"bob@{TENANT}", "improper-addressing"),
    ("@", f"bob@{TENANT}", "improper-addressing"),
    (f"x@{PARTNER}", "", "improper-addressing"),
    (f"x@{PARTNER}", f"bob@{OTHER_TENANT}", "host-unknown"),
    (f"x@{PARTNER}", "bob@elsewhere.example", "host-unknown"),
    (f"x@{PARTNER}", f"bob@{PARTNER}", "host-unknown")])
def test_stanza_of_a_pair_that_is_not_authorised(attacked, sender, to, wanted):  # noqa: F811
    """I10: A proved partner writes in another domain's name, or to a domain that this stream is
    not for."""
    with Counting(attacked, "xmpp_stream_errors_sent_total"), attacked.trusted() as stream:
        stream.send(message("spoof", sender=sender, to=to))
        assert stream.error() == wanted


@pytest.mark.parametrize("sender", ["GOOD.example", "good.example.", "Good.Example."])
def test_one_domain_in_other_writing(scene, attacked, sender):  # noqa: F811
    """I11: Case and a trailing dot make no other domain: such a stanza is the partner's own, and
    the SIP side sees the one canonical form."""
    text = f"canonical {next(numbers)}"
    with attacked.trusted() as stream:
        stream.send(message(text, sender=f"x@{sender}"))
        while True:
            request = scene.trunk.requests.get(timeout=PATIENCE_S)
            if text.encode() in request:
                break
        assert b"<sip:x@good.example" in request


def test_u_label_and_a_label(attacked):  # noqa: F811
    """I12: bücher.example and xn--bcher-kva.example are one domain to certificate and stream;
    a homograph (Cyrillic е) is another one."""
    label = "xn--bcher-kva.example"
    credential = attacked.authority.issue("idn", [dns(label)])
    for name in ("bücher.example", label, "BÜCHER.example"):
        assert EXTERNAL in features(attacked, credential, sender=name)
    assert EXTERNAL not in features(attacked, attacked.good, sender="good.еxample")
    address = attacked.authority.issue("idn-address", [xmpp_address("bücher.example")])
    assert EXTERNAL in features(attacked, address, sender=label)
