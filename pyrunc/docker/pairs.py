"""NAME=VALUE: on the command line, and in files of them (`--env-file`, `--label-file`)."""

from __future__ import annotations

from pyrunc.docker.session import environment
from pyrunc.errors import INVALID, PyruncError, doing
from pyrunc.files import read_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_BYTE_ORDER_MARK = "\ufeff"


def parse_pairs_file(data: bytes, where: str, *, looks_up: bool) -> list[str]:
    """Blank lines and those that begin with # say nothing. A NAME alone has, with `looks_up`, the value that
    it has here, or is left out if it has none. Raises PyruncError INVALID."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise PyruncError(INVALID, "invalid utf8 bytes", where, str(error)) from None
    made = []
    for number, line in enumerate(text.removeprefix(_BYTE_ORDER_MARK).split("\n"), 1):
        line = line.removesuffix("\r").lstrip(" \t")
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not name:
            raise PyruncError(INVALID, "no variable name", f"{where}:{number}", f"'{line}'")
        if any(letter.isspace() for letter in name.rstrip() if looks_up) or name != name.rstrip():
            raise PyruncError(INVALID, f"variable '{name}' contains whitespaces", f"{where}:{number}")
        if equals:
            made.append(f"{name}={value}")
        elif not looks_up:
            made.append(name)
        elif environment(name):
            made.append(f"{name}={environment(name)}")
    return made


def read_pairs(files: Iterable[str], words: Iterable[str], *, looks_up: bool) -> list[str]:
    """Those of the files, then the words. Raises PyruncError."""
    made = []
    for path in files:
        with doing("open", path):
            data = read_whole(path)
        made += parse_pairs_file(data, path, looks_up=looks_up)
    for word in words:
        name, equals, _ = word.partition("=")
        if not name:
            raise PyruncError(INVALID, f"invalid environment variable: {word}")
        has_value = looks_up and not equals and environment(name)
        made.append(f"{name}={environment(name)}" if has_value else word)
    return made


def to_map(words: Iterable[str]) -> dict[str, str]:
    """A NAME alone has an empty value."""
    return dict(word.partition("=")[::2] for word in words)
