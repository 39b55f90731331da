"""The agent's end of seccomp's user notification, seccomp_unotify(2)."""

from __future__ import annotations

import array
import fcntl
import json
import os
import select
import socket
import struct
from pathlib import Path
from typing import Any

_NOTIF = struct.Struct("QII iIQ 6Q")  # id, pid, flags; seccomp_data: nr, arch, instruction pointer, args
_RESPONSE = struct.Struct("QqiI")  # id, value, error, flags
_RECEIVE, _SEND = 0xC0502100, 0xC0182101


class Agent:
    """Listens at linux.seccomp.listenerPath, and answers calls with an errno."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen(8)
        self.listener.settimeout(30)
        self.fds: list[int] = []

    def accept(self) -> tuple[dict[str, Any], int]:
        """The container process state that the runtime sends, and the descriptor of the filter."""
        connection, _ = self.listener.accept()
        with connection:
            connection.settimeout(30)
            data, ancillary, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(16))
            fds = array.array("i")
            for level, kind, payload in ancillary:
                assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
                fds.frombytes(payload)
            while more := connection.recv(1 << 16):
                data += more
        self.fds += fds
        (fd,) = fds
        return json.loads(data), fd

    @staticmethod
    def deny(fd: int, error: int, seconds: float = 10) -> int:
        """Answers one call with `error`; returns its number."""
        assert select.select([fd], [], [], seconds)[0], "no system call was notified"
        request = bytearray(_NOTIF.size)
        fcntl.ioctl(fd, _RECEIVE, request)
        id, _, _, number, *_ = _NOTIF.unpack(request)
        fcntl.ioctl(fd, _SEND, bytearray(_RESPONSE.pack(id, 0, -error, 0)))
        return int(number)

    def close(self) -> None:
        self.listener.close()
        for fd in self.fds:
            os.close(fd)
