# SPDX-License-Identifier: GPL-3.0-or-later
"""passerellectl user: who of a tenant's users may talk with XMPP users, one by one and by the
thousand, in the tenants file."""
import csv
import io
import json
import sqlite3
import subprocess

import pytest
import yaml

import relay as relays
from attack_wire import PATIENCE_S, TENANT, message, sip
from test_tenants import as_csv, many, quiet, scene  # noqa: F401  (fixtures)

ADDED = "done: 1 added, 0 changed, 0 removed"
CHANGED = "done: 0 added, 1 changed, 0 removed"
REMOVED = "done: 0 added, 0 changed, 1 removed"


@pytest.fixture
def acme(quiet):  # noqa: F811
    """A tenant of one domain, and one of two."""
    quiet.run("tenant", "add", "acme", "domains=Acme.example", "trunks[0].uri=sip:192.0.2.1")
    quiet.run("tenant", "add", "two", "domains=two.example bücher.example",
              "trunks[0].uri=sip:192.0.2.1")
    return quiet


def listed(tenants, *words):
    return {(row["tenant"], row["user"]): row["access"]
            for row in json.loads(tenants.run("user", "export", *words))}


def shown(tenants, *words):
    return tenants.run("user", "show", *words).splitlines()


# ---- with a relay ----

def test_a_user_is_barred_and_let_in(scene):  # noqa: F811
    """Each change counts at once, in both directions, and disturbs nobody else."""
    relay, tenants = scene.relay, scene.tenants

    def may(user, status):
        assert scene.trunk.ask(sip(sender=f"sip:{user}@{TENANT}", body="hello")) in status

    may("mallory", (200, 202))
    said = tenants.run("user", "add", "a", "mallory", "access=deny").splitlines()
    assert said == [ADDED, "done: 3 tenants (0 added, 0 removed, 1 changed), "
                    f"{len(relay.settings['partners'])} partners"]
    may("mallory", (403,))
    refused = relay.count("users_refused_total")
    scene.line.send(message("anybody?", to=f"mallory@{TENANT}", stanza_id="to-mallory"))
    answer = ""
    while "to-mallory" not in answer:
        answer = scene.partner.stanzas.get(timeout=PATIENCE_S)
    assert "<item-not-found " in answer
    assert relay.count("users_refused_total") == refused + 1
    tenants.run("user", "set", "a", "mallory", "access=allow", status=1)  # `default` is not said
    may("mallory", (403,))
    tenants.run("user", "del", "a", "mallory")
    may("mallory", (200, 202))
    # From a list of those who may not to one of those who may, without a moment in between.
    tenants.run("tenant", "set", "a", "users.default=allow")
    tenants.run("user", "add", "a", "bob", "alice", f"carol@{TENANT}")
    may("mallory", (200, 202))
    tenants.run("tenant", "set", "a", "users.default=deny")
    may("mallory", (403,))
    may("bob", (200, 202))
    scene.check(quiet=False)


# ---- without one ----

def test_one_by_one(acme):
    assert acme.run("tenant", "set", "acme", "users.default=deny").startswith(CHANGED)
    assert acme.run("user", "add", "acme", "Bob").startswith(ADDED)
    assert acme.run("user", "add", "acme", "eve@ACME.example", "access=deny").startswith(ADDED)
    assert acme.run("user", "list", "acme") == ("user              access\n"
                                                "bob@acme.example  allow\n"
                                                "eve@acme.example  deny\n"
                                                "(others)          deny\n")
    assert acme.run("user", "list", "acme", "eve").splitlines()[1:-1] == ["eve@acme.example  deny"]
    assert json.loads(acme.run("-j", "user", "list", "acme", "bob")) == [
        {"tenant": "acme", "user": "bob@acme.example", "access": "allow"}]
    assert shown(acme, "acme", "BOB") == ["user=bob@acme.example", "access=allow", "by=users.allow"]
    assert shown(acme, "acme", "eve")[1:] == ["access=deny", "by=users.deny"]
    assert shown(acme, "acme", "joe")[1:] == ["access=deny", "by=users.default"]
    assert json.loads(acme.run("-j", "user", "show", "two", "joe@xn--bcher-kva.example")) == {
        "user": "joe@bücher.example", "access": "allow", "by": "users.default"}
    assert acme.run("user", "set", "acme", "bob", "access=deny").startswith(CHANGED)
    assert acme.run("user", "set", "acme", "bob", "access=deny").startswith(
        "done: 0 added, 0 changed, 0 removed")
    assert listed(acme) == {("acme", "bob@acme.example"): "deny",
                            ("acme", "eve@acme.example"): "deny"}
    assert acme.run("user", "del", "acme", "bob").startswith(REMOVED)
    assert acme.run("-n", "user", "del", "acme", "eve") == (
        "dry run, nothing is kept: 0 added, 0 changed, 1 removed\n")
    assert acme.run("user", "del", "acme", "eve").startswith(REMOVED)
    assert acme.exported()[0] == {"name": "acme", "domains": ["Acme.example"],
                                  "trunks": [{"uri": "sip:192.0.2.1"}],
                                  "users": {"default": "deny"}}


def test_a_user_is_one_however_he_is_written(acme):
    """What a tenant import brought is kept as it came; a command knows it again."""
    acme.run("tenant", "set", "two", "users.deny=Bob@TWO.example eve@xn--bcher-kva.example")
    assert "is there already" in acme.run("user", "add", "two", "bob@two.example", status=1)
    assert acme.run("user", "del", "two", "eve@BÜCHER.example").startswith(REMOVED)
    assert listed(acme, "two") == {("two", "bob@two.example"): "deny"}


@pytest.mark.parametrize("words, status, said", [
    (["user"], 2, "the command is add, set, del"), (["user", "frob", "acme"], 2, "the command is"),
    (["user", "add", "acme"], 2, "name the tenant, and one user"),
    (["user", "add", "acme", "access=deny"], 2, "name the tenant, and one user"),
    (["user", "set", "acme", "bob"], 2, "say access=allow or access=deny"),
    (["user", "set", "acme", "bob", "access=yes"], 2, "write access=allow or access=deny, once"),
    (["user", "add", "acme", "bob", "access=deny", "access=allow"], 2, "once"),
    (["user", "del", "acme", "bob", "access=deny"], 2, "del takes users only"),
    (["user", "list"], 2, "name the tenant"), (["user", "show", "acme"], 2, "and one user"),
    (["user", "import"], 2, "name a tenant or none"), (["user", "export", "a", "b"], 2, "standard output"),
    (["user", "add", "none", "bob"], 1, "{file}: there is no tenant 'none' in it"),
    (["user", "add", "y", "bob"], 1, "{file}: there is no tenant 'y' in it"),  # it is in the YAML
    (["user", "list", "none"], 1, "{file}: there is no tenant 'none' in it"),
    (["user", "export", "none"], 1, "{file}: there is no tenant 'none' in it"),
    (["user", "add", "acme", "bob@two.example"], 1,
     "{file}: tenant 'acme': user 'bob@two.example' is in no domain of this tenant"),
    (["user", "add", "two", "bob"], 1,
     "{file}: tenant 'two': user 'bob' could be in each domain of this tenant: write the whole"),
    (["user", "add", "acme", "a b"], 1, "{file}: tenant 'acme': user 'a b' is no user"),
    (["user", "add", "acme", "bob@acme.example/phone"], 1, "is no user"),
    (["user", "add", "acme", "@acme.example"], 1, "is no user"),
    (["user", "show", "acme", "x@y"], 1, "{file}: tenant 'acme': user 'x@y' is in no domain"),
    (["user", "add", "acme", "x" * 4000], 1, "' is "),
    (["user", "add", "acme", "eve", "access=deny"], 1,
     "{file}: tenant 'acme': user 'eve@acme.example' is there already; change it with set"),
    (["user", "set", "acme", "bob", "access=deny"], 1,
     "{file}: tenant 'acme': user 'bob@acme.example' is not there; add it with add"),
    (["user", "del", "acme", "eve", "bob"], 1, "user 'bob@acme.example' is not there"),
    (["user", "add", "acme", "bob"], 1, "{file}: tenant 'acme': who may is listed, so say first")])
def test_wrong_words(acme, words, status, said):
    acme.run("user", "add", "acme", "eve", "access=deny")
    assert said.format(file=acme.file) in acme.run(*words, status=status)
    assert listed(acme) == {("acme", "eve@acme.example"): "deny"}


def test_a_list_that_went_bad(acme):
    """Somebody changed it by other means: the row and the user are named, and he can be removed."""
    with sqlite3.connect(acme.file) as file:
        file.execute("update tenants set settings = json_set(settings, '$.users.deny', "
                     "json('[\"bob@other.example\", \"acme.example\"]')) where name = 'acme'")
    file.close()
    assert (f"{acme.file}: tenant 'acme': users.deny[0]: 'bob@other.example' is in no domain of "
            "this tenant") in acme.run("user", "add", "acme", "eve", "access=deny", status=1)
    acme.run("tenant", "set", "acme", "users.deny-=bob@other.example acme.example")
    assert acme.run("user", "add", "acme", "eve", "access=deny").startswith(ADDED)


# ---- many ----

def rows_of(count):
    return [{"tenant": "acme" if index % 7 else "two",
             "user": f"u{index}@{'acme' if index % 7 else 'two'}.example",
             "access": "allow" if index % 3 else "deny"} for index in range(count)]


def text_of(rows, form):
    if form != "csv":
        return (json.dumps if form == "json" else yaml.safe_dump)({"users": rows})
    out = io.StringIO()
    writer = csv.DictWriter(out, ["tenant", "user", "access"])
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def as_dict(rows):
    return {(row["tenant"], row["user"]): row["access"] for row in rows}


@pytest.mark.parametrize("form", ["csv", "json", "yaml"])
def test_what_is_exported_can_be_imported(acme, form):
    for tenant in ("acme", "two"):
        acme.run("tenant", "set", tenant, "users.default=allow")
    rows, source = rows_of(500), acme.config.parent / f"rows.{form}"
    source.write_text(text_of(rows, form))
    assert acme.run("user", "import", source).startswith("done: 500 added, 0 changed, 0 removed")
    assert listed(acme) == as_dict(rows)
    text = acme.run("-f", form if form != "yaml" else "json", "user", "export")
    assert acme.run("-f", form, "--replace", "user", "import", "-", data=text).startswith(
        "done: 0 added, 0 changed, 0 removed")
    if form == "csv":
        assert next(csv.reader(io.StringIO(text))) == ["tenant", "user", "access"]
    assert listed(acme, "two") == as_dict(row for row in rows if row["tenant"] == "two")


def test_an_import_for_one_tenant(acme):
    """Without the columns that say nothing new: a plain list of users who may."""
    acme.run("tenant", "set", "acme", "users.default=deny")
    assert acme.run("-f", "csv", "user", "import", "acme", "-",
                    data="user\nbob\nann@acme.example\n").startswith("done: 2 added")
    assert acme.run("-f", "csv", "user", "import", "acme", "-",
                    data="user,access\nbob,deny\neve,\n").startswith("done: 1 added, 1 changed, 0")
    assert listed(acme) == {("acme", "bob@acme.example"): "deny",
                            ("acme", "ann@acme.example"): "allow",
                            ("acme", "eve@acme.example"): "allow"}
    assert acme.run("-f", "csv", "-r", "user", "import", "acme", "-", data="user\nann\n"
                    ).startswith("done: 0 added, 0 changed, 2 removed")
    assert acme.run("-f", "csv", "-r", "user", "import", "acme", "-", data="user\n"
                    ).startswith("done: 0 added, 0 changed, 1 removed")
    assert listed(acme) == {}


def test_an_import_is_whole_or_nothing(acme):
    acme.run("tenant", "set", "acme", "users.default=allow")
    acme.run("user", "add", "acme", "bob")
    acme.run("user", "add", "two", "bob@two.example", "access=deny")
    before = listed(acme)
    head = "tenant,user,access\nacme,ann,deny\n"
    for text, said in (
            (head + "acme,eve,maybe\n", "-: entry 2: access is allow or deny, not 'maybe'"),
            (head + "none,eve,deny\n", f"{acme.file}: there is no tenant 'none' in it"),
            (head + "acme,eve@two.example,deny\n",
             "-: entry 2: tenant 'acme': user 'eve@two.example' is in no domain of this tenant"),
            (head + "two,eve,deny\n", "-: entry 2: tenant 'two': user 'eve' could be in each"),
            (head + "two,eve@two.example,allow\n",
             f"{acme.file}: tenant 'two': who may is listed, so say first what holds for the others: "
             "passerellectl tenant set two users.default=deny"),
            (head + "acme,Ann@Acme.example,allow\n",
             "-: entry 2: tenant 'acme': user 'Ann@Acme.example' stands in it twice"),
            (head + "acme,,deny\n", "-: entry 2 has no user"),
            (head + ",eve,deny\n", "-: entry 2 has no tenant"),
            (head + "acme,eve\n", "-:3: the row has fewer fields than the first line"),
            ("tenant,name\nacme,bob\n", "-:2: name: unknown key")):
        assert said in acme.run("-f", "csv", "user", "import", "-", data=text, status=1), text
        assert listed(acme) == before
    for text, said in (('[{"user": 7}]', "-: users[0]: user: it is to be a text"),
                       ('[{"name": "x"}]', "-: users[0]: name: unknown key"),
                       ('{"tenants": []}', "-: there is no list of users in it")):
        assert said in acme.run("-f", "json", "user", "import", "-", data=text, status=1)
    assert "-: entry 1 is for tenant 'acme'" in acme.run("-f", "csv", "user", "import", "two", "-",
                                                         data=head, status=1)
    # Only the tenants that it names lose users to --replace.
    assert acme.run("-f", "csv", "-r", "user", "import", "-", data=head).startswith(
        "done: 1 added, 0 changed, 1 removed")
    assert listed(acme) == {("acme", "ann@acme.example"): "deny",
                            ("two", "bob@two.example"): "deny"}


def test_fifty_thousand_users_of_one_tenant(acme):
    """In far less time than it takes when each is looked for among the others."""
    acme.run("tenant", "set", "acme", "users.default=deny")
    rows = [{"tenant": "acme", "user": f"u{index}@acme.example", "access": "allow"}
            for index in range(50000)]
    text = text_of(rows, "csv")
    assert acme.run("-f", "csv", "user", "import", "-", data=text).startswith("done: 50000 added")
    assert acme.run("user", "del", "acme", "u7", "u49999").startswith(
        "done: 0 added, 0 changed, 2 removed")
    assert shown(acme, "acme", "u8")[1] == "access=allow"
    assert acme.run("-f", "csv", "user", "import", "-", data=text).startswith("done: 2 added, 0")
    assert listed(acme) == as_dict(rows)
    done = subprocess.run([relays.PROGRAM, "--check", "-c", acme.config], capture_output=True,
                          text=True, check=True)
    assert "correct: 3 tenants" in done.stdout


def test_users_of_many_tenants(quiet):  # noqa: F811
    quiet.run("-f", "csv", "tenant", "import", "-", data=as_csv(many(2000)))
    text = "tenant,user,access\n" + "".join(
        f"t{index},{user}@t{index}.example,deny\n" for user in ("a", "b") for index in range(2000))
    assert quiet.run("-f", "csv", "user", "import", "-", data=text).startswith("done: 4000 added")
    assert len(listed(quiet)) == 4000
    assert listed(quiet, "t1999") == {("t1999", f"{user}@t1999.example"): "deny" for user in "ab"}
