"""NOTIFY_SOCKET: readiness passes from the container to the service manager of the runtime."""

import contextlib
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest
from support.marks import deviation
from support.waiting import until


@pytest.fixture
def manager(work):
    """The service manager's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(work / "notify.sock"))
        made.settimeout(30)
        yield made


@pytest.fixture
def notifying(work, manager):
    return {**os.environ, "NOTIFY_SOCKET": str(work / "notify.sock")}


def receive(manager):
    """The lines of one message; descriptors that come with it, for a barrier, are closed: the answer."""
    data, ancillary, _, _ = manager.recvmsg(4096, socket.CMSG_SPACE(64))
    for _, _, content in ancillary:
        for at in range(0, len(content), 4):
            os.close(int.from_bytes(content[at : at + 4], "little"))
    return data.decode().split()


def receive_readiness(manager, starting):
    """Lines in the order of their coming, until the runtime has ended."""
    lines = []
    manager.settimeout(0.2)
    deadline = time.monotonic() + 60
    while starting.poll() is None:
        assert time.monotonic() < deadline, lines
        with contextlib.suppress(TimeoutError):
            lines += receive(manager)
    with contextlib.suppress(TimeoutError):
        while True:
            lines += receive(manager)
    return lines


def send(pid, *messages):
    """As the program in the container would, from outside: through its root."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        for message in messages:
            sender.sendto(message, f"/proc/{pid}/root/run/notify/notify.sock")


def test_without_a_manager_there_is_no_socket(runtime, bundle):
    env = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    done = runtime.run(bundle, "sh", "-c", "echo ${NOTIFY_SOCKET:-none}; ls /run/notify", env=env)
    assert done.stdout == "none\n"


@pytest.mark.parametrize(
    "message",
    [
        b"READY=1",
        b"READY=1\nMAINPID=1\nSTATUS=forged\n",
        pytest.param(
            b"EVIL=1\nREADY=1\nMAINPID=1\n",
            marks=deviation("runc", reason="looks for READY= at the begin of the datagram alone"),
        ),
    ],
)
def test_ready_is_passed_on_and_start_waits_for_it(runtime, bundle, manager, notifying, message):
    script = "echo $NOTIFY_SOCKET; grep ' /run/notify ' /proc/self/mountinfo; sleep 1000"
    created = runtime.create(bundle, "sh", "-c", script, env=notifying).ok()
    pid = runtime.pid(bundle)
    starting = runtime.popen("start", bundle.id, env=notifying)
    until(lambda: created.stdout.count("\n") == 2, "the program runs")
    inside, mount = created.stdout.splitlines()
    assert inside == "/run/notify/notify.sock"
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(mount.split()[5].split(","))
    with pytest.raises(subprocess.TimeoutExpired):
        starting.wait(0.2)
    send(pid, b"STATUS=warming up", message)
    assert receive_readiness(manager, starting)[:2] == ["READY=1", f"MAINPID={pid}"]
    assert starting.returncode == 0


def test_any_user_of_the_container_may_be_ready(runtime, bundle, manager, notifying):
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    runtime.create(bundle, "sleep", "1000", env=notifying).ok()
    starting = runtime.popen("start", bundle.id, env=notifying)
    place = Path(f"/proc/{runtime.pid(bundle)}/root/run/notify/notify.sock")
    until(place.exists, "the socket is there")
    until(lambda: place.stat().st_mode & 0o777 == 0o777, "anybody may write to it")
    starting.kill()
    starting.wait()


@deviation("runc", reason="waits for ever")
def test_a_container_that_ends_before_it_is_ready_does_not_hang_start(runtime, bundle, manager, notifying):
    runtime.create(bundle, "true", env=notifying).ok()
    runtime.start(bundle, env=notifying)
    runtime.until_status(bundle, "stopped")


def test_run_detached_does_not_wait_for_readiness_to_start_the_program(runtime, bundle, manager, notifying):
    with (bundle.path / "out").open("wb") as out:
        id = runtime.prepare(bundle, "sh", "-c", "echo begun; sleep 1000")
        process = runtime.popen(
            "run", "--detach", "--bundle", bundle.path, id, env=notifying, stdout=out, stderr=out
        )
        until(lambda: (bundle.path / "out").read_text() == "begun\n", "the program runs")
        send(runtime.pid(bundle), b"READY=1")
        assert "READY=1" in receive_readiness(manager, process)
        assert process.returncode == 0
