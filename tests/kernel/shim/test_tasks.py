"""shim.containerd.task: when a shim is taken for abandoned, and who waits for what is under way."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.forked import run_apart

from pyrunc.errors import NOT_FOUND, PyruncError
from pyrunc.shim.containerd.options import Options
from pyrunc.shim.containerd.streams import Identity, StreamSet, Wanted
from pyrunc.shim.containerd.task import Process, Task, Tasks
from pyrunc.shim.loop import Loop
from pyrunc.shim.oci_runtime import Door, RuntimeSettings
from pyrunc.shim.reaper import Reaper

PATIENCE_SECONDS = 0.2


def make_task(loop: Loop, work: Path) -> Task:
    (work / "config.json").write_text("{}")
    wanted = Wanted(stdin="", stdout="", stderr="", terminal=False)
    streams = StreamSet(loop, wanted, Identity(namespace="n", container="box"), f"{work}/console")
    door = Door(loop, Reaper(loop), str(work), RuntimeSettings(state_root=f"{work}/state"))
    return Task("box", str(work), str(work), Options(), door, Process("", wanted, streams))


def seconds_until_abandoned(work: Path, *changes: str) -> float:
    """With each of `changes` half of the patience after the one before; 9: never."""

    def play() -> float:
        loop, begun = Loop(), time.monotonic()
        tasks, task = Tasks(loop, loop.stop, PATIENCE_SECONDS), make_task(loop, work)
        for number, change in enumerate(changes, 1):
            loop.after(number * PATIENCE_SECONDS / 2, lambda change=change: getattr(tasks, change)(task))
        never: list[bool] = []
        loop.after(PATIENCE_SECONDS * 10, lambda: (never.append(True), loop.stop()))
        loop.run()
        return 9 if never else time.monotonic() - begun

    return run_apart(play, 0)


def test_a_shim_that_never_gets_a_task_is_abandoned(work):
    assert seconds_until_abandoned(work) >= PATIENCE_SECONDS


def test_one_with_a_task_never_is(work):
    assert seconds_until_abandoned(work, "add") == 9


def test_one_whose_last_task_is_gone(work):
    assert PATIENCE_SECONDS * 2 <= seconds_until_abandoned(work, "add", "remove") < 9


def test_the_time_begins_anew_with_each_task(work):
    assert PATIENCE_SECONDS * 3 <= seconds_until_abandoned(work, "add", "remove", "add", "remove") < 9


def test_who_waits_is_called_once_and_may_wait_again(work):
    def play() -> list[str]:
        loop, called = Loop(), []
        tasks = Tasks(loop, loop.stop)
        tasks.settle("box")

        def first() -> None:
            called.append("first")
            tasks.when_settled("box", lambda: called.append("again"))

        tasks.when_settled("box", first)
        tasks.when_settled("box", lambda: called.append("second"))
        tasks.when_settled("other", lambda: called.append("other"))
        tasks.settle("box")
        called.append("-")
        tasks.settle("box")
        tasks.settle("box")
        with pytest.raises(PyruncError) as caught:
            tasks.find("box")
        assert caught.value.kind == NOT_FOUND
        return called

    assert run_apart(play, 0) == ["first", "second", "-", "again"]
