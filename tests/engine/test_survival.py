"""What becomes of containers when the daemon is killed, when it comes back, and when the machine was started
anew."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import pytest
from support.engine import CGROUP, DOCKER, IMAGE, SEARCH_PATH, TABLE
from support.facts import mounts
from support.leaks import state_of as state_letter
from support.waiting import until

KILL = signal.SIGKILL
SECONDS = 60


def detached(docker, *flags, script="sleep 1000", network="none"):
    return docker.ok("run", "-d", "--network", network, *flags, IMAGE, "sh", "-c", script).strip()


def state_of(docker, name):
    return docker.inspect(name)["State"]


def is_status(docker, name, status):
    return state_of(docker, name)["Status"] == status


def revived(docker):
    docker.end(KILL)
    docker.start()
    return docker


def has_ended(pid):
    """Who reaps it is not ours to say."""
    return state_letter(pid) in "XZ"


def wait_for_end(pid):
    until(lambda: has_ended(pid), f"{pid} has ended", SECONDS)


def client_of(docker, *words):
    environment = {"PATH": SEARCH_PATH, "DOCKER_HOST": f"unix://{docker.socket}"}
    return subprocess.Popen(
        [DOCKER, *words], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


# --- containers that run ------------------------------------------------------------------------------------


def test_a_container_goes_on_and_can_be_used_again(docker):
    script = "trap 'echo told; exit 7' TERM; i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done"
    detached(docker, "--name", "box", script=script)
    before = state_of(docker, "box")
    until(lambda: "line 2\n" in docker.ok("logs", "box"), "it writes")
    docker.end(KILL)
    assert os.path.exists(f"/proc/{before['Pid']}")
    docker.start()
    after = state_of(docker, "box")
    for key in ("Pid", "StartedAt", "Status"):
        assert after[key] == before[key]
    lines = len(docker.ok("logs", "box").splitlines())
    until(lambda: len(docker.ok("logs", "box").splitlines()) > lines, "it writes on")
    assert docker.ok("exec", "box", "echo", "inside") == "inside\n"
    waiter = client_of(docker, "wait", "box")
    docker.ok("stop", "box")
    assert waiter.communicate(timeout=SECONDS)[0] == "7\n"
    assert docker.ok("logs", "--tail", "1", "box") == "told\n"
    numbers = [int(line.split()[1]) for line in docker.ok("logs", "box").splitlines() if "line" in line]
    assert numbers == list(range(1, len(numbers) + 1))


def test_one_can_attach_to_it_again(docker):
    docker.ok(
        "run", "-di", "--name", "box", "--network", "none", IMAGE, "sh", "-c", "read x; echo got $x; read y"
    )
    revived(docker)
    client = client_of(docker, "attach", "box")
    try:
        time.sleep(0.3)
        client.stdin.write("word\n")
        client.stdin.flush()
        assert client.stdout.readline() == "got word\n"
    finally:
        client.kill()
        client.communicate()


def test_a_terminal_is_attached_to_again(docker):
    docker.ok("run", "-dit", "--name", "box", "--network", "none", IMAGE, "sh")
    revived(docker)
    docker.call("POST", "/containers/box/resize", h=40, w=90)
    assert docker.ok("exec", "box", "sh", "-c", "stty size < /proc/1/fd/0") == "40 90\n"


def test_published_ports_still_answer_and_stay_held(docker):
    detached(
        docker, "--name", "web", "-p", "18300:80", script="exec nc -ll -p 80 -e echo hello", network="bridge"
    )
    docker.ok("network", "create", "mesh")
    detached(docker, "--name", "peer", network="mesh")
    docker.end(KILL)
    until(lambda: fetch(18300) == "hello\n", "answers without a daemon")
    docker.start()
    assert fetch(18300) == "hello\n"
    late = docker.fails("run", "-d", "--name", "late", "-p", "18300:80", IMAGE, "true", code=125)
    assert "18300" in late
    with socket.socket() as other, pytest.raises(OSError):
        other.bind(("0.0.0.0", 18300))
    assert docker.ok("port", "web").startswith("80/tcp -> 0.0.0.0:18300")
    # an address that is in use is not given away
    one = docker.inspect("web")["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    detached(docker, "--name", "other", network="bridge")
    assert docker.inspect("other")["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] != one
    # names are answered still
    words = ("run", "--rm", "--network", "mesh", IMAGE, "nslookup", "peer")
    assert docker.inspect("peer")["NetworkSettings"]["Networks"]["mesh"]["IPAddress"] in docker.ok(*words)
    docker.ok("rm", "-f", "web", "late")
    with socket.socket() as other:
        other.bind(("0.0.0.0", 18300))


def fetch(port):
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            return client.recv(100).decode()
    except OSError:
        return ""


def test_an_exec_goes_on_and_its_end_is_known(docker):
    detached(docker, "--name", "box")
    docker.ok("exec", "-d", "box", "sh", "-c", "sleep 1; echo done > /tmp/done")
    revived(docker)
    until(lambda: docker.docker("exec", "box", "cat", "/tmp/done").stdout == "done\n", "the exec has ended")


def test_a_paused_container_stays_so(docker):
    detached(docker, "--name", "box")
    docker.ok("pause", "box")
    revived(docker)
    assert is_status(docker, "box", "paused")
    docker.ok("unpause", "box")
    assert docker.ok("exec", "box", "echo", "on") == "on\n"


def test_published_ports_stay_held_without_a_daemon_and_with_the_next_one(docker):
    docker.ok("run", "-d", "--name", "web", "-p", "18330:80", IMAGE, "sleep", "1000")
    docker.end(KILL)
    with socket.socket() as tried, pytest.raises(OSError, match="in use"):
        tried.bind(("127.0.0.1", 18330))
    docker.start()
    with socket.socket() as tried, pytest.raises(OSError, match="in use"):
        tried.bind(("127.0.0.1", 18330))
    docker.ok("rm", "-f", "web")
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 18330))


# --- what happens meanwhile ---------------------------------------------------------------------------------


def test_an_exit_meanwhile_is_known_afterwards(docker):
    detached(docker, "--name", "box", script="while ! test -e /end; do sleep 0.05; done; echo last; exit 9")
    pid = state_of(docker, "box")["Pid"]
    docker.end(KILL)
    Path(f"/proc/{pid}/root/end").touch()
    wait_for_end(pid)
    docker.start()
    until(lambda: is_status(docker, "box", "exited"), "its shim has seen it, too")
    state = state_of(docker, "box")
    assert (state["ExitCode"], state["Pid"]) == (9, 0)
    assert state["FinishedAt"] > state["StartedAt"]
    assert docker.ok("logs", "box") == "last\n"
    assert docker.ok("wait", "box") == "9\n"
    docker.ok("start", "box")
    assert is_status(docker, "box", "running") or state_of(docker, "box")["ExitCode"] == 9


def test_one_that_removes_itself_is_gone_at_the_next_start(docker):
    docker.ok(
        "run", "-d", "--rm", "--name", "box", "-v", "/scratch", "-p", "18310:80", IMAGE, "sleep", "1000"
    )
    pid = state_of(docker, "box")["Pid"]
    docker.end(KILL)
    os.kill(pid, KILL)
    wait_for_end(pid)
    docker.start()
    until(lambda: docker.ok("ps", "-aq") == "", "its shim has seen it, too")
    until(lambda: docker.ok("volume", "ls", "-q") == "", "its volume is gone")
    until(lambda: not docker.residue(), "nothing is left")


def test_restart_policies_and_health_checks_go_on(docker):
    detached(docker, "--name", "again", "--restart", "always", script="echo run; sleep 0.3; exit 1")
    flags = ("--health-cmd", "echo x >> /checks", "--health-interval", "200ms")
    detached(docker, "--name", "ill", *flags)
    until(lambda: state_of(docker, "ill")["Health"]["Status"] == "healthy", "it is well")
    root = f"/proc/{state_of(docker, 'ill')['Pid']}/root"
    docker.end(KILL)
    log = next((docker.root / "data/containers").glob("*/*-json.log"), None)
    assert log is not None
    checks = len(Path(root, "checks").read_text())
    until(lambda: len(Path(root, "checks").read_text()) >= checks + 6, "three more checks")
    time.sleep(1)
    docker.start()
    assert state_of(docker, "ill")["Health"]["Status"] == "healthy"
    until(lambda: docker.inspect("again")["RestartCount"] >= 2, "it is started again and again")
    docker.ok("stop", "-t", "0", "again")
    assert is_status(docker, "again", "exited")


def test_unless_stopped_holds_over_a_kill(docker):
    detached(docker, "--name", "box", "--restart", "unless-stopped")
    docker.ok("stop", "-t", "0", "box")
    revived(docker)
    assert is_status(docker, "box", "exited")


def test_a_shim_that_is_killed_takes_its_container_along(docker):
    """Nobody would be left to see its end, read what it writes, or stop it."""
    id = detached(docker, "--name", "box")
    state = state_of(docker, "box")
    shim = int((docker.root / f"data/containers/{id}/shim.pid").read_text())
    os.kill(shim, KILL)
    until(lambda: is_status(docker, "box", "exited"), "it has ended")
    assert has_ended(state["Pid"])
    docker.ok("start", "box")
    assert is_status(docker, "box", "running")


def test_a_shim_that_is_killed_while_nobody_looks(docker):
    first = detached(docker, "--name", "gone")
    second = detached(docker, "--name", "again", "--restart", "always")
    pids = [state_of(docker, name)["Pid"] for name in (first, second)]
    docker.end(KILL)
    for id in (first, second):
        os.kill(int((docker.root / f"data/containers/{id}/shim.pid").read_text()), KILL)
    docker.start()
    assert is_status(docker, "gone", "exited")
    assert is_status(docker, "again", "running")
    assert all(map(has_ended, pids))


# --- killed in the middle -----------------------------------------------------------------------------------


@pytest.mark.parametrize("milliseconds", [5, 20, 40, 60, 80, 110, 150, 200, 300])
def test_a_kill_in_the_middle_loses_nothing(docker, milliseconds):
    """At whatever moment: what was acknowledged is there, what was not is there wholly or not at all."""
    acknowledged, stop = [], threading.Event()

    def work():
        for number in range(1000):
            if stop.is_set():
                return
            name = f"c{milliseconds}-{number}"
            if docker.docker("create", "--name", name, IMAGE, "sleep", "1000").returncode:
                return
            acknowledged.append((name, "created"))
            if docker.docker("start", name).returncode:
                return
            acknowledged[-1] = (name, "running")
            if number % 2:
                acknowledged[-1] = (name, "removing")
                if docker.docker("rm", "-f", name).returncode:
                    return
                acknowledged[-1] = (name, "removed")

    worker = threading.Thread(target=work)
    worker.start()
    time.sleep(0.2 + milliseconds / 1000)
    stop.set()
    docker.end(KILL)
    worker.join(SECONDS)
    with sqlite3.connect(docker.root / "data/engine.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    docker.start()
    there = {one["Names"][0][1:]: one["State"] for one in docker.call("GET", "/containers/json", all=True)}
    for name, status in acknowledged:
        if status == "removed":
            assert name not in there
        elif status == "running":
            assert there[name] == "running"
        elif status == "created":
            assert there[name] in ("created", "running")
    for name in there:
        docker.ok("start", name)
        docker.ok("exec", name, "true")
        docker.ok("rm", "-f", name)
    until(lambda: not docker.residue(), "nothing is left", 5)


def test_what_a_killed_daemon_was_making_or_removing_is_taken_away(docker):
    id = docker.ok("create", IMAGE, "true").strip()
    active = next((docker.root / "data/images/snapshots").glob(f"*/active/{id}")).parent
    docker.end(KILL)
    for name in (f".{'a' * 64}.0123456789abcdef", f".{'b' * 64}.gone"):
        (active / name / "fs/etc").mkdir(parents=True)
    docker.start()
    assert [path.name for path in active.iterdir()] == [id]


def test_a_removal_that_was_cut_off_takes_the_volumes_too_that_it_was_to_take(docker):
    docker.ok("create", "-v", "/scratch", "-v", "kept:/kept", IMAGE, "true")
    docker.end(KILL)
    with sqlite3.connect(docker.root / "data/engine.db") as database:
        for key in ("is_removing", "removes_volumes"):
            change = f"UPDATE containers SET document = json_set(document, '$.{key}', json('true'))"
            database.execute(change)
    docker.start()
    assert docker.ok("ps", "-aq") == ""
    assert docker.ok("volume", "ls", "-q") == "kept\n"


# --- the machine anew ---------------------------------------------------------------------------------------


def shims_and_helpers(docker):
    """All have the daemon's command line, or a path below its directory in their own."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(docker.root).encode() in (entry / "cmdline").read_bytes():
                found.add(int(entry.name))
    return found - {os.getpid()}


def inside(docker):
    paths = Path("/sys/fs/cgroup").glob(f"*{CGROUP}/*/cgroup.procs")
    return {int(pid) for path in paths for pid in path.read_text().split()}


def end_everything(docker):
    """What a reboot does: processes, mounts, links, the packet filter and /run are gone; the disk stays."""
    docker.end(KILL)
    for processes in (shims_and_helpers, inside):  # a shim would start its container again, or note its end
        pids = processes(docker)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # with a container's init all of it ends
                os.kill(pid, KILL)
        until(lambda pids=pids: all(map(has_ended, pids)), "they have ended")
    for mount in reversed(mounts(Path("/proc/self/mountinfo").read_text())):
        if mount.target.startswith(f"{docker.root}/"):
            subprocess.run(["umount", "-l", mount.target], check=True)
    subprocess.run(["nft", "delete", "table", "inet", TABLE], check=False, capture_output=True)
    links = json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, check=True).stdout)
    for link in links:
        if link["ifname"] != "lo":
            subprocess.run(["ip", "link", "del", link["ifname"]], check=False, capture_output=True)
    for path in Path("/sys/fs/cgroup").glob(f"*{CGROUP}/*/"):
        path.rmdir()
    subprocess.run(["rm", "-r", docker.root / "run"], check=True)


def test_after_a_reboot_containers_have_exited_and_can_be_started(docker):
    docker.ok("network", "create", "mesh")
    detached(docker, "--name", "web", "-p", "18320:80", script="echo up; exec nc -ll -p 80 -e echo hello",
             network="mesh")  # fmt: skip
    detached(docker, "--name", "kept", "--restart", "always", script="echo up; sleep 1000", network="bridge")
    detached(docker, "--name", "stopped", "--restart", "unless-stopped")
    docker.ok("stop", "-t", "0", "stopped")
    docker.ok("run", "-d", "--rm", "--name", "brief", "-v", "store:/data", IMAGE, "sleep", "1000")
    docker.ok("create", "--name", "never", "--restart", "always", IMAGE, "true")
    docker.ok("exec", "web", "sh", "-c", "echo written > /kept")
    end_everything(docker)
    docker.start()
    state = state_of(docker, "web")
    assert state["Status"] == "exited" and state["Pid"] == 0 and state["ExitCode"] != 0
    assert is_status(docker, "stopped", "exited")
    assert is_status(docker, "never", "created")
    until(lambda: is_status(docker, "kept", "running"), "what is always to run runs again")
    assert docker.ok("ps", "-aq", "--filter", "name=brief") == ""
    docker.ok("start", "web")
    until(lambda: fetch(18320) == "hello\n", "its port answers again")
    assert docker.ok("exec", "web", "cat", "/kept") == "written\n"
    assert docker.ok("exec", "web", "cat", "/sys/class/net/eth0/operstate") != ""
    assert docker.ok("logs", "web") == "up\nup\n"


def test_a_socket_that_was_left_is_no_obstacle(docker):
    docker.end(KILL)
    assert docker.socket.exists()
    docker.start()
    assert docker.end() == 0
    assert not docker.socket.exists()
    docker.start()


def test_a_second_daemon_on_the_same_data_is_refused(docker):
    words = [*docker.command(), "--host", f"unix://{docker.root}/second.sock"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 1
    assert "another pyruncd runs there" in done.stderr
    assert docker.ok("version")
