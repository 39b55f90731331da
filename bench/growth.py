"""How cost grows: with containers that exist, with mounts in config.json, with the caller's memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from bench import charts
from bench.figures import table
from bench.measurement import Found, Given
from bench.programs import Program, new_id
from bench.warm import NAME, Warm

MOUNTS = (1, 50, 200, 500)
MEBIBYTES = (1, 50, 200)
Curve = dict[str, list[tuple[float, float]]]  # runtime -> (how many, median ms)


def measure(given: Given) -> Found:
    with given.spawner() as spawner:
        warm = Warm(spawner, given.work / "state-warm")
        curves = {
            "state, containers that exist": _by_containers(given, warm, _state),
            "create, containers that exist": _by_containers(given, warm, _create),
            "run, mounts in config.json": _by_mounts(given, warm),
            "run, MiB of the caller's memory": _by_memory(given, warm),
        }
    tables = [_table(what, curve) for what, curve in curves.items()]
    what = "run, mounts in config.json"
    return Found(
        tables=tables, data=curves, chart=charts.lines(f"ms of {what}", curves[what], "mounts", "ms")
    )


def _table(what: str, curve: Curve) -> str:
    counts = [count for count, _ in next(iter(curve.values()))]
    rows = [[name, *(f"{value:.2f}" for _, value in points)] for name, points in curve.items()]
    return table([what, *(f"{count:g}" for count in counts)], rows)


def _subjects(given: Given, warm: Warm) -> list[Program | Warm]:
    return [*given.programs, warm]


def _median(given: Given, call: Callable[[], object]) -> float:
    found = []
    for _ in range(given.rounds):
        begin = time.perf_counter()
        call()
        found.append((time.perf_counter() - begin) * 1000)
    return median(found)


class _Crowd:
    """Containers that wait for `start`, made one by one, removed all together."""

    def __init__(self, subject: Program | Warm, bundle: Path) -> None:
        self.subject, self.bundle = subject, bundle
        self.names: list[str] = []

    def add(self) -> None:
        self.names.append(new_id())
        if isinstance(self.subject, Program):
            self.subject.create(self.bundle, self.names[-1])
        else:
            root = self.subject.root
            self.subject.spawner.create(self.bundle, self.names[-1], state_root=root).close()

    def remove(self) -> None:
        name = self.names.pop()
        if isinstance(self.subject, Program):
            self.subject("delete", "--force", name)
        else:
            self.subject.spawner.delete(name, state_root=self.subject.root, force=True)


def _state(given: Given, crowd: _Crowd) -> float:
    subject, name = crowd.subject, crowd.names[0]
    if isinstance(subject, Program):
        return _median(given, lambda: subject("state", name))
    return _median(given, lambda: subject.spawner.state(name, state_root=subject.root))


def _create(given: Given, crowd: _Crowd) -> float:
    found = []
    for _ in range(given.rounds):
        begin = time.perf_counter()
        crowd.add()
        found.append((time.perf_counter() - begin) * 1000)
        crowd.remove()
    return median(found)


def _by_containers(given: Given, warm: Warm, cost: Callable[[Given, _Crowd], float]) -> Curve:
    bundle = given.bundles.make(new_id(), ["sleep", "1000"])
    counts = sorted({1, max(given.most // 10, 1), given.most})
    curve: Curve = {}
    for subject in _subjects(given, warm):
        crowd = _Crowd(subject, bundle)
        try:
            for count in counts:
                while len(crowd.names) < count:
                    crowd.add()
                curve.setdefault(subject.name, []).append((count, cost(given, crowd)))
        finally:
            while crowd.names:
                crowd.remove()
    return curve


def _run(given: Given, subject: Program | Warm, bundle: Path) -> float:
    if isinstance(subject, Program):
        return _median(given, lambda: subject("run", "--bundle", bundle, new_id()))
    return _median(given, lambda: subject.run(bundle, new_id()))


def _by_mounts(given: Given, warm: Warm) -> Curve:
    curve: Curve = {subject.name: [] for subject in _subjects(given, warm)}
    for count in MOUNTS:
        bundle = given.bundles.make(f"mounts-{count}", ["true"], mounts=count)
        for subject in _subjects(given, warm):
            curve[subject.name].append((count, _run(given, subject, bundle)))
    return curve


def _by_memory(given: Given, warm: Warm) -> Curve:
    """Ours grows: a caller that forks instead would pay for each page."""
    bundle = given.bundles.make("ballast", ["true"])
    curve: Curve = {NAME: []}
    for count in MEBIBYTES:
        ballast = bytearray(b"x" * (count << 20))
        curve[NAME].append((count, _run(given, warm, bundle)))
        del ballast
    return curve
