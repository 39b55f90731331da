"""Which capabilities a container has: Docker's default set, changed by --cap-add and --cap-drop, and never
more than we have ourselves: root may be without some of them, and asking for one more makes every start fail.
"""

from __future__ import annotations

from pyrunc.errors import INVALID, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
    "CAP_AUDIT_WRITE",
)  # fmt: skip

# In the order of their numbers (capability.h)
ALL = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
    "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT",
    "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE",
    "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
    "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)  # fmt: skip


def from_mask(mask: int) -> frozenset[str]:
    return frozenset(name for bit, name in enumerate(ALL) if mask >> bit & 1)


def normalise(names: Iterable[str]) -> list[str]:
    """`net_admin` -> `CAP_NET_ADMIN`; ALL stays. Raises PyruncError INVALID."""
    found = []
    for name in names:
        word = name.strip().upper()
        word = word if word == "ALL" or word.startswith("CAP_") else f"CAP_{word}"
        if word not in ("ALL", *ALL):
            raise PyruncError(INVALID, f'invalid capability: unknown capability: "{name}"')
        found.append(word)
    return found


def choose(
    *, add: Iterable[str], drop: Iterable[str], is_privileged: bool, bounding: frozenset[str]
) -> tuple[str, ...]:
    """In the order of their numbers. Dropping wins, but for one that is added by its name after `--cap-drop
    ALL`."""
    added, dropped = normalise(add), normalise(drop)
    if is_privileged:
        wanted = set(ALL)
    elif "ALL" in added:
        wanted = set(ALL) - set(dropped)
    elif "ALL" in dropped:
        wanted = set(added)
    else:
        wanted = (set(DEFAULT) | set(added)) - set(dropped)
    return tuple(name for name in ALL if name in wanted and name in bounding)
