"""The vendored schemas: sound in themselves, and nothing of upstream's is missing from those we extended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

SPEC = Path(__file__).resolve().parents[3] / "spec"
RUNTIME = sorted((SPEC / "runtime").glob("*.json"))
IMAGE = sorted((SPEC / "image").glob("*.json"))


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for item in value.values() for found in references(item)]
    return [found for item in value for found in references(item)] if isinstance(value, list) else []


@pytest.mark.parametrize("path", [*RUNTIME, *IMAGE], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_schema_is_draft_4_and_its_references_lead_somewhere(path: Path) -> None:
    schema = json.loads(path.read_text())
    jsonschema.Draft4Validator.check_schema(schema)
    for reference in references(schema):
        name, _, pointer = reference.partition("#")
        target = json.loads((path.parent / name).read_text()) if name else schema
        for token in filter(None, pointer.split("/")):
            target = target[token]
        assert target


def test_our_own_words_are_marked() -> None:
    """`$comment` is a keyword of later drafts: upstream has none, so each is ours."""

    def comments(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$comment"]] if "$comment" in value else []
            return own + [found for item in value.values() for found in comments(item)]
        return [found for item in value for found in comments(item)] if isinstance(value, list) else []

    found = {path.name: comments(json.loads(path.read_text())) for path in RUNTIME}
    assert {name for name, words in found.items() if words} == {
        "config-linux.json",
        "config-schema.json",
        "defs-linux.json",
        "defs.json",
        "features-schema.json",
    }
    assert all(words.startswith("pyrunc: ") for name in found for words in found[name])
