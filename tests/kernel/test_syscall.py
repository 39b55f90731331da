"""kernel.syscall over each of its back ends: `_ctypes`, and the launcher's `_pyrunc` in C."""

from __future__ import annotations

import errno
import fcntl
import importlib.util
import os
import resource
import signal
import sys
import threading
import types
from pathlib import Path

import pytest
from support.launcher import extension

from pyrunc.kernel import const, syscall


@pytest.fixture(scope="module", params=["_ctypes", "_pyrunc"])
def calls(request, tmp_path_factory) -> types.ModuleType:
    if request.param == "_ctypes":
        return syscall
    native = extension("_pyrunc", "native.c", tmp_path_factory.mktemp("extension"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "builtin_module_names", (*sys.builtin_module_names, "_pyrunc"))
        patch.setitem(sys.modules, "_pyrunc", native)
        spec = importlib.util.spec_from_file_location("syscall_in_c", syscall.__file__)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    assert module.foreign is native
    return module


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for fd in ends:
        os.close(fd)


def test_a_failure_has_the_kernels_errno_and_the_name_of_the_call(calls):
    with pytest.raises(OSError) as raised:
        calls.call("fcntl", -1, const.F_DUPFD_CLOEXEC, 0)
    assert (raised.value.errno, raised.value.strerror) == (errno.EBADF, "fcntl")


def test_the_errno_is_of_the_last_call_and_no_other(calls):
    for path, code in ((b"/nowhere/at/all", errno.ENOENT), (b"/dev/null/x", errno.ENOTDIR)):
        with pytest.raises(OSError) as raised:
            calls.openat2(const.AT_FDCWD, path, os.O_RDONLY, 0)
        assert raised.value.errno == code


def test_what_the_kernel_writes_is_read(calls, pipe):
    memory = calls.buffer(8)
    assert (len(memory), memory.raw) == (8, bytes(8))
    os.write(pipe[1], b"\xff\0abc")
    vector = calls.address(memory).to_bytes(8, "little") + (8).to_bytes(8, "little")
    # readv(2) has no name in our table: the numbers of a call go through unseen
    number = {"x86_64": 19, "aarch64": 65}[os.uname().machine]
    assert calls._syscall(number, pipe[0], vector, 1, 0, 0, 0) == 5
    assert memory.raw == b"\xff\0abc\0\0\0"


def test_a_buffer_begins_with_what_it_was_given(calls):
    memory = calls.buffer(b"\0x\xff")
    assert (len(memory), memory.raw) == (3, b"\0x\xff")
    assert calls.buffer(b"").raw == b""


def test_words_are_numbers_of_either_sign_bytes_buffers_and_nothing(calls, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    path = os.fsencode(tmp_path / "file") + b"\0"
    for word in (path, calls.buffer(path), calls.address(calls.buffer(path)) and path):
        calls.call("faccessat2", const.AT_FDCWD, word, os.R_OK, 0)
    with pytest.raises(OSError) as raised:
        calls.call("faccessat2", const.AT_FDCWD, None, os.R_OK, 0)
    assert raised.value.errno == errno.EFAULT
    with pytest.raises(OSError) as raised:
        calls.call("close_range", 0xFFFF_FFFF, 0, 0)
    assert raised.value.errno == errno.EINVAL


def test_other_words_are_our_bug(calls):
    for word in (1.5, object(), [1]):
        with pytest.raises(Exception, match=r"float|object|list|wrong type") as raised:
            calls.call("prctl", word)
        assert not isinstance(raised.value, OSError)


def test_a_name_ends_where_it_ends(calls):
    with pytest.raises(ValueError, match="embedded null byte"):
        calls.mount("a\0b", "/", "", 0, "")


def test_a_name_that_is_not_utf8_arrives_as_it_is(calls, tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff\xe4"
    Path(os.fsdecode(name)).touch()
    os.close(calls.openat2(const.AT_FDCWD, os.fsdecode(name), os.O_RDONLY, 0))


def test_a_descriptor_is_closed_by_exec(calls, tmp_path):
    fd = calls.openat2(const.AT_FDCWD, str(tmp_path), os.O_PATH, 0)
    assert fcntl.fcntl(fd, fcntl.F_GETFD) == fcntl.FD_CLOEXEC
    os.close(fd)


def test_a_clone_is_a_fork_with_a_pidfd(calls, pipe):
    pid, pidfd = calls.clone3(0)
    if pid == 0:
        os.write(pipe[1], f"{os.getppid()} {len(threading.enumerate())}".encode())
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert os.read(pipe[0], 99) == f"{os.getpid()} 1".encode()
    assert fcntl.fcntl(pidfd, fcntl.F_GETFD) == fcntl.FD_CLOEXEC
    with pytest.raises(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, 0)
    os.close(pidfd)


def test_the_interpreter_goes_on_after_a_clone_that_failed(calls):
    with pytest.raises(OSError) as raised:
        calls.clone3(const.CLONE_NEWNS | 0x200)  # CLONE_FS, which contradicts it
    assert raised.value.errno == errno.EINVAL
    pid, pidfd = calls.clone3(0)
    if pid == 0:
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    os.close(pidfd)


def test_limits_are_set_and_what_they_were_is_known(calls):
    before = resource.getrlimit(resource.RLIMIT_CORE)
    hard = const.RLIM_INFINITY if before[1] == resource.RLIM_INFINITY else before[1]
    try:
        calls.prlimit(0, resource.RLIMIT_CORE, 0, hard)
        assert resource.getrlimit(resource.RLIMIT_CORE) == (0, before[1])
        assert calls.prlimit(os.getpid(), resource.RLIMIT_CORE, 0, hard) == (0, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
    with pytest.raises(OSError) as raised:
        calls.prlimit(0, resource.RLIMIT_CORE, 2, 1)
    assert raised.value.errno == errno.EINVAL


def test_our_capabilities_are_those_of_proc(calls):
    status = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines())
    assert calls.capget() == tuple(int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh"))


def test_buffers_of_any_size_and_many_sizes():
    for size in range(200):
        assert syscall.buffer(size).raw == bytes(size)
        data = os.urandom(size)
        assert syscall.buffer(data).raw == data
    first, second = syscall.buffer(8), syscall.buffer(b"x" * 8)
    assert (first.raw, second.raw) == (bytes(8), b"x" * 8)
