"""libnftables(3), by `_ctypes`: commands of nft(8) as text, a transaction per call. Optional on a host.

Why not the program: 3 ms of CPU each time against 0.3. The library's netlink socket belongs to the network
namespace that the calling thread is in, since a context lives for one call.
"""

from __future__ import annotations

import _ctypes

from pyrunc.kernel.foreign import _Simple, _Word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NUMERIC_PROTOCOL = 1 << 7  # NFT_CTX_OUTPUT_NUMERIC_PROTO: 6 for tcp, whatever /etc/protocols calls it
WITH_HANDLES = 1 << 3  # NFT_CTX_OUTPUT_HANDLE: what a rule is deleted by
_LIBRARY = "libnftables.so.1"


class _Text(_Simple):  # type: ignore[misc]
    _type_ = "z"


class _Releasing(_ctypes.CFuncPtr):
    """A function of C that takes its time: the interpreter's lock is let go meanwhile."""

    _flags_ = _ctypes.FUNCFLAG_CDECL
    _restype_ = _Word


class _Telling(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL
    _restype_ = _Text


def open_library() -> Nftables | None:
    """The library, or None where there is none."""
    try:
        handle = _ctypes.dlopen(_LIBRARY, 0)
    except OSError:
        return None
    return Nftables(handle)


class Nftables:
    """The library's functions, looked up once."""

    def __init__(self, handle: int) -> None:
        def function(name: str, arguments: int = 1, kind: Any = _Releasing) -> Any:
            found = kind(_ctypes.dlsym(handle, name))
            found.argtypes = (_Word,) * arguments
            return found

        self._new, self._free = function("nft_ctx_new"), function("nft_ctx_free")
        self._buffers = function("nft_ctx_buffer_error"), function("nft_ctx_buffer_output")
        self._error = function("nft_ctx_get_error_buffer", kind=_Telling)
        self._output = function("nft_ctx_get_output_buffer", kind=_Telling)
        self._set_flags = function("nft_ctx_output_set_flags", 2)
        self._run = function("nft_run_cmd_from_buffer", 2)

    def run(self, commands: str, flags: int = NUMERIC_PROTOCOL) -> tuple[bool, str]:
        """(True, what they print in the form of `flags`), or (False, what the library complains of, with the
        kernel's reason); then nothing has been changed. One thread at a time: the library's parser promises
        no more."""
        context = self._new(0)
        if not context:
            raise MemoryError("nft_ctx_new")
        try:
            for buffered in self._buffers:
                buffered(context)
            self._set_flags(context, flags)
            failed = (self._run(context, commands.encode() + b"\0") or 0) & 0xFFFFFFFF
            told: bytes | None = self._error(context) if failed else self._output(context)
            return not failed, (told or b"").decode(errors="replace")
        finally:
            self._free(context)
