"""linux.intelrdt on a tree of ordinary files: few machines have the real one."""

import pytest

from pyrunc.errors import CONFLICT, INVALID, PyruncError
from pyrunc.linux.intelrdt import enter_group, find_mountpoint, make_group, parse_schemata, remove_groups
from pyrunc.plan.rareops import EnterResctrl, MakeResctrl


@pytest.fixture
def group(tmp_path):
    """A class that is there, as the kernel would show it."""
    path = tmp_path / "gold"
    path.mkdir()
    (path / "schemata").write_text("    MB:0=100;1= 50\n    L3:0=00ff;1=0f\n")
    (path / "tasks").write_text("")
    return path


def test_where_it_is_mounted():
    line = "40 28 0:36 / /sys/fs/resctrl rw,relatime shared:20 - resctrl resctrl rw\n"
    other = "41 28 0:37 / /mnt/resctrl rw,relatime - tmpfs resctrl rw\n"
    assert find_mountpoint(other + line) == "/sys/fs/resctrl"
    assert find_mountpoint(other) == ""


def test_schemata_are_compared_by_what_they_mean():
    assert parse_schemata(["L3:0=00FF;01=f", " MB:0= 50"]) == {
        ("L3", "0"): "ff", ("L3", "1"): "f", ("MB", "0"): "50",
    }  # fmt: skip


def test_a_new_class_is_ours(tmp_path):
    assert make_group(MakeResctrl(path=f"{tmp_path}/new")) is True
    assert (tmp_path / "new").is_dir()


def test_a_class_whose_schemata_cannot_be_written_does_not_stay(tmp_path):
    with pytest.raises(FileNotFoundError):  # an ordinary directory comes without the file
        make_group(MakeResctrl(path=f"{tmp_path}/new", lines=("L3:0=f",)))
    assert not (tmp_path / "new").exists()


def test_an_own_class_that_is_there_is_written_anew(group):
    assert make_group(MakeResctrl(path=str(group), lines=("L3:0=1",))) is False
    assert (group / "schemata").read_text().startswith("L3:0=1\n")


def test_a_shared_class_must_have_the_schemas_already(group):
    before = (group / "schemata").read_text()
    assert make_group(MakeResctrl(path=str(group), lines=("L3:1=f;0=ff", "MB:1=50"), is_shared=True)) is False
    with pytest.raises(PyruncError, match="another schema") as caught:
        make_group(MakeResctrl(path=str(group), lines=("L3:0=f",), is_shared=True))
    assert caught.value.kind == CONFLICT
    assert "L3 of domain 0 is ff, not f" in str(caught.value)
    assert (group / "schemata").read_text() == before


def test_a_class_that_must_be_there(group, tmp_path):
    assert make_group(MakeResctrl(path=str(group), must_exist=True, is_shared=True)) is False
    with pytest.raises(PyruncError, match="the class isn't there") as caught:
        make_group(MakeResctrl(path=f"{tmp_path}/none", must_exist=True, is_shared=True))
    assert caught.value.kind == INVALID
    assert not (tmp_path / "none").exists()


def test_the_child_is_put_into_the_group(group):
    enter_group(EnterResctrl(path=str(group)), 42)
    assert (group / "tasks").read_text() == "42"


def test_groups_are_removed_and_what_is_in_the_way_hinders_no_other(group, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(PyruncError, match="unable to remove resctrl group"):
        remove_groups((f"{tmp_path}/gone", str(group), f"{tmp_path}/empty"))
    assert not (tmp_path / "empty").exists()
    remove_groups((f"{tmp_path}/empty",))
