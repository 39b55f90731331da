"""Kinds of errors and HTTP's status codes: the one table, and the words around an error."""

from __future__ import annotations

from pyrunc.errors import (
    CONFLICT,
    DENIED,
    INTERNAL,
    INVALID,
    NOT_FOUND,
    NOT_MODIFIED,
    UNSUPPORTED,
    WRONG_STATE,
    PyruncError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CODES = {
    NOT_MODIFIED: 304,
    INVALID: 400,
    DENIED: 403,
    NOT_FOUND: 404,
    CONFLICT: 409,
    WRONG_STATE: 409,
    INTERNAL: 500,
    UNSUPPORTED: 501,
}
_KINDS = {code: kind for kind, code in CODES.items() if kind != WRONG_STATE}


class HttpError(PyruncError):
    """For the few answers whose code is part of Docker's protocol, and not of what kind the error is: 405,
    and 503 for what only a swarm can do."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(_KINDS.get(code, INTERNAL), what)
        self.code = code


def code_of(error: PyruncError) -> int:
    return error.code if isinstance(error, HttpError) else CODES[error.kind]


def body_of(error: PyruncError) -> dict[str, Any]:
    """Clients show `message` alone, so the way out is in it."""
    return {"message": sentence(error)}


def sentence(error: PyruncError) -> str:
    text = str(error)
    return f"{text} (hint: {error.hint})" if error.hint else text


def error_of(code: int, message: str) -> HttpError:
    """The client's side of the table: an answer's error is told from one of ours by its type."""
    return HttpError(code, message)
