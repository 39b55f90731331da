"""Fields: what a document of the specification may say, row by row, and which test proves which row.

A row is a JSON pointer, entries of lists and maps by `*` (`/linux/devices/*/major`), or a pointer and one
value where the values are enumerated (`/linux/namespaces/*/type=pid`). Rows are those of config.json, unless
`state:` or `features:` comes before. A test names what it proves:

    @covers("/linux/resources/pids/limit")
    @covers("/mounts/*/options={option}")       # of a parametrized test: each its own

tests/architecture/test_fields.py walks the vendored schemas and fails for a row that has neither a test nor a
reason here, and conftest.py fails a test that says it proves a row and wrote no document that has it.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

CONFIG, STATE, FEATURES = "", "state:", "features:"
_FILES = {CONFIG: "config-schema.json", STATE: "state-schema.json", FEATURES: "features-schema.json"}
_SPEC = Path(__file__).resolve().parents[2] / "spec" / "runtime"

# What the text of the specification enumerates, and the schema does not.
_VALUES: dict[str, tuple[str, ...]] = {
    "/mounts/*/type": ("bind", "cgroup", "devpts", "mqueue", "overlay", "proc", "sysfs", "tmpfs"),
    "/linux/devices/*/type": ("b", "c", "p", "u"),
}
# Of a map with names that are given: the entries.
_ENTRIES = {"/linux/timeOffsets": ("monotonic", "boottime")}
# Other platforms' sections; nothing in them is looked at.
_FOREIGN = ("/solaris", "/vm", "/windows", "/zos")


def covers(*rows: str) -> pytest.MarkDecorator:
    """This test proves these rows. `{name}` stands for a parameter of the test."""
    return pytest.mark.covers(*rows)


def rows() -> list[str]:
    """Every row there is, in the order of the schemas."""
    # Not at the top: conftest.py needs this module, and some runs of pytest bring their own pyrunc along.
    from pyrunc.oci import config, features

    _VALUES["/mounts/*/options"] = features.MOUNT_OPTIONS
    _VALUES["/process/rlimits/*/type"] = tuple(config.RLIMITS)
    found: dict[str, None] = {}
    for kind, file in _FILES.items():
        for pointer in _walk(_read(file), file, ""):
            found[f"{kind}{pointer}"] = None
    return list(found)


def _read(name: str) -> Any:
    return json.loads((_SPEC / name).read_text())


def _walk(schema: Any, file: str, pointer: str) -> list[str]:
    """Rows below one place of a schema: its leaves, and the values of those that have some."""
    if pointer in _FOREIGN:
        return []
    if "$ref" in schema:
        target, _, inner = schema["$ref"].partition("#")
        resolved = _read(target or file)
        for token in inner.strip("/").split("/"):
            resolved = resolved[token]
        return _walk(resolved, target or file, pointer)
    below: list[str] = []
    for name, value in schema.get("properties", {}).items():
        below += _walk(value, file, f"{pointer}/{name}")
    for part in [*schema.get("allOf", []), *schema.get("anyOf", [])]:
        below += _walk(part, file, pointer)
    if isinstance(schema.get("additionalProperties"), dict):
        for name in _ENTRIES.get(pointer, ("*",)):
            inside = _walk(schema["additionalProperties"], file, f"{pointer}/{name}")
            below += inside if inside != [f"{pointer}/*"] else []
    if "items" in schema:
        inside = _walk(schema["items"], file, f"{pointer}/*")
        below += [row.replace("/*=", "=", 1) if row.startswith(f"{pointer}/*=") else row for row in inside]
        below = [row for row in below if row != f"{pointer}/*"]
    values = (*filter(None, schema.get("enum", ())), *_VALUES.get(pointer, ()))
    return below + [f"{pointer}={value}" for value in values] or [pointer]


def has(document: Any, row: str) -> bool:
    """Does the document say something in this row?"""
    pointer, equals, value = row.partition("=")
    for found in _at(document, pointer.split("/")[1:]):
        if not equals or found == value or (isinstance(found, list) and value in found):
            return True
    return False


def _at(document: Any, tokens: list[str]) -> list[Any]:
    if not tokens:
        return [document]
    if tokens[0] == "*":
        inside = document.values() if isinstance(document, dict) else document
        return [found for item in inside for found in _at(item, tokens[1:])]
    if isinstance(document, dict) and document.get(tokens[0]) is not None:
        return _at(document[tokens[0]], tokens[1:])
    return []


# -- what the test that runs has written, or was told ------------------------------------------------------

_seen: list[tuple[str, Any]] = []


def forget() -> None:
    _seen.clear()


def saw(kind: str, document: Any) -> None:
    """A document of this kind (CONFIG, STATE, FEATURES) went to the runtime, or came from it."""
    _seen.append((kind, copy.deepcopy(document)))


def unseen(claimed: list[str]) -> list[str]:
    """Those rows which none of the documents had."""
    missing = []
    for row in claimed:
        kind = next(kind for kind in (STATE, FEATURES, CONFIG) if row.startswith(kind))
        if not any(has(document, row.removeprefix(kind)) for this, document in _seen if this == kind):
            missing.append(row)
    return missing


def claimed_by(item: pytest.Item) -> list[str]:
    """The rows that a collected test says it proves."""
    callspec = getattr(item, "callspec", None)
    params = {} if callspec is None else callspec.params
    return [row.format(**params) for mark in item.iter_markers("covers") for row in mark.args]
