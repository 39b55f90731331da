"""image.pull: what comes of a registry's bytes, also when it fails, lies, or wants to know who we are."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
from support.fake_registry import fake_registry
from support.images import MadeImage, digest_of, directory, entry, hard_link, index_of, layer, symlink

from pyrunc.errors import DENIED, INVALID, NOT_FOUND, UNSUPPORTED, PyruncError
from pyrunc.image.images import find_image, list_images
from pyrunc.image.options import Credentials, Mirror, PullOptions, Registries
from pyrunc.image.platforms import host_platform, parse_platform
from pyrunc.image.pull import pull
from pyrunc.oci.reference import parse_reference
from pyrunc.record import replaced

ME = Credentials(username="me", password="pass")
BIG = os.urandom(3 << 20)
BASE = layer(
    directory("etc"), entry("etc/keep", b"1"), entry("etc/gone", b"2"), directory("old"),
    entry("old/x", b"3"), directory("srv", mode=0o1770, uid=7, gid=8),
)  # fmt: skip
TOP = layer(
    directory("etc"), entry("etc/.wh.gone", b""), directory("old"), entry("old/.wh..wh..opq", b""),
    entry("old/y", b"4"), hard_link("etc/same", "etc/keep"), entry("srv/inside", b"5"),
)  # fmt: skip


def reference(registry, tag="1", path="x"):
    return parse_reference(f"{registry.address}/{path}:{tag}")


def options(**more):
    return PullOptions(config_file="/nonexistent", **more)


def ingests(store) -> list[str]:
    return os.listdir(store.path("ingest"))


@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_layers_are_stacked(store, registry, mounted, kind):
    made = MadeImage(BASE, TOP, kind=kind)
    registry.add(made, "1")

    image = pull(store, reference(registry), options())

    assert image.id == made.id
    assert image.tags == (f"{registry.address}/x:1",)
    assert image.digests == (f"{registry.address}/x@{made.digest}",)
    root = mounted(store, image)
    assert sorted(os.listdir(root / "etc")) == ["keep", "same"]
    assert os.listdir(root / "old") == ["y"]
    assert (root / "etc/same").read_bytes() == b"1"
    assert (root / "etc/same").stat().st_ino == (root / "etc/keep").stat().st_ino
    srv = (root / "srv").stat()
    assert (srv.st_mode & 0o7777, srv.st_uid, srv.st_gid) == (0o1770, 7, 8), (
        "a name below it tells nothing of it"
    )


def test_what_is_there_is_not_fetched_again(overlay_store, registry):
    registry.add(MadeImage(BASE), "1")
    registry.add(MadeImage(BASE, TOP), "2")
    pull(overlay_store, reference(registry), options())
    registry.requests.clear()
    told = []

    pull(overlay_store, reference(registry, "2"), options(progress=told.append))

    assert len(registry.asked("GET", "/blobs/")) == 2, "a layer and a config"
    assert [event.status for event in told if "xists" in event.status] == ["Already exists"]
    registry.requests.clear()
    told.clear()
    pull(overlay_store, reference(registry, "2"), options(progress=told.append))
    assert registry.asked("GET", "/blobs/") == []
    assert told[-1].status.startswith("Status: Image is up to date for")


@pytest.mark.parametrize("ignores_range", [False, True], ids=["range", "no-range"])
def test_a_broken_transfer_is_gone_on_with(overlay_store, registry, ignores_range):
    made = MadeImage(layer(entry("big", BIG)))
    registry.add(made, "1")
    registry.cut_after, registry.cuts, registry.ignores_range = 1 << 20, 2, ignores_range

    image = pull(overlay_store, reference(registry), options())

    ranges = [asked.get("range") for asked in registry.asked("GET", "/blobs/")]
    assert any(text and text.startswith("bytes=") for text in ranges)
    assert image.size == len(BIG)


def test_an_earlier_attempt_is_gone_on_with(overlay_store, registry):
    made = MadeImage(layer(entry("big", BIG)))
    registry.add(made, "1")
    digest, data = next(iter(made.blobs.items()))
    Path(overlay_store.path("ingest", digest[7:])).write_bytes(data[: 1 << 20])

    pull(overlay_store, reference(registry), options())

    assert [asked["range"] for asked in registry.asked("GET", digest)] == [f"bytes={1 << 20}-"]


def test_a_wrong_beginning_is_thrown_away(overlay_store, registry):
    made = MadeImage(layer(entry("big", BIG)))
    registry.add(made, "1")
    digest = next(iter(made.blobs))
    Path(overlay_store.path("ingest", digest[7:])).write_bytes(bytes(1 << 20))

    assert pull(overlay_store, reference(registry), options()).id == made.id


def test_a_busy_registry_is_asked_again(overlay_store, registry):
    registry.add(MadeImage(BASE), "1")
    registry.busy = 2
    assert pull(overlay_store, reference(registry), options()).tags


def test_another_content_than_its_digest_is_refused(overlay_store, registry):
    made = MadeImage(BASE)
    registry.add(made, "1")
    digest, data = next(iter(made.blobs.items()))
    registry.blobs[digest] = data[:-1] + b"\1"

    with pytest.raises(PyruncError) as caught:
        pull(overlay_store, reference(registry), options())

    assert caught.value.kind == INVALID and "does not match its digest" in caught.value.what
    assert list_images(overlay_store) == () and ingests(overlay_store) == []
    assert os.listdir(overlay_store.snapshots.root + "/committed") == []


@pytest.mark.parametrize("more", [b"x", b""], ids=["longer", "shorter"])
def test_another_size_than_the_manifest_says_is_refused(overlay_store, registry, more):
    made = MadeImage(BASE)
    registry.add(made, "1")
    digest, data = next(iter(made.blobs.items()))
    registry.blobs[digest] = data + more if more else data[:-5]

    with pytest.raises(PyruncError) as caught:
        pull(overlay_store, reference(registry), options())
    assert caught.value.kind == INVALID


def test_a_layer_that_is_not_the_configs_is_refused(overlay_store, registry):
    registry.add(MadeImage(BASE, diff_ids=["sha256:" + "0" * 64]), "1")
    with pytest.raises(PyruncError, match="does not match the image's config"):
        pull(overlay_store, reference(registry), options())
    assert overlay_store.snapshots.committed() == ()


def test_one_failure_ends_all_that_waits(overlay_store, registry):
    """The layers after the first are not even begun to be fetched."""
    layers = [layer(entry(f"f{number}", b"x")) for number in range(6)]
    diffs = ["sha256:" + "0" * 64, *(digest_of(data) for data in layers[1:])]
    registry.add(MadeImage(*layers, diff_ids=diffs), "1")
    with pytest.raises(PyruncError, match="does not match the image's config"):
        pull(overlay_store, reference(registry), options(parallel=1))
    for data in MadeImage(*layers).blobs:
        registry.blobs.pop(data, None)
    with pytest.raises(PyruncError, match=r"blob unknown|does not match"):
        pull(overlay_store, reference(registry), options(parallel=1))


def test_a_manifest_by_digest_has_to_be_that_one(overlay_store, registry):
    made, other = MadeImage(BASE), MadeImage(TOP)
    registry.add(made, "1")
    registry.manifests[made.digest] = (other.media_type, other.manifest)
    with pytest.raises(PyruncError, match="does not match its digest"):
        pull(overlay_store, parse_reference(f"{registry.address}/x@{made.digest}"), options())


def test_schema_1_is_refused_with_its_name(overlay_store, registry):
    kind = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    registry.add_manifest("1", kind, json.dumps({"schemaVersion": 1, "fsLayers": []}).encode())
    with pytest.raises(PyruncError, match="schema 1") as caught:
        pull(overlay_store, reference(registry), options())
    assert caught.value.kind == UNSUPPORTED


def test_a_manifest_that_is_an_index_too_is_refused(overlay_store, registry):
    made = MadeImage(BASE)
    registry.add(made, "1")
    both = {**json.loads(made.manifest), "manifests": []}
    registry.add_manifest("1", made.media_type, json.dumps(both).encode())
    with pytest.raises(PyruncError) as caught:
        pull(overlay_store, reference(registry), options())
    assert caught.value.kind == INVALID


def test_a_missing_tag_is_not_found(overlay_store, registry):
    with pytest.raises(PyruncError, match="manifest unknown") as caught:
        pull(overlay_store, reference(registry), options())
    assert caught.value.kind == NOT_FOUND


# --- platforms ------------------------------------------------------------------------------------------


def test_an_index_keeps_platforms_side_by_side(overlay_store, registry):
    here = host_platform().architecture
    other = "s390x" if here != "s390x" else "amd64"
    mine, foreign = MadeImage(BASE), MadeImage(layer(), architecture=other)
    for made in (mine, foreign):
        registry.add(made, made.digest)
    index = index_of(foreign.descriptor(other), mine.descriptor(here))
    registry.add_manifest("1", "application/vnd.oci.image.index.v1+json", index)

    first = pull(overlay_store, reference(registry), options())
    second = pull(overlay_store, reference(registry), options(platform=parse_platform(other)))

    assert (first.id, second.id) == (mine.id, foreign.id)
    name = reference(registry).full
    assert find_image(overlay_store, name).id == mine.id
    assert find_image(overlay_store, name, parse_platform(other)).id == foreign.id
    assert first.digests == second.digests, "that of the index"


def test_a_platform_that_is_not_there_is_told(overlay_store, registry):
    made = MadeImage(BASE)
    registry.add(made, made.digest)
    index = index_of(made.descriptor("mips64le"))
    registry.add_manifest("1", "application/vnd.oci.image.index.v1+json", index)
    with pytest.raises(PyruncError, match="no matching manifest") as caught:
        pull(overlay_store, reference(registry), options())
    assert caught.value.kind == NOT_FOUND and "mips64le" in caught.value.why


# --- who we are -----------------------------------------------------------------------------------------


def test_a_token_is_got_and_used(overlay_store, registry):
    registry.add(MadeImage(BASE), "1")
    registry.token, registry.users = "secret", {"me": "pass"}
    assert pull(overlay_store, reference(registry), options(credentials=ME))
    (asked,) = [path for verb, path, _ in registry.requests if "/token" in path]
    assert "scope=repository%3Ax%3Apull" in asked and "service=test" in asked


def test_a_refresh_token_is_posted(overlay_store, registry):
    registry.add(MadeImage(BASE), "1")
    registry.token, registry.users = "secret", {"me": "pass"}
    assert pull(overlay_store, reference(registry), options(credentials=Credentials(identity_token="again")))
    assert registry.asked("POST", "/token")


def test_a_wrong_password_is_denied(overlay_store, registry):
    registry.token, registry.users = "secret", {"me": "pass"}
    with pytest.raises(PyruncError) as caught:
        pull(overlay_store, reference(registry), options(credentials=replaced(ME, password="no")))
    assert caught.value.kind == DENIED


def test_basic_credentials_come_from_docker_s_file(overlay_store, registry, tmp_path):
    registry.add(MadeImage(BASE), "1")
    registry.basic, registry.users = True, {"me": "pass"}
    file = tmp_path / "config.json"
    file.write_text(
        json.dumps({"auths": {registry.address: {"auth": base64.b64encode(b"me:pass").decode()}}})
    )
    assert pull(overlay_store, reference(registry), PullOptions(config_file=str(file)))


def test_a_credential_helper_is_asked(overlay_store, registry, tmp_path, monkeypatch):
    registry.add(MadeImage(BASE), "1")
    registry.basic, registry.users = True, {"me": "pass"}
    helper = tmp_path / "docker-credential-test"
    helper.write_text(
        "#!/bin/sh\n"
        f'[ "$1" = get ] && [ "$(cat)" = {registry.address} ] || exit 1\n'
        """echo '{"Username": "me", "Secret": "pass"}'\n"""
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"credHelpers": {registry.address: "test"}}))
    assert pull(overlay_store, reference(registry), PullOptions(config_file=str(file)))


def test_a_redirect_does_not_carry_the_token_away(overlay_store, registry):
    with fake_registry() as storage:
        made = MadeImage(BASE)
        registry.add(made, "1")
        storage.blobs = made.blobs
        registry.token, registry.redirect_blobs_to = "secret", f"http://{storage.address}"
        pull(overlay_store, reference(registry), options())
        assert storage.requests
        assert not any("authorization" in headers for _, _, headers in storage.requests)


# --- mirrors --------------------------------------------------------------------------------------------


def test_a_mirror_is_asked_first_under_another_name(overlay_store, registry):
    with fake_registry() as mirror:
        made = MadeImage(BASE)
        mirror.add(made, "1")
        registries = Registries(
            mirrors=(
                (registry.address, (Mirror(url=f"http://{mirror.address}/prefix", rewrite=("a", "b/c")),)),
            )
        )
        with pytest.raises(PyruncError):  # its addresses begin with /prefix, which this mirror doesn't have
            pull(overlay_store, reference(registry, path="a/x"), options(registries=registries))
        assert mirror.requests[0][1] == "/prefix/v2/"
        mirror.requests.clear()
        registries = Registries(
            mirrors=((registry.address, (Mirror(url=f"http://{mirror.address}", rewrite=("a", "b/c")),)),)
        )
        image = pull(overlay_store, reference(registry, path="a/x"), options(registries=registries))
        assert image.id == made.id and image.tags == (f"{registry.address}/a/x:1",)
        assert mirror.asked("GET", "/v2/b/c/x/manifests/1")


def test_what_the_mirror_lacks_the_registry_has(overlay_store, registry):
    with fake_registry() as mirror:
        registry.add(MadeImage(BASE), "1")
        registries = Registries(mirrors=(("*", (Mirror(url=f"http://{mirror.address}"),)),))
        assert pull(overlay_store, reference(registry), options(registries=registries))
        assert mirror.asked("GET", "manifests/1")


# --- formats --------------------------------------------------------------------------------------------


def test_zstd_layers(overlay_store, registry, mounted):
    zstandard = pytest.importorskip("zstandard", reason="the zstandard package is an extra")
    packed = [zstandard.ZstdCompressor().compress(BASE)]
    registry.add(MadeImage(BASE, packed=packed, suffix="zstd"), "1")
    root = mounted(overlay_store, pull(overlay_store, reference(registry), options()))
    assert (root / "etc/keep").read_bytes() == b"1"


def test_the_bytes_count_and_not_the_label(overlay_store, registry):
    registry.add(MadeImage(BASE, packed=[BASE], suffix="gzip"), "1")
    assert pull(overlay_store, reference(registry), options()).size == 3


def test_a_layer_that_occurs_twice(overlay_store, registry, mounted):
    registry.add(MadeImage(BASE, TOP, BASE), "1")
    root = mounted(overlay_store, pull(overlay_store, reference(registry), options()))
    assert (root / "etc/gone").read_bytes() == b"2"


def test_an_opaque_marker_at_the_root_hides_all_below(store, registry, mounted):
    top = layer(entry(".wh..wh..opq", b""), entry("only", b"1"), symlink("link", "only"))
    registry.add(MadeImage(BASE, top), "1")
    root = mounted(store, pull(store, reference(registry), options()))
    assert sorted(os.listdir(root)) == ["link", "only"]


def test_more_layers_than_an_option_holds(overlay_store, registry, mounted):
    layers = [layer(entry(f"f{number}", b"x")) for number in range(140)]
    registry.add(MadeImage(*layers), "1")
    try:
        root = mounted(overlay_store, pull(overlay_store, reference(registry), options()))
    except PyruncError as error:
        assert error.kind == UNSUPPORTED
        pytest.skip(f"this kernel has no lowerdir+: {error}")
    assert len(os.listdir(root)) == 140
