"""Stores of a test's own, with either driver."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import leaks
from support.fake_registry import FakeRegistry, fake_registry

from pyrunc.image.images import Image
from pyrunc.image.store import Store, open_store


@pytest.fixture(params=["overlay", "plain"])
def store(request: pytest.FixtureRequest, work: Path) -> Store:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    return open_store(str(work / "images"), request.param)


@pytest.fixture
def overlay_store(work: Path) -> Store:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    return open_store(str(work / "images"), "overlay")


@pytest.fixture
def mounted(work: Path) -> Iterator[Callable[[Store, Image], Path]]:
    """A container's view of an image: mounted until the test is over."""
    made: list[tuple[Store, Path]] = []

    def mount(store: Store, image: Image) -> Path:
        key = f"c{len(made)}"
        target = work / key
        target.mkdir()
        store.snapshots.prepare(key, image.chain_id)
        store.snapshots.mount(key, str(target))
        made.append((store, target))
        return target

    yield mount
    for store, target in made:
        store.snapshots.unmount(str(target))
    assert not leaks.mounts_below(work)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as made:
        yield made
