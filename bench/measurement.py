"""What a measurement is given, and what it has found."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from bench import host
from bench.bundles import Bundles
from bench.programs import Program
from pyrunc.spawner.client import Spawner

T = TypeVar("T")


Samples = dict[str, dict[str, list[float]]]  # what -> runtime -> each time it was measured


def no_samples(what: Sequence[str], names: Sequence[str]) -> Samples:
    return {one: {name: [] for name in names} for one in what}


@dataclass
class Given:
    """`most`: up to how many containers, for `growth`."""

    programs: list[Program]
    bundles: Bundles
    work: Path
    rounds: int
    gap: float = 0
    most: int = 100
    goes_forward: bool = False
    order: random.Random = field(default_factory=lambda: random.Random(1))

    def spawner(self) -> Spawner:
        made = Spawner()
        if self.goes_forward:
            host.lift_session(made.pid)
        return made

    def turns(self, subjects: Sequence[T]) -> Iterator[tuple[T, bool]]:
        """Each once a round, in random order; False in the round before the first, which is not counted."""
        for number in range(-1, self.rounds):
            for subject in self.order.sample(subjects, len(subjects)):
                yield subject, number >= 0


@dataclass
class Found:
    """`tables`: for people; `data`: all samples; `chart`: SVG."""

    tables: list[str]
    data: dict[str, Any]
    chart: str
