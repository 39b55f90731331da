"""kernel.signals, judged by the standard library's list and by processes that are sent them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from pyrunc.errors import INVALID, PyruncError
from pyrunc.kernel import signals


@pytest.mark.parametrize("name", [member.name for member in signal.Signals])
def test_every_signal_by_its_name(name):
    expected = int(signal.Signals[name])
    for text in (name, name.removeprefix("SIG"), name.lower(), str(expected)):
        assert signals.parse_signal(text) == expected


@pytest.mark.parametrize(
    ("text", "number"),
    [("RTMIN+3", signal.SIGRTMIN + 3), ("sigrtmax-2", signal.SIGRTMAX - 2), ("0", 0), ("64", 64),
     ("SIGCLD", signal.SIGCHLD), ("POLL", signal.SIGIO)],
)  # fmt: skip
def test_other_ways_to_name_one(text, number):
    assert signals.parse_signal(text) == number


@pytest.mark.parametrize(
    "text", ["", "NOPE", "65", "-1", "1.5", "SIG", "RTMIN+99", "RTMAX-99", "RTMIN+", "٣"]
)
def test_what_is_no_signal(text):
    with pytest.raises(PyruncError, match="unknown signal") as caught:
        signals.parse_signal(text)
    assert caught.value.kind == INVALID


@pytest.mark.parametrize(("number", "words"), [(9, "killed"), (11, "segmentation fault"), (15, "terminated")])
def test_how_an_end_is_told(number, words):
    assert signals.describe_signal(number) == words


def test_sending_by_pidfd():
    process = subprocess.Popen(["sleep", "1000"])
    pidfd = os.pidfd_open(process.pid)
    try:
        signals.send(pidfd, signal.SIGUSR1)
        assert process.wait() == -signal.SIGUSR1
        with pytest.raises(ProcessLookupError):
            signals.send(pidfd, signal.SIGUSR1)
    finally:
        os.close(pidfd)


def test_what_is_ignored_is_not_ignored_in_what_is_executed():
    """It stays so across execve unless undone. By the interpreter SIGPIPE and SIGXFSZ are, by our caller any
    other can be, and 32 and 33 for whoever was started by posix_spawn(3)."""
    program = (
        "import os, signal\n"
        "from pyrunc.kernel import signals, syscall\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGRTMAX, signal.SIG_IGN)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
        "signals.reset_for_exec()\n"
        "syscall.reset_internal_signals()\n"
        "os.execv('/bin/cat', ['cat', '/proc/self/status'])\n"
    )
    text = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    fields = dict(line.split(":\t", 1) for line in text.splitlines() if line.startswith("Sig"))
    assert int(fields["SigIgn"], 16) == 0
    assert int(fields["SigBlk"], 16) == 0
