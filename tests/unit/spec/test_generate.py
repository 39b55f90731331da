"""spec/generate.py: what is checked in is what it writes, and it refuses what it doesn't know."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pyrunc.oci import schema_check

CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", CHECKOUT / "spec" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_checked_in_is_fresh(generate: ModuleType) -> None:
    """After a change of a schema: python -m spec.generate > pyrunc/oci/schema_check.py"""
    assert (CHECKOUT / "pyrunc" / "oci" / "schema_check.py").read_text() == generate.generate()


def test_it_runs_as_its_docstring_says() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "spec.generate"], cwd=CHECKOUT, capture_output=True, check=True
    )
    assert done.stdout == (CHECKOUT / "pyrunc" / "oci" / "schema_check.py").read_bytes()


def test_the_check_imports_nothing() -> None:
    text = (CHECKOUT / "pyrunc" / "oci" / "schema_check.py").read_text()
    imports = [line for line in text.splitlines() if re.match(r"\s*(import|from)\b", line)]
    assert imports == ["from __future__ import annotations", "    from typing import Any"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "maxProperties": 3},
        {"type": "string", "format": "ipv4"},
        {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        {"type": "array", "items": {"type": "string"}, "minItems": 2},
        {"type": "integer", "multipleOf": 2},
        {"allOf": [{"type": "object", "properties": {}, "additionalProperties": {"type": "string"}}]},
        {"type": "string", "pattern": "a"},
        {"type": "string", "pattern": "^(a|b)$"},
        {"type": "string", "pattern": "^[a-z]*[x-z]$"},
        {"type": "string", "pattern": "^a+$"},
        {"type": "string", "pattern": "^[^a]*b$"},
        {"type": "string", "pattern": "^[^ab]*$"},
        {"type": "string", "pattern": "^a.c$"},
    ],
)
def test_what_it_does_not_know_it_refuses(generate: ModuleType, schema: dict[str, Any]) -> None:
    with pytest.raises(SystemExit):
        generate._Generator().rule(schema, "defs.json", "new")


PIECES = ["", "a", "b", "B", "K", "M", "0", "1", "12", "x", "\n", "RLIMIT_", "MB:", ",", " -", "é", "KB"]


def rules_with_patterns() -> list[tuple[str, Any]]:
    found = []
    for rule in vars(schema_check).values():
        if isinstance(rule, tuple) and len(rule) == 4 and rule[0] is str and rule[3] is not None:
            found.append((rule[2], rule[3]))
    return found


def test_patterns_match_what_re_matches() -> None:
    """`$` of a schema is the end of the text, which Python calls \\Z."""
    texts = [a + b + c for a in PIECES for b in PIECES for c in PIECES]
    rules = rules_with_patterns()
    assert len(rules) >= 6
    for pattern, pieces in rules:
        by_re = re.compile(pattern[:-1] + r"\Z")
        verdicts = {schema_check._is_match(text, pieces) for text in texts}
        assert verdicts == {True, False}, pattern
        for text in texts:
            assert schema_check._is_match(text, pieces) == bool(by_re.search(text)), (pattern, text)
