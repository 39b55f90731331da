"""`pyr`, from its words to its exit code: each test with the daemon, and again without one."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.bundle import PREFIX
from support.engine import IMAGE, Engine, docker_version
from support.pyr import Pyr, alone
from support.registry import needs_registry, running_registry
from support.waiting import until


@pytest.fixture(scope="session")
def lonely(daemon: Engine) -> Iterator[Pyr]:
    """In the daemon's network namespace: two engines on one host, each with a subnet of its own."""
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}pyr-") as directory:
        os.chmod(directory, 0o755)
        with alone(Path(directory)) as made:
            yield made


@pytest.fixture(params=["daemon", "alone"])
def pyr(request: pytest.FixtureRequest) -> Iterator[Pyr]:
    if request.param == "daemon":
        engine = request.getfixturevalue("engine")
        yield Pyr(engine.root, ("-H", f"unix://{engine.socket}"))
    else:
        made = request.getfixturevalue("lonely")
        yield made
        made.clean()


@pytest.fixture
def served(engine: Engine) -> Pyr:
    """For what is the same whoever answers."""
    return Pyr(engine.root, ("-H", f"unix://{engine.socket}"))


def test_run_says_what_the_program_says_and_ends_as_it_does(pyr):
    done = pyr.call("run", "--rm", "--network", "none", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert pyr.ok("ps", "-aq") == ""


_DEAR = {"pyroute2", "asyncio", "ssl", "http.client", "email", "logging", "unittest", "click", "rich", "json"}


def test_what_a_command_does_not_need_it_does_not_import(lonely):
    """An engine in its own process pays for each import on each call, as a daemon does once."""
    python, *words = lonely.command("run", "--rm", "--network", "none", IMAGE, "echo", "done")
    done = subprocess.run(
        [python, "-X", "importtime", *words], capture_output=True, text=True, check=True, timeout=60,
        env=lonely.environment,
    )  # fmt: skip
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.count("|") == 2}
    assert done.stdout == "done\n"
    assert "pyrunc.engine.engine" in imported
    assert imported & _DEAR == set()
    assert len(imported) < 280


def test_exit_codes_of_what_was_not_run(pyr):
    none = ("--network", "none", IMAGE)
    assert "executable file not found" in pyr.fails("run", "--rm", *none, "nosuch", code=127)
    assert "permission denied" in pyr.fails("run", "--rm", *none, "/etc/passwd", code=126)
    assert "invalid" in pyr.fails("run", "--rm", "-m", "lots", *none, code=125).lower()
    assert "No such image" in pyr.fails("run", "--pull", "never", "localhost:1/none", code=125)
    assert "No such container: none" in pyr.fails("logs", "none")


def test_a_forced_removal_of_what_is_not_there_says_so_and_goes_on(pyr):
    pyr.ok("create", "--name", "box", "--network", "none", IMAGE)
    done = pyr.call("rm", "-f", "nosuch", "box")
    assert (done.returncode, done.stdout) == (0, "box\n")
    assert done.stderr == "Error response from daemon: No such container: nosuch\n"


def test_stdin_goes_in_and_its_end_too(pyr):
    """More than any buffer holds, in both directions at once."""
    given = os.urandom(3 << 20)
    done = pyr.call("run", "--rm", "-i", "--network", "none", IMAGE, "cat", input=given, text=False)
    assert (done.returncode, done.stdout == given) == (0, True), done.stderr


def fetch(port: int, path: str) -> bytes:
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            return b"".join(iter(lambda: client.recv(4096), b""))
    except OSError:  # it does not listen yet, or its link is not up yet
        return b""


def test_a_container_in_the_background(pyr):
    id = pyr.ok("run", "-d", "--name", "web", "-p", "18080:80", "-e", "A=1", IMAGE, "sh", "-c",
                "echo begun; exec httpd -f -h /etc").strip()  # fmt: skip
    assert len(id) == 64
    until(lambda: b"bob:" in fetch(18080, "/passwd"), "the page comes")
    line = pyr.ok("ps").splitlines()[1]
    assert re.match(rf"{id[:12]}   {IMAGE}   .* Up .*0\.0\.0\.0:18080->80/tcp +web$", line)
    assert pyr.ok("port", "web", "80").startswith("0.0.0.0:18080")
    assert pyr.ok("logs", "web") == "begun\n"
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z begun\n", pyr.ok("logs", "-t", "--tail", "1", "web"))
    assert pyr.ok("exec", "-e", "B=2", "-w", "/tmp", "web", "sh", "-c", "echo $A$B $PWD") == "12 /tmp\n"
    assert pyr.call("exec", "web", "sh", "-c", "exit 9").returncode == 9
    pyr.fails("exec", "web", "nosuch", code=127)
    assert "httpd" in pyr.ok("top", "web")
    assert pyr.ok("inspect", "-f", "{{.State.Running}} {{len .Config.Env}}", "web") == "true 2\n"
    assert pyr.ok("stop", "-t", "0", "web") == "web\n"
    assert pyr.ok("ps", "-a", "--format", "{{.Names}} {{.State}}") == "web exited\n"
    assert pyr.ok("start", "web") == "web\n"
    assert "cannot remove" in pyr.fails("rm", "web")
    assert pyr.ok("rm", "-f", "web") == "web\n"


def test_many_are_asked_though_one_fails(pyr):
    pyr.ok("create", "--name", "one", IMAGE)
    done = pyr.call("rm", "none", "one")
    assert (done.returncode, done.stdout) == (1, "one\n")
    assert done.stderr == "Error response from daemon: No such container: none\n"


def test_a_terminal_has_our_size_and_follows_it(pyr):
    terminal = pyr.on_terminal("run", "--rm", "-it", "--network", "none", IMAGE, "sh")
    terminal.expect(b"# ")
    terminal.type(b"stty size\n")
    terminal.expect(b"33 77\r\n")
    terminal.resize(20, 60)
    terminal.type(b"while [ \"$(stty size)\" != '20 60' ]; do :; done; echo is''there; exit 4\n")
    terminal.expect(b"isthere")
    assert terminal.end() == 4


def test_keys_leave_a_container_and_attach_finds_it_again(pyr):
    terminal = pyr.on_terminal("run", "-it", "--name", "left", "--network", "none", IMAGE, "sh")
    terminal.expect(b"# ")
    terminal.type(b"X=still\n")
    terminal.expect(b"# ")
    terminal.type(b"\x10\x11")
    assert terminal.end() == 0
    assert pyr.ok("ps", "-q")
    again = pyr.on_terminal("attach", "left")
    again.type(b"echo $X-here\n")
    again.expect(b"still-here")
    again.type(b"exit 6\n")
    assert again.end() == 6


def test_exec_on_a_terminal(pyr):
    pyr.ok("run", "-d", "--name", "web", "--network", "none", IMAGE, "sleep", "1000")
    terminal = pyr.on_terminal("exec", "-it", "web", "sh")
    terminal.expect(b"# ")
    terminal.type(b"tty; stty size; exit 5\n")
    terminal.expect(b"/dev/pts/")
    terminal.expect(b"33 77")
    assert terminal.end() == 5


def test_a_terminal_that_is_none_is_refused(served):
    assert served.fails("run", "-it", IMAGE) == "the input device is not a TTY\n"


def test_signals_are_passed_on(pyr):
    program = "trap 'echo told; exit 7' TERM; echo ready; while :; do sleep 0.1; done"
    words = pyr.command("run", "--rm", "--network", "none", IMAGE, "sh", "-c", program)
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=pyr.environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == b"told\n"
        assert process.wait(30) == 7


def test_start_and_attach(pyr):
    pyr.ok(
        "create",
        "-i",
        "--name",
        "echo",
        "--network",
        "none",
        IMAGE,
        "sh",
        "-c",
        "read x; echo got $x; exit 2",
    )
    done = pyr.call("start", "-ai", "echo", input="a line\n")
    assert (done.returncode, done.stdout) == (2, "got a line\n")
    assert pyr.ok("wait", "echo") == "2\n"


def test_what_removes_itself_in_the_background_is_gone(pyr):
    pyr.ok("run", "-d", "--rm", "--name", "short", "--network", "none", IMAGE, "true")
    until(lambda: pyr.ok("ps", "-aq") == "", "it has been removed", 20)


def test_files_that_options_name(pyr, tmp_path):
    (tmp_path / "env").write_text("# none\nA=1\nHOME\n")
    (tmp_path / "labels").write_text("x=y\n")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "file").write_text("of the host\n")
    cid = tmp_path / "cid"
    shown = pyr.ok(
        "run", "--network", "none", "--env-file", str(tmp_path / "env"),
        "--label-file", str(tmp_path / "labels"), "--cidfile", str(cid),
        "-v", f"{tmp_path}/shared:/shared:ro",
        "--mount", "type=tmpfs,target=/t,tmpfs-size=1m",
        IMAGE, "sh", "-c", "echo $A $HOME; cat /shared/file; touch /shared/x || grep ' /t ' /proc/mounts",
    )  # fmt: skip
    assert shown.startswith(f"1 {pyr.root}\nof the host\n")
    assert "size=1024k" in shown
    assert pyr.ok("ps", "-aq", "--no-trunc", "--filter", "label=x=y").strip() == cid.read_text()
    assert "container ID file found" in pyr.fails("run", "--cidfile", str(cid), IMAGE, code=125)


def test_files_are_copied_both_ways(pyr, tmp_path):
    pyr.ok("create", "--name", "box", "--network", "none", IMAGE)
    (tmp_path / "tree" / "below").mkdir(parents=True)
    (tmp_path / "tree" / "below" / "file").write_text("a text\n")
    pyr.ok("cp", str(tmp_path / "tree"), "box:/data")
    pyr.ok("cp", "box:/data/tree/below/file", str(tmp_path / "renamed"))
    pyr.ok("cp", "box:/data/tree/.", str(tmp_path / "copy"))
    pyr.ok("cp", "box:/data", str(tmp_path))
    assert (tmp_path / "renamed").read_text() == "a text\n"
    assert (tmp_path / "copy" / "below" / "file").read_text() == "a text\n"
    assert (tmp_path / "data" / "seed").read_text() == "from the image\n"
    assert "A /data/tree" in pyr.ok("diff", "box").splitlines()
    assert "Could not find the file" in pyr.fails("cp", "box:/none", str(tmp_path / "x"))


def test_images_come_and_go(pyr, tmp_path):
    pyr.ok("run", "--name", "box", "--network", "none", IMAGE, "sh", "-c", "echo new >/made")
    id = pyr.ok("commit", "-m", "a note", "-c", 'CMD ["cat","/made"]', "box", "img:1").strip()
    assert pyr.ok("run", "--rm", "--network", "none", "img:1") == "new\n"
    pyr.ok("tag", "img:1", "img:2")
    assert pyr.ok("images", "-q", "--no-trunc", "img").split() == [id, id]
    assert "a note" in pyr.ok("history", "img:1")
    pyr.ok("save", "-o", str(tmp_path / "img.tar"), "img:1")
    assert pyr.ok("rmi", "img:1") == "Untagged: img:1\n"
    assert f"Deleted: {id}" in pyr.ok("rmi", "img:2")
    assert pyr.ok("load", "-i", str(tmp_path / "img.tar")) == "Loaded image: img:1\n"
    pyr.ok("export", "-o", str(tmp_path / "box.tar"), "box")
    assert "sha256:" in pyr.ok("import", str(tmp_path / "box.tar"), "flat:1")
    assert pyr.ok("run", "--rm", "--network", "none", "-e", "PATH=/bin", "flat:1", "cat", "/made") == "new\n"
    pyr.ok("rmi", "img:1", "flat:1")


@needs_registry
def test_images_go_to_a_registry_and_come_back(pyr, tmp_path):
    with running_registry(tmp_path / "registry") as registry:
        name = f"{registry.address}/there:1"
        pyr.ok("tag", IMAGE, name)
        assert "digest: sha256:" in pyr.ok("push", name)
        pyr.ok("rmi", name)
        assert f"Status: Downloaded newer image for {name}\n{name}\n" in pyr.ok("pull", name)
        pyr.ok("rmi", name)
        done = pyr.call("run", "--rm", "--network", "none", name, "echo", "pulled")
        assert (done.returncode, done.stdout) == (0, "pulled\n"), done.stderr
        assert done.stderr.startswith(f"Unable to find image '{name}' locally\n")
        assert pyr.ok("pull", "-q", name) == f"{name}\n"
        assert "manifest unknown" in pyr.fails("pull", f"{registry.address}/none")
        pyr.ok("rmi", name)


def test_volumes_and_networks(pyr):
    assert pyr.ok("volume", "create", "data") == "data\n"
    pyr.ok("run", "--rm", "--network", "none", "-v", "data:/d", IMAGE, "sh", "-c", "echo kept >/d/f")
    assert pyr.ok("run", "--rm", "--network", "none", "-v", "data:/d", IMAGE, "cat", "/d/f") == "kept\n"
    assert pyr.ok("volume", "ls", "-q") == "data\n"
    pyr.ok("network", "create", "--subnet", "10.77.0.0/24", "--label", "a=b", "inner")
    assert pyr.ok("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}} {{.Labels.a}}", "inner") == (
        "10.77.0.0/24 b\n"
    )
    pyr.ok("run", "-d", "--name", "web", "--network", "inner", IMAGE, "sleep", "1000")
    shown = pyr.ok("run", "--rm", "--network", "inner", IMAGE, "ping", "-c", "1", "-W", "5", "web")
    assert "10.77.0.2" in shown
    assert "inner" in pyr.ok("network", "ls", "--format", "{{.Name}}").split()
    pyr.ok("rm", "-f", "web")
    assert pyr.ok("network", "rm", "inner") == "inner\n"
    assert pyr.ok("volume", "rm", "data") == "data\n"


def test_a_published_port_is_held_as_long_as_its_container_runs(pyr):
    """By whom, does not matter: a program that could bind it would hear nothing there."""
    pyr.ok("run", "-d", "--name", "web", "-p", "18095:80", "-p", "18095:80/udp", IMAGE, "sleep", "1000")
    assert not can_bind(18095, socket.SOCK_STREAM) and not can_bind(18095, socket.SOCK_DGRAM)
    pyr.ok("restart", "-t", "0", "web")
    assert not can_bind(18095, socket.SOCK_STREAM)
    pyr.ok("stop", "-t", "0", "web")
    assert can_bind(18095, socket.SOCK_STREAM) and can_bind(18095, socket.SOCK_DGRAM)


def can_bind(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as tried:
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def test_prune_says_what_went(pyr):
    id = pyr.ok("create", "--network", "none", IMAGE).strip()
    assert pyr.ok("container", "prune", input="n\n").endswith("[y/N] ")
    assert pyr.ok("ps", "-aq", "--no-trunc").strip() == id
    shown = pyr.ok("system", "prune", "-f", "--volumes")
    assert shown.startswith(f"Deleted Containers:\n{id}\n\n") and "Total reclaimed space: " in shown


def test_what_is_here(pyr):
    is_alone = "-H" not in pyr.options
    assert ("Server: in this process" in pyr.ok("version")) == is_alone
    assert pyr.ok("info", "--format", "{{.Images}} {{.Driver}}").split()[0].isdigit()
    assert (
        pyr.ok("system", "df").splitlines()[0] == "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE"
    )
    assert "Images space usage:" in pyr.ok("system", "df", "-v")


def test_events_and_statistics(pyr):
    pyr.ok("run", "-d", "--name", "web", "--network", "none", IMAGE, "sleep", "1000")
    row = json.loads(pyr.ok("stats", "--no-stream", "--format", "json", "web"))
    assert row["Name"] == "web" and row["PIDs"] == "1"
    pyr.ok("stop", "-t", "0", "web")
    pyr.ok("rm", "web")
    shown = pyr.ok(
        "events", "--since", "1m", "--until", "0s", "--filter", "container=web", "--format", "{{.Action}}"
    )
    assert {"create", "die", "destroy"} <= set(shown.split())


def test_limits_change_while_it_runs(pyr):
    pyr.ok("run", "-d", "--name", "web", "--network", "none", "-m", "64m", IMAGE, "sleep", "1000")
    pyr.ok("update", "-m", "32m", "--restart", "always", "web")
    form = "{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}"
    assert pyr.ok("inspect", "-f", form, "web") == f"{32 << 20} always\n"
    pyr.ok("pause", "web")
    assert "(Paused)" in pyr.ok("ps", "--format", "{{.Status}}")
    pyr.ok("unpause", "web")
    pyr.ok("rename", "web", "other")
    assert pyr.ok("kill", "other") == "other\n"


def test_without_a_daemon_an_address_that_was_asked_for_is_an_error(network, tmp_path):
    pyr = Pyr(tmp_path, ("-H", f"unix://{tmp_path}/none"))
    assert "Cannot connect to the daemon" in pyr.fails("ps")


# What both command lines show of the same things
_SAME = [
    ("ps",), ("ps", "-a"), ("ps", "-aq", "--no-trunc"), ("images",), ("images", "--digests"),
    ("history", IMAGE),
    ("inspect", "web"), ("inspect", IMAGE), ("inspect", "none"),
    ("inspect", "-f", "{{json .Config.Env}}", "web"),
    ("inspect", "-f", "{{range .Mounts}}{{.Destination}}{{end}} {{.State.Status}}", "web"),
    ("ps", "--format", "table {{.ID}}\t{{.Names}}\t{{.Ports}}\t{{.Mounts}}\t{{.CreatedAt}}"),
    ("ps", "--format", '{{.Names}} {{.Label "x"}} {{.Size}}'), ("port", "web"), ("port", "web", "80/tcp"),
    ("logs", "web"), ("logs", "-t", "web"), ("network", "ls"), ("network", "inspect", "bridge"),
    ("volume", "ls"),
    ("system", "df"), ("stop", "none"), ("rm", "web"), ("exec", "web", "nosuch"), ("diff", "web"),
    ("top", "web", "-o", "pid,args"), ("container", "ls", "-q"), ("image", "ls", "-q"),
    ("run", "--nosuch", "x"),
    ("run", "-p"), ("rmi", "none"), ("stop",), ("ps", "-f", "nosuch=1"),
]  # fmt: skip


@pytest.mark.skipif(docker_version() < 28, reason="pyr says what docker 28 says, and there is none")
def test_the_same_is_shown_as_by_docker(engine, served):
    served.ok("run", "-d", "--name", "web", "-p", "18080:80", "-p", "19000-19002:9000-9002", "-l", "x=y",
              "-v", "kept:/kept", IMAGE, "sh", "-c", "echo a; echo b >&2; sleep 1000")  # fmt: skip
    different = []
    for words in _SAME:
        for _ in range(3):  # a time may change in between
            theirs, ours = engine.docker(*words), served.call(*words)
            shown = theirs.stdout, theirs.stderr.replace("docker", "pyr"), theirs.returncode
            found = ours.stdout, ours.stderr, ours.returncode
            if found == shown:
                break
        else:
            different.append((words, shown, found))
    assert different == []
