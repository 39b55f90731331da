"""Docker Engine calls the runtime, by containerd and its shim: `docker run` as a user would type it, with
pyrunc the daemon's default runtime."""

import json
import os
import time
from pathlib import Path

import pytest
from support import host
from support.bundle import BUSYBOX
from support.caller import Caller
from support.waiting import until

IMAGE = "busybox-test"
RUN = ("run", "--network", "none")
CAP_SYS_ADMIN = 1 << 21
LOOP = "trap 'echo got; exit 5' TERM; echo ready; while :; do sleep 0.01; done"


def start(docker, *words, name="box"):
    """A container in the background."""
    docker.ok(*RUN, "--detach", "--name", name, *words)
    return name


def inspect(docker, what, name="box"):
    return docker.ok("inspect", "--format", "{{" + what + "}}", name).strip()


def status(docker, name="box"):
    return inspect(docker, ".State.Status", name)


def setting(docker, controller, v1, v2, name="box"):
    """A file of the container's cgroup, by its name in either version, as the kernel has it."""
    lines = Path(f"/proc/{inspect(docker, '.State.Pid', name)}/cgroup").read_text().splitlines()
    cgroups = dict(line.split(":", 2)[1:] for line in lines)
    for controllers, path in cgroups.items():
        if controller in controllers.split(","):
            return Path(host.CGROUP1[controller], path.strip("/"), v1).read_text().strip()
    return Path(f"{host.CGROUP2}{cgroups['']}", v2).read_text().strip()


def test_the_daemon_knows_it(docker, runtime_command):
    info = json.loads(docker.ok("info", "--format", "{{json .}}"))
    assert info["Runtimes"]["pyrunc"]["path"] == runtime_command
    assert info["DefaultRuntime"] == "pyrunc"


def test_run_prints_and_removes(docker):
    assert docker.ok(*RUN, "--rm", "--name", "box", IMAGE, "echo", "hello") == "hello\n"
    assert docker.ok("ps", "--all", "--quiet") == ""


def test_it_is_the_runtime_that_runs(docker):
    box = start(docker, IMAGE, "sleep", "1000")
    assert inspect(docker, ".HostConfig.Runtime", box) == "pyrunc"


@pytest.mark.parametrize("code", [0, 3, 255])
def test_the_exit_status(docker, code):
    assert docker(*RUN, "--rm", IMAGE, "sh", "-c", f"exit {code}").returncode == code


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        ("/no/such", 127, "no such file or directory"),
        ("no-such", 127, "executable file not found"),
        ("/etc/passwd", 126, "permission denied"),
    ],
)
def test_the_exit_status_of_what_does_not_run(docker, program, code, words):
    """The daemon makes 126 and 127 from the error's words."""
    done = docker(*RUN, "--rm", IMAGE, program)
    assert done.returncode == code, done
    assert words in done.stderr
    assert docker.ok("ps", "--all", "--quiet", "--filter", "status=running") == ""


def test_a_file_mounted_on_a_directory(docker, work):
    """Where the words match, the daemon adds a hint of its own."""
    (work / "file").write_text("")
    done = docker(*RUN, "--rm", "--volume", f"{work}/file:/tmp", IMAGE, "true")
    assert done.returncode in (125, 127), done
    assert "Are you trying to mount a directory onto a file" in done.stderr


def test_standard_input_and_error(docker):
    script = "tr a-z A-Z; echo oops >&2"
    done = docker(*RUN, "--rm", "--interactive", IMAGE, "sh", "-c", script, input="hello\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "HELLO\n", "oops\n")


def test_interactive_on_a_terminal(docker):
    with docker.on_terminal(*RUN, "--rm", "-it", IMAGE, "sh") as (terminal, process):
        terminal.expect("# ")
        terminal.type("tty; echo $((40 + 2))\n")
        terminal.expect("/dev/pts/0")
        terminal.expect("\n42\r")
        terminal.type("until [ \"$(stty size)\" = '33 111' ]; do sleep 0.02; done; echo si''zed\n")
        terminal.expect("sized")
        terminal.type("exit 7\n")
        assert process.wait(30) == 7


def test_exec(docker):
    box = start(docker, IMAGE, "sleep", "1000")
    assert docker.ok("exec", box, "cat", "/proc/1/cmdline").split("\0")[:2] == ["sleep", "1000"]
    assert docker("exec", box, "sh", "-c", "exit 9").returncode == 9
    options = ("--env", "A=b", "--workdir", "/tmp", "--user", "1000:7")
    text = docker.ok("exec", *options, box, "sh", "-c", "echo $A; pwd; id -u; id -g")
    assert text.split() == ["b", "/tmp", "1000", "7"]
    assert docker.ok("exec", "--interactive", box, "cat", input="through") == "through"
    capabilities = docker.ok("exec", "--privileged", box, "grep", "^CapEff", "/proc/self/status").split()[1]
    assert int(capabilities, 16) & CAP_SYS_ADMIN


@pytest.mark.parametrize(
    ("program", "code"), [("/no/such", (126, 127)), ("no-such", (126, 127)), ("/etc/passwd", (126,))]
)
def test_exec_of_what_does_not_run(docker, program, code):
    box = start(docker, IMAGE, "sleep", "1000")
    done = docker("exec", box, program)
    assert done.returncode in code, done
    assert "exec failed" in done.stdout + done.stderr
    assert docker("exec", box, "true").returncode == 0


def test_exec_on_a_terminal_and_detached(docker):
    box = start(docker, IMAGE, "sleep", "1000")
    with docker.on_terminal("exec", "-it", box, "sh") as (terminal, process):
        terminal.expect("# ")
        terminal.type("tty; exit 8\n")
        terminal.expect("/dev/pts/0")
        assert process.wait(30) == 8
    docker.ok("exec", "--detach", box, "touch", "/tmp/done")
    until(lambda: docker("exec", box, "test", "-e", "/tmp/done").returncode == 0, "it has run")


def test_logs(docker):
    start(docker, IMAGE, "sh", "-c", "echo out; echo err >&2")
    docker.ok("wait", "box")
    done = docker("logs", "box")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_logs_followed_to_the_end(docker):
    start(docker, IMAGE, "sh", "-c", "echo one; while [ ! -e /go ]; do sleep 0.02; done; echo two")
    with docker.piped("logs", "--follow", "box") as follower:
        assert follower.stdout.readline() == "one\n"
        docker.ok("exec", "box", "touch", "/go")
        assert follower.stdout.read() == "two\n"
        assert follower.wait(30) == 0


def test_attach(docker):
    docker.ok("create", "--network", "none", "--interactive", "--name", "box", IMAGE, "sh")
    with docker.piped("start", "--attach", "--interactive", "box") as first:
        first.stdin.write("echo $((40 + 2)); exit 4\n")
        first.stdin.flush()
        assert first.stdout.readline() == "42\n"
        assert first.wait(30) == 4


def test_attach_and_detach_by_keys(docker):
    start(docker, "--interactive", "--tty", IMAGE, "sh")
    with docker.on_terminal("attach", "--detach-keys", "ctrl-x", "box") as (terminal, process):
        terminal.type("echo $((40 + 2))\n")
        terminal.expect("\n42\r")
        terminal.type("\x18")
        process.wait(30)
    assert status(docker) == "running"


def test_stop_lets_the_program_end(docker):
    box = start(docker, IMAGE, "sh", "-c", LOOP)
    until(lambda: "ready" in docker.ok("logs", box), "the trap is set")
    docker.ok("stop", "--time", "20", box)
    assert (status(docker), inspect(docker, ".State.ExitCode")) == ("exited", "5")
    assert "got" in docker.ok("logs", box)


def test_stop_kills_what_does_not_listen(docker):
    box = start(docker, IMAGE, "sleep", "1000")
    docker.ok("stop", "--time", "1", box)
    assert (status(docker), inspect(docker, ".State.ExitCode")) == ("exited", "137")


def test_kill_and_wait(docker):
    box = start(docker, IMAGE, "sh", "-c", LOOP)
    until(lambda: "ready" in docker.ok("logs", box), "the trap is set")
    docker.ok("kill", "--signal", "TERM", box)
    assert docker.ok("wait", box).strip() == "5"
    assert "is not running" in docker("kill", box).stderr


def test_pause_and_unpause(docker):
    box = start(docker, IMAGE, "sleep", "1000")
    docker.ok("pause", box)
    assert status(docker) == "paused"
    assert "is paused" in docker("exec", box, "true").stderr
    docker.ok("unpause", box)
    docker.ok("exec", box, "true")


def test_restart_and_remove_by_force(docker):
    box = start(docker, IMAGE, "sleep", "1000")
    before = inspect(docker, ".State.Pid")
    docker.ok("restart", "--time", "0", box)
    assert (status(docker), before != inspect(docker, ".State.Pid")) == ("running", True)
    assert docker("rm", box).returncode != 0
    docker.ok("rm", "--force", box)
    assert docker.ok("ps", "--all", "--quiet") == ""


def test_a_restart_policy(docker):
    start(docker, "--restart", "on-failure:2", IMAGE, "sh", "-c", "echo again; exit 1")
    until(lambda: inspect(docker, ".RestartCount") == "2" and status(docker) == "exited", "all runs", 30)
    assert docker.ok("logs", "box") == "again\n" * 3


def test_top_and_stats(docker):
    box = start(docker, IMAGE, "sleep", "1000")
    assert "sleep 1000" in docker.ok("top", box)
    stats = json.loads(docker.ok("stats", "--no-stream", "--format", "{{json .}}", box))
    assert stats["PIDs"] == "1"


def test_limits_and_their_update(docker):
    limits = ("--memory", "64m", "--memory-swap", "64m", "--pids-limit", "50", "--cpus", "0.5")
    box = start(docker, *limits, IMAGE, "sleep", "1000")
    assert setting(docker, "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert setting(docker, "pids", "pids.max", "pids.max") == "50"
    assert setting(docker, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"
    update = ("--memory", "96m", "--memory-swap", "96m", "--pids-limit", "60", "--cpus", "0.25")
    docker.ok("update", *update, box)
    assert setting(docker, "memory", "memory.limit_in_bytes", "memory.max") == str(96 << 20)
    assert setting(docker, "pids", "pids.max", "pids.max") == "60"
    assert setting(docker, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "25000"


def test_out_of_memory(docker):
    """Of one process of several: containerd's shim is silent of a cgroup that has gone with it."""
    limits = ("--memory", "16m", "--memory-swap", "16m")
    start(docker, *limits, IMAGE, "sh", "-c", "tail /dev/zero; sleep 1000")
    events = ("events", "--since", "1h", "--filter", "event=oom", "--format", "{{.Actor.Attributes.name}}")
    until(lambda: "box" in docker.ok(*events, "--until", str(time.time())), "the daemon has heard of it")
    docker.ok("kill", "box")
    docker.ok("wait", "box")
    assert inspect(docker, ".State.OOMKilled") == "true"


def test_what_a_user_sets(docker, work):
    (work / "file").write_text("bound\n")
    text = docker.ok(
        *RUN, "--rm", "--hostname", "name", "--env", "A=b", "--workdir", "/tmp", "--user", "1000:1000",
        "--volume", f"{work}:/data:ro", "--tmpfs", "/scratch:size=1m,mode=1777", "--read-only",
        "--cap-drop", "all", "--cap-add", "kill", "--security-opt", "no-new-privileges", "--shm-size", "1m",
        "--device", "/dev/zero:/dev/nil:r", "--sysctl", "net.ipv4.ip_forward=1", "--group-add", "7",
        "--ulimit", "nofile=100:200", "--add-host", "there:192.0.2.1", "--oom-score-adj", "100",
        IMAGE, "sh", "-c",
        "hostname; echo $A; pwd; id -u; cat /data/file; touch /data/x 2>&1; touch /x 2>&1; touch /scratch/x; "
        "grep -E 'NoNewPrivs|CapBnd|^Seccomp:' /proc/self/status; head -c1 /dev/nil | wc -c; "
        "cat /proc/sys/net/ipv4/ip_forward /proc/self/oom_score_adj; id -G; ulimit -n; ulimit -Hn; "
        "df -k /dev/shm | tail -1; grep there /etc/hosts",
    )  # fmt: skip
    lines = text.splitlines()
    assert lines[:5] == ["name", "b", "/tmp", "1000", "bound"]
    assert lines[5].endswith("Read-only file system") and lines[6].endswith("Read-only file system")
    assert [line.split()[1] for line in lines[7:10]] == [f"{1 << 5:016x}", "1", "2"]
    assert lines[10:13] == ["1", "1", "100"]
    assert "7" in lines[13].split()
    assert lines[14:16] == ["100", "200"]
    assert lines[16].split()[1] == "1024"
    assert lines[17].split() == ["192.0.2.1", "there"]


def test_privileged(docker):
    text = docker.ok(
        *RUN, "--rm", "--privileged", IMAGE, "sh", "-c",
        "grep -E '^Seccomp:|^CapEff' /proc/self/status; mount -t tmpfs x /tmp && echo mounted",
    )  # fmt: skip
    assert int(text.split()[1], 16) & CAP_SYS_ADMIN
    assert text.split()[2:] == ["Seccomp:", "0", "mounted"]


def test_an_init_inside(docker):
    orphan = "(sleep 0.05 & exec true); touch /ready; exec sleep 1000"
    box = start(docker, "--init", IMAGE, "sh", "-c", orphan)
    until(lambda: docker("exec", box, "test", "-e", "/ready").returncode == 0, "it is ready")
    assert "docker-init" in docker.ok("exec", box, "cat", "/proc/1/comm", "/proc/1/cmdline")
    until(lambda: len(docker.ok("top", box).splitlines()) == 3, "the orphan is reaped")
    assert " Z " not in docker.ok("exec", box, "ps", "-o", "pid,stat,args")


def test_health(docker):
    """The daemon asks by exec; its own clock decides when."""
    start(docker, "--health-cmd", "test -e /well", "--health-interval", "100ms", IMAGE, "sleep", "1000")
    docker.ok("exec", "box", "touch", "/well")
    until(lambda: inspect(docker, ".State.Health.Status") == "healthy", "it is well", 20)


def test_a_published_port(docker):
    docker.ok(
        "run", "--detach", "--name", "box", "--publish", "127.0.0.1:8080:80", "--volume", "/www", IMAGE,
        "sh", "-c", "echo served >/www/index.html; exec httpd -f -p 80 -h /www",
    )  # fmt: skip
    fetch = Caller([*docker.machine, BUSYBOX, "wget", "-q", "-O", "-"], {})
    until(lambda: fetch("http://127.0.0.1:8080/").stdout == "served\n", "it is served", 20)


def test_containers_of_one_network_reach_each_other(docker):
    docker.ok("network", "create", "net")
    try:
        script = "mkdir /www; echo served >/www/index.html; exec httpd -f -p 80 -h /www"
        docker.ok("run", "--detach", "--name", "box", "--network", "net", IMAGE, "sh", "-c", script)
        address = inspect(docker, ".NetworkSettings.Networks.net.IPAddress")
        words = ("run", "--rm", "--network", "net", IMAGE, "sh", "-c")
        fetch = f"until wget -q -O - http://{address}/; do sleep 0.05; done"
        answer = docker.ok(*words, f"{fetch}; nslookup box")
        assert answer.startswith("served\n") and f"Address: {address}\n" in answer
    finally:
        docker.ok("rm", "--force", "box")
        docker.ok("network", "rm", "net")


def test_namespaces_of_another_container(docker):
    start(docker, "--ipc", "shareable", IMAGE, "sleep", "1234")
    joined = ("--pid", "container:box", "--ipc", "container:box", "--network", "container:box")
    assert "sleep 1234" in docker.ok("run", "--rm", *joined, IMAGE, "ps")
    assert status(docker) == "running"


def test_the_hosts_namespaces(docker):
    script = "for ns in pid uts ipc; do readlink /proc/self/ns/$ns; done"
    options = ("--pid", "host", "--uts", "host", "--ipc", "host", "--network", "host")
    text = docker.ok("run", "--rm", *options, IMAGE, "sh", "-c", script)
    assert text.split() == [os.readlink(f"/proc/self/ns/{ns}") for ns in ("pid", "uts", "ipc")]


def test_volumes_and_copies(docker, work):
    docker.ok("volume", "create", "data")
    try:
        docker.ok(*RUN, "--rm", "--volume", "data:/data", IMAGE, "sh", "-c", "echo kept >/data/file")
        start(docker, "--volume", "data:/data:ro", IMAGE, "sleep", "1000")
        docker.ok("cp", "box:/data/file", work / "copy")
        assert (work / "copy").read_text() == "kept\n"
        (work / "copy").write_text("back\n")
        docker.ok("cp", work / "copy", "box:/tmp/file")
        assert docker.ok("exec", "box", "cat", "/tmp/file") == "back\n"
    finally:
        docker.ok("rm", "--force", "box")
        docker.ok("volume", "rm", "data")


def test_build(docker, work):
    """The builder of the daemon itself: a container for each RUN."""
    (work / "Dockerfile").write_text(
        f"FROM {IMAGE}\nARG WHO\nRUN echo built for $WHO >/file && id -u >>/file\nUSER 1000\n"
        'RUN id -u >/tmp/user\nENTRYPOINT ["cat", "/file", "/tmp/user"]\n'
    )
    docker.ok("build", "--network", "none", "--tag", "made", "--build-arg", "WHO=you", work, timeout=120)
    try:
        assert docker.ok(*RUN, "--rm", "made") == "built for you\n0\n1000\n"
    finally:
        docker.ok("image", "rm", "made")


def test_a_build_that_fails(docker, work):
    (work / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN exit 6\n")
    done = docker("build", "--network", "none", "--force-rm", work)
    assert done.returncode != 0
    assert "returned a non-zero code: 6" in done.stderr
    docker.ok("image", "prune", "--force")


def test_many_at_once(docker):
    names = [start(docker, IMAGE, "sh", "-c", f"exit {n}", name=f"box{n}") for n in range(5)]
    assert docker.ok("wait", *names).split() == ["0", "1", "2", "3", "4"]
