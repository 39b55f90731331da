"""Which system calls a container may make when nobody said otherwise: all that are known, but for these.

A call that we know nothing of yet is answered ENOSYS, as a kernel without it would, so that a program falls
back on an older one. The groups below are what a container has no business with, or only with a capability
which it has not got by default. Taking away and not listing what is good keeps this short enough to be
judged; since the whole is made from the table of known calls, it is a list of what is allowed all the same.
"""

from __future__ import annotations

from pyrunc.errors import INVALID, PyruncError
from pyrunc.plan.syscalls import TABLES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

# architecture of a machine, and those whose programs it runs too
ARCHITECTURES = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
}
_TABLES_OF = {"x86_64": ("x86_64", "x86"), "aarch64": ("aarch64", "arm")}

# capability -> calls that need it: to the kernel, or in our judgement
NEEDS_CAPABILITY = {
    "CAP_BPF": ("bpf",),
    "CAP_DAC_READ_SEARCH": ("open_by_handle_at",),
    "CAP_PERFMON": ("perf_event_open",),
    "CAP_SYS_ADMIN": (
        "bpf", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "listmount", "lookup_dcookie",
        "mount", "mount_setattr", "move_mount", "open_tree", "open_tree_attr", "perf_event_open", "quotactl",
        "quotactl_fd", "setdomainname", "sethostname", "setns", "statmount", "syslog", "umount", "umount2",
        "unshare",
    ),
    "CAP_SYS_BOOT": ("reboot",),
    "CAP_SYS_CHROOT": ("chroot",),
    "CAP_SYS_MODULE": ("delete_module", "finit_module", "init_module"),
    "CAP_SYS_NICE": ("get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"),
    "CAP_SYS_PACCT": ("acct",),
    "CAP_SYS_PTRACE": ("kcmp", "pidfd_getfd", "process_madvise"),
    "CAP_SYS_RAWIO": ("ioperm", "iopl"),
    "CAP_SYS_TIME": ("clock_settime", "clock_settime64", "settimeofday", "stime"),
    "CAP_SYS_TTY_CONFIG": ("vhangup",),
    "CAP_SYSLOG": ("syslog",),
}  # fmt: skip

# Not to be had: keys are not in a namespace, io_uring goes round this very filter, the rest is for the host's
# administrator, for loaders of kernels, or long gone
NEVER = (
    "_sysctl", "add_key", "afs_syscall", "bdflush", "break", "create_module", "ftime", "get_kernel_syms",
    "getpmsg", "gtty", "idle", "io_uring_enter", "io_uring_register", "io_uring_setup", "kexec_file_load",
    "kexec_load", "keyctl", "lock", "migrate_pages", "move_pages", "mpx", "nfsservctl", "pciconfig_iobase",
    "pciconfig_read", "pciconfig_write", "pivot_root", "prof", "profil", "putpmsg", "query_module",
    "request_key", "security", "sgetmask", "ssetmask", "stty", "swapoff", "swapon", "sysfs", "tuxcall",
    "uretprobe", "uprobe", "uselib", "userfaultfd", "ustat", "vm86", "vm86old", "vserver",
)  # fmt: skip

# Allowed by their arguments alone
_BY_ARGUMENTS = ("clone", "clone3", "personality", "socket", "socketcall")
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)  # Linux, 32 bits, no random addresses; asking
_AF_VSOCK = 40  # speaks to the hypervisor, which no namespace is between
_EPERM, _ENOSYS = 1, 38


def known_calls(machine: str) -> tuple[str, ...]:
    """Of all architectures that the machine runs."""
    names: set[str] = set()
    for table in _TABLES_OF.get(machine, (machine,)):
        for _, run in TABLES.get(table, ()):
            names.update(run.split())
    return tuple(sorted(names))


def default_profile(machine: str, capabilities: Collection[str]) -> dict[str, Any]:
    """`linux.seccomp` of config.json, for a container that has these capabilities."""
    allowed_after_all = {
        call for name, calls in NEEDS_CAPABILITY.items() if name in capabilities for call in calls
    }
    restricted = {call for calls in NEEDS_CAPABILITY.values() for call in calls} - allowed_after_all
    known = known_calls(machine)
    plain = [name for name in known if name not in restricted | {*NEVER, *_BY_ARGUMENTS}]
    refused = [name for name in known if name in restricted or name in NEVER]
    rules: list[dict[str, Any]] = [
        {"names": plain, "action": "SCMP_ACT_ALLOW"},
        {"names": refused, "action": "SCMP_ACT_ERRNO", "errnoRet": _EPERM},
        {"names": ["socketcall"], "action": "SCMP_ACT_ALLOW"},  # its arguments are behind a pointer
        {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [_argument(0, _AF_VSOCK, "SCMP_CMP_NE")]},
        *(
            {
                "names": ["personality"],
                "action": "SCMP_ACT_ALLOW",
                "args": [_argument(0, value, "SCMP_CMP_EQ")],
            }
            for value in _PERSONALITIES
        ),
        *_clone_rules("CAP_SYS_ADMIN" in capabilities),
    ]
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _ENOSYS,
        "architectures": list(ARCHITECTURES.get(machine, ())),
        "syscalls": rules,
    }


def _clone_rules(may_unshare: bool) -> list[dict[str, Any]]:
    """clone3's flags are behind a pointer, where no filter sees them: libc takes clone if it is not there."""
    if may_unshare:
        return [{"names": ["clone", "clone3"], "action": "SCMP_ACT_ALLOW"}]
    none = {"index": 0, "value": _NEW_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    return [
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [none]},
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS},
    ]


def _argument(index: int, value: int, operator: str) -> dict[str, Any]:
    return {"index": index, "value": value, "op": operator}


def from_docker_profile(
    profile: dict[str, Any], machine: str, capabilities: Collection[str]
) -> dict[str, Any]:
    """A profile in Docker's own form (`--security-opt seccomp=FILE`), whose rules say for which capabilities
    and architectures they are meant. Raises PyruncError INVALID."""
    try:
        rules = [
            {
                key: rule[key]
                for key in ("names", "action", "args", "errnoRet")
                if rule.get(key) not in (None, [], "")
            }
            for rule in map(_with_names, profile.get("syscalls") or ())
            if _is_meant(rule, machine, capabilities)
        ]
        made = {
            "defaultAction": profile["defaultAction"],
            "architectures": _architectures(profile, machine),
            "syscalls": rules,
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise PyruncError(
            INVALID, "invalid seccomp profile", "/HostConfig/SecurityOpt", repr(error)
        ) from None
    for key in ("defaultErrnoRet", "flags", "listenerPath", "listenerMetadata"):
        if profile.get(key):
            made[key] = profile[key]
    return made


def _with_names(rule: dict[str, Any]) -> dict[str, Any]:
    return rule if rule.get("names") else {**rule, "names": [rule["name"]]}


def _architectures(profile: dict[str, Any], machine: str) -> list[str]:
    native = ARCHITECTURES.get(machine, ("",))[0]
    for entry in profile.get("archMap") or ():
        if entry["architecture"] == native:
            return [native, *(entry.get("subArchitectures") or ())]
    return list(profile.get("architectures") or ())


def _is_meant(rule: dict[str, Any], machine: str, capabilities: Collection[str]) -> bool:
    name = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    excludes, includes = rule.get("excludes") or {}, rule.get("includes") or {}
    if excludes.get("caps") and set(excludes["caps"]) <= set(capabilities):
        return False
    if name in (excludes.get("arches") or ()):
        return False
    if includes.get("caps") and not set(includes["caps"]) <= set(capabilities):
        return False
    return not includes.get("arches") or name in includes["arches"]
