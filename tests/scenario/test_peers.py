# SPDX-License-Identifier: GPL-3.0-or-later
"""The peers without the relay: what fails here would be blamed on the relay otherwise."""
import peers
from conftest import ANY_DOMAIN, DIALBACK_DOMAIN, SIP_DOMAIN, XMPP_DOMAIN


def test_dns_names_the_relay_for_the_sip_domain(world, dns_server):
    assert dns_server.ask(f"_xmpp-server._tcp.{SIP_DOMAIN}", "SRV") == [
        f"0 0 {world.relay_s2s} relay.example.", f"10 0 {world.relay_s2s} localhost."]
    assert dns_server.ask("relay.example", "A") == [peers.ADDRESS]
    assert dns_server.ask("nobody.example", "A") == []


def test_users_of_one_xmpp_server_talk(prosody, xmpp_user):
    romeo, juliet = xmpp_user(prosody, "romeo"), xmpp_user(prosody, "juliet")
    romeo.send(juliet.jid, "Call me but love <&>")
    message = juliet.next_message()
    assert message["body"] == "Call me but love <&>"
    assert message["from"].bare == romeo.jid


def test_xmpp_servers_trust_the_development_authority(prosody_any, prosody, xmpp_user):
    benvolio, romeo = xmpp_user(prosody_any, "benvolio"), xmpp_user(prosody, "romeo")
    benvolio.send(romeo.jid, "Part, fools!")
    message = romeo.next_message()
    assert message["body"] == "Part, fools!"
    assert message["from"].bare == benvolio.jid
    assert f"Accepting SASL EXTERNAL identity from {ANY_DOMAIN}" in prosody.output()


def test_unverified_xmpp_server_gets_in_by_dialback(prosody_dialback, prosody_any, xmpp_user):
    mercutio = xmpp_user(prosody_dialback, "mercutio")
    benvolio = xmpp_user(prosody_any, "benvolio")
    mercutio.send(benvolio.jid, "A plague o' both your houses")
    message = benvolio.next_message()
    assert message["body"] == "A plague o' both your houses"
    assert message["from"].bare == mercutio.jid
    assert f"Accepting SASL EXTERNAL identity from {DIALBACK_DOMAIN}" not in prosody_any.output()


def test_unverified_xmpp_server_is_refused_by_certificates(prosody_dialback, prosody, xmpp_user):
    mercutio, romeo = xmpp_user(prosody_dialback, "mercutio"), xmpp_user(prosody, "romeo")
    sent = mercutio.send(romeo.jid, "Let me in")
    answer = mercutio.next_message()
    assert answer["type"] == "error"
    assert answer["id"] == sent
    assert romeo.messages.empty()


def test_registrar_routes_within_the_sip_domain(sip_user):
    alice, bob = sip_user("alice"), sip_user("bob")
    assert alice.send(bob.uri, "Grüße").status == 200
    request = bob.next_request()
    assert request.method == "MESSAGE"
    assert request.body.decode() == "Grüße"
    assert alice.send(f"sip:nobody@{SIP_DOMAIN}", "Hello?").status == 404


def test_sipp_reaches_a_registered_user(kamailio, sip_user, sipp):
    """SIPp sends as the relay will: from a remote domain to the tenant's proxy."""
    alice = sip_user("alice")
    relay = sipp("message_uac", target=f"{peers.ADDRESS}:{kamailio.port}",
                 keys={"to_uri": alice.uri, "from_uri": f"sip:romeo@{XMPP_DOMAIN}"}, calls=3)
    assert relay.wait(), relay.tail()
    bodies = [alice.next_request().body.decode() for _ in range(3)]
    assert bodies == [f"Message {number}" for number in (1, 2, 3)]
