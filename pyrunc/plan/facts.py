"""What the host is, as far as a plan depends on it. Filled by `linux.facts`, an argument everywhere here."""

from __future__ import annotations

from pyrunc.record import Record


class Hierarchy(Record):
    """One mounted cgroup v1 hierarchy.

    `controllers`: as in /proc/self/cgroup ("cpu", "cpuacct"; "name=systemd" for a named one);
    `mountpoint`: where it is mounted; `own_path`: our own cgroup in it, as seen from that mount.
    """

    controllers: tuple[str, ...]
    mountpoint: str
    own_path: str = "/"

    @property
    def name(self) -> str:
        """How a hierarchy is called in state files and below /sys/fs/cgroup: "cpu,cpuacct", "systemd"."""
        return ",".join(self.controllers).removeprefix("name=")


class CgroupLayout(Record):
    """Which cgroup file systems the host has. Pure v2: no hierarchies. Hybrid: both. None: neither.

    `unified_mountpoint` is empty where cgroup2 isn't mounted; `unified_controllers` is what its root offers.
    """

    hierarchies: tuple[Hierarchy, ...] = ()
    unified_mountpoint: str = ""
    unified_own_path: str = "/"
    unified_controllers: tuple[str, ...] = ()

    @property
    def is_v2(self) -> bool:
        return not self.hierarchies and bool(self.unified_mountpoint)


class SystemdFacts(Record):
    """The manager that makes the units: the host's, or with `is_user` the caller's own. `control_group`: its
    cgroup, below which its slices are; empty for the root. `has_bfq`: the kernel has the scheduler of that
    name, so cgroups have its weights."""

    version: int
    control_group: str = ""
    is_user: bool = False
    has_bfq: bool = False


class HostFacts(Record):
    """`machine`: uname -m. `capability_mask`: our own permitted capabilities, bit N for capability N.
    `in_user_namespace`: our user namespace isn't the host's first one. `may_set_groups`: it, and so one made
    in it, lets processes have supplementary groups (user_namespaces(7))."""

    machine: str = "x86_64"
    kernel: tuple[int, int] = (6, 1)
    uid: int = 0
    gid: int = 0
    capability_mask: int = (1 << 41) - 1
    last_capability: int = 40
    in_user_namespace: bool = False
    may_set_groups: bool = True
    namespaces: tuple[str, ...] = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
    cgroups: CgroupLayout = CgroupLayout()
    has_apparmor: bool = False
    has_selinux: bool = False
    has_kcore: bool = False

    @property
    def is_privileged(self) -> bool:
        """May we mount and make namespaces without a new user namespace (CAP_SYS_ADMIN)?"""
        return bool(self.capability_mask >> 21 & 1)
