"""AppArmor and SELinux: the label that a process is to be executed with, and that of its mounts.

A process may only choose its own label, for its next execve. Ours is twice executed: as the stub, then as the
program. So it is the stub that asks, last before it waits: neither what a profile must allow, nor the domain
that a label means, has to do with anything of ours. It does so through a directory of procfs that the child
has opened for it, because /proc is the image's by then (CVE-2019-16884), and a file opened before an execve
may not be written after it. That is a procfs of the container's pid namespace, mounted nowhere: whoever got
hold of the directory would find no more than processes that he sees anyway.
"""

from __future__ import annotations

from pyrunc.kernel import const as c
from pyrunc.oci.config import Process
from pyrunc.plan.ops import OpenLabels
from pyrunc.plan.stub import Result, StubCall, Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan.ops import Op

LABELS = "labels"


def has_label(process: Process) -> bool:
    return bool(process.apparmor_profile or process.selinux_label)


def open_labels(process: Process, *, may_mount: bool = True) -> tuple[Op, ...]:
    """The child's step for the stub's calls, and for the keyring's label. Who may not mount a procfs, an exec
    without privileges, takes the host's: it is his to see already."""
    if not has_label(process):
        return ()
    path, name = (
        ("attr/apparmor", "apparmorProfile") if process.apparmor_profile else ("attr", "selinuxLabel")
    )
    return (OpenLabels(saves=LABELS, path=path, is_private=may_mount, origin=f"{process.origin}/{name}"),)


def label_calls(process: Process, directory: int) -> list[StubCall]:
    """The stub's part. `directory`: the descriptor that it finds the directory at. apparmor(7),
    aa_change_onexec(2); selinux(8), setexeccon(3)."""
    if not has_label(process):
        return []
    if process.apparmor_profile:
        text, origin = f"exec {process.apparmor_profile}", f"{process.origin}/apparmorProfile"
        words = f"apply apparmor profile {process.apparmor_profile}"
    else:
        text, origin = process.selinux_label, f"{process.origin}/selinuxLabel"
        words = f"set selinux label {process.selinux_label}"
    data = text.encode("utf-8", "surrogateescape")
    flags = c.O_WRONLY | c.O_CLOEXEC
    return [
        StubCall(call="openat", args=(directory, Text(data=b"exec\0"), flags), words=words, origin=origin),
        StubCall(call="write", args=(Result(), Text(data=data), len(data)), words=words, origin=origin),
        StubCall(call="close", args=(directory,)),
    ]


def with_context(data: str, label: str) -> str:
    """Options of a filesystem, and the label of all that is in it, unless they say one already. It is quoted,
    for it may have commas: mount(8)."""
    if not label or "context=" in data:
        return data
    return f'{data},context="{label}"'.removeprefix(",")
