"""Seccomp profiles of container engines -> `linux.seccomp` of config.json, as their engines translate them.

An engine's profile says of each rule for which capabilities, architectures and kernels it is meant
("includes", "excludes"), and which architectures belong together ("archMap").
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parent.parent / "fixtures" / "seccomp"
_GO_NAMES = {"SCMP_ARCH_X86_64": "amd64", "SCMP_ARCH_AARCH64": "arm64"}


def _is_meant(condition: dict[str, Any], capabilities: Collection[str], machine: str) -> tuple[bool, bool]:
    """(do all the parts that are given hold, does any of them). The kernel here is a new one."""
    parts = []
    if condition.get("caps"):
        parts.append(set(condition["caps"]) <= set(capabilities))
    if condition.get("arches"):
        parts.append(machine in condition["arches"])
    if condition.get("minKernel"):
        parts.append(True)
    return all(parts), any(parts)


def load(name: str, native: str = "SCMP_ARCH_X86_64", capabilities: Collection[str] = ()) -> dict[str, Any]:
    """The profile of tests/fixtures/seccomp/NAME.json, for a container with these capabilities."""
    profile = json.loads((FIXTURES / f"{name}.json").read_text())
    machine = _GO_NAMES.get(native, native.removeprefix("SCMP_ARCH_").lower())
    architectures = [native]
    for entry in profile["archMap"]:
        if entry["architecture"] == native:
            architectures += entry["subArchitectures"] or ()
    rules = []
    for rule in profile["syscalls"]:
        if _is_meant(rule.get("excludes") or {}, capabilities, machine)[1]:
            continue
        if not _is_meant(rule.get("includes") or {}, capabilities, machine)[0]:
            continue
        rules.append({key: rule[key] for key in ("names", "action", "args", "errnoRet") if rule.get(key)})
    found = {"defaultAction": profile["defaultAction"], "architectures": architectures, "syscalls": rules}
    if "defaultErrnoRet" in profile:
        found["defaultErrnoRet"] = profile["defaultErrnoRet"]
    return found
