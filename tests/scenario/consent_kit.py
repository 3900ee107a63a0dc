# SPDX-License-Identifier: GPL-3.0-or-later
"""A public_unverified partner, and who of it may write to whom."""
import contextlib
import queue

import peers
import policy_kit
from attack_wire import TENANT, message, numbers, sip
from policy_kit import Neighbour, enter

PUBLIC = "public.example"
DELIVERED = "delivered"


def running(folder, partner=None, more=(), **changes):
    """The relay with PUBLIC as a partner under `partner`'s rules, and `more` partners. `changes`
    are keys of other sections."""
    first = {"domain": PUBLIC, "type": "public_unverified", **(partner or {})}
    return policy_kit.running(folder, [], [first, *more], changes=changes)


def stored(folder):
    return {"path": str(folder / "store.db")}


class Public:
    """The partner's server, and a stream of its to the relay."""

    def __init__(self, scene, domain=PUBLIC):
        self.scene, self.domain, self.stream = scene, domain, None
        self.server = Neighbour(scene.relay, domain, "external")
        self.enter()

    def enter(self):
        if self.stream is not None:
            self.stream.close()
        self.stream = enter(self.scene.relay, self.domain, "external")

    def is_written_to(self, user="bob", peer="eve"):
        """The tenant's user writes, and it arrives."""
        text = f"from the tenant {next(numbers)}"
        status = self.scene.trunk.ask(sip(uri=f"sip:{peer}@{self.domain}",
                                          sender=f"sip:{user}@{TENANT}", body=text))
        assert status in (200, 202)
        while text not in self.server.stanzas.get(timeout=peers.PATIENCE_S):
            pass

    def send(self, user="bob", peer="eve", kind="chat"):
        """The partner's user writes; the text, which is the stanza's id, too."""
        text = f"from-outside-{next(numbers)}"
        self.stream.send(message(text, sender=f"{peer}@{self.domain}/home", to=f"{user}@{TENANT}",
                                 stanza_id=text, kind=kind))
        return text

    def outcome(self, text):
        """DELIVERED to SIP, or the error stanza that came back."""
        found = []

        def look():
            with contextlib.suppress(queue.Empty):
                while text.encode() not in self.scene.trunk.requests.get_nowait():
                    pass
                found.append(DELIVERED)
            with contextlib.suppress(queue.Empty):
                while text not in (stanza := self.server.stanzas.get_nowait()):
                    pass
                found.append(stanza)
            return found

        peers.wait_for("an outcome", look)
        return found[0]

    def writes(self, user="bob", peer="eve"):
        return self.outcome(self.send(user, peer))

    def close(self):
        self.stream.close()
        self.server.close()


def is_refused(outcome):
    return "<subscription-required " in outcome and "type='error'" in outcome


def start_again(relay):
    """After a stop or a kill: the log is one of several lives, so it does not tell."""
    relay.start()

    def answers():
        with contextlib.suppress(OSError):
            return "uptime_s" in relay.control("show info")

    peers.wait_for("the relay serves again", answers)
