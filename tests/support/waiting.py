"""Waiting for what another process brings about: short polls with a deadline, never a fixed sleep."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Seconds that one command may take; where that is more than 30, everything here takes that much longer.
TIMEOUT_SECONDS = float(os.environ.get("PYRUNC_TEST_TIMEOUT", "30"))
PATIENCE = TIMEOUT_SECONDS / 30


def until(condition: Callable[[], T], what: str, seconds: float = 30) -> T:
    """Returns the first true value of `condition`; fails with `what` when there is none in time."""
    seconds *= PATIENCE
    deadline = time.monotonic() + seconds
    pause = 0.002
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
