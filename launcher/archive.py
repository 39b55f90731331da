"""The package again, from one file that is read at once: to look for a module by itself, and to read it,
takes longer than to execute it.

The file is what freeze.archive makes. This code is the first thing in it, which bin/pyrunc.in executes.
"""

from __future__ import annotations

import gc
import sys
from marshal import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

_Spec: Any = type(sys.__spec__)  # importlib.machinery's, which need not be imported for it


class Archive:
    def __init__(self, places: dict[str, tuple[int, int, bool]], groups: list[Any]) -> None:
        self.places = places
        self.groups = groups  # marshalled, until one of its modules is wanted

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> Any:
        return _Spec(name, self, is_package=self.places[name][2]) if name in self.places else None

    def create_module(self, _spec: object) -> None:
        """An ordinary one."""

    def exec_module(self, module: ModuleType) -> None:
        number, index, _ = self.places[module.__name__]
        group = self.groups[number]
        if isinstance(group, bytes):
            group = self.groups[number] = loads(group)
        exec(group[index], module.__dict__)


def serve(places: dict[str, tuple[int, int, bool]], groups: list[Any]) -> None:
    gc.disable()  # a call leaves before its garbage is worth collecting
    archive: Any = Archive(places, groups)
    sys.meta_path.insert(0, archive)
