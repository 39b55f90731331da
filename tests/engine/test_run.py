"""`docker run`: the command line as users type it, facts printed by the container."""

from __future__ import annotations

import pytest
from support.engine import IMAGE

RUN = ("run", "--rm", "--network", "none")


def test_it_prints_and_is_gone(docker):
    assert docker.ok(*RUN, IMAGE, "echo", "hello") == "hello\n"
    assert docker.ok("ps", "-aq") == ""


def test_both_streams_are_told_apart(docker):
    done = docker.docker(*RUN, IMAGE, "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_input_is_passed_on_and_ends(docker):
    assert docker.ok(*RUN, "-i", IMAGE, "cat", input="some\ninput") == "some\ninput"


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("sh", "-c", "exit 7"), 7, ""),
        (("sh", "-c", "sleep 100 & kill -9 $!; wait $!"), 137, ""),
        (("nothing-of-that-name",), 127, "executable file not found in $PATH"),
        (("/etc/passwd",), 126, "permission denied"),
    ],
)
def test_exit_codes(docker, words, code, sentence):
    done = docker.docker(*RUN, IMAGE, *words)
    assert done.returncode == code, done.stderr
    assert sentence in done.stderr
    assert docker.ok("ps", "-aq") == ""


def test_a_missing_image_is_said_and_not_there(docker):
    assert "nothing-of-that-name" in docker.fails(*RUN, "--pull", "never", "nothing-of-that-name", code=125)


@pytest.mark.parametrize(
    ("flags", "script", "wanted"),
    [
        (("-e", "A=b", "-w", "/tmp", "--hostname", "box"), "echo $A $(pwd) $(hostname)", "b /tmp box"),
        (("-u", "bob"), "id", "uid=1000(bob) gid=1000(bob) groups=10(wheel),1000(bob)"),
        (("-u", "5:6", "--group-add", "wheel"), "id", "uid=5 gid=6 groups=6,10(wheel)"),
        (("--entrypoint", "echo"), "", ""),
        (("--ulimit", "nofile=100:200"), "ulimit -n; ulimit -Hn", "100\n200"),
        (("--read-only",), "touch /x 2>&1 || true", "touch: /x: Read-only file system"),
        (("--tmpfs", "/t:size=1m"), "df -k /t | tail -1 | awk '{print $2}'", "1024"),
        (("--shm-size", "2m"), "df -k /dev/shm | tail -1 | awk '{print $2}'", "2048"),
        (("--add-host", "far:10.1.2.3"), "grep far /etc/hosts", "10.1.2.3\tfar"),
        (
            ("--dns", "10.9.8.7", "--dns-search", "x.y"),
            "cat /etc/resolv.conf",
            "nameserver 10.9.8.7\nsearch x.y",
        ),
        (("--init",), "cat /proc/1/comm", "pyrunc-init"),
        (("--cap-drop", "ALL"), "grep CapEff /proc/self/status", "CapEff:\t0000000000000000"),
        (
            ("--cap-drop", "ALL", "--cap-add", "chown"),
            "grep CapEff /proc/self/status",
            "CapEff:\t0000000000000001",
        ),
        (("--security-opt", "no-new-privileges"), "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1"),
        (("--security-opt", "seccomp=unconfined"), "grep Seccomp: /proc/self/status", "Seccomp:\t0"),
        ((), "grep Seccomp: /proc/self/status", "Seccomp:\t2"),
        (("--device", "/dev/loop-control:/dev/lc"), "ls /dev/lc", "/dev/lc"),
        (("--pid", "host"), "test $(ls -d /proc/[0-9]* | wc -l) -gt 3 && echo many", "many"),
        (("--uts", "host"), "hostname", None),
        (("--ipc", "host"), "readlink /proc/self/ns/ipc", None),
    ],
)
def test_a_flag_reaches_the_container(docker, flags, script, wanted):
    words = ("sh", "-c", script) if script else ()
    got = docker.ok(*RUN, *flags, IMAGE, *words).rstrip("\n")
    if wanted is None:
        wanted = (
            __import__("os").uname().nodename
            if "--uts" in flags
            else __import__("os").readlink("/proc/self/ns/ipc")
        )
    assert got == wanted


def test_limits_are_in_the_cgroup(docker):
    flags = ("-m", "64m", "--cpus", "0.5", "--pids-limit", "50")
    docker.ok("run", "-d", "--name", "box", "--network", "none", *flags, IMAGE, "sleep", "1000")
    host = docker.inspect("box")["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (64 << 20, 500_000_000, 50)
    pid = docker.inspect("box")["State"]["Pid"]
    assert setting(pid, "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert setting(pid, "pids", "pids.max", "pids.max") == "50"
    docker.ok("update", "-m", "32m", "--memory-swap", "64m", "box")
    assert setting(pid, "memory", "memory.limit_in_bytes", "memory.max") == str(32 << 20)


def setting(pid: int, controller: str, v1: str, v2: str) -> str:
    for line in open(f"/proc/{pid}/cgroup").read().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return open(f"/sys/fs/cgroup/{controller}{path}/{v1}").read().strip()
        if not names:
            unified = path
    return open(f"/sys/fs/cgroup{unified}/{v2}").read().strip()


def test_privileged_has_the_devices_and_no_filter(docker):
    script = "grep Seccomp: /proc/self/status; ls /dev | wc -l; touch /sys/x 2>&1 | grep -c Read-only || true"
    filtered, devices, readonly = docker.ok(*RUN, "--privileged", IMAGE, "sh", "-c", script).split("\n")[:3]
    assert (filtered, readonly) == ("Seccomp:\t0", "0")
    assert int(devices) > 20


def test_names_are_judged_and_taken_once(docker):
    assert "only [a-zA-Z0-9]" in docker.fails("create", "--name", "a!", IMAGE)
    docker.ok("create", "--name", "box", IMAGE)
    assert 'container name "/box" is already in use' in docker.fails("create", "--name", "box", IMAGE)
    docker.ok("rename", "box", "other")
    assert docker.ok("ps", "-a", "--format", "{{.Names}}") == "other\n"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--gpus", "all"), "--gpus"),
        (("--memory", "1m"), "Minimum memory limit allowed is 6MB"),
        (("--log-driver", "syslog"), "no log driver named 'syslog'"),
        (("--runtime", "none-such"), "unknown or invalid runtime name"),
        (("--cap-add", "nothing"), "invalid capability"),
        (("--security-opt", "what=ever"), "security-opt"),
        (("-v", "a/b:/c"), "includes invalid characters"),
        (("--mount", "type=bind,src=/none/such,dst=/x"), "bind source path does not exist"),
        (("--network", "none-such"), "network none-such not found"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(docker, flags, sentence):
    assert sentence in docker.fails("run", "--rm", *flags, IMAGE, "true", code=125)
    assert docker.ok("ps", "-aq") == ""
