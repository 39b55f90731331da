"""The table of all fields, from the schemas, the reasons beside them, and the results of test runs."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from support import fields

HEAD = """# Fields

Every field of the runtime specification (1.3, Linux), row by row: whether pyrunc does what it says, and how
many black-box tests of it passed with cgroup v1 (and hybrid) and with pure cgroup v2. *skipped*: what they
need is not there, the test says what. Made by `tools/field-table` from the schemas and the tests' results.

"""
_SECTIONS = (
    ("The document", ("/ociVersion", "/hostname", "/domainname", "/annotations", "/root/")),
    ("Hooks", ("/hooks/",)),
    ("Mounts", ("/mounts/",)),
    ("Process", ("/process/",)),
    ("Namespaces, ids, devices", (
        "/linux/namespaces", "/linux/uid", "/linux/gid", "/linux/timeOffsets", "/linux/devices",
        "/linux/netDevices", "/linux/sysctl", "/linux/maskedPaths", "/linux/readonlyPaths",
        "/linux/rootfsPropagation", "/linux/mountLabel", "/linux/personality", "/linux/memoryPolicy",
        "/linux/intelRdt",
    )),
    ("Cgroups", ("/linux/cgroupsPath", "/linux/resources")),
    ("Seccomp", ("/linux/seccomp",)),
    ("State", (fields.STATE,)),
    ("Features", (fields.FEATURES,)),
)  # fmt: skip
Results = dict[str, tuple[int, int, int]]
_PASSED, _FAILED, _SKIPPED = range(3)


def read_results(path: Path) -> Results:
    """Row to the numbers of its tests that passed, failed, and were skipped."""
    found: dict[str, list[int]] = {}
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            verdict = _FAILED
        else:
            verdict = _PASSED if case.find("skipped") is None else _SKIPPED
        if not case.get("classname", "").startswith("tests.container."):
            continue
        for item in case.iter("property"):
            if item.get("name") == "covers":
                found.setdefault(str(item.get("value")), [0, 0, 0])[verdict] += 1
    return {row: (numbers[0], numbers[1], numbers[2]) for row, numbers in found.items()}


def _cell(row: str, results: Results | None) -> str:
    if results is None or row not in results:
        return ""
    passed, failed, _ = results[row]
    return "**failed**" if failed else str(passed or "skipped")


def _is_supported(row: str) -> str:
    return "no" if fields.reason(row) in fields.IGNORED else "yes"


def render(results: list[Results]) -> str:
    """`results`: with cgroup v1, with v2; fewer where they are not known."""
    v1, v2 = (*results, None, None)[:2]
    text = HEAD
    rows = fields.rows()
    for title, starts in _SECTIONS:
        text += f"## {title}\n\n| field | supported | v1 | v2 | remark |\n|---|---|---|---|---|\n"
        for row in [row for row in rows if row.startswith(starts)]:
            cells = (_cell(row, v1), _cell(row, v2), fields.reason(row) or fields.REMARKS.get(row, ""))
            text += f"| `{row}` | {_is_supported(row)} | {' | '.join(cells)} |\n"
        text += "\n"
    assert all(any(row.startswith(starts) for _, starts in _SECTIONS) for row in rows)
    return text.rstrip("\n") + "\n"


def without_results(text: str) -> str:
    """The table as it is known without running a test."""
    return re.sub(r"^(\| `.*?` \| \w+ )\| [^|]* \| [^|]* (?=\|)", r"\1| | ", text, flags=re.MULTILINE)
