# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates for the attack tests, honest and crooked: any names, purposes, dates and issuers."""
import datetime
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
MAIL = ExtendedKeyUsageOID.EMAIL_PROTECTION
DAY = datetime.timedelta(days=1)


def dns(name):
    """A dNSName. The library checks nothing but ASCII: NUL and stars go through."""
    return x509.DNSName(name)


def uri(text):
    return x509.UniformResourceIdentifier(text)


def _der(tag, text):
    data = text.encode()
    assert len(data) < 128
    return bytes([tag, len(data)]) + data


def xmpp_address(text):
    """id-on-xmppAddr, RFC 6120 §13.7.1.4: a UTF8String."""
    return x509.OtherName(ObjectIdentifier("1.3.6.1.5.5.7.8.5"), _der(0x0c, text))


def srv_name(text):
    """SRVName, RFC 4985 §2: an IA5String."""
    return x509.OtherName(ObjectIdentifier("1.3.6.1.5.5.7.8.7"), _der(0x16, text))


class Credential:
    """A certificate with its key as files; `chain` is sent behind the leaf."""

    def __init__(self, folder, name, key, certificate, chain=()):
        self.certificate, self.private = certificate, key
        self.pem, self.key = folder / f"{name}.pem", folder / f"{name}.key"
        encoding = serialization.Encoding.PEM
        self.pem.write_bytes(b"".join(one.public_bytes(encoding)
                                      for one in (certificate, *chain)))
        self.key.touch(mode=0o600)
        self.key.write_bytes(key.private_bytes(
            encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))

    def client(self, **versions):
        return self._context(ssl.PROTOCOL_TLS_CLIENT, **versions)

    def server(self, **versions):
        return self._context(ssl.PROTOCOL_TLS_SERVER, **versions)

    def _context(self, protocol, minimum=None, maximum=None, ciphers=None):
        context = plain_context(protocol)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # no certificate is too weak to be shown
        context.load_cert_chain(self.pem, self.key)
        if minimum is not None:
            context.minimum_version = minimum
        if maximum is not None:
            context.maximum_version = maximum
        if ciphers is not None:
            context.set_ciphers(ciphers)
        return context


def plain_context(protocol=ssl.PROTOCOL_TLS_CLIENT):
    """No certificate of ours, and the relay's is not looked at."""
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def key_identifier(certificate):
    return certificate and certificate.extensions.get_extension_for_class(
        x509.SubjectKeyIdentifier).value


class Authority:
    def __init__(self, folder, name="ca", issuer=None, **options):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.own = (issuer or self).issue(name, [], authority=True, common_name=name, **options)
        self.pem = self.own.pem

    def issue(self, name, names, authority=False, purposes=(SERVER, CLIENT), common_name=None,
              age=DAY, life=30 * DAY, chain=(), self_signed=False, below=None, limits=None,
              key_of=None, rsa_bits=None, digest=hashes.SHA256(), feature=None):
        """A credential whose subjectAltName holds `names`. Without an own certificate yet, or
        with `self_signed`, it signs itself. An authority may have only so many `below` it, within
        name constraints (`limits`). With `key_of` the key identifier is a lie: it is that
        certificate's. `feature`: what its holder promises (RFC 7633)."""
        key = (rsa.generate_private_key(65537, rsa_bits) if rsa_bits is not None else
               ec.generate_private_key(ec.SECP256R1()))
        rooted = hasattr(self, "own") and not self_signed
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Attack tests")]
        if common_name is not None:
            attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
        subject, now = x509.Name(attributes), datetime.datetime.utcnow()
        builder = (x509.CertificateBuilder().subject_name(subject)
                   .issuer_name(self.own.certificate.subject if rooted else subject)
                   .public_key(key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(now - age).not_valid_after(now - age + life)
                   .add_extension(x509.BasicConstraints(authority, below), critical=True)
                   .add_extension(x509.KeyUsage(
                       digital_signature=not authority, content_commitment=False,
                       key_encipherment=False, data_encipherment=False, key_agreement=False,
                       key_cert_sign=authority, crl_sign=authority, encipher_only=False,
                       decipher_only=False), critical=True)
                   .add_extension(key_identifier(key_of) or
                                  x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
                                  critical=False))
        signer = self.own.private if rooted else key
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                key_identifier(self.own.certificate)) if rooted else
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        for extension, critical in ((limits, True), (feature, False)):
            if extension is not None:
                builder = builder.add_extension(extension, critical=critical)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if not authority and purposes is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        return Credential(self.folder, name, key, builder.sign(signer, digest), chain)
