# SPDX-License-Identifier: GPL-3.0-or-later
"""`explain` and `ping`: what the relay says of a partner, step by step, when all is well and for
each thing that may be wrong."""
import json
import re
import socket
import subprocess

import pytest

import peers
import relay as relays
from conftest import (ANY_DOMAIN, CLOSED_DOMAIN, DIALBACK_DOMAIN, DIRECT_DOMAIN, DOWN_DOMAIN,
                      EJABBERD_DOMAIN, EXPIRED_DOMAIN, LIST_DOMAIN, MISMATCH_DOMAIN, MUTE_DOMAIN,
                      PLAIN_DOMAIN, SIP_DOMAIN, SIX_DOMAIN, SPARE_DOMAIN, STRANGER_DOMAIN,
                      XMPP_DOMAIN)


class Explanation:
    """The rows of one `explain`."""

    def __init__(self, relay, domain, tenant=SIP_DOMAIN):
        answer = relay.control(f"explain {domain} tenant {tenant} json")
        assert answer.endswith("]\n\n"), answer
        self.rows = json.loads(answer)
        self.verdict = self.rows[-1]
        assert self.verdict["step"] == "verdict", self.rows

    def of(self, step, result=None):
        """The texts of the rows of a step."""
        return [row["text"] for row in self.rows
                if row["step"] == step and result in (None, row["result"])]

    def failed(self):
        return [(row["step"], row["text"]) for row in self.rows[:-1]
                if row["result"] == "failed"]


def ctl(relay, *words):
    """Status and output of passerellectl."""
    done = subprocess.run([relays.BUILD / "passerellectl", "-s", relay.folder / "stats.sock",
                           *words], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def test_partner_with_certificates(relay, prosody):
    why = Explanation(relay, XMPP_DOMAIN)
    assert why.verdict["result"] == "ok", why.rows
    assert why.verdict["text"] == f"{SIP_DOMAIN} reaches {XMPP_DOMAIN} at each of 1 address"
    assert not why.failed()
    assert why.of("policy", "ok") == [
        f"tenant sip may talk with {XMPP_DOMAIN}; its proof: certificate (tls: required by "
        "default, sasl: required by partners[], dialback: true by default, trust: dialback by "
        "default)"]
    assert re.search(r"^prosody\.example port \d+ \(priority 0, weight 0\) is 127\.0\.0\.1:",
                     why.of("dns", "ok")[0])
    assert why.of("tcp", "ok") == ["connected"]
    assert re.search("^TLSv1.3, TLS.*, by STARTTLS$", why.of("tls", "ok")[0])
    assert re.search(rf"valid from \d.* to \d.*names: .*dNSName {XMPP_DOMAIN}",
                     why.of("certificate")[0])
    assert why.of("chain", "ok") and why.of("identity", "ok")
    assert why.of("identity")[0].endswith(f" speaks for {XMPP_DOMAIN}")
    plain, secure, *_ = why.of("features", "ok")
    assert plain.startswith("in clear offers: STARTTLS") and "SASL EXTERNAL" in secure
    assert why.of("auth", "ok")[0].startswith("SASL EXTERNAL: it accepts our certificate")
    assert "DNSSEC does not vouch" in why.of("dane", "note")[0]
    timed = [row for row in why.rows if row["step"] in ("tcp", "tls", "auth")]
    assert all(isinstance(row["ms"], int) for row in timed), timed


def test_partner_with_dialback(relay, prosody_dialback):
    """Its certificate proves nothing, which is only noted, and ours nothing to it. It has come to
    ask our domain back: its stream shows, or was there."""
    why = Explanation(relay, DIALBACK_DOMAIN)
    assert why.verdict["result"] == "ok", why.rows
    assert why.of("auth", "ok") == ["dialback: it has asked our domain back and believes us"]
    assert "no authority known here signed it" in why.of("chain", "note")[0]


@pytest.mark.parametrize("domain, fixture", [(ANY_DOMAIN, "prosody_any"),
                                             (EJABBERD_DOMAIN, "ejabberd"),
                                             (DIRECT_DOMAIN, "prosody_many"),
                                             (SIX_DOMAIN, "prosody_many")])
def test_other_partners_that_work(relay, request, domain, fixture):
    request.getfixturevalue(fixture)
    why = Explanation(relay, domain)
    assert why.verdict["result"] == "ok", why.rows
    assert (domain == DIRECT_DOMAIN) == any("direct TLS" in text for text in why.of("tls"))


def test_second_address_that_is_broken_shows(relay, prosody_many):
    """Three SRV records: nobody listens, no address, works. Traffic would never tell."""
    why = Explanation(relay, SPARE_DOMAIN)
    assert why.verdict["result"] == "partly", why.rows
    assert [step for step, _ in why.failed()] == ["dns", "tcp"]
    assert "nowhere.example port" in why.failed()[0][1]
    assert "no such name" in why.failed()[0][1]
    assert "Connection refused" in why.failed()[1][1]
    assert len(why.of("auth", "ok")) == 1


@pytest.mark.parametrize("domain, step, words, remedy", [
    (DOWN_DOMAIN, "tcp", "Connection refused", "nobody listens"),
    (MUTE_DOMAIN, "dns", "declares that it has no such service", "only its owner"),
    ("nowhere.example", "dns", "no such name", "spelt right"),
    (MISMATCH_DOMAIN, "identity", "it has dNSName elsewhere.example", "the domain itself"),
    (EXPIRED_DOMAIN, "chain", "it has expired", "must renew its certificate"),
    (STRANGER_DOMAIN, "chain", "no authority known here signed it", "xmpp.ca_file")])
def test_partner_that_fails(relay, prosody_many, domain, step, words, remedy):
    why = Explanation(relay, domain)
    assert why.verdict["result"] == "failed"
    assert why.verdict["text"].startswith(f"{SIP_DOMAIN} cannot reach {domain}. {step} ")\
        or why.verdict["text"].startswith(f"{SIP_DOMAIN} cannot reach {domain}. {step}:")
    assert why.failed()[0][0] == step and words in why.failed()[0][1], why.rows
    assert words in why.verdict["text"] and remedy in why.verdict["text"], why.verdict


def test_partner_without_srv(relay):
    """The domain itself is the host, port 5269; in this world nobody listens there."""
    why = Explanation(relay, PLAIN_DOMAIN)
    assert f"_xmpp-server._tcp.{PLAIN_DOMAIN} SRV: no such name" in why.of("dns", "note")
    assert any("the domain itself is the host" in text for text in why.of("dns", "note"))
    assert why.of("dns", "ok") == [f"{PLAIN_DOMAIN} port 5269 is 127.0.0.1:5269"]
    assert why.failed()[0] == ("tcp", "the connection failed: Connection refused")
    assert "publishes no SRV record" in why.verdict["text"], why.verdict


def test_policy_that_denies(relay, prosody_any):
    """It is said first, and nothing is tried."""
    for tenant, policy in ((CLOSED_DOMAIN, "closed"), (LIST_DOMAIN, "list")):
        why = Explanation(relay, ANY_DOMAIN, tenant)
        assert [row["step"] for row in why.rows] == ["policy", "inbound", "verdict"]
        assert f"({policy}) does not allow {ANY_DOMAIN}" in why.verdict["text"]
        assert "reload" in why.verdict["text"]
    why = Explanation(relay, LIST_DOMAIN)
    assert "nobody's partner" in why.rows[0]["text"]


def test_traffic_is_not_disturbed(relay, prosody, xmpp_user, sip_user):
    """A message goes on over its own stream while a partner is explained; the probe counts as
    nothing of it."""
    romeo, alice = xmpp_user(prosody, "romeo"), sip_user("alice")
    assert alice.send(f"sip:{romeo.jid}", "before").status == 200
    links, errors = relay.count("xmpp_links_opened_total"), relay.control("show errors")
    sent = relay.count("xmpp_stanzas_sent_total")
    assert Explanation(relay, XMPP_DOMAIN).verdict["result"] == "ok"
    assert relay.count("xmpp_links_opened_total") == links
    assert relay.count("xmpp_stanzas_sent_total") == sent
    assert relay.control("show errors") == errors
    assert alice.send(f"sip:{romeo.jid}", "after").status == 200
    assert [romeo.next_message()["body"] for _ in range(2)] == ["before", "after"]


def test_other_direction(relay, prosody, prosody_many, xmpp_user, sip_user):
    """A stream that is there, and the last one that was refused."""
    romeo, alice = xmpp_user(prosody, "romeo"), sip_user("alice")
    romeo.send(f"alice@{SIP_DOMAIN}", "I am here")
    assert alice.next_request().body == b"I am here"
    rows = Explanation(relay, XMPP_DOMAIN).of("inbound", "ok")
    assert any(f"{XMPP_DOMAIN}>{SIP_DOMAIN}" in row and "proof external" in row
               for row in rows), rows
    paris = xmpp_user(prosody_many, "paris", EXPIRED_DOMAIN)
    paris.send(f"alice@{SIP_DOMAIN}", "Trust me!")
    assert "certificate" in paris.next_fault().text
    refused = Explanation(relay, EXPIRED_DOMAIN).of("inbound", "note")[0]
    assert f"{EXPIRED_DOMAIN} (as it says): " in refused, refused


def test_program(relay, prosody):
    """Its status says how it went; text and JSON come row by row."""
    status, text = ctl(relay, "explain", XMPP_DOMAIN, "--tenant", "sip")
    assert status == 0, text
    lines = text.splitlines()
    assert lines[0].split() == ["step", "result", "ms", "target", "text"]
    assert lines[-1].startswith("verdict      ok      -       -")
    status, text = ctl(relay, "-j", "explain", DOWN_DOMAIN, "--tenant", "sip")
    assert status == 1 and json.loads(text)[-1]["result"] == "failed"
    for words, answer in ((("explain", XMPP_DOMAIN), "error: for which tenant?"),
                          (("explain", XMPP_DOMAIN, "--tenant", "nobody"), "error: no tenant"),
                          (("explain", "two@@ats", "--tenant", "sip"), "error: explain DOMAIN: this is no"),
                          (("explain", "192.0.2.1", "--tenant", "sip"), "error: explain DOMAIN: this is"),
                          (("explain", XMPP_DOMAIN, "why"), "error: explain DOMAIN"),
                          (("ping", "sip", "@"), "error: this is no XMPP address"),
                          (("ping", "nobody", XMPP_DOMAIN), "error: no tenant"),
                          (("ping", "sip", XMPP_DOMAIN, "why"), "error: ping TENANT ADDRESS")):
        status, text = ctl(relay, *words)
        assert status == 1 and text.startswith(answer), (words, text)


def test_only_some_at_a_time(relay, world, dns_server):
    """More than four are refused, and who goes away makes room."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", world.nobody))
        mute.listen()
        waiting = []
        for _ in range(4):
            one = socket.socket(socket.AF_UNIX)
            one.connect(str(relay.folder / "stats.sock"))
            one.sendall(f"explain {DOWN_DOMAIN} tenant sip\n".encode())
            assert one.recv(10) == b"step\tresul"
            waiting.append(one)
        answer = relay.control(f"explain {DOWN_DOMAIN} tenant sip")
        assert answer.startswith("error: enough partners"), answer
        for one in waiting:
            one.close()
    peers.wait_for("there is room again", lambda: "verdict" in relay.control(
        f"explain {XMPP_DOMAIN} tenant {CLOSED_DOMAIN}"))


def test_ping(relay, prosody, prosody_many, xmpp_user):
    romeo = xmpp_user(prosody, "romeo")
    status, text = ctl(relay, "ping", "sip", XMPP_DOMAIN)
    assert status == 0 and re.search(rf"ping +ok +\d+ +{XMPP_DOMAIN} +pong\n", text), text
    status, text = ctl(relay, "ping", "sip", f"nobody@{XMPP_DOMAIN}/desk")
    assert status == 1 and "service-unavailable" in text, text
    status, text = ctl(relay, "ping", "sip", str(romeo.jid), "--from", "operator", "--message",
                       "A word <from> the operator")
    assert status == 0 and "has taken the message" in text, text
    message = romeo.next_message()
    assert message["body"] == "A word <from> the operator"
    assert message["from"].bare == f"operator@{SIP_DOMAIN}"
    status, text = ctl(relay, "ping", "sip", DOWN_DOMAIN)
    assert status == 1 and "Connection refused" in text, text
    status, text = ctl(relay, "-j", "ping", "closed", XMPP_DOMAIN)
    row, = json.loads(text)
    assert status == 1 and row["result"] == "failed" and "forbidden" in row["text"], row
