"""bpf(2), as far as device rules of cgroup v2 need it: load a program, attach, detach, list.

An attribute block is longer than the kernel's, the rest zero: newer kernels answer a query in fields that
older ones don't have, and would write them behind a block that is just long enough for its question.
"""

from __future__ import annotations

import posix
import struct
from errno import EPERM

from pyrunc.kernel import syscall
from pyrunc.kernel.const import RLIM_INFINITY, RLIMIT_MEMLOCK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _PROG_GET_FD_BY_ID, _PROG_QUERY = 5, 8, 9, 13, 16
_PROG_TYPE_CGROUP_DEVICE = 15
_ATTACH_CGROUP_DEVICE = 6
_F_ALLOW_MULTI = 2
_ATTRIBUTE_BYTES = 256
_INSTRUCTION_BYTES = 8
_LICENSE = b"Apache-2.0\0"
_LOG_BYTES = 1 << 20
_SHOWN_BYTES = 500
_MAXIMUM_ATTACHED = 64


def _bpf(command: int, attributes: bytes) -> tuple[int, bytes]:
    """(result, the attributes as the kernel left them)"""
    memory = syscall.buffer(attributes.ljust(_ATTRIBUTE_BYTES, b"\0"))
    result = syscall.call("bpf", command, memory, _ATTRIBUTE_BYTES)
    return result, memory.raw


def load_device_program(program: bytes) -> int:
    """BPF_PROG_LOAD, Linux 4.15. The descriptor is close-on-exec.

    Before Linux 5.11 programs count as locked memory of their user, 64 KiB for all containers of root
    together: refused, we try again without that limit.
    """
    try:
        return _load(program, log=None)
    except OSError as error:
        if error.errno != EPERM:
            raise
    limit = syscall.prlimit(0, RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY)
    try:
        return _load(program, log=None)
    finally:
        syscall.prlimit(0, RLIMIT_MEMLOCK, *limit)


def _load(program: bytes, log: Any) -> int:
    code, license_text = syscall.buffer(program), syscall.buffer(_LICENSE)
    attributes = struct.pack(
        "<IIQQIIQ",
        _PROG_TYPE_CGROUP_DEVICE,
        len(program) // _INSTRUCTION_BYTES,
        syscall.address(code),
        syscall.address(license_text),
        0 if log is None else 1,
        0 if log is None else _LOG_BYTES,
        0 if log is None else syscall.address(log),
    )
    return _bpf(_PROG_LOAD, attributes)[0]


def explain_device_program(program: bytes) -> str:
    """The last words of the kernel's verifier on a program; "" if it has nothing against it."""
    log = syscall.buffer(_LOG_BYTES)
    try:
        posix.close(_load(program, log))
    except OSError as error:
        text: bytes = log.raw.partition(b"\0")[0][-_SHOWN_BYTES:]
        return text.decode("utf-8", "replace") or posix.strerror(error.errno or 0)
    return ""


def attach_device_program(cgroup_fd: int, program_fd: int) -> None:
    """BPF_PROG_ATTACH beside any others: access needs the consent of all, here and in the cgroups above."""
    _bpf(_PROG_ATTACH, struct.pack("<IIII", cgroup_fd, program_fd, _ATTACH_CGROUP_DEVICE, _F_ALLOW_MULTI))


def detach_device_program(cgroup_fd: int, program_fd: int) -> None:
    """BPF_PROG_DETACH"""
    _bpf(_PROG_DETACH, struct.pack("<III", cgroup_fd, program_fd, _ATTACH_CGROUP_DEVICE))


def attached_device_programs(cgroup_fd: int) -> tuple[int, ...]:
    """BPF_PROG_QUERY: the ids of the programs attached to this very cgroup."""
    ids = syscall.buffer(4 * _MAXIMUM_ATTACHED)
    query = struct.pack(
        "<IIIIQI", cgroup_fd, _ATTACH_CGROUP_DEVICE, 0, 0, syscall.address(ids), _MAXIMUM_ATTACHED
    )
    _, answer = _bpf(_PROG_QUERY, query)
    (count,) = struct.unpack_from("<I", answer, 24)
    return struct.unpack_from(f"<{count}I", ids.raw)


def open_program(program_id: int) -> int:
    """BPF_PROG_GET_FD_BY_ID. The descriptor is close-on-exec."""
    return _bpf(_PROG_GET_FD_BY_ID, struct.pack("<I", program_id))[0]
