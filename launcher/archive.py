"""The package again, in one file: to look for each module by itself, and to read it, takes longer than to
execute it.

The file is what freeze.archive makes: the length of the rest of its head, in four bytes; that, marshalled, is
this code and what it serves; then modules in groups. The code is executed by bin/pyrunc.in. Only what is
wanted is read, and nothing stays open: descriptors of the host are kept out of containers.
"""

from __future__ import annotations

import gc
import posix
import sys
from marshal import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any

_Spec: Any = type(sys.__spec__)  # importlib.machinery's, which need not be imported for it


class Archive:
    """`places`: of a module its group, its index in that, and whether it is a package. `groups`: where each
    is, and its length."""

    def __init__(
        self, file: str, begin: int, places: dict[str, tuple[int, int, bool]], groups: list[tuple[int, int]]
    ) -> None:
        self.file, self.begin, self.places, self.groups = file, begin, places, groups
        self.loaded: dict[int, tuple[CodeType, ...]] = {}

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> Any:
        return _Spec(name, self, is_package=self.places[name][2]) if name in self.places else None

    def create_module(self, _spec: object) -> None:
        """An ordinary one."""

    def exec_module(self, module: ModuleType) -> None:
        number, index, _ = self.places[module.__name__]
        if number not in self.loaded:
            self.loaded[number] = loads(self._read(*self.groups[number]))
        exec(self.loaded[number][index], module.__dict__)

    def _read(self, offset: int, size: int) -> bytes:
        file = posix.open(self.file, posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            return posix.pread(file, size, self.begin + offset)
        finally:
            posix.close(file)


def serve(
    file: str, begin: int, places: dict[str, tuple[int, int, bool]], groups: list[tuple[int, int]]
) -> None:
    gc.disable()  # a call leaves before its garbage is worth collecting
    archive: Any = Archive(file, begin, places, groups)
    sys.meta_path.insert(0, archive)
