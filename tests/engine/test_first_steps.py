"""What somebody who comes from Docker sees of typing errors, names that are not there, and defaults."""

from __future__ import annotations

import pytest
from support.engine import IMAGE


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tag", "nosuch", "x:1"), "No such image: nosuch:latest"),
        (("history", "nosuch:1"), "No such image: nosuch:1"),
        (("rmi", "0123456789ab"), "No such image: 0123456789ab"),
        (("push", "localhost:1/nosuch"), "An image does not exist locally with the tag: localhost:1/nosuch"),
        (("network", "create", "bridge"), "operation is not permitted on predefined bridge network"),
        (("network", "create", "host"), "operation is not permitted on predefined host network"),
        (
            ("volume", "create", "a b"),
            'create a b: "a b" includes invalid characters',
        ),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_an_error_is_dockers(docker, words, said):
    lines = docker.fails(*words).splitlines()
    words = (
        lines[0].removeprefix("Error response from daemon: ").removeprefix("Error: ")
    )  # older clients' own
    assert words.startswith(said)


def test_what_was_imported_says_so(docker):
    assert docker.ok("history", "--format", "{{.Comment}}", IMAGE) == "Imported from -\n"


def test_shared_memory_has_dockers_bound(docker):
    """Docker's client asks for 0 where its user asks for none: that is no bound to the kernel."""
    for asked, kib in ((), 65536), (("--shm-size", "1m"), 1024), (("--ipc", "shareable"), 65536):
        line = docker.ok("run", "--rm", *asked, IMAGE, "df", "/dev/shm").splitlines()[-1]
        assert line.split()[1] == str(kib)
    docker.ok("create", "--name", "box", IMAGE)
    assert docker.inspect("box")["HostConfig"]["ShmSize"] == 64 << 20


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ("-u", "nosuch", "box", "id"),
            126,
            "unable to find user nosuch: no matching entries",
        ),
        (("box", "nosuch"), 127, 'exec: "nosuch": executable file not found in $PATH'),
        (("box", "/nosuch"), 127, "no such file or directory"),
        (("box", "/etc"), 126, "permission denied"),
        (("-w", "/bin/busybox", "box", "id"), 126, "not a directory"),
        (("box", "sh", "-c", "exit 3"), 3, ""),
    ],
)
def test_an_exec_that_cannot_be_says_so_by_its_exit_code(docker, words, code, said):
    docker.ok("run", "-d", "--name", "box", IMAGE, "sleep", "1000")
    done = docker.docker("exec", *words)
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done


def test_an_update_is_told_once(docker):
    since = str(docker.call("GET", "/info")["SystemTime"])
    docker.ok("run", "-d", "--name", "box", "--network", "none", IMAGE, "sleep", "1000")
    docker.ok("update", "--memory", "32m", "box")
    docker.ok("rm", "-f", "box")
    until = str(docker.call("GET", "/info")["SystemTime"])
    when = ("--since", since, "--until", until)
    told = docker.ok("events", *when, "--filter", "container=box", "--format", "{{.Action}}")
    assert told.split() == ["create", "start", "update", "kill", "die", "destroy"]
