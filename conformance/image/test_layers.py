"""Layers: their packing, and what is in them."""

import hashlib
from pathlib import PurePosixPath

import pytest

from conformance.clauses import requirement
from conformance.image.source import OCI, compression_of, is_layer

WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"


def names(members):
    """Paths as they will be: `./a/` is `a`."""
    return [str(PurePosixPath("/", member.name)) for member in members]


def whiteouts(image):
    found = [
        (descriptor["digest"], member)
        for _, descriptor in image.layers for member in image.members(descriptor)
        if PurePosixPath(member.name).name.startswith(WHITEOUT)
    ]  # fmt: skip
    return found or pytest.skip("no layer has whiteouts")


@requirement("LayerMediaType")
def test_a_layer_is_packed_as_its_media_type_says(image):
    for where, descriptor in image.layers:
        kind = descriptor["mediaType"]
        said = kind.rpartition("+")[2] if "+" in kind else "gzip" if kind.endswith(".tar.gzip") else ""
        with image.blob(descriptor["digest"]) as file:
            assert compression_of(file.read(4)) == said, where


@requirement("LayerTar")
def test_a_layer_is_a_tar(image):
    for _, descriptor in image.layers:
        image.members(descriptor)


@requirement("ConfigDiffIds")
def test_the_unpacked_layers_have_the_diff_ids(image):
    for manifest, config in image.configs:
        layers = [entry for entry in manifest.data["layers"] if is_layer(entry["mediaType"])]
        found = []
        for descriptor in layers:
            with image.unpacked(descriptor) as file:
                found.append(f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}")
        assert config.data["rootfs"]["diff_ids"] == found, config.where


@requirement("LayerNoDuplicates")
def test_no_path_is_there_twice(image):
    for where, descriptor in image.layers:
        found = names(image.members(descriptor))
        assert len(found) == len(set(found)), (where, sorted({n for n in found if found.count(n) > 1})[:5])


@requirement("LayerWhiteoutEmpty")
def test_a_whiteout_is_an_empty_file(image):
    for where, member in whiteouts(image):
        assert member.isreg() and member.size == 0, (where, member.name)


@requirement("LayerWhiteoutName")
def test_a_whiteout_hides_a_name(image):
    for where, member in whiteouts(image):
        hidden = PurePosixPath(member.name).name.removeprefix(WHITEOUT)
        assert hidden == OPAQUE.removeprefix(WHITEOUT) or not hidden.startswith(WHITEOUT), (
            where,
            member.name,
        )
        assert hidden not in ("", ".", ".."), (where, member.name)


@requirement("LayerWhiteoutExplicit")
def test_no_whiteout_is_opaque(image):
    assert [member.name for _, member in whiteouts(image) if member.name.endswith(OPAQUE)] == []


@requirement("LayerNondistributable")
def test_no_layer_is_to_be_kept_from_registries(image):
    kinds = {descriptor["mediaType"] for _, descriptor in image.layers}
    assert not any(kind.startswith(f"{OCI}layer.nondistributable.") for kind in kinds), kinds
