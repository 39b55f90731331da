"""The one error a user is shown: what failed, where, why, and the way out if we know it.

Kinds are what a caller can act on; each face maps them in one table of its own. All but the last
three are chosen by hand: ENOENT on a /proc file is not "no such container". Sentences that callers
match byte for byte (podman, containerd, CRI-O) are the `what` of an error, alone on their line.
"""

from __future__ import annotations

from errno import EACCES, ENOSYS, EPERM
from posix import strerror

INVALID, NOT_FOUND, CONFLICT, WRONG_STATE = "invalid", "not found", "conflict", "wrong state"
DENIED, UNSUPPORTED, INTERNAL = "denied", "unsupported", "internal"
NOT_MODIFIED = "not modified"  # an engine's alone: it is so already, which is no failure to whoever asked
_KIND_OF_ERRNO = {EPERM: DENIED, EACCES: DENIED, ENOSYS: UNSUPPORTED}


class PyruncError(Exception):
    """`what`: the sentence; `where`: a path or a JSON pointer; `why`: the cause; `hint`: a way out."""

    def __init__(self, kind: str, what: str, where: str = "", why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.kind, self.what, self.where, self.why, self.hint = kind, what, where, why, hint

    def __str__(self) -> str:
        return ": ".join(part for part in (self.what, self.where, self.why) if part)

    @classmethod
    def from_errno(cls, code: int, what: str, where: str = "", hint: str = "") -> PyruncError:
        return cls(_KIND_OF_ERRNO.get(code, INTERNAL), what, where, describe_errno(code), hint)

    def prefixed(self, words: str) -> PyruncError:
        """The same error, said from one floor up: `words` are put before its sentence."""
        return type(self)(self.kind, f"{words}: {self.what}", self.where, self.why, self.hint)


def describe_errno(code: int) -> str:
    """As Go's syscall package words it, which callers match in lower case: "no such file or directory"."""
    text = strerror(code)
    return text[:1].lower() + text[1:]


class doing:
    """`with doing("write cgroup limit", path):` an OSError from below leaves as a PyruncError. Without a
    `where` it is what the error itself names: the file, or else the system call (kernel.syscall)."""

    def __init__(self, what: str, where: str = "") -> None:
        self.what, self.where = what, where

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            where = self.where or _named_by(error)
            raise PyruncError.from_errno(error.errno or 0, self.what, where) from error


def _named_by(error: OSError) -> str:
    if error.filename is not None:
        return str(error.filename)
    is_call = error.strerror is not None and error.strerror != strerror(error.errno or 0)
    return str(error.strerror) if is_call else ""
