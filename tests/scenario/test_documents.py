# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation against what it describes: every key, default, counter and event; the man
pages; what `cmake --install` puts where; the command line."""
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

import relay as relays

ROOT = relays.ROOT
PROGRAM = relays.PROGRAM
CONFIGURATION = (ROOT / "docs/configuration.md").read_text()
OPERATIONS = (ROOT / "docs/operations.md").read_text()


def run(*words, **options):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True,
                          timeout=60, check=False, **options)


# ---- configuration ----

def schema():
    """The keys of each section, from the schema's own tables."""
    text = (ROOT / "core/config_schema.c").read_text()
    tables = re.findall(r"cyaml_schema_field_t (\w+)_fields\[\] = \{(.*?)CYAML_FIELD_END", text,
                        re.S)
    keys = {name: re.findall(r'(?:TEXT|NUMBER|FLAG|LIST|SECTION|ITEMS|CYAML_FIELD_\w+)\(\s*"(\w+)"', body)
            for name, body in tables}
    # A table takes the rules in by their file; `rules` is a section of nothing else.
    assert len(keys) == 13 and all(keys[name] for name in keys if name != "rules")
    return {**keys, "rules": [row[1] for row in rules()]}


def rules():
    """Name, key, kind, default, lowest and highest value of each."""
    return [re.split(r",\s*", row) for row in re.findall(
        r"^RULE\((.*)\)$", (ROOT / "core/rules.def").read_text(), re.M)]


def documented():
    """Key → (default, line) of each table of docs/configuration.md."""
    found, section = {}, None
    for line in CONFIGURATION.splitlines():
        head = re.match(r"## `(\w+)`|A (trunk):|The (rules|users):|One of (partner_rules):", line)
        if head:
            section = next(name for name in head.groups() if name)
            found[section] = {}
        elif section and found[section] and not line.startswith("|"):
            section = None  # the table is over
        cells = re.split(r"(?<!\\)\|", line)
        if section and len(cells) > 3:
            for key in re.findall(r"`(\w+)`", cells[1]):
                found[section][key] = cells[2].strip(), line
    return found


SECTIONS = {"global": "global", "xmpp": "xmpp", "sip": "sip", "dns": "dns", "store": "store",
            "tenant": "tenants", "trunk": "trunk", "partner": "partners", "rules": "rules",
            "users": "users", "pair": "partner_rules"}


@pytest.mark.parametrize("table", SECTIONS)
def test_every_key_is_documented(table):
    keys, page = set(schema()[table]), documented()[SECTIONS[table]]
    assert keys == set(page)
    manual = (ROOT / "docs/man/passerelle.yaml.5").read_text().replace("\\-", "-")
    for key in keys:
        assert re.search(rf"^\.B .*\b{key}\b", manual, re.M), key


def test_every_part_of_the_file_is_documented():
    for key in schema()["file"]:
        assert f"## `{key}`" in CONFIGURATION
    for key in schema()["identity"]:
        assert f"`{key}`" in CONFIGURATION


def test_defaults_and_ranges_are_the_programs():
    constants = dict(re.findall(r"#define (\w+)\s+\(?(\d+)u?\)?",
                                (ROOT / "proto/limits.h").read_text() +
                                (ROOT / "core/config_check.c").read_text()))
    rows = re.findall(r'\{"(\w+)\.(\w+)",\s*raw->\w+,\s*&[\w>-]+,\s*(\w+),\s*(\w+),\s*(\w+)\}',
                      (ROOT / "core/config_check.c").read_text())
    assert len(rows) >= 14
    pages = documented()
    for section, key, *numbers in rows:
        default, low, high = (int(constants.get(number, number)) for number in numbers)
        written, line = pages[section][key]
        assert written == str(default), (section, key)
        assert f"{low} to {high}" in line, (section, key)


def examples():
    """(Section, key, example) of every row; a row of several keys gives its example to each."""
    for section, rows in documented().items():
        for key, (_, line) in rows.items():
            yield section, key, re.split(r"(?<!\\)\|", line)[4].strip()


@pytest.fixture
def bare(tmp_path):
    """What a correct configuration has at least."""
    subprocess.run([ROOT / "tools/dev-certificates", tmp_path, "relay"], check=True,
                   stdout=subprocess.DEVNULL)
    files = {"certificate": "relay.pem", "key": "relay.key", "ca_file": "ca.pem"}
    return tmp_path, {"xmpp": files, "tenants": [{"name": "one", "domains": ["one.example"],
                                                  "trunks": [{"uri": "sip:192.0.2.1"}]}]}


# Names of files, which are not there; and addresses that must be listened on, too.
APART = {"certificate", "ca_file", "hosts_file", "trust_anchor", "proxy_listen", "domain", "path"}


def test_every_key_has_an_example_that_is_taken(bare):
    """Each alone: with what it is written to in the table, the configuration is correct."""
    folder, settings = bare
    tried = 0
    for section, key, text in examples():
        example = re.match(r"`(.*?)`", text)
        assert example, (section, key)
        if key in APART or (key == "key" and "certificate" in text) or text.endswith(".pem`"):
            continue
        value = yaml.safe_load(example.group(1).replace("\\|", "|"))
        made = json.loads(json.dumps(settings))
        tenant = made["tenants"][0]
        partner = {"domain": "partner.example"}
        if section == "partners" and key != "additional_domains":
            partner["host"] = "192.0.2.80"
        makers = {"tenants": lambda: tenant, "trunk": lambda: tenant["trunks"][0],
                  "rules": lambda: made["xmpp"],
                  "users": lambda: tenant.setdefault("users", {"default": "allow"}),
                  "partners": lambda: made.setdefault("partners", [partner])[0],
                  "partner_rules": lambda: tenant.setdefault("partner_rules", [partner])[0]}
        place = makers[section]() if section in makers else made.setdefault(section, {})
        tenant["domains"] = ["acme.example"]  # whose users the examples name
        if section == "tenants" and key in ("policy", "partners"):
            tenant.update(policy="list", partners=["jabber.example"])
        place[key] = value
        (folder / "try.yaml").write_text(json.dumps(made))
        done = run(PROGRAM, "--check", "-c", folder / "try.yaml")
        assert done.returncode == 0, (section, key, value, done.stderr)
        tried += 1
    assert tried > 50


def test_rules_are_the_programs():
    """The defaults and ranges of the rules; they are named wherever they may stand."""
    page = documented()["rules"]
    for _, key, kind, default, low, high in rules():
        written, line = page[key]
        if kind == "NUMBER":
            assert written == default and f"{low} to {high}" in line, key
        elif kind == "FLAG":
            assert written == f"`{'true' if default == '1' else 'false'}`", key
        else:
            assert written == f"`{default.split('_', 1)[1].lower()}`", key


def test_the_example_configuration_is_correct(tmp_path):
    """With the certificates in its place; every key that is commented out has its default."""
    subprocess.run([ROOT / "tools/dev-certificates", tmp_path, "relay"], check=True,
                   stdout=subprocess.DEVNULL)
    text = (ROOT / "docs/passerelle.yaml").read_text()
    for old, new in (("/etc/ssl/certs/relay.pem", "relay.pem"),
                     ("/etc/ssl/private/relay.key", "relay.key")):
        assert old in text
        text = text.replace(old, str(tmp_path / new))
    (tmp_path / "passerelle.yaml").write_text(text)
    done = run(PROGRAM, "--check", "-c", tmp_path / "passerelle.yaml")
    assert done.returncode == 0, done.stderr
    for key, value in re.findall(r"^  #(\w+): (\S+)", text, re.M):
        places = [page for page in documented().values() if key in page]
        assert any(value in page[key][0] or page[key][0] == "the system's"
                   for page in places), key


# ---- operations ----

def test_every_counter_has_its_meaning():
    rows = re.findall(r'^STAT\(\w+, "(\w+)", \w+, "(.*)"\)',
                      (ROOT / "core/stats.def").read_text(), re.M)
    assert len(rows) > 30
    for name, sentence in rows:
        assert f"| `{name}` | {sentence} |" in OPERATIONS, name
    counted = OPERATIONS.split("## Counters")[1].split("The ledger")[0]
    assert set(re.findall(r"^\| `(\w+)`", counted, re.M)) == {name for name, _ in rows}


def test_every_event_has_its_meaning():
    source = "".join(path.read_text() for path in sorted((ROOT / "core").glob("*.c")))
    # What stands between the level and the trace: a name, or a choice of two.
    events = {name for part in re.findall(r"log_event\(([^;]*?),\s*(?:0|[\w>.-]*trace),", source)
              for name in re.findall(r'"([a-z]+\.[a-z_]+)"', part)}
    events |= set(re.findall(r'\.event = "([a-z]+\.[a-z_]+)"', source))
    events |= set(re.findall(r'tell\(trunk, "([a-z]+\.[a-z_]+)"', source))
    assert len(events) > 30
    logs = OPERATIONS.split("## Logs")[1].split("## Why")[0]
    assert set(re.findall(r"^\| `([a-z._]+)` \|", logs, re.M)) == events


def test_the_table_of_instructions_is_the_baseline():
    done = run(ROOT / "tests/cost/run", "--show")
    assert done.returncode == 0, done.stderr
    block = "".join(f"    {line}\n" for line in done.stdout.splitlines())
    assert block in (ROOT / "docs/performance.md").read_text(), "tests/cost/run --update"


def test_links_lead_somewhere():
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            assert target.startswith("http") or (page.parent / target).exists(), (page, target)


# ---- man pages, installation ----

@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs/man").iterdir()))
def test_man_pages_are_clean(page):
    done = run("man", "-l", "--warnings", ROOT / "docs/man" / page,
               env={**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8"})
    assert done.returncode == 0
    assert done.stderr == ""
    assert "NAME" in done.stdout and "SEE ALSO" in done.stdout


def test_options_are_in_the_man_pages():
    for program, page in (("passerelle", "passerelle.8"), ("passerellectl", "passerellectl.1")):
        usage = run(relays.BUILD / program, "--help")
        assert usage.returncode == 0
        options = re.findall(r"^  -\w, (--[a-z-]+)", usage.stdout, re.M)
        assert len(options) >= 3
        manual = (ROOT / "docs/man" / page).read_text().replace("\\-", "-")
        for option in options:
            assert option in manual, option


def test_installation(tmp_path):
    done = run("cmake", "--install", relays.BUILD, "--prefix", tmp_path)
    assert done.returncode == 0, done.stderr
    for path in ("bin/passerelle", "bin/passerellectl", "bin/passerelle-bench",
                 "share/man/man8/passerelle.8", "share/man/man1/passerellectl.1",
                 "share/man/man1/passerelle-bench.1", "share/man/man5/passerelle.yaml.5",
                 "share/doc/passerelle/operations.md", "share/doc/passerelle/passerelle.yaml",
                 "lib/systemd/system/passerelle.service"):
        assert (tmp_path / path).is_file(), path
    assert run(tmp_path / "bin/passerelle", "--version").stdout.startswith("passerelle ")
    unit = tmp_path / "lib/systemd/system/passerelle.service"
    # The unit names where it was to be installed; verify wants the program to be there.
    text = re.sub(r"=\S*/bin/(passerelle\w*) ", rf"={tmp_path}/bin/\1 ", unit.read_text())
    assert text.count(f"{tmp_path}/bin/passerelle -") >= 2
    if shutil.which("systemd-analyze"):
        unit.write_text(re.sub(r"^Documentation=.*\n", "", text, flags=re.M))
        done = run("systemd-analyze", "verify", unit)
        assert "passerelle" not in done.stderr, done.stderr


# ---- the command line ----

@pytest.mark.parametrize("words, status, said", [
    (["--help"], 0, "usage: passerelle"), (["--version"], 0, "passerelle "),
    (["--defaults"], 0, "tenants:"), (["--nonsense"], 2, "unrecognized option"),
    (["surplus"], 2, "unexpected argument: surplus"),
    (["-c", "/nowhere/passerelle.yaml"], 2, "/nowhere/passerelle.yaml: cannot read it: No such"),
    (["--check", "-c", "/"], 2, "cannot read it: Is a directory")])
def test_command_line(words, status, said):
    done = run(PROGRAM, *words)
    assert done.returncode == status
    assert said in (done.stdout if status == 0 else done.stderr)


def test_keys_are_for_owner_and_group(tmp_path):
    """A group may read a key, as Debian's ssl-cert does; nobody else."""
    subprocess.run([ROOT / "tools/dev-certificates", tmp_path, "relay"], check=True,
                   stdout=subprocess.DEVNULL)
    (tmp_path / "c.yaml").write_text(
        "xmpp: {certificate: relay.pem, key: relay.key, ca_file: ca.pem}\n"
        "tenants: [{domains: [a.example], trunks: [{uri: 'sip:127.0.0.1'}]}]\n")
    for mode, status in ((0o600, 0), (0o640, 0), (0o644, 2), (0o660, 2)):
        (tmp_path / "relay.key").chmod(mode)
        done = run(PROGRAM, "--check", "-c", tmp_path / "c.yaml")
        assert done.returncode == status, (oct(mode), done.stderr)
    assert "c.yaml:1: xmpp.key: " in done.stderr and "chmod 640" in done.stderr
    (tmp_path / "relay.key").unlink()
    done = run(PROGRAM, "--check", "-c", tmp_path / "c.yaml")
    assert done.returncode == 2
    assert "c.yaml:1: xmpp.key: cannot read" in done.stderr
