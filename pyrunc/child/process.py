"""Steps of the child on itself: cgroup, namespaces, session, working directory, program, stub."""

from __future__ import annotations

import posix
from errno import EACCES, EBADF, EINVAL, ENOENT, ENOSYS, EPERM, EROFS
from stat import S_ISREG

from pyrunc.child import channel
from pyrunc.child.context import Child, is_null, write_file
from pyrunc.kernel import const as c
from pyrunc.kernel import fds, mounts, signals, syscall
from pyrunc.plan import ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan import makeops, rareops

_PASSWD_BYTES = 1 << 20
_EVERY_CPU = b"\xff" * 1024  # 8192, the most that a kernel can be built for
_SEARCHABLE_KEYRING = 0x3F1B0000  # possessor all; user view, read, search, link: exec joins by name


def reset_signals(_op: ops.ResetSignals, _child: Child) -> None:
    """First, so that what the interpreter ignores is not ignored in the container. The umask is the config's
    later; until then modes are meant as written."""
    signals.reset_for_exec()
    syscall.reset_internal_signals()
    posix.umask(0)


def join_cgroup(op: ops.JoinCgroup, child: Child) -> None:
    """Before anything is done that should be accounted; the cgroup namespace takes its root from here."""
    posix.write(child.saved[op.takes], b"0")


def close_cgroups(_op: ops.CloseCgroups, child: Child) -> None:
    """What leads to the host's cgroups is not in the hands of whoever is born after us."""
    for name in [name for name in child.saved if name.startswith("cgroup/")]:
        posix.close(child.saved.pop(name))


def set_cpu_affinity(op: rareops.SetCpuAffinity, _child: Child) -> None:
    """Before joining the cgroup, or after; its cpuset has the last word."""
    syscall.sched_setaffinity(op.mask)


def reset_cpu_affinity(_op: ops.ResetCpuAffinity, _child: Child) -> None:
    """In the cgroup, so that its cpuset takes away what the container may not have. Where even that is
    refused, by a seccomp profile of the caller's, there is nothing to undo."""
    try:
        syscall.sched_setaffinity(_EVERY_CPU)
    except OSError:
        pass


def join_namespace(op: ops.JoinNamespace, child: Child) -> None:
    syscall.setns(child.saved[op.takes], op.flags)


def unshare(op: ops.Unshare, _child: Child) -> None:
    syscall.unshare(op.flags)


def write_time_offsets(op: rareops.WriteTimeOffsets, _child: Child) -> None:
    """In the stage, where /proc is the host's."""
    write_file("/proc/self/timens_offsets", op.text)


def become_root(op: rareops.BecomeRoot, _child: Child) -> None:
    """In a user namespace: only as a mapped id are we the owner of what we make."""
    if op.drop_groups:
        posix.setgroups([])
    posix.setresgid(0, 0, 0)
    posix.setresuid(0, 0, 0)


def set_dumpable(op: ops.SetDumpable, _child: Child) -> None:
    """A process of a shared pid namespace could trace us or open what we hold (CVE-2016-9962)."""
    syscall.prctl(c.PR_SET_DUMPABLE, int(op.value))


def new_session(_op: ops.NewSession, _child: Child) -> None:
    """A leader of its own session has no terminal of the caller's."""
    posix.setsid()


def label_keys(op: rareops.LabelKeys, child: Child) -> None:
    """Before the keyring is made, which is a key too."""
    write_file("keycreate", op.label, child.saved[op.takes])


def session_keyring(op: ops.SessionKeyring, _child: Child) -> None:
    """A kernel without keyrings has nothing to keep apart."""
    try:
        ring = syscall.keyctl(c.KEYCTL_JOIN_SESSION_KEYRING, syscall.path_bytes(op.name))
        syscall.keyctl(c.KEYCTL_SETPERM, ring, _SEARCHABLE_KEYRING)
    except OSError as error:
        if error.errno != ENOSYS:
            raise


def loopback_up(_op: makeops.LoopbackUp, _child: Child) -> None:
    """struct ifreq: 16 bytes of name, 2 of flags (netdevice(7))."""
    fd = syscall.call("socket", c.AF_INET, c.SOCK_DGRAM | c.SOCK_CLOEXEC, 0)
    request = syscall.ioctl_bytes(fd, c.SIOCGIFFLAGS, b"lo".ljust(40, b"\0"))
    flags = int.from_bytes(request[16:18], "little") | c.IFF_UP
    syscall.ioctl_bytes(fd, c.SIOCSIFFLAGS, request[:16] + flags.to_bytes(2, "little") + bytes(22))
    posix.close(fd)


def tell(op: ops.Tell, child: Child) -> None:
    fds.send(child.channel, channel.POINTS[op.point])


def wait(op: ops.Await, child: Child) -> None:
    """A parent that is gone has closed its end: there is nobody to go on for. What is too long for a frame
    comes in a file beside it."""
    frame, received = fds.receive(child.channel)
    if frame != channel.POINTS[op.point]:
        posix._exit(1)
    for fd in received:
        child.payload = posix.pread(fd, posix.fstat(fd).st_size, 0)
        posix.close(fd)


def set_umask(op: ops.SetUmask, _child: Child) -> None:
    posix.umask(op.mask)


def open_labels(op: ops.OpenLabels, child: Child) -> None:
    """As the container's child, in whose pid namespace the new procfs is (plan.lsm says why there is one)."""
    flags = c.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC
    new = mounts.make_filesystem("proc", "proc", ("subset=pid",), 0) if op.is_private else None
    procfs = posix.open("/proc", flags) if new is None else new
    child.saved[op.saves] = posix.open(f"thread-self/{op.path}", flags, dir_fd=procfs)
    posix.close(procfs)


def take_stdio(_op: ops.TakeStdio, child: Child) -> None:
    """Ours may be a terminal of the caller's, which the container must not have."""
    for stream in (0, 1, 2):
        fd = child.saved.get(f"stdio/{stream}")
        if fd is not None:
            posix.dup2(fd, stream)


def reopen_null(_op: ops.ReopenNull, child: Child) -> None:
    """/proc/self/fd/0 should not lead to a file of the host. What the image calls /dev/null must be it."""
    wanted = child.nulls = [stream for stream in (0, 1, 2) if is_null(stream)]
    if not wanted:
        return
    try:
        fd = posix.open("/dev/null", posix.O_RDWR | posix.O_NONBLOCK | posix.O_NOFOLLOW | posix.O_CLOEXEC)
    except FileNotFoundError:
        return
    if not is_null(fd):
        raise OSError(ops.NOT_A_DEVICE, "open", "/dev/null")
    posix.set_blocking(fd, True)
    for stream in wanted:
        posix.dup2(fd, stream)
    posix.close(fd)


def own_stdio(op: ops.OwnStdio, child: Child) -> None:
    """Only the owner may open a pipe again by /dev/stderr. The null device is everybody's; what can't be
    given away (another user namespace's, a read-only file) still works as it is open."""
    for stream in {0, 1, 2}.difference(child.nulls):
        try:
            found = posix.fstat(stream)
            if found.st_uid != op.uid:
                posix.fchown(stream, op.uid, found.st_gid)
        except OSError as error:
            if error.errno not in (EPERM, EROFS, EINVAL, EBADF):  # the last: closed by the caller
                raise


def change_directory(op: ops.ChangeDirectory, child: Child) -> None:
    """As root first, for a directory that the user may not search; where root may not either (NFS), as the
    user. The answer of getcwd is the proof that no descriptor led us out (CVE-2024-21626)."""
    try:
        posix.chdir(op.path)
    except PermissionError:
        _as_user(op.uid, op.gid, op.groups)
        try:
            posix.chdir(op.path)
        finally:
            syscall.set_filesystem_ids(0, 0)
    try:
        here = posix.getcwd()
    except FileNotFoundError:
        raise OSError(ops.OUTSIDE_ROOT, "getcwd", op.path) from None
    if not here.startswith("/"):
        raise OSError(ops.OUTSIDE_ROOT, "getcwd", op.path)


def _as_user(uid: int, gid: int, groups: tuple[int, ...]) -> None:
    if groups:
        posix.setgroups(groups)
    syscall.set_filesystem_ids(uid, gid)


def find_program(op: ops.FindProgram, child: Child) -> None:
    """Said now, at create, rather than when nobody listens any more. What is executed at start is the name
    that was found, by the kernel's own check then."""
    if op.as_user:
        _as_user(op.uid, op.gid, op.groups)
    refused, missing = 0, ENOENT
    try:
        for candidate, address in zip(op.candidates, op.addresses, strict=True):
            try:
                if not S_ISREG(posix.stat(candidate).st_mode):
                    raise OSError(EACCES, "stat", candidate)
                syscall.faccessat2(c.AT_FDCWD, candidate, posix.X_OK, c.AT_EACCESS)
            except PermissionError:
                refused = EACCES
            except (FileNotFoundError, NotADirectoryError) as error:
                missing = (error.errno or ENOENT) if len(op.candidates) == 1 else ENOENT
            else:
                posix.pwrite(child.stub, address.to_bytes(8, "little"), op.slot)
                return
    finally:
        if op.as_user:
            syscall.set_filesystem_ids(0, 0)
    raise OSError(refused or missing, "execve")


def fill_home(op: ops.FillHome, child: Child) -> None:
    """The image's /etc/passwd is data: its third field is compared as text, its sixth copied, no more."""
    home = b"/"
    try:
        fd = posix.open("/etc/passwd", posix.O_RDONLY | posix.O_NONBLOCK | posix.O_NOCTTY | posix.O_CLOEXEC)
    except OSError:
        fd = -1
    if fd >= 0:
        text = posix.read(fd, _PASSWD_BYTES) if S_ISREG(posix.fstat(fd).st_mode) else b""
        posix.close(fd)
        for line in text.split(b"\n"):
            fields = line.split(b":")
            if len(fields) > 5 and fields[2] == b"%d" % op.uid:
                home = fields[5] or b"/"
                break
    entry = b"HOME=" + home
    if len(entry) >= op.size or b"\0" in entry:
        entry = b"HOME=/"
    posix.pwrite(child.stub, entry, op.text_at)
    posix.pwrite(child.stub, op.pointer, op.pointer_at)


def exec_stub(op: ops.ExecStub, child: Child) -> None:
    """The stub is sealed, so that nobody can change what runs or hold it writable; of our descriptors it
    finds the channel, the fifo and the labels where it looks for them, and no other."""
    first = 3 + op.preserve
    kept = [fd for fd in (child.channel, child.fifo, child.saved.get(op.labels, -1)) if fd >= 0]
    seals = c.F_SEAL_SEAL | c.F_SEAL_SHRINK | c.F_SEAL_GROW | c.F_SEAL_WRITE
    syscall.call("fcntl", child.stub, c.F_ADD_SEALS, seals)
    rest = first + len(kept)
    stub, *copies = (syscall.call("fcntl", fd, c.F_DUPFD_CLOEXEC, rest) for fd in (child.stub, *kept))
    for number, fd in enumerate(copies):
        posix.dup2(fd, first + number)
    child.channel = copies[0]  # should execveat fail, the failure goes here
    syscall.close_range(rest, 0xFFFF_FFFF, c.CLOSE_RANGE_CLOEXEC)
    syscall.execveat(stub, op.argv)
