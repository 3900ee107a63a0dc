# SPDX-License-Identifier: GPL-3.0-or-later
"""Raw streams and sockets, byte by byte in the hands of an attack test, and servers on a port of
their own that the relay connects to."""
import base64
import contextlib
import itertools
import queue
import re
import socket
import threading

import peers

TENANT, OTHER_TENANT, TLS_TENANT = "a.example", "b.example", "t.example"
PARTNER = "good.example"
SECOND = "second.example"  # for the test to play
# As SECOND, and they have to prove themselves by their certificates.
STRICT = [f"strict{number}.example" for number in range(4)]
HOSTILE = [f"h{number}.example" for number in range(40)]  # one for each attack as a server
SECRET = "the secret of the dialback keys"
TRUNK_HOST, OTHER_TRUNK_HOST = "127.0.0.2", "127.0.0.3"
STRANGER_HOST, PARTNER_HOST = "127.0.0.9", "127.0.0.10"
POOL = "pool.t.example"  # what the TLS trunk's certificate must prove
PATIENCE_S = 20
HEADER = ("<?xml version='1.0'?><stream:stream xmlns='jabber:server' "
          "xmlns:stream='http://etherx.jabber.org/streams' "
          "xmlns:db='jabber:server:dialback'{} version='1.0'>")
NS_TLS = "urn:ietf:params:xml:ns:xmpp-tls"
NS_SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
numbers = itertools.count(1)


def header(to=TENANT, sender=PARTNER):
    return HEADER.format("".join(f" {name}='{value}'" for name, value in
                                 (("to", to), ("from", sender)) if value is not None))


def condition(text):
    """The stream error in it, or None."""
    found = re.search(r"<stream:error><([a-z-]+) ", text)
    return found and found.group(1)


def message(body, sender=f"juliet@{PARTNER}", to=f"bob@{TENANT}", stanza_id="m", inside="",
            kind="chat"):
    return (f"<message from='{sender}' to='{to}' type='{kind}' id='{stanza_id}'>"
            f"<body>{body}</body>{inside}</message>")


class Closed(Exception):
    """The relay ended the connection where it should have gone on."""


class Stream:
    """A connection to the relay's XMPP side, byte by byte in the hands of the test."""

    def __init__(self, port, source=STRANGER_HOST):
        self.socket = socket.create_connection((peers.ADDRESS, port), timeout=PATIENCE_S,
                                               source_address=(source, 0))
        self.unread, self.ended, self.lock = "", False, threading.Lock()

    def send(self, data):
        with self.lock:  # one TLS connection is not for two threads at once
            self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def send_quietly(self, data):
        """As much as the relay takes before it closes."""
        with contextlib.suppress(OSError):
            self.send(data)

    def _receive(self):
        try:
            data = self.socket.recv(65536)
        except (ConnectionError, OSError) as error:
            if isinstance(error, socket.timeout):
                raise TimeoutError(f"the relay says nothing; so far: {self.unread}") from error
            data = b""
        self.ended = self.ended or not data
        self.unread += data.decode()

    def until(self, *marks):
        """Reads until one of the marks; returns everything up to its end."""
        while True:
            ends = [self.unread.find(mark) + len(mark) for mark in marks if mark in self.unread]
            if ends:
                text, self.unread = self.unread[:min(ends)], self.unread[min(ends):]
                return text
            if self.ended:
                raise Closed(f"instead of {marks}: {self.unread}")
            self._receive()

    def rest(self):
        """Everything until the relay closes."""
        while not self.ended:
            self._receive()
        text, self.unread = self.unread, ""
        return text

    def error(self):
        """The stream error with which the relay closes; None when it says none."""
        return condition(self.rest())

    def open(self, to=TENANT, sender=PARTNER):
        self.send(header(to, sender))
        return self.until("</stream:features>")

    def wrap(self, context, name=TENANT):
        self.socket = context.wrap_socket(self.socket, server_hostname=name)
        return self

    def starttls(self, context, to=TENANT, sender=PARTNER, name=None):
        """Up to the features under TLS, which are returned."""
        self.open(to, sender)
        self.send(f"<starttls xmlns='{NS_TLS}'/>")
        self.until("<proceed", "/>")
        self.until("/>")
        self.wrap(context, to if name is None else name)
        return self.open(to, sender)

    def external(self, to=TENANT, sender=PARTNER, authzid="="):
        self.send(f"<auth xmlns='{NS_SASL}' mechanism='EXTERNAL'>{authzid}</auth>")
        self.until("<success", "/>")
        self.until("/>")
        self.open(to, sender)
        return self

    def barrier(self, sender=PARTNER):
        """Everything before it has been handled when this returns: a question of a kind that is
        answered on the stream itself, a dialback result for a domain that is not served."""
        mark = f"barrier{next(numbers)}.invalid"
        self.send(f"<db:result from='{sender}' to='{mark}'>x</db:result>")
        return self.until(mark) + self.until("</db:result>")

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def base64_of(text):
    return base64.b64encode(text.encode()).decode()


class Server:
    """An XMPP server on a port of its own that the relay connects to. `serve` is what one
    connection gets; the honest one authenticates the relay and hands its stanzas to `stanzas`."""

    def __init__(self, port, credential, domain=PARTNER):
        self.domain, self.credential, self.stanzas = domain, credential, queue.Queue()
        self.answer = lambda stanza: None
        self._listener = socket.create_server((peers.ADDRESS, port))
        self._open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection):
        stream = Stream.__new__(Stream)
        stream.socket, stream.unread, stream.ended = connection, "", False
        stream.lock = threading.Lock()
        with contextlib.suppress(OSError, Closed, TimeoutError, ValueError):
            self.serve(stream)
        stream.close()

    def greet(self, stream, features):
        start = stream.until("version='1.0' xml:lang='en'>")
        local = re.search(r" from='([^']*)'", start).group(1)
        stream.send(HEADER.format(f" from='{self.domain}' to='{local}' id='i{next(numbers)}'"))
        if features is not None:
            stream.send(f"<stream:features>{features}</stream:features>")
        return local

    def secure(self, stream):
        """STARTTLS, up to the relay's header under TLS."""
        self.greet(stream, f"<starttls xmlns='{NS_TLS}'><required/></starttls>")
        stream.until("<starttls")
        stream.until("/>")
        stream.send(f"<proceed xmlns='{NS_TLS}'/>")
        stream.socket = self.credential.server().wrap_socket(stream.socket, server_side=True)
        self._open.append(stream.socket)

    def serve(self, stream):
        self.secure(stream)
        self.greet(stream, f"<mechanisms xmlns='{NS_SASL}'><mechanism>EXTERNAL</mechanism>"
                           "</mechanisms>")
        stream.until("</auth>")
        stream.send(f"<success xmlns='{NS_SASL}'/>")
        self.greet(stream, "")
        self.collect(stream)

    def collect(self, stream):
        while True:
            stanza = stream.until("</message>", "</iq>", "</db:result>", "</db:verify>")
            self.stanzas.put(stanza)
            self.answer(stanza)

    def close(self):
        # Each connection is closed by who reads it: its number may be another one's at once.
        for one in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Datagrams:
    """A UDP user agent behind a trunk: answers requests 200 and keeps what arrives."""

    def __init__(self, host, port, relay_port):
        self.host, self.relay = host, (peers.ADDRESS, relay_port)
        self.requests, self.responses = queue.Queue(), queue.Queue()
        self.status = "200 OK"
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, port))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError, ValueError):
            while True:
                data, source = self._socket.recvfrom(65535)
                if data.startswith(b"SIP/2.0"):
                    self.responses.put(data)
                elif data:
                    self.requests.put(data)
                    if self.status is not None:
                        self._socket.sendto(answer(data, self.status), source)

    def send(self, data):
        self._socket.sendto(data if isinstance(data, bytes) else data.encode(), self.relay)

    def response(self, patience_s=PATIENCE_S):
        return self.responses.get(timeout=patience_s)

    def ask(self, data):
        """The status of the final answer; responses to other requests are dropped. Datagrams may
        be lost on a busy machine: it is sent again as Timer E does, every second."""
        call = re.search(rb"\r\nCall-ID: [^\r]*", data).group()
        for _ in range(PATIENCE_S):
            self.send(data)
            with contextlib.suppress(queue.Empty):
                while True:
                    response = self.response(patience_s=1)
                    if call in response and status_of(response) >= 200:
                        return status_of(response)
        raise TimeoutError("no final response")

    def close(self):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def status_of(data):
    return int(data.split(b" ", 2)[1])


def answer(request, status, extra=""):
    """A response to a request, by its own header lines."""
    head = request.split(b"\r\n\r\n", 1)[0].decode().split("\r\n")[1:]
    kept = [line for line in head if line.split(":")[0].lower() in
            ("via", "from", "to", "call-id", "cseq")]
    kept = [line + ";tag=there" if line.startswith("To:") and ";tag=" not in line else line
            for line in kept]
    return ("\r\n".join([f"SIP/2.0 {status}", *kept]) +
            f"\r\n{extra}Content-Length: 0\r\n\r\n").encode()


def sip(method="MESSAGE", uri=f"sip:juliet@{PARTNER}", sender=f"sip:bob@{TENANT}", body="hello",
        via=None, transport="UDP", **changes):
    """A request as text. `changes` replaces header lines by name (Max_Forwards=…): None leaves
    one out, a list repeats it."""
    number = next(numbers)
    data = body if isinstance(body, bytes) else body.encode()
    lines = {"Via": via or f"SIP/2.0/{transport} 127.0.0.2:5099;branch=z9hG4bKx{number};rport",
             "Max-Forwards": "70", "From": f"<{sender}>;tag=f{number}", "To": f"<{uri}>",
             "Call-ID": f"c{number}@attack", "CSeq": f"1 {method}",
             "Content-Type": "text/plain;charset=UTF-8", "Content-Length": str(len(data))}
    lines.update({name.replace("_", "-"): value for name, value in changes.items()})
    text = f"{method} {uri} SIP/2.0\r\n"
    for name, value in lines.items():
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                text += f"{name}: {one}\r\n"
    return text.encode("utf-8", "surrogateescape") + b"\r\n" + data


class Connection:
    """A TCP or TLS connection to the relay's SIP side; `head` is sent before TLS."""

    def __init__(self, port, source=TRUNK_HOST, context=None, name=None, head=b""):
        self.socket = socket.create_connection((peers.ADDRESS, port), timeout=PATIENCE_S,
                                               source_address=(source, 0))
        self.send_quietly(head)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname=name)
        self.unread, self.ended = b"", False

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def send_quietly(self, data):
        with contextlib.suppress(OSError):
            self.send(data)

    def _receive(self):
        try:
            data = self.socket.recv(65536)
        except socket.timeout as error:
            raise TimeoutError(f"the relay says nothing; so far: {self.unread}") from error
        except OSError:
            data = b""
        self.ended = self.ended or not data
        self.unread += data

    def response(self):
        """The next response, which has no body."""
        while b"\r\n\r\n" not in self.unread:
            if self.ended:
                raise Closed(self.unread)
            self._receive()
        text, self.unread = self.unread.split(b"\r\n\r\n", 1)
        return text + b"\r\n\r\n"

    def ask(self, data):
        self.send(data)
        while True:
            status = status_of(self.response())
            if status >= 200:
                return status

    def rest(self):
        while not self.ended:
            self._receive()
        return self.unread

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
