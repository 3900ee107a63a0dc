# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of XMPP server, found and trusted in every way, with Kamailio on the other side."""
import subprocess

import pytest

import peers
from conftest import (ANY_DOMAIN, CLEAR_DOMAIN, DIALBACK_DOMAIN, DIRECT_DOMAIN, EJABBERD_DOMAIN,
                      RUSTIC_DOMAIN, SIP_DOMAIN, SIX_DOMAIN, SPARE_DOMAIN, STRAIGHT_DOMAIN, TLS_DOMAIN,
                      XMPP_DOMAIN)

# Where somebody is: the fixture of his server, his name there.
PEOPLE = {XMPP_DOMAIN: ("prosody", "romeo"), DIALBACK_DOMAIN: ("prosody_dialback", "mercutio"),
          ANY_DOMAIN: ("prosody_any", "benvolio"), CLEAR_DOMAIN: ("prosody_clear", "rosaline"),
          EJABBERD_DOMAIN: ("ejabberd", "tybalt"),
          RUSTIC_DOMAIN: ("ejabberd", "tybalt"), DIRECT_DOMAIN: ("prosody_many", "paris"),
          SIX_DOMAIN: ("prosody_many", "paris"), SPARE_DOMAIN: ("prosody_many", "paris")}


@pytest.fixture
def person(request, xmpp_user):
    """person(domain) is somebody online there."""
    def make(domain):
        server, user = PEOPLE[domain]
        return xmpp_user(request.getfixturevalue(server), user, domain)
    return make


@pytest.mark.parametrize("domain", PEOPLE)
def test_both_ways_with(relay, person, sip_user, domain):
    stranger, alice = person(domain), sip_user("alice")
    stranger.send(f"alice@{SIP_DOMAIN}", f"to SIP from {domain}")
    request = alice.next_request()
    assert request.body.decode() == f"to SIP from {domain}"
    assert f"<sip:{stranger.jid}" in request.header("from")
    response = alice.send(f"sip:{stranger.jid}", f"to {domain}")
    # It was confirmed: all of these servers answer the ping behind the message.
    assert response.status == 200, (response.start, relay.tail())
    message = stranger.next_message()
    assert (message["body"], message["from"].bare) == (f"to {domain}", f"alice@{SIP_DOMAIN}")


@pytest.mark.parametrize("domain", [XMPP_DOMAIN, EJABBERD_DOMAIN])
def test_tenant_that_is_found_for_direct_tls_only(relay, person, sip_user, domain):
    stranger, alice = person(domain), sip_user("alice", STRAIGHT_DOMAIN)
    stranger.send(f"alice@{STRAIGHT_DOMAIN}", "straight")
    assert alice.next_request().body.decode() == "straight"


def test_direct_tls_names_the_protocol(relay, world):
    """XEP-0368 §3: ALPN, so that port 443 can be shared."""
    shown = subprocess.run(
        ["openssl", "s_client", "-connect", f"{peers.ADDRESS}:{world.relay_direct}", "-alpn",
         "h2,xmpp-server", "-servername", TLS_DOMAIN, "-CAfile", world.ca_file,
         "-verify_hostname", TLS_DOMAIN, "-verify_return_error"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=20)
    assert "ALPN protocol: xmpp-server" in shown.stdout
    assert "Verify return code: 0" in shown.stdout


def test_all_pairs_of_tenants_and_partners(relay, person, sip_user):
    """Two tenants, two partners: everybody gets what was sent to him and nothing else."""
    domains = (XMPP_DOMAIN, EJABBERD_DOMAIN)
    people = [person(domain) for domain in domains]
    phones = [sip_user("alice", domain) for domain in (SIP_DOMAIN, TLS_DOMAIN)]
    for stranger in people:
        for phone in phones:
            stranger.send(phone.uri.removeprefix("sip:"), f"{stranger.jid} to {phone.uri}")
            response = phone.send(f"sip:{stranger.jid}", f"{phone.uri} to {stranger.jid}")
            assert response.status == 200, (response.start, relay.tail())
    for phone in phones:
        texts = {phone.next_request().body.decode() for _ in people}
        assert texts == {f"{stranger.jid} to {phone.uri}" for stranger in people}
    for stranger in people:
        texts = {stranger.next_message()["body"] for _ in phones}
        assert texts == {f"{phone.uri} to {stranger.jid}" for phone in phones}
    assert all(user.messages.empty() for user in people)
    assert all(phone.requests.empty() for phone in phones)
