"""Fixtures for effects on the host."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import pytest
from support import host
from support.cgroup_box import Box

_numbers = itertools.count()


@pytest.fixture
def new_box() -> Iterator[Callable[[], Box]]:
    """Cgroups of the test's own; without root they are made where a user may, in a delegated cgroup."""
    if not host.CGROUP1 and host.CGROUP2 is None:
        pytest.skip("this host has no cgroups")
    boxes: list[Box] = []

    def make() -> Box:
        boxes.append(Box(f"pyrunc-test-{os.getpid()}-{next(_numbers)}"))
        return boxes[-1]

    yield make
    for box in boxes:
        box.clean()


@pytest.fixture
def box(new_box: Callable[[], Box]) -> Box:
    return new_box()
