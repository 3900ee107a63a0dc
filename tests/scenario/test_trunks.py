# SPDX-License-Identifier: GPL-3.0-or-later
"""Every transport between the relay and the SIP domain's proxy, with real SIP programs."""
import pytest

import peers
from conftest import (FAILOVER_DOMAIN, GONE_DOMAIN, LIST_DOMAIN, NAPTR_DOMAIN, SIP_DOMAIN,
                      SRV_DOMAIN, TCP_DOMAIN, TLS_DOMAIN, XMPP_DOMAIN)

TRANSPORTS = {SIP_DOMAIN: "udp", TCP_DOMAIN: "tcp", TLS_DOMAIN: "tls"}
LONG_TEXT = "".join(f"{number} long words, grüße 🜁\n" for number in range(100)) + "the end"

# A quote for every syntax, characters beyond the BMP and of several code points, text in both
# directions, several lines, and blanks that somebody might trim.
TEXTS = {
    "markup": "<b>&amp;</b> \"'\\ ]]> <!-- -- --> &#0; %20 =?utf-8?q?=20?=",
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 e\u0301 \u200d\ufe0f 🜁",
    "directions": "שלום \u202bmixed\u202c مرحبا Ελληνικά 漢字",
    "lines": "one\n\n  two\n\tthree  \n",
    "sip": "SIP/2.0 200 OK\nVia: x\nContent-Length: 0\n\nMESSAGE sip:a@b SIP/2.0",
}


@pytest.fixture
def romeo(prosody, xmpp_user):
    return xmpp_user(prosody, "romeo")


@pytest.fixture(params=TRANSPORTS, ids=TRANSPORTS.values())
def domain(request):
    return request.param


def test_baresip_both_ways(relay, kamailio, romeo, baresip, domain):
    before = len(kamailio.output())
    bob = baresip("bob", f"sip:{romeo.jid}", domain)
    romeo.send(f"bob@{domain}", "Hello baresip")
    bob.wait_for('"Hello baresip"')
    assert f"sip:{romeo.jid}" in bob.screen
    assert (f"MESSAGE sip:bob@{domain} from sip:{romeo.jid};gr=scenario by "
            f"{TRANSPORTS[domain]}") in kamailio.output()[before:]
    bob.send("Hello romeo")
    message = romeo.next_message()
    assert (message["body"], message["from"].bare) == ("Hello romeo", f"bob@{domain}")


def test_sipp_both_ways(relay, kamailio, romeo, sipp, sip_user, domain):
    client = sipp("message_uac", target=f"{peers.ADDRESS}:{kamailio.port}", calls=3, keys={
        "to_uri": f"sip:{romeo.jid}", "from_uri": f"sip:sipp@{domain}"})
    assert client.wait(), client.tail() + client.messages()
    texts = {romeo.next_message()["body"] for _ in range(3)}
    assert texts == {f"Message {number}" for number in (1, 2, 3)}
    server = sipp("message_uas", calls=3)
    sip_user("sipp", domain).register(server.port)
    for number in range(3):
        romeo.send(f"sipp@{domain}", f"Answer {number}")
    assert server.wait(), server.tail() + server.messages()
    assert all(f"Answer {number}" in server.messages() for number in range(3))
    assert romeo.messages.empty()


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_text_arrives_as_it_was(relay, romeo, sip_user, domain, text):
    alice = sip_user("alice", domain)
    romeo.send(f"alice@{domain}", text)
    assert alice.next_request().body.decode().replace("\r\n", "\n") == text
    assert alice.send(f"sip:{romeo.jid}", text).status == 200
    assert romeo.next_message()["body"].replace("\r\n", "\n") == text


def test_long_text_to_xmpp(relay, romeo, sip_user, domain):
    assert sip_user("alice", domain).send(f"sip:{romeo.jid}", LONG_TEXT).status == 200
    assert romeo.next_message()["body"].replace("\r\n", "\n") == LONG_TEXT


@pytest.mark.parametrize("tenant", [TCP_DOMAIN, TLS_DOMAIN, LIST_DOMAIN])
def test_long_text_to_sip_goes_over_a_stream(relay, kamailio, romeo, sip_user, tenant):
    """RFC 3428 §8: more than 1,300 bytes only over a transport with congestion control. A
    tenant with a trunk for each has the second one tried."""
    alice, before = sip_user("alice", tenant), len(kamailio.output())
    romeo.send(f"alice@{tenant}", LONG_TEXT)
    assert alice.next_request().body.decode().replace("\r\n", "\n") == LONG_TEXT
    log = [line for line in kamailio.output()[before:].splitlines() if "MESSAGE" in line]
    assert len(log) == 1 and log[0].endswith(" by " + TRANSPORTS.get(tenant, "tcp")), log
    romeo.send(f"alice@{tenant}", "short again")
    assert alice.next_request().body.decode() == "short again"


def test_long_text_over_udp_only_is_refused_in_words(relay, romeo, sip_user):
    """Neither cut nor sent against the rule; the sender can shorten it."""
    alice = sip_user("alice")
    sent = romeo.send(f"alice@{SIP_DOMAIN}", LONG_TEXT)
    fault = romeo.next_fault()
    assert (fault.id, fault.condition, fault.type) == (sent, "policy-violation", "modify")
    assert "too long" in fault.text
    romeo.send(f"alice@{SIP_DOMAIN}", "short")
    assert alice.next_request().body.decode() == "short"


def test_next_trunk_takes_over_and_the_first_comes_back(relay, front, romeo, sip_user):
    other = sip_user("alice", FAILOVER_DOMAIN)

    def send(text, phone):
        outcomes = relay.output().count("event=sip.outcome")
        romeo.send(f"alice@{FAILOVER_DOMAIN}", text)
        assert phone.next_request().body.decode() == text
        # What is in flight when a proxy dies goes to the next one, be it delivered or not.
        peers.wait_for("the answer", lambda: relay.output().count("event=sip.outcome") > outcomes)

    for text in ("by the front", "by the front again"):
        behind_front = sip_user("alice", FAILOVER_DOMAIN, front.port)
        send(text, behind_front)
        front.kill()
        send("by the other", other)
        front.start()
    assert behind_front.requests.empty() and other.requests.empty() and romeo.messages.empty()


@pytest.mark.parametrize("domain,transport", [(NAPTR_DOMAIN, "tcp"), (SRV_DOMAIN, "tls")],
                         ids=["naptr", "srv"])
def test_dns_chooses_the_transport(relay, kamailio, romeo, sip_user, domain, transport):
    """RFC 3263 §4.1 and §4.3: NAPTR, else SRV of every transport; then the next target."""
    alice = sip_user("alice", domain)
    before = len(kamailio.output())
    romeo.send(f"alice@{domain}", "found")
    assert alice.next_request().body.decode() == "found"
    output = kamailio.output()[before:]
    assert f"MESSAGE sip:alice@{domain} from sip:{romeo.jid}" in output
    assert f" by {transport}" in output


def test_nobody_at_the_trunk_is_told_in_words(relay, romeo):
    sent = romeo.send(f"alice@{GONE_DOMAIN}", "Anyone?")
    fault = romeo.next_fault()
    assert (fault.id, fault.condition) == (sent, "remote-server-timeout")
    assert fault.text == "The SIP side did not answer in time"


def test_headline_and_normal_messages(relay, romeo, sip_user):
    """Every type with a text is relayed; nobody waits for an answer to a headline."""
    alice = sip_user("alice")
    for kind in ("normal", "headline", "chat"):
        romeo.send(f"alice@{SIP_DOMAIN}", f"a {kind}", kind)
        assert alice.next_request().body.decode() == f"a {kind}"
    romeo.send(f"nobody@{SIP_DOMAIN}", "lost headline", "headline")
    sent = romeo.send(f"nobody@{SIP_DOMAIN}", "lost chat")
    assert romeo.next_fault().id == sent
    # An error ends at the relay: answers to answers would never end.
    romeo.send_raw(f"<message to='alice@{SIP_DOMAIN}' type='error' id='e'><body>no</body><error "
                   "type='cancel'><item-not-found "
                   "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
    romeo.send(f"alice@{SIP_DOMAIN}", "after the error")
    assert alice.next_request().body.decode() == "after the error"
    assert romeo.messages.empty()
