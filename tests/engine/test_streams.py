"""Terminals, attaching and detaching: what flows between a client and a container."""

from __future__ import annotations

import os
import subprocess
import time

import pytest
from support.engine import DOCKER, IMAGE, Engine
from support.session import UNTIL_SIZED, Session
from support.waiting import until


def on_terminal(engine: Engine, *words: str) -> Session:
    """docker, on a terminal."""
    assert DOCKER is not None
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(engine.root),
        "DOCKER_HOST": f"unix://{engine.socket}",
    }
    return Session([DOCKER, *words], environment)


def test_a_terminal(docker):
    session = on_terminal(docker, "run", "--rm", "-it", "--network", "none", IMAGE, "sh")
    session.expect(b"# ")
    session.type(f"{UNTIL_SIZED}; stty size; tty; exit 4\n".encode())
    session.expect(b"33 77\r\n/dev/pts/0\r\n")
    assert session.end() == 4


def test_detach_and_attach_again(docker):
    session = on_terminal(docker, "run", "-it", "--name", "box", "--network", "none", IMAGE, "sh")
    session.expect(b"# ")
    session.type(b"\x10\x11")
    session.end()
    assert docker.inspect("box")["State"]["Running"]
    session = on_terminal(docker, "attach", "box")
    session.type(b"echo mar''k\n")
    session.expect(b"mark\r\n")
    session.type(b"exit 6\n")
    assert session.end() == 6


def test_a_terminal_of_exec(docker):
    docker.ok("run", "-d", "--name", "box", "--network", "none", IMAGE, "sleep", "1000")
    session = on_terminal(docker, "exec", "-it", "box", "sh")
    session.expect(b"# ")
    session.type(f"{UNTIL_SIZED}; stty size; exit 5\n".encode())
    session.expect(b"33 77\r\n")
    assert session.end() == 5


def test_a_signal_reaches_the_container(docker):
    script = "trap 'echo caught; exit 8' INT; echo up; while :; do sleep 0.1; done"
    assert DOCKER is not None
    process = subprocess.Popen(
        [DOCKER, "run", "--rm", "--network", "none", IMAGE, "sh", "-c", script],
        stdout=subprocess.PIPE, env={"DOCKER_HOST": f"unix://{docker.socket}", "HOME": str(docker.root)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(2)
    assert (process.stdout.read(), process.wait(30)) == (b"caught\n", 8)
    process.stdout.close()


def popen(engine: Engine, *words: str) -> subprocess.Popen[bytes]:
    assert DOCKER is not None
    environment = {"DOCKER_HOST": f"unix://{engine.socket}", "HOME": str(engine.root)}
    return subprocess.Popen(
        [DOCKER, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )  # fmt: skip


MANY = "dd if=/dev/zero bs=64k count=200 2>/dev/null"


@pytest.mark.parametrize("count", [20, 200])
def test_a_slow_reader_gets_all_of_it(docker, count):
    """Of a container that has to wait for it, and of one that has ended long since."""
    script = f"dd if=/dev/zero bs=64k count={count} 2>/dev/null"
    words = ("run", "--rm", "--network", "none", "--log-driver", "none", IMAGE, "sh", "-c", script)
    process = popen(docker, *words)
    time.sleep(4)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, len(out), errors) == (0, count << 16, b"")


def test_a_slow_reader_of_exec_gets_all_of_it(docker):
    docker.ok("run", "-d", "--name", "box", "--network", "none", IMAGE, "sleep", "1000")
    process = popen(docker, "exec", "box", "sh", "-c", MANY)
    time.sleep(4)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, len(out), errors) == (0, 200 << 16, b"")


def test_who_stops_reading_keeps_nobody_from_removing_the_container(docker):
    process = popen(docker, "run", "--name", "box", "--network", "none", IMAGE, "sh", "-c", MANY)
    assert process.stdout is not None
    process.stdout.read(1)
    docker.ok("rm", "-f", "box")
    assert docker.ok("ps", "-aq") == ""
    docker.ok("run", "--rm", "--name", "box", "--network", "none", IMAGE, "true")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 137
    assert len(out) < 200 << 16


def test_who_stops_reading_and_goes_lets_the_container_go_on(docker):
    process = popen(docker, "run", "--name", "box", "--network", "none", IMAGE, "sh", "-c", MANY)
    assert process.stdout is not None
    process.stdout.read(1)
    time.sleep(0.5)
    assert docker.inspect("box")["State"]["Running"]
    process.kill()
    process.communicate()
    assert docker.ok("wait", "box") == "0\n"


@pytest.mark.parametrize("follow", [True, False])
def test_many_follow_one(docker, follow):
    docker.ok("run", "-d", "--name", "box", "--network", "none", IMAGE, "sh", "-c", "sleep 0.5; seq 2000")
    words = ("logs", "-f", "box") if follow else ("attach", "--no-stdin", "box")
    assert DOCKER is not None
    environment = {"DOCKER_HOST": f"unix://{docker.socket}", "HOME": str(docker.root)}
    followers = [
        subprocess.Popen([DOCKER, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
        for _ in range(3)
    ]
    got = {process.communicate(timeout=60)[0] for process in followers}
    assert got == {"".join(f"{number}\n" for number in range(1, 2001)).encode()}
    until(lambda: not docker.inspect("box")["State"]["Running"], "it has ended")
