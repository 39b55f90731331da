"""AppArmor and SELinux: the label that a process is to be executed with.

An AppArmor profile is asked for by the child, for its next execve: that of the stub, which hands it on to the
program. So a profile has to allow what the stub does, too: set ids, write to its socket, and execute the
program from within the profile (`capability`, `network`, `file`, as in those of the engines). The file that
is written to belongs to the host's procfs, opened before any name could be the image's (CVE-2019-16884).

An SELinux label can't be had in this way: its domain would have to be one that may be entered by executing
the stub.
"""

from __future__ import annotations

from pyrunc.errors import UNSUPPORTED, PyruncError
from pyrunc.oci.config import Process
from pyrunc.plan.ops import Op, OpenExecLabel, WriteExecLabel

_SAVED = "label"


def plan_label(process: Process) -> tuple[tuple[Op, ...], tuple[Op, ...]]:
    """(the child's first step, one of its last ones). Raises PyruncError UNSUPPORTED for SELinux.

    That the module is on at all is a rule of oci.validate.
    """
    if process.selinux_label:
        raise PyruncError(
            UNSUPPORTED,
            "SELinux labels cannot be applied yet",
            f"{process.origin}/selinuxLabel",
            hint="leave the label out, or let the engine do so (podman: --security-opt label=disable)",
        )
    if not process.apparmor_profile:
        return (), ()
    origin = f"{process.origin}/apparmorProfile"
    write = WriteExecLabel(takes=_SAVED, profile=process.apparmor_profile, origin=origin)
    return (OpenExecLabel(saves=_SAVED, origin=origin),), (write,)
