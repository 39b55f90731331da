"""shim.oci_runtime: the same door to our own runtime and to another."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support import leaks
from support.bundle import PREFIX, Bundle
from support.forked import run_apart

from pyrunc.errors import NOT_FOUND
from pyrunc.shim.loop import Loop
from pyrunc.shim.oci_runtime import Door, Outcome, RuntimeSettings, Streams
from pyrunc.shim.reaper import Reaper
from pyrunc.shim.stdio import Source

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(params=["ours", "runc"])
def program(request: pytest.FixtureRequest) -> str:
    if request.param == "ours":
        return ""
    found = shutil.which("runc")
    if found is None:
        pytest.skip("there is no runc")
    return found


class Play:
    """One container's life through a door."""

    def __init__(self, work: Path, program: str) -> None:
        self.loop = Loop()
        self.reaper = Reaper(self.loop)
        (work / "calls").mkdir()
        settings = RuntimeSettings(state_root=str(work / "root"), program=program)
        self.door = Door(self.loop, self.reaper, str(work / "calls"), settings)

    def call(self, *words: str, data: bytes = b"") -> Outcome:
        return self.wait(lambda done: self.door.call(words, done, data))

    def wait(self, begin) -> Outcome:
        outcomes: list[Outcome] = []

        def done(outcome: Outcome) -> None:
            outcomes.append(outcome)
            if outcome.pid:
                self.reaper.expect(outcome.pid, lambda child: self.codes.append(child.exit_code))
            self.loop.stop()

        begin(done)
        self.loop.run()
        return outcomes[0]

    codes: list[int] = []  # noqa: RUF012  (one play per process)


def test_a_life(program, work):
    bundle = Bundle(work / "bundle")
    bundle.process["args"] = ["sh", "-c", "echo out; read line; exit 7"]
    bundle.write()
    watch = leaks.Watch(work, f"{PREFIX}{os.getpid()}-")

    def play() -> dict[str, object]:
        stage = Play(work, program)
        reading, writing = os.pipe2(os.O_CLOEXEC)
        inside, feed = os.pipe2(os.O_CLOEXEC)
        said = bytearray()
        Source(stage.loop, reading, said.extend, stage.loop.stop)
        streams = Streams(stdin=inside, stdout=writing, stderr=writing)
        created = stage.wait(
            lambda done: stage.door.create(("--bundle", str(bundle.path)), bundle.id, streams, done)
        )
        assert created.error is None, created.error
        os.close(writing)
        os.close(inside)
        assert stage.call("start", bundle.id).error is None
        state = stage.call("state", bundle.id).document()
        executed = stage.wait(
            lambda done: stage.door.exec((), bundle.id, Streams(), done, ("sh", "-c", "exit 3"))
        )
        assert executed.error is None, executed.error
        limits = b'{"pids": {"limit": 50}}'
        assert stage.call("update", "--resources", "-", bundle.id, data=limits).error is None
        pids = stage.call("ps", "--format", "json", bundle.id).document()
        os.write(feed, b"x\n")
        stage.loop.run()
        stage.reaper.reap()
        while len(stage.codes) < 2:
            stage.loop.after(0.05, stage.loop.stop)
            stage.loop.run()
        assert stage.call("delete", bundle.id).error is None
        gone = stage.call("state", bundle.id)
        assert gone.error is not None
        return {
            "said": bytes(said), "codes": sorted(stage.codes), "status": state["status"],
            "is_parent": state["pid"] == created.pid, "pids": created.pid in pids, "kind": gone.error.kind,
            "words": gone.error.what, "left": os.listdir(work / "calls"),
        }  # fmt: skip

    found = run_apart(play, 0)
    words = found.pop("words")
    assert found == {
        "said": b"out\n", "codes": [3, 7], "status": "running", "is_parent": True, "pids": True,
        "kind": NOT_FOUND, "left": [],
    }  # fmt: skip
    assert "does not exist" in words
    shutil.rmtree(work / "root", ignore_errors=True)
    watch.require_clean()


def test_a_failure_says_why(program, work):
    bundle = Bundle(work / "bundle")
    bundle.process["args"] = ["/no/such"]
    bundle.write()

    def play() -> tuple[str, int]:
        stage = Play(work, program)
        created = stage.wait(
            lambda done: stage.door.create(("--bundle", str(bundle.path)), bundle.id, Streams(), done)
        )
        if created.error is None:  # runc looks for it at start, when it is older
            created = stage.call("start", bundle.id)
            stage.call("delete", "--force", bundle.id)
        assert created.error is not None
        return created.error.what, created.pid

    what, pid = run_apart(play, 0)
    assert "/no/such" in what
    assert pid == 0


def test_an_init_is_our_runtime_s_alone(work):
    def play() -> str:
        stage = Play(work, "/bin/true")
        created = stage.wait(lambda done: stage.door.create(("--init",), "x", Streams(), done))
        return created.error.kind if created.error is not None else ""

    assert run_apart(play, 0) == "unsupported"
