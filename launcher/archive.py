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
    """`places`: of a module the group (where it is, and its length), its index in that, and whether it is a
    package. `far`: the same of other modules, marshalled."""

    def __init__(
        self, file: str, begin: int, places: dict[str, tuple[int, int, int, bool]], far: bytes
    ) -> None:
        self.file, self.begin, self.places, self.far = file, begin, places, far
        self.loaded: dict[int, tuple[CodeType, ...]] = {}

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> Any:
        if name not in self.places and self.far and name.startswith("pyrunc"):
            self.places |= loads(self.far)
            self.far = b""
        return _Spec(name, self, is_package=self.places[name][3]) if name in self.places else None

    def create_module(self, _spec: object) -> None:
        """An ordinary one."""

    def exec_module(self, module: ModuleType) -> None:
        offset, size, index, _ = self.places[module.__name__]
        if offset not in self.loaded:
            self.loaded[offset] = loads(self._read(offset, size))
        exec(self.loaded[offset][index], module.__dict__)

    def _read(self, offset: int, size: int) -> bytes:
        file = posix.open(self.file, posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            return posix.pread(file, size, self.begin + offset)
        finally:
            posix.close(file)


def serve(file: str, begin: int, places: dict[str, tuple[int, int, int, bool]], far: bytes) -> None:
    gc.disable()  # a call leaves before its garbage is worth collecting
    archive: Any = Archive(file, begin, places, far)
    sys.meta_path.insert(0, archive)
