"""The shim: a container that is left alone, and what can still be asked of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.console import open_terminal, set_window_size
from support.leaks import state_of
from support.shims import ShimOf, parse_multiplexed
from support.waiting import until

from pyrunc.engine.logs import parse_moment
from pyrunc.errors import INVALID, NOT_FOUND, WRONG_STATE, PyruncError
from pyrunc.oci.state import format_time
from pyrunc.shim import protocol
from pyrunc.spawner.client import Spawner

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace")


@pytest.fixture
def runtime(runtime):
    if not runtime("--version").stdout.startswith("pyrunc "):
        pytest.skip("the shim is pyrunc's")
    return runtime


@pytest.fixture
def shim(runtime, bundle) -> Callable[..., ShimOf]:
    return lambda *command, **settings: ShimOf(runtime, bundle, *command, **settings)


def shim_pid(runtime, bundle) -> int:
    return int(runtime.state(bundle)["shim"]["pid"])


# --- the command line -----------------------------------------------------------------------------


def test_output_and_exit_code_can_be_asked_for_later(runtime, bundle):
    script = "echo out; echo err >&2; printf end; exit 7"
    runtime.run(bundle, "sh", "-c", script, options=("--detach", "--shim")).ok()
    assert runtime("wait", bundle.id).ok().stdout == "7\n"
    logs = runtime("logs", bundle.id).ok()
    assert (logs.stdout, logs.stderr) == ("out\nend", "err\n")
    assert runtime("wait", bundle.id).ok().stdout == "7\n"
    state = runtime.state(bundle)
    assert state["status"] == "stopped"
    assert state["shim"]["exit_code"] == 7
    runtime.delete(bundle).ok()
    assert os.listdir(runtime.root) == []
    runtime("logs", bundle.id).failed("container does not exist")


def test_it_outlives_who_started_it_and_is_the_parent_of_the_init(runtime, bundle):
    runtime.run(bundle, "sleep", "1000", options=("--detach", "--shim")).ok()
    pid = shim_pid(runtime, bundle)
    assert Path(f"/proc/{runtime.pid(bundle)}/stat").read_text().rpartition(")")[2].split()[1] == str(pid)
    assert os.getsid(pid) == pid
    assert len(list(Path(f"/proc/{pid}/task").iterdir())) == 1
    assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)} == {"/dev/null"}
    runtime.delete(bundle, force=True).ok()
    until(lambda: state_of(pid) in "ZX", "the shim ends")


def test_the_next_of_that_name_keeps_its_files(runtime, bundle):
    """The shim before it may not have ended yet, but has let go of the directory."""
    for _ in range(3):
        runtime.run(bundle, "sleep", "1000", options=("--detach", "--shim")).ok()
        time.sleep(0.3)  # for whatever the one before still does
        assert protocol.call(f"{runtime.root}/@shims/{bundle.id}", "status")["status"]["status"] == "running"
        runtime.delete(bundle, force=True).ok()


def test_create_then_start(runtime, bundle):
    runtime.create(bundle, "sh", "-c", "echo started; sleep 1000", options=("--shim",)).ok()
    assert runtime.status(bundle) == "created"
    assert runtime.state(bundle)["shim"]["status"] == "created"
    runtime.start(bundle).ok()
    assert runtime.state(bundle)["shim"]["status"] == "running"
    until(lambda: runtime("logs", bundle.id).ok().stdout == "started\n", "it speaks")
    runtime("pause", bundle.id).ok()
    assert runtime.state(bundle)["shim"]["status"] == runtime.status(bundle) == "paused"
    runtime("resume", bundle.id).ok()
    runtime.delete(bundle).failed("not stopped")
    assert runtime.status(bundle) == "running"
    runtime.kill(bundle, "KILL").ok()
    assert runtime("wait", bundle.id).ok().stdout == "137\n"


def test_a_program_that_is_not_there_leaves_nothing(runtime, bundle):
    done = runtime.run(bundle, "/no/such", options=("--detach", "--shim"))
    assert done.returncode == 1
    assert "/no/such" in done.stderr
    assert os.listdir(runtime.root) == []


def test_without_a_shim_there_are_no_logs(runtime, running):
    runtime("logs", running.id).failed("has no shim")
    runtime("wait", running.id).failed("has no shim")
    assert "shim" not in runtime.state(running)


def test_options_that_do_not_go_together(runtime, bundle):
    runtime.run(bundle, "true", options=("--shim",)).failed("--detach")
    options = ("--detach", "--shim", "--console-socket", "/run/x")
    runtime.run(bundle, "true", options=options).failed("console-socket")
    runtime.run(bundle, "true", options=("--detach", "--shim", "--restart", "maybe")).failed("/restart/name")
    assert not runtime.root.exists() or os.listdir(runtime.root) == []


def test_logs_of_a_part(runtime, bundle):
    script = "for i in 1 2 3 4; do echo $i; sleep 0.1; done"
    runtime.run(bundle, "sh", "-c", script, options=("--detach", "--shim")).ok()
    followed = runtime("logs", "--follow", bundle.id).ok()
    assert followed.stdout == "1\n2\n3\n4\n"
    assert runtime("logs", "--tail", 2, bundle.id).ok().stdout == "3\n4\n"
    assert runtime("logs", "--tail", 0, bundle.id).ok().stdout == ""
    times = [line.split()[0] for line in runtime("logs", "-t", bundle.id).ok().stdout.splitlines()]
    assert times == sorted(times)
    assert runtime("logs", "--since", times[2], bundle.id).ok().stdout == "3\n4\n"
    assert runtime("logs", "--since", "10m", bundle.id).ok().stdout == "1\n2\n3\n4\n"
    runtime("logs", "--since", "yesterday", bundle.id).failed("since")


@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_following_through_rotations_loses_nothing(runtime, bundle, driver):
    options = ("--detach", "--shim", "--log-driver", driver, "--log-max-size", "4k", "--log-max-file", 100)
    script = "for i in $(seq 1 1500); do echo line $i; done"
    runtime.create(bundle, "sh", "-c", script, options=options[1:]).ok()
    following = runtime.popen("logs", "-f", bundle.id, stdout=(runtime.work / "followed").open("wb"))
    runtime.start(bundle).ok()
    assert runtime("wait", bundle.id).ok().stdout == "0\n"
    assert following.wait(30) == 0
    wanted = [f"line {number}" for number in range(1, 1501)]
    assert runtime("logs", bundle.id).ok().stdout.splitlines() == wanted
    assert (runtime.work / "followed").read_text().splitlines() == wanted
    directory = runtime.root / "@shims" / bundle.id
    sizes = [path.stat().st_size for path in directory.glob("container.log*")]
    assert len(sizes) > 5
    assert max(sizes) <= 4096


# --- attach ---------------------------------------------------------------------------------------


def test_attach_on_a_terminal_resize_detach_and_come_back(runtime, bundle):
    bundle.process["terminal"] = True
    runtime.create(bundle, "sh", options=("--shim",)).ok()
    with open_terminal(rows=30, columns=90) as (user, slave):
        how = {"stdin": slave, "stdout": slave, "stderr": slave}
        first = runtime.popen("attach", bundle.id, **how)
        runtime.start(bundle).ok()
        user.expect("# ")
        user.type("stty size\n")
        user.expect("30 90")
        set_window_size(slave, 40, 100)
        first.send_signal(signal.SIGWINCH)
        user.type("sleep 0.1; stty size; X=kept\n")
        user.expect("40 100")
        user.expect("# ")
        user.type("\x10\x11")
        assert first.wait(30) == 0
        assert runtime.status(bundle) == "running"

        second = runtime.popen("attach", "--detach-keys", "ctrl-x,q", bundle.id, **how)
        user.type("echo again $X\n")
        user.expect("again kept")
        user.type("\x18q")
        assert second.wait(30) == 0

        third = runtime.popen("attach", bundle.id, **how)
        user.type("exit 5\n")
        assert third.wait(30) == 5


def test_several_clients_and_pipes(shim):
    made = shim("sh", "-c", "cat; echo error >&2; exit 3", open_stdin=True, stdin_once=True, start=False)
    made.start()
    talker, listener = made.attach(stdin=True, multiplexed=True), made.attach()
    errors = made.attach(stdout=False)
    made.call("start")
    talker.type(b"hello\n")
    listener.expect(b"hello\n")
    talker.end_input()
    pieces = parse_multiplexed(talker.rest())
    assert b"".join(text for stream, text in pieces if stream == 1) == b"hello\n"
    assert b"".join(text for stream, text in pieces if stream == 2) == b"error\n"
    assert listener.rest() == b"error\n"
    assert errors.rest() == b"error\n"
    assert made.wait() == 3


def test_stdin_stays_open_for_the_next_client(shim):
    made = shim("cat", open_stdin=True).start()
    first = made.attach(stdin=True)
    first.type(b"one\n")
    first.expect(b"one\n")
    first.close()
    second = made.attach(stdin=True)
    second.type(b"two\n")
    second.expect(b"two\n")
    assert made.said() == "one\ntwo\n"
    made.call("delete", force=True)


def test_a_client_that_does_not_read_stops_neither_the_container_nor_its_log(shim):
    script = "seq 1 400000; echo done"
    made = shim("sh", "-c", script, start=False).start()
    lazy, eager = made.attach(), made.attach()
    made.call("start")
    wanted = "".join(f"{number}\n" for number in range(1, 400_001)) + "done\n"
    assert eager.rest().decode() == wanted
    assert made.wait() == 0
    assert made.said() == wanted
    assert len(lazy.rest()) < len(wanted)  # it was dropped
    assert made.status["log_lost_lines"] == 0


@pytest.mark.parametrize("keeps_all", [True, False])
def test_a_slow_client_loses_nothing(shim, keeps_all):
    made = shim("sh", "-c", "seq 1 400000", start=False).start()
    slow, eager = made.attach(keeps_all=keeps_all), made.attach()
    made.call("start")
    wanted = "".join(f"{number}\n" for number in range(1, 400_001)).encode()
    with ThreadPoolExecutor(1) as other:
        all_of_it = other.submit(eager.rest)
        time.sleep(3)
        assert not all_of_it.done()  # it is held up, too
        assert slow.rest() == wanted
        assert all_of_it.result() == wanted
    assert made.wait() == 0


def test_the_last_words_wait_for_their_reader_and_the_shim_for_nobody_else(shim):
    made = shim("sh", "-c", "seq 1 100000", start=False).start()
    slow = made.attach()
    made.call("start")
    assert made.wait() == 0
    made.until_gone()
    assert made.pid == 0
    assert slow.rest() == "".join(f"{number}\n" for number in range(1, 100_001)).encode()


def test_a_client_that_types_faster_than_is_read_is_slowed_down(shim):
    made = shim("sh", "-c", "sleep 1; wc -c", open_stdin=True, stdin_once=True).start()
    client = made.attach(stdin=True)
    client.type(bytes(3 << 20))
    client.end_input()
    assert client.rest().strip() == str(3 << 20).encode()


# --- exec -----------------------------------------------------------------------------------------


def test_exec(shim):
    made = shim("sleep", "1000").start()
    one = made.exec("sh", "-c", "echo out; echo err >&2; cat; exit 9", stdin=True, multiplexed=True)
    one.type(b"fed")
    one.end_input()
    pieces = parse_multiplexed(one.rest())
    assert b"".join(text for stream, text in pieces if stream == 1) == b"out\nfed"
    assert b"".join(text for stream, text in pieces if stream == 2) == b"err\n"
    assert made.call("wait", exec=one.answer["exec"]) == {"exit_code": 9}

    shell = made.exec("sh", process={"terminal": True}, stdin=True, detach_keys="ctrl-a")
    made.call("resize", exec=shell.answer["exec"], rows=11, columns=22)
    shell.type(b"stty size\n")
    shell.expect(b"11 22")
    assert shell.answer["pid"] in made.call("ps")["pids"]
    shell.type(b"\x01")
    assert state_of(shell.answer["pid"]) != "X"

    with pytest.raises(PyruncError, match="executable file not found"):
        made.exec("nothing")
    with pytest.raises(PyruncError) as caught:
        made.call("wait", exec="nothing")
    assert caught.value.kind == NOT_FOUND
    made.call("delete", force=True)


def test_exec_with_streams_of_its_own(shim, tmp_path):
    made = shim("sleep", "1000").start()
    with (tmp_path / "out").open("wb") as out:
        process = {"args": ["echo", "direct"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
        answer = protocol.execute(str(made.directory), process, {"stdout": out.fileno()})
    assert made.call("wait", exec=answer["exec"]) == {"exit_code": 0}
    assert (tmp_path / "out").read_text() == "direct\n"
    made.call("delete", force=True)


# --- restarts, health, events ---------------------------------------------------------------------


def test_on_failure_is_restarted_so_often(shim):
    made = shim("sh", "-c", "echo life; exit 3", restart={"name": "on-failure", "maximum_retry_count": 2})
    made.start()
    assert made.wait() == 3
    made.until_gone()
    assert made.status["restart_count"] == 2
    assert made.said() == "life\n" * 3
    times = [entry["time"] for entry in made.entries()]
    assert times == sorted(times)


def test_always_ends_with_a_stop(shim):
    made = shim("sh", "-c", "trap 'exit 4' TERM; echo life; sleep 1000 & wait", restart={"name": "always"})
    made.start()
    until(lambda: made.said() == "life\n", "it lives")
    os.kill(made.status["pid"], signal.SIGKILL)
    until(lambda: made.said() == "life\n" * 2, "it lives again")
    made.call("restart", timeout=5)
    assert made.status["status"] == "running"
    until(lambda: made.said() == "life\n" * 3, "it lives again")
    made.call("stop", timeout=5)
    assert made.status["exit_code"] == 4
    made.until_gone()
    assert made.said() == "life\n" * 3


def test_stop_while_it_waits_for_its_restart(shim):
    made = shim("false", restart={"name": "always"}).start()
    # By then it waits for longer than it takes to stop it: 1.6 s.
    until(lambda: made.status["restart_count"] >= 4 and made.status["status"] == "restarting", "waits")
    made.call("stop")
    assert made.wait() == 1
    made.until_gone()
    count = made.status["restart_count"]
    time.sleep(1)
    assert made.status["restart_count"] == count


def test_a_stop_that_is_not_heard_is_a_kill(shim):
    made = shim("sh", "-c", "trap '' TERM; sleep 1000", stop_timeout=1).start()
    made.call("stop")
    assert made.status["exit_code"] == 137


def test_a_change_of_policy(shim):
    made = shim("sleep", "1000", restart={"name": "always"}).start()
    made.call("update", restart={"name": "no"})
    os.kill(made.status["pid"], signal.SIGKILL)
    assert made.wait() == 137


def test_health(shim, bundle):
    bundle.writable()
    check = {
        "test": ["CMD-SHELL", "echo looked; test -e /tmp/well"],
        "interval_ns": 100_000_000,
        "retries": 2,
    }
    made = shim("sleep", "1000", health=check, start=False).start()
    listener = protocol.Connection(str(made.directory))
    listener.call("subscribe")
    made.call("start")
    started = next(event for event in listener.events() if event["event"] == "start")
    assert started["status"]["health"] == {"status": "starting", "failing_streak": 0, "log": []}
    listener.close()
    until(lambda: made.status["health"]["status"] == "unhealthy", "unhealthy")
    assert made.status["health"]["failing_streak"] >= 2
    result = made.status["health"]["log"][-1]
    assert (result["exit_code"], result["output"]) == (1, "looked\n")
    Path(f"/proc/{made.status['pid']}/root/tmp/well").touch()
    until(lambda: made.status["health"]["status"] == "healthy", "healthy")
    assert made.status["health"]["failing_streak"] == 0
    until(lambda: len(made.status["health"]["log"]) == 5, "five results")
    time.sleep(0.3)
    assert len(made.status["health"]["log"]) == 5

    made.call("pause")
    paused = format_time(time.time_ns())
    time.sleep(0.5)
    assert made.status["health"]["log"][-1]["start"] <= paused  # on its way, if any, when it was frozen
    assert made.status["health"]["status"] == "healthy"
    made.call("resume")
    until(lambda: made.status["health"]["log"][-1]["start"] > paused, "it is looked at again")
    made.call("delete", force=True)


def test_a_check_that_hangs_and_what_follows(shim):
    check = {"test": ["CMD", "sleep", "1000"], "interval_ns": 50_000_000, "timeout_ns": 200_000_000,
             "retries": 1, "on_failure": "kill"}  # fmt: skip
    made = shim("sleep", "1000", health=check).start()
    assert made.wait() == 137
    made.until_gone()
    (result,) = made.status["health"]["log"]
    assert result["exit_code"] == -1
    assert "exceeded timeout (0.2s)" in result["output"]


def test_events(shim):
    made = shim("sh", "-c", "read line; exit 6", open_stdin=True, start=False).start()
    listener = protocol.Connection(str(made.directory))
    listener.call("subscribe")
    made.call("start")
    client = made.attach(stdin=True)
    client.type(b"x\n")
    events = list(listener.events())
    listener.close()
    assert [event["event"] for event in events] == ["start", "attach", "exit", "gone"]
    assert events[2]["exit_code"] == 6
    assert events[2]["status"]["status"] == "stopped"


def test_the_exit_command(shim, tmp_path):
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ncp {{status}} {tmp_path}/seen\n")
    program.chmod(0o755)
    made = shim("sh", "-c", "exit 2", exit_command=[str(program)])
    program.write_text(program.read_text().replace("{status}", str(made.directory / "status.json")))
    made.start()
    made.until_gone()
    assert json.loads((tmp_path / "seen").read_text())["exit_code"] == 2


def test_its_end_is_not_before_its_beginning(shim):
    """Both may be noticed at once, and the start is told first."""
    made = shim("true").start()
    made.until_gone()
    assert parse_moment(made.status["started_at"]) <= parse_moment(made.status["finished_at"])


@needs_strace
def test_it_touches_no_file_after_its_socket_has_gone(shim):
    """Who saw that removes the directory, and stumbled over a file that vanished."""
    made = shim("sleep", "1000").start()
    slow = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=unlink:delay_enter=300000", "-p", str(made.pid)]
    with subprocess.Popen(slow) as tracer:
        tracing = Path(f"/proc/{made.pid}/status")
        until(lambda: f"TracerPid:\t{tracer.pid}" in tracing.read_text(), "strace is there")
        made.call("kill", signal="KILL")
        made.until_gone()
        left = {path.name for path in made.directory.iterdir()}
    assert left == {"shim.json", "status.json", "log"}


def test_what_is_asked_wrongly_is_said_and_harms_nothing(shim):
    made = shim("sleep", "1000").start()
    for verb, arguments, kind in (
        ("dance", {}, INVALID), ("resize", {"rows": 1, "columns": 1}, WRONG_STATE),
        ("start", {}, WRONG_STATE),
        ("attach", {}, INVALID), ("kill", {"signal": "NONE"}, INVALID), ("stop", {"timeout": "x"}, INVALID),
        ("resize", {"rows": 1 << 20, "columns": 1}, INVALID), ("resume", {}, WRONG_STATE),
    ):  # fmt: skip
        with pytest.raises(PyruncError) as caught:
            made.call(verb, **arguments)
        assert caught.value.kind == kind, caught.value
    assert made.status["status"] == "running"
    made.call("delete", force=True)


def test_a_bad_shim_json(shim):
    made = shim("true", restart={"name": "sometimes"})
    with pytest.raises(PyruncError) as caught:
        made.start()
    assert (caught.value.kind, caught.value.where) == (INVALID, "/restart/name")


def test_forked_from_a_spawner_it_outlives_it(shim):
    made = shim("sh", "-c", "echo there; exit 8", start=False)
    (made.directory / "shim.json").write_text(json.dumps(made.settings))
    with Spawner() as spawner:
        spawner.shim(made.directory)
    made.call("start")
    assert made.wait() == 8
    assert made.said() == "there\n"


def test_a_spawner_tells_what_kept_a_shim_from_it(shim):
    made = shim("/no/such/program")
    (made.directory / "shim.json").write_text(json.dumps(made.settings))
    with Spawner() as spawner:
        with pytest.raises(PyruncError, match="/no/such/program"):
            spawner.shim(made.directory)
        with pytest.raises(PyruncError, match="does not exist"):
            spawner.state(made.id, state_root=made.settings["state_root"])


def test_how_much_memory_it_keeps(runtime, bundle):
    """Of its own: containerd's shim has 2.5 MiB, and twice that of pages that it shares."""
    runtime.run(bundle, "sleep", "1000", options=("--detach", "--shim")).ok()
    pid = shim_pid(runtime, bundle)
    is_launcher = "launcher: static" in runtime("--version").stdout
    fields = dict(line.split()[:2] for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    assert int(fields["Private_Dirty:"]) < (3 << 10 if is_launcher else 8 << 10)
