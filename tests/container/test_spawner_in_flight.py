"""The spawner with several things in flight: what waits keeps nobody else waiting, and ends alone."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import leaks
from support.waiting import until

from pyrunc.errors import CONFLICT, INTERNAL, INVALID, NOT_FOUND, PyruncError
from pyrunc.spawner.client import Connection, Process, Spawner

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


class Gate:
    """A hook that says that it has begun, and then waits until the gate is opened."""

    def __init__(self, directory: Path) -> None:
        self.fifo, self.begun = directory / "gate", directory / "begun"
        os.mkfifo(self.fifo)

    def hook(self, then: str = "", **more: object) -> dict[str, object]:
        script = (
            f"echo $$ >{self.begun}.new; mv {self.begun}.new {self.begun}; read line <{self.fifo}; {then}"
        )
        return {"path": "/bin/sh", "args": ["sh", "-c", script], **more}

    def pid(self) -> int:
        """Of the hook, which has begun."""
        until(self.begun.exists, "the hook has begun")
        return int(self.begun.read_text())

    def open(self) -> None:
        self.fifo.write_text("go\n")


@pytest.fixture
def gate(work) -> Gate:
    return Gate(work)


@pytest.fixture
def runtime(runtime):
    if not runtime("--version").stdout.startswith("pyrunc "):
        pytest.skip("a spawner and another runtime know nothing of each other")
    return runtime


@pytest.fixture
def spawner(runtime) -> Iterator[Spawner]:
    with Spawner() as made:
        yield made


@pytest.fixture
def slow(runtime, spawner, new_bundle, gate):
    """A bundle whose creation waits in its hook."""
    bundle = new_bundle()
    bundle.config["hooks"] = {"createRuntime": [gate.hook()]}
    runtime.prepare(bundle, "sleep", "1000")
    return bundle


def has_come(connection: Connection, seconds: float = 0) -> bool:
    return bool(select.select([connection], [], [], seconds)[0])


def children(spawner: Spawner) -> list[str]:
    return Path(f"/proc/{spawner.pid}/task/{spawner.pid}/children").read_text().split()


def assert_nothing_is_left(runtime, bundle) -> None:
    assert os.listdir(runtime.root) == []
    assert leaks.cgroups(bundle.id) == []


def live(connection: Connection, runtime, bundle) -> None:
    """A whole life."""
    init = connection.create(bundle.path, bundle.id, state_root=runtime.root)
    connection.start(bundle.id, state_root=runtime.root)
    assert connection.exec(bundle.id, ["true"], state_root=runtime.root).wait() == 0
    connection.kill(bundle.id, "KILL", state_root=runtime.root)
    assert init.wait() == 128 + signal.SIGKILL
    connection.delete(bundle.id, state_root=runtime.root)


def test_one_that_waits_for_its_hook_keeps_no_other_waiting(runtime, spawner, new_bundle, slow, gate):
    quick = new_bundle()
    runtime.prepare(quick, "sleep", "1000")
    with spawner.connect() as other:
        other.ask_create(slow.path, slow.id, state_root=runtime.root)
        gate.pid()
        live(spawner, runtime, quick)
        assert spawner.state(slow.id, state_root=runtime.root)["status"] == "created"
        assert not has_come(other)
        gate.open()
        init = other.take_process()
        assert runtime.state(slow)["pid"] == init.pid
        other.start(slow.id, state_root=runtime.root)
        assert runtime.state(slow)["status"] == "running"


def test_many_at_once(runtime, spawner, new_bundle):
    bundles = [new_bundle() for _ in range(8)]
    connections = [spawner.connect() for _ in bundles]
    for bundle, connection in zip(bundles, connections, strict=True):
        runtime.prepare(bundle, "sh", "-c", f"exit {len(bundle.id)}")
        connection.ask_create(bundle.path, bundle.id, state_root=runtime.root)
    for bundle, connection in zip(bundles, connections, strict=True):
        init = connection.take_process()
        connection.start(bundle.id, state_root=runtime.root)
        assert init.wait() == len(bundle.id)
        connection.delete(bundle.id, state_root=runtime.root)
        connection.close()
    assert children(spawner) == []


def test_one_that_fails_undoes_only_its_own(runtime, spawner, new_bundle, slow, gate):
    bad, running = new_bundle(), new_bundle()
    with spawner.connect() as other:
        runtime.prepare(running, "sleep", "1000")
        spawner.create(running.path, running.id, state_root=runtime.root)
        spawner.start(running.id, state_root=runtime.root)
        other.ask_create(slow.path, slow.id, state_root=runtime.root)
        gate.pid()
        runtime.prepare(bad, "no-such-program")
        with pytest.raises(PyruncError) as found:
            spawner.create(bad.path, bad.id, state_root=runtime.root)
        assert found.value.kind == NOT_FOUND
        assert sorted(os.listdir(runtime.root)) == sorted([slow.id, running.id])
        assert leaks.cgroups(bad.id) == []
        gate.open()
        other.take_process()
    assert runtime.state(slow)["status"] == "created"
    assert runtime.state(running)["status"] == "running"


def test_the_id_of_one_in_flight_is_taken(runtime, spawner, slow, gate):
    with spawner.connect() as other:
        other.ask_create(slow.path, slow.id, state_root=runtime.root)
        gate.pid()
        with pytest.raises(PyruncError) as found:
            spawner.create(slow.path, slow.id, state_root=runtime.root)
        assert found.value.kind == CONFLICT
        gate.open()
        assert other.take_process().pid == runtime.state(slow)["pid"]


@pytest.mark.parametrize("verb", ["delete", "start"])
def test_what_is_wanted_of_one_in_flight_waits_for_it_and_nothing_else_does(
    runtime, spawner, new_bundle, slow, gate, verb
):
    """Its lock is held by the spawner itself, which must not wait for itself."""
    more = {"force": True} if verb == "delete" else {}
    quick = new_bundle()
    runtime.prepare(quick, "sleep", "1000")
    with spawner.connect() as creator, spawner.connect() as second:
        creator.ask_create(slow.path, slow.id, state_root=runtime.root)
        gate.pid()
        second._ask(verb, {"id": slow.id, "state_root": str(runtime.root), **more}, None)
        live(spawner, runtime, quick)
        assert not has_come(second)
        gate.open()
        init = creator.take_process()
        second._take()
        if verb == "delete":
            assert init.wait() == 128 + signal.SIGKILL
            assert_nothing_is_left(runtime, slow)
        else:
            assert runtime.state(slow)["status"] == "running"


def test_the_time_of_a_hook_runs_out_while_others_go_on(runtime, spawner, new_bundle, slow, gate):
    slow.config["hooks"] = {"createRuntime": [gate.hook(timeout=1)]}
    runtime.prepare(slow, "sleep", "1000")
    quick = new_bundle()
    runtime.prepare(quick, "sleep", "1000")
    with spawner.connect() as other:
        other.ask_create(slow.path, slow.id, state_root=runtime.root)
        hook = gate.pid()
        live(spawner, runtime, quick)
        with pytest.raises(PyruncError, match="hook ran past specified timeout of 1"):
            other.take_process()
        assert leaks.state_of(hook) == "X"
    assert_nothing_is_left(runtime, slow)


@pytest.mark.parametrize("kind", ["startContainer", "poststart"])
def test_a_start_waits_for_its_hooks_alone(runtime, spawner, new_bundle, gate, kind, work):
    bundle, quick = new_bundle(), new_bundle()
    bundle.bind(work, str(work))
    bundle.config["hooks"] = {kind: [gate.hook()]}
    runtime.prepare(bundle, "sleep", "1000")
    runtime.prepare(quick, "sleep", "1000")
    with spawner.connect() as other:
        other.create(bundle.path, bundle.id, state_root=runtime.root)
        other._ask("start", {"id": bundle.id, "state_root": str(runtime.root)}, None)
        until(gate.begun.exists, "the hook has begun")
        live(spawner, runtime, quick)
        assert not has_come(other)
        gate.open()
        other._take()
        assert runtime.state(bundle)["status"] == "running"


def test_a_child_in_flight_holds_nothing_of_anothers(runtime, spawner, new_bundle, slow, gate):
    """Neither its streams, whose end somebody waits for, nor the lock of its container."""
    slow.config["hooks"] = {"createContainer": [gate.hook()]}  # in the child, which lives all that time
    slow.bind(gate.fifo.parent, str(gate.fifo.parent))
    runtime.prepare(slow, "sleep", "1000")
    first = new_bundle()
    first.config["hooks"] = {"createRuntime": [Gate(first.path).hook()]}
    runtime.prepare(first, "echo", "said")
    hear, outside = os.pipe()
    with spawner.connect() as one, spawner.connect() as two:
        one.ask_create(first.path, first.id, state_root=runtime.root, streams={"stdout": outside})
        os.close(outside)
        until((first.path / "begun").exists, "its hook has begun")
        two.ask_create(slow.path, slow.id, state_root=runtime.root)  # born while the other has all that open
        gate.pid()
        (first.path / "gate").write_text("go\n")
        init = one.take_process()
        runtime.start(first).ok()
        assert init.wait() == 0
        assert select.select([hear], [], [], 20)[0]
        assert os.read(hear, 100) == b"said\n"
        assert select.select([hear], [], [], 20)[0], "somebody holds its stream"
        assert os.read(hear, 100) == b""
        runtime.delete(first).ok()
        gate.open()
        two.take_process()
    os.close(hear)


def test_a_client_that_leaves_takes_back_what_is_in_flight_for_it(runtime, spawner, new_bundle, slow, gate):
    quick = new_bundle()
    runtime.prepare(quick, "sleep", "1000")
    other = spawner.connect()
    other.ask_create(slow.path, slow.id, state_root=runtime.root)
    hook = gate.pid()
    other.close()
    until(lambda: leaks.state_of(hook) == "X", "the hook is ended")
    live(spawner, runtime, quick)  # it has done that before this
    assert_nothing_is_left(runtime, slow)
    assert children(spawner) == []


def test_an_execution_of_a_client_that_left_is_ended_too(runtime, spawner, bundle):
    """It was either undone, or had begun: then it is the container's, and goes with it. The init of a pid
    namespace ends only when all in there are reaped, also those that are the spawner's children."""
    runtime.prepare(bundle, "sleep", "1000")
    spawner.create(bundle.path, bundle.id, state_root=runtime.root)
    spawner.start(bundle.id, state_root=runtime.root)
    spawner.exec(bundle.id, ["sleep", "1000"], state_root=runtime.root)
    other = spawner.connect()
    other.ask_exec(bundle.id, ["sleep", "1000"], state_root=runtime.root)
    other.close()
    spawner.delete(bundle.id, state_root=runtime.root, force=True)
    until(lambda: children(spawner) == [], "all is reaped")


@pytest.mark.parametrize("ending", ["close", "HUP", "INT", "TERM"])
def test_a_spawner_that_ends_leaves_nothing_half_made(runtime, new_bundle, slow, gate, ending):
    running = new_bundle()
    runtime.prepare(running, "sleep", "1000")
    spawner = Spawner()
    spawner.create(running.path, running.id, state_root=runtime.root)
    other = spawner.connect()
    other.ask_create(slow.path, slow.id, state_root=runtime.root)
    hook = gate.pid()
    if ending == "close":
        spawner.close()
    else:
        os.kill(spawner.pid, getattr(signal, f"SIG{ending}"))
    with pytest.raises(PyruncError) as found:
        other.take_process()
    assert (found.value.kind, found.value.what) == (INTERNAL, "the spawner is gone")
    spawner.close()
    assert leaks.state_of(hook) == "X"
    assert os.listdir(runtime.root) == [running.id]
    assert leaks.cgroups(slow.id) == []
    assert runtime.state(running)["status"] == "created"
    other.close()


def test_after_one_that_was_killed_a_delete_finds_what_is_left(runtime, slow, gate):
    spawner = Spawner()
    other = spawner.connect()
    other.ask_create(slow.path, slow.id, state_root=runtime.root)
    hook = gate.pid()
    os.kill(spawner.pid, signal.SIGKILL)
    with pytest.raises(PyruncError, match="the spawner is gone"):
        other.take_process()
    spawner.close()
    gate.open()
    until(lambda: leaks.state_of(hook) in "ZX", "the hook has ended")
    runtime("delete", "--force", slow.id).ok()
    assert_nothing_is_left(runtime, slow)
    other.close()


def test_signals_that_the_spawner_blocks_reach_what_it_made(runtime, spawner, bundle):
    runtime.prepare(bundle, "sh", "-c", "trap 'exit 3' TERM; trap 'exit 4' HUP; while :; do sleep 0.05; done")
    init = spawner.create(bundle.path, bundle.id, state_root=runtime.root)
    spawner.start(bundle.id, state_root=runtime.root)
    blocked = next(
        line
        for line in Path(f"/proc/{init.pid}/status").read_text().splitlines()
        if line.startswith("SigBlk")
    )
    assert int(blocked.split()[1], 16) == 0
    done = spawner.exec(bundle.id, ["sh", "-c", "kill -TERM $$; sleep 1000"], state_root=runtime.root)
    assert done.wait() == 128 + signal.SIGTERM


def test_a_thread_that_waits_lets_the_others_run(runtime, spawner, slow, gate):
    """In the client: what opens the gate is another thread of the same interpreter."""
    made: list[Process] = []
    thread = threading.Thread(
        target=lambda: made.append(spawner.create(slow.path, slow.id, state_root=runtime.root))
    )
    thread.start()
    gate.pid()
    gate.open()
    thread.join(30)
    assert [process.pid for process in made] == [runtime.state(slow)["pid"]]


def test_a_connection_that_is_none_is_an_error(spawner, work):
    (work / "file").write_text("")
    with (work / "file").open() as file, pytest.raises(PyruncError, match="listen to the new connection"):
        spawner._call("connect", {}, {"connection": file.fileno()})
    with pytest.raises(PyruncError) as found:
        spawner._call("connect", {}, {})
    assert (found.value.kind, "connection is required" in str(found.value)) == (INVALID, True)
    reading, writing = os.pipe()
    spawner._call("connect", {}, {"connection": reading})  # what is heard of it is no message
    os.write(writing, b"x")
    os.close(reading)
    os.close(writing)
    with pytest.raises(PyruncError, match="does not exist"):
        spawner.state("nobody", state_root=work)


def test_requests_sent_ahead_are_carried_out_in_order(runtime, spawner, slow, gate):
    with spawner.connect() as other:
        other.ask_create(slow.path, slow.id, state_root=runtime.root)
        other._ask("start", {"id": slow.id, "state_root": str(runtime.root)}, None)
        gate.pid()
        gate.open()
        other.take_process()
        other._take()
        assert runtime.state(slow)["status"] == "running"
