# SPDX-License-Identifier: GPL-3.0-or-later
"""What was exported of Skype for Business becomes a tenant: in each form and encoding the same, with
a word on each setting. The exports (tests/data/skype) are made after the documentation of the
cmdlets and of the forms; none is of a live system."""
import codecs
import json
import shutil
import subprocess

import pytest
import yaml

import relay as relays
from test_tenants import quiet  # noqa: F401  (a fixture)

DATA = relays.ROOT / "tests/data/skype"
PARTS = ("partners", "gateway", "access", "users")
FORMS = ("xml", "json", "csv")
ENCODINGS = {"utf-8": (b"", "utf-8"), "utf-8-bom": (codecs.BOM_UTF8, "utf-8"),
             "utf-16-le": (codecs.BOM_UTF16_LE, "utf-16-le"),
             "utf-16-be": (codecs.BOM_UTF16_BE, "utf-16-be")}
NEW = ("domains=contoso.example", "trunks[0].uri=sip:sip.contoso.example:5061;transport=tls")
EXPECTED = {
    "domains": ["contoso.example"], "policy": "list",
    "partners": ["fabrikam.example", "corp.fabrikam.example", "europe.fabrikam.example",
                 "jabber.example"],
    "trunks": [{"uri": "sip:sip.contoso.example:5061;transport=tls"}],
    "users": {"default": "deny", "allow": ["bob@contoso.example"]},
    "xmpp": {"sessions_per_partner_max": 20, "keepalive_demand_ms": 300000,
             "negotiation_timeout_ms": 300000, "idle_timeout_ms": 600000},
    "partner_rules": [
        *({"domain": name, "tls": "required", "sasl": "optional", "dialback": "true",
           "type": "federated", "sessions_per_partner_max": 40}
          for name in ("fabrikam.example", "corp.fabrikam.example", "europe.fabrikam.example")),
        {"domain": "jabber.example", "tls": "optional", "sasl": "not_supported", "dialback": "true",
         "type": "public_unverified", "keepalive_demand_ms": 0}]}
HOSTS = [{"domain": "fabrikam.example", "host": "xmpp.fabrikam.example",
          "additional_domains": ["corp.fabrikam.example", "europe.fabrikam.example"]}]


def exported(folder, form, encoding="utf-8"):
    """The files of one form in one encoding."""
    mark, name = ENCODINGS[encoding]
    paths = []
    for part in PARTS:
        paths.append(folder / f"{part}.{form}")
        with open(DATA / f"{part}.{form}", encoding="utf-8", newline="") as file:
            paths[-1].write_bytes(mark + file.read().encode(name))
    return paths


def told(report, what, setting):
    """The row of the report, behind the setting."""
    return next(line for line in report.splitlines()
                if line.startswith(what) and f" {setting} " in line)


def texts(value):
    """The same with texts instead of numbers."""
    if isinstance(value, dict):
        return {key: texts(inner) for key, inner in value.items()}
    return [texts(one) for one in value] if isinstance(value, list) else str(value)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_the_same(quiet, tmp_path, form, encoding):  # noqa: F811
    files = exported(tmp_path, form, encoding)
    report = quiet.run("-N", "skype", "import", "contoso", *files, *NEW)
    tenant = next(one for one in quiet.exported() if one["name"] == "contoso")
    assert tenant == {"name": "contoso", **EXPECTED}
    assert quiet.exported("partner") == HOSTS
    assert "done: 2 added, 0 changed, 0 removed" in report
    for what, setting, says in (
            ("Fabrikam.example", "TlsNegotiation", "taken"),
            ("Fabrikam.example", "AdditionalDomains", "2 more"),
            ("Fabrikam.example", "Description", "left out"),
            ("Fabrikam.example", "ProxyFqdn", "partners[].host"),
            ("jabber.example", "EnableKeepAlive", "keepalive_demand_ms: 0"),
            ("jabber.example", "ConnectionLimit", "left out"),
            ("(gateway)", "ConnectionLimit", "by hand"),
            ("(gateway)", "StreamEstablishmentTimeout", "changed"),
            ("(gateway)", "DialbackPassphrase", "xmpp.dialback_secret"),
            ("(gateway)", "EnableLoggingAllMessageBodies", "left out"),
            ("(gateway)", "SubscriptionRefreshInterval", "left out"),
            ("Site:Redmond", "EnableXmppAccess", "warning"),
            ("Tag:WithXmpp", "EnableXmppAccess", "users.allow"),
            ("(users)", "ExternalAccessPolicy", "1 differ"),
            ("(partners)", "-", "no settings of XMPP: Identity PSComputerName")):
        assert says in told(report, what, setting), (what, setting)
    assert "a passphrase of theirs" not in report
    # Again: there is nothing to do.
    assert "done: 0 added, 0 changed, 0 removed" in quiet.run("-N", "skype", "import", "contoso",
                                                              *files)


@pytest.mark.parametrize("form", FORMS)
def test_yaml_is_a_configuration(quiet, tmp_path, form):  # noqa: F811
    """It needs neither a tenants file nor a configuration, and goes into the folder of `include`."""
    files = exported(tmp_path, form)
    done = quiet.call("-c", "/nowhere", "skype", "yaml", "contoso", *files, *NEW)
    assert done.returncode == 0, done.stderr
    document = yaml.load(done.stdout, yaml.BaseLoader)  # as texts
    assert document == texts({"tenants": [{"name": "contoso", **EXPECTED}], "partners": HOSTS})
    assert "taken" in told(done.stderr, "jabber.example", "SaslNegotiation")
    assert "a passphrase of theirs" not in done.stdout + done.stderr
    (tmp_path / "tenants.d").mkdir()
    (tmp_path / "tenants.d/contoso.yaml").write_text(done.stdout)
    quiet.run("-N", "tenant", "add", "z", "domains=z.example", "trunks[0].uri=sip:192.0.2.1")
    with open(quiet.config, "a", encoding="utf-8") as file:
        file.write("include: tenants.d\n")
    checked = subprocess.run([relays.PROGRAM, "--check", "-c", quiet.config],
                                    capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stderr
    # What is missing is said.
    done = quiet.call("skype", "yaml", "contoso", *files)
    assert done.returncode == 0 and "needs domains and trunks" in done.stderr


def test_nothing_is_kept_of_a_dry_run_or_of_what_is_invalid(quiet, tmp_path):  # noqa: F811
    files = exported(tmp_path, "json")
    report = quiet.run("-n", "skype", "import", "contoso", *files, *NEW)
    assert "dry run, nothing is kept: 2 added" in report and quiet.exported() == []
    partners = json.loads(files[0].read_text())
    partners[0]["TlsNegotiation"] = 0
    partners.append({"Domain": "bad.example", "TlsNegotiation": "NotSupported",
                     "SaslNegotiation": "Required", "SupportDialbackNegotiation": False})
    files[0].write_text(json.dumps(partners))
    done = quiet.call("-N", "skype", "import", "contoso", *files, *NEW)
    assert done.returncode == 1 and "2 invalid: nothing is kept" in done.stderr
    assert "-EnumsAsStrings" in told(done.stdout, "Fabrikam.example", "TlsNegotiation")
    assert "INVALID" in told(done.stdout, "bad.example", "TLS, SASL, dialback")
    assert quiet.exported() == []
    quiet.run("-N", "--skip-invalid", "skype", "import", "contoso", *files, *NEW)
    assert quiet.exported()[0]["partners"] == ["jabber.example"]


def test_into_a_tenant_that_is_there(quiet, tmp_path):  # noqa: F811
    """What it has and the export does not name stays, or goes with --replace."""
    quiet.run("-N", "tenant", "add", "contoso", *NEW, "policy=list",
              "partners=mine.example jabber.example", "partner_rules[0].domain=jabber.example",
              "partner_rules[0].tls=required", "users.default=allow",
              "users.deny=eve@contoso.example bob@contoso.example", "xmpp.queue_max=7")
    files = exported(tmp_path, "xml")
    quiet.run("-N", "skype", "import", "contoso", *files, "xmpp.idle_timeout_ms=5000")
    tenant = quiet.exported()[0]
    assert tenant["xmpp"].pop("idle_timeout_ms") == 5000  # the command says so
    assert tenant["partners"] == ["mine.example", "jabber.example", *EXPECTED["partners"][:3]]
    assert [one["domain"] for one in tenant["partner_rules"]] == [
        "jabber.example", *EXPECTED["partners"][:3]]
    assert tenant["partner_rules"][0]["tls"] == "optional"
    assert tenant["users"] == {"default": "deny", "deny": ["eve@contoso.example"],
                               "allow": ["bob@contoso.example"]}
    assert {"idle_timeout_ms": 600000, **tenant["xmpp"]} == {**EXPECTED["xmpp"], "queue_max": 7}
    quiet.run("-N", "-r", "skype", "import", "contoso", *files)
    tenant = quiet.exported()[0]
    assert tenant["partners"] == EXPECTED["partners"] and tenant["users"] == EXPECTED["users"]
    # Another tenant's host of the same partner is not overruled.
    quiet.run("-N", "partner", "set", "fabrikam.example", "host=192.0.2.7")
    said = quiet.run("-N", "skype", "import", "contoso", *files, status=1)
    assert "partner 'fabrikam.example' has another host already, for all tenants" in said


def test_wrong_words(quiet, tmp_path):  # noqa: F811
    shutil.copy(DATA / "partners.xml", tmp_path)
    partners = tmp_path / "partners.xml"
    assert "there is no tenant 'contoso'" in quiet.run("skype", "import", "contoso", partners,
                                                       status=1)
    assert "name the tenant" in quiet.run("skype", "import", "contoso", status=2)
    assert "import or yaml" in quiet.run("skype", "export", "contoso", status=2)
    assert "cannot read it" in quiet.run("skype", "yaml", "contoso", tmp_path / "none", status=1)
    (tmp_path / "bad.xml").write_text("<Objs><Obj>")
    assert "bad.xml: line 1: " in quiet.run("skype", "yaml", "contoso", tmp_path / "bad.xml",
                                            status=1)
    assert "unknown key" in quiet.run("-N", "skype", "import", "contoso", partners, "domain=x",
                                      status=1)


def test_a_csv_that_lost_its_lists(quiet, tmp_path):  # noqa: F811
    """Export-Csv writes the type of a list where the list was: it is told, and what is not named is
    not allowed."""
    text = (DATA / "partners.csv").read_text().replace(
        "corp.fabrikam.example europe.fabrikam.example",
        "System.Collections.Generic.List`1[System.String]")
    (tmp_path / "partners.csv").write_text(text)
    report = quiet.run("-N", "skype", "import", "contoso", tmp_path / "partners.csv", *NEW)
    assert "Export-Clixml keeps them" in told(report, "Fabrikam.example", "AdditionalDomains")
    assert "their default" in told(report, "(gateway)", "KeepAliveInterval")
    assert quiet.exported()[0]["partners"] == ["fabrikam.example", "jabber.example"]
