"""The bundle that is measured: what `runc spec` prints, over a root filesystem of busybox alone."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

_APPLETS = ("sh", "sleep", "true", "cat")
_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
_SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")
_PROFILE_CALLS = 434  # as many as the default profile of Docker names
_CONFIG: dict[str, Any] = {
    "ociVersion": "1.0.2",
    "process": {
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "args": ["true"],
        "env": ["PATH=/usr/bin:/bin", "TERM=xterm"],
        "cwd": "/",
        "capabilities": dict.fromkeys(_SETS, _CAPABILITIES),
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": True,
    },
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "bench",
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


def profile(names: list[str]) -> dict[str, Any]:
    """Of the size of Docker's: so many names allowed, on three architectures, and a few calls by argument."""
    by_argument = [
        {"names": ["personality"], "action": "SCMP_ACT_ALLOW",
         "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]}
        for value in (0, 8, 131072, 131080, 0xFFFFFFFF)
    ]  # fmt: skip
    allowed = [name for name in dict.fromkeys(names) if name != "personality"][:_PROFILE_CALLS]
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [{"names": allowed, "action": "SCMP_ACT_ALLOW"}, *by_argument],
    }


class Bundles:
    """Bundles that share one root filesystem, below `work`."""

    def __init__(self, work: Path, busybox: str, seccomp: dict[str, Any] | None = None) -> None:
        self.work, self.seccomp = work, seccomp
        self.rootfs = work / "rootfs"
        for name in ("bin", "dev", "proc", "sys", "tmp"):
            (self.rootfs / name).mkdir(parents=True)
        shutil.copy(busybox, self.rootfs / "bin/busybox")
        for name in _APPLETS:
            os.symlink("busybox", self.rootfs / "bin" / name)

    def make(self, name: str, args: list[str], mounts: int = 0) -> Path:
        """With so many more mounts than the usual seven: small tmpfs, side by side."""
        config = json.loads(json.dumps(_CONFIG))
        config["process"]["args"] = args
        config["root"]["path"] = str(self.rootfs)
        config["mounts"] += [
            {"destination": f"/tmp/{number}", "type": "tmpfs", "source": "tmpfs", "options": ["size=4k"]}
            for number in range(mounts)
        ]
        for number in range(mounts):
            (self.rootfs / f"tmp/{number}").mkdir(exist_ok=True)
        if self.seccomp is not None:
            config["linux"]["seccomp"] = self.seccomp
        path = self.work / name
        path.mkdir()
        (path / "config.json").write_text(json.dumps(config))
        return path
