"""shim.protocol: what is on disk, read while a shim is at work on it."""

from __future__ import annotations

import itertools
import json
import socket
import threading
from contextlib import contextmanager

import pytest

from pyrunc.errors import PyruncError
from pyrunc.files import write_atomically
from pyrunc.shim import protocol

LOOKS = 1000


@contextmanager
def going_on(work):
    """`work()` again and again beside us."""
    over = threading.Event()

    def repeat():
        while not over.is_set():
            work()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def write(directory, **status):
    document = {"pid": 0, "start_time": 0, "exit_code": 0, "error": "", **status}
    write_atomically(f"{directory}/{protocol.STATUS_FILE}", json.dumps(document).encode())


def test_a_status_that_is_not_there(tmp_path):
    assert protocol.find_status(str(tmp_path)) is None
    with pytest.raises(PyruncError, match="read the shim's status"):
        protocol.load_status(str(tmp_path))


def test_of_a_shim_that_is_gone(tmp_path):
    write(tmp_path, status="running", pid=1, start_time=7)
    found = protocol.load_status(str(tmp_path))
    assert (found["status"], found["exit_code"]) == ("stopped", 255)
    assert "gone" in found["error"]


def test_a_status_that_appears_meanwhile(tmp_path):
    """A client that attached before the start lost its stream by this: its container was looked at while the
    shim wrote its first status."""

    def appear():
        write(tmp_path, status="stopped")
        (tmp_path / protocol.STATUS_FILE).unlink()

    with going_on(appear):
        for _ in range(LOOKS):
            assert (protocol.find_status(str(tmp_path)) or {"status": "stopped"})["status"] == "stopped"


def test_a_shim_that_ends_meanwhile(tmp_path):
    """It has said how its container ended: nobody may take it for one that was killed."""

    lives = itertools.count()

    def live():
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            path = tmp_path / protocol.SOCKET_FILE
            path.unlink(missing_ok=True)
            listener.bind(str(path))
            listener.listen(LOOKS)  # nobody takes what waits there
            write(tmp_path, status="running", pid=1, start_time=next(lives))
            write(tmp_path, status="stopped", exit_code=3)
        path.unlink()

    live()
    with going_on(live):
        for _ in range(LOOKS):
            assert protocol.load_status(str(tmp_path))["exit_code"] in (0, 3)
