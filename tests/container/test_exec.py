"""exec: every option, exit codes, and what a second process shares with the first."""

import json
import os
import signal
import subprocess

import pytest
from support import leaks
from support.facts import capabilities, fields
from support.host import needs_cgroup1
from support.marks import deviation
from support.waiting import until


@pytest.mark.parametrize("status", [0, 1, 42, 127, 254])
def test_the_exit_status_is_the_commands(runtime, running, status):
    done = runtime.exec(running, "sh", "-c", f"exit {status}")
    assert done.returncode == status, done
    assert done.stderr == ""


@pytest.mark.parametrize("number", [9, 15])
def test_a_command_killed_by_a_signal_is_128_and_its_number(runtime, running, number):
    assert runtime.exec(running, "sh", "-c", f"kill -{number} $$").returncode == 128 + number


def test_an_error_of_the_runtime_is_255(runtime, running):
    runtime.exec(running, "/no/such").failed("/no/such", "no such file or directory", status=255)
    runtime.exec(running, "no-such").failed('exec: "no-such": executable file not found in', status=255)
    runtime.exec(running, "/etc/passwd").failed("permission denied", status=255)
    runtime.exec(running, "/etc").failed("permission denied", status=255)
    runtime.exec(running, "true", options=("--cwd", "relative")).failed("absolute", status=255)
    runtime.exec(running, "/bin/true/x").failed("not a directory", status=255)
    assert runtime("exec", running.id).returncode == 255
    assert runtime.exec(running, "echo", "still").ok().stdout == "still\n"


def test_it_is_in_the_containers_namespaces_and_cgroups(runtime, running):
    pid = runtime.pid(running)
    names = [name for name in os.listdir("/proc/self/ns") if not name.endswith("_for_children")]
    questions = {f"ns_{name}": f"readlink /proc/self/ns/{name}" for name in names}
    answers = runtime.ask_exec(running, cgroup="cat /proc/self/cgroup", root="ls /", **questions)
    assert [answers[f"ns_{name}"] for name in names] == [
        os.readlink(f"/proc/{pid}/ns/{name}") for name in names
    ]
    with open(f"/proc/{pid}/cgroup") as own:
        assert answers["cgroup"].splitlines() == own.read().splitlines()
    assert "bin" in answers["root"].split()


def test_its_process_is_the_containers_but_for_the_arguments(runtime, bundle):
    bundle.setenv("NAME", "value")
    bundle.process["cwd"] = "/home/user"
    bundle.process["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [7]}
    runtime.launch(bundle, "sleep", "1000")
    answers = runtime.ask_exec(
        bundle, cwd="pwd", name="echo $NAME", id="id -u; id -g; id -G", status="cat /proc/self/status",
        nofile="ulimit -n",
    )  # fmt: skip
    assert answers["cwd"] == "/home/user"
    assert answers["name"] == "value"
    assert answers["id"].splitlines() == ["1000", "1000", "1000 7"]
    assert fields(answers["status"])["NoNewPrivs"] == "1"
    assert answers["nofile"] == "1024"


def test_standard_streams(runtime, running):
    done = runtime.exec(running, "sh", "-c", "cat; echo oops >&2", input="hello").ok()
    assert (done.stdout, done.stderr) == ("hello", "oops\n")


# -- options ---------------------------------------------------------------------------------------------


def test_cwd(runtime, running):
    assert runtime.exec(running, "pwd", options=("--cwd", "/tmp")).ok().stdout == "/tmp\n"


def test_env_adds_and_replaces(runtime, running):
    options = ("--env", "TERM=dumb", "--env", "NEW=a b=c", "--env=EMPTY=")
    answers = runtime.ask_exec(running, options=options, all="env", short="echo $TERM")
    found = dict(line.split("=", 1) for line in answers["all"].splitlines())
    assert found["TERM"] == "dumb"
    assert found["NEW"] == "a b=c"
    assert found["EMPTY"] == ""
    assert found["PATH"].endswith("/bin")
    assert found["HOME"] == "/root"


@pytest.mark.parametrize(
    ("user", "expected", "home"),
    [
        ("1000", ["1000", "0", "0"], "/home/user"),
        ("1000:1000", ["1000", "1000", "1000"], "/home/user"),
        ("0:7", ["0", "7", "7"], "/root"),
        ("4321:1234", ["4321", "1234", "1234"], "/"),
    ],
)
def test_user(runtime, running, user, expected, home):
    answers = runtime.ask_exec(running, options=("--user", user), id="id -u; id -g; id -G", home="echo $HOME")
    assert answers["id"].splitlines() == expected
    assert answers["home"] == home


@pytest.mark.parametrize(
    "user",
    [
        "1x", "x", "1:y", "-1", "1:2:3", ":", "1:",
        pytest.param("4294967296", marks=deviation("runc", reason="takes the number modulo 2**32")),
    ],
)  # fmt: skip
def test_a_user_that_is_no_number_is_never_root(runtime, running, user):
    """CVE-2026-30892: crun parsed such words as 0."""
    done = runtime.exec(running, "id", "-u", options=("--user", user))
    assert done.returncode == 255, done
    assert done.stdout == ""


def test_a_number_is_never_looked_up_as_a_name(runtime, bundle):
    """CVE-2016-3697"""
    with (bundle.rootfs / "etc/passwd").open("a") as passwd:
        passwd.write("2000:x:0:0::/root:/bin/sh\n")
    runtime.launch(bundle, "sleep", "1000")
    assert runtime.exec(bundle, "id", "-u", options=("-u", "2000")).ok().stdout == "2000\n"


def test_additional_gids(runtime, running):
    done = runtime.exec(running, "id", "-G", options=("-u", "1000:1000", "-g", "100", "-g", "65534")).ok()
    assert done.stdout.split() == ["1000", "100", "65534"]


def test_capabilities_are_added_but_never_inheritable(runtime, running):
    """CVE-2022-29162"""
    done = runtime.exec(running, "cat", "/proc/self/status", options=("--cap", "CAP_SYS_CHROOT")).ok()
    for which in ("Bnd", "Eff", "Prm"):
        assert "CAP_SYS_CHROOT" in capabilities(done.stdout, which)
        assert "CAP_KILL" in capabilities(done.stdout, which)
    assert capabilities(done.stdout, "Inh") == set()
    assert "CAP_SYS_CHROOT" not in capabilities(done.stdout, "Amb")


def test_no_capability_without_the_option(runtime, running):
    done = runtime.exec(running, "cat", "/proc/self/status").ok()
    expected = set(running.process["capabilities"]["bounding"])
    assert capabilities(done.stdout, "Bnd") == capabilities(done.stdout, "Eff") == expected
    assert capabilities(done.stdout, "Inh") == set()


def test_no_new_privs(runtime, bundle):
    bundle.process["noNewPrivileges"] = False
    runtime.launch(bundle, "sleep", "1000")
    plain = runtime.exec(bundle, "cat", "/proc/self/status").ok()
    asked = runtime.exec(bundle, "cat", "/proc/self/status", options=("--no-new-privs",)).ok()
    assert fields(plain.stdout)["NoNewPrivs"] == "0"
    assert fields(asked.stdout)["NoNewPrivs"] == "1"


def test_a_process_file(runtime, running, work):
    process = {
        "args": ["sh", "-c", "pwd; id -u; echo $ONLY; echo ${TERM:-none}; ulimit -n"],
        "cwd": "/tmp",
        "user": {"uid": 5, "gid": 6},
        "env": ["PATH=/bin", "ONLY=this"],
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 88}],
    }
    (work / "process.json").write_text(json.dumps(process))
    done = runtime("exec", "--process", work / "process.json", running.id).ok()
    assert done.stdout.splitlines() == ["/tmp", "5", "this", "none", "77"]
    done = runtime("exec", "--process", work / "process.json", running.id)
    assert done.ok().stdout.startswith("/tmp\n"), "the file must survive its first use"


@deviation("runc", reason="takes the umask of the container's own process")
def test_the_umask_of_a_process_file(runtime, running, work):
    process = {"args": ["/bin/sh", "-c", "umask"], "cwd": "/", "user": {"uid": 0, "gid": 0, "umask": 0o77}}
    (work / "process.json").write_text(json.dumps(process))
    assert runtime("exec", "--process", work / "process.json", running.id).ok().stdout == "0077\n"


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, {"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"}), ({"capabilities": {}}, set())],
    ids=["absent", "empty"],
)
def test_capabilities_of_a_process_file_are_the_containers_when_it_has_none(
    runtime, running, work, given, expected
):
    process = {"args": ["/bin/cat", "/proc/self/status"], "cwd": "/", "user": {"uid": 0, "gid": 0}, **given}
    (work / "process.json").write_text(json.dumps(process))
    done = runtime("exec", "--process", work / "process.json", running.id).ok()
    for which in ("Bnd", "Eff", "Prm"):
        assert capabilities(done.stdout, which) == expected
    assert capabilities(done.stdout, "Inh") == set()


@pytest.mark.parametrize(
    "process",
    [
        {"args": [], "cwd": "/"},
        {"args": ["true"], "cwd": ""},
        {"args": ["true"], "cwd": "tmp"},
        {},
        None,
        "{",
    ],
    ids=["no args", "no cwd", "relative cwd", "empty", "missing", "not JSON"],
)
def test_a_bad_process_file(runtime, running, work, process):
    if process is not None:
        text = process if isinstance(process, str) else json.dumps(process)
        (work / "process.json").write_text(text)
    assert runtime("exec", "-p", work / "process.json", running.id).failed(status=255).stderr
    assert runtime.status(running) == "running"


def test_a_process_from_a_pipe(runtime, running):
    """The command finds the pipe at its end; a bad one is explained, though it is read once."""
    process = {"cwd": "/", "args": ["sh", "-c", "cat; echo end"], "env": ["PATH=/bin"]}
    done = runtime("exec", "--process", "/dev/stdin", running.id, input=json.dumps(process)).ok()
    assert done.stdout == "end\n"
    process["cwd"] = 1
    done = runtime("exec", "--process", "/dev/stdin", running.id, input=json.dumps(process))
    done.failed("/cwd", "string", status=255)


def test_detach(runtime, running, work):
    """The pid file is the host's view; the process belongs to whoever called, and ends by itself."""
    options = ("--detach", "--pid-file", work / "pid")
    done = runtime.exec(running, "sh", "-c", "echo hello; exit 12", options=options).ok()
    pid = (work / "pid").read_text()
    assert pid == str(int(pid))
    assert leaks.reap(int(pid)) == 12
    assert done.stdout == "hello\n"


def test_a_pid_file_in_the_foreground(runtime, running, work):
    done = runtime.exec(
        running, "sh", "-c", "readlink /proc/self/ns/pid; sleep 0.1", options=("--pid-file", work / "pid")
    )
    assert done.ok().stdout
    assert (work / "pid").read_text().isdigit()


def test_a_detached_process_ends_with_its_container(runtime, running, work):
    runtime.exec(running, "sleep", "1000", options=("-d", "--pid-file", work / "pid")).ok()
    pid = int((work / "pid").read_text())
    runtime.kill(running, "KILL").ok()
    assert leaks.reap(pid) == -9
    runtime.until_status(running, "stopped")


def test_preserved_descriptors(runtime, running, work):
    (work / "file").write_text("through")
    prefix = ("bash", "-c", f'exec 3<{work}/file 4<{work} "$@"', "bash")
    script = "cat <&3; ls /proc/self/fd"
    done = runtime.exec(running, "sh", "-c", script, options=("--preserve-fds", "1"), prefix=prefix).ok()
    assert done.stdout.startswith("through")
    assert done.stdout[len("through") :].split() == ["0", "1", "2", "3", "4"]


def test_no_descriptor_of_the_runtime_or_its_caller_is_passed(runtime, running, work):
    """Some callers leave descriptors open: 10 and 251 have been seen. ls has one of its own."""
    script = f'exec 9<{work} 10<{work} 37<{work} 251<{work} "$@"'
    done = runtime.exec(running, "ls", "/proc/self/fd", prefix=("bash", "-c", script, "bash")).ok()
    assert done.stdout.split() == ["0", "1", "2", "3"]


def test_a_paused_container(runtime, running):
    runtime("pause", running.id).ok()
    runtime.exec(running, "true").failed("cannot exec in a paused container", "--ignore-paused", status=255)
    runtime("resume", running.id).ok()
    runtime.exec(running, "true").ok()


def test_ignore_paused(runtime, running):
    """The process is made, and waits with all the others until the container is resumed."""
    runtime("pause", running.id).ok()
    process = runtime.popen("exec", "--ignore-paused", running.id, "echo", "thawed", stdout=subprocess.PIPE)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    runtime("resume", running.id).ok()
    assert process.stdout.read() == b"thawed\n"
    assert process.wait(30) == 0


def test_a_created_container_can_be_entered(runtime, bundle):
    created = runtime.create(bundle, "echo", "init").ok()
    assert runtime.exec(bundle, "echo", "exec").ok().stdout == "exec\n"
    assert runtime.status(bundle) == "created"
    assert created.stdout == ""
    runtime.start(bundle).ok()


@needs_cgroup1
def test_a_cgroup_below_the_containers(runtime, running):
    pid = runtime.pid(running)
    with open(f"/proc/{pid}/cgroup") as own:
        paths = dict(line.strip().split(":")[1:] for line in own)
    (directory,) = [path for path in leaks.cgroups(running.id) if path.parts[4] == "pids"]
    (directory / "below").mkdir()
    done = runtime.exec(running, "cat", "/proc/self/cgroup", options=("--cgroup", "pids:below")).ok()
    found = dict(line.split(":")[1:] for line in done.stdout.splitlines())
    assert found["pids"] == paths["pids"] + "/below"
    assert found["freezer"] == paths["freezer"]
    missing = runtime.exec(running, "true", options=("--cgroup", "pids:missing"))
    assert missing.returncode == 255, missing
    (directory / "below").rmdir()


def test_options_after_the_container_belong_to_the_command(runtime, running):
    assert runtime.exec(running, "echo", "-e", "--env", "-u").ok().stdout == "--env -u\n"


def test_words_pass_byte_for_byte(runtime, running):
    words = ["", " a  b ", "*", "$HOME", "a\nb", "ünïcödé", "'\"\\"]
    done = runtime.exec(running, "sh", "-c", 'printf "%s|" "$@"', "sh", *words).ok()
    assert done.stdout == "".join(f"{word}|" for word in words)


@deviation("runc", reason="passes words as JSON, where a byte that is not UTF-8 becomes U+FFFD")
def test_words_that_are_not_utf_8_pass_byte_for_byte(runtime, running):
    done = runtime.exec(
        running, "sh", "-c", 'printf "%s|" "$1" "$NAME"', "sh", b"\xff\xc3(", options=("-e", b"NAME=\xe9")
    ).ok()
    assert done.stdout_path.read_bytes() == b"\xff\xc3(|\xe9|"


def test_many_at_once(runtime, running):
    waiting = [
        runtime.popen("exec", running.id, "sh", "-c", f"echo {n}; exit {n}", stdout=subprocess.PIPE)
        for n in range(8)
    ]
    for number, process in enumerate(waiting):
        out, _ = process.communicate(timeout=30)
        assert (out, process.returncode) == (b"%d\n" % number, number)


def test_the_container_may_end_under_a_running_command(runtime, running):
    process = runtime.popen("exec", running.id, "sh", "-c", "echo in; sleep 1000", stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"in\n"
    runtime.kill(running, "KILL").ok()
    assert process.wait(30) == 128 + 9


@pytest.mark.parametrize("ignored", ["", "TERM INT HUP"], ids=["", "ignored by the caller"])
@pytest.mark.parametrize("name", ["TERM", "INT", "HUP"])
def test_signals_to_the_runtime_are_the_commands(runtime, running, name, ignored):
    process = runtime.popen(
        "exec", running.id, "sh", "-c",
        f"trap 'echo got; exit 9' {name}; echo ready; while :; do sleep 0.01; done", stdout=subprocess.PIPE,
        prefix=("sh", "-c", f"trap '' {ignored}; exec \"$@\"", "sh"),
    )  # fmt: skip
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(getattr(signal, f"SIG{name}"))
    assert process.stdout.read() == b"got\n"
    assert process.wait(30) == 9


def test_it_cannot_be_traced_by_the_container_before_it_is_confined(runtime, bundle):
    """CVE-2016-9962: a process that joins is not dumpable, so what it holds open stays its own."""
    bundle.allow("CAP_SYS_PTRACE")
    created = runtime.launch(
        bundle, "sh", "-c",
        "echo ready; while :; do for p in /proc/[0-9]*; do case $p in /proc/1|/proc/$$) ;; "
        "*) ls -l $p/fd 2>/dev/null | grep -E ' ([3-9]|[0-9]{2,}) -> .*(state|pyrunc|cgroup)' ;; "
        "esac; done; done",
    )  # fmt: skip
    until(lambda: created.stdout.startswith("ready\n"), "it looks")
    for _ in range(25):
        runtime.exec(bundle, "true").ok()
    assert created.stdout == "ready\n"
