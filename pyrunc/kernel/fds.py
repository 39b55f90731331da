"""Unix sockets and descriptors over them, without the 7 ms of the `socket` module (unix(7), cmsg(3))."""

from __future__ import annotations

import posix

from pyrunc.kernel import syscall
from pyrunc.kernel.const import (
    AF_UNIX,
    MSG_CMSG_CLOEXEC,
    MSG_NOSIGNAL,
    MSG_PEEK,
    MSG_TRUNC,
    SCM_RIGHTS,
    SO_PEERCRED,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOCK_SEQPACKET,
    SOCK_STREAM,
    SOL_SOCKET,
)

_SUN_PATH = 108
_MAXIMUM_FDS = 16
_BACKLOG = 64
_SHUT_WR = 1


def socket_pair() -> tuple[int, int]:
    """Two ends that keep message boundaries (SOCK_SEQPACKET), both close-on-exec."""
    return _pair(SOCK_SEQPACKET)


def _pair(kind: int) -> tuple[int, int]:
    ends = syscall.buffer(8)
    syscall.call("socketpair", AF_UNIX, kind | SOCK_CLOEXEC, 0, ends)
    raw = ends.raw
    return int.from_bytes(raw[:4], "little"), int.from_bytes(raw[4:], "little")


def _address(path: str) -> bytes:
    """struct sockaddr_un. A leading @ names the abstract namespace; a name that is too long goes through
    a descriptor of its directory, which the caller has to hold open."""
    name = path.encode("utf-8", "surrogateescape")
    name = b"\0" + name[1:] if name.startswith(b"@") else name + b"\0"
    return AF_UNIX.to_bytes(2, "little") + name


def _with_address(call: str, fd: int, path: str) -> None:
    if len(path.encode("utf-8", "surrogateescape")) < _SUN_PATH or path.startswith("@"):
        address = _address(path)
        syscall.call(call, fd, address, len(address))
        return
    directory, _, name = path.rpartition("/")
    holder = posix.open(directory or "/", posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    try:
        address = _address(f"/proc/self/fd/{holder}/{name}")
        syscall.call(call, fd, address, len(address))
    finally:
        posix.close(holder)


def _open(kind: int, call: str, path: str) -> int:
    fd = syscall.call("socket", AF_UNIX, kind | SOCK_CLOEXEC, 0)
    try:
        _with_address(call, fd, path)
    except OSError:
        posix.close(fd)
        raise
    return fd


def connect_stream(path: str, *, waits: bool = True) -> int:
    """A stream connection to the socket at `path`. Raises OSError; unless it `waits`, also BlockingIOError
    where more wait for a connection than the other side has room for. Then it stays non-blocking."""
    return _open(SOCK_STREAM | (0 if waits else SOCK_NONBLOCK), "connect", path)


def connect_datagram(path: str) -> int:
    """A datagram socket whose peer is `path`. Raises OSError."""
    return _open(SOCK_DGRAM, "connect", path)


def bind_datagram(path: str) -> int:
    """A datagram socket bound to `path`. Raises OSError."""
    return _open(SOCK_DGRAM, "bind", path)


def listen(path: str, *, keeps_messages: bool) -> int:
    """A listening socket at `path`, mode 0600, of the kind SOCK_SEQPACKET if it `keeps_messages`, else
    SOCK_STREAM. What lies at `path` goes before: the socket of a process that is dead. Raises OSError."""
    try:
        posix.unlink(path)
    except FileNotFoundError:
        pass
    mask = posix.umask(0o177)
    try:
        fd = _open(SOCK_SEQPACKET if keeps_messages else SOCK_STREAM, "bind", path)
    finally:
        posix.umask(mask)
    try:
        syscall.call("listen", fd, _BACKLOG)
    except OSError:
        posix.close(fd)
        raise
    return fd


def accept(fd: int) -> int:
    """accept4(2): the next connection, close-on-exec. Raises OSError."""
    return syscall.call("accept4", fd, 0, 0, SOCK_CLOEXEC)


def peer_uid(fd: int) -> int:
    """SO_PEERCRED (unix(7)): the effective user of who is connected, when it did so. Raises OSError."""
    credentials = syscall.buffer(12)  # struct ucred: pid, uid, gid
    length = syscall.buffer((12).to_bytes(4, "little"))
    syscall.call("getsockopt", fd, SOL_SOCKET, SO_PEERCRED, credentials, length)
    return int.from_bytes(credentials.raw[4:8], "little")


def connect_messages(path: str) -> int:
    """A connection that keeps message boundaries to the socket at `path`. Raises OSError."""
    return _open(SOCK_SEQPACKET, "connect", path)


def stream_pair() -> tuple[int, int]:
    """Two ends of a stream of bytes in both directions, both close-on-exec."""
    return _pair(SOCK_STREAM)


def shut_writing(fd: int) -> None:
    """shutdown(2) of our direction: the other end reads to the end, and can still be read from."""
    syscall.call("shutdown", fd, _SHUT_WR)


def _words(*values: int) -> bytes:
    return b"".join(value.to_bytes(8, "little") for value in values)


def send(fd: int, data: bytes, fds: tuple[int, ...] = ()) -> None:
    """sendmsg(2) of `data` (not empty) with `fds` as SCM_RIGHTS. Raises OSError."""
    if not fds:
        syscall.call("sendto", fd, data, len(data), MSG_NOSIGNAL)
        return
    payload = syscall.buffer(data)
    vector = syscall.buffer(_words(syscall.address(payload), len(data)))
    rights = b"".join(item.to_bytes(4, "little") for item in fds)
    control_bytes = _words(16 + len(rights)) + SOL_SOCKET.to_bytes(4, "little")
    control_bytes += SCM_RIGHTS.to_bytes(4, "little") + rights + bytes(-len(rights) % 8)
    control = syscall.buffer(control_bytes)
    header = _words(0, 0, syscall.address(vector), 1, syscall.address(control), len(control_bytes), 0)
    syscall.call("sendmsg", fd, header, MSG_NOSIGNAL)


def receive(fd: int, size: int = 4096) -> tuple[bytes, tuple[int, ...]]:
    """recvmsg(2): (data, descriptors), the latter close-on-exec; empty data when the other end closed."""
    payload = syscall.buffer(size)
    vector = syscall.buffer(_words(syscall.address(payload), size))
    control = syscall.buffer(16 + 4 * _MAXIMUM_FDS)
    header = syscall.buffer(
        _words(0, 0, syscall.address(vector), 1, syscall.address(control), len(control), 0)
    )
    while True:
        try:
            count = syscall.call("recvmsg", fd, header, MSG_CMSG_CLOEXEC)
            break
        except InterruptedError:
            continue
    raw = control.raw
    used = int.from_bytes(header.raw[40:48], "little")
    fds: tuple[int, ...] = ()
    if used >= 16 and int.from_bytes(raw[12:16], "little") == SCM_RIGHTS:
        length = int.from_bytes(raw[:8], "little")
        fds = tuple(int.from_bytes(raw[i : i + 4], "little") for i in range(16, length, 4))
    return payload.raw[:count], fds


def receive_whole(fd: int) -> tuple[bytes, tuple[int, ...]]:
    """As `receive`, a message of any length: it is asked how long it is before it is taken."""
    nowhere = syscall.buffer(_words(0, 0, 0, 0, 0, 0, 0))
    while True:
        try:
            return receive(fd, max(1, syscall.call("recvmsg", fd, nowhere, MSG_PEEK | MSG_TRUNC)))
        except InterruptedError:
            continue
