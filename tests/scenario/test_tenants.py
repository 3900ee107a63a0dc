# SPDX-License-Identifier: GPL-3.0-or-later
"""Tenants and partners in an SQLite file: passerellectl changes it, the relay follows, what is bad
is refused before anything is changed."""
import contextlib
import csv
import io
import json
import re
import sqlite3
import subprocess

import pytest
import yaml

import peers
import relay as relays
from attack_kit import certificates, running
from attack_wire import OTHER_TENANT, PARTNER, PARTNER_HOST, TENANT, TRUNK_HOST, sip
from ports import take_port
from test_bench import make_relay  # noqa: F401  (a fixture)
from test_reload import (NEW_TENANT, Reloads, accepted, reload_under_load, replace, shown,
                         welcomed)

CTL = relays.BUILD / "passerellectl"


class Tenants:
    """passerellectl over one configuration."""

    def __init__(self, config):
        self.config, self.file = config, config.parent / "tenants.db"

    def call(self, *words, data=None):
        return subprocess.run([CTL, "-c", self.config, *words], capture_output=True, text=True,
                              input=data, timeout=60, check=False)

    def run(self, *words, status=0, data=None):
        """Its standard output, or what it complains about."""
        done = self.call(*words, data=data)
        assert done.returncode == status, (words, done.stdout, done.stderr)
        return done.stderr if status else done.stdout

    def exported(self, table="tenant"):
        return json.loads(self.run(table, "export"))


def migrate(relay):
    """As docs/operations.md says: everything leaves the YAML for the file."""
    old = relay.folder / "old.yaml"
    old.write_text(yaml.safe_dump(relay.settings))
    del relay.settings["tenants"]
    relay.settings["tenants_file"] = "sqlite:tenants.db"
    relay.write()
    tenants = Tenants(relay.file)
    return tenants, tenants.run("tenant", "import", old)


@pytest.fixture
def scene(tmp_path):
    with running(tmp_path) as one:
        one.tenants, one.said = migrate(one.relay)
        yield one


@pytest.fixture
def quiet(tmp_path):
    """A configuration without a relay."""
    subprocess.run([relays.ROOT / "tools/dev-certificates", tmp_path, "relay"], check=True,
                   stdout=subprocess.DEVNULL)
    (tmp_path / "relay.yaml").write_text(
        "xmpp: {certificate: relay.pem, key: relay.key, ca_file: ca.pem}\n"
        "tenants_file: sqlite:tenants.db\n"
        "tenants:\n- {name: y, domains: [y.example], trunks: [{uri: 'sip:127.0.0.1'}]}\n")
    return Tenants(tmp_path / "relay.yaml")


# ---- with a relay ----

def test_moving_from_yaml_disturbs_nobody(scene):
    assert scene.said == ("done: 3 added, 0 changed, 0 removed\n"
                          "done: 3 tenants (0 added, 0 removed, 0 changed), "
                          f"{len(scene.relay.settings['partners'])} partners\n")
    scene.check()


def test_a_tenant_comes_and_goes(scene):
    relay, port = scene.relay, take_port()
    said = scene.tenants.run(
        "tenant", "add", "new", f"domains={NEW_TENANT} also.example",
        f"trunks[0].uri=sip:{TRUNK_HOST}:{port};transport=udp", "trunks[0].options_interval=0")
    assert said.splitlines() == ["done: 1 added, 0 changed, 0 removed",
                                 "done: 4 tenants (1 added, 0 removed, 0 changed), "
                                 f"{len(relay.settings['partners'])} partners"]
    with welcomed(scene, port) as trunk:
        assert "(0 added, 0 removed, 1 changed)" in scene.tenants.run(
            "tenant", "set", "new", "policy=list", "partners+=other.example")
        assert trunk.ask(sip(sender=f"sip:bob@{NEW_TENANT}")) == 403
        assert "(0 added, 0 removed, 1 changed)" in scene.tenants.run(
            "tenant", "set", "new", "partners+=" + PARTNER, "partners-=other.example")
        assert scene.tenants.run("tenant", "show", "new").splitlines()[1:3] == [
            f"partners={PARTNER}", "policy=list"]
        assert "(0 added, 1 removed, 0 changed)" in scene.tenants.run("tenant", "del", "new")
        assert trunk.ask(sip(sender=f"sip:bob@{NEW_TENANT}")) == 403
    scene.line = relay.trusted(source=PARTNER_HOST)
    scene.check(quiet=False)


def test_a_partner_moves_into_the_file(scene):
    relay = scene.relay
    relay.settings["partners"] = [one for one in relay.settings["partners"]
                                  if one["domain"] != PARTNER]
    relay.write()
    scene.tenants.run("partner", "add", PARTNER, f"host={peers.ADDRESS}", f"port={relay.partner}")
    assert scene.tenants.exported("partner") == [
        {"domain": PARTNER, "host": peers.ADDRESS, "port": relay.partner}]
    scene.check()


def test_a_bad_change_changes_nothing(scene):
    relay, before = scene.relay, scene.tenants.exported()
    reloads = relay.count("config_reloads_total")
    place = f"passerellectl: {scene.tenants.file}: "
    for words, said in (
            (["tenant", "add", "x", f"domains={TENANT}", "trunks[0].uri=sip:h"],
             f"{place}tenant 'x': domains[0]: '{TENANT}' also belongs to tenant 'a' "
             f"({scene.tenants.file}: tenant 'a')"),
            (["tenant", "set", "b", "trunks[0].uri=sip:h:99999"],
             f"{place}tenant 'b': trunks[0].uri: 'sip:h:99999': bad port; give 1 to 65535"),
            (["tenant", "set", "b", "certificate=none.pem", "key=none.key"],
             f"{place}tenant 'b': certificate: cannot read '{relay.folder}/none.pem': No such"),
            (["tenant", "set", "b", "colour=red"], "passerellectl: colour: unknown key"),
            (["tenant", "set", "b", "name=c"], "passerellectl: name: it stays what"),
            (["tenant", "set", "nobody", "policy=open"], "'nobody' is not there; add it with add"),
            (["tenant", "add", "b", "policy=open"], "'b' is there already; change it with set"),
            (["tenant", "del", "b", "nobody"], "'nobody' is not there"),
            (["partner", "add", OTHER_TENANT, "sasl=optional"],
             f"{place}partner '{OTHER_TENANT}': domain: '{OTHER_TENANT}' is a domain of tenant 'b'"),
            (["partner", "add", PARTNER, "sasl=optional"],
             f"{place}partner '{PARTNER}': domain: '{PARTNER}' is configured twice "
             f"({relay.file}:")):
        assert said in scene.tenants.run(*words, status=1), words
    assert scene.tenants.exported() == before
    assert relay.count("config_reloads_total") == reloads
    scene.check()


def test_a_file_that_went_bad_leaves_the_old_one_in_force(scene):
    """Somebody changed it by other means."""
    with contextlib.closing(sqlite3.connect(scene.tenants.file)) as file:
        file.execute("update tenants set settings = json_remove(settings, '$.trunks') "
                     "where name = 'b'")
        file.commit()
    assert (f"error: {scene.tenants.file}: tenant 'b': trunks: a tenant needs at least one trunk"
            in scene.relay.control("reload"))
    scene.check()
    scene.tenants.file.write_bytes(b"no database, and more than the header that one has .....\n" * 9)
    said = scene.relay.control("reload")
    assert f"tenants_file: {scene.tenants.file}: file is not a database" in said, said
    scene.tenants.file.unlink()
    assert "No such file or directory; make it with" in scene.relay.control("reload")
    scene.check()


def test_certificates_of_tenants(scene):
    """A pair that does not belong together is found before it is kept."""
    relay = scene.relay
    own = relay.authority.issue("tenant", [certificates.dns(OTHER_TENANT)])
    before = shown(relay, OTHER_TENANT)
    said = scene.tenants.run("tenant", "set", "b", f"certificate={own.pem}",
                             f"key={relay.good.key}", status=1)
    assert f"{scene.tenants.file}: tenant 'b': certificate: " in said and "belong together" in said
    assert shown(relay, OTHER_TENANT) == before
    scene.tenants.run("tenant", "set", "b", f"certificate={own.pem}", f"key={own.key}")
    assert shown(relay, OTHER_TENANT) != before
    assert shown(relay, TENANT) == before
    scene.check(quiet=False)


def test_the_relay_is_told_unless_it_is_not_to_be(scene):
    before = scene.relay.count("config_reloads_total")
    assert scene.tenants.run("-N", "tenant", "set", "b", "policy=closed") == (
        "done: 0 added, 1 changed, 0 removed\n")
    assert scene.relay.count("config_reloads_total") == before
    assert "1 changed), " in accepted(scene.relay.control("reload"))


# ---- without one ----

def test_without_a_relay(quiet):
    assert "No such file or directory; the first add makes it" in quiet.run("tenant", "list", status=1)
    said = quiet.run("tenant", "add", "b", "domains=b.example", "trunks[0].uri=sip:192.0.2.1")
    assert said.splitlines()[0] == "done: 1 added, 0 changed, 0 removed"
    assert "passerelle.sock (No such file or directory): the change counts from its" in said
    assert quiet.run("tenant", "list") == (
        "name  settings\nb     domains=b.example  trunks[0].uri=sip:192.0.2.1\n")
    assert json.loads(quiet.run("-j", "tenant", "show", "b")) == {
        "domains": ["b.example"], "trunks": [{"uri": "sip:192.0.2.1"}]}
    assert quiet.exported("partner") == []
    done = subprocess.run([relays.PROGRAM, "--check", "-c", quiet.config], capture_output=True,
                          text=True, check=True)
    assert "correct: 2 tenants, 2 trunks, 0 partners" in done.stdout


# Every rule for partners, and what it is kept as.
RULES = {"tls": ("required", "required"), "sasl": ("optional", "optional"),
         "dialback": ("true", "true"), "trust": ("pkix", "pkix"),
         "trust_downgrade": ("refuse", "refuse"), "type": ("public_verified", "public_verified"),
         "consent_expires_days": ("90", 90), "bidi": ("true", "true"),
         "streams": ("4", 4),
         "negotiation_timeout_ms": ("5000", 5000),
         "idle_timeout_ms": ("5001", 5001), "keepalive_interval_ms": ("300000", 300000),
         "keepalive_demand_ms": ("300001", 300001),
         "deliver_timeout_ms": ("5002", 5002), "confirm_timeout_ms": ("5003", 5003),
         "sessions_per_partner_max": ("3", 3), "queue_max": ("4096", 4096),
         "messages_per_second_max": ("70", 70),
         "messages_burst_max": ("0", 0), "messages_in_flight_max": ("65536", 65536)}
# Every key of a tenant and a partner.
TENANT_KEYS = {
    "domains": ("a.example b.example", ["a.example", "b.example"]),
    "policy": ("list", "list"), "partners": ("p.example *.q.example", ["p.example", "*.q.example"]),
    "certificate": ("relay.pem", "relay.pem"), "key": ("relay.key", "relay.key"),
    **{f"xmpp.{rule}": kept for rule, kept in RULES.items()},
    "partner_rules[0].domain": ("p.example", "p.example"),
    **{f"partner_rules[0].{rule}": kept for rule, kept in RULES.items()},
    "users.default": ("allow", "allow"), "users.allow": ("u@a.example", ["u@a.example"]),
    "users.deny": ("v@a.example w@b.example", ["v@a.example", "w@b.example"]),
    "trunks[0].uri": ("sip:h", "sip:h"), "trunks[0].priority": ("7", 7),
    "trunks[0].identity": ("i.example", "i.example"),
    "trunks[0].sources": ("192.0.2.0/24", ["192.0.2.0/24"]), "trunks[0].options_interval": ("60", 60)}
PARTNER_KEYS = {
    "additional_domains": ("p2.example p3.example", ["p2.example", "p3.example"]),
    "host": ("192.0.2.7", "192.0.2.7"), "port": ("5269", 5269), "direct_tls": ("no", False),
    **RULES}


@pytest.mark.parametrize("table, keys", [("tenant", TENANT_KEYS), ("partner", PARTNER_KEYS)])
def test_every_key_can_be_given(quiet, table, keys):
    name = "p.example"
    documented = {key for line in
                  (relays.ROOT / "docs/configuration.md").read_text().splitlines()
                  if line.startswith("| `") for key in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert {key.rpartition(".")[2] for key in keys} <= documented
    rules = (relays.ROOT / "core/rules.def").read_text()
    assert set(RULES) == set(re.findall(r"^RULE\(\w+, (\w+),", rules, re.M))
    quiet.run(table, "add", name, *(f"{key}={text}" for key, (text, _) in keys.items()))
    row = quiet.exported(table)[0]
    for key, (text, value) in keys.items():
        kept = row
        for part in key.replace("[0]", ".0").split("."):
            kept = kept[int(part) if part.isdigit() else part]
        assert kept == value, key
    assert {line.partition("=")[0] for line in quiet.run(table, "show", name).splitlines()} == set(keys)
    for form in ("csv", "json"):
        text = quiet.run("-f", form, table, "export")
        assert quiet.run("-f", form, table, "import", "-", data=text).startswith(
            "done: 0 added, 0 changed, 0 removed")
    assert quiet.run(table, "set", name, *(f"{key}={text}" for key, (text, _) in keys.items())
                     ).startswith("done: 0 added, 0 changed, 0 removed")


@pytest.mark.parametrize("table, words, said", [
    ("tenant", ["xmpp.tls=maybe"], "xmpp.tls: unknown value 'maybe'; give one of required, optional"),
    ("tenant", ["xmpp.dialback=maybe"], "xmpp.dialback: unknown value 'maybe'; give one of false, true"),
    ("tenant", ["xmpp.idle_timeout_ms=7"], "xmpp.idle_timeout_ms: 7 is out of range"),
    ("tenant", ["xmpp.idle_timeout_ms=soon"], "xmpp.idle_timeout_ms: "),
    ("tenant", ["xmpp.sasl=not_supported", "xmpp.dialback=false"],
     "xmpp.sasl: sasl: not_supported and dialback: false leave no way to prove a domain"),
    ("tenant", ["partner_rules[0].tls=required"], "partner_rules[0].domain: is missing"),
    ("tenant", ["partner_rules[0].domain=a b"], "partner_rules[0].domain: 'a b' is no domain name"),
    ("tenant", ["partner_rules[0].domain=p.example", "partner_rules[0].tls=not_supported",
                "partner_rules[0].dialback=false"], "partner_rules[0].tls: SASL needs TLS"),
    ("tenant", ["users.default=maybe"], "users.default: unknown value 'maybe'; give one of deny, allow"),
    ("tenant", ["users.deny=bob"], "users.deny[0]: 'bob' is no address such as bob@n.example"),
    ("tenant", ["users.deny=bob@n.example BOB@n.example"], "users.deny[1]: 'BOB@n.example' stands"),
    ("tenant", ["policy=open", "partners=p.example"], "policy: partners are only read"),
    ("tenant", ["policy=list", "partners=*.*.example"], "partners[0]: '*.*.example' is no domain"),
    ("partner", ["tls=maybe"], "tls: unknown value 'maybe'; give one of required, optional"),
    ("partner", ["keepalive_interval_ms=-1"], "keepalive_interval_ms: "),
    ("partner", ["sessions_per_partner_max=0"], "sessions_per_partner_max: 0 is out of range"),
    ("partner", ["tls=not_supported", "dialback=false"], "tls: SASL needs TLS"),
    ("partner", ["direct_tls=true", "tls=not_supported"], "direct_tls: direct TLS is TLS"),
    ("partner", ["additional_domains=n.example"], "additional_domains[0]: 'n.example' is"),
    ("partner", ["additional_domains=y.example"], "additional_domains[0]: 'y.example' is a domain of"),
    ("partner", ["port=5269"], "port: a port needs a host")])
def test_mistakes_name_the_row(quiet, table, words, said):
    """Each as `--check` tells it, with the row for the line, and nothing is kept."""
    base = [] if table == "partner" else ["domains=n.example", "trunks[0].uri=sip:192.0.2.1"]
    place = f"passerellectl: {quiet.file}: {table} 'n.example': "
    answer = quiet.run(table, "add", "n.example", *base, *words, status=1)
    assert answer.startswith(place + said), answer
    assert quiet.exported(table) == []


@pytest.mark.parametrize("rules", [
    {"sasl": "required", "tls": "optional"}, {"sasl": "required", "tls": "not_supported"},
    {"sasl": "required", "dialback": "false", "tls": "optional"}, {"tls": "optional"},
    {"tls": "not_supported"}, {"dialback": "false", "tls": "optional"}])
def test_doubts_name_the_row(quiet, rules):
    """Each doubtful cell of the table of docs/configuration.md, wherever it is given: taken, and
    told with its row, also by who only tries it."""
    base = ["domains=n.example", "trunks[0].uri=sip:192.0.2.1"]
    key = next(iter(key for key in ("tls", "sasl", "dialback") if key in rules))
    pair = {"partner_rules[0].domain": "p.example",
            **{f"partner_rules[0].{name}": value for name, value in rules.items()}}
    for table, words, place in (
            ("tenant", [*base, *(f"xmpp.{name}={value}" for name, value in rules.items())],
             f"tenant 'n.example': xmpp.{key}: "),
            ("tenant", [*base, *(f"{name}={value}" for name, value in pair.items())],
             f"tenant 'n.example': partner_rules[0].{key}: "),
            ("partner", [f"{name}={value}" for name, value in rules.items()],
             f"partner 'n.example': {key}: ")):
        for options in (["-n"], ["-N"], []):
            done = quiet.call(*options, table, "add", "n.example", *words)
            assert (done.returncode, done.stdout.count(": 1 added, 0 changed")) == (0, 1), done
            told = f"warning: {quiet.file}: {place}streams may fail: SASL needs TLS"
            assert done.stderr.startswith(told) and done.stderr.count("\n") == 1, done.stderr
            quiet.run("-N", table, "del", "n.example", status=1 if "-n" in options else 0)


def test_doubts_are_told_once(scene):
    """By the relay, in its answer."""
    done = scene.tenants.call("tenant", "set", "b", "xmpp.tls=optional")
    assert (done.returncode, done.stderr) == (0, "")
    told = f"warning: {scene.tenants.file}: tenant 'b': xmpp.tls: streams may fail: "
    assert done.stdout.count(told) == 1
    scene.check()


def test_a_domain_in_both_names_both_places(quiet):
    quiet.run("tenant", "add", "b", "domains=b.example", "trunks[0].uri=sip:192.0.2.1")
    quiet.config.write_text(quiet.config.read_text().replace("y.example", "B.example"))
    done = subprocess.run([relays.PROGRAM, "--check", "-c", quiet.config], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 2
    assert (f"{quiet.file}: tenant 'b': domains[0]: 'b.example' also belongs to tenant 'y' "
            f"({quiet.config}:4)") in done.stderr


@pytest.mark.parametrize("words, status, said", [
    (["tenant"], 2, "the command is add, set, del"), (["tenant", "frob"], 2, "the command is"),
    (["tenant", "add", "x"], 2, "KEY=VALUE"), (["tenant", "set", "x", "policy"], 2, "KEY=VALUE"),
    (["tenant", "del"], 2, "name what is to go"), (["tenant", "show"], 2, "name what is to be"),
    (["tenant", "import"], 2, "name one file"), (["tenant", "export", "x"], 2, "standard output"),
    (["-f", "xml", "tenant", "export"], 2, "usage: "),
    (["tenant", "import", "x.txt"], 1, "is it csv, json or yaml?"),
    (["tenant", "import", "/nowhere.csv"], 1, "/nowhere.csv: cannot read it: No such file")])
def test_wrong_words(quiet, words, status, said):
    quiet.run("tenant", "add", "x", "domains=x.example", "trunks[0].uri=sip:192.0.2.1")
    assert said in quiet.run(*words, status=status)


def test_a_configuration_without_a_tenants_file(quiet):
    quiet.config.write_text(quiet.config.read_text().replace("tenants_file: sqlite:tenants.db", ""))
    assert "it names no tenants_file; write tenants_file: sqlite:PATH" in quiet.run(
        "tenant", "list", status=1)
    quiet.config.unlink()
    assert "relay.yaml: cannot read it" in quiet.run("tenant", "list", status=1)


# ---- many ----

def many(count):
    return [{"name": f"t{index}", "domains": [f"t{index}.example", f"ü{index}.example"],
             "trunks": [{"uri": "sip:192.0.2.1", "priority": index % 3,
                         **({"sources": []} if index % 2 else {})}],
             **({"policy": "list", "partners": ["x.example", "y.example"]} if index % 5 else {})}
            for index in range(count)]


def by_name(rows):
    return sorted(rows, key=lambda row: row["name"])


@pytest.mark.parametrize("form", ["csv", "json", "yaml"])
def test_what_is_exported_can_be_imported(quiet, form):
    rows, source = many(2000), quiet.config.parent / f"rows.{form}"
    source.write_text((json.dumps if form == "json" else yaml.safe_dump)({"tenants": rows})
                      if form != "csv" else as_csv(rows))
    assert quiet.run("tenant", "import", source).startswith("done: 2000 added, 0 changed, 0 rem")
    assert quiet.exported() == by_name(rows)
    text = quiet.run("-f", form if form != "yaml" else "json", "tenant", "export")
    assert quiet.run("-f", form, "tenant", "import", "-", data=text).startswith(
        "done: 0 added, 0 changed, 0 removed")
    if form == "csv":
        assert next(csv.reader(io.StringIO(text)))[:2] == ["name", "domains"]


def as_csv(rows):
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["name", "domains", "policy", "partners", "trunks[0].uri",
                     "trunks[0].priority", "trunks[0].sources"])
    for row in rows:
        trunk = row["trunks"][0]
        writer.writerow([row["name"], " ".join(row["domains"]), row.get("policy", ""),
                         " ".join(row.get("partners", [])), trunk["uri"], trunk["priority"],
                         "[]" if "sources" in trunk else ""])
    return out.getvalue()


def test_an_import_is_whole_or_nothing(quiet):
    quiet.run("-f", "json", "tenant", "import", "-", data=json.dumps(many(10)))
    changed = [{**row, "policy": "closed", "partners": []} for row in many(12)[5:]]
    for form, text, said in (
            ("json", json.dumps([*changed, {**changed[0], "name": "last"}]),
             f"{quiet.file}: tenant 't5': domains[0]: 't5.example' also belongs to tenant 'last'"),
            ("json", json.dumps([*changed, changed[0]]), "-: entry 8: 't5' stands in it twice"),
            ("json", json.dumps([{"policy": "open"}]), "-: entry 1 has no name"),
            ("csv", as_csv(changed) + "t99,t99.example,open\n", "-:9: the row has fewer fields"),
            ("csv", "name,domains\na,\"b", "-:2: a quote is not closed"),
            ("yaml", "tenants: {a: 1}", "-: there is no list of tenants in it")):
        assert said in quiet.run("-f", form, "tenant", "import", "-", data=text, status=1), text
        assert quiet.exported() == by_name(many(10))
    text = json.dumps(changed)
    assert quiet.run("-n", "-f", "json", "--replace", "tenant", "import", "-", data=text) == (
        "dry run, nothing is kept: 2 added, 5 changed, 5 removed\n")
    assert quiet.exported() == by_name(many(10))
    quiet.run("-f", "json", "--replace", "tenant", "import", "-", data=text)
    assert quiet.exported() == by_name(changed)


def test_a_killed_import_leaves_no_trace(quiet):
    """It holds the file while it waits for its input; then it is gone, and so is its lock."""
    quiet.run("-f", "json", "tenant", "import", "-", data=json.dumps(many(3)))
    with subprocess.Popen([CTL, "-c", quiet.config, "-f", "json", "tenant", "import", "-"],
                          stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as one:
        journal = quiet.file.with_name("tenants.db-journal")
        one.stdin.write(b"[")
        one.stdin.flush()
        peers.wait_for("it has the lock", lambda: "database is locked" in subprocess.run(
            [CTL, "-c", quiet.config, "tenant", "del", "t0", "-n"], capture_output=True,
            text=True, check=False).stderr)
        assert quiet.exported() == by_name(many(3))  # others may read
        one.kill()
    quiet.run("tenant", "del", "t0")
    assert not journal.exists()
    assert quiet.exported() == by_name(many(3)[1:])


# ---- under load ----

class FileReloads(Reloads):
    """The tenants change in the file, written as passerellectl writes it, but faster."""

    def __init__(self, relay):
        super().__init__(relay)
        settings = {key: value for key, value in self.settings.items() if key != "tenants"}
        relay.config.write_text(yaml.safe_dump({**settings, "tenants_file": "sqlite:tenants.db"}))
        self.tenants = Tenants(relay.config)
        self.tenants.run("-N", "-f", "yaml", "tenant", "import", "-",
                         data=yaml.safe_dump(self.settings))

    def _put(self, tenants, good):
        with contextlib.closing(sqlite3.connect(self.tenants.file)) as file:
            file.execute("delete from tenants")
            file.executemany("insert into tenants values (?, ?)", (
                (one["name"], json.dumps({key: value for key, value in one.items()
                                          if key != "name" and (good or key != "domains")}))
                for one in tenants))
            file.commit()


def test_a_thousand_reloads_of_the_file_under_load(make_relay):  # noqa: F811
    reload_under_load(make_relay(workers=2, egress=2, load=["--sip-domains", "3"]), FileReloads)


# ---- the watch over the files ----

@pytest.fixture
def watched(tmp_path):
    with running(tmp_path, {"global": {"watch": True}}) as one:
        one.tenants, _ = migrate(one.relay)
        yield one


def test_changed_files_are_read_without_being_told(watched):
    """YAML, the tenants file, a tenant's and the common certificate behind links as certbot has
    them; what is bad is refused once; the streams stand."""
    relay = watched.relay
    streams = {row["peer"] for row in relay.sessions()}
    before = shown(relay, OTHER_TENANT)
    live, archive = relay.folder / "live", relay.folder / "archive"
    live.mkdir()
    archive.mkdir()
    for number in (1, 2):
        own = relay.authority.issue(f"own{number}", [certificates.dns(OTHER_TENANT)])
        for kind in ("pem", "key"):
            getattr(own, kind).rename(archive / f"{kind}{number}")
    for kind in ("pem", "key"):
        (live / kind).symlink_to(f"../archive/{kind}1")
    watched.tenants.run("-N", "tenant", "set", "b", f"certificate={live}/pem", f"key={live}/key")
    peers.wait_for("the tenants file is read", lambda: shown(relay, OTHER_TENANT) != before)
    before = shown(relay, OTHER_TENANT)
    for kind in ("pem", "key"):
        fresh = live / f"{kind}.new"
        fresh.symlink_to(f"../archive/{kind}2")
        fresh.replace(live / kind)
    peers.wait_for("the renewed certificate is shown", lambda: shown(relay, OTHER_TENANT) != before)
    common = shown(relay, TENANT)
    replace(relay.own, relay.authority.issue("other", [certificates.dns(TENANT)]))
    peers.wait_for("the common one, too", lambda: shown(relay, TENANT) != common)
    refused = relay.count("config_reloads_refused_total")
    relay.file.write_text("tenants: 7\n")
    peers.wait_for("it is refused", lambda: relay.count("config_reloads_refused_total") > refused)
    relay.settings["global"]["log_level"] = "info"
    relay.write()
    peers.wait_for("the YAML is read", lambda: "log_level\tinfo" in relay.control("show info"))
    assert relay.count("config_reloads_refused_total") == refused + 1
    assert streams <= {row["peer"] for row in relay.sessions()}
    watched.check(quiet=False)
