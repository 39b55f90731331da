"""Documents to start from: what runtimes write, and one that uses every field of the schemas."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DOCUMENTS = Path(__file__).parent / "documents"


@pytest.fixture(scope="session")
def document() -> Callable[[str], dict[str, Any]]:
    """`document("runc-spec")`: a fresh copy of it each time."""

    def read(name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((DOCUMENTS / f"{name}.json").read_text())
        return found

    return read
