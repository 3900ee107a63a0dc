# SPDX-License-Identifier: GPL-3.0-or-later
"""Hostile XML on a server-to-server stream: each piece of it gets the stream error that RFC 6120
names for it. docs/security.md is the table of these tests."""
import pytest

from attack_wire import condition
from attack_kit import (HEADER, PARTNER, TENANT, Counting, attacked, header, message,  # noqa: F401
                        scene, steady)

BOMB = ("<?xml version='1.0'?><!DOCTYPE s [<!ENTITY a 'aaaaaaaaaa'>" +
        "".join(f"<!ENTITY {chr(98 + n)} '{f'&{chr(97 + n)};' * 10}'>" for n in range(9)) +
        "]><stream:stream>&j;")

BEFORE_HEADER = {
    "doctype": ("<!DOCTYPE stream>" + header(), "restricted-xml"),
    "entities-nested": (BOMB, "restricted-xml"),
    "comment": ("<!-- x -->" + header(), "restricted-xml"),
    "processing-instruction": ("<?php x?>" + header(), "restricted-xml"),
    "utf-16": (b"\xff\xfe<\x00?\x00", "unsupported-encoding"),
    "utf-16-big-endian": (b"\xfe\xff\x00<\x00?", "unsupported-encoding"),
    "utf-16-without-mark": ("<?xml".encode("utf-16-le"), "unsupported-encoding"),
    "declared-latin-1": ("<?xml version='1.0' encoding='ISO-8859-1'?>" + header()[21:],
                         "unsupported-encoding"),
    "declared-utf-7": ("<?xml version='1.0' encoding='UTF-7'?>" + header()[21:],
                       "unsupported-encoding"),
    "no-xml": ("GET / HTTP/1.1\r\n\r\n", "not-well-formed"),
    "unknown-prefix": ("<?xml version='1.0'?><stream:stream xmlns='jabber:server'>",
                       "not-well-formed"),
    "wrong-stream-namespace": (header().replace("etherx.jabber.org", "evil.example"),
                               "invalid-namespace"),
    "client-namespace": (header().replace("jabber:server'", "jabber:client'", 1),
                         "invalid-namespace"),
    "other-element": (header().replace("stream:stream", "stream:features"), "bad-format"),
    "version-2": (header().replace(" version='1.0'>", " version='2.0'>"),
                  "unsupported-version"),
    "header-of-many-attributes": (
        HEADER.format("".join(f" a{n}='x'" for n in range(200))), "policy-violation"),
    "header-of-many-namespaces": (
        HEADER.format("".join(f" xmlns:a{n}='urn:x'" for n in range(200))), "policy-violation"),
    "header-that-never-ends": (header()[:-1] + " x='" + "x" * 300000, "policy-violation"),
    "white-space-before-the-header": (" " * 300000, "policy-violation"),
}

INSIDE = {
    "doctype": ("<!DOCTYPE x>", "restricted-xml"),
    "comment": ("<!-- x -->", "restricted-xml"),
    "processing-instruction": ("<?php x?>", "restricted-xml"),
    "undefined-entity": (message("&undefined;"), "not-well-formed"),
    "cut-two-byte-character": (b"<message><body>\xc3</body></message>", "not-well-formed"),
    "cut-three-byte-character": (b"<message><body>\xe2\x82</body></message>", "not-well-formed"),
    "surrogate": (b"<message><body>\xed\xa0\x80</body></message>", "not-well-formed"),
    "overlong-slash": (b"<message><body>\xc0\xaf</body></message>", "not-well-formed"),
    "overlong-nul": (b"<message><body>\xc0\x80</body></message>", "not-well-formed"),
    "beyond-unicode": (b"<message><body>\xf4\x90\x80\x80</body></message>", "not-well-formed"),
    "noncharacter": (b"<message><body>\xef\xbf\xbf</body></message>", "not-well-formed"),
    "nul": (b"<message><body>\x00</body></message>", "not-well-formed"),
    "nul-reference": (message("&#0;"), "not-well-formed"),
    "surrogate-reference": (message("&#xD800;"), "not-well-formed"),
    "control-character": (message("\x07"), "not-well-formed"),
    "line-feed-in-a-namespace": (message("x", inside="<x xmlns='urn:a\n'/>"), None),
    "line-feed-reference-in-a-namespace": (message("x", inside="<x xmlns='urn:a&#10;b'/>"),
                                           "not-well-formed"),
    "namespace-that-spells-another-name": (
        "<message xmlns='jabber:server&#10;message'><body>x</body></message>",
        "not-well-formed"),
    "stream-element-in-a-stanza": (message("x", inside="<stream:error/>"),
                                   "unsupported-stanza-type"),
    "depth": ("<message>" + "<x>" * 70, "policy-violation"),
    "attributes": ("<message " + " ".join(f"a{n}='x'" for n in range(300)) + ">",
                   "policy-violation"),
    "namespaces": ("<message " + " ".join(f"xmlns:a{n}='urn:{n}'" for n in range(300)) + ">",
                   "policy-violation"),
    "duplicate-attribute": ("<message id='a' id='b'/>", "not-well-formed"),
    "duplicate-attribute-by-namespace": (
        "<message xmlns:p='urn:x' xmlns:q='urn:x' p:a='1' q:a='2'/>", "not-well-formed"),
    "unbound-prefix": ("<message><x:y/></message>", "not-well-formed"),
    "rebound-xml-prefix": ("<message xmlns:xml='urn:x'/>", "not-well-formed"),
    "bound-xmlns-prefix": ("<message xmlns:xmlns='urn:x'/>", "not-well-formed"),
    "unbound-by-empty-name": ("<message xmlns:x=''/>", "not-well-formed"),
    "client-namespace": ("<message xmlns='jabber:client'/>", "invalid-namespace"),
    "prefixed-stanza": ("<x:message xmlns='urn:y' xmlns:x='jabber:server'/>",
                        "bad-namespace-prefix"),
    "unknown-element": ("<shutdown xmlns='urn:x'/>", "unsupported-stanza-type"),
    "text-between-stanzas": ("hello", "not-well-formed"),
    "second-header": ("<stream:stream xmlns='jabber:server'/>", "unsupported-stanza-type"),
    "wrong-end": ("<message></iq>", "not-well-formed"),
    "start-tag-that-never-ends": ("<message a='" + "x" * 400000, "policy-violation"),
    "cdata-that-never-ends": ("<message><body><![CDATA[" + "x" * 400000, "policy-violation"),
    "stanza-over-the-limit": (message("x" * 70000), "policy-violation"),
}


@pytest.mark.parametrize("name", BEFORE_HEADER)
def test_hostile_start_of_a_stream(attacked, name):  # noqa: F811
    """X1: What comes instead of a stream header: the stream error of RFC 6120, behind a header."""
    data, wanted = BEFORE_HEADER[name]
    with Counting(attacked, "xmpp_stream_errors_sent_total"), attacked.stream() as stream:
        stream.send_quietly(data)
        text = stream.rest()
        assert f"<{wanted} " in text
        assert text.startswith("<?xml version='1.0'?><stream:stream ")
        assert text.endswith("</stream:stream>")


@pytest.mark.parametrize("name", INSIDE)
def test_hostile_xml_from_an_authenticated_partner(attacked, name):  # noqa: F811
    """X2: A partner that has proved itself may still send only what RFC 6120 allows."""
    data, wanted = INSIDE[name]
    with attacked.trusted() as stream:
        stream.send_quietly(data)
        if wanted is None:
            stream.barrier()
        else:
            assert stream.error() == wanted


@pytest.mark.parametrize("name", ["comment", "undefined-entity", "nul", "depth", "surrogate",
                                  "start-tag-that-never-ends"])
def test_hostile_xml_before_authentication(attacked, name):  # noqa: F811
    """X3: The same in clear, where nobody has proved anything."""
    data, wanted = INSIDE[name]
    with attacked.stream() as stream:
        stream.open()
        stream.send_quietly(data)
        assert stream.error() in (wanted, "not-authorized")


def test_hostile_xml_byte_by_byte(attacked):  # noqa: F811
    """X4: Torn reads change no answer: every byte in a packet of its own."""
    for data, wanted in (BEFORE_HEADER["doctype"], BEFORE_HEADER["wrong-stream-namespace"]):
        with attacked.stream() as stream:
            for byte in data.encode():
                stream.send_quietly(bytes([byte]))
            assert stream.error() == wanted


def test_a_stanza_is_too_big(attacked):  # noqa: F811
    """X5: One byte over xmpp.stanza_size_max: policy-violation with stanza-too-big (XEP-0205); at the
    limit it is served."""
    limit = attacked.settings["xmpp"].get("stanza_size_max", 65536)
    start = f"<message from='x@{PARTNER}' to='bob@{TENANT}' id='big'><x xmlns='urn:x'>"
    end = "</x></message>"
    room = limit - len(start) - len(end)
    with attacked.trusted() as stream:
        stream.send(start + "x" * room + end)
        stream.barrier()
        stream.send_quietly(start + "x" * (room + 1) + end)
        said = stream.rest()
    assert condition(said) == "policy-violation"
    assert "<stanza-too-big xmlns='urn:xmpp:errors'/>" in said
    assert attacked.logged("event=session.close", "error=policy-violation", "stanza too big")


def test_prefixes_of_one_stream_do_not_add_up(attacked):  # noqa: F811
    """X6: 200,000 namespace prefixes on one stream, one to each stanza: a parser that remembers too
    many of them is thrown away, and the stream goes on."""
    def flood():
        with attacked.trusted() as stream:
            for first in range(0, 200000, 4000):
                stream.send("".join(
                    f"<message from='x@{PARTNER}' to='bob@{TENANT}' xmlns:p{n}='urn:{n}'/>"
                    for n in range(first, first + 4000)))
            stream.send("</stream:stream>")
            assert "<stream:error" not in stream.until("</stream:stream>")
    steady(attacked, flood)
