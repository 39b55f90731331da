"""The table of steps, and the walk over a plan. What each does is in process, rootfs, hooks, beside this."""

from __future__ import annotations

import gc
import posix
import sys

from pyrunc.child import process
from pyrunc.child.channel import encode_failure
from pyrunc.child.context import Child
from pyrunc.kernel import fds, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from pyrunc.plan import ops

STEPS: dict[str, Callable[[Any, Child], None]] = {
    "Await": process.wait,
    "BecomeRoot": process.become_root,
    "ChangeDirectory": process.change_directory,
    "CloseCgroups": process.close_cgroups,
    "ExecStub": process.exec_stub,
    "FillHome": process.fill_home,
    "FindProgram": process.find_program,
    "JoinCgroup": process.join_cgroup,
    "JoinNamespace": process.join_namespace,
    "LoopbackUp": process.loopback_up,
    "NewSession": process.new_session,
    "OpenLabels": process.open_labels,
    "OwnStdio": process.own_stdio,
    "ReopenNull": process.reopen_null,
    "ResetCpuAffinity": process.reset_cpu_affinity,
    "ResetSignals": process.reset_signals,
    "LabelKeys": process.label_keys,
    "SessionKeyring": process.session_keyring,
    "SetCpuAffinity": process.set_cpu_affinity,
    "SetDomainname": lambda op, _child: syscall.setdomainname(op.name),
    "SetDumpable": process.set_dumpable,
    "SetHostname": lambda op, _child: syscall.sethostname(op.name),
    "SetUmask": process.set_umask,
    "TakeStdio": process.take_stdio,
    "Tell": process.tell,
    "Unshare": process.unshare,
    "WriteTimeOffsets": process.write_time_offsets,
}

# Modules with STEPS of their own, of which an exec needs none, or few plans do
_FURTHER = ("pyrunc.child.rootfs", "pyrunc.child.hooks")


def fetch(plan: tuple[ops.Op, ...]) -> None:
    """Import what else has steps of this plan: before the clone, for after it nothing can be imported."""
    for name in _FURTHER:
        if all(type(op).__name__ in STEPS for op in plan):
            return
        STEPS.update(__import__(name, fromlist=("",)).STEPS)


def run(plan: tuple[ops.Op, ...], child: Child, parents_end: int) -> NoReturn:
    """Carry out the plan. It ends in the execution of the stub, which closes what we hold. On failure
    (step, errno) is enough, for the parent holds the same plan and writes the sentence.

    `parents_end` of the channel is closed here, where nothing can escape: an error that went on up in the
    child would have the parent's clean-up done twice, once from within the container."""
    sys.meta_path.clear()
    sys.path.clear()
    gc.disable()
    step = code = 0
    try:
        if child.preserved >= 0:
            child.close_others()
        elif parents_end >= 0:
            posix.close(parents_end)
        for op in plan:
            STEPS[type(op).__name__](op, child)
            step += 1
    except OSError as error:
        code = error.errno or 0
    except BaseException:  # our own bug: the parent names the step, and that there was no errno
        code = 0
    try:
        fds.send(child.channel, encode_failure(step, code))
    finally:
        posix._exit(1)
