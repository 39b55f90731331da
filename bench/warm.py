"""Operations of the spawner beside the same by a command line, which starts a program for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from bench import charts, host
from bench.figures import compare, table
from bench.measurement import Found, Given, no_samples
from bench.programs import OPERATIONS, Cost, Program, life, new_id
from pyrunc.spawner.client import Process, Spawner

NAME = "warm"


class Warm:
    """A spawner in the place of a Program."""

    name = NAME

    def __init__(self, spawner: Spawner, root: Path) -> None:
        self.spawner, self.root = spawner, root

    def life(self, bundles: tuple[Path, Path], gap: float = 0) -> Iterator[tuple[str, Cost]]:
        short, long = bundles
        spawner, root = self.spawner, self.root
        name = new_id()
        time.sleep(gap)
        yield "run", self._timed(lambda: self.run(short, name))
        name = new_id()
        time.sleep(gap)
        made: list[Process] = []
        yield "create", self._timed(lambda: made.append(spawner.create(long, name, state_root=root)))
        try:
            for operation, call in (
                ("state", lambda: spawner.state(name, state_root=root)),
                ("start", lambda: spawner.start(name, state_root=root)),
                ("exec", lambda: spawner.exec(name, ["true"], state_root=root).wait()),
                ("kill", lambda: spawner.kill(name, "KILL", state_root=root)),
            ):
                time.sleep(gap)
                yield operation, self._timed(call)
            made[0].wait()
            time.sleep(gap)
            yield "delete", self._timed(lambda: spawner.delete(name, state_root=root))
        except BaseException:
            spawner.delete(name, state_root=root, force=True)
            raise

    def run(self, bundle: Path, name: str) -> None:
        init = self.spawner.create(bundle, name, state_root=self.root)
        self.spawner.start(name, state_root=self.root)
        init.wait()
        self.spawner.delete(name, state_root=self.root)

    def _timed(self, call: Callable[[], object]) -> Cost:
        used, begin = host.cpu_ms(self.spawner.pid), time.perf_counter()
        call()
        wall = (time.perf_counter() - begin) * 1000
        return Cost(wall, host.cpu_ms(self.spawner.pid) - used)


def measure(given: Given) -> Found:
    bundles = given.bundles.make("short", ["true"]), given.bundles.make("long", ["sleep", "1000"])
    time.sleep(0.1)  # a file that was just written is not remembered
    names = [*(program.name for program in given.programs), NAME]
    wall, cpu = no_samples(OPERATIONS, names), no_samples(OPERATIONS, names)
    with given.spawner() as spawner:
        subjects = [*given.programs, Warm(spawner, given.work / "state-warm")]  # type: list[Program | Warm]
        for subject, counts in given.turns(subjects):
            steps = (
                life(subject, bundles, given.gap)
                if isinstance(subject, Program)
                else subject.life(bundles, given.gap)
            )
            for operation, cost in steps:
                if counts and isinstance(cost, Cost):
                    wall[operation][subject.name].append(cost.wall)
                    cpu[operation][subject.name].append(cost.cpu)
        memory = {"PSS": host.held_kib(spawner.pid), "RSS": host.own_kib(spawner.pid)}
    chart = charts.bars(
        "Milliseconds of an operation, median",
        {op: {name: median(found) for name, found in wall[op].items()} for op in OPERATIONS},
        "ms",
    )
    tables = [
        compare("ms: median (min)", wall, 2),
        compare("CPU ms", cpu, 2),
        table(["spawner, afterwards", "KiB"], [[what, str(kib)] for what, kib in memory.items()]),
    ]
    return Found(tables=tables, data={"wall_ms": wall, "cpu_ms": cpu, "spawner_kib": memory}, chart=chart)
