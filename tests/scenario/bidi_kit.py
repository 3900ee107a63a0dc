# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that has opened a stream which goes both ways (XEP-0288), in the hands of a test."""
import contextlib
import queue
import re
import socket
import threading

import attack_certificates as certificates
import peers
from attack_kit import PATIENCE_S, SECOND, TENANT, Closed, message, sip
from policy_kit import claim

NS_SM = "urn:xmpp:sm:3"
OFFER = "<bidi xmlns='urn:xmpp:features:bidi'/>"
ENABLED = "<bidi xmlns='urn:xmpp:bidi'/>"
ENABLE = f"<enable xmlns='{NS_SM}' resume='true'/>"
PONG = re.compile(r"<iq type='get' from='([^']*)' to='([^']*)' id='(ping-\d+)'")


class Caller:
    """Enables bidi on its stream to the relay, proves itself, says `first`, and then takes what
    comes: pings are answered, stanzas counted (from `count` on) and acknowledged as `handled`
    says, and put into `stanzas`; what else comes, into `heard`."""

    def __init__(self, relay, domain=SECOND, to=TENANT, first="", credential=None, dialback=False,
                 before=ENABLED, count=0):
        self.relay, self.domain = relay, domain
        self.stanzas, self.heard, self.count = queue.Queue(), queue.Queue(), count
        self.handled, self.pongs = lambda count: count, True
        credential = credential or relay.authority.issue(domain, [certificates.dns(domain)])
        self.stream = stream = relay.stream()
        self.peer = "{}:{}".format(*stream.socket.getsockname())
        self.features = stream.starttls(credential.client(), to, domain)
        stream.send(before)
        if dialback:
            self.verdict = claim(stream, domain, to)
        else:
            stream.external(to, domain)
        stream.send(first)
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    def _collect(self):
        with contextlib.suppress(OSError, Closed, TimeoutError, ValueError):
            while True:
                element = self.stream.until("</message>", "</iq>", "/>", "</stream:stream>")
                kind = re.match(r"<(message|iq|failed) ", element)
                if kind and not element.endswith(f"</{kind.group(1)}>") and not re.match(
                        r"<iq [^>]*/>$", element):
                    element += self.stream.until(f"</{kind.group(1)}>")
                self._take(element)
        self.heard.put("</stream:stream>")

    def _take(self, element):
        if element.startswith("<r "):
            self.say(f"<a xmlns='{NS_SM}' h='{self.handled(self.count)}'/>")
        elif element.startswith(("<message ", "<iq ")):
            self.count += 1
            self.stanzas.put(element)
            found = PONG.match(element)
            if found and self.pongs:
                self.say(f"<iq type='result' from='{found.group(2)}' to='{found.group(1)}' "
                         f"id='{found.group(3)}'/>")
        else:
            self.heard.put(element)

    def say(self, text):
        self.stream.send_quietly(text)

    def told(self, mark):
        """What else comes, up to this."""
        text = ""
        while mark not in text:
            text += self.heard.get(timeout=PATIENCE_S)
        return text

    def got(self, mark):
        """The stanza with it."""
        while mark not in (stanza := self.stanzas.get(timeout=PATIENCE_S)):
            pass
        return stanza

    def all(self):
        """The stanzas that have come so far."""
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self.stanzas.get_nowait())
        return "".join(found)

    def rows(self, direction=None):
        return [row for row in self.relay.sessions() if row["remote"] == self.domain and
                direction in (None, row["direction"])]

    def settle(self):
        """A stanza of its own, after which it will not want acknowledgements."""
        self.say(f"<presence from='x@{self.domain}' to='bob@{TENANT}'/>")
        peers.wait_for("it has come", lambda: any(
            row["stanzas_in"] for row in self.rows("in")))
        return self

    def close(self):
        """Its reader first: the number of a closed socket may be another one's a moment later."""
        with contextlib.suppress(OSError):
            self.stream.socket.shutdown(socket.SHUT_RDWR)
        self._reader.join(PATIENCE_S)
        self.stream.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
        peers.wait_for("its stream is gone", lambda: not [
            row for row in self.rows() if row["peer"] == self.peer])


def to_xmpp(scene, text="hello", domain=SECOND, trunk=None, sender=f"sip:bob@{TENANT}"):
    """The status of a message to that server."""
    return (trunk or scene.trunk).ask(sip(uri=f"sip:juliet@{domain}", sender=sender, body=text))


def say(text, to="bob", domain=SECOND):
    return message(text, sender=f"juliet@{domain}", to=f"{to}@{TENANT}", stanza_id=text)


def kept(scene, text):
    """The request with this text; older ones may come again."""
    while text.encode() not in (request := scene.trunk.requests.get(timeout=PATIENCE_S)):
        pass
    return request
