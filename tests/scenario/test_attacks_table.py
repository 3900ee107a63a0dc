# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/security.md and the attack tests name each other: no row without a test, no test without
a row. A test's id is the first word of its docstring."""
import ast
import pathlib
import re

HERE = pathlib.Path(__file__).parent
TABLE = HERE.parent.parent / "docs/security.md"


def named():
    for path in sorted(HERE.glob("test_attacks_*.py")):
        if path.name == pathlib.Path(__file__).name:
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found = re.match(r"([A-Z]\d+): ", ast.get_docstring(node) or "")
                assert found, f"{path.name}: {node.name} has no id"
                yield found.group(1), f"{path.stem}::{node.name}"


def test_the_table_and_the_tests_agree():
    rows = dict(re.findall(r"^\| ([A-Z]\d+) \|.*\| `([^`|]+)` \|$", TABLE.read_text(), re.M))
    found = list(named())
    assert len({name for name, _ in found}) == len(found), "an id is given twice"
    assert rows == dict(found)
