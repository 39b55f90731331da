"""The rules of the process object alone: config.json's, or an exec's. And what every rule has."""

from __future__ import annotations

from pyrunc.errors import INVALID, UNSUPPORTED, PyruncError
from pyrunc.oci.config import (
    RLIMITS,
    Process,
)
from pyrunc.oci.node import NOT_VALID
from pyrunc.record import Record

LAST_ID = 4294967294  # 2^32 - 1 is (uid_t)-1, "no id"
LAST_CPU = 8191  # the most that a kernel can be built for


class Facts(Record):
    """What the rules must know of the host and the caller. The defaults complain least.

    `is_rootless`: our effective uid isn't 0. `namespaces`: names in /proc/self/ns, empty if unknown.
    `host_namespaces`: types of namespaces given by path that turned out to be the host's.
    """

    is_rootless: bool = False
    uses_systemd: bool = False
    has_cgroup_v1: bool = False
    has_apparmor: bool = True
    has_selinux: bool = True
    namespaces: tuple[str, ...] = ()
    host_namespaces: tuple[str, ...] = ()


def wrong(pointer: str, why: str, kind: str = INVALID) -> PyruncError:
    return PyruncError(kind, NOT_VALID, pointer, why)


def is_list_of_numbers(text: str, last: int) -> bool:
    """As in cpuset(7), "List format": 0-4,9. Blanks around numbers are fine; empty is fine."""
    for part in text.split(",") if text.strip() else ():
        first, minus, second = part.partition("-")
        ends = [first.strip(), (second if minus else first).strip()]
        if not all(end.isascii() and end.isdigit() for end in ends):
            return False
        if not int(ends[0]) <= int(ends[1]) <= last:
            return False
    return True


def check_cwd(process: Process, _facts: Facts) -> None:
    """config.md, "Process": cwd MUST be an absolute path. In runc's words, which its callers look for."""
    if not process.cwd:
        raise PyruncError(INVALID, "Cwd property must not be empty")
    if process.cwd[0] != "/":
        raise PyruncError(INVALID, "Cwd must be an absolute path")


def check_args(process: Process, _facts: Facts) -> None:
    """config.md, "Process": at least one entry is REQUIRED. In runc's words."""
    if not process.args:
        raise PyruncError(INVALID, "args must not be empty")


def check_environment(process: Process, _facts: Facts) -> None:
    """config.md, "Process": as environ of POSIX, so NAME=VALUE, and a name that isn't empty."""
    for index, entry in enumerate(process.env):
        name, equals, _ = entry.partition("=")
        if not equals:
            raise wrong(f"{process.origin}/env/{index}", "invalid environment variable: has no =")
        if not name:
            raise wrong(f"{process.origin}/env/{index}", "invalid environment variable: has no name")


def check_user(process: Process, _facts: Facts) -> None:
    """setresuid(2), setgroups(2): the last number of 32 bits means "no id"."""
    user = process.user
    groups = ((f"additionalGids/{index}", gid) for index, gid in enumerate(user.additional_gids))
    for name, number in (("uid", user.uid), ("gid", user.gid), *groups):
        if number > LAST_ID:
            raise wrong(f"{user.origin}/{name}", f"is not between 0 and {LAST_ID}")


def check_console_size(process: Process, _facts: Facts) -> None:
    """config.md, "Process": ignored without a terminal; TIOCSWINSZ has 16 bits for each."""
    if process.terminal and process.console_size:
        size = process.console_size
        for name, number in (("height", size.height), ("width", size.width)):
            if number > 65535:
                raise wrong(f"{process.origin}/consoleSize/{name}", "is more than 65535")


def check_rlimits(process: Process, _facts: Facts) -> None:
    """config.md, "POSIX process": known to the kernel, none twice; setrlimit(2): soft isn't above hard."""
    seen = set()
    for limit in process.rlimits:
        if limit.type not in RLIMITS:
            raise wrong(f"{limit.origin}/type", f"{limit.type} is not a limit of Linux")
        if limit.type in seen:
            raise wrong(f"{limit.origin}/type", f"{limit.type} is set twice")
        if limit.soft > limit.hard:
            raise wrong(f"{limit.origin}/soft", f"{limit.soft} is more than the hard limit, {limit.hard}")
        seen.add(limit.type)


def check_oom_score(process: Process, _facts: Facts) -> None:
    """config.md, "Linux Process"; proc(5) on oom_score_adj."""
    if process.oom_score_adj is not None and not -1000 <= process.oom_score_adj <= 1000:
        raise wrong(f"{process.origin}/oomScoreAdj", "is not between -1000 and 1000")


def check_security_modules(process: Process, facts: Facts) -> None:
    """config.md, "Linux Process": a profile or label that would be ignored is no protection."""
    if process.apparmor_profile and not facts.has_apparmor:
        raise wrong(f"{process.origin}/apparmorProfile", "AppArmor is not enabled on this host", UNSUPPORTED)
    if process.selinux_label and not facts.has_selinux:
        raise wrong(f"{process.origin}/selinuxLabel", "SELinux is not enabled on this host", UNSUPPORTED)


def check_scheduler(process: Process, _facts: Facts) -> None:
    """config.md, "Linux Process"; sched_setattr(2): which policy takes which numbers."""
    scheduler = process.scheduler
    if scheduler is None:
        return
    if not -20 <= scheduler.nice <= 19:
        raise wrong(f"{scheduler.origin}/nice", "is not between -20 and 19")
    if scheduler.priority and scheduler.policy not in ("SCHED_FIFO", "SCHED_RR"):
        raise wrong(f"{scheduler.origin}/priority", f"{scheduler.policy} has none")
    if not 0 <= scheduler.priority <= 99:
        raise wrong(f"{scheduler.origin}/priority", "is not between 0 and 99")
    times = ("runtime", scheduler.runtime), ("deadline", scheduler.deadline), ("period", scheduler.period)
    for name, number in times:
        if number and scheduler.policy != "SCHED_DEADLINE":
            raise wrong(f"{scheduler.origin}/{name}", f"{scheduler.policy} has none")


def check_io_priority(process: Process, _facts: Facts) -> None:
    """config.md, "Linux Process"; ioprio_set(2): eight levels."""
    priority = process.io_priority
    if priority is not None and not 0 <= priority.priority <= 7:
        raise wrong(f"{priority.origin}/priority", "is not between 0 and 7")


def check_cpu_affinity(process: Process, _facts: Facts) -> None:
    """config.md, "Linux Process": lists of CPUs as in cpuset(7)."""
    affinity = process.exec_cpu_affinity
    if affinity is not None:
        for name, text in (("initial", affinity.initial), ("final", affinity.final)):
            if not is_list_of_numbers(text, LAST_CPU):
                raise wrong(f"{affinity.origin}/{name}", f'"{text}" is not a list of CPUs')


PROCESS_CHECKS = (
    check_cwd,
    check_args,
    check_environment,
    check_user,
    check_console_size,
    check_rlimits,
    check_oom_score,
    check_security_modules,
    check_scheduler,
    check_io_priority,
    check_cpu_affinity,
)
