"""linux.idmap: a user namespace that outlives the process it was made with."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from support.host import needs_program, needs_root

from pyrunc.linux.idmap import open_user_namespace

pytestmark = needs_root


def children() -> str:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text()


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


@needs_program("nsenter")
def test_the_maps_are_those_given():
    fd = open_user_namespace("0 1000 1\n5 2000 10\n", "7 3000 2\n")
    try:
        shown = subprocess.run(
            ["nsenter", f"--user=/proc/self/fd/{fd}", "--preserve-credentials", "cat", "/proc/self/uid_map",
             "/proc/self/gid_map"],
            pass_fds=(fd,), capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert [(line[0], line[2]) for line in words(shown)] == [("0", "1"), ("5", "10"), ("7", "2")]
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


def test_no_process_and_no_descriptor_is_left():
    before = os.listdir("/proc/self/fd"), children()
    os.close(open_user_namespace("0 0 1\n", "0 0 1\n"))
    assert (os.listdir("/proc/self/fd"), children()) == before


@pytest.mark.parametrize("text", ["nonsense\n", "0 0 1\n0 5 1\n"])
def test_maps_that_the_kernel_refuses(text):
    before = os.listdir("/proc/self/fd"), children()
    with pytest.raises(OSError):
        open_user_namespace(text, "0 0 1\n")
    assert (os.listdir("/proc/self/fd"), children()) == before
