"""syscall(2) and the interpreter's fork hooks, by `_ctypes`: what `_pyrunc` is in the launcher.

Why `_ctypes` and not the ctypes package: 0.25 ms of import against 2.6. Nothing else imports it.
"""

from __future__ import annotations

import _ctypes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_Simple: Any = _ctypes._SimpleCData


class _Word(_Simple):  # type: ignore[misc]
    """A machine word: takes an int (negative ones too), bytes (their address), an array or None."""

    _type_ = "P"


class _Long(_Simple):  # type: ignore[misc]
    _type_ = "l"


class _Byte(_Simple):  # type: ignore[misc]
    _type_ = "c"


class _Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_PYTHONAPI | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Long


_self = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]
syscall: Any = _Function(_ctypes.dlsym(_self, "syscall"))  # -1 says that there is an errno
syscall.argtypes = (_Word,) * 7
before_fork: Any = _Function(_ctypes.dlsym(_self, "PyOS_BeforeFork"))
after_fork_child: Any = _Function(_ctypes.dlsym(_self, "PyOS_AfterFork_Child"))
after_fork_parent: Any = _Function(_ctypes.dlsym(_self, "PyOS_AfterFork_Parent"))
before_fork.argtypes = after_fork_child.argtypes = after_fork_parent.argtypes = ()
get_errno = _ctypes.get_errno
address: Any = _ctypes.addressof


_MOST_ARRAYS = 64
_arrays: dict[int, Any] = {}  # size -> type of an array of so many bytes: 10 us, and a cycle, each time


def buffer(size_or_bytes: int | bytes) -> Any:
    size = size_or_bytes if isinstance(size_or_bytes, int) else len(size_or_bytes)
    array: Any = _arrays.get(size)
    if array is None:
        array = _Byte * size  # type: ignore[operator]
        if len(_arrays) < _MOST_ARRAYS:
            _arrays[size] = array
    made = array()
    if not isinstance(size_or_bytes, int):
        made.raw = size_or_bytes
    return made
