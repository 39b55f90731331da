"""image.tar and image.tarwrite: the reader against the standard library's writer, and ours against its
reader."""

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyrunc.errors import PyruncError
from pyrunc.image.tar import Reader
from pyrunc.image.tarwrite import END, header, padded

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def archive(*members, format=tarfile.PAX_FORMAT):
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=format) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return target.getvalue()


def member(name, data=b"", **fields):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def read(data, piece=1 << 20):
    reader = Reader(data[at : at + piece] for at in range(0, len(data), piece))
    found = []
    for entry in reader:
        parts = []
        reader.copy_data(lambda view, parts=parts: parts.append(bytes(view)))
        found.append((entry, b"".join(parts)))
    return found


@pytest.mark.parametrize("piece", [1, 100, 511, 512, 513, 1 << 20])
@pytest.mark.parametrize("format", FORMATS)
def test_entries_in_pieces_of_any_size(format, piece):
    data = archive(member("a", b"1" * 700, mode=0o4711, uid=7, gid=8, mtime=9), member("b"), format=format)
    (first, content), (second, nothing) = read(data, piece)
    assert (first.name, first.mode, first.uid, first.gid, first.mtime_ns) == (b"a", 0o4711, 7, 8, 9 * 10**9)
    assert (content, second.name, nothing) == (b"1" * 700, b"b", b"")


@pytest.mark.parametrize("format", FORMATS[1:])
def test_what_the_old_header_has_no_room_for(format):
    long = "d/" * 120 + "n" * 200
    info = member(long, uid=3_000_000, linkname=long, type=tarfile.SYMTYPE)
    ((entry, _),) = read(archive(info, format=format))
    assert (entry.name, entry.link, entry.uid) == (long.encode(), long.encode(), 3_000_000)


def test_pax_times_attributes_and_globals():
    pax = {"mtime": "1.5", "SCHILY.xattr.user.a": "v", "SCHILY.xattr.security.capability": "c"}
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", pax_headers={"comment": "x", "uid": "77"}) as tar:
        info, data = member("a", b"x")
        info.pax_headers = pax
        tar.addfile(info, io.BytesIO(data))
    ((entry, _),) = read(target.getvalue())
    assert entry.mtime_ns == 1_500_000_000 and entry.uid == 77
    assert entry.xattrs == {"user.a": b"v", "security.capability": b"c"}


@pytest.mark.parametrize(
    "pax",
    [
        {"GNU.sparse.map": "0,2,10,3", "GNU.sparse.size": "20", "GNU.sparse.name": "real"},
        {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.realsize": "20",
            "GNU.sparse.name": "real",
        },
    ],
)
def test_sparse_files(pax):
    data = b"abcde" if "GNU.sparse.map" in pax else b"2\n0\n2\n10\n3\n".ljust(512, b"\0") + b"abcde"
    info, _ = member("other", data)
    info.pax_headers = pax
    ((entry, content),) = read(archive((info, data)))
    assert (entry.name, entry.sparse, entry.real_size) == (b"real", [(0, 2), (10, 3)], 20)
    assert content == b"abcde"


@pytest.mark.parametrize("text", ["0,2,1,3", "0,99", "0,2,10", "x,1", "5,-1"])
def test_pieces_that_overlap_or_do_not_fit(text):
    info, data = member("x", b"abcde")
    info.pax_headers = {"GNU.sparse.map": text, "GNU.sparse.size": "20"}
    with pytest.raises(PyruncError):
        read(archive((info, data)))


def test_what_is_cut_off():
    data = archive(member("a", b"1" * 5000))
    for length in (100, 512, 600, 5000):
        with pytest.raises(PyruncError):
            read(data[:length])
    assert len(read(data[: 512 + 5120])) == 1, "an end that is missing is none that is wrong"
    assert read(b"") == []


@settings(max_examples=300)
@given(st.binary(max_size=2048), st.integers(0, 511), st.binary(min_size=1, max_size=12))
def test_no_bytes_do_more_than_be_refused(data, at, patch):
    whole = archive(member("a" * 120, b"1" * 700, uid=1 << 22))
    for candidate in (data, whole[:at] + patch + whole[at + len(patch) :]):
        try:
            read(candidate)
        except PyruncError:
            pass


def test_the_standard_library_reads_what_we_write():
    long = b"x/" * 60 + b"y" * 90
    data = b"".join(
        (
            header(b"a", b"0", size=3, mode=0o4755, uid=5, gid=1 << 23, mtime=99, xattrs={"user.a": b"\0v"}),
            padded(b"abc"),
            header(long, b"2", link=long, mtime=-5),
            header(b"dev", b"3", device=0x103),
            END,
        )
    )
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        first, second, third = tar.getmembers()
        assert tar.extractfile(first).read() == b"abc"
    assert (first.mode, first.uid, first.gid, first.mtime) == (0o4755, 5, 1 << 23, 99)
    assert first.pax_headers["SCHILY.xattr.user.a"] == "\0v"
    assert (second.name, second.linkname, second.mtime) == (long.decode(), long.decode(), -5)
    assert (third.devmajor, third.devminor) == (1, 3)
    assert [entry.xattrs for entry, _ in read(data)] == [{"user.a": b"\0v"}, None, None]
