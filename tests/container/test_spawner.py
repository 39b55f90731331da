"""The spawner: containers by a process that lives long. Each test asks the kernel, or the command line,
whether what it was told is so."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import host, leaks

from pyrunc.child.context import Child
from pyrunc.errors import CONFLICT, INTERNAL, INVALID, NOT_FOUND, WRONG_STATE, PyruncError
from pyrunc.kernel import fds
from pyrunc.spawner import protocol
from pyrunc.spawner.client import Spawner

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def runtime(runtime):
    if not runtime("--version").stdout.startswith("pyrunc "):
        pytest.skip("a spawner and another runtime know nothing of each other")
    return runtime


@pytest.fixture
def spawner(runtime) -> Iterator[Spawner]:
    with Spawner() as made:
        with pytest.raises(
            PyruncError, match="does not exist"
        ):  # it has answered: its own descriptors are there
            made.state("nobody", state_root=runtime.root)
        yield made


def memory_kib(pid: int) -> int:
    """What is its own, whoever else has the interpreter's pages mapped."""
    text = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("RssAnon:"))


def descriptors(pid: int | str) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def has_ended(pidfd: int) -> bool:
    return bool(select.select([pidfd], [], [], 10)[0])


def test_a_life(runtime, spawner, bundle):
    name, root = (
        runtime.prepare(bundle, "sh", "-c", "trap 'exit 7' TERM; cat; sleep 1000 & wait"),
        runtime.root,
    )
    inside, feed = os.pipe()
    hear, outside = os.pipe()
    init = spawner.create(bundle.path, name, state_root=root, streams={"stdin": inside, "stdout": outside})
    os.close(inside)
    os.close(outside)
    assert spawner.state(name, state_root=root) == runtime.state(bundle)
    assert (runtime.state(bundle)["pid"], runtime.state(bundle)["status"]) == (init.pid, "created")
    assert Path(f"/proc/{init.pid}/stat").read_text().rpartition(")")[2].split()[1] == str(spawner.pid)

    spawner.start(name, state_root=root)
    os.write(feed, b"to and fro")
    assert os.read(hear, 100) == b"to and fro"
    os.close(feed)
    assert runtime.state(bundle)["status"] == "running"

    hear_exec, outside = os.pipe()
    done = spawner.exec(
        name, ["sh", "-c", "echo $A; id -u; exit 3"],
        state_root=root, streams={"stdout": outside}, env=["A=b"], user="1000:1000",
    )  # fmt: skip
    os.close(outside)
    assert done.wait() == 3
    assert os.read(hear_exec, 100) == b"b\n1000\n"

    spawner.kill(name, "TERM", state_root=root)
    assert has_ended(init.pidfd)
    assert init.wait() == 7
    assert runtime.state(bundle)["status"] == "stopped"
    spawner.delete(name, state_root=root)
    assert "does not exist" in runtime("state", name).stderr
    os.close(hear)
    os.close(hear_exec)


def test_a_death_by_signal_is_told(runtime, spawner, bundle):
    name = runtime.prepare(bundle, "sleep", "1000")
    init = spawner.create(bundle.path, name, state_root=runtime.root)
    spawner.start(name, state_root=runtime.root)
    init.signal(signal.SIGKILL)
    assert init.wait() == 128 + signal.SIGKILL


@pytest.mark.skipif(
    host.MANAGER == "systemd", reason="a checkout's spawner has no packages of others, and this needs one"
)
def test_what_the_command_line_began_it_goes_on_with_and_the_other_way_round(runtime, spawner, new_bundle):
    ours, theirs = new_bundle(), new_bundle()
    runtime.create(theirs, "sleep", "1000").ok()
    spawner.start(theirs.id, state_root=runtime.root)
    assert runtime.state(theirs)["status"] == "running"
    spawner.delete(theirs.id, state_root=runtime.root, force=True)

    name = runtime.prepare(ours, "sleep", "1000")
    init = spawner.create(ours.path, name, state_root=runtime.root)
    runtime.start(ours).ok()
    runtime("exec", name, "true").ok()
    runtime("delete", "--force", name).ok()
    assert init.wait() == 128 + signal.SIGKILL


def test_a_terminal_is_sent_to_the_socket_given(runtime, spawner, bundle):
    bundle.process["terminal"] = True
    name = runtime.prepare(bundle, "sh", "-c", "tty; sleep 1000")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        spawner.create(bundle.path, name, state_root=runtime.root, streams={"console": theirs.fileno()})
        _, received, _, _ = socket.recv_fds(ours, 4096, 4)
    (terminal,) = received
    spawner.start(name, state_root=runtime.root)
    said = b""
    while not said.endswith(b"\n"):
        said += os.read(terminal, 100)
    assert said == b"/dev/pts/0\r\n"
    os.close(terminal)


def test_an_error_is_the_one_of_the_command_line_and_leaves_nothing(runtime, spawner, bundle):
    name = runtime.prepare(bundle, "no-such-program")
    before = descriptors(spawner.pid), descriptors("self")
    with pytest.raises(PyruncError) as found:
        spawner.create(bundle.path, name, state_root=runtime.root)
    assert found.value.kind == NOT_FOUND
    assert str(found.value) in runtime("create", "--bundle", bundle.path, name).stderr.replace('\\"', '"')
    assert (descriptors(spawner.pid), descriptors("self")) == before
    assert list(Path(f"/proc/{spawner.pid}/task/{spawner.pid}/children").read_text().split()) == []
    assert os.listdir(runtime.root) == []
    assert leaks.cgroups(name) == []


@pytest.mark.parametrize(
    ("verb", "kind"),
    [("start", NOT_FOUND), ("state", NOT_FOUND), ("kill", NOT_FOUND), ("delete", NOT_FOUND)],
)
def test_there_is_no_such_container(runtime, spawner, verb, kind):
    with pytest.raises(PyruncError) as found:
        getattr(spawner, verb)("nobody", state_root=runtime.root)
    assert (found.value.kind, found.value.what) == (kind, "container does not exist")


def test_the_kind_of_an_error_and_its_place_arrive(runtime, spawner, bundle):
    name = runtime.prepare(bundle, "sleep", "1000")
    spawner.create(bundle.path, name, state_root=runtime.root)
    with pytest.raises(PyruncError) as twice:
        spawner.create(bundle.path, name, state_root=runtime.root)
    assert twice.value.kind == CONFLICT
    with pytest.raises(PyruncError) as failed:
        spawner.exec(name, ["no-such-program"], state_root=runtime.root)
    assert "executable file not found in $PATH" in str(failed.value)
    spawner.start(name, state_root=runtime.root)
    with pytest.raises(PyruncError) as again:
        spawner.start(name, state_root=runtime.root)
    assert again.value.kind == WRONG_STATE
    bundle.config["hostname"] = 7
    bundle.write()
    with pytest.raises(PyruncError) as broken:
        spawner.create(bundle.path, f"{name}-2", state_root=runtime.root)
    assert (broken.value.kind, "/hostname" in str(broken.value)) == (INVALID, True)


def test_a_changed_config_is_read_again(runtime, spawner, bundle):
    """Also one that was changed in place, at once, to one as long."""
    for text in ("one", "two", "six"):
        name = runtime.prepare(bundle, "echo", text)
        hear, outside = os.pipe()
        init = spawner.create(bundle.path, name, state_root=runtime.root, streams={"stdout": outside})
        os.close(outside)
        spawner.start(name, state_root=runtime.root)
        assert init.wait() == 0
        assert os.read(hear, 100).decode() == f"{text}\n"
        os.close(hear)
        spawner.delete(name, state_root=runtime.root)


@pytest.mark.parametrize(
    ("message", "place"),
    [
        (b"no JSON", "invalid JSON"),
        (b"[]", "is not an object"),
        (b'{"verb":"create"}', "/streams"),
        (b'{"verb":"create","streams":["stdin"]}', "0 descriptors came"),
        (b'{"verb":"dance","streams":[]}', "/verb: 'dance' is not known"),
        (b'{"verb":"start","streams":[],"id":"x"}', "/state_root: is required"),
        (b'{"verb":"start","streams":[],"id":1,"state_root":"/"}', "/id: is not a string"),
        (b'{"verb":"exec","streams":[],"id":"x","state_root":"/","args":[1]}', "/args: is not a list of"),
        (b'{"verb":"start","streams":[],"id":"x","state_root":"/","nope":1}', "/nope: is not known"),
    ],
)  # fmt: skip
def test_a_bad_message_is_an_answer_and_not_an_end(runtime, spawner, message, place):
    fds.send(spawner._connection, message)
    answer, _ = fds.receive(spawner._connection)
    assert json.loads(answer)["error"]["kind"] == INVALID
    with pytest.raises(PyruncError, match=place):
        protocol.decode_answer(answer)
    with pytest.raises(PyruncError, match="does not exist"):
        spawner.state("nobody", state_root=runtime.root)


def test_a_request_too_long_is_an_error(runtime, spawner):
    with pytest.raises(PyruncError, match="too long for a message"):
        spawner.exec("nobody", ["x" * (1 << 20)], state_root=runtime.root)


def test_containers_outlive_the_client_and_the_spawner_does_not(runtime, bundle):
    spawner = Spawner()
    name = runtime.prepare(bundle, "sleep", "1000")
    init = spawner.create(bundle.path, name, state_root=runtime.root)
    spawner.start(name, state_root=runtime.root)
    spawner.close()
    with pytest.raises(ProcessLookupError):
        os.kill(spawner.pid, 0)
    assert runtime.state(bundle)["status"] == "running"
    with pytest.raises(PyruncError, match="the spawner is gone"):
        init.wait()


def test_a_spawner_that_was_killed_is_told_of(runtime, bundle):
    spawner = Spawner()
    os.kill(spawner.pid, signal.SIGKILL)
    with pytest.raises(PyruncError) as found:
        for _ in range(2):  # it may die after it has the request, or before
            spawner.state("nobody", state_root=runtime.root)
    assert (found.value.kind, found.value.what) == (INTERNAL, "the spawner is gone")
    spawner.close()


def test_a_process_between_keeps_no_descriptor_but_those_of_the_plan():
    """Who can trace a child on its way could take the spawner's socket out of it."""
    hear, tell = os.pipe()
    others = [os.dup(hear) for _ in range(20)]
    kept = (others[2], others[7], others[8], others[19])
    saved, channel, stub, fifo = kept
    pid = os.fork()
    if pid == 0:
        os.dup2(tell, 5)
        Child({"x": saved}, channel, stub, fifo, 3).close_others()
        os.write(5, " ".join(name for name in os.listdir("/proc/self/fd")).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    left = {int(name) for name in os.read(hear, 1000).split()}
    for fd in (hear, tell, *others):
        os.close(fd)
    assert set(kept) | {5} <= left
    assert left - set(kept) - set(range(6)) <= {min(set(range(6, 1000)) - set(kept))}  # the listing's own


def test_a_hundred_lives_cost_neither_descriptors_nor_memory(runtime, spawner, bundle):
    def live() -> None:
        init = spawner.create(bundle.path, name, state_root=runtime.root)
        spawner.start(name, state_root=runtime.root)
        assert spawner.exec(name, ["true"], state_root=runtime.root).wait() == 0
        spawner.kill(name, "KILL", state_root=runtime.root)
        init.wait()
        spawner.delete(name, state_root=runtime.root)

    name = runtime.prepare(bundle, "sleep", "1000")
    for _ in range(30):
        live()
    fds_before, memory_before, own = descriptors(spawner.pid), memory_kib(spawner.pid), descriptors("self")
    for _ in range(100):
        live()
    assert descriptors(spawner.pid) == fds_before
    assert descriptors("self") == own
    assert memory_kib(spawner.pid) <= memory_before + 400


def test_its_executable_cannot_be_written_to_through_it(spawner):
    """Not even by who may trace it, or a child of it on its way into a container (CVE-2019-5736): it runs
    from a mount that is read-only, also when it isn't busy any more."""
    fd = os.open(f"/proc/{spawner.pid}/exe", os.O_PATH)
    try:
        assert os.fstatvfs(fd).f_flag & os.ST_RDONLY
    finally:
        os.close(fd)
