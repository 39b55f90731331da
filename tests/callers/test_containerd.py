"""containerd runs containers by the runtime: `ctr run`, and what `ctr task` does after. Each test runs with
containerd's own shim, which calls the runtime (`--runc-binary PATH`), and with ours, which has it within."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from support.waiting import until

LOOP = "trap 'echo got; exit 5' TERM; echo ready; while :; do sleep 0.01; done"


def start(ctr, *words, name="box"):
    ctr.ok(*ctr.run("--detach"), name, *words)
    return name


def status(ctr, name="box"):
    rows = (line.split() for line in ctr.ok("task", "list").splitlines()[1:])
    return {row[0]: row[2] for row in rows}.get(name)


def test_run_prints_and_removes(ctr):
    assert ctr.ok(*ctr.run("--rm"), "box", "echo", "hello") == "hello\n"
    assert ctr.ok("container", "list", "--quiet") == ""
    assert ctr.ok("task", "list", "--quiet") == ""


@pytest.mark.parametrize("code", [0, 3, 255])
def test_the_exit_status(ctr, code):
    assert ctr(*ctr.run("--rm"), "box", "sh", "-c", f"exit {code}").returncode == code


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("/no/such", "no such file or directory"),
        ("no-such", "executable file not found"),
        ("/etc/passwd", "permission denied"),
    ],
)
def test_an_error_of_the_runtime_reaches_the_user(ctr, program, words):
    """The shim takes it from the JSON log."""
    done = ctr(*ctr.run("--rm"), "box", program)
    assert done.returncode == 1, done
    assert "OCI runtime create failed" in done.stderr
    assert words in done.stderr
    assert ctr.ok("task", "list", "--quiet") == ""


def test_interactive_on_a_terminal(ctr):
    with ctr.on_terminal(*ctr.run("--rm", "--tty"), "box", "sh") as (terminal, process):
        terminal.expect("# ")
        terminal.type("tty; until stty size | grep 111; do sleep 0.05; done 2>/dev/null; echo $((40 + 2))\n")
        terminal.expect("/dev/pts/0")
        terminal.expect("33 111")
        terminal.expect("\n42\r")
        terminal.type("exit 7\n")
        assert process.wait(30) == 7


def test_a_task_in_the_background(ctr):
    box = start(ctr, "sleep", "1000")
    assert status(ctr) == "RUNNING"
    (pid,) = [line.split()[1] for line in ctr.ok("task", "list").splitlines()[1:]]
    with open(f"/proc/{pid}/cmdline") as cmdline:
        assert cmdline.read().split("\0")[:2] == ["sleep", "1000"]
    assert pid in ctr.ok("task", "ps", box)
    ctr.ok("task", "kill", "--signal", "KILL", box)
    until(lambda: status(ctr) == "STOPPED", "it has stopped")
    ctr("task", "delete", box)
    assert status(ctr) is None
    ctr.ok("container", "delete", box)


def test_exec(ctr):
    box = start(ctr, "sleep", "1000")
    words = ("task", "exec", "--exec-id")
    assert ctr.ok(*words, "one", box, "cat", "/proc/1/cmdline").split("\0")[0] == "sleep"
    assert ctr(*words, "two", box, "sh", "-c", "exit 9").returncode == 9
    assert ctr.ok(
        *words, "three", "--cwd", "/tmp", "--user", "1000", box, "sh", "-c", "pwd; id -u"
    ).split() == ["/tmp", "1000"]
    failed = ctr(*words, "four", box, "/no/such")
    assert failed.returncode != 0
    assert "no such file or directory" in failed.stderr
    ctr.ok(*words, "five", box, "true")


def test_exec_on_a_terminal(ctr):
    box = start(ctr, "sleep", "1000")
    with ctr.on_terminal("task", "exec", "--tty", "--exec-id", "one", box, "sh") as (terminal, process):
        terminal.expect("# ")
        terminal.type("tty; exit 8\n")
        terminal.expect("/dev/pts/0")
        assert process.wait(30) == 8


def test_attach(ctr):
    """To what another client has begun: on a terminal, and gone without an end."""
    with ctr.on_terminal(*ctr.run("--tty"), "box", "sh") as (first, _):
        first.expect("# ")
        with ctr.on_terminal("task", "attach", "box") as (second, process):
            second.type("echo $((40 + 2)); exit 3\n")
            assert process.wait(30) == 3
    assert status(ctr) in ("STOPPED", None)


def test_checkpoint(ctr):
    box = start(ctr, "sleep", "1000")
    done = ctr("task", "checkpoint", "--exit", box)
    if done.returncode:
        assert "criu" in done.stderr, done
        assert status(ctr) == "RUNNING", "one that fails changes nothing"
        pytest.skip(f"criu can't here: {done.stderr}")
    if ctr.own_shim:  # ctr sends --exit to runtimes of runc's name alone; test_shim_v2 sends it
        assert status(ctr) == "RUNNING"
    else:
        until(lambda: status(ctr) == "STOPPED", "it has ended")
    forget_checkpoints(ctr)


def forget_checkpoints(ctr):
    """The other shim's are the same in part, and containerd refuses what it has."""
    for name in ctr.ok("image", "list", "--quiet").split():
        if "checkpoint" in name or name == "saved":
            ctr.ok("image", "rm", "--sync", name)


def test_pause_and_resume(ctr):
    box = start(ctr, "sleep", "1000")
    ctr.ok("task", "pause", box)
    assert status(ctr) == "PAUSED"
    ctr.ok("task", "resume", box)
    assert status(ctr) == "RUNNING"
    ctr.ok("task", "exec", "--exec-id", "one", box, "true")


@pytest.mark.parametrize("options", [(), ("--all",)])
def test_kill(ctr, options):
    box = start(ctr, "sleep", "1000")
    ctr.ok("task", "kill", *options, "--signal", "SIGKILL", box)
    until(lambda: status(ctr) == "STOPPED", "it has stopped")
    gone = ctr("task", "kill", "--signal", "SIGKILL", box)
    assert gone.returncode == 0 or "not found" in gone.stderr
    ctr.ok("task", "delete", box)
    assert status(ctr) is None


def test_a_signal_that_the_program_handles(ctr):
    with ctr.on_terminal(*ctr.run("--rm"), "box", "sh", "-c", LOOP) as (terminal, process):
        terminal.expect("ready")
        ctr.ok("task", "kill", "--signal", "TERM", "box")
        terminal.expect("got")
        assert process.wait(30) == 5


def test_delete_by_force(ctr):
    box = start(ctr, "sleep", "1000")
    assert ctr("task", "delete", box).returncode != 0
    ctr("task", "delete", "--force", box)
    assert status(ctr) is None


def test_metrics(ctr):
    box = start(ctr, "sleep", "1000")
    data = json.loads(ctr.ok("task", "metrics", "--format", "json", box))
    assert "1" in json.dumps(data.get("pids", data))


def test_what_a_user_sets(ctr, work):
    (work / "file").write_text("bound\n")
    text = ctr.ok(
        *ctr.run(
            "--rm", "--env", "A=b", "--cwd", "/tmp", "--read-only", "--memory-limit", 64 << 20,
            "--mount", f"type=bind,src={work},dst=/data,options=rbind:ro",
        ),
        "box", "sh", "-c", "echo $A; pwd; id -u; cat /data/file; touch /x 2>&1 || true",
    )  # fmt: skip
    lines = text.splitlines()
    assert lines[:4] == ["b", "/tmp", "0", "bound"]
    assert lines[4].endswith("Read-only file system")


def test_the_hosts_network_and_a_joined_namespace(ctr):
    box = start(ctr, "sleep", "1234")
    (pid,) = [line.split()[1] for line in ctr.ok("task", "list").splitlines()[1:]]
    text = ctr.ok(*ctr.run("--rm", "--net-host", "--with-ns", f"pid:/proc/{pid}/ns/pid"), "joined", "ps")
    assert "sleep 1234" in text
    assert status(ctr, box) == "RUNNING"


def test_many_at_once(ctr):
    names = [start(ctr, "sleep", "0.1", name=f"box{n}") for n in range(5)]
    until(lambda: [status(ctr, name) for name in names] == ["STOPPED"] * 5, "all have stopped")
    ctr.ok("task", "delete", *names)
    assert ctr.ok("task", "list", "--quiet") == ""


def test_the_processes_of_a_task(ctr):
    box = start(ctr, "sh", "-c", "sleep 1001 & sleep 1002; true")
    metrics = until(lambda: len(pids_of(ctr, box)) == 3 and ctr.ok("task", "ps", box), "three processes")
    assert set(pids_of(ctr, box)) == {line.split()[0] for line in metrics.splitlines()[1:]}


def pids_of(ctr, box):
    (pid,) = [line.split()[1] for line in ctr.ok("task", "list").splitlines()[1:] if line.split()[0] == box]
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *children]


def test_capabilities_and_seccomp(ctr):
    options = ("--seccomp", "--cap-drop", "CAP_KILL", "--cap-add", "CAP_SYS_TIME", "--allow-new-privs")
    text = ctr.ok(*ctr.run("--rm", *options), "box", "cat", "/proc/self/status")
    fields = dict(line.split(":\t", 1) for line in text.splitlines())
    capabilities = int(fields["CapEff"], 16)
    assert (capabilities >> 5 & 1, capabilities >> 25 & 1) == (0, 1)
    assert (fields["Seccomp"], fields["NoNewPrivs"]) == ("2", "0")


def test_privileged(ctr):
    script = "grep ^Seccomp: /proc/self/status; mount -t tmpfs x /tmp && echo mounted"
    text = ctr.ok(*ctr.run("--rm", "--privileged"), "box", "sh", "-c", script)
    assert text.split() == ["Seccomp:", "0", "mounted"]


def test_a_user_namespace(ctr):
    """The snapshot is copied for it, to other owners."""
    maps = ("--uidmap", "0:100000:5000", "--gidmap", "0:100000:5000")
    script = "cat /proc/self/uid_map; id -u; touch /x && stat -c %u /x"
    text = ctr.ok(*ctr.run("--rm", *maps), "box", "sh", "-c", script)
    assert text.split() == ["0", "100000", "5000", "0", "0"]


def test_a_program_out_of_memory(ctr):
    limit = ("--memory-limit", 16 << 20)
    assert ctr(*ctr.run("--rm", *limit), "box", "sh", "-c", "exec tail /dev/zero").returncode == 137


def test_checkpoint_and_restore(ctr):
    """criu's images become an image of containerd's, from which a container is made again."""
    if shutil.which("criu") is None or subprocess.run(["criu", "check"], capture_output=True).returncode:
        pytest.skip("criu is not installed, or can't do it on this kernel")
    box = start(ctr, "sh", "-c", "i=0; while :; do i=$((i + 1)); echo $i >/count; sleep 0.02; done")
    until(
        lambda: ctr("task", "exec", "--exec-id", "one", box, "test", "-s", "/count").returncode == 0, "counts"
    )
    ctr.ok("container", "checkpoint", "--rw", "--task", "--image", box, "saved", timeout=180)
    ctr("task", "kill", "--signal", "KILL", box)
    until(lambda: status(ctr) == "STOPPED", "it has stopped")
    ctr("task", "delete", box)
    ctr.ok("container", "delete", box)
    ctr.ok("container", "restore", "--rw", "--live", "again", "saved", timeout=180)
    assert status(ctr, "again") == "RUNNING"
    forget_checkpoints(ctr)
