"""Steps of the child on its root filesystem, all before pivot_root.

Every target is opened once inside the root (kernel.paths) and used through its descriptor; where a call only
takes names, by /proc/self/fd/N of the *host's* procfs, which is still ours. The image decides nothing.
"""

from __future__ import annotations

import posix
from errno import EBUSY, EINVAL, ELOOP, ENOTDIR, EPERM
from stat import S_IFMT, S_IMODE, S_ISDIR, S_ISLNK

from pyrunc.child.context import Child, is_null, write_file
from pyrunc.kernel import const as c
from pyrunc.kernel import fds, mounts, paths, syscall, trees
from pyrunc.plan import ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrunc.plan import makeops, rareops

_MASK = "mask"
_TINY = "nr_blocks=1,nr_inodes=1"


def set_propagation(op: makeops.SetPropagation, child: Child) -> None:
    """For "/" before the root is attached: all mounts of our namespace, so that nothing we do is seen on the
    host. Later: one mount of the container, or its root after the pivot."""
    if child.root < 0 or op.target == "/":
        syscall.mount("", "/", "", op.flags, "")
        return
    fd = _reopen(child, op.target)
    syscall.mount_setattr(fd, recursive=bool(op.flags & c.MS_REC), propagation=op.flags & ~c.MS_REC)
    posix.close(fd)


def open_tree(op: makeops.OpenTree, child: Child) -> None:
    """Here, and not on the host side, when only the container's user namespace gives us the right to. Before
    the root is attached: the source is a name of the host."""
    child.saved[op.saves] = mounts.clone_tree(
        op.source,
        recursive=op.recursive,
        follow=op.follow,
        set_flags=op.set_flags,
        clear_flags=op.clear_flags,
        propagation=op.propagation,
    )


def set_tree_flags(op: rareops.SetTreeFlags, child: Child) -> None:
    """Recursive attributes, while nobody sees the tree yet."""
    tree = child.saved[op.takes]
    syscall.mount_setattr(tree, recursive=True, attr_set=op.set_flags, attr_clear=op.clear_flags)


def attach_root(op: makeops.AttachRoot, child: Child) -> None:
    """The tree was opened by the host side; from here on its descriptor is the root, whatever happens to the
    name. It is attached at that name because hooks look for it there. Our mounts are slaves of the host's
    by now: it can't show there."""
    tree = child.saved[op.takes]
    flags = c.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC
    try:
        place = posix.open(op.path, flags)
    except PermissionError:  # root of a user namespace may not search its way there; nor could a hook
        place = posix.open("/", flags)
    syscall.move_mount(tree, place)
    syscall.mount_setattr(tree, recursive=False, propagation=op.propagation)
    posix.close(place)
    found = posix.stat(tree)
    child.root, child.root_is = tree, (found.st_dev, found.st_ino)


def mount_filesystem(op: makeops.MountFilesystem, child: Child) -> None:
    """The image may hold a symlink where we mount: the target is opened once, as if the root were `/`, and
    mounted on through its descriptor. /proc and /sys must be ordinary directories: labels are written
    through them later (CVE-2019-19921, CVE-2023-28642)."""
    target, is_new = _open_directory(child, op.target, op.strict)
    _refuse_bad_target(child, target, op.may_cover_proc)
    data = op.data
    if op.inherit_mode and not is_new:
        mode = f"mode={S_IMODE(posix.stat(target).st_mode):o}"
        data = f"{data},{mode}" if data else mode
    name = paths.fd_path(target)
    try:
        syscall.mount(op.source, name, op.fstype, op.flags, data)
    except OSError as error:
        if op.otherwise and error.errno in (EPERM, EBUSY):
            syscall.move_mount(child.saved[op.otherwise], target)
        elif op.fstype == "devpts" and error.errno in (EPERM, EINVAL) and "gid=" in data:
            # A user namespace without the tty group can't give terminals to it.
            kept = ",".join(item for item in data.split(",") if not item.startswith("gid="))
            syscall.mount(op.source, name, op.fstype, op.flags, kept)
        else:
            raise
    posix.close(target)
    if op.label:
        made = paths.open_inside(child.root, op.target, posix.O_RDONLY)
        posix.setxattr(made, "security.selinux", op.label.encode("utf-8", "surrogateescape"))
        posix.close(made)


def copy_up(op: rareops.CopyUp, child: Child) -> None:
    """The tmpfs is filled while it is detached, from and to descriptors: nobody can lead a write elsewhere,
    and what is copied is what the tmpfs will cover."""
    target, is_new = _open_directory(child, op.target, False)
    _refuse_bad_target(child, target, False)
    options = op.options
    if op.inherit_mode and not is_new:
        options += (f"mode={S_IMODE(posix.stat(target).st_mode):o}",)
    tree = mounts.make_filesystem("tmpfs", op.source, options, op.attributes)
    flags = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC
    source, copy = posix.open(".", flags, dir_fd=target), posix.open(".", flags, dir_fd=tree)
    trees.copy_tree(source, copy)
    syscall.move_mount(tree, target)
    for fd in (source, copy, tree, target):
        posix.close(fd)


def _open_directory(child: Child, path: str, strict: bool) -> tuple[int, bool]:
    """The directory `path` (O_PATH), made if missing, and whether it was. `strict`: no symlink on the way."""
    directory, _, name = path.strip("/").rpartition("/")
    if directory and name not in (".", "..") and not strict:
        try:
            return _open_in_place(child, directory, name)
        except OSError as error:
            if error.errno not in (ELOOP, ENOTDIR):  # a symlink: where it leads is for the kernel to say
                raise
    _let_go(child)
    resolve = c.RESOLVE_IN_ROOT | (c.RESOLVE_NO_SYMLINKS if strict else c.RESOLVE_NO_MAGICLINKS)
    try:
        return syscall.openat2(child.root, path, c.O_PATH | posix.O_DIRECTORY, resolve), False
    except FileNotFoundError:
        return paths.make_directories(child.root, path), True
    except OSError as error:
        if strict and error.errno in (ELOOP, ENOTDIR):
            raise OSError(ops.NOT_ORDINARY, "mount", path) from None
        raise


def _open_in_place(child: Child, directory: str, name: str) -> tuple[int, bool]:
    """As _open_directory, for a single name that is no symlink. Most are new (below /dev, /sys/fs/cgroup), so
    they are made before they are looked for; that it is there is what mkdir says first of all."""
    parent = _hold(child, directory)
    try:
        posix.mkdir(name, 0o755, dir_fd=parent)
        is_new = True
    except FileExistsError:
        is_new = False
    resolve = c.RESOLVE_BENEATH | c.RESOLVE_NO_SYMLINKS
    return syscall.openat2(parent, name, c.O_PATH | posix.O_DIRECTORY, resolve), is_new


def _hold(child: Child, directory: str) -> int:
    """The directory, opened inside the root and made if missing, for as long as its name means the same. A
    mount may change that, unless it is on a name in the directory itself: all others let go of it. So each
    node, link and mount of /dev is made relative to one descriptor, and the way there is walked once."""
    if child.place != directory:
        _let_go(child)
        child.place_fd = paths.make_directories(child.root, directory)
        child.place = directory
    return child.place_fd


def _let_go(child: Child) -> None:
    if child.place:
        posix.close(child.place_fd)
        child.place, child.place_fd = "", -1


def _refuse_bad_target(child: Child, target: int, may_cover_proc: bool) -> None:
    """Nothing is mounted over the root itself, nor over what procfs shows (CVE-2019-16884): by what the
    target *is*, since a name may lead anywhere inside. A device number is one filesystem's as long as that
    is mounted, and what our namespace has mounted stays so: each is asked once for what it is."""
    here = posix.stat(target)
    if (here.st_dev, here.st_ino) == child.root_is:
        raise OSError(EBUSY, "mount")
    if not may_cover_proc and here.st_dev not in child.ordinary:
        if syscall.filesystem_magic(target) == c.PROC_SUPER_MAGIC:
            raise OSError(ops.INSIDE_PROC, "mount")
        child.ordinary.add(here.st_dev)


def move_mount(op: makeops.MoveMount, child: Child) -> None:
    """The source was opened before, with the caller's rights; only its kind, directory or file, is looked at
    to make a missing target."""
    tree = child.saved[op.takes]
    if op.must_be_proc and syscall.filesystem_magic(tree) != c.PROC_SUPER_MAGIC:
        raise OSError(ops.NOT_PROC, "mount", op.target)
    kind = posix.stat(tree).st_mode
    if op.copy_link and S_ISLNK(kind):
        _make_link(child, op.target, posix.readlink("", dir_fd=tree))
        return
    if S_ISDIR(kind):
        target, _ = _open_directory(child, op.target, False)
    else:
        target = paths.make_file(child.root, op.target, follow=op.follow)
        if S_ISDIR(posix.stat(target).st_mode):
            raise OSError(ENOTDIR, "mount", op.target)  # the kernel only says EINVAL
    _refuse_bad_target(child, target, op.may_cover_proc)
    syscall.move_mount(tree, target)
    posix.close(target)
    child.mounted[op.target] = tree


def _reopen(child: Child, target: str) -> int:
    """What is mounted at `target`: the tree that we put there, or the top of what the name leads to now."""
    tree = child.mounted.get(target)
    return posix.dup(tree) if tree is not None else paths.open_inside(child.root, target)


def remount_readonly(op: makeops.RemountReadonly, child: Child) -> None:
    """Late, when all that belongs inside has been made. Adding a restriction is always allowed."""
    if op.target == "/":
        syscall.mount_setattr(child.root, recursive=False, attr_set=c.MOUNT_ATTR_RDONLY)
        return
    fd = _reopen(child, op.target)
    syscall.mount_setattr(fd, recursive=False, attr_set=c.MOUNT_ATTR_RDONLY)
    posix.close(fd)


def make_directory(op: makeops.MakeDirectory, child: Child) -> None:
    """Inside the root, like any name of the config."""
    posix.close(paths.make_directories(child.root, op.path))


def make_device(op: makeops.MakeDevice, child: Child) -> None:
    """/dev of an image may be a symlink: the node is made relative to the descriptor of what that means
    inside the root (CVE-2026-41579)."""
    directory, name = paths.split(op.path)
    parent = _hold(child, directory)
    try:
        posix.mknod(name, op.mode, op.device, dir_fd=parent)
    except FileExistsError:
        found = posix.stat(name, dir_fd=parent, follow_symlinks=False)
        if S_IFMT(found.st_mode) != S_IFMT(op.mode) or found.st_rdev != op.device:
            raise OSError(ops.WRONG_NODE, "mknod", op.path) from None
    if op.uid or op.gid:
        posix.chown(name, op.uid, op.gid, dir_fd=parent, follow_symlinks=False)


def make_symlink(op: makeops.MakeSymlink, child: Child) -> None:
    """What is there already stays, unless it has to go (/dev/ptmx of an image is never the right one)."""
    _make_link(child, op.path, op.target, replace=op.replace)


def _make_link(child: Child, path: str, target: str, replace: bool = False) -> None:
    directory, name = paths.split(path)
    parent = _hold(child, directory)
    if replace:
        try:
            posix.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            pass
    try:
        posix.symlink(target, name, dir_fd=parent)
    except FileExistsError:
        pass


def open_console(op: ops.OpenConsole, child: Child) -> None:
    """The pty is born in the container's devpts; its other end is had from the kernel (TIOCGPTPEER), never by
    the name /dev/pts/N, which the image could have made (CVE-2025-52565). After setsid, so that it can
    become our controlling terminal."""
    master = paths.open_inside(child.root, "/dev/pts/ptmx", posix.O_RDWR | posix.O_NOCTTY)
    if syscall.filesystem_magic(master) != c.DEVPTS_SUPER_MAGIC:
        raise OSError(ops.NOT_A_DEVICE, "open", "/dev/pts/ptmx")
    _use_console(op, child, master)


def _use_console(op: ops.OpenConsole, child: Child, master: int) -> None:
    syscall.ioctl_bytes(master, c.TIOCSPTLCK, bytes(4))
    number = int.from_bytes(syscall.ioctl_bytes(master, c.TIOCGPTN, bytes(4)), "little")
    peer = syscall.ioctl_int(master, c.TIOCGPTPEER, posix.O_RDWR | posix.O_NOCTTY | posix.O_CLOEXEC)
    if op.rows or op.columns:
        size = b"".join(value.to_bytes(2, "little") for value in (op.rows, op.columns, 0, 0))
        syscall.ioctl_bytes(peer, c.TIOCSWINSZ, size)
    if op.uid:
        posix.fchown(peer, op.uid, -1)
    if op.bind:
        target = paths.make_file(child.root, "/dev/console", 0o666)
        tree = syscall.open_tree(peer, b"", c.AT_EMPTY_PATH | c.OPEN_TREE_CLONE)
        syscall.move_mount(tree, target)
        posix.close(tree)
        posix.close(target)
    fds.send(child.saved[op.takes], f"/dev/pts/{number}".encode(), (master,))
    syscall.ioctl_int(peer, c.TIOCSCTTY)
    for stream in (0, 1, 2):
        posix.dup2(peer, stream)
    posix.close(peer)
    posix.close(master)


def write_sysctl(op: makeops.WriteSysctl, _child: Child) -> None:
    """Through the host's procfs, which no mount of the image can have redirected (CVE-2025-52881): a
    namespaced sysctl belongs to the namespace of the writer, and that is the container's by now."""
    write_file(f"/proc/sys/{op.path}", op.value)


def readonly_path(op: makeops.ReadonlyPath, child: Child) -> None:
    """A clone of the mount from there on, read-only with all below, on top of itself, by descriptor: there is
    no moment at which another object could take the place (GHSA-3q8j-pf29-vwv8)."""
    _let_go(child)
    try:
        target = paths.open_inside(child.root, op.path)
    except (FileNotFoundError, NotADirectoryError):
        return
    tree = syscall.open_tree(target, b"", c.AT_EMPTY_PATH | c.OPEN_TREE_CLONE | c.AT_RECURSIVE)
    syscall.mount_setattr(tree, recursive=True, attr_set=c.MOUNT_ATTR_RDONLY)
    syscall.move_mount(tree, target)
    posix.close(tree)
    posix.close(target)


def mask_path(op: makeops.MaskPath, child: Child) -> None:
    """Files get the host's /dev/null, known by its number and not by its name in the image
    (CVE-2025-31133); directories an empty tmpfs."""
    _let_go(child)
    try:
        target = paths.open_inside(child.root, op.path)
    except (FileNotFoundError, NotADirectoryError):
        return
    if S_ISDIR(posix.stat(target).st_mode):
        syscall.mount("tmpfs", paths.fd_path(target), "tmpfs", c.MS_RDONLY, _TINY + op.context)
    else:
        if _MASK not in child.saved:  # once for all
            child.saved[_MASK] = posix.open("/dev/null", c.O_PATH | posix.O_CLOEXEC)
            if not is_null(child.saved[_MASK]):
                raise OSError(ops.NOT_A_DEVICE, "open", "/dev/null")
        tree = syscall.open_tree(child.saved[_MASK], b"", c.AT_EMPTY_PATH | c.OPEN_TREE_CLONE)
        syscall.move_mount(tree, target)
        posix.close(tree)
    posix.close(target)


def pivot_root(_op: makeops.PivotRoot, child: Child) -> None:
    """Stack the old root upon the new and detach it, so that the image needs no directory for it (as
    pivot_root(2) shows). After this a path means the container's: nothing of the host is left by name."""
    posix.fchdir(child.root)
    syscall.pivot_root(".", ".")
    syscall.umount2(".", c.MNT_DETACH)
    posix.chdir("/")


def move_root(op: rareops.MoveRoot, child: Child) -> None:
    """Where the host's root can't be pivoted away it stays mounted below; so that no path of the container
    leads to an unmasked procfs or sysfs of the host, those are detached first, or covered where they are
    another user namespace's."""
    for mountpoint in op.hide:
        try:
            syscall.umount2(mountpoint, c.MNT_DETACH)
        except OSError as error:
            if error.errno not in (EINVAL, EPERM):
                raise
            syscall.mount("tmpfs", mountpoint, "tmpfs", c.MS_RDONLY, _TINY)
    posix.fchdir(child.root)
    syscall.mount(".", "/", "", c.MS_MOVE, "")
    posix.chroot(".")
    posix.chdir("/")


def change_root(op: rareops.ChangeRoot, _child: Child) -> None:
    """No mount namespace of its own: the host's mounts stay, only names are confined."""
    posix.chroot(op.path)
    posix.chdir("/")


def change_root_to(op: rareops.ChangeRootTo, child: Child) -> None:
    """To where the init has its root, for an exec into a container without a mount namespace of its own."""
    posix.fchdir(child.saved[op.takes])
    posix.chroot(".")


def open_root(_op: ops.OpenRoot, child: Child) -> None:
    """For the console of an exec, which has joined a mount namespace whose root is the container's."""
    child.root = posix.open("/", c.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    posix.chdir("/")


STEPS: dict[str, Callable[[Any, Child], None]] = {
    "AttachRoot": attach_root,
    "ChangeRoot": change_root,
    "ChangeRootTo": change_root_to,
    "CopyUp": copy_up,
    "MakeDevice": make_device,
    "MakeDirectory": make_directory,
    "MakeSymlink": make_symlink,
    "MaskPath": mask_path,
    "MountFilesystem": mount_filesystem,
    "MoveMount": move_mount,
    "MoveRoot": move_root,
    "OpenConsole": open_console,
    "OpenRoot": open_root,
    "OpenTree": open_tree,
    "PivotRoot": pivot_root,
    "ReadonlyPath": readonly_path,
    "RemountReadonly": remount_readonly,
    "SetPropagation": set_propagation,
    "SetTreeFlags": set_tree_flags,
    "WriteSysctl": write_sysctl,
}
