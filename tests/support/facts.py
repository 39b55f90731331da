"""Readers of what a container printed: /proc files as values."""

from __future__ import annotations

import re
from typing import NamedTuple


class Mount(NamedTuple):
    """One line of /proc/self/mountinfo, proc_pid_mountinfo(5)."""

    number: int
    parent: int
    device: str
    root: str
    target: str
    options: list[str]
    propagation: list[str]
    fstype: str
    source: str
    super_options: list[str]


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def mounts(mountinfo: str) -> list[Mount]:
    found = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        number, parent, device, root, target, options, *propagation = left.split(" ")
        fstype, source, super_options = right.split(" ")
        found.append(
            Mount(
                int(number), int(parent), device, _unescape(root), _unescape(target), options.split(","),
                propagation, fstype, _unescape(source), super_options.split(","),
            )
        )  # fmt: skip
    return found


def mount_at(mountinfo: str, target: str) -> Mount:
    """The topmost mount at `target`."""
    found = [mount for mount in mounts(mountinfo) if mount.target == target]
    assert found, f"nothing is mounted at {target} in:\n{mountinfo}"
    return found[-1]


def fields(text: str) -> dict[str, str]:
    """`Name:  value` lines, as in /proc/self/status."""
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


# capability.h, in the order of the bits
CAPABILITIES = (  # noqa: SIM905
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT "
    "SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE "
    "AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ "
    "PERFMON BPF CHECKPOINT_RESTORE"
).split()


def capabilities(status: str, which: str) -> set[str]:
    """The set `which` (Inh, Prm, Eff, Bnd, Amb) of a /proc/self/status, as CAP_ names."""
    bits = int(fields(status)[f"Cap{which}"], 16)
    return {f"CAP_{name}" for bit, name in enumerate(CAPABILITIES) if bits >> bit & 1}


def limits(text: str) -> dict[str, tuple[str, str]]:
    """/proc/self/limits: the name of a limit to its soft and hard value."""
    rows = (re.match(r"(.*?) {2,}(\S+) +(\S+)", line) for line in text.splitlines()[1:])
    return {row[1]: (row[2], row[3]) for row in rows if row}
