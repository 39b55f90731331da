"""What is held for a container while it waits for `start`, and while it runs; and by a spawner with many."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

from bench import charts, host
from bench.figures import compare, table
from bench.measurement import Found, Given, no_samples
from bench.programs import new_id

_WHEN = ("created", "running")


def measure(given: Given) -> Found:
    bundle = given.bundles.make("long", ["sleep", "1000"])
    names = [program.name for program in given.programs]
    held = no_samples(_WHEN, names)
    for program, counts in given.turns(given.programs):
        name = new_id()
        program.create(bundle, name)
        try:
            created = host.held_kib(program.pid())
            program("start", name)
            time.sleep(0.05)  # the program starts
            running = host.held_kib(program.pid())
        finally:
            program.remove(name)
        if counts:
            held["created"][program.name].append(created)
            held["running"][program.name].append(running)
    spawner = _of_spawner(given, bundle)
    chart = charts.bars(
        "PSS of a container's init, KiB",
        {when: {name: median(found) for name, found in held[when].items()} for when in _WHEN},
        "KiB",
    )
    rows = [[str(count), str(pss), str(rss)] for count, (pss, rss) in spawner.items()]
    tables = [
        compare("PSS of init, KiB", held, 0),
        table(["containers", "spawner: PSS, KiB", "RSS, KiB"], rows),
    ]
    return Found(tables=tables, data={"held_kib": held, "spawner_kib": spawner}, chart=chart)


def _of_spawner(given: Given, bundle: Path) -> dict[int, tuple[int, int]]:
    root, found = given.work / "state-warm", {}
    names: list[str] = []
    with given.spawner() as spawner:
        try:
            for count in (0, 1, given.most // 4, given.most):
                while len(names) < count:
                    names.append(new_id())
                    spawner.create(bundle, names[-1], state_root=root).close()
                found[count] = host.held_kib(spawner.pid), host.own_kib(spawner.pid)
        finally:
            for name in names:
                spawner.delete(name, state_root=root, force=True)
    return found
