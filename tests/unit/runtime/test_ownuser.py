"""runtime.ownuser: a user namespace for those who cannot do without."""

import pytest

from pyrunc.runtime import ownuser


@pytest.mark.parametrize(
    "document",
    [
        None, [], {}, {"linux": None}, {"linux": {"namespaces": "x"}},
        {"linux": {"namespaces": [{"type": "pid"}, {"type": "user", "path": "/x"}]}},
        {"linux": {"namespaces": [], "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}},
    ],
)  # fmt: skip
def test_what_asks_for_one_or_is_no_config_stays(document):
    assert ownuser.with_user_namespace(document, 1000, 100) is document


def test_root_inside_is_the_user_and_ids_that_are_granted_follow(monkeypatch):
    ranges = {"/etc/subuid": [(100000, 10), (300000, 5)], "/etc/subgid": []}
    monkeypatch.setattr(ownuser, "granted", lambda path, uid, name: ranges[path])
    document = {"linux": {"namespaces": [{"type": "pid"}], "sysctl": {}}, "hostname": "x"}
    changed = ownuser.with_user_namespace(document, 1000, 100)
    assert document["linux"]["namespaces"] == [{"type": "pid"}]
    assert changed["hostname"] == "x"
    assert changed["linux"]["namespaces"] == [{"type": "pid"}, {"type": "user"}]
    assert [tuple(entry.values()) for entry in changed["linux"]["uidMappings"]] == [
        (0, 1000, 1), (1, 100000, 10), (11, 300000, 5),
    ]  # fmt: skip
    assert [tuple(entry.values()) for entry in changed["linux"]["gidMappings"]] == [(0, 100, 1)]


def test_lines_for_the_user_by_number_or_name(tmp_path, monkeypatch):
    monkeypatch.setattr(ownuser.posix, "access", lambda path, mode: True)
    (tmp_path / "subuid").write_text("1000:5:6\nweb:7:8\nother:9:10\nweb:x:1\nweb:1\n")
    assert ownuser.granted(str(tmp_path / "subuid"), 1000, "web") == [(5, 6), (7, 8)]
    assert ownuser.granted(str(tmp_path / "none"), 1000, "web") == []
