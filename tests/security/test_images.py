"""Hostile layers: whatever their names, links and numbers say, nothing outside of the layer's directory
changes.

Each layer here is unpacked as a pull does it, by a worker, into a directory beside a file that must not be
touched, and with names that lead there.
"""

from __future__ import annotations

import gzip
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest
from support.fake_registry import fake_registry
from support.images import MadeImage, digest_of, directory, entry, hard_link, layer, symlink

from pyrunc.errors import INVALID, PyruncError
from pyrunc.image.images import ImageFilter, list_images
from pyrunc.image.importer import import_tree
from pyrunc.image.layer import Unpacker
from pyrunc.image.options import ImportOptions, Limits, PullOptions
from pyrunc.image.pull import pull
from pyrunc.image.removal import prune, remove
from pyrunc.image.store import open_store
from pyrunc.image.tar import Reader
from pyrunc.oci.reference import parse_reference

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def place(tmp_path):
    """A layer's directory, beside what it must not reach."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("untouched")
    (tmp_path / "layer").mkdir()
    return tmp_path


def unpack(place: Path, data: bytes, whiteouts: str = "overlay"):
    root = os.open(place / "layer", os.O_RDONLY | os.O_DIRECTORY)
    umask = os.umask(0)
    try:
        unpacker = Unpacker(root, whiteouts=whiteouts, limit_bytes=1 << 20, limit_entries=1000)
        return unpacker.unpack(Reader([data]))
    finally:
        os.umask(umask)
        os.close(root)


def snapshot(place: Path) -> list[tuple[str, str, int, int]]:
    """All that is outside of the layer."""
    found = []
    for path, directories, names in os.walk(place):
        if Path(path) == place:
            directories.remove("layer")
        for name in (*directories, *names):
            status = os.lstat(Path(path, name))
            text = Path(path, name).read_text() if os.path.isfile(Path(path, name)) else ""
            found.append((name, text, status.st_mode, status.st_nlink))
    return found


def outside(place: Path, number: int = 10) -> str:
    return f"{'../' * number}{str(place)[1:]}/outside"


HOSTILE = {
    "dots": lambda out: [entry(f"{out}/new", b"x")],
    "dots-within": lambda out: [directory("a"), entry(f"a/b/../../{out}/new", b"x")],
    "absolute": lambda out: [entry(f"/{out.lstrip('./')}/new", b"x")],
    "symlink": lambda out: [symlink("a", out), entry("a/new", b"x")],
    "symlink-absolute": lambda out: [symlink("a", f"/{out.lstrip('./')}"), entry("a/new", b"x")],
    "symlink-to-file": lambda out: [symlink("a", f"{out}/file"), entry("a", b"x")],
    "symlink-chain": lambda out: [symlink("a", ".."), symlink("c", f"a/{out}"), entry("c/new", b"x")],
    "symlink-then-directory": lambda out: [symlink("a", out), directory("a"), entry("a/new", b"x")],
    "symlink-as-parent-of-parent": lambda out: [symlink("a", out), entry("a/b/c/new", b"x")],
    "hard-link": lambda out: [hard_link("a", f"{out}/file"), entry("a", b"x")],
    "hard-link-absolute": lambda out: [hard_link("a", f"/{out.lstrip('./')}/file"), entry("a", b"x")],
    "hard-link-by-symlink": lambda out: [symlink("s", out), hard_link("a", "s/file"), entry("a", b"x")],
    "hard-link-to-symlink": lambda out: [symlink("s", f"{out}/file"), hard_link("a", "s"), entry("a", b"x")],
    "whiteout": lambda out: [symlink("s", out), entry("s/.wh.file", b"")],
    "whiteout-dots": lambda out: [entry(f"{out}/.wh.file", b"")],
    "whiteout-of-parent": lambda out: [entry(".wh...", b"")],
    "opaque": lambda out: [symlink("s", out), entry("s/.wh..wh..opq", b"")],
    "mode": lambda out: [directory("d"), symlink("s", out), directory("s/../d", mode=0o777)],
    "pax-path": lambda out: [entry("x", b"x", pax={"path": f"{out}/new"})],
    "pax-link": lambda out: [entry("x", type=tarfile.LNKTYPE, pax={"linkpath": f"{out}/file"})],
    "directory-time": lambda out: [directory("d", mtime=1), symlink("e", out), directory("e/.", mode=0)],
    "proc": lambda out: [symlink("p", "/proc/self/root"), entry(f"p/{out.lstrip('./')}/new", b"x")],
    "fd": lambda out: [symlink("p", "/proc/self/cwd"), entry("p/new", b"x")],
}  # fmt: skip


@pytest.mark.parametrize("whiteouts", ["overlay", "apply", "none"])
@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_outside_changes(place, name, whiteouts):
    before, cwd = snapshot(place), sorted(os.listdir("."))
    entries = HOSTILE[name](outside(place))
    try:
        unpack(place, layer(*entries), whiteouts)
    except PyruncError as error:
        assert error.kind == INVALID
    assert snapshot(place) == before
    assert sorted(os.listdir(".")) == cwd


def test_a_device_stays_where_it_is_and_a_later_file_replaces_it(place):
    null = entry("null", None, type=tarfile.CHRTYPE, devmajor=1, devminor=3)
    unpack(place, layer(null, entry("null", b"file")))
    assert (place / "layer/null").read_bytes() == b"file"


def test_the_last_of_two_counts_whatever_they_are(place):
    kinds = [entry("x", b"one"), directory("x"), entry("x/in", b"y"), symlink("x", "/"), entry("x", b"last")]
    unpack(place, layer(*kinds, hard_link("y", "x"), directory("y"), entry("y/z", b"")))
    assert (place / "layer/x").read_bytes() == b"last"
    assert os.listdir(place / "layer/y") == ["z"]


def test_a_file_does_not_write_through_its_hard_link(place):
    unpack(place, layer(entry("a", b"first"), hard_link("b", "a"), entry("b", b"second")))
    assert (place / "layer/a").read_bytes() == b"first"


@pytest.mark.parametrize(
    ("own_first", "kind"), [(True, "file"), (False, "file"), (True, "directory"), (False, "directory")]
)
def test_a_whiteout_does_not_hide_its_own_layers_entry(place, own_first, kind):
    own = [entry("x", b"1")] if kind == "file" else [directory("x"), entry("x/y", b"1")]
    mark = [entry(".wh.x", b"")]
    unpack(place, layer(*((own + mark) if own_first else (mark + own))))
    assert (place / ("layer/x" if kind == "file" else "layer/x/y")).read_bytes() == b"1"
    if kind == "directory":
        assert os.getxattr(place / "layer/x", "trusted.overlay.opaque") == b"y"


def test_for_a_container_a_mark_is_a_name_like_others(place):
    marks = [entry(".wh.x", b"1"), entry("x", b"2"), entry(".wh..wh..opq", b"3")]
    unpack(place, layer(*marks), "none")
    assert sorted(os.listdir(place / "layer")) == [".wh..wh..opq", ".wh.x", "x"]


def test_overlay_s_own_attributes_are_not_an_images_to_set(place):
    pax = {"SCHILY.xattr.trusted.overlay.redirect": "/x", "SCHILY.xattr.user.fine": "1"}
    unpack(place, layer(directory("d", pax=pax)))
    assert os.listxattr(place / "layer/d") == ["user.fine"]


def header_with(**fields: bytes) -> bytes:
    """A header block, with these fields as they are, and its checksum right."""
    block = bytearray(tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT)[:512])
    places = {"size": (124, 12), "mode": (100, 8), "uid": (108, 8), "kind": (156, 1), "name": (0, 100)}
    for field, data in fields.items():
        at, length = places[field]
        block[at : at + length] = data.ljust(length, b"\0")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    "data",
    [
        header_with(size=b"77777777777"),
        header_with(size=b"\xff" * 12),
        header_with(size=b"\x80" + b"\xff" * 11),
        header_with(size=b"9"),
        header_with(size=b"+7"),
        header_with(uid=b"\xff" * 8),
        header_with(kind=b"x", size=b"77777777777"),
        header_with(kind=b"x", size=b"0000010") + b"99 path=x\n".ljust(512, b"\0"),
        header_with(kind=b"x", size=b"0000010") + b"-5 path=x\n".ljust(512, b"\0"),
        header_with(kind=b"x", size=b"000004") + b"4 =\n".ljust(512, b"\0"),
        header_with(kind=b"L", size=b"77777777777"),
        header_with(kind=b"M"),
        header_with(name=b"x" * 100)[:300],
        b"\1" * 512,
        layer(entry("x" * 300, b"")),
        layer(hard_link("a", "nowhere")) + b"junk",
    ],
)
def test_numbers_that_lie_are_invalid(place, data):
    with pytest.raises(PyruncError) as caught:
        unpack(place, data, "apply")
    assert caught.value.kind == INVALID


def test_sizes_and_counts_are_bounded(place):
    with pytest.raises(PyruncError, match="too large"):
        unpack(place, layer(entry("big", bytes((1 << 20) + 1))))
    with pytest.raises(PyruncError, match="too many"):
        unpack(place, layer(*(entry(f"f{number}", b"") for number in range(1001))))
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 40)}
    with pytest.raises(PyruncError, match="too large"):
        unpack(place, layer(entry("hole", b"0\n".ljust(512, b"\0"), pax=sparse)))


@pytest.fixture
def store(work):
    return open_store(str(work / "images"))


def test_a_bomb_is_stopped_and_leaves_nothing(store, work):
    bomb = gzip.compress(layer(entry("zeros", bytes(64 << 20))), 9)
    options = ImportOptions(limits=Limits(layer_bytes=1 << 20))
    with pytest.raises(PyruncError) as caught:
        import_tree(store, io.BytesIO(bomb).read, options)
    assert caught.value.kind == INVALID
    with fake_registry() as registry:
        registry.add(MadeImage(b"", packed=[bomb], diff_ids=[digest_of(b"")]), "1")
        with pytest.raises(PyruncError, match="too large"):
            reference = parse_reference(f"{registry.address}/x:1")
            pull(store, reference, PullOptions(limits=Limits(layer_bytes=1 << 20, layer_entries=10)))
    assert list_images(store) == () and store.snapshots.committed() == ()
    assert os.listdir(store.snapshots.root + "/active") == []


def test_pulls_and_prunes_at_the_same_time(work):
    """Several stores on one root, as processes have them: each pull gets its image, whole, whatever others
    take away meanwhile."""
    files = [entry(f"d/f{number}", os.urandom(3000)) for number in range(100)]
    images = [MadeImage(layer(*files), layer(entry(f"own{number}", b"x"))) for number in range(2)]
    failures: list[BaseException] = []
    busy = threading.Event()

    def puller(number: int) -> None:
        try:
            own = open_store(str(work / "images"))
            for _ in range(3):
                reference = parse_reference(f"{registry.address}/x:{number}")
                image = pull(own, reference, PullOptions(config_file="/none"))
                key = f"c{number}"
                own.snapshots.prepare(key, image.chain_id)
                assert len(os.listdir(own.snapshots.layers_of(image.chain_id)[1] + "/d")) == 100
                own.snapshots.remove(key)
                remove(own, reference.full, force=True)
        except BaseException as error:
            failures.append(error)

    def pruner() -> None:
        try:
            own = open_store(str(work / "images"))
            while not busy.wait(0.01):
                prune(own, ImageFilter())
        except BaseException as error:
            failures.append(error)

    with fake_registry() as registry:
        for number, made in enumerate(images):
            registry.add(made, str(number))
        pullers = [threading.Thread(target=puller, args=(number,)) for number in range(2)]
        cleaner = threading.Thread(target=pruner)
        for thread in (*pullers, cleaner):
            thread.start()
        for thread in pullers:
            thread.join()
        busy.set()
        cleaner.join()
    assert failures == []
    store = open_store(str(work / "images"))
    prune(store, ImageFilter(), everything=True)
    assert store.snapshots.committed() == () and os.listdir(store.path("blobs/sha256")) == []


PULLER = """
import sys
sys.path.insert(0, {checkout!r})
from pyrunc.image.options import PullOptions
from pyrunc.image.pull import pull
from pyrunc.image.store import open_store
from pyrunc.oci.reference import parse_reference
def told(event):
    print(event.status, flush=True)
pull(open_store({root!r}), parse_reference({name!r}), PullOptions(config_file="/none", progress=told))
"""


MOMENTS = ("Pulling fs", "Downloading", "Verifying", "Download complete", "Pull complete", "Digest")


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_pull_that_is_killed_leaves_what_the_next_one_uses(work, moment):
    """At each of the moments that it tells of: nothing has a name that isn't whole, and again it works."""
    files = [entry(f"d{number}/f{number}", os.urandom(9000)) for number in range(300)]
    made = MadeImage(layer(*files), layer(entry("top", os.urandom(2 << 20)), hard_link("below", "d1/f1")))
    root = str(work / "images")
    with fake_registry() as registry:
        registry.add(made, "1")
        name = f"{registry.address}/x:1"
        program = PULLER.format(checkout=str(CHECKOUT), root=root, name=name)
        puller = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        assert puller.stdout
        for line in puller.stdout:
            if line.startswith(moment):
                break
        puller.send_signal(signal.SIGKILL)
        puller.stdout.close()
        puller.wait()

        store = open_store(root)
        for digest in os.listdir(store.path("blobs/sha256")):
            assert digest_of(Path(store.path("blobs/sha256", digest)).read_bytes()) == f"sha256:{digest}"
        for image in list_images(store):
            assert store.snapshots.has(image.chain_id)
        image = pull(store, parse_reference(name), PullOptions(config_file="/none"))
        assert image.id == made.id and image.tags
        target = work / "target"
        target.mkdir()
        store.snapshots.prepare("c", image.chain_id)
        store.snapshots.mount("c", str(target))
        try:
            for info, data in files[::20]:
                assert (target / info.name).read_bytes() == data
            assert (target / "below").stat().st_nlink == 2
        finally:
            store.snapshots.unmount(str(target))
        store.snapshots.remove("c")
    prune(store, ImageFilter(), everything=True)
    left = [name for _, _, names in os.walk(root) for name in names]
    assert sorted(name for name in left if not name.endswith("lock")) == ["names.json"]
