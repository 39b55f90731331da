"""The table of steps, and the walk over a plan. What each does is in rootfs and process, beside this."""

from __future__ import annotations

import gc
import posix
import sys

from pyrunc.child import process, rootfs
from pyrunc.child.channel import encode_failure
from pyrunc.child.context import Child
from pyrunc.kernel import fds, syscall
from pyrunc.plan import ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

STEPS: dict[type, Callable[[Any, Child], None]] = {
    ops.AttachRoot: rootfs.attach_root,
    ops.Await: process.wait,
    ops.BecomeRoot: process.become_root,
    ops.ChangeDirectory: process.change_directory,
    ops.ChangeRoot: rootfs.change_root,
    ops.ChangeRootTo: rootfs.change_root_to,
    ops.CloseCgroups: process.close_cgroups,
    ops.CopyUp: rootfs.copy_up,
    ops.ExecStub: process.exec_stub,
    ops.FillHome: process.fill_home,
    ops.FindProgram: process.find_program,
    ops.JoinCgroup: process.join_cgroup,
    ops.JoinNamespace: process.join_namespace,
    ops.LoopbackUp: process.loopback_up,
    ops.MakeDevice: rootfs.make_device,
    ops.MakeDirectory: rootfs.make_directory,
    ops.MakeSymlink: rootfs.make_symlink,
    ops.MaskPath: rootfs.mask_path,
    ops.MountFilesystem: rootfs.mount_filesystem,
    ops.MoveMount: rootfs.move_mount,
    ops.MoveRoot: rootfs.move_root,
    ops.NewSession: process.new_session,
    ops.OpenConsole: rootfs.open_console,
    ops.OpenLabels: process.open_labels,
    ops.OpenRoot: rootfs.open_root,
    ops.OpenTree: rootfs.open_tree,
    ops.OwnStdio: process.own_stdio,
    ops.PivotRoot: rootfs.pivot_root,
    ops.ReadonlyPath: rootfs.readonly_path,
    ops.RemountReadonly: rootfs.remount_readonly,
    ops.ReopenNull: process.reopen_null,
    ops.ResetCpuAffinity: process.reset_cpu_affinity,
    ops.ResetSignals: process.reset_signals,
    ops.RunHooks: process.run_hooks,
    ops.LabelKeys: process.label_keys,
    ops.SessionKeyring: process.session_keyring,
    ops.SetCpuAffinity: process.set_cpu_affinity,
    ops.SetDomainname: lambda op, _child: syscall.setdomainname(op.name),
    ops.SetDumpable: process.set_dumpable,
    ops.SetHostname: lambda op, _child: syscall.sethostname(op.name),
    ops.SetPropagation: rootfs.set_propagation,
    ops.SetTreeFlags: rootfs.set_tree_flags,
    ops.SetUmask: process.set_umask,
    ops.TakeStdio: process.take_stdio,
    ops.Tell: process.tell,
    ops.Unshare: process.unshare,
    ops.WriteSysctl: rootfs.write_sysctl,
    ops.WriteTimeOffsets: process.write_time_offsets,
}


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
            STEPS[type(op)](op, child)
            step += 1
    except OSError as error:
        code = error.errno or 0
    except BaseException:  # our own bug: the parent names the step, and that there was no errno
        code = 0
    try:
        fds.send(child.channel, encode_failure(step, code))
    finally:
        posix._exit(1)
