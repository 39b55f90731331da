"""containerd-shim-pyrunc-v2 by its protocol: every method of the Task service, the order of events, streams,
options, and what is left when something dies. containerd itself is in test_containerd.py and test_cri.py."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import host, leaks
from support.bundle import PREFIX
from support.shim import Box, Fifo, Refused, Shim, find_shim, options, process, shims
from support.waiting import until

from pyrunc.shim.containerd import messages, ttrpc

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NAMESPACE = f"{PREFIX}shim-{os.getpid()}"
KILLED = 137
LIVES, EXECS = (2000, 50) if os.environ.get("PYRUNC_TEST_STORM") == "long" else (50, 10)
SLEEP = ("sleep", "1000")


@pytest.fixture(scope="module")
def program(runtime_command: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return find_shim(runtime_command, tmp_path_factory.mktemp("shim"))


@pytest.fixture
def shim(program: Path) -> Iterator[Shim]:
    with shims(program, NAMESPACE) as made:
        yield made


def box(shim: Shim, *args: str, **how: Any) -> Box:
    return Box(shim, shim.directory, *args, **how)


# --- a life ---------------------------------------------------------------------------------------


def test_a_life_and_its_events(shim):
    made = box(shim, "sh", "-c", "echo out; echo err >&2; exit 3").create()
    state = made("State")
    assert (state["status"], state["pid"], state["bundle"]) == (
        messages.CREATED,
        made.pid,
        str(made.bundle.path),
    )
    waiting = made.ask.ask("Wait", id=made.id)
    assert made("Start")["pid"] == made.pid
    ended = made.ask.take(waiting)
    assert ended["exit_status"] == 3
    assert abs(ended["exited_at"]["seconds"] - time.time()) < 60
    assert made("State")["status"] == messages.STOPPED
    assert made("Wait") == ended
    assert (made.out.read(), made.err.read()) == (b"out\n", b"err\n")
    assert made("Delete") == {"pid": made.pid, **ended}
    with pytest.raises(Refused, match="not created") as caught:
        made("State")
    assert caught.value.code == ttrpc.NOT_FOUND
    shim.sink.until(made.id, "TaskCreate", "TaskStart", "TaskExit", "TaskDelete")
    assert shim.sink.names(made.id) == ["TaskCreate", "TaskStart", "TaskExit", "TaskDelete"]
    made("Shutdown")
    until(lambda: not Path(made.socket).exists() and not Path(f"{made.socket}.d").exists(), "it is gone")
    assert shim.delete(made.id, made.bundle.path)["exit_status"] == KILLED


def test_the_fields_of_events(shim):
    made = box(shim, "true").start()
    made("Wait")
    shim.sink.until(made.id, "TaskExit")
    create, start, exit_ = (fields for _, fields in shim.sink.events)
    assert create["bundle"] == str(made.bundle.path)
    assert create["io"] == {"stdin": "", "stdout": made.out.path, "stderr": made.err.path, "terminal": False}
    assert (create["pid"], start["pid"], exit_["pid"]) == (made.pid,) * 3
    assert (exit_["id"], exit_["exit_status"]) == (made.id, 0)
    made.end()


def test_a_quick_program_starts_before_it_ends(shim):
    for _ in range(10):
        made = box(shim, "true", group="quick").start()
        made("Wait")
        shim.sink.until(made.id, "TaskCreate", "TaskStart", "TaskExit")
        made("Delete")


def test_what_a_task_cannot_do(shim):
    made = box(shim).create()
    for method, fields, words, code in (
        ("Pause", {}, "not running", ttrpc.FAILED_PRECONDITION),
        ("Create", {"bundle": str(made.bundle.path)}, "exists", ttrpc.ALREADY_EXISTS),
        ("State", {"exec_id": "none"}, "does not exist", ttrpc.NOT_FOUND),
        ("Kill", {"signal": 65}, "invalid signal", ttrpc.INVALID_ARGUMENT),
        ("Exec", {"exec_id": "x"}, "needs a process", ttrpc.INVALID_ARGUMENT),
        ("Exec", {"exec_id": "x", "spec": {"type_url": "x", "value": b"{"}}, "JSON", ttrpc.INVALID_ARGUMENT),
    ):
        with pytest.raises(Refused, match=words) as caught:
            made(method, **fields)
        assert caught.value.code == code, method
    made("Start")
    with pytest.raises(Refused, match="already started"):
        made("Start")
    with pytest.raises(Refused, match="running"):
        made("Delete")
    made("Kill", signal=9)
    made("Wait")
    with pytest.raises(Refused, match="finished") as caught:
        made("Kill", signal=9)
    assert caught.value.code == ttrpc.NOT_FOUND
    made.end()


def test_a_container_that_was_never_started(shim):
    made = box(shim).create()
    assert made("Delete")["exit_status"] == KILLED
    shim.sink.until(made.id, "TaskCreate", "TaskExit", "TaskDelete")
    assert "TaskStart" not in shim.sink.names(made.id)


def test_deletes_at_the_same_time(shim):
    """Two of containerd's clients, after the end. The later answer comes last: who has the first may go, and
    containerd, which carries out a request no further then, needs one that it can see to the end."""
    made = box(shim, "true").start()
    made("Wait")
    first, second, third = (made.ask.ask("Delete", id=made.id) for _ in range(3))
    for late in (second, third):
        with pytest.raises(Refused, match="not created") as caught:
            made.ask.take(late)
        assert caught.value.code == ttrpc.NOT_FOUND
        assert made.ask.has_come(first)
    assert made.ask.take(first)["pid"] == made.pid
    shim.sink.until(made.id, "TaskExit", "TaskDelete")
    made("Shutdown")


def test_a_delete_while_it_is_created(shim):
    """What containerd does when its client has gone away."""
    made = box(shim)
    ask = made.begin()
    creating = ask.ask("Create", id=made.id, bundle=str(made.bundle.path))
    deleting = ask.ask("Delete", id=made.id)
    pid = ask.take(creating)["pid"]
    deleted = ask.take(deleting)
    assert (deleted["pid"], deleted["exit_status"]) == (pid, KILLED)
    made("Shutdown")


def test_a_delete_while_a_create_fails(shim):
    made = box(shim, "/no/such")
    ask = made.begin()
    creating = ask.ask("Create", id=made.id, bundle=str(made.bundle.path))
    deleting = ask.ask("Delete", id=made.id)
    with pytest.raises(Refused, match="OCI runtime create failed"):
        ask.take(creating)
    with pytest.raises(Refused, match="not created"):
        ask.take(deleting)
    made("Shutdown")


FAILS_ONCE = """#!/bin/sh
case " $* " in *" delete "*) if [ -e {flag} ]; then rm {flag}; echo not now >&2; exit 1; fi ;; esac
exec {runtime} "$@"
"""


def test_a_delete_that_failed_is_tried_again(shim, runtime_command):
    """By the one that waited for it."""
    script, flag = shim.directory / "runtime", shim.directory / "flag"
    script.write_text(FAILS_ONCE.format(flag=flag, runtime=runtime_command))
    script.chmod(0o755)
    flag.touch()
    made = box(shim, "true", options=options(binary_name=str(script))).start()
    made("Wait")
    first, second = (made.ask.ask("Delete", id=made.id) for _ in range(2))
    with pytest.raises(Refused, match="OCI runtime delete failed: not now"):
        made.ask.take(first)
    assert made.ask.take(second)["pid"] == made.pid
    made("Shutdown")


def test_a_create_that_fails_leaves_nothing(shim):
    made = box(shim, "/no/such")
    upper = shim.directory / "upper"
    shutil.move(made.bundle.rootfs, upper)
    made.bundle.rootfs.mkdir()
    made.how["rootfs"] = ({"type": "bind", "source": str(upper), "target": "", "options": ("rbind", "rw")},)
    with pytest.raises(Refused, match=r"OCI runtime create failed.*no such file or directory") as caught:
        made.create()
    assert caught.value.code == ttrpc.UNKNOWN
    assert leaks.mounts_below(made.bundle.path) == []
    assert os.listdir(f"{made.socket}.d") == []
    made.bundle.process["args"] = ["true"]
    made.bundle.write()
    made("Create", bundle=str(made.bundle.path), **made.how)
    made.end()


# --- processes ------------------------------------------------------------------------------------


def test_exec(shim):
    made = box(shim).start()
    out = Fifo(shim.directory / "exec.out")
    pid = made.exec("one", "sh", "-c", "echo $0; exit 7", stdout=out.path)
    assert made("Wait", exec_id="one")["exit_status"] == 7
    assert out.read() == b"sh\n"
    assert made("State", exec_id="one")["status"] == messages.STOPPED
    assert made("Delete", exec_id="one")["pid"] == pid
    with pytest.raises(Refused, match="does not exist"):
        made("State", exec_id="one")
    made.exec("two", *SLEEP)
    with pytest.raises(Refused, match="already exists"):
        made("Exec", exec_id="two", spec=process("true"))
    made("Kill", exec_id="two", signal=signal.SIGTERM)
    assert made("Wait", exec_id="two")["exit_status"] == 128 + signal.SIGTERM
    names = shim.sink.names(made.id)
    shim.sink.until(made.id, "TaskExecAdded:one", "TaskExecStarted:one", "TaskExit:one", "TaskExecAdded:two")
    assert names[:2] == ["TaskCreate", "TaskStart"]
    made.end()


def test_an_exec_that_fails(shim):
    made = box(shim).start()
    with pytest.raises(Refused, match=r"OCI runtime exec failed.*no such file or directory"):
        made.exec("one", "/no/such")
    assert made("Wait", exec_id="one")["exit_status"] == 255, "CRI waits for it"
    assert made("State", exec_id="one")["status"] == messages.STOPPED
    made("Delete", exec_id="one")
    assert made.exec("one", "true")
    made.end()


def test_init_ends_after_its_execs(shim):
    made = box(shim).start()
    for name in ("one", "two", "three"):
        made.exec(name, *SLEEP)
    made("Kill", signal=9)
    made("Wait")
    shim.sink.until(made.id, "TaskExit")
    ends = [name for name in shim.sink.names(made.id) if name.startswith("TaskExit")]
    assert sorted(ends[:3]) == ["TaskExit:one", "TaskExit:three", "TaskExit:two"]
    assert ends[3:] == ["TaskExit"]
    made.end()


def test_pids(shim):
    made = box(shim).start()
    pid = made.exec("one", *SLEEP)
    found = {entry["pid"]: entry["info"] for entry in made("Pids")["processes"]}
    assert set(found) == {made.pid, pid}
    assert found[made.pid] is None
    assert messages.decode(messages.PROCESS_DETAILS, found[pid]["value"]) == {"exec_id": "one"}
    made.end()


def test_the_hosts_pids_end_with_init(shim):
    """Without a pid namespace nobody but the shim does it."""
    made = box(shim, "sh", "-c", "sleep 4567 & echo up; sleep 1000")
    made.bundle.share("pid")
    made.start()
    made.out.expect(b"up")
    other = until(lambda: next(iter(named(made, b"sleep\0004567\0")), 0), "it is there")
    made("Kill", signal=9)
    made("Wait")
    until(lambda: leaks.state_of(other) == "X", "it has ended")
    made.end()


def named(made: Box, command: bytes) -> list[int]:
    pids = [entry["pid"] for entry in made("Pids")["processes"]]
    return [pid for pid in pids if Path(f"/proc/{pid}/cmdline").read_bytes() == command]


def test_a_privileged_container_is_entered_by_a_sealed_runtime(shim):
    """It could trace us: what goes in there is a process anew, and its errors are heard as well."""
    made = box(shim)
    made.bundle.allow("CAP_SYS_PTRACE")
    made.start()
    out = Fifo(shim.directory / "exec.out")
    made.exec("one", "echo", "hello", stdout=out.path)
    assert out.read() == b"hello\n"
    with pytest.raises(Refused, match="no such file or directory"):
        made.exec("two", "/no/such")
    made.end()


def test_kill_all(shim):
    made = box(shim).start()
    made.exec("one", *SLEEP)
    made("Kill", signal=9, all=True)
    assert made("Wait", exec_id="one")["exit_status"] == KILLED
    assert made("Wait")["exit_status"] == KILLED
    made("Kill", signal=9, all=True)
    made.end()


# --- what is done to a task -----------------------------------------------------------------------


def test_pause_and_resume(shim):
    made = box(shim).start()
    made("Pause")
    assert made("State")["status"] == messages.PAUSED
    made("Resume")
    assert made("State")["status"] == messages.RUNNING
    with pytest.raises(Refused, match="not paused"):
        made("Resume")
    shim.sink.until(made.id, "TaskPaused", "TaskResumed")
    made.end()


def test_update_and_stats(shim):
    made = box(shim).start()
    made("Update", resources={"type_url": "x", "value": json.dumps({"pids": {"limit": 77}}).encode()})
    stats = made("Stats")["stats"]
    is_v2 = not host.CGROUP1
    assert stats["type_url"] == (messages.METRICS2_TYPE if is_v2 else messages.METRICS1_TYPE)
    data = messages.decode(messages.METRICS2 if is_v2 else messages.METRICS1, stats["value"])
    assert data["pids"] == {"current": 1, "limit": 77}
    usage = data["memory"]["usage"]
    assert 0 < (usage if is_v2 else usage["usage"]) < 1 << 30
    assert data["cpu"]["usage_usec"] if is_v2 else data["cpu"]["usage"]["total"]
    made.end()


def test_connect(shim):
    made = box(shim).create()
    answer = made("Connect")
    assert answer["task_pid"] == made.pid
    assert leaks.parent_of(made.pid) == answer["shim_pid"]
    made.end()


def test_want_of_memory(shim):
    made = box(shim, "sh", "-c", "x=$(tail -c 1000000000 /dev/zero); echo $x | wc")
    made.bundle.resources["memory"] = {"limit": 16 << 20, "swap": 16 << 20}
    made.start()
    made("Wait")
    shim.sink.until(made.id, "TaskStart", "TaskOOM")
    made.end()


@pytest.mark.skipif(shutil.which("criu") is None, reason="there is no criu")
def test_checkpoint_and_restore(shim):
    made = box(shim, "sh", "-c", "n=0; while :; do n=$((n + 1)); echo $n; sleep 0.05; done")
    made.start()
    made.out.expect(b"3\n")
    images = shim.directory / "images"
    wrapped = messages.wrap("x", messages.encode(messages.CHECKPOINT_OPTIONS, {"exit": True}))
    try:
        made("Checkpoint", path=str(images), options=wrapped)
    except Refused as refused:
        made.end()
        pytest.skip(f"criu can't here: {refused}")
    made("Wait")
    said = made.out.read()
    shim.sink.until(made.id, "TaskStart", "TaskCheckpointed")
    made("Delete")
    again = Fifo(shim.directory / "again")
    made(
        "Create",
        bundle=str(made.bundle.path),
        stdout=again.path,
        stderr=made.err.path,
        checkpoint=str(images),
    )
    assert made("State")["status"] == messages.CREATED
    pid = made("Start")["pid"]
    assert made("State")["pid"] == pid
    last = int(said.split()[-1]) if said.split() else 3
    again.expect(f"\n{last + 2}\n".encode())
    made.end()


# --- streams --------------------------------------------------------------------------------------


def test_stdin_lasts_until_it_is_closed(shim):
    path = shim.directory / "in"
    os.mkfifo(path)
    made = box(shim, "cat", stdin=str(path)).start()
    for words in (b"one\n", b"two\n"):  # a client that goes, and comes again
        with path.open("wb", buffering=0) as stream:
            stream.write(words)
        made.out.expect(words)
    assert made("State")["status"] == messages.RUNNING
    made("CloseIO", stdin=True)
    assert made("Wait")["exit_status"] == 0
    made.end()


def test_a_terminal(shim):
    path = shim.directory / "in"
    os.mkfifo(path)
    made = box(shim, "sh", terminal=True, stdin=str(path)).create()
    made("ResizePty", width=99, height=44)
    made("Start")
    with path.open("wb", buffering=0) as stream:
        stream.write(b"tty; stty size; exit 5\n")
        made.out.expect(b"/dev/pts/0")
        made.out.expect(b"44 99")
    assert made("Wait")["exit_status"] == 5
    made.end()


def test_a_terminal_of_an_exec(shim):
    made = box(shim).start()
    out = Fifo(shim.directory / "exec.out")
    made.exec("one", "sh", "-c", "tty; stty size", terminal=True, stdout=out.path)
    made("Wait", exec_id="one")
    assert b"/dev/pts/0" in out.read()
    made.end()


def test_output_to_a_file(shim):
    path = shim.directory / "logs" / "deep" / "log"
    made = box(
        shim, "sh", "-c", "echo out; echo err >&2", stdout=f"file://{path}", stderr=f"file://{path}"
    ).start()
    made("Wait")
    made.end()
    assert sorted(path.read_text().split()) == ["err", "out"]


LOGGER = """#!/bin/sh
exec 5<&-
echo "$CONTAINER_NAMESPACE $CONTAINER_ID $*" > "$1.who"
cat <&3 > "$1.out" &
cat <&4 > "$1.err"
wait
"""


@pytest.mark.parametrize("terminal", [False, True])
def test_output_to_a_program(shim, terminal):
    script = shim.directory / "logger"
    script.write_text(LOGGER)
    script.chmod(0o755)
    base = shim.directory / "with space"
    uri = f"binary://{script}?{str(base).replace(' ', '%20')}&key=value"
    made = box(
        shim, "sh", "-c", "echo out; [ -t 1 ] || echo err >&2", terminal=terminal, stdout=uri, stderr=""
    )
    made.how["stderr"] = "" if terminal else uri
    made.start()
    made("Wait")
    made.end()
    until(lambda: "out" in Path(f"{base}.out").read_text(), "it is written")
    assert Path(f"{base}.who").read_text() == f"{NAMESPACE} {made.id} {base} key value\n"
    if not terminal:
        until(lambda: Path(f"{base}.err").read_text() == "err\n", "it is written")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("binary:///no/such", "logging program.*no such file"),
        ("binary://relative", "absolute"),
        ("ftp://x", "unknown kind"),
        ("/no/such/fifo", "no such file"),
    ],
)
def test_output_that_goes_nowhere(shim, name, words):
    made = box(shim, stdout=name)
    with pytest.raises(Refused, match=words):
        made.create()
    assert os.listdir(f"{made.socket}.d") == []


def test_a_full_disk_stops_no_container(shim):
    made = box(shim, "sh", "-c", "yes | head -c 1000000; exit 4", stdout="file:///dev/full").start()
    assert made("Wait")["exit_status"] == 4
    made.end()


def test_a_reader_that_reads_no_more(shim):
    """The container waits, as it would at a pipe; the shim doesn't."""
    made = box(shim, "sh", "-c", "yes; exit 4").start()
    other = box(shim, "true", group=made.id)
    until(lambda: "pipe" in Path(f"/proc/{made.pid}/wchan").read_text() or waits(made.pid), "it waits")
    assert made("State")["status"] == messages.RUNNING
    other.start()("Wait")
    other("Delete")
    made.end()


def waits(pid: int) -> bool:
    def ticks() -> str:
        return " ".join(Path(f"/proc/{pid}/stat").read_text().split()[13:15])

    before = ticks()
    time.sleep(0.1)
    return ticks() == before


def test_much_output_arrives_whole(shim):
    made = box(shim, "sh", "-c", "seq 200000").start()
    said = made.out.read()
    assert said.split()[-1] == b"200000"
    assert len(said) == sum(len(str(n)) + 1 for n in range(1, 200001))
    made("Wait")
    made.end()


# --- root filesystems -----------------------------------------------------------------------------


def test_an_overlay_is_mounted_and_unmounted(shim):
    made = box(shim, "sh", "-c", "echo x > /new; ls /")
    made.bundle.writable()
    lower = shim.directory / ("long" * 20) / "lower"
    lower.parent.mkdir()
    shutil.move(made.bundle.rootfs, lower)
    layers = [lower]
    for number in range(60):  # more names than a page holds
        layers.insert(0, shim.directory / ("long" * 20) / str(number))
        layers[0].mkdir(parents=True)
        (layers[0] / f"of-{number}").touch()
    upper, work = shim.directory / "upper", shim.directory / "work"
    upper.mkdir()
    work.mkdir()
    lowers = ":".join(map(str, layers))
    assert len(lowers) > 4096
    made.how["rootfs"] = (
        {"type": "overlay", "source": "overlay", "target": "",
         "options": (f"workdir={work}", f"upperdir={upper}", f"lowerdir={lowers}")},
    )  # fmt: skip
    made.start()
    said = made.out.read().split()
    assert {b"of-0", b"of-59", b"new"} <= set(said)
    assert (upper / "new").read_text() == "x\n"
    made("Wait")
    made.end()
    assert leaks.mounts_below(made.bundle.path) == []


@pytest.mark.parametrize("name", ["x" * 200, "x"])
def test_an_overlay_of_too_many_layers(shim, name):
    made = box(shim)
    lowers = ":".join(f"/{number}/{name}" for number in range(5000))
    made.how["rootfs"] = (
        {"type": "overlay", "source": "overlay", "target": "", "options": (f"lowerdir={lowers}",)},
    )
    with pytest.raises(Refused, match="more than a page of options"):
        made.create()


def test_a_mount_that_fails(shim):
    made = box(shim)
    made.how["rootfs"] = (
        {"type": "bind", "source": str(shim.directory), "target": "", "options": ("bind", "ro")},
        {"type": "nosuchfs", "source": "none", "target": "", "options": ()},
    )
    with pytest.raises(Refused, match="mount rootfs: nosuchfs none"):
        made.create()
    assert leaks.mounts_below(made.bundle.path) == []


# --- pods -----------------------------------------------------------------------------------------


def test_a_pods_containers_share_a_shim(shim):
    first = box(shim, group="pod").start()
    second = box(shim, group="pod").start()
    third = box(shim).start()
    assert first.socket == second.socket != third.socket
    assert first("Connect")["shim_pid"] == second("Connect")["shim_pid"]
    second.end()
    assert first("State")["status"] == messages.RUNNING
    first.end()
    until(lambda: not Path(first.socket).exists(), "with the last the shim goes")
    third.end()


def test_a_hundred_containers(shim):
    first = box(shim, group="pod")
    boxes = [first, *(box(shim, group="pod", rootfs_at=first.bundle.rootfs) for _ in range(99))]
    begun = time.monotonic()
    for made in boxes:
        made.how["stdout"] = made.how["stderr"] = ""
        made.start()
    shim_pid = boxes[0]("Connect")["shim_pid"]
    assert {leaks.parent_of(made.pid) for made in boxes} == {shim_pid}
    waits_ = [boxes[0].ask.ask("Wait", id=made.id) for made in boxes]
    for made in boxes:
        boxes[0].ask("Kill", id=made.id, signal=9)
    assert {boxes[0].ask.take(wait)["exit_status"] for wait in waits_} == {KILLED}
    for made in boxes:
        boxes[0].ask("Delete", id=made.id)
        shim.sink.until(made.id, "TaskCreate", "TaskStart", "TaskExit", "TaskDelete")
    assert len(os.listdir(f"/proc/{shim_pid}/fd")) < 240
    boxes[0]("Shutdown")
    assert time.monotonic() - begun < 120


def test_one_shim_many_lives(shim):
    """A pod whose first container stays, while another comes and goes, and commands are executed, many at a
    time: neither descriptors nor memory, and every answer is the right one."""
    first = box(shim, group="pod").start()
    pid = first("Connect")["shim_pid"]
    other = box(shim, "sh", "-c", "exit 5", group="pod", rootfs_at=first.bundle.rootfs)
    other.bundle.write()

    def ask(method: str, **fields: Any) -> dict[str, Any]:
        return first.ask(method, id=other.id, **fields)

    def lives(count: int) -> tuple[int, int]:
        for _ in range(count):
            ask("Create", bundle=str(other.bundle.path))
            ask("Start")
            assert ask("Wait")["exit_status"] == ask("Delete")["exit_status"] == 5
        names = [f"exec-{n}" for n in range(EXECS)]
        for n, name in enumerate(names):
            first("Exec", exec_id=name, spec=process("sh", "-c", f"exit {n}"))
        started = [first.ask.ask("Start", id=first.id, exec_id=name) for name in names]
        for stream in started:
            first.ask.take(stream)
        ended = [first("Wait", exec_id=name)["exit_status"] for name in names]
        assert ended == [first("Delete", exec_id=name)["exit_status"] for name in names]
        assert ended == list(range(EXECS))
        text = Path(f"/proc/{pid}/status").read_text()
        return len(os.listdir(f"/proc/{pid}/fd")), int(text.partition("RssAnon:")[2].split()[0])

    lives(10)
    before = lives(10)
    after = lives(LIVES)
    assert after[0] == before[0]
    assert after[1] - before[1] < 256 + LIVES // 2  # KiB
    first.end()


# --- when something dies --------------------------------------------------------------------------


def test_delete_after_a_shim_that_was_killed(shim):
    """All of it goes: processes, cgroups, mounts, state, socket."""
    made = box(shim)
    lower = shim.directory / "lower"
    shutil.move(made.bundle.rootfs, lower)
    made.bundle.rootfs.mkdir()
    made.how["rootfs"] = ({"type": "bind", "source": str(lower), "target": "", "options": ("rbind", "ro")},)
    made.start()
    exec_pid = made.exec("one", *SLEEP)
    os.kill(made("Connect")["shim_pid"], signal.SIGKILL)
    until(lambda: leaks.parent_of(made.pid) == os.getpid(), "its container is ours now")
    cleaning = subprocess.Popen(shim.words(made.id, made.bundle.path, "delete"), cwd=made.bundle.path)
    assert leaks.reap(exec_pid) == leaks.reap(made.pid) == -signal.SIGKILL
    assert cleaning.wait(30) == 0
    assert leaks.mounts_below(made.bundle.path) == []
    assert not Path(made.socket).exists() and not Path(f"{made.socket}.d").exists()
    made.shim.clients[-1].close()
    made.begin()  # and the name is free
    made("Shutdown")


def test_events_wait_for_containerd(shim):
    made = box(shim).start()
    shim.sink.until(made.id, "TaskStart")
    shim.sink.end()
    made.ask.close()
    made.ask = shim.connect(made.socket)
    made("Kill", signal=9)
    ended = made("Wait")
    assert ended["exit_status"] == KILLED
    shim.sink.begin()
    shim.sink.until(made.id, "TaskCreate", "TaskStart", "TaskExit")
    assert shim.sink.names(made.id) == ["TaskCreate", "TaskStart", "TaskExit"]
    made.end()


def test_containerd_gone_for_good(shim):
    """Containers go on, are reaped, and their shim waits for somebody who asks."""
    shim.sink.end()
    made = box(shim, "sh", "-c", "sleep 0.1; exit 6").start()
    made.ask.close()
    until(lambda: leaks.state_of(made.pid) == "X", "it has ended, and is no zombie")
    made.ask = shim.connect(made.socket)
    assert made("Wait")["exit_status"] == 6
    made.end()
    shim.sink.begin()


def test_a_signal_to_end_is_ignored(shim):
    made = box(shim).start()
    pid = made("Connect")["shim_pid"]
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)
    assert made("State")["status"] == messages.RUNNING
    assert leaks.state_of(pid) in "RS"
    made.end()


def test_nobody_is_left_a_zombie(shim):
    made = box(shim, "sh", "-c", "for n in 1 2 3 4 5 6 7 8; do (sleep 0.05 &) ; done; echo up; sleep 1000")
    made.bundle.share("pid")
    made.start()
    made.out.expect(b"up")
    pid = made("Connect")["shim_pid"]
    until(
        lambda: Path(f"/proc/{pid}/task/{pid}/children").read_text().split() == [str(made.pid)],
        "orphans are gone",
    )
    made.end()


# --- hostile peers --------------------------------------------------------------------------------

TASK = "containerd.task.v2.Task"
TOO_LONG = (5 << 20).to_bytes(4, "big") + bytes.fromhex("00000001 01 00")


def raw(path: str, data: bytes) -> bytes:
    """What comes back for `data`, up to the first answer or the end."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(path)
        connection.sendall(data)
        return connection.recv(1 << 16)


def asked(service: str, method: str, payload: bytes, stream: int = 1) -> bytes:
    return ttrpc.encode_request(stream, ttrpc.Request(service=service, method=method, payload=payload), 0)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (asked("no.such.Service", "State", b""), ttrpc.UNIMPLEMENTED),
        (asked(TASK, "NoSuch", b""), ttrpc.UNIMPLEMENTED),
        (asked(TASK, "State", b"\xff"), ttrpc.INVALID_ARGUMENT),
        (asked(TASK, "State", b"", stream=2), ttrpc.INVALID_ARGUMENT),
        (bytes.fromhex("00000001 00000001 01 00 ff"), ttrpc.INVALID_ARGUMENT),
        (TOO_LONG, ttrpc.RESOURCE_EXHAUSTED),
        (
            asked(TASK, "Create", messages.encode(messages.CREATE, {"id": "x", "bundle": "/no/such"})),
            ttrpc.UNKNOWN,
        ),
        (
            asked(
                TASK, "Create", messages.encode(messages.CREATE, {"id": "x", "options": {"type_url": "y"}})
            ),
            ttrpc.INVALID_ARGUMENT,
        ),
    ],
)
def test_what_no_client_sends(shim, data, code):
    made = box(shim).start()
    (frame,) = ttrpc.Decoder().feed(raw(made.socket, data))
    with pytest.raises(ttrpc.Failure) as caught:
        ttrpc.decode_answer(frame)
    assert caught.value.code == code
    assert made("State")["status"] == messages.RUNNING
    made.end()


def test_others_may_not_ask(shim):
    made = box(shim).start()
    assert os.stat(made.socket).st_mode & 0o777 == 0o600
    os.chmod(made.socket, 0o666)
    directory_mode = os.stat("/run/containerd/s").st_mode & 0o777
    script = (
        "import os, socket, sys; s = socket.socket(socket.AF_UNIX);"
        " fd = os.open('/run/containerd/s', os.O_PATH); os.setuid(65534);"
        " s.connect(f'/proc/self/fd/{fd}/' + sys.argv[1]); print(s.recv(1))"
    )
    os.chmod("/run/containerd/s", 0o711)
    try:
        done = subprocess.run(
            ["/usr/bin/python3", "-c", script, Path(made.socket).name],
            capture_output=True,
            text=True,
            timeout=20,
        )
    finally:
        os.chmod("/run/containerd/s", directory_mode)
    assert done.stdout == "b''\n" or "reset" in done.stderr, done
    made.end()


# --- options --------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("runc") is None, reason="there is no runc")
def test_another_runtime(shim):
    root = shim.directory / "root"
    made = box(shim, options=options(binary_name="runc", root=str(root))).start()
    assert os.listdir(root / NAMESPACE) == [made.id]
    out = Fifo(shim.directory / "exec.out")
    made.exec("one", "echo", "hello", stdout=out.path)
    assert out.read() == b"hello\n"
    assert len(made("Pids")["processes"]) == 1 + (made("State", exec_id="one")["status"] == messages.RUNNING)
    assert messages.decode(
        messages.METRICS1 if host.CGROUP1 else messages.METRICS2, made("Stats")["stats"]["value"]
    )
    made("Pause")
    made("Resume")
    made.end()
    failing = box(shim, "/no/such", options=options(binary_name="runc", root=str(root)))
    with pytest.raises(Refused, match=r"OCI runtime create failed.*no such file or directory"):
        failing.create()


@pytest.mark.parametrize("form", ["path", "body"])
def test_options_in_toml(shim, form):
    root = shim.directory / "root"
    text = f'Root = "{root}"\nNoNewKeyring = true\nIoUid = 1000\nIoGid = 1000\n'
    (shim.directory / "options.toml").write_text(text)
    fields = (
        {"config_path": str(shim.directory / "options.toml")}
        if form == "path"
        else {"config_body": text.encode()}
    )
    wrapped = messages.wrap(messages.GENERIC_OPTIONS_TYPE, messages.encode(messages.GENERIC_OPTIONS, fields))
    made = box(shim, "sh", "-c", "stat -Lc %u:%g /proc/self/fd/1; sleep 1000", options=wrapped).start()
    assert made.out.expect(b"\n") == b"0:1000\n"  # the runtime gives them to the process's user
    assert os.listdir(root / NAMESPACE) == [made.id]
    made.end()


@pytest.mark.parametrize(
    ("text", "words"),
    [("Rot = 1", "unknown runtime option.*Rot"), ("Root = 1", "is not str"), ("Root =", "no TOML")],
)
def test_options_that_are_none(shim, text, words):
    fields = {"config_body": text.encode()}
    wrapped = messages.wrap(messages.GENERIC_OPTIONS_TYPE, messages.encode(messages.GENERIC_OPTIONS, fields))
    with pytest.raises(Refused, match=words):
        box(shim, options=wrapped).create()


@pytest.mark.parametrize(
    ("given", "global_words", "create_words"),
    [
        ({}, [], []),
        ({"no_pivot_root": True}, [], ["--no-pivot"]),
        ({"no_new_keyring": True}, [], ["--no-new-keyring"]),
        ({"root": "/no/such/root"}, ["/no/such/root/"], []),
        ({"systemd_cgroup": True}, ["--systemd-cgroup"], []),
    ],
)
def test_what_options_tell_another_runtime(shim, given, global_words, create_words):
    script, heard = shim.directory / "runtime", shim.directory / "heard"
    script.write_text(f'#!/bin/sh\necho "$@" >> {heard}\necho none such >&2\nexit 1\n')
    script.chmod(0o755)
    made = box(shim, options=options(binary_name=str(script), **given))
    with pytest.raises(Refused):
        made.create()
    said = heard.read_text()
    before, _, after = said.partition(" create ")
    for words, all_words, text in (
        (global_words, ["--systemd-cgroup", "/no/such/root/"], before),
        (create_words, ["--no-pivot", "--no-new-keyring"], after),
    ):
        assert [word for word in all_words if word in text] == words
    assert f"--bundle {made.bundle.path}" in after and after.split()[-1] == made.id


# --- the program's verbs --------------------------------------------------------------------------


def test_who_a_daemon_is(shim):
    made = box(shim).create()
    pid = made("Connect")["shim_pid"]
    assert (made.bundle.path / "shim.pid").read_text() == str(pid)
    assert os.getsid(pid) == os.getpgid(pid) == pid
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    own = int(Path("/proc/self/oom_score_adj").read_text())
    assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) == min(own + 1, 1000)
    made.end()


def test_a_cgroup_for_the_shim(shim):
    place = host.CGROUP1.get("pids") or host.CGROUP2
    cgroup = Path(place) / f"{NAMESPACE}-own"
    cgroup.mkdir()
    made = box(shim)
    made.bundle.write()
    wrapped = messages.encode(messages.ANY, options(shim_cgroup=f"/{cgroup.name}"))
    made.socket = shim.start(made.id, made.bundle.path, wrapped)
    pid = shim.pid(made.socket)
    assert str(pid) in (cgroup / "cgroup.procs").read_text().split()
    shim.connect(made.socket)("Shutdown", id="")
    until(lambda: leaks.state_of(pid) in "XZ", "it has ended")
    leaks.reap_orphans(set())
    cgroup.rmdir()
    wrapped = messages.encode(messages.ANY, options(shim_cgroup="/no/such"))
    done = shim.call(made.id, made.bundle.path, "start", wrapped)
    assert done.returncode == 1 and b"no such cgroup" in done.stdout
    assert not Path(made.socket).exists()


def test_the_log_goes_to_containerd(shim):
    made = box(shim)
    log = Fifo(made.bundle.path / "log")
    made.create()
    os.kill(made("Connect")["shim_pid"], signal.SIGTERM)
    assert b"signal" in log.expect(b"ignored")
    made.end()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-nosuch"], "unknown flag"),
        (["-namespace"], "needs a value"),
        (["-id", "x", "start"], "-namespace and -id"),
        (["-id", "../x", "-namespace", "n", "start"], "invalid name"),
        (["-id", "x", "-namespace", "n", "dance"], "unknown verb"),
    ],
)
def test_words_that_are_none(program, words, said, work):
    done = subprocess.run([program, *words], capture_output=True, text=True, input="", cwd=work)
    assert done.returncode == 1
    assert said in done.stderr


def test_start_without_a_bundle(shim, work):
    done = shim.call("x", work, "start")
    assert done.returncode == 1
    assert done.stdout == b"read config: ./config.json: no such file or directory\n"


def test_version_and_info(program):
    assert "Version:" in subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stdout
    given = messages.encode(messages.ANY, options(no_new_keyring=True))
    done = subprocess.run([program, "-info"], capture_output=True, input=given, check=True)
    info = messages.decode(messages.RUNTIME_INFO, done.stdout)
    assert info["name"] == "io.containerd.pyrunc.v2"
    assert messages.encode(messages.ANY, info["options"]) == given
    assert json.loads(info["features"]["value"])["ociVersionMin"]


def test_shutdown_now_leaves_containers_to_delete(shim):
    made = box(shim).start()
    with pytest.raises(Refused):  # without `now` it stays
        made("Shutdown")
        made("Delete")
    made("Shutdown", now=True)
    until(lambda: not Path(made.socket).exists(), "it is gone")
    until(lambda: leaks.parent_of(made.pid) == os.getpid(), "its container is ours now")
    shim.delete(made.id, made.bundle.path)
    assert leaks.reap(made.pid) == -signal.SIGKILL
    assert not Path(f"{made.socket}.d").exists()
