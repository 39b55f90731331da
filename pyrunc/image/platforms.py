"""Which manifest of an index: pure but for the machine's own name."""

from __future__ import annotations

import os

from pyrunc.errors import INVALID, PyruncError
from pyrunc.oci.image import Descriptor, Index, Platform

# uname's word -> Go's architecture and variant
_MACHINES = {
    "x86_64": ("amd64", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", ""),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "ppc64le": ("ppc64le", ""),
    "s390x": ("s390x", ""),
    "riscv64": ("riscv64", ""),
    "loongarch64": ("loong64", ""),
    "mips64": ("mips64le", ""),
}
_SPELLINGS = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "i386": "386",
    "armhf": "arm",
    "armel": "arm",
}
_ATTESTATION = ("vnd.docker.reference.type", "attestation-manifest")


def host_platform() -> Platform:
    machine = os.uname().machine
    architecture, variant = _MACHINES.get(machine, (machine, ""))
    return Platform(os="linux", architecture=architecture, variant=variant)


def parse_platform(text: str) -> Platform:
    """os/architecture[/variant], or an architecture, or an os alone. Raises INVALID."""
    parts = text.lower().split("/")
    if not 1 <= len(parts) <= 3 or not all(
        part.replace(".", "").replace("_", "").replace("-", "").isalnum() for part in parts
    ):
        raise PyruncError(INVALID, "invalid platform", text[:100], "os/architecture[/variant] is expected")
    host = host_platform()
    if len(parts) == 1:
        is_os = parts[0] in ("linux", "windows", "darwin", "freebsd")
        parts = [parts[0], host.architecture] if is_os else [host.os, parts[0]]
    system, architecture, variant = (*parts, "")[:3]
    architecture = _SPELLINGS.get(architecture, architecture)
    return Platform(os=system, architecture=architecture, variant=_usual(architecture, variant))


def _usual(architecture: str, variant: str) -> str:
    """arm64's v8 and amd64's v1 are what is meant by nothing."""
    return "" if (architecture, variant) in (("arm64", "v8"), ("amd64", "v1")) else variant


def rank(wanted: Platform, found: Platform) -> int:
    """How well it fits: 0 not at all, more is better. An older variant runs on a newer machine."""
    if (found.os, found.architecture) != (wanted.os, wanted.architecture):
        return 0
    have, want = _usual(found.architecture, found.variant), _usual(wanted.architecture, wanted.variant)
    if have == want:
        return 100
    if wanted.architecture == "arm":
        numbers = [int(text[1:]) if text[1:].isdigit() else 7 for text in (have or "v7", want or "v7")]
        return 50 + numbers[0] if numbers[0] <= numbers[1] else 0
    return 10 if not have else 0


def choose_manifest(index: Index, wanted: Platform) -> Descriptor | None:
    """The best of an index; the first of equals, as the specification has it (image-index.md)."""
    best, best_rank = None, 0
    for descriptor in index.manifests:
        if descriptor.platform is None or _ATTESTATION in descriptor.annotations:
            continue
        found = rank(wanted, descriptor.platform)
        if found > best_rank:
            best, best_rank = descriptor, found
    if best is None and len(index.manifests) == 1 and index.manifests[0].platform is None:
        return index.manifests[0]
    return best
