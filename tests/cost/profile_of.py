# SPDX-License-Identifier: GPL-3.0-or-later
"""What callgrind wrote, read: instructions by function, and which stage of a message's way a
function belongs to. Standard library only."""
import fnmatch
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

# In the order of the table. A pattern is a file of the project, or the name of a shared library;
# the first that fits counts. wolfSSL's own files are known by where they are.
STAGES = (
    ("TLS", ("wolfssl", "net/tls*")),
    ("XML: expat", ("libexpat*",)),
    ("XML: gate, tree", ("proto/xml_*",)),
    ("stream, policy", ("proto/s2s*", "proto/service_iq*", "core/session*", "core/relay_in*",
                        "core/config*", "core/census*", "core/dialback*", "core/quota*",
                        "core/rules*", "core/consent*", "core/trust*", "core/intake*")),
    ("addresses", ("proto/jid*", "proto/precis*", "proto/utf8*", "proto/address_map*",
                   "proto/sip_uri*", "libidn2*", "libunistring*", "net/address*")),
    ("mapping", ("proto/map_*", "proto/message_body*", "proto/cpim*", "proto/mime*",
                 "proto/error_map*", "proto/stanza_error*")),
    ("link", ("core/link*", "core/breaker*")),
    ("mesh, loops", ("core/mesh*", "core/parcel*", "core/worker*", "core/egress*", "core/thread*", "core/reload*",
                     "core/route*")),
    ("SIP: guard, parse", ("proto/sip_guard*", "proto/sip_line*", "proto/sip_message*",
                           "proto/sip_response*", "proto/sip_method*", "libsofia*")),
    ("SIP: checks, transactions", ("proto/sip_transaction*", "core/sip_uac*", "core/sip_uas*",
                                   "core/sip_attempt*", "core/sip_answered*", "core/sip_check*",
                                   "core/sip_route*", "core/sip_own*", "core/sip_quota*",
                                   "core/trunk*",
                                   "core/timer*")),
    ("SIP: compose", ("proto/sip_write*", "core/sip_compose*", "core/sip_reply*")),
    ("SIP: transports", ("core/sip_transport*", "core/sip_connection*", "core/sip_stream*",
                         "core/sip_tls*")),
    ("allocator", ("libjemalloc*", "core/heap*")),
    ("rest", ("*",)),
)
# What serves everybody is put where it was called from.
HELPERS = ("proto/writer*", "proto/arena*", "proto/span*", "net/buffer*", "net/keyed_hash*",
           "net/digest*", "core/table*", "libc.so*", "libm.so*", "ld-linux*")
# Not the relay's: the few instructions around a turn, and what was not there when it was linked.
OUTSIDE = ("tests/*", "bench/*")
ROUNDS = 30  # helpers call helpers, no deeper than this


INSTRUCTIONS = ("Ir",)
COLD_LINES = ("DLmr", "DLmw")  # data that is in no cache (callgrind --cache-sim)


class Function:
    """Of one name in one object: what it cost itself, and who called it for how much."""

    def __init__(self, place, name):
        self.place, self.name = place, name
        self.own, self.callers = 0, {}


def place_of(ob, file):
    """A file of the project, "wolfssl", or the name of a shared library."""
    if ".so" in ob:
        return pathlib.Path(ob).name
    if file.startswith(f"{ROOT}/"):
        return file[len(f"{ROOT}/"):]
    return "wolfssl" if re.search(r"\bwolfcrypt/|\bsrc/\w+\.c$|_asm\.S$", file) else file


class Reader:
    """One callgrind file: names are written once and then named by number."""

    def __init__(self, events=INSTRUCTIONS):
        self.names = {"ob": {}, "fl": {}, "fn": {}}
        self.functions = {}
        self.events, self.columns = events, [1]

    def cost(self, line):
        """The sum of the events; zeros at the end of a line are left out."""
        words = line.split()
        return sum(int(words[column]) for column in self.columns if column < len(words))

    def name(self, kind, text):
        number, _, name = text.partition(" ")
        if name:
            self.names[kind][number] = name
        return self.names[kind][number]

    def function(self, ob, file, name):
        # A name is enough within an object, but for static functions of one name.
        key = ob, file, name
        if key not in self.functions:
            self.functions[key] = Function(place_of(ob, file), name)
        return self.functions[key]

    def read(self, path):
        ob = file = target_ob = target_file = ""
        current = target = None
        is_call = False
        for line in path.read_text().splitlines():
            kind, _, text = line.partition("=")
            if line.startswith("events: "):
                self.columns = [line.split().index(event) for event in self.events]
            elif kind == "ob":
                ob = self.name("ob", text)
            elif kind in ("fl", "fi", "fe"):
                found = self.name("fl", text)
                file = found if kind == "fl" else file  # what was inlined stays its user's
            elif kind == "fn":
                current = self.function(ob, file, self.name("fn", text))
                target_ob, target_file = ob, file
            elif kind == "cob":
                target_ob = self.name("ob", text)
            elif kind in ("cfi", "cfl"):
                target_file = self.name("fl", text)
            elif kind == "cfn":
                target = self.function(target_ob, target_file, self.name("fn", text))
                target_ob, target_file = ob, file
            elif kind == "calls":
                is_call = True
            elif line[:1] in tuple("0123456789+-*") and current is not None:
                cost = self.cost(line)
                if is_call:
                    target.callers[current] = target.callers.get(current, 0) + cost
                else:
                    current.own += cost
                is_call = False
        return self.functions


def fits(place, patterns):
    return any(fnmatch.fnmatchcase(place, pattern) for pattern in patterns)


def stage_of(function):
    """None: a helper. "": not the relay."""
    if fits(function.place, OUTSIDE):
        return ""
    if fits(function.place, HELPERS):
        return None
    return next(name for name, patterns in STAGES if fits(function.place, patterns))


def shares(functions):
    """Function → {stage: share}. A helper's instructions are its callers' in the proportion of
    what they called it for: exact for those that call nothing themselves."""
    known = {}
    for function in functions:
        stage = stage_of(function)
        known[function] = {stage: 1.0} if stage is not None else {"rest": 1.0}
    helpers = [function for function in functions if stage_of(function) is None]
    for _ in range(ROUNDS):
        for function in helpers:
            total = sum(cost for caller, cost in function.callers.items() if caller != function)
            mixed = {}
            for caller, cost in function.callers.items():
                for stage, share in known[caller].items() if cost and caller != function else ():
                    mixed[stage] = mixed.get(stage, 0) + share * cost / total
            known[function] = mixed or known[function]
    return known


class Profile:
    """Instructions (or `events`) for each message: what `twice` as many messages cost beyond `once`. What a
    beginning and an end cost is in both and falls out."""

    def __init__(self, once, twice, messages, events=INSTRUCTIONS):
        first, second = Reader(events).read(once), Reader(events).read(twice)
        self.own = {function: (function.own - (first[key].own if key in first else 0)) / messages
                    for key, function in second.items()}
        self.shares = shares(list(second.values()))

    def stages(self):
        sums = {name: 0.0 for name, _ in STAGES}
        for function, own in self.own.items():
            for stage, share in self.shares[function].items():
                if stage:
                    sums[stage] += own * share
        return {name: round(value) for name, value in sums.items()}

    def top(self, count):
        """The most expensive functions: (instructions, stage, place, name)."""
        rows = sorted(((own, function) for function, own in self.own.items()
                       if stage_of(function) != ""), key=lambda row: -row[0])
        return [(own, max(self.shares[function], key=self.shares[function].get), function.place,
                 function.name) for own, function in rows[:count]]

    def by_name(self):
        """(place, name) → what the function cost itself."""
        sums = {}
        for function, own in self.own.items():
            if stage_of(function) != "":
                key = function.place, function.name
                sums[key] = sums.get(key, 0) + own
        return sums
