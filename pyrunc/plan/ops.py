"""The vocabulary of a launch: one Record per thing the kernel is asked to do. Data only.

How each is done is known by `linux.apply` (host side) and `child.steps` (between clone and exec); nothing
here does anything. What exists only at run time, an open descriptor, goes by a name: `saves` gives it,
`takes` uses it. Targets inside the container are names resolved inside its root, never followed out of it.
"""

from __future__ import annotations

from pyrunc.record import Record


class Op(Record):
    origin: str = ""  # JSON pointer into config.json: who asked for this


# --- the container's cgroup (host side) -----------------------------------------------------------


class MakeCgroup(Op):
    """Make the directory `path` and what is missing above it, up to the mount at `mountpoint`. In a cpuset
    hierarchy of v1 each new directory first takes over its parent's cpuset.cpus and cpuset.mems; on v2
    `controllers` are switched on in cgroup.subtree_control of each directory above `path`.

    It must not hold processes already, nor be frozen (runc's guards)."""

    path: str
    mountpoint: str
    is_cpuset: bool = False
    controllers: tuple[str, ...] = ()


class WriteCgroup(Op):
    """Write `value` to the file `path`. `optional`: a file that doesn't exist is not an error."""

    path: str
    value: str
    optional: bool = False


class AttachDeviceProgram(Op):
    """Load the BPF `program` (BPF_PROG_TYPE_CGROUP_DEVICE) and attach it to the v2 cgroup `path`."""

    path: str
    program: bytes


class OpenCgroup(Op):
    """Open what a process joins the cgroup through: on v1 its `tasks` file, on v2 the directory itself."""

    path: str
    saves: str
