"""What a config.json depends on besides what was wished for."""

from __future__ import annotations

from pyrunc.record import Record


class User(Record):
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()


class Device(Record):
    """A device file to be made: `type` is "c" or "b"."""

    path: str
    type: str
    major: int
    minor: int
    access: str = "rwm"
    mode: int = 0o660
    uid: int = 0
    gid: int = 0


class Facts(Record):
    """`rootfs`: what is mounted already; `files`: (source, destination) of hosts, resolv.conf, hostname;
    `namespaces`: type -> path of one to be joined; `bounding`: capabilities that we have ourselves;
    `limits`: our hard limits by RLIMIT_*, where we may not raise them; `has_mqueue`: the host has a
    /dev/mqueue to share."""

    rootfs: str
    user: User = User()
    hostname: str = ""
    files: tuple[tuple[str, str], ...] = ()
    namespaces: dict[str, str] = {}  # noqa: RUF012  (a Record's default: never changed)
    cgroup: str = ""
    bounding: frozenset[str] = frozenset()
    limits: dict[str, int] = {}  # noqa: RUF012
    devices: tuple[Device, ...] = ()
    is_cgroup2: bool = False
    has_apparmor: bool = False
    has_mqueue: bool = False
    machine: str = "x86_64"
