"""podman and conmon call the runtime: `podman --runtime PATH` as a user would type it."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from support import host
from support.bundle import make_rootfs
from support.caller import Caller, own_machine, subordinate_ids
from support.console import set_window_size
from support.waiting import until

IMAGE = "busybox-test"
RUN = ("run", "--network", "none")
LOOP = "trap 'echo got; exit 5' TERM; echo ready; while :; do sleep 0.01; done"


def start(podman, *words, name="box"):
    """A container in the background."""
    podman.ok(*RUN, "--detach", "--name", name, *words)
    return name


def status(podman, name="box"):
    return podman.ok("inspect", "--format", "{{.State.Status}}", name).strip()


def require_exited(podman, name="box"):
    """Until somebody has cleaned up after it, podman or conmon's end, its status is "stopped"."""
    until(lambda: status(podman, name) == "exited", "it has exited")


def test_run_prints_and_removes(podman, runtime_command):
    assert podman.ok(*RUN, "--rm", IMAGE, "echo", "hello") == "hello\n"
    assert podman.ok("ps", "--all", "--quiet") == ""
    info = json.loads(podman.ok("info", "--format", "json"))
    assert info["host"]["ociRuntime"]["path"] == runtime_command


@pytest.mark.parametrize("code", [0, 3, 255])
def test_the_exit_status(podman, code):
    assert podman(*RUN, "--rm", IMAGE, "sh", "-c", f"exit {code}").returncode == code


def test_the_exit_status_of_what_does_not_run(podman):
    """127 for a program that is not there, 126 for one that must not run: made from the error's words."""
    missing = podman(*RUN, "--rm", IMAGE, "/no/such")
    assert missing.returncode == 127, missing
    assert podman(*RUN, "--rm", IMAGE, "no-such").returncode == 127
    denied = podman(*RUN, "--rm", IMAGE, "/etc/passwd")
    assert denied.returncode == 126, denied
    assert "ermission denied" in denied.stderr


def test_standard_input_and_error(podman):
    done = podman(
        *RUN, "--rm", "--interactive", IMAGE, "sh", "-c", "tr a-z A-Z; echo oops >&2", input="hello\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "HELLO\n", "oops\n")


def test_interactive_on_a_terminal(podman):
    with podman.on_terminal(*RUN, "--rm", "-it", IMAGE, "sh") as (terminal, process):
        terminal.expect("# ")
        terminal.type("tty; stty size; echo $((40 + 2))\n")
        terminal.expect("/dev/pts/0")
        terminal.expect("33 111")
        terminal.expect("\n42\r")
        terminal.type("exit 7\n")
        assert process.wait(30) == 7


def test_exec(podman):
    box = start(podman, IMAGE, "sleep", "1000")
    assert podman.ok("exec", box, "cat", "/proc/1/cmdline").split("\0")[:2] == ["sleep", "1000"]
    assert podman("exec", box, "sh", "-c", "exit 9").returncode == 9
    options = ("--env", "A=b", "--workdir", "/tmp", "--user", "1000:7")
    assert podman.ok("exec", *options, box, "sh", "-c", "echo $A; pwd; id -u; id -g").split() == [
        "b",
        "/tmp",
        "1000",
        "7",
    ]
    assert podman.ok("exec", "--interactive", box, "cat", input="through") == "through"
    assert podman("exec", box, "/no/such").returncode == 127
    assert podman("exec", box, "/etc/passwd").returncode == 126


def test_exec_on_a_terminal(podman):
    box = start(podman, IMAGE, "sleep", "1000")
    with podman.on_terminal("exec", "-it", box, "sh") as (terminal, process):
        terminal.expect("# ")
        terminal.type("tty; exit 8\n")
        terminal.expect("/dev/pts/0")
        assert process.wait(30) == 8


def test_exec_detached(podman):
    box = start(podman, IMAGE, "sleep", "1000")
    podman.ok("exec", "--detach", box, "sh", "-c", "sleep 0.1; touch /tmp/done")
    until(lambda: podman("exec", box, "test", "-e", "/tmp/done").returncode == 0, "it has run")


def test_logs(podman):
    start(podman, IMAGE, "sh", "-c", "echo out; echo err >&2")
    podman.ok("wait", "box")
    done = podman("logs", "box")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_logs_followed_to_the_end(podman):
    start(podman, IMAGE, "sh", "-c", "echo one; while [ ! -e /go ]; do sleep 0.02; done; echo two")
    with podman.piped("logs", "--follow", "box") as follower:
        assert follower.stdout.readline() == "one\n"
        podman.ok("exec", "box", "touch", "/go")
        assert follower.stdout.read() == "two\n"
        assert follower.wait(30) == 0


def test_attach_and_detach_by_keys(podman):
    start(podman, "--interactive", "--tty", IMAGE, "sh")
    with podman.on_terminal("attach", "--detach-keys", "ctrl-x", "box") as (terminal, process):
        terminal.type("echo $((40 + 2))\n")
        terminal.expect("\n42\r")
        terminal.type("\x18")
        process.wait(30)
    assert status(podman) == "running"
    with podman.on_terminal("attach", "box") as (terminal, process):
        terminal.type("exit 6\n")
        process.wait(30)
    assert podman.ok("inspect", "--format", "{{.State.ExitCode}}", "box").strip() == "6"


def test_a_terminal_that_changes_its_size(podman):
    """It is told once: the trap has to be there by then. Its first size may be told late."""
    trap = 'stty size; [ "$(stty size)" = "33 111" ] || exit 9'
    script = f"trap '{trap}' WINCH; echo ready; while :; do sleep 0.05; done"
    with podman.on_terminal(*RUN, "--rm", "-it", IMAGE, "sh", "-c", script) as (terminal, process):
        terminal.expect("ready")
        set_window_size(terminal.master, 20, 70)
        terminal.expect("20 70")
        assert process.wait(30) == 9


def test_stop_lets_the_program_end(podman):
    box = start(podman, IMAGE, "sh", "-c", LOOP)
    until(lambda: "ready" in podman.ok("logs", box), "the trap is set")
    podman.ok("stop", "--time", "20", box)
    require_exited(podman)
    assert podman.ok("inspect", "--format", "{{.State.ExitCode}}", box).strip() == "5"
    assert "got" in podman.ok("logs", box)


def test_stop_kills_what_does_not_listen(podman):
    box = start(podman, IMAGE, "sleep", "1000")
    begin = time.monotonic()
    podman.ok("stop", "--time", "1", box)
    assert time.monotonic() - begin < 20
    assert podman.ok("inspect", "--format", "{{.State.ExitCode}}", box).strip() == "137"


def test_kill_and_wait(podman):
    box = start(podman, IMAGE, "sh", "-c", LOOP)
    until(lambda: "ready" in podman.ok("logs", box), "the trap is set")
    podman.ok("kill", "--signal", "TERM", box)
    assert podman.ok("wait", box).strip() == "5"
    assert podman("kill", box).returncode != 0


def test_remove_by_force(podman):
    box = start(podman, IMAGE, "sleep", "1000")
    assert podman("rm", box).returncode != 0
    podman.ok("rm", "--force", "--time", "0", box)
    assert podman.ok("ps", "--all", "--quiet") == ""


def test_pause_and_unpause(podman):
    box = start(podman, IMAGE, "sleep", "1000")
    podman.ok("pause", box)
    assert status(podman) == "paused"
    assert podman("exec", box, "true").returncode != 0
    podman.ok("unpause", box)
    assert status(podman) == "running"
    podman.ok("exec", box, "true")


def test_create_start_attach_restart(podman):
    podman.ok("create", "--network", "none", "--name", "box", IMAGE, "sh", "-c", "echo $(cat /proc/uptime)")
    assert status(podman) == "created"
    first = podman.ok("start", "--attach", "box")
    require_exited(podman)
    second = podman.ok("start", "--attach", "box")
    assert float(first.split()[0]) < float(second.split()[0])


def test_restart(podman):
    box = start(podman, IMAGE, "sh", "-c", "echo begun; exec sleep 1000")
    before = podman.ok("inspect", "--format", "{{.State.Pid}}", box)
    podman.ok("restart", "--time", "0", box)
    assert status(podman) == "running"
    assert podman.ok("inspect", "--format", "{{.State.Pid}}", box) != before
    until(lambda: podman.ok("logs", box) == "begun\n" * 2, "it has run twice")


def test_a_restart_policy(podman):
    """conmon's own end runs `podman container cleanup`, which restarts it."""
    start(podman, "--restart", "on-failure:2", IMAGE, "sh", "-c", "echo again; exit 1")
    until(lambda: podman.ok("logs", "box") == "again\n" * 3, "all runs", 30)
    require_exited(podman)


def test_health(podman):
    """podman's clock for it is systemd's; asked by hand, it is an exec."""
    health = ("--health-cmd", "test -e /well", "--health-interval", "disable", "--health-retries", "1")
    box = start(podman, *health, IMAGE, "sleep", "1000")
    ill = podman("healthcheck", "run", box)
    assert (ill.returncode, "unhealthy" in ill.stdout + ill.stderr) == (1, True), ill
    podman.ok("exec", box, "touch", "/well")
    podman.ok("healthcheck", "run", box)
    assert podman.ok("inspect", "--format", "{{.State.Health.Status}}", box) == "healthy\n"


def test_init_prepared_but_not_started(podman):
    """`podman init` is the runtime's create alone."""
    podman.ok("create", "--network", "none", "--name", "box", IMAGE, "echo", "begun")
    podman.ok("init", "box")
    assert status(podman) == "initialized"
    assert podman.ok("start", "--attach", "box") == "begun\n"


def test_what_a_user_sets(podman, work):
    (work / "file").write_text("bound\n")
    text = podman.ok(
        *RUN, "--rm", "--hostname", "name", "--env", "A=b", "--workdir", "/tmp", "--user", "1000:1000",
        "--volume", f"{work}:/data:ro", "--tmpfs", "/scratch:size=1m", "--read-only", "--pids-limit", "50",
        "--memory", "64m", "--memory-swap", "64m", "--cap-drop", "all", "--cap-add", "kill",
        "--security-opt", "no-new-privileges", "--shm-size", "1m", "--device", "/dev/zero:/dev/nil:r",
        "--sysctl", "net.ipv4.ip_forward=1", "--oom-score-adj", "100", "--umask", "0077", "--group-add", "7",
        IMAGE, "sh", "-c",
        "hostname; echo $A; pwd; id -u; cat /data/file; touch /data/x 2>&1; touch /x 2>&1; touch /scratch/x; "
        "grep -E 'NoNewPrivs|CapBnd' /proc/self/status; head -c1 /dev/nil | wc -c; "
        "cat /proc/sys/net/ipv4/ip_forward /proc/self/oom_score_adj; umask; id -G",
    )  # fmt: skip
    lines = text.splitlines()
    assert lines[:5] == ["name", "b", "/tmp", "1000", "bound"]
    assert lines[5].endswith("Read-only file system") and lines[6].endswith("Read-only file system")
    assert lines[7].split() == ["CapBnd:", f"{1 << 5:016x}"]
    assert lines[8].split() == ["NoNewPrivs:", "1"]
    assert lines[9:13] == ["1", "1", "100", "0077"]
    assert "7" in lines[13].split()


def test_the_default_seccomp_profile_is_loaded(podman):
    text = podman.ok(
        *RUN, "--rm", IMAGE, "sh", "-c", "grep ^Seccomp: /proc/self/status; mkdir /x && echo made"
    )
    assert text.split() == ["Seccomp:", "2", "made"]


def test_privileged(podman):
    text = podman.ok(
        *RUN,
        "--rm",
        "--privileged",
        IMAGE,
        "sh",
        "-c",
        "grep ^Seccomp: /proc/self/status; mount -t tmpfs x /tmp && echo mounted",
    )
    assert text.split() == ["Seccomp:", "0", "mounted"]


def test_namespaces_of_another_container(podman):
    start(podman, "--ipc", "shareable", IMAGE, "sleep", "1234")
    joined = ("--pid", "container:box", "--ipc", "container:box")
    text = podman.ok("run", "--rm", "--network", "container:box", *joined, IMAGE, "ps")
    assert "sleep 1234" in text


def test_the_hosts_namespaces(podman):
    text = podman.ok(
        "run", "--rm", "--network", "host", "--pid", "host", "--ipc", "host", "--uts", "host", IMAGE,
        "sh", "-c", "for ns in net pid ipc uts; do readlink /proc/self/ns/$ns; done",
    )  # fmt: skip
    assert text.split() == [os.readlink(f"/proc/self/ns/{ns}") for ns in ("net", "pid", "ipc", "uts")]


def test_a_user_namespace(podman):
    text = podman.ok(
        *RUN,
        "--rm",
        "--uidmap",
        "0:100000:5000",
        "--gidmap",
        "0:100000:5000",
        IMAGE,
        "cat",
        "/proc/self/uid_map",
    )
    assert text.split() == ["0", "100000", "5000"]


def test_users_of_a_range_that_podman_chooses(podman, work):
    """`--userns=auto` takes the ranges of the user `containers` in /etc/subuid."""
    with own_machine(*subordinate_ids(work, "containers")) as machine:
        inside = Caller([*machine, *podman.base], podman.env)
        text = inside.ok(*RUN, "--rm", "--userns=auto:size=5000", IMAGE, "cat", "/proc/self/uid_map")
        first, second = (
            inside.ok(*RUN, "--detach", "--userns=auto", "--name", name, IMAGE, "sleep", "1000")
            for name in ("one", "two")
        )
        assert first != second
        maps = [inside.ok("exec", name, "cat", "/proc/self/uid_map").split() for name in ("one", "two")]
        inside.ok("stop", "--time", "0", "one", "two")  # which waits for podman's own clean-up, as rm doesn't
        inside.ok("rm", "one", "two")
    assert text.split() == ["0", "1000000", "5000"]
    assert maps[0][1] != maps[1][1]


def test_an_init_inside(podman):
    if shutil.which("catatonit") is None:
        pytest.skip("catatonit is not installed")
    orphan = "(sleep 0.05 & exec true); touch /ready; exec sleep 1000"
    box = start(podman, "--init", "--init-path", shutil.which("catatonit"), IMAGE, "sh", "-c", orphan)
    until(lambda: podman("exec", box, "test", "-e", "/ready").returncode == 0, "it is ready")
    assert podman.ok("exec", box, "cat", "/proc/1/cmdline").split("\0")[0] == "/run/podman-init"
    until(lambda: len(podman.ok("top", box, "pid").splitlines()) == 3, "the orphan is reaped")
    podman.ok("stop", "--time", "10", box)
    assert podman.ok("inspect", "--format", "{{.State.ExitCode}}", box).strip() == str(128 + 15)


@pytest.fixture
def pods(podman):
    """podman where it can make pods. On cgroup v2, the cgroup that podman 4.3 itself makes for one denies all
    devices, so that /dev/null can't be made or opened in it, by any runtime; systemd's doesn't."""
    if shutil.which("catatonit") is None:
        pytest.skip("catatonit is not installed: the pod's first container is made from it")
    if not host.PURE_CGROUP2:
        return podman
    if not host.HAS_SYSTEMD:
        pytest.skip("podman's own cgroups of pods deny all devices on cgroup v2, and there is no systemd")
    return Caller([*podman.base, "--cgroup-manager", "systemd"], podman.env)


def test_a_pod_shares_namespaces(pods):
    podman = pods
    podman.ok("pod", "create", "--name", "pod", "--network", "none", "--share", "net,ipc,uts,pid")
    try:
        for name in ("one", "two"):
            podman.ok("run", "--detach", "--pod", "pod", "--name", name, IMAGE, "sleep", "1000")
        links = "for ns in net ipc uts pid mnt; do readlink /proc/self/ns/$ns; done"
        one, two = (podman.ok("exec", name, "sh", "-c", links).split() for name in ("one", "two"))
        assert one[:4] == two[:4] and one[4] != two[4]
        assert podman.ok("exec", "one", "ps").count("sleep 1000") == 2
        podman.ok("pod", "pause", "pod")
        assert {status(podman, "one"), status(podman, "two")} == {"paused"}
        podman.ok("pod", "unpause", "pod")
        assert podman.ok("pod", "top", "pod", "args").count("sleep 1000") == 2
        podman.ok("kill", "two")
        require_exited(podman, "two")
        assert status(podman, "one") == "running"
        podman.ok("pod", "restart", "pod")
        assert {status(podman, "one"), status(podman, "two")} == {"running"}
        podman.ok("pod", "stop", "--time", "0", "pod")
        require_exited(podman, "one")
    finally:
        podman.ok("pod", "rm", "--force", "--time", "0", "pod")
        podman("image", "prune", "--all", "--force", "--filter", "label=io.buildah.version")


def test_build(podman, work):
    """buildah within podman: a container for each RUN."""
    (work / "Containerfile").write_text(
        f"FROM {IMAGE}\nARG WHO\nRUN echo built for $WHO >/file && id -u >>/file\nUSER 1000\n"
        'RUN id -u >/tmp/user\nENTRYPOINT ["cat", "/file", "/tmp/user"]\n'
    )
    podman.ok("build", "--network", "none", "--tag", "made", "--build-arg", "WHO=you", work, timeout=120)
    try:
        assert podman.ok(*RUN, "--rm", "made") == "built for you\n0\n1000\n"
    finally:
        podman.ok("image", "rm", "made")


def test_a_root_filesystem_without_an_image(podman, work):
    rootfs = make_rootfs(work / "rootfs")
    assert podman.ok(*RUN, "--rm", "--rootfs", rootfs, "echo", "hello") == "hello\n"


def test_copies_and_differences(podman, work):
    box = start(podman, IMAGE, "sleep", "1000")
    (work / "file").write_text("copied\n")
    podman.ok("cp", work / "file", f"{box}:/tmp/file")
    assert podman.ok("exec", box, "cat", "/tmp/file") == "copied\n"
    assert "A /tmp/file" in podman.ok("diff", box).splitlines()


def test_a_seccomp_profile_of_the_users(podman, work):
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}],
    }
    (work / "profile.json").write_text(json.dumps(profile))
    option = f"seccomp={work}/profile.json"
    text = podman.ok(*RUN, "--rm", "--security-opt", option, IMAGE, "sh", "-c", "mkdir /x 2>&1 || true")
    assert text.endswith("Function not implemented\n")


def test_out_of_memory(podman):
    start(podman, "--memory", "16m", "--memory-swap", "16m", IMAGE, "sh", "-c", "tail /dev/zero")
    podman.ok("wait", "box")
    assert podman.ok("inspect", "--format", "{{.State.ExitCode}}", "box").strip() == "137"


def test_a_pod_without_an_infra_container(podman):
    podman.ok("pod", "create", "--infra=false", "--name", "pod")
    try:
        assert podman.ok(*RUN, "--rm", "--pod", "pod", IMAGE, "echo", "hello") == "hello\n"
    finally:
        podman.ok("pod", "rm", "--force", "pod")


def test_top_and_stats(podman):
    box = start(podman, IMAGE, "sleep", "1000")
    assert "sleep 1000" in podman.ok("top", box, "args")
    stats = json.loads(podman.ok("stats", "--no-stream", "--format", "json", box))
    assert stats[0]["pids"] == "1"


def test_update(podman):
    box = start(podman, "--pids-limit", "70", IMAGE, "sleep", "1000")
    podman.ok("update", "--memory", "64m", "--cpus", "0.5", box)
    pid = podman.ok("inspect", "--format", "{{.State.Pid}}", box).strip()
    cgroup = dict(line.split(":")[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    path = (
        f"/sys/fs/cgroup/memory{cgroup['memory']}/memory.limit_in_bytes"
        if "memory" in cgroup
        else (f"/sys/fs/cgroup{cgroup['']}/memory.max")
    )
    assert Path(path).read_text().strip() == str(64 << 20)


def test_preserved_descriptors(podman, work):
    (work / "file").write_text("preserved\n")
    base = podman.base
    podman.base = ["bash", "-c", f'exec 3<{work}/file "$@"', "bash", *base]
    try:
        assert podman.ok(*RUN, "--rm", "--preserve-fds", "1", IMAGE, "sh", "-c", "cat <&3") == "preserved\n"
    finally:
        podman.base = base


def test_many_at_once(podman):
    names = [start(podman, IMAGE, "sh", "-c", f"exit {n}", name=f"box{n}") for n in range(5)]
    assert podman.ok("wait", *names).split() == ["0", "1", "2", "3", "4"]


def test_checkpoint_and_restore(podman):
    if shutil.which("criu") is None or subprocess.run(["criu", "check"], capture_output=True).returncode:
        pytest.skip("criu is not installed, or can't do it on this kernel")
    start(podman, IMAGE, "sh", "-c", "i=0; while :; do i=$((i + 1)); echo $i >/count; sleep 0.02; done")

    def count():
        return int(podman.ok("exec", "box", "cat", "/count").strip() or 0)

    until(lambda: podman("exec", "box", "test", "-s", "/count").returncode == 0, "it counts", 60)
    before = count()
    podman.ok("container", "checkpoint", "box", timeout=180)
    require_exited(podman)
    podman.ok("container", "restore", "box", timeout=180)
    assert status(podman) == "running"
    until(lambda: count() > before, "it counts on", 60)
