"""Fields: what a document of the specification may say, row by row, and which test proves which row.

A row is a JSON pointer, entries of lists and maps by `*` (`/linux/devices/*/major`), or a pointer and one
value where the values are enumerated (`/linux/namespaces/*/type=pid`). Rows are those of config.json, unless
`state:` or `features:` comes before. A test names what it proves:

    @covers("/linux/resources/pids/limit")
    @covers("/linux/devices/*/(uid|gid)")       # two rows
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
# Why rows that begin so have no black-box test; those that we IGNORE have none at all.
_NO_RESCTRL = "no machine of ours has resctrl: tests of the plan, and of the files on a tree made for it"
_NO_RDMA = "no machine of ours has an RDMA device, without which the kernel refuses it: tests of the plan"
_NO_WEIGHTS = "no disk of ours has a scheduler with weights: tests of the plan"
_NO_CFQ = "went from the kernel with the CFQ scheduler in 5.0: tests of the plan"
_OBSOLETE = "ignored: runtime-spec 1.3 has enableMonitoring instead"
_WINDOWS = "says something to Windows alone"
IGNORED = (_OBSOLETE, _WINDOWS)
REASONS = {
    "/process/commandLine": _WINDOWS,
    "/process/user/username": _WINDOWS,
    "/linux/resources/blockIO/leafWeight": _NO_CFQ,
    "/linux/resources/blockIO/weightDevice/": _NO_WEIGHTS,
    "/linux/resources/rdma/": _NO_RDMA,
    "/linux/intelRdt/enableCMT": _OBSOLETE,
    "/linux/intelRdt/enableMBM": _OBSOLETE,
    "/linux/intelRdt/": _NO_RESCTRL,
}
# Where pyrunc does something else than the words say, or than runc; for the table (spec/FIELDS.md).
REMARKS = {
    "/ociVersion": "any 1.x; a newer minor version is a warning",
    "/hooks/prestart/*/path": "deprecated since 1.0.2",
    "/hooks/poststop/*/path": "one that fails is a warning, and the others run",
    "/mounts/*/destination": "a relative one means from the root, with a warning",
    "/mounts/*/options=acl": "a flag that today's filesystems have on anyway",
    "/mounts/*/options=noacl": "a flag that today's filesystems have on anyway",
    "/mounts/*/options=copy-symlink": "crun's",
    "/mounts/*/options=src-nofollow": "crun's",
    "/mounts/*/options=dest-nofollow": "crun's",
    "/mounts/*/options=remount": "ignored, as mount(8) has nothing to change yet",
    "/process/apparmorProfile": "tested where AppArmor is on: in a virtual machine booted so",
    "/process/selinuxLabel": "tested where SELinux is on: in a virtual machine booted so",
    "/linux/mountLabel": "tested where SELinux is on: in a virtual machine booted so",
    "/process/capabilities/bounding": "one that cannot be given is left out, with a warning",
    "/process/scheduler/policy=SCHED_ISO": "no kernel has it: its EINVAL is the error",
    "/linux/seccomp/defaultAction=SCMP_ACT_NOTIFY": "refused, as by runc: no listener could be handed over",
    "/linux/resources/memory/kernel": "ignored with a warning: the kernel has it no more",
    "/linux/resources/memory/kernelTCP": "ignored with a warning, as by runc",
    "/linux/resources/memory/swappiness": "v1 alone: v2 has nothing like it",
    "/linux/resources/memory/disableOOMKiller": "v1 alone: v2 has nothing like it",
    "/linux/resources/memory/useHierarchy": "always so since Linux 5.11",
    "/linux/resources/memory/checkBeforeUpdate": "v2 alone; v1's kernel refuses such a limit by itself",
    "/linux/resources/network/classID": "v1 alone: v2 has nothing like it",
    "/linux/resources/network/priorities/*/name": "v1 alone: v2 has nothing like it",
    "/linux/resources/network/priorities/*/priority": "v1 alone: v2 has nothing like it",
    "/linux/resources/cpu/realtimePeriod": "v1 alone: v2 has nothing like it",
    "/linux/resources/cpu/realtimeRuntime": "v1 alone: v2 has nothing like it",
    "/linux/resources/unified": "v2 alone; an error on v1",
    "/linux/personality/flags": "ignored with a warning: the specification knows none",
    "state:/status=creating": "as hooks are told",
}
_OTHER_ORDER = "an error on machines of the other byte order, as by libseccomp"
REMARKS |= {
    f"/linux/seccomp/architectures=SCMP_ARCH_{name}": _OTHER_ORDER
    for name in "M68K MIPS MIPS64 MIPS64N32 PARISC PARISC64 PPC PPC64 S390 S390X SHEB".split()  # noqa: SIM905
}
# Other platforms' sections; nothing in them is looked at.
_FOREIGN = ("/solaris", "/vm", "/windows", "/zos")


def covers(*rows: str) -> pytest.MarkDecorator:
    """This test proves these rows. `{name}` stands for a parameter of the test, `(a|b)` for each of both."""
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


def reason(row: str) -> str | None:
    """Why this row has no black-box test."""
    return next((why for start, why in REASONS.items() if row.startswith(start)), None)


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
    said = [row.format(**params) for mark in item.iter_markers("covers") for row in mark.args]
    return [row for text in said for row in _alternatives(text)]


def _alternatives(text: str) -> list[str]:
    """`/a/(b|c)/d` means `/a/b/d` and `/a/c/d`."""
    before, opens, rest = text.partition("(")
    if not opens:
        return [text]
    inside, _, after = rest.partition(")")
    return [before + one + tail for one in inside.split("|") for tail in _alternatives(after)]
