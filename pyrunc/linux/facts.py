"""Probe the host, once per call: what `plan` has to know of it. Who lives long has a Prober."""

from __future__ import annotations

import posix
from select import POLLPRI, poll

from pyrunc.kernel import syscall
from pyrunc.kernel.procfs import parse_mountinfo, read_text
from pyrunc.linux.cgroups.detect import read_controllers, read_layout
from pyrunc.plan.facts import HostFacts

_WHOLE_MAP = ["0", "0", "4294967295"]


def probe() -> HostFacts:
    """Raises OSError when /proc isn't there."""
    system = posix.uname()
    numbers = system.release.replace("-", ".").split(".")
    _, permitted, _ = syscall.capget()
    in_user_namespace = read_text("/proc/self/uid_map").split() != _WHOLE_MAP
    return HostFacts(
        machine=system.machine,
        kernel=(int(numbers[0]), int(numbers[1])),
        uid=posix.geteuid(),
        gid=posix.getegid(),
        capability_mask=permitted,
        last_capability=int(read_text("/proc/sys/kernel/cap_last_cap")),
        in_user_namespace=in_user_namespace,
        may_set_groups=not (in_user_namespace and _is_on("/proc/self/setgroups", "deny")),
        namespaces=tuple(posix.listdir("/proc/self/ns")),
        cgroups=read_layout(),
        has_apparmor=_is_on("/sys/module/apparmor/parameters/enabled", "Y"),
        has_selinux=_is_on("/sys/fs/selinux/enforce", ""),
        has_kcore=_is_on("/proc/kcore", None),
    )


class Prober:
    """`probe`, for a process that asks again and again, and changes neither its user nor its namespaces. Then
    the facts follow from the kernel, which stays; from what is mounted, of whose changes the kernel tells a
    poll of mountinfo (proc(5)), from the moment that it is opened; and from two files of cgroups, read anew
    each time."""

    __slots__ = ("_facts", "_seen", "_watch")

    def __init__(self) -> None:
        mounts = posix.open("/proc/self/mountinfo", posix.O_RDONLY | posix.O_CLOEXEC)
        self._watch = poll()
        self._watch.register(mounts, POLLPRI)  # and POLLERR, which always counts
        self._facts: HostFacts | None = None
        self._seen = ""

    def __call__(self) -> HostFacts:
        """Raises OSError when /proc isn't there."""
        has_changed = bool(self._watch.poll(0))  # before anything is read: what changes now counts next time
        seen = read_text("/proc/self/cgroup")
        facts = self._facts
        if facts is None or has_changed or self._seen != f"{read_controllers(facts.cgroups)}\n{seen}":
            self._facts = facts = probe()
            self._seen = f"{read_controllers(facts.cgroups)}\n{seen}"
        return facts


def read_revealing_mounts() -> tuple[str, ...]:
    """Where procfs and sysfs are mounted; what lies below another of them goes with it. Raises OSError."""
    found: list[str] = []
    for entry in parse_mountinfo(read_text("/proc/self/mountinfo")):
        inside = any(entry.mountpoint.startswith(f"{known}/") for known in found)
        if entry.fstype in ("proc", "sysfs") and not inside:
            found.append(entry.mountpoint)
    return tuple(found)


def _is_on(path: str, value: str | None) -> bool:
    """Is the file there and, unless `value` is None, does its text begin so?"""
    try:
        if value is None:
            posix.stat(path)
            return True
        return read_text(path).startswith(value)
    except OSError:
        return False
