"""kernel.spawn: programs run, fed, listened to, and ended."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from pyrunc.kernel.spawn import Outcome, run_program
from pyrunc.waiting import finish


def shell(script: str, **how) -> Outcome:
    return finish(run_program("/bin/sh", ("sh", "-c", script), how.pop("env", None), **how))


@pytest.fixture(autouse=True)
def no_descriptor_is_left():
    before = os.listdir("/proc/self/fd")
    yield
    assert os.listdir("/proc/self/fd") == before


def test_what_it_says_and_how_it_ends():
    assert shell("echo out; echo err >&2; exit 7") == Outcome(status=7, output=b"out\n", errors=b"err\n")


def test_what_it_is_fed():
    data = os.urandom(300_000)
    assert shell("cat >/dev/null; echo done", data=data).output == b"done\n"
    assert shell("cat", data=b"x" * 1000).output == b"x" * 1000


def test_one_that_does_not_read():
    assert shell("exec 0<&-; sleep 0.1; echo done", data=bytes(1 << 20)).output == b"done\n"


def test_of_long_speeches_the_beginning_is_kept():
    outcome = shell("head -c 1000000 /dev/zero; echo err >&2")
    assert (outcome.status, outcome.output, outcome.errors) == (0, bytes(64 << 10), b"err\n")


def test_the_environment():
    assert shell("echo $A", env={b"A": b"b c"}).output == b"b c\n"
    assert shell("echo ${HOME:-none}", env={}).output == b"none\n"


def test_without_one_it_is_ours(monkeypatch):
    monkeypatch.setenv("PYRUNC_TEST_VARIABLE", "here")
    assert shell("echo $PYRUNC_TEST_VARIABLE").output in (b"here\n", b"\n")


def test_the_working_directory(tmp_path):
    assert shell("pwd", cwd=str(tmp_path)).output.decode().strip() == str(tmp_path)


def test_ended_by_a_signal():
    assert shell("kill -USR1 $$").status == -signal.SIGUSR1


def test_it_has_its_streams_and_no_other_descriptor():
    read, write = os.pipe()
    os.set_inheritable(write, True)
    try:
        listed = shell("ls /proc/self/fd").output.split()
    finally:
        os.close(read)
        os.close(write)
    assert listed == [b"0", b"1", b"2", b"3"]  # 3 is of ls itself


def test_signals_are_not_ignored():
    text = shell("cat /proc/self/status").output.decode()
    (ignored,) = (line.split()[1] for line in text.splitlines() if line.startswith("SigIgn"))
    assert int(ignored, 16) == 0


def test_one_that_takes_too_long_is_killed():
    begin = time.monotonic()
    outcome = shell("echo begun; exec sleep 1000", timeout_seconds=0.3)
    assert (outcome.status, outcome.timed_out, outcome.output) == (-signal.SIGKILL, True, b"begun\n")
    assert time.monotonic() - begin < 10


def test_one_in_time_is_not():
    assert not shell("true", timeout_seconds=30).timed_out


def test_what_it_leaves_running_is_not_waited_for():
    """A hook may start a daemon, which keeps the hook's streams open."""
    begin = time.monotonic()
    outcome = shell("sleep 20 & echo $!")
    os.kill(int(outcome.output), signal.SIGKILL)
    assert outcome.status == 0
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize(
    ("path", "error"), [("/nonexistent", FileNotFoundError), ("/etc/passwd", PermissionError)]
)
def test_what_cannot_be_executed(path, error):
    with pytest.raises(error) as caught:
        finish(run_program(path, ("x",), None))
    assert caught.value.filename == path


def test_streams_that_are_closed(tmp_path):
    """A caller without standard streams: our pipes land on 0 to 2, where the child's belong."""
    pid = os.fork()
    if pid == 0:
        try:
            for fd in (0, 1, 2):
                os.close(fd)
            outcome = shell("cat; echo err >&2", data=b"fed\n")
            os._exit(0 if (outcome.output, outcome.errors) == (b"fed\n", b"err\n") else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@pytest.mark.parametrize(("data", "steps"), [(b"", 1), (b"", 2), (bytes(1 << 20), 3)])
def test_given_up_it_is_killed_and_reaped(data, steps):
    """Before it is executed, while it is listened to, and while it is fed."""
    before = children()
    work = run_program("/bin/sh", ("sh", "-c", "exec sleep 1000"), None, data)
    for _ in range(steps):
        next(work)
    assert len(children() - before) == 1
    work.close()
    assert children() <= before
