# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the certificates, CRLs and OCSP responses of test_ocsp.c and test_crl.c in the working directory."""
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.append(str(pathlib.Path(__file__).parents[1] / "scenario"))
from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes  # noqa: E402
from cryptography.hazmat.primitives.serialization import Encoding  # noqa: E402

import revocation_kit as kit  # noqa: E402
from attack_certificates import DAY, SERVER, Authority, dns  # noqa: E402

HERE = pathlib.Path(".")


def issue(authority, name, **options):
    return authority.issue(name, [dns("one.example")], **options)


def certified_again(authority):
    """Another certificate of an authority, by the same issuer: name and key are the same."""
    own = authority.own.certificate
    builder = (x509.CertificateBuilder().subject_name(own.subject).issuer_name(own.issuer)
               .public_key(own.public_key()).serial_number(x509.random_serial_number())
               .not_valid_before(own.not_valid_before).not_valid_after(own.not_valid_after))
    for extension in own.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder


def put(name, data):
    (HERE / name).write_bytes(data)


def responses(root, other, rogue, one):
    """Each NAME.ocsp, and NAME.pem and NAME.key that show it."""
    delegate = root.issue("delegate", [], purposes=(kit.RESPONDER,))
    plain = root.issue("plain", [], purposes=(SERVER,))
    late = root.issue("late", [], purposes=(kit.RESPONDER,), age=9 * DAY, life=3 * DAY)
    stranger = rogue.issue("stranger", [], purposes=(kit.RESPONDER,))
    gone = root.issue("gone", [], purposes=(kit.RESPONDER,))
    good = kit.response(root.own, one)
    flipped = bytearray(good)
    flipped[-1] ^= 1
    made = {
        "good": good,
        "good_key": kit.response(root.own, one, by_key=True),
        "good_256": kit.response(root.own, one, digest=hashes.SHA256()),
        "good_delegate": kit.response(root.own, one, responder=delegate, shown=[plain, delegate]),
        "good_delegate_key": kit.response(root.own, one, responder=delegate, shown=[delegate],
                                          by_key=True),
        "revoked": kit.response(root.own, one, revoked=True),
        "revoked_delegate": kit.response(root.own, one, revoked=True, responder=delegate,
                                         shown=[delegate]),
        "expired": kit.response(root.own, one, revoked=True, age=9 * DAY),
        "early": kit.response(root.own, one, revoked=True, age=-1 * DAY),
        "endless": kit.response(root.own, one, revoked=True, endless=True),
        "unknown": kit.response(root.own, one, unknown=True),
        "refusal": kit.refusal(),
        "flipped": bytes(flipped),
        "serial": kit.response(root.own, other, revoked=True),
        "foreign": kit.response(rogue.own, one, revoked=True, issuer=root.own),
        "foreign_delegate": kit.response(root.own, one, revoked=True, responder=stranger,
                                         shown=[stranger]),
        "plain_delegate": kit.response(root.own, one, revoked=True, responder=plain,
                                       shown=[plain]),
        "late_delegate": kit.response(root.own, one, revoked=True, responder=late, shown=[late]),
        "hidden_delegate": kit.response(root.own, one, revoked=True, responder=delegate),
        "gone_delegate": kit.response(root.own, one, responder=gone, shown=[gone]),
        "issuer": kit.response(rogue.own, one, revoked=True),
        "garbage": b"\x30\x03\x0a\x01\x00" + bytes(64),
        "short": good[:40],
        "long": bytes(20000),
    }
    for name, der in made.items():
        put(f"{name}.ocsp", der)
    put("gone.crl", kit.crl(root.own, [gone]))


def lists(root, middle, rogue, one, deep):
    made = {
        "one": kit.crl(root.own, [5, one, 7]),
        "other": kit.crl(root.own, [5, 7]),
        "empty": kit.crl(root.own),
        "old": kit.crl(root.own, [one], age=40 * DAY),
        "middle": kit.crl(root.own, [middle.own]),
        "deep": kit.crl(middle.own, [deep]),
        "foreign": kit.crl(root.own, [one], key=rogue.own.private),
        "rogue": kit.crl(rogue.own, [one]),
        "users": kit.crl(root.own, [one], extensions=[kit.point(users=True)]),
        "indirect": kit.crl(root.own, [one], extensions=[kit.point(indirect=True)]),
        "attributes": kit.crl(root.own, [one], extensions=[kit.point(attributes=True)]),
        "delta": kit.crl(root.own, [one], extensions=[x509.DeltaCRLIndicator(1)]),
        "entry": kit.crl(root.own, [one], entry_extension=x509.CertificateIssuer(
            [x509.DirectoryName(rogue.own.certificate.subject)])),
        "sha1": kit.crl(root.own, [one], digest=hashes.SHA1()),
    }
    for name, pem in made.items():
        put(f"{name}.crl", pem)
    put("der.crl", kit.crl(root.own, [one], encoding=Encoding.DER))
    put("two.crl", made["deep"] + made["one"])
    many = [0x4000 << 112 | i * 0x9e3779b97f4a7c15 % (1 << 112) for i in range(100000)]
    put("many.crl", kit.long_crl(root.own, many + [one.certificate.serial_number]))
    put("broken.crl", made["one"][:200])
    put("cut.crl", kit.crl(root.own, [one], encoding=Encoding.DER)[:-9])
    put("none.crl", b"nothing\n")
    put("nobody.crl", b"")
    (HERE / "folder.d").mkdir()
    put("folder.d/one.pem", made["one"])
    put("folder.d/deep.crl", made["deep"])
    put("folder.d/.hidden", b"nothing\n")
    (HERE / "bad.d").mkdir()
    put("bad.d/one.crl", b"nothing\n")


def main():
    root, rogue = Authority(HERE, "root"), Authority(HERE, "rogue")
    middle = Authority(HERE, "middle", issuer=root)
    one, other = issue(root, "one"), issue(root, "other")
    deep = issue(middle, "deep", chain=[middle.own.certificate])
    again = certified_again(middle).sign(root.own.private, hashes.SHA256())
    issue(middle, "again", chain=[middle.own.certificate, again])
    staple = issue(root, "staple", feature=kit.MUST_STAPLE)
    issue(root, "tenant")
    responses(root, other, rogue, one)
    put("staple_good.ocsp", kit.response(root.own, staple))
    put("deep_good.ocsp", kit.response(middle.own, deep))
    put("deep_revoked.ocsp", kit.response(middle.own, deep, revoked=True))
    lists(root, middle, rogue, one, deep)


main()
