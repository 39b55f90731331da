"""Images that are here: imported, committed, compared, tagged, saved, loaded, pushed, removed, pruned."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys

import pytest
from support.images import MadeImage, directory, entry, hard_link, layer, symlink
from support.registry import needs_registry, needs_skopeo, running_registry, skopeo
from support.runtime import CHECKOUT

from pyrunc.errors import CONFLICT, INVALID, NOT_FOUND, PyruncError
from pyrunc.image.archive import save
from pyrunc.image.changes import changes
from pyrunc.image.commit import commit
from pyrunc.image.images import ImageFilter, find_image, history, list_images, select_images, tag
from pyrunc.image.importer import import_tree
from pyrunc.image.load import load
from pyrunc.image.options import CommitOptions, Credentials, ImageUse, ImportOptions, PullOptions, PushOptions
from pyrunc.image.pull import list_tags, pull
from pyrunc.image.push import push
from pyrunc.image.removal import prune, remove
from pyrunc.image.usage import disk_usage
from pyrunc.oci.reference import parse_reference

TREE = layer(
    directory("./", mode=0o755), directory("./etc"), entry("./etc/hosts", b"1\n"),
    entry("./etc/gone", b"2\n"), directory("./var"), entry("./var/x", b"3"),
    entry("./su", b"4", mode=0o4755), hard_link("./su2", "./su"), symlink("./sh", "etc/hosts"),
)  # fmt: skip


def imported(store, reference="base:1", data=TREE, **more):
    return import_tree(store, io.BytesIO(data).read, ImportOptions(reference=reference, **more))


def saved(store, *names) -> bytes:
    target = io.BytesIO()
    save(store, names, target.write)
    return target.getvalue()


def files_of(store) -> list[str]:
    return [
        name
        for path, _, names in os.walk(store.root)
        for name in names
        if not name.endswith("lock") and name != "names.json"
    ]


@pytest.mark.parametrize("how", ["plain", "gzip", "xz", "bzip2", "zstd"])
def test_a_tree_is_imported(store, mounted, how):
    data = TREE
    if how != "plain":
        if shutil.which(how) is None:
            pytest.skip(f"there is no {how}")
        if how == "zstd":
            pytest.importorskip("zstandard", reason="the zstandard package is an extra")
        data = subprocess.run([how, "-c"], input=TREE, capture_output=True, check=True).stdout
    image = imported(store, data=data, changes=('CMD ["/sh"]', "ENV A=1"), message="from nowhere")
    assert image.config.config == {"Cmd": ["/sh"], "Env": ["A=1"]}
    assert [(item.id, item.comment, item.size) for item in history(store, image)] == [
        (image.id, "from nowhere", image.size)
    ]
    root = mounted(store, image)
    assert (root / "su").stat().st_mode & 0o7777 == 0o4755
    assert (root / "su").stat().st_nlink == 2
    assert os.readlink(root / "sh") == "etc/hosts"


def changed(store, mounted):
    """A container of the imported tree, and what it did."""
    base = imported(store)
    root = mounted(store, base)
    (root / "etc/gone").unlink()
    (root / "etc/hosts").write_text("other\n")
    shutil.rmtree(root / "var")
    (root / "var").mkdir()
    (root / "var/y").write_text("new")
    os.setxattr(root / "var/y", "user.note", b"kept")
    os.link(root / "var/y", root / "var/z")
    (root / "new" / "deep").mkdir(parents=True)
    (root / ("n" * 120)).write_text("long")
    return base, root


def test_changes_are_what_was_done(store, mounted):
    changed(store, mounted)
    found = [(change.kind, change.path) for change in changes(store, "c0")]
    assert found == [
        ("C", "/etc"), ("D", "/etc/gone"), ("C", "/etc/hosts"), ("A", "/new"), ("A", "/new/deep"),
        ("A", "/" + "n" * 120), ("C", "/var"), ("D", "/var/x"), ("A", "/var/y"), ("A", "/var/z"),
    ]  # fmt: skip


def test_a_commit_has_the_changes_and_nothing_else(store, mounted):
    base, root = changed(store, mounted)
    options = CommitOptions(
        image_id=base.id,
        reference="new:2",
        author="me",
        comment="why",
        changes=("LABEL a=b",),
        created_by="sh",
    )
    image = commit(store, "c0", options)
    assert image.config.diff_ids[0] == base.config.diff_ids[0] and len(image.config.diff_ids) == 2
    assert image.config.labels == {"a": "b"} and image.record.parent == base.id
    assert [item.comment for item in history(store, image)] == ["why", ""]
    again = mounted(store, image)
    assert sorted(os.listdir(again)) == sorted(os.listdir(root))
    assert os.listdir(again / "etc") == ["hosts"]
    assert (again / "etc/hosts").read_text() == "other\n"
    assert (again / "var/z").stat().st_nlink == 2
    assert os.getxattr(again / "var/z", "user.note") == b"kept"
    assert changes(store, "c1") == ()


def test_a_commit_of_no_change_adds_no_layer(store, mounted):
    base = imported(store)
    mounted(store, base)
    image = commit(store, "c0", CommitOptions(image_id=base.id, comment="nothing"))
    assert image.config.diff_ids == base.config.diff_ids and image.tags == ()
    assert image.config.history[-1].empty_layer


def test_both_layouts_of_an_archive_are_read_again(overlay_store, work):
    image = imported(overlay_store)
    tag(overlay_store, image, "also/this:2")
    data = saved(overlay_store, "base:1", "also/this:2")
    for name in ("base:1", "also/this:2"):
        remove(overlay_store, name)
    assert list_images(overlay_store) == () and files_of(overlay_store) == []

    (found,) = load(overlay_store, io.BytesIO(data).read)

    assert found.image_id == image.id and sorted(found.names) == ["also/this:2", "base:1"]
    assert find_image(overlay_store, "base:1").record.manifest == image.record.manifest
    assert saved(overlay_store, "base:1", "also/this:2") == data


@needs_skopeo
@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_what_others_write_is_loaded(overlay_store, work, form):
    made = MadeImage(TREE)
    layout = made.write_layout(work / "layout", "x")
    archive = work / "archive.tar"
    skopeo("copy", f"oci:{layout}:x", f"{form}:{archive}:docker.io/library/their:3")
    with archive.open("rb") as file:
        (found,) = load(overlay_store, file.read)
    assert found.names == ("their:3",)
    assert find_image(overlay_store, "their:3").size == 6


@needs_skopeo
def test_what_we_save_others_read(overlay_store, work):
    image = imported(overlay_store)
    (work / "ours.tar").write_bytes(saved(overlay_store, "base:1"))
    for form in (f"docker-archive:{work}/ours.tar:base:1", f"oci-archive:{work}/ours.tar"):
        config = json.loads(skopeo("inspect", "--config", form))
        assert config["rootfs"]["diff_ids"] == list(image.config.diff_ids)


def test_what_we_save_conforms(overlay_store, mounted, work):
    """As conformance/image judges it: base and commit, with a file that is gone."""
    base, _ = changed(overlay_store, mounted)
    commit(overlay_store, "c0", CommitOptions(image_id=base.id, reference="new:2"))
    (work / "ours.tar").write_bytes(saved(overlay_store, "new:2"))
    (work / "layout").mkdir()
    subprocess.run(["tar", "-xf", work / "ours.tar", "-C", work / "layout"], check=True)
    command = [sys.executable, "-m", "conformance", "--image", work / "layout", "--format", "json"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    verdicts = {clause["id"]: clause["verdicts"][0] for clause in json.loads(done.stdout)["clauses"]}
    assert {name for name, verdict in verdicts.items() if verdict == "failed"} == set(), done.stdout
    assert verdicts["LayerWhiteoutEmpty"] == verdicts["ConfigDiffIds"] == "passed"


@pytest.mark.parametrize(
    "data",
    [layer(), layer(entry("manifest.json", b"[{}]")), layer(entry("index.json", b"{}")), b"", b"x" * 4096],
    ids=["empty", "of-nothing", "no-index", "no-bytes", "no-tar"],
)
def test_what_is_no_archive_is_refused_and_leaves_nothing(overlay_store, data):
    with pytest.raises(PyruncError) as caught:
        load(overlay_store, io.BytesIO(data).read)
    assert caught.value.kind == INVALID
    prune(overlay_store, ImageFilter())
    assert files_of(overlay_store) == []


# --- with Debian's registry -----------------------------------------------------------------------------

HTPASSWD = "me:$2b$04$JHkbg0bwGjDqRR6uj1YDBO0K7vTSdGNqA6AkIb0pspXOkRLYjgaYC"  # of "secret"


@needs_registry
@needs_skopeo
def test_a_push_arrives_and_is_pulled_by_others(overlay_store, work):
    with running_registry(work / "registry") as registry:
        image = imported(overlay_store)
        name = f"{registry.address}/some/base:1"
        tag(overlay_store, image, name)
        sent = push(overlay_store, parse_reference(name), PushOptions(config_file="/none"))
        seen = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{name}"))
        assert seen["Digest"] == sent.digest == image.record.manifest.digest
        skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"dir:{work}/copy")

        tag(overlay_store, image, f"{registry.address}/other:1")
        told = []
        options = PushOptions(config_file="/none", progress=lambda event: told.append(event.status))
        push(overlay_store, parse_reference(f"{registry.address}/other:1"), options)
        assert "Mounted from some/base" in told

        told.clear()
        push(overlay_store, parse_reference(f"{registry.address}/other:1"), options)
        assert told.count("Layer already exists") == 1, "the config goes unmentioned"
        tags = list_tags(parse_reference(f"{registry.address}/other"), PullOptions(config_file="/none"))
        assert tags == ("1",)


@needs_registry
@needs_skopeo
def test_a_pulled_image_is_pushed_as_it_came(overlay_store, work):
    with running_registry(work / "registry") as registry:
        made = MadeImage(TREE, layer(entry("more", b"x")))
        layout = made.write_layout(work / "layout", "x")
        theirs, ours = f"{registry.address}/theirs:1", f"{registry.address}/ours:1"
        skopeo("copy", "--dest-tls-verify=false", f"oci:{layout}:x", f"docker://{theirs}")
        image = pull(overlay_store, parse_reference(theirs), PullOptions(config_file="/none"))
        tag(overlay_store, image, ours)
        sent = push(overlay_store, parse_reference(ours), PushOptions(config_file="/none"))
        assert sent.digest == made.digest


@needs_registry
def test_debian_s_registry_with_a_password(overlay_store, work):
    (work / "htpasswd").write_text(HTPASSWD + "\n")
    more = f"auth: {{htpasswd: {{realm: test, path: {work}/htpasswd}}}}"
    with running_registry(work / "registry", more) as registry:
        name = f"{registry.address}/base:1"
        image = imported(overlay_store, name)
        reference = parse_reference(name)
        with pytest.raises(PyruncError):
            push(overlay_store, reference, PushOptions(config_file="/none"))
        known = Credentials(username="me", password="secret")
        push(overlay_store, reference, PushOptions(credentials=known))
        remove(overlay_store, name)
        again = pull(overlay_store, reference, PullOptions(credentials=known))
        assert again.id == image.id


def test_an_upload_goes_on_where_it_broke(overlay_store, registry):
    image = imported(overlay_store, data=layer(entry("big", os.urandom(1 << 20))))
    registry.upload_failures = 1
    tag(overlay_store, image, f"{registry.address}/x:1")
    options = PushOptions(config_file="/none", parallel=1)
    push(overlay_store, parse_reference(f"{registry.address}/x:1"), options)
    assert image.manifest.layers[0].digest in registry.blobs
    offsets = [asked["content-range"] for asked in registry.asked("PATCH", "/uploads/")]
    assert offsets[1].partition("-")[0] not in ("0", ""), offsets


# --- going away -----------------------------------------------------------------------------------------


def test_an_image_goes_with_its_last_name(overlay_store):
    image = imported(overlay_store)
    tag(overlay_store, image, "other:2")
    assert [item.action for item in remove(overlay_store, "base:1")] == ["Untagged"]
    gone = remove(overlay_store, "other:2")
    assert [(item.action, item.name) for item in gone] == [
        ("Untagged", "other:2"), ("Deleted", image.id), ("Deleted", image.chain_id),
    ]  # fmt: skip
    assert files_of(overlay_store) == []


def test_by_id_all_names_go_and_several_repositories_need_force(overlay_store):
    image = imported(overlay_store)
    tag(overlay_store, image, "other:2")
    with pytest.raises(PyruncError, match="referenced in multiple repositories"):
        remove(overlay_store, image.id)
    assert len(remove(overlay_store, image.id[7:19], force=True)) == 4


@pytest.mark.parametrize("running", [True, False])
def test_a_container_keeps_its_image(overlay_store, running):
    image = imported(overlay_store)
    uses = (ImageUse(image_id=image.id, container="c" * 64, running=running),)
    for text in ("base:1", image.id):
        with pytest.raises(PyruncError) as caught:
            remove(overlay_store, text, uses=uses)
        assert caught.value.kind == CONFLICT and "cccccccccccc" in caught.value.what
    gone = remove(overlay_store, "base:1", force=True, uses=uses)
    assert ("Deleted" in [item.action for item in gone]) is not running


def test_a_snapshot_keeps_its_layers_without_the_image(overlay_store, mounted):
    root = mounted(overlay_store, imported(overlay_store))
    remove(overlay_store, "base:1")
    assert (root / "etc/hosts").read_text() == "1\n" and list_images(overlay_store) == ()
    assert prune(overlay_store, ImageFilter(), everything=True).reclaimed_bytes == 0


def test_prune_takes_what_has_no_tag(overlay_store):
    first = imported(overlay_store)
    second = imported(overlay_store, data=layer(entry("x", b"12345")))
    assert find_image(overlay_store, "base:1").id == second.id
    assert [image.id for image in list_images(overlay_store) if image.is_dangling] == [first.id]
    pruned = prune(overlay_store, ImageFilter())
    assert [item.name for item in pruned.removed] == [first.id, first.chain_id]
    assert pruned.reclaimed_bytes > first.size
    assert len(prune(overlay_store, ImageFilter(until=1.0), everything=True).removed) == 0
    assert len(prune(overlay_store, ImageFilter(), everything=True).removed) == 3
    assert files_of(overlay_store) == []


def test_what_is_shared_is_counted(overlay_store, registry):
    registry.add(MadeImage(TREE), "1")
    registry.add(MadeImage(TREE, layer(entry("more", bytes(100)))), "2")
    for number in "12":
        pull(
            overlay_store, parse_reference(f"{registry.address}/x:{number}"), PullOptions(config_file="/none")
        )
    found = disk_usage(overlay_store)
    assert sorted((usage.size, usage.shared, usage.unique) for usage in found.images) == [
        (6, 6, 0), (106, 6, 100),
    ]  # fmt: skip
    assert found.layers_bytes == 106


def test_filters(overlay_store):
    imported(overlay_store, "busybox:musl", changes=("LABEL a=b",))
    images = list_images(overlay_store)
    for wanted, count in (
        (ImageFilter(references=("busy*:*usl",)), 1),
        (ImageFilter(references=("busy*",)), 1),
        (ImageFilter(references=("docker.io/library/busybox",)), 1),
        (ImageFilter(references=("usybox",)), 0),
        (ImageFilter(dangling=True), 0),
        (ImageFilter(labels=("a",)), 1),
        (ImageFilter(labels=("a=c",)), 0),
        (ImageFilter(before=("busybox:musl",)), 0),
        (ImageFilter(until=1.0), 0),
    ):
        assert len(select_images(images, wanted)) == count, wanted
    with pytest.raises(PyruncError):
        select_images(images, ImageFilter(since=("nobody",)))


def test_nobody_is_not_found(overlay_store):
    for text in ("nobody", "abcdef123456", "sha256:" + "0" * 64, "not valid!"):
        with pytest.raises(PyruncError, match="No such image") as caught:
            find_image(overlay_store, text)
        assert caught.value.kind == NOT_FOUND
