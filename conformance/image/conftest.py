"""What tests of images use."""

from __future__ import annotations

import functools

import pytest

from conformance.image.source import Image
from conformance.verdicts import Subject


@functools.cache
def _read(place: str) -> Image:
    return Image(place)


@pytest.fixture
def image(subject: Subject) -> Image:
    """Read once; what it has read for this test is the evidence."""
    found = _read(subject.path)
    found.commands.clear()
    return found
