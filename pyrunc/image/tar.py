"""Tar archives as a stream of entries: ustar, PAX, and GNU's long names, base-256 numbers and sparse files.

Pure: bytes come from an iterator, names stay bytes, nothing is written. tarfile of the standard library takes
five times as long, drops extended attributes, and makes decisions about names that are the unpacker's to
make. Every field is hostile: a number that is none, a length past the end, a record that lies are INVALID.
"""

from __future__ import annotations

import zlib

from pyrunc.errors import INVALID, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

BLOCK = 512
_ZEROS = bytes(BLOCK)
_MAXIMUM_PAX = 1 << 20  # bytes of extended headers, as other readers bound them
_MAXIMUM_NAME = 1 << 16
_MAXIMUM_SPARSE = 1 << 20  # pieces of a sparse file

REGULAR, LINK, SYMLINK, CHARACTER, BLOCKDEV, DIRECTORY, FIFO = (b"%d" % n for n in range(7))
_FILES = frozenset((REGULAR, b"\0", b"7", b"S"))
_KNOWN = frozenset((*_FILES, LINK, SYMLINK, CHARACTER, BLOCKDEV, DIRECTORY, FIFO))
_PAX, _GLOBAL, _LONG_NAME, _LONG_LINK, _LABEL = b"x", b"g", b"L", b"K", b"V"
_XATTR = (b"SCHILY.xattr.", b"LIBARCHIVE.xattr.")
_EARLIEST, _LATEST = -(1 << 31), 1 << 34  # seconds that file systems can have


class Entry:
    """One member. `size` is how many bytes of data follow; `sparse`, where not None, says where they go:
    (offset, length) pieces of a file of `real_size` bytes."""

    __slots__ = (
        "gid",
        "kind",
        "link",
        "major",
        "minor",
        "mode",
        "mtime_ns",
        "name",
        "real_size",
        "size",
        "sparse",
        "uid",
        "xattrs",
    )  # fmt: skip

    kind: bytes
    name: bytes
    link: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    major: int
    minor: int
    xattrs: dict[str, bytes] | None
    sparse: list[tuple[int, int]] | None
    real_size: int


def wrong(why: str, where: str = "") -> PyruncError:
    return PyruncError(INVALID, "invalid tar archive", where, why)


class Reader:
    """Walks an archive given in pieces. After an entry its data can be taken, by `read_data` or `copy_data`;
    what is not taken is passed over."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._next: Callable[[], bytes | None] = _stepper(iter(chunks))
        self._data = b""
        self._at = 0
        self._left = 0  # bytes of data of the entry
        self._padding = 0
        self._globals: list[tuple[bytes, bytes]] = []

    # --- bytes --------------------------------------------------------------------------------------

    def _take(self, count: int) -> bytes:
        """Exactly so many."""
        end = self._at + count
        if end <= len(self._data):
            found = self._data[self._at : end]
            self._at = end
            return found
        parts = [self._data[self._at :]]
        have = len(parts[0])
        while have < count:
            chunk = self._next()
            if chunk is None:
                raise wrong(
                    "it ends in the middle of an entry" if have or count != BLOCK else "it has no end"
                )
            parts.append(chunk)
            have += len(chunk)
        self._data = b"".join(parts)
        self._at = count
        return self._data[:count]

    def _at_end(self) -> bool:
        while self._at >= len(self._data):
            chunk = self._next()
            if chunk is None:
                return True
            self._data, self._at = chunk, 0
        return False

    def copy_data(self, write: Callable[[memoryview], object], count: int = -1) -> None:
        """Hand the data of the entry (or the next `count` bytes of it) to `write`, in pieces."""
        count = self._left if count < 0 else count
        if count > self._left:
            raise wrong("an entry has less data than it says")
        self._left -= count
        while count:
            here = len(self._data) - self._at
            if here <= 0:
                if self._at_end():
                    raise wrong("it ends in the middle of an entry")
                continue
            piece = min(count, here)
            write(memoryview(self._data)[self._at : self._at + piece])
            self._at += piece
            count -= piece

    def read_data(self, maximum: int) -> bytes:
        """All of the entry's data. Raises INVALID where that is more than `maximum`."""
        if self._left > maximum:
            raise wrong(f"an entry of {self._left} bytes, where {maximum} are the most")
        found = self._take(self._left)
        self._left = 0
        return found

    def small_data(self) -> memoryview | None:
        """All of the entry's data without a copy, if it is at hand in one piece."""
        end = self._at + self._left
        if end > len(self._data):
            return None
        found = memoryview(self._data)[self._at : end]
        self._at, self._left = end, 0
        return found

    def _skip(self) -> None:
        count = self._left + self._padding
        self._left = self._padding = 0
        while count:
            here = len(self._data) - self._at
            if here >= count:
                self._at += count
                return
            count -= here
            self._at = len(self._data)
            if self._at_end():
                raise wrong("it ends in the middle of an entry")

    def drain(self) -> None:
        """Pass over what stands behind the end: a digest is of all bytes."""
        while self._next() is not None:
            pass

    # --- entries ------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Entry]:
        """An archive ends with two blocks of zeros, or, as others take it too, with its last entry."""
        while True:
            self._skip()
            entry = self._header()
            if entry is None:
                return
            yield entry

    def _header(self) -> Entry | None:
        pax: list[tuple[bytes, bytes]] = []
        long_name = long_link = None
        while True:
            if self._at_end():
                return None
            block = self._take(BLOCK)
            if block == _ZEROS:
                return None
            if not _checksum_fits(block):
                raise wrong("a header's checksum does not fit")
            kind = block[156:157]
            if kind == _PAX:
                pax = _parse_pax(self._extra(block, _MAXIMUM_PAX))
            elif kind == _GLOBAL:
                self._globals = _parse_pax(self._extra(block, _MAXIMUM_PAX))
            elif kind == _LONG_NAME:
                long_name = self._extra(block, _MAXIMUM_NAME).partition(b"\0")[0]
            elif kind == _LONG_LINK:
                long_link = self._extra(block, _MAXIMUM_NAME).partition(b"\0")[0]
            elif kind == _LABEL:
                self._extra(block, _MAXIMUM_NAME)
            else:
                return self._entry(block, kind, pax, long_name, long_link)

    def _extra(self, block: bytes, maximum: int) -> bytes:
        size = _number(block[124:136])
        if size > maximum:
            raise wrong(f"an extended header of {size} bytes")
        return self._take(size + -size % BLOCK)[:size]

    def _entry(
        self,
        block: bytes,
        kind: bytes,
        pax: list[tuple[bytes, bytes]],
        long_name: bytes | None,
        long_link: bytes | None,
    ) -> Entry:
        if kind not in _KNOWN:
            raise wrong(f"an entry of the unknown type {kind!r}")
        entry = Entry()
        name = block[:100].partition(b"\0")[0]
        if block[257:263] == b"ustar\0" and block[345]:
            name = block[345:500].partition(b"\0")[0] + b"/" + name
        entry.name = name if long_name is None else long_name
        entry.link = block[157:257].partition(b"\0")[0] if long_link is None else long_link
        entry.mode = _number(block[100:108]) & 0o7777
        entry.uid, entry.gid = _number(block[108:116]), _number(block[116:124])
        entry.size = _number(block[124:136])
        entry.mtime_ns = _clamped(_number(block[136:148])) * 1_000_000_000
        entry.major = entry.minor = 0
        if kind in (CHARACTER, BLOCKDEV):
            entry.major, entry.minor = _number(block[329:337]), _number(block[337:345])
        entry.xattrs = entry.sparse = None
        entry.kind = kind
        if pax or self._globals:
            _apply_pax(entry, [*self._globals, *pax])
        if kind in _FILES:
            is_old_directory = kind != b"S" and entry.name.endswith(b"/")
            entry.kind = DIRECTORY if is_old_directory else REGULAR
        else:
            entry.size = 0  # other kinds have no data, whatever they say
        if entry.size < 0:
            raise wrong("an entry of negative size")
        self._left, self._padding = entry.size, -entry.size % BLOCK
        entry.real_size = entry.size
        if kind == b"S":
            self._old_sparse(entry, block)
        elif pax:
            self._pax_sparse(entry, pax)
        return entry

    def _old_sparse(self, entry: Entry, block: bytes) -> None:
        """GNU's own type: up to four pieces in the header, more in blocks behind it."""
        pieces: list[tuple[int, int]] = []
        table, count, more = block[386:482], 4, block[482]
        while True:
            for at in range(0, count * 24, 24):
                if table[at] != 0:
                    pieces.append((_number(table[at : at + 12]), _number(table[at + 12 : at + 24])))
            if not more:
                break
            if len(pieces) > _MAXIMUM_SPARSE:
                raise wrong("a sparse file of too many pieces")
            extension = self._take(BLOCK)
            table, count, more = extension[:504], 21, extension[504]
        _set_sparse(entry, pieces, _number(block[483:495]))

    def _pax_sparse(self, entry: Entry, pax: list[tuple[bytes, bytes]]) -> None:
        """PAX 0.0 and 0.1 have the map in the header, 1.0 before the data."""
        words = {key[11:]: value for key, value in pax if key.startswith(b"GNU.sparse.")}
        if not words:
            return
        if b"name" in words:
            entry.name = _text(words[b"name"])
        size = _decimal(words.get(b"realsize", words.get(b"size", b"0")))
        if words.get(b"major") == b"1":
            numbers = self._sparse_numbers()
        elif b"map" in words:
            numbers = [_decimal(word) for word in words[b"map"].split(b",") if word]
        else:
            wanted = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
            numbers = [_decimal(value) for key, value in pax if key in wanted]
        if len(numbers) % 2:
            raise wrong("a sparse file with half a piece")
        _set_sparse(entry, list(zip(numbers[::2], numbers[1::2], strict=True)), size)

    def _sparse_numbers(self) -> list[int]:
        """How many pieces, and then the numbers, a line each, in whole blocks of the entry's data."""
        text = b""
        wanted = 1
        while text.count(b"\n") < wanted:
            if self._left < BLOCK:
                raise wrong("a sparse file without its map")
            text += self._take(BLOCK)
            self._left -= BLOCK
            if wanted == 1 and b"\n" in text:
                pieces = _decimal(text.partition(b"\n")[0])
                if pieces > _MAXIMUM_SPARSE:
                    raise wrong("a sparse file of too many pieces")
                wanted = 1 + 2 * pieces
        return [_decimal(line) for line in text.split(b"\n")[1:wanted]]


def _stepper(chunks: Iterator[bytes]) -> Callable[[], bytes | None]:
    def step() -> bytes | None:
        return next(chunks, None)

    return step


def _set_sparse(entry: Entry, pieces: list[tuple[int, int]], size: int) -> None:
    """In order, without overlap, inside of the file."""
    end = 0
    for offset, length in pieces:
        if offset < end or length < 0 or offset + length > size:
            raise wrong("the pieces of a sparse file do not fit it", _shown(entry.name))
        end = offset + length
    entry.sparse, entry.real_size = pieces, size


def _shown(name: bytes) -> str:
    return name[:200].decode("utf-8", "replace")


def _checksum_fits(block: bytes) -> bool:
    """The sum of all bytes, those of the checksum itself counted as spaces. Adler-32 has that sum (modulo
    65521) in its lower half, thirty times as fast as Python adds."""
    said = _number(block[148:156])
    if (1 + said + sum(block[148:156]) - 256) % 65521 == zlib.adler32(block) & 0xFFFF:
        return True
    signed = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + block[156:])
    return said == signed + 256


def _number(field: bytes) -> int:
    """Octal digits between spaces and NULs, or GNU's binary form."""
    if field[0] & 0x80:
        value = int.from_bytes(field[1:], "big")
        if field[0] == 0xFF:
            return value - (1 << (8 * (len(field) - 1)))
        return value | (field[0] & 0x7F) << 8 * (len(field) - 1)
    text = field.partition(b"\0")[0].strip(b" ")
    if not text:
        return 0
    try:
        if b"_" in text or text[0] in b"+-":
            raise ValueError
        return int(text, 8)
    except ValueError:
        raise wrong(f"{text[:20]!r} is no number") from None


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise wrong(f"{text[:20]!r} is no number")
    return int(text)


def _clamped(seconds: int) -> int:
    return min(max(seconds, _EARLIEST), _LATEST)


def _parse_pax(data: bytes) -> list[tuple[bytes, bytes]]:
    """Records "LENGTH KEY=VALUE\\n" (pax(1)), in their order: GNU's sparse maps repeat keys."""
    records = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        if space < 0:
            if data[at:].strip(b"\0") == b"":
                break
            raise wrong("an extended header record without its length")
        end = at + _decimal(data[at:space])
        if end > len(data) or end <= space + 1 or data[end - 1] != 10:
            raise wrong("an extended header record of another length than it says")
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals or not key:
            raise wrong("an extended header record without a value")
        records.append((key, value))
        at = end
    return records


def _apply_pax(entry: Entry, records: list[tuple[bytes, bytes]]) -> None:
    """The later of two wins; an empty value means as if there was none."""
    xattrs: dict[str, bytes] = {}
    for key, value in records:
        if key.startswith(_XATTR):
            xattrs[key.partition(b".xattr.")[2].decode("utf-8", "surrogateescape")] = value
        elif not value:
            continue
        elif key == b"path":
            entry.name = _text(value)
        elif key == b"linkpath":
            entry.link = _text(value)
        elif key == b"size":
            entry.size = _decimal(value)
        elif key == b"uid":
            entry.uid = _decimal(value)
        elif key == b"gid":
            entry.gid = _decimal(value)
        elif key == b"mtime":
            entry.mtime_ns = _time(value)
    entry.xattrs = xattrs or None


def _text(value: bytes) -> bytes:
    if b"\0" in value:
        raise wrong("a name with a NUL in it", _shown(value))
    return value


def _time(value: bytes) -> int:
    """Seconds with a fraction, as nanoseconds."""
    whole, _, fraction = value.partition(b".")
    sign = -1 if whole.startswith(b"-") else 1
    seconds = _clamped(sign * _decimal(whole.removeprefix(b"-") or b"0"))
    nanoseconds = _decimal((fraction[:9] or b"0").ljust(9, b"0")) if fraction else 0
    return seconds * 1_000_000_000 + sign * nanoseconds
