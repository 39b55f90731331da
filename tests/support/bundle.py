"""Bundles: a throw-away rootfs around a copy of a static busybox, and a config.json held as a dict.

Applets are links to a busybox of our own, inside the rootfs: whatever a container, or a runtime with a bug,
writes through them, the host's busybox is not at their end.
"""

from __future__ import annotations

import copy
import functools
import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from support import fields

BUSYBOX = os.environ.get("PYRUNC_TEST_BUSYBOX", "/bin/busybox")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Everything made by a test carries this prefix: cgroups, ids, directories.
PREFIX = "pyrunc-test-"
_numbers = itertools.count(1)

_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
# What `runc spec` prints, but without a terminal and with the host's `domainname` left alone.
_DEFAULT: dict[str, Any] = {
    "ociVersion": "1.0.2",
    "process": {
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "args": ["true"],
        "env": [f"PATH={PATH}", "TERM=xterm"],
        "cwd": "/",
        "capabilities": {
            "bounding": _CAPABILITIES,
            "effective": _CAPABILITIES,
            "permitted": _CAPABILITIES,
            "ambient": _CAPABILITIES,
        },
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": True,
    },
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "inside",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
         "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs",
         "options": ["nosuid", "noexec", "nodev", "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
         "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]},
    ],
    "linux": {
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "namespaces": [{"type": name} for name in ("pid", "network", "ipc", "uts", "mount")],
        "maskedPaths": [
            "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
            "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
        ],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    },
}  # fmt: skip


def default_config() -> dict[str, Any]:
    return copy.deepcopy(_DEFAULT)


@functools.cache
def _applets() -> tuple[str, ...]:
    listed = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
    return tuple(name for name in listed if name not in ("busybox", "sh"))


def make_rootfs(rootfs: Path) -> Path:
    """A root filesystem with /bin from busybox, the mount points of the default config, and two users."""
    for name in ("bin", "dev", "etc", "home/user", "proc", "root", "sys", "tmp", "usr/bin", "var/empty"):
        (rootfs / name).mkdir(parents=True)
    rootfs.chmod(0o755)
    (rootfs / "tmp").chmod(0o1777)
    (rootfs / "root").chmod(0o700)
    shutil.copy(BUSYBOX, rootfs / "bin/busybox")
    os.symlink("busybox", rootfs / "bin/sh")
    for name in _applets():  # ext4 takes 7 ms for these, and 100 for as many symbolic links
        os.link(rootfs / "bin/busybox", rootfs / "bin" / name)
    (rootfs / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n"
    )
    (rootfs / "etc/group").write_text("root:x:0:\nuser:x:1000:\n")
    return rootfs


class Bundle:
    """A bundle directory. Change `config` at will: it is written each time a runtime is pointed at it."""

    def __init__(self, path: Path, *, rootfs: bool = True) -> None:
        self.path = path
        self.rootfs = path / "rootfs"
        self.id = f"{PREFIX}{os.getpid()}-{next(_numbers)}"
        self.config = default_config()
        path.mkdir(parents=True)
        if rootfs:
            make_rootfs(self.rootfs)

    @property
    def process(self) -> dict[str, Any]:
        return self.config["process"]

    @property
    def linux(self) -> dict[str, Any]:
        return self.config["linux"]

    @property
    def resources(self) -> dict[str, Any]:
        return self.linux["resources"]

    def writable(self) -> Bundle:
        self.config["root"]["readonly"] = False
        return self

    def mount(self, destination: str, fstype: str, source: object = None, *options: str) -> None:
        entry: dict[str, Any] = {"destination": destination, "type": fstype, "options": list(options)}
        if source is not None:
            entry["source"] = str(source)
        self.config["mounts"].append(entry)

    def bind(self, source: object, destination: str, *options: str) -> None:
        self.mount(destination, "bind", source, "bind", *options)

    def unmount(self, destination: str) -> None:
        """Takes the entry for `destination` out of the default mounts."""
        before = self.config["mounts"]
        self.config["mounts"] = [entry for entry in before if entry["destination"] != destination]
        assert len(self.config["mounts"]) < len(before), destination

    def setenv(self, name: str, value: str) -> None:
        self.process["env"].append(f"{name}={value}")

    def allow(self, *names: str) -> None:
        """Gives the process these capabilities, in the sets where a root shell would look for them."""
        for which in ("bounding", "effective", "permitted"):
            self.process["capabilities"][which] = [*self.process["capabilities"][which], *names]

    def namespace(self, name: str, path: str | None = None) -> None:
        """An own namespace of this type, or the one at `path`."""
        self.share(name)
        self.linux["namespaces"].append({"type": name} if path is None else {"type": name, "path": path})

    def share(self, name: str) -> None:
        """Leaves the namespace of this type as it is on the host."""
        self.linux["namespaces"] = [entry for entry in self.linux["namespaces"] if entry["type"] != name]
        if name == "uts":
            self.config.pop("hostname", None)

    def map_ids(self, host: int = 100_000, size: int = 65_536) -> None:
        """A user namespace in which container root is the host's id `host`, who owns the rootfs."""
        self.namespace("user")
        self.linux["uidMappings"] = [{"containerID": 0, "hostID": host, "size": size}]
        self.linux["gidMappings"] = [{"containerID": 0, "hostID": host, "size": size}]
        for directory, _, files in os.walk(self.rootfs):
            for name in (directory, *(os.path.join(directory, file) for file in files)):
                os.lchown(name, host, host)

    def write(self) -> None:
        fields.saw(fields.CONFIG, self.config)
        (self.path / "config.json").write_text(json.dumps(self.config, indent=1))
