"""run: exit codes, signals, standard streams, --detach and --keep."""

import os
import signal
import subprocess

import pytest
from support import host, leaks
from support.waiting import until


@pytest.mark.parametrize("status", [0, 1, 42, 127, 255])
def test_the_exit_status_is_the_programs(runtime, bundle, status):
    done = runtime.run(bundle, "sh", "-c", f"exit {status}")
    assert done.returncode == status, done
    assert done.stderr == ""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_program_killed_by_a_signal_is_128_and_its_number(runtime, bundle, number):
    """PID 1 is immune to what it does not handle, so the program is not PID 1 of its namespace here."""
    bundle.share("pid")
    assert runtime.run(bundle, "sh", "-c", f"kill -{int(number)} $$").returncode == 128 + number


def test_it_deletes_the_container_when_it_is_over(runtime, bundle):
    runtime.run(bundle, "true").ok()
    runtime("state", bundle.id).failed("container does not exist")
    assert os.listdir(runtime.root) == []


def test_keep(runtime, bundle):
    assert runtime.run(bundle, "sh", "-c", "exit 3", options=("--keep",)).returncode == 3
    assert runtime.status(bundle) == "stopped"
    if host.MANAGER == "cgroupfs":  # systemd takes away a scope that nobody is in
        assert leaks.cgroups(bundle.id)
    runtime.delete(bundle).ok()


def test_standard_streams_are_passed_and_kept_apart(runtime, bundle):
    done = runtime.run(bundle, "sh", "-c", "tr a-z A-Z; echo oops >&2", input="hello\nworld\n").ok()
    assert done.stdout == "HELLO\nWORLD\n"
    assert done.stderr == "oops\n"


def test_a_megabyte_goes_through_unchanged(runtime, bundle):
    data = bytes(range(256)) * 4096
    done = runtime.run(bundle, "cat", input=data).ok()
    assert done.stdout_path.read_bytes() == data


def test_a_program_that_reads_nothing_does_not_hang_on_its_input(runtime, bundle):
    assert runtime.run(bundle, "true", input=b"x" * 10).returncode == 0


def test_an_early_reader_of_stdout_is_no_error_of_the_runtime(runtime, bundle):
    """`run … | head -1`: SIGPIPE ends the writer inside, not the runtime's bookkeeping."""
    id = runtime.prepare(bundle, "sh", "-c", "echo first; sleep 0.05; yes")
    process = runtime.popen("run", "--bundle", bundle.path, id, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"first\n"
    process.stdout.close()
    process.wait(30)
    until(lambda: runtime("state", id).returncode != 0, "the container is deleted")


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1", "USR2", "QUIT"])
def test_signals_to_the_runtime_are_the_containers(runtime, bundle, name):
    id = runtime.prepare(
        bundle, "sh", "-c", f"trap 'echo got; exit 9' {name}; echo ready; while :; do sleep 0.01; done"
    )
    process = runtime.popen("run", "--bundle", bundle.path, id, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(getattr(signal, f"SIG{name}"))
    assert process.stdout.read() == b"got\n"
    assert process.wait(30) == 9


def test_stdout_is_the_containers_alone(runtime, bundle):
    """With --debug, and with standard error closed or elsewhere: not one byte more."""
    done = runtime.run(bundle, "echo", "only", before=("--debug",)).ok()
    assert done.stdout == "only\n"


def test_detach_returns_while_the_container_runs(runtime, bundle, work):
    options = ("--detach", "--pid-file", work / "pid")
    done = runtime.run(bundle, "sh", "-c", "echo hello; sleep 1000", options=options).ok()
    assert runtime.status(bundle) == "running"
    assert (work / "pid").read_text() == str(runtime.pid(bundle))
    until(lambda: done.stdout == "hello\n", "it writes where the runtime did")


def test_detach_leaves_an_exit_status_for_the_subreaper(runtime, bundle, work):
    options = ("-d", "--pid-file", work / "pid")
    runtime.run(bundle, "sh", "-c", "sleep 0.1; exit 11", options=options).ok()
    assert leaks.reap(int((work / "pid").read_text())) == 11
    runtime.until_status(bundle, "stopped")


_ORPHAN = "sleep 1000 </dev/null >/dev/null 2>&1 & echo $!"


def test_what_outlives_init_in_a_shared_pid_namespace_ends_with_the_run(runtime, bundle):
    bundle.share("pid")
    orphan = int(runtime.run(bundle, "sh", "-c", _ORPHAN).ok().stdout)
    assert leaks.state_of(orphan) in "XZ"


def test_orphans_are_the_runtimes_as_long_as_it_waits_unless_told_otherwise(runtime, new_bundle):
    """A caller that is a subreaper itself asks for --no-subreaper, and finds them among its own."""
    for options in ((), ("--no-subreaper",)):
        bundle = new_bundle()
        bundle.share("pid")
        id = runtime.prepare(bundle, "sh", "-c", f"({_ORPHAN}); sleep 1000")
        process = runtime.popen("run", "--bundle", bundle.path, *options, id, stdout=subprocess.PIPE)
        orphan = int(process.stdout.readline())
        until(lambda pid=orphan: leaks.parent_of(pid) in (os.getpid(), process.pid), "it was reparented")  # noqa: B023
        assert leaks.parent_of(orphan) == (os.getpid() if options else process.pid)
        runtime.kill(id, "KILL").ok()
        assert process.wait(30) == 128 + 9
        process.stdout.close()


def test_no_pivot_is_accepted(runtime, bundle):
    answers = runtime.ask(bundle, options=("--no-pivot",), root="ls /", proc="ls -d /proc/1")
    assert "bin" in answers["root"].split()
    assert answers["proc"] == "/proc/1"


def test_the_runtime_is_not_a_process_of_the_container(runtime, bundle):
    answers = runtime.ask(bundle, processes="ps -o pid,comm")
    assert [line.split()[1] for line in answers["processes"].splitlines()[1:]] == ["sh", "ps"]
