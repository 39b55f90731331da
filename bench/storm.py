"""Whole lives per second, with so many in flight: create, start, the program's end, delete."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

from bench import charts
from bench.figures import table
from bench.measurement import Found, Given
from bench.programs import Failed, Program, new_id
from bench.warm import NAME
from pyrunc.spawner.client import Connection, Process, Spawner

WIDTHS = (1, 2, 8)


def by_program(program: Program, bundle: Path, width: int, count: int) -> float:
    left = count
    running: set[int] = set()
    streams = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
    begin = time.perf_counter()
    while left or running:
        while left and len(running) < width:
            argv = program.words("run", "--bundle", bundle, new_id())
            running.add(os.posix_spawn(argv[0], argv, os.environ, file_actions=streams))
            left -= 1
        pid, status = os.wait()
        if pid in running and status:
            raise Failed(f"{program.name}: {os.waitstatus_to_exitcode(status)} with {width} at once")
        running.discard(pid)
    return count / (time.perf_counter() - begin)


class Life:
    """One in flight, on a connection of its own: created, started, ended, deleted, one thing after the other.
    `fileno` can be read when it goes on."""

    def __init__(self, connection: Connection, root: Path) -> None:
        self.connection, self.root = connection, root
        self.name = ""
        self.init: Process | None = None

    def fileno(self) -> int:
        return self.connection.fileno() if self.init is None else self.init.exit_pipe

    def begin(self, bundle: Path) -> None:
        self.name = new_id()
        self.connection.ask_create(bundle, self.name, state_root=self.root)

    def has_ended(self) -> bool:
        """After one step more."""
        if self.init is None:
            self.init = self.connection.take_process()
            self.connection.start(self.name, state_root=self.root)
            return False
        self.init.wait()
        self.init = None
        self.connection.delete(self.name, state_root=self.root)
        return True


def by_spawner(spawner: Spawner, bundle: Path, root: Path, width: int, count: int) -> float:
    lives = [Life(spawner.connect(), root) for _ in range(width)]
    left, running = count, set[Life]()
    begin = time.perf_counter()
    while left or running:
        for life in [*lives]:
            if left and life not in running:
                life.begin(bundle)
                running.add(life)
                left -= 1
        for life in select.select(list(running), [], [])[0]:
            if life.has_ended():
                running.remove(life)
    rate = count / (time.perf_counter() - begin)
    for life in lives:
        life.connection.close()
    return rate


def measure(given: Given) -> Found:
    """`rounds` is how many containers of each in one go; the best of three counts, for a storm of ours does
    not drown in one of the neighbours'."""
    bundle = given.bundles.make("short", ["true"])
    time.sleep(0.1)  # a file that was just written is not remembered
    names = [*(program.name for program in given.programs), NAME]
    rates: dict[int, dict[str, list[float]]] = {width: {name: [] for name in names} for width in WIDTHS}
    with given.spawner() as spawner:
        for width in WIDTHS:
            for _ in range(3):
                for program in given.programs:
                    rates[width][program.name].append(by_program(program, bundle, width, given.rounds))
                rate = by_spawner(spawner, bundle, given.work / "state-warm", width, given.rounds)
                rates[width][NAME].append(rate)
    best = {width: {name: max(found) for name, found in rates[width].items()} for width in WIDTHS}
    rows = [[f"{width} at once", *(f"{best[width][name]:.0f}" for name in names)] for width in WIDTHS]
    chart = charts.bars("Containers per second", {f"{width} at once": best[width] for width in WIDTHS}, "/s")
    return Found(tables=[table(["containers/s", *names], rows)], data={"per_second": rates}, chart=chart)
