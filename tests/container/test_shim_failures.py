"""The shim when things go wrong around it: killed, left alone, without disk, without memory."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.leaks import state_of
from support.shims import ShimOf, descriptors
from support.waiting import until

from pyrunc.errors import NOT_FOUND, PyruncError
from pyrunc.shim import protocol

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def runtime(runtime):
    if not runtime("--version").stdout.startswith("pyrunc "):
        pytest.skip("the shim is pyrunc's")
    return runtime


@pytest.fixture
def shim(runtime, bundle) -> Callable[..., ShimOf]:
    return lambda *command, **settings: ShimOf(runtime, bundle, *command, **settings)


@pytest.fixture
def small_disk(work: Path) -> Iterator[Path]:
    """A directory that has room for 64 KiB."""
    path = work / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_killed_it_leaves_the_container_running_and_delete_removes_all(runtime, bundle):
    """As conmon's users know it: the container goes on, its output and its exit code are lost."""
    runtime.run(bundle, "sleep", "1000", options=("--detach", "--shim")).ok()
    state = runtime.state(bundle)
    os.kill(state["shim"]["pid"], signal.SIGKILL)
    until(lambda: state_of(state["shim"]["pid"]) in "ZX", "the shim is dead")
    assert state_of(state["pid"]) == "S"
    now = runtime.state(bundle)
    assert (now["status"], now["shim"]["status"]) == ("running", "running")
    assert now["shim"]["error"] == "the container's shim is gone"
    runtime.delete(bundle).failed("not stopped")
    runtime.exec(bundle, "true").ok()

    runtime.kill(bundle, "KILL").ok()
    runtime.until_status(bundle, "stopped")
    assert runtime("wait", bundle.id).ok().stdout == "255\n"
    assert runtime.state(bundle)["shim"]["error"] == "the container's shim is gone"
    runtime.delete(bundle).ok()
    assert os.listdir(runtime.root) == []


def test_force_also_removes_one_that_runs_without_its_shim(runtime, bundle):
    runtime.run(bundle, "sleep", "1000", options=("--detach", "--shim")).ok()
    state = runtime.state(bundle)
    os.kill(state["shim"]["pid"], signal.SIGKILL)
    until(lambda: state_of(state["shim"]["pid"]) in "ZX", "the shim is dead")
    runtime.delete(bundle, force=True).ok()
    assert state_of(state["pid"]) in "ZX"
    assert os.listdir(runtime.root) == []


def test_the_container_of_a_dead_shim_is_told_by_its_pipes(shim):
    """Whoever writes gets SIGPIPE, whoever reads the end."""
    made = shim("sh", "-c", "while echo tick; do sleep 0.05; done").start()
    made.until_said("tick")
    pid = made.status["pid"]
    os.kill(made.pid, signal.SIGKILL)
    until(lambda: state_of(pid) in "ZX", "it has ended by that")
    made.runtime.delete(made.id, force=True).ok()


def test_whoever_started_it_may_go(runtime, bundle):
    process = runtime.popen(
        "run", "--bundle", bundle.path, "--detach", "--shim", runtime.prepare(bundle, "sleep", "1000"),
        start_new_session=True,
    )  # fmt: skip
    assert process.wait(30) == 0
    pid = runtime.state(bundle)["shim"]["pid"]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        os.kill(pid, number)
    assert runtime("wait", "nobody").returncode == 1
    assert runtime.state(bundle)["shim"]["status"] == "running"
    runtime.delete(bundle, force=True).ok()


def test_its_orphans_are_reaped_and_it_is_no_container_s_descriptor(shim):
    """A process that moves out of the container's pid namespace can't be: orphans are those of a container
    that shares its host's."""
    made = shim("sh", "-c", "sleep 1000")
    made.bundle.share("pid")
    made.start()
    execution = made.exec("sh", "-c", "(sleep 0.1 &) ; (sleep 0.2 &) ; exit 0")
    assert made.call("wait", exec=execution.answer["exec"]) == {"exit_code": 0}
    pid = made.pid
    until(lambda: len(children(pid)) == 1, "only the init is left")
    held = [name for name in descriptors(pid) if "socket" in name or "eventpoll" in name]
    inside = [os.readlink(path) for path in Path(f"/proc/{made.status['pid']}/fd").iterdir()]
    assert not set(held) & set(inside)
    made.call("delete", force=True)


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_oom_is_told(shim):
    made = shim("sh", "-c", "x=a; while :; do x=$x$x$x$x; done", start=False)
    made.bundle.resources["memory"] = {"limit": 32 << 20, "swap": 32 << 20}
    made.bundle.write()
    made.start()
    listener = protocol.Connection(str(made.directory))
    listener.call("subscribe")
    made.call("start")
    events = [event["event"] for event in listener.events()]
    listener.close()
    assert made.status["oom_killed"] is True
    assert made.status["exit_code"] == 137
    assert events.index("oom") < events.index("exit")


def test_an_end_by_kill_is_no_oom(shim):
    made = shim("sleep", "1000").start()
    made.call("kill", signal="KILL")
    assert made.wait() == 137
    assert made.status["oom_killed"] is False


@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_a_full_disk_stops_no_container(shim, small_disk, driver):
    script = "seq 1 20000; echo first part; read line; echo second part; exit 6"
    log = {"driver": driver, "path": str(small_disk / "log")}
    made = shim("sh", "-c", script, open_stdin=True, log=log, start=False).start()
    client = made.attach(stdin=True)
    made.call("start")
    client.expect(b"first part\n")
    assert made.status["log_lost_lines"] > 0
    assert "No space left on device" in made.status["log_error"]
    assert made.status["status"] == "running"
    written = (small_disk / "log").read_bytes()
    assert written.endswith(b"\n")
    lines = written.count(b"\n")
    (small_disk / "log").write_bytes(b"")  # somebody makes room
    client.type(b"go\n")
    client.expect(b"second part\n")
    assert made.wait() == 6
    assert made.status["log_lost_lines"] == 20001 - lines
    assert b"second part" in (small_disk / "log").read_bytes()


def test_a_full_disk_for_its_status_stops_no_container(shim, small_disk):
    made = shim("sh", "-c", "read line; exit 6", open_stdin=True)
    made.directory = small_disk / "shim"
    made.directory.mkdir()
    filler = os.open(small_disk / "filler", os.O_CREAT | os.O_WRONLY)
    made.start()
    with pytest.raises(OSError, match="No space left"):
        while True:
            os.write(filler, bytes(4096))
    os.close(filler)
    before = (made.directory / "status.json").read_bytes()
    client = made.attach(stdin=True)
    client.type(b"go\n")
    assert made.call("wait") == {"exit_code": 6}
    made.until_gone()
    assert (made.directory / "status.json").read_bytes() == before  # whole, if old


def test_a_client_that_comes_and_goes_costs_nothing(shim):
    made = shim("sh", "-c", "while :; do sleep 1; done", open_stdin=True).start()
    first = len(descriptors(made.pid))
    for _ in range(20):
        made.attach(stdin=True).close()
        made.call("status")
    until(lambda: len(descriptors(made.pid)) == first, "no descriptor is left")
    made.call("delete", force=True)


def test_a_terminal_that_goes_takes_only_its_client(shim, runtime, bundle):
    bundle.process["terminal"] = True
    made = shim("sh", open_stdin=True).start()
    client = made.attach(stdin=True)
    client.type(b"echo here\n")
    client.expect(b"here")
    client.close()
    time.sleep(0.1)
    again = made.attach(stdin=True)
    again.type(b"exit 2\n")
    assert made.wait() == 2


def test_what_the_shim_could_not_do_does_not_change_how_the_container_ended(shim):
    made = shim("sh", "-c", "read line; exit 6", open_stdin=True).start()
    client = made.attach(stdin=True)
    asking = protocol.Connection(str(made.directory))
    asking.call("status")
    before = resource.prlimit(made.pid, resource.RLIMIT_NOFILE)  # EMFILE, 24, is what it meets next
    resource.prlimit(made.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as knocking:
        knocking.connect(str(made.directory / "shim.sock"))
        until(lambda: "OSError(24" in asking.call("status")["status"]["error"], "it is told")
        resource.prlimit(made.pid, resource.RLIMIT_NOFILE, before)
    asking.close()
    client.type(b"go\n")
    assert made.wait() == 6
    assert "OSError(24" in made.status["error"]


def test_a_kill_is_answered_however_late_the_runtime_says_that_it_is_done(shim, runtime, work):
    slow = work / "slow"
    slow.write_text(
        f'#!/bin/sh\n{runtime.command} "$@"; code=$?\n'
        'case " $* " in *" kill "*) sleep 0.5; esac\nexit $code\n'
    )
    slow.chmod(0o755)
    made = shim("sleep", "1000")
    made.settings["runtime"] = str(slow)
    made.start().call("kill", signal="KILL")
    assert made.wait() == 137


def test_rubbish_on_the_socket(shim):
    made = shim("sleep", "1000").start()
    for message in (b"{", b"[]", b"\xff" * 100, b'{"verb": 3}', b'{"verb":"status","descriptors":["a"]}'):
        connection = protocol.Connection(str(made.directory))
        protocol.fds.send(connection.fileno(), message)
        answer, _ = protocol.fds.receive_whole(connection.fileno())
        with pytest.raises(PyruncError):
            protocol.decode_answer(answer)
        connection.close()
    assert made.call("status")["status"]["status"] == "running"
    assert os.stat(made.directory / "shim.sock").st_mode & 0o777 == 0o600
    made.call("delete", force=True)
    made.until_gone()
    with pytest.raises(PyruncError) as caught:
        made.call("status")
    assert caught.value.kind == NOT_FOUND
