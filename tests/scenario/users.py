# SPDX-License-Identifier: GPL-3.0-or-later
"""The people of the scenarios: an XMPP user (slixmpp, on a thread of its own) and a SIP user
(a UDP socket that registers, sends and answers)."""
import asyncio
import queue
import re
import socket
import threading
import uuid

import slixmpp

from peers import ADDRESS, PATIENCE_S


NS_STANZAS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"


class Fault:
    """The error that a stanza is; slixmpp itself does not know every condition."""

    def __init__(self, message):
        assert message["type"] == "error", message
        error = message.xml.find("{jabber:client}error")
        self.id, self.sender, self.type = message["id"], message["from"].bare, error.get("type")
        names = [child.tag.removeprefix(NS_STANZAS) for child in error]
        self.condition = next(name for name in names if name != "text")
        self.text = error.findtext(f"{NS_STANZAS}text") or ""

    def __repr__(self):
        return f"<{self.type} {self.condition} {self.text!r} by {self.sender}>"


class XmppUser:
    """Logs in at a server, at its first domain unless told; what arrives waits in queues."""

    def __init__(self, server, user, domain=None, resource="scenario"):
        self.jid = f"{user}@{domain or server.domain}"
        self.messages, self.presences = queue.Queue(), queue.Queue()
        self._server, self._resource = server, resource
        self._password = server.users[user]
        self._online, self._loop, self._client = threading.Event(), None, None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        client = slixmpp.ClientXMPP(f"{self.jid}/{self._resource}", self._password)
        self._client = client
        # The way to its own server is the loopback: no TLS to be set up for it.
        client["feature_mechanisms"].unencrypted_plain = True
        client.add_event_handler("session_start", self._start_session)
        # Events for messages leave out errors and receipts: whole stanzas are taken.
        for kind, target in (("message", self.messages), ("presence", self.presences)):
            client.register_handler(slixmpp.Callback(
                f"all {kind}s", slixmpp.xmlstream.matcher.StanzaPath(kind), target.put))
        client.connect(address=(ADDRESS, self._server.c2s_port), use_ssl=False,
                       disable_starttls=True)
        self._loop.run_forever()
        self._loop.close()

    def _start_session(self, _):
        self._client.send_presence()
        self._online.set()

    def _on_loop(self, call, *arguments):
        self._loop.call_soon_threadsafe(call, *arguments)

    def send(self, recipient, body, kind="chat", stanza_id=None):
        stanza_id = stanza_id or uuid.uuid4().hex

        def deliver():
            message = self._client.make_message(recipient, body, mtype=kind)
            message["id"] = stanza_id
            message.send()
        self._on_loop(deliver)
        return stanza_id

    def send_raw(self, text):
        self._on_loop(self._client.send_raw, text)

    def next_message(self, patience_s=PATIENCE_S):
        return self.messages.get(timeout=patience_s)

    def next_fault(self, patience_s=PATIENCE_S):
        return Fault(self.next_message(patience_s))

    def __enter__(self):
        self._thread.start()
        if not self._online.wait(PATIENCE_S):
            raise TimeoutError(f"{self.jid} did not come online")
        return self

    def __exit__(self, *_):
        async def leave():
            await self._client.disconnect(wait=1)
            # slixmpp leaves its filter task waiting for ever; left alone it complains at exit.
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._loop.call_soon(self._loop.stop)
        asyncio.run_coroutine_threadsafe(leave(), self._loop)
        self._thread.join(5)


class SipMessage:
    """A request or response as received: start line, headers (lower case, lists), body."""

    def __init__(self, data, source=None):
        head, _, body = data.partition(b"\r\n\r\n")
        lines = re.sub(r"\r\n[ \t]+", " ", head.decode()).split("\r\n")
        self.start, self.body, self.source, self.headers = lines[0], body, source, {}
        short = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact",
                 "l": "content-length", "c": "content-type"}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            self.headers.setdefault(short.get(name, name), []).append(value.strip())
        self.status = int(self.start.split()[1]) if self.start.startswith("SIP/") else None
        self.method = self.start.split()[0] if self.status is None else None

    def header(self, name):
        return self.headers.get(name.lower(), [None])[0]


class SipUser:
    """One UDP socket. Requests are answered as `answer` says (default 200) and queued."""

    def __init__(self, user, domain, port, proxy_port):
        self.uri, self.user = f"sip:{user}@{domain}", user
        self.domain, self.proxy = domain, (ADDRESS, proxy_port)
        self.requests, self.responses = queue.Queue(), queue.Queue()
        self.answer = lambda request: "200 OK"
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((ADDRESS, port))
        self._socket.settimeout(0.2)
        self.port = port
        self._seen, self._sequence, self._over = set(), 0, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while not self._over.is_set():
            try:
                data, source = self._socket.recvfrom(65535)
            except socket.timeout:
                continue
            if not data.strip():
                continue
            message = SipMessage(data, source)
            if message.status is not None:
                self.responses.put(message)
                continue
            status = self.answer(message)
            # Retransmissions are answered too, but told once.
            key = (message.header("call-id"), message.header("cseq"), message.header("via"))
            if key not in self._seen:
                self._seen.add(key)
                self.requests.put(message)
            if status is not None and message.method != "ACK":
                self._socket.sendto(self._response(message, status), source)

    @staticmethod
    def _response(request, status):
        lines = [f"SIP/2.0 {status}"]
        lines += [f"Via: {via}" for via in request.headers["via"]]
        lines += [f"Record-Route: {route}" for route in request.headers.get("record-route", [])]
        to = request.header("to")
        lines += [f"From: {request.header('from')}",
                  f"To: {to}" if ";tag=" in to else f"To: {to};tag={uuid.uuid4().hex[:8]}",
                  f"Call-ID: {request.header('call-id')}", f"CSeq: {request.header('cseq')}",
                  "Content-Length: 0", "", ""]
        return "\r\n".join(lines).encode()

    def request(self, method, uri, to, body=b"", headers=()):
        """Sends a request outside of a dialog and returns its final response."""
        self._sequence += 1
        branch, call = f"z9hG4bK{uuid.uuid4().hex}", uuid.uuid4().hex
        lines = [f"{method} {uri} SIP/2.0",
                 f"Via: SIP/2.0/UDP {ADDRESS}:{self.port};branch={branch};rport",
                 "Max-Forwards: 70", f"From: <{self.uri}>;tag={uuid.uuid4().hex[:8]}",
                 f"To: <{to}>", f"Call-ID: {call}", f"CSeq: {self._sequence} {method}",
                 *headers, f"Content-Length: {len(body)}", "", ""]
        data = "\r\n".join(lines).encode() + body
        interval_s = 0.5
        while interval_s < PATIENCE_S:
            self._socket.sendto(data, self.proxy)
            try:
                while True:
                    response = self.responses.get(timeout=interval_s)
                    if response.header("call-id") == call and response.status >= 200:
                        return response
            except queue.Empty:
                interval_s *= 2
        raise TimeoutError(f"{method} {uri}: no final response")

    def register(self, port=None, expires_s=600):
        """For itself, or for somebody else at `port`."""
        contact = f"Contact: <sip:{self.user}@{ADDRESS}:{port or self.port}>"
        return self.request("REGISTER", f"sip:{self.domain}", self.uri,
                            headers=[contact, f"Expires: {expires_s}"])

    def send(self, uri, text, headers=()):
        return self.request("MESSAGE", uri, uri, text.encode(),
                            ["Content-Type: text/plain;charset=UTF-8", *headers])

    def next_request(self, patience_s=PATIENCE_S):
        return self.requests.get(timeout=patience_s)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join(5)
        self._socket.close()
