# SPDX-License-Identifier: GPL-3.0-or-later
"""Partners under every rule there is, and the servers and claimants that they may be."""
import contextlib
import re

import attack_certificates as certificates
import peers
from attack_kit import AttackedRelay, Scene
from attack_wire import NS_SASL, PATIENCE_S, TENANT, Closed, Server

DIALBACK = "<dialback xmlns='urn:xmpp:features:dialback'/>"
EXTERNAL = f"<mechanisms xmlns='{NS_SASL}'><mechanism>EXTERNAL</mechanism></mechanisms>"
# What a server can do, and what it is called in `show policy`.
KINDS = {"external": "certificate", "dialback": "dialback", "clear": "dialback in clear"}

# SASL, dialback, TLS: what is left, as Skype for Business' administrators know it.
CELLS = {
    ("required", True, "required"): {"external"},
    ("required", True, "optional"): {"external", "dialback", "clear"},
    ("required", True, "not_supported"): {"clear"},
    ("required", False, "required"): {"external"},
    ("required", False, "optional"): {"external"},
    ("optional", True, "required"): {"external", "dialback"},
    ("optional", True, "optional"): {"external", "dialback", "clear"},
    ("optional", True, "not_supported"): {"clear"},
    ("optional", False, "required"): {"external"},
    ("optional", False, "optional"): {"external"},
    ("not_supported", True, "required"): {"dialback"},
    ("not_supported", True, "optional"): {"dialback", "clear"},
    ("not_supported", True, "not_supported"): {"clear"},
}


def domain_of(cell, what):
    """A partner of its own for each test: what went wrong with another one is forgotten."""
    return f"{what}.c{list(CELLS).index(cell)}.example"


def rules_of(cell):
    sasl, dialback, tls = cell
    return {"sasl": sasl, "dialback": dialback, "tls": tls}


@contextlib.contextmanager
def running(folder, names, more=(), tenant=None, proves=(), changes=None):
    """The relay of the attack tests, which has a partner for every cell and each of `names`; the
    rules of every second one stand at the tenant instead. `more` are further partners, `tenant`
    further keys of the first tenant, `proves` further names that `every` is good for, and
    `changes` keys of other sections."""
    relay = AttackedRelay(folder, changes)
    found = {"host": peers.ADDRESS, "port": relay.second}
    pairs = []
    for number, cell in enumerate(CELLS):
        for name in names:
            domain = domain_of(cell, name)
            place = pairs if number % 2 else relay.settings["partners"]
            place.append({"domain": domain, **rules_of(cell)})
            if place is pairs:
                relay.settings["partners"].append({"domain": domain, **found})
            else:
                place[-1].update(found)
    # Nobody here answers pings.
    relay.settings["xmpp"]["confirm_timeout_ms"] = 300
    relay.settings["tenants"][0].update({"partner_rules": pairs, **(tenant or {})})
    relay.settings["partners"] += [{**found, **one} for one in more]
    relay.write()
    names = [domain_of(cell, "*") for cell in CELLS] + [one["domain"] for one in more]
    names += proves
    relay.every = relay.authority.issue("every", [certificates.dns(name) for name in names])
    with relay, Scene(relay) as scene:
        yield scene
        assert relay.alive(), relay.tail()
        assert relay.stop() == 0, relay.tail()


class Neighbour(Server):
    """A server of one kind; as the authority it calls every key valid."""

    def __init__(self, relay, domain, kind):
        self.kind, self.speak, self.in_clear = kind, None, ""
        super().__init__(relay.second, relay.every, domain)

    def serve(self, stream):
        if self.kind == "clear":
            self.greet(stream, DIALBACK)
        else:
            self.secure(stream)
            self.greet(stream, EXTERNAL if self.kind == "external" else DIALBACK)
        if self.kind == "external":
            stream.until("</auth>")
            stream.send(f"<success xmlns='{NS_SASL}'/>")
            self.greet(stream, "")
        self.speak = stream
        self.collect(stream)

    def secure(self, stream):
        with contextlib.suppress(Closed):
            return super().secure(stream)
        self.in_clear += stream.rest()
        raise Closed("the relay does not begin TLS")

    def collect(self, stream):
        self.answer = self.answer_dialback
        super().collect(stream)

    def answer_dialback(self, stanza):
        found = re.search(r"<db:(\w+) from='([^']*)' to='([^']*)'(?: id='([^']*)')?", stanza)
        if found:
            kind, local, remote, number = found.groups()
            number = f" id='{number}'" if number else ""
            self.speak.send(f"<db:{kind} from='{remote}' to='{local}'{number} type='valid'/>")


def claim(stream, sender, to=TENANT):
    """A dialback claim, and the verdict."""
    stream.send(f"<db:result from='{sender}' to='{to}'>x</db:result>")
    stream.until("<db:result")
    return stream.until("/>", "</db:result>")


def enter(relay, domain, kind):
    """A stream to the relay that proves `domain` in this way; Closed where that is refused."""
    stream = relay.stream()
    if kind == "clear":
        stream.open(TENANT, domain)
    else:
        context = relay.every.client() if kind == "external" else certificates.plain_context()
        features = stream.starttls(context, TENANT, domain)
    if kind == "external" and "EXTERNAL" not in features:
        raise Closed("EXTERNAL is not offered")
    if kind == "external":
        return stream.external(TENANT, domain)
    verdict = claim(stream, domain)
    if "type='valid'" not in verdict:
        raise Closed(verdict)
    return stream


def session_of(relay, domain, direction):
    return next((one for one in relay.sessions()
                 if one["remote"] == domain and one["direction"] == direction), None)


def gone(relay, domain):
    peers.wait_for(f"streams of {domain} are gone",
                   lambda: not any(one["remote"] == domain for one in relay.sessions()),
                   PATIENCE_S)
