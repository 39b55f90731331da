"""A pytest plugin: the modules of pyrunc that a test imports are those that the launcher would freeze.

    pytest -p support.frozen tests/unit/plan

Only for tests that make no system calls: the frozen `kernel.syscall` wants the launcher's own module.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Sequence

from support.launcher import freeze
from support.runtime import CHECKOUT

MODULES = freeze.choose(
    {**freeze.read(CHECKOUT / "pyrunc", str(CHECKOUT), for_launcher=True), **freeze.borrow()}
)


class _Frozen(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in MODULES or not name.startswith("pyrunc"):
            return None
        spec = importlib.machinery.ModuleSpec(name, self, is_package=MODULES[name].is_package)
        if MODULES[name].is_package:  # where its modules lie that are not frozen
            spec.submodule_search_locations = [str(CHECKOUT.joinpath(*name.split(".")))]
        return spec

    def get_code(self, fullname: str) -> types.CodeType:
        return MODULES[fullname].code

    def get_source(self, fullname: str) -> str | None:
        return None


def pytest_configure() -> None:
    stale = [name for name in sys.modules if name.partition(".")[0] == "pyrunc"]
    assert not stale, f"imported before there was a choice: {stale}"
    sys.meta_path.insert(0, _Frozen())


def pytest_sessionfinish() -> None:
    """That this plugin had an effect at all."""
    assert sys.modules["pyrunc.record"].Record.__init__.__code__.co_filename == "pyrunc/record.py"
