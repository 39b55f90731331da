"""Facts about the machine under the tests, and the marks that skip what it cannot do."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

import pytest

from support.facts import Mount, mounts


def _own_mounts() -> list[Mount]:
    return mounts(Path("/proc/self/mountinfo").read_text())


def cgroup1_hierarchies() -> dict[str, Path]:
    """Controller (or name=…) to the mount point of its v1 hierarchy."""
    found = {}
    for mount in _own_mounts():
        if mount.fstype == "cgroup":
            for option in mount.super_options:
                if option not in ("rw", "ro", "xattr", "clone_children") and "release_agent" not in option:
                    found[option] = Path(mount.target)
    return found


def cgroup2_root() -> Path | None:
    """The mount point of the unified hierarchy, whether or not controllers live there."""
    for mount in _own_mounts():
        if mount.fstype == "cgroup2":
            return Path(mount.target)
    return None


def bounding_capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            return int(line.split()[1], 16)
    raise AssertionError("/proc/self/status has no CapBnd")


def kernel() -> tuple[int, int]:
    major, minor = platform.release().split(".")[:2]
    return int(major), int("".join(c for c in minor if c.isdigit()))


CGROUP1 = cgroup1_hierarchies()
CGROUP2 = cgroup2_root()
PURE_CGROUP2 = CGROUP2 is not None and not CGROUP1
CAP_SYS_RESOURCE = 24

# Of the runs that name none themselves; settings for tests, as in README.md
MANAGER = os.environ.get("PYRUNC_TEST_CGROUP_MANAGER", "cgroupfs")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
needs_cgroup1 = pytest.mark.skipif(not CGROUP1, reason="this host has no cgroup v1")
needs_cgroup2 = pytest.mark.skipif(not PURE_CGROUP2, reason="the controllers of this host are in cgroup v1")
HAS_SYSTEMD = os.path.isdir("/run/systemd/system")
needs_systemd = pytest.mark.skipif(not HAS_SYSTEMD, reason="systemd isn't the init here")
without_systemd = pytest.mark.skipif(HAS_SYSTEMD, reason="systemd is the init here")
needs_cgroupfs = pytest.mark.skipif(
    MANAGER != "cgroupfs", reason="of cgroups that the runtime makes itself: systemd has names of its own"
)
needs_x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the machine code is for x86_64")
needs_sys_resource = pytest.mark.skipif(
    not bounding_capabilities() >> CAP_SYS_RESOURCE & 1, reason="root here lacks CAP_SYS_RESOURCE"
)


def needs_program(*names: str) -> pytest.MarkDecorator:
    missing = [name for name in names if shutil.which(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def needs_controller(name: str) -> pytest.MarkDecorator:
    """Skips unless a v1 hierarchy, or the root of a pure v2 one, has this controller."""
    if PURE_CGROUP2:
        assert CGROUP2 is not None
        present = name in (CGROUP2 / "cgroup.controllers").read_text().split()
    else:
        present = name in CGROUP1
    return pytest.mark.skipif(not present, reason=f"no cgroup controller {name} here")


def needs_kernel(*version: int) -> pytest.MarkDecorator:
    wanted = ".".join(map(str, version))
    return pytest.mark.skipif(kernel() < version, reason=f"the kernel is older than {wanted}")


def needs_namespace(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        not os.path.exists(f"/proc/self/ns/{name}"), reason=f"the kernel has no {name} namespace"
    )


def hybrid_root_control() -> Path:
    return Path("/sys/fs/cgroup/unified/cgroup.subtree_control")


def passed_on_by_hybrid_root() -> set[str]:
    """Controllers, by their v2 names."""
    control = hybrid_root_control()
    return set(control.read_text().split()) if control.exists() and not PURE_CGROUP2 else set()


def unused_in_v1(name: str) -> bool:
    """The kernel has this controller, and nobody uses it in v1 or v2: a test may mount it for a moment."""
    rows = [line.split() for line in Path("/proc/cgroups").read_text().splitlines()[1:]]
    is_free = any(row[:2] == [name, "0"] for row in rows) and name not in passed_on_by_hybrid_root()
    return is_free and not PURE_CGROUP2
