"""engine.binds: -v, --mount and VOLUME."""

from __future__ import annotations

import itertools

import pytest

from pyrunc.engine import binds
from pyrunc.engine.model import MountPoint
from pyrunc.errors import PyruncError


def parse(config=None, **host):
    numbers = itertools.count()
    given = {"Binds": None, "Mounts": None, "Tmpfs": None, **host}
    return binds.parse_mounts(config or {}, given, lambda: f"new{next(numbers)}")


def points(*arguments, **host):
    return [wish.point for wish in parse(*arguments, **host)]


def test_a_path_is_a_bind_and_a_name_is_a_volume():
    first, second = points(Binds=["/a//b/.:/x/:ro,rslave", "vol:/y"])
    assert first == MountPoint(
        type="bind", destination="/x", source="/a/b", mode="ro,rslave", writable=False, propagation="rslave"
    )
    assert (second.type, second.name, second.destination, second.copies_up) == ("volume", "vol", "/y", True)


def test_volumes_of_the_image_are_anonymous_but_where_something_is_mounted():
    found = points({"Volumes": {"/a": {}, "/b": {}, "/c": {}}}, Binds=["vo:/a"], Tmpfs={"/b": ""})
    assert [(point.name, point.destination, point.is_anonymous) for point in found] == [
        ("vo", "/a", False), ("new0", "/c", True),
    ]  # fmt: skip


def test_nocopy():
    (point,) = points(Binds=["vo:/a:nocopy"])
    assert not point.copies_up


@pytest.mark.parametrize(
    "text", ["/a:b", "/a:/", "/a:/b:what", "a/b:/c", ":/c", "/a:/b:ro:x", "x:/b", "vo:/b:rslave", "/a:/../b"]
)
def test_binds_that_are_none(text):
    with pytest.raises(PyruncError):
        parse(Binds=[text])


def test_two_at_one_place():
    with pytest.raises(PyruncError, match="Duplicate mount point: /x"):
        parse(Binds=["/a:/x", "/b:/x"])


def test_mounts_of_each_type():
    options = {"Labels": {"a": "b"}, "NoCopy": True}
    size = {"SizeBytes": 5, "Mode": 448, "Options": [["exec"]]}
    single = {"NonRecursive": True}
    mounts = [
        {"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True, "BindOptions": single},
        {"Type": "volume", "Source": "vo", "Target": "/v", "VolumeOptions": options},
        {"Type": "volume", "Target": "/w"},
        {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": size},
    ]
    bind, volume, anonymous, tmpfs = parse(Mounts=mounts)
    assert (bind.point.options, bind.point.writable, bind.must_exist) == (("bind",), False, True)
    assert (volume.labels, volume.point.copies_up) == ({"a": "b"}, False)
    assert anonymous.point.is_anonymous
    assert tmpfs.point.options == ("exec", "size=5", "mode=700")


@pytest.mark.parametrize(
    "mount",
    [
        {"Type": "image", "Source": "x", "Target": "/x"},
        {"Type": "what", "Target": "/x"},
        {"Type": "bind", "Source": "a", "Target": "/x"},
        {"Type": "bind", "Source": "/a", "Target": "x"},
        {"Type": "tmpfs", "Source": "/a", "Target": "/x"},
        {"Type": "volume", "Source": "vo", "Target": "/x", "VolumeOptions": {"Subpath": "y/../.."}},
        {"Type": "volume", "Source": "vo", "Target": "/x", "VolumeOptions": {"Subpath": "/y"}},
        {
            "Type": "volume",
            "Source": "vo",
            "Target": "/x",
            "VolumeOptions": {"DriverConfig": {"Name": "nfs"}},
        },
    ],
)
def test_mounts_that_are_none(mount):
    with pytest.raises(PyruncError):
        parse(Mounts=[mount])


def test_volumes_from_another_leave_what_is_taken():
    theirs = points(Binds=["/a:/x", "vo:/y"])
    (wish,) = binds.from_another(theirs, "ro", {"/x"})
    assert (wish.point.name, wish.point.writable, wish.point.copies_up) == ("vo", False, False)
