# SPDX-License-Identifier: GPL-3.0-or-later
"""What authorities say of their certificates: OCSP responses and CRLs, good and crooked."""
import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from attack_certificates import DAY

MUST_STAPLE = x509.TLSFeature([x509.TLSFeatureType.status_request])
RESPONDER = ExtendedKeyUsageOID.OCSP_SIGNING


def now():
    return datetime.datetime.utcnow().replace(microsecond=0)


def response(authority, credential, revoked=False, age=DAY, life=3 * DAY, responder=None,
             shown=(), issuer=None, digest=hashes.SHA1(), unknown=False, endless=False,
             by_key=False):
    """DER of what `authority` (its credential) says of a certificate of its own; or `responder`,
    whose certificate is sent along when it is `shown`. `issuer`: in whose name instead."""
    begin = now() - age
    status = ocsp.OCSPCertStatus.UNKNOWN if unknown else (
        ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD)
    signer = responder or authority
    how = ocsp.OCSPResponderEncoding.HASH if by_key else ocsp.OCSPResponderEncoding.NAME
    builder = ocsp.OCSPResponseBuilder().add_response(
        credential.certificate, (issuer or authority).certificate, digest, status, begin,
        None if endless else begin + life, begin if revoked else None,
        x509.ReasonFlags.key_compromise if revoked else None)
    builder = builder.responder_id(how, signer.certificate)
    if shown:
        builder = builder.certificates([one.certificate for one in shown])
    return builder.sign(signer.private, hashes.SHA256()).public_bytes(Encoding.DER)


def refusal():
    """DER of a responder's refusal to answer."""
    return ocsp.OCSPResponseBuilder.build_unsuccessful(
        ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(Encoding.DER)


def crl(authority, revoked=(), age=DAY, life=30 * DAY, extensions=(), entry_extension=None,
        key=None, digest=hashes.SHA256(), encoding=Encoding.PEM):
    """A CRL of `authority` that names these credentials or serial numbers; `key`: who signs."""
    begin = now() - age
    builder = (x509.CertificateRevocationListBuilder()
               .issuer_name(authority.certificate.subject)
               .last_update(begin).next_update(begin + life))
    for one in revoked:
        serial = one if isinstance(one, int) else one.certificate.serial_number
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(begin)
        if entry_extension is not None:
            entry = entry.add_extension(entry_extension, critical=True)
        builder = builder.add_revoked_certificate(entry.build())
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(key or authority.private, digest).public_bytes(encoding)


def point(indirect=False, attributes=False, users=False):
    """An issuingDistributionPoint."""
    return x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier("http://crl.example/1.crl")],
        relative_name=None, only_contains_user_certs=users, only_contains_ca_certs=False,
        only_some_reasons=None, indirect_crl=indirect, only_contains_attribute_certs=attributes)


def _der(tag, data):
    size = len(data)
    head = bytes([size]) if size < 128 else bytes([0x84]) + size.to_bytes(4, "big")
    return bytes([tag]) + head + data


def long_crl(authority, serials):
    """DER of a CRL of many numbers; the library's builder is no good for more than thousands."""
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")  # ecdsa-with-SHA256
    dates = [_der(0x17, (now() + delta).strftime("%y%m%d%H%M%SZ").encode())
             for delta in (-DAY, 30 * DAY)]
    entries = b"".join(_der(0x30, _der(0x02, one.to_bytes(one.bit_length() // 8 + 1, "big"))
                            + dates[0]) for one in serials)
    body = _der(0x30, bytes.fromhex("020101") + algorithm
                + authority.certificate.subject.public_bytes() + dates[0] + dates[1]
                + _der(0x30, entries))
    signature = authority.private.sign(body, ec.ECDSA(hashes.SHA256()))
    return _der(0x30, body + algorithm + _der(0x03, b"\0" + signature))
