"""Digests: `sha256:` and so many hex digits, the name of a blob (image-spec, descriptor.md#digests)."""

from __future__ import annotations

import hashlib

from pyrunc.errors import INVALID, UNSUPPORTED, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import _Hash

# algorithm -> how many hex digits
_LENGTHS = {"sha256": 64, "sha512": 128}
_HEX = frozenset("0123456789abcdef")


def require_digest(text: str, where: str = "") -> str:
    """`text`, if it is a digest that we can verify. What comes out is safe as the name of a file. Raises
    INVALID for anything malformed, UNSUPPORTED for an algorithm that we don't know."""
    algorithm, _, digits = text.partition(":")
    if not algorithm or not digits or not algorithm.replace("+", "").replace("-", "").isalnum():
        raise PyruncError(INVALID, "invalid digest", where or text[:200], "it is not algorithm:hex")
    if algorithm not in _LENGTHS:
        raise PyruncError(UNSUPPORTED, "unsupported digest algorithm", where or algorithm[:100])
    if len(digits) != _LENGTHS[algorithm] or not _HEX.issuperset(digits):
        raise PyruncError(INVALID, "invalid digest", where or text[:200], f"{algorithm} has other digits")
    return text


def is_digest(text: str) -> bool:
    algorithm, _, digits = text.partition(":")
    return len(digits) == _LENGTHS.get(algorithm) and _HEX.issuperset(digits)


def hasher(digest: str) -> _Hash:
    """A hash object of the algorithm of `digest`, which has passed require_digest."""
    return hashlib.new(digest.partition(":")[0])


def of_bytes(data: bytes) -> str:
    """The sha256 digest of `data`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def hex_of(digest: str) -> str:
    return digest.partition(":")[2]


def short(digest: str) -> str:
    """The twelve digits that people see."""
    return hex_of(digest)[:12]
