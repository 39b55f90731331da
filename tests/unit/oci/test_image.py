"""oci.image: manifests, indexes and configs, read from bytes that may lie."""

import hashlib
import json

import pytest

from pyrunc.errors import INVALID, UNSUPPORTED, PyruncError
from pyrunc.oci.image import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    SCHEMA1,
    Platform,
    chain_ids,
    describe,
    document_type,
    parse_image_config,
    parse_index,
    parse_manifest,
    write_index,
    write_manifest,
)

DIGEST = "sha256:" + "a" * 64
CONFIG = {"mediaType": OCI_CONFIG, "digest": DIGEST, "size": 2}
MANIFEST = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": CONFIG, "layers": []}


def as_bytes(value):
    return json.dumps(value).encode()


def test_what_we_write_we_read():
    config = describe(OCI_CONFIG, b"{}")
    data = write_manifest(OCI_MANIFEST, config, (config,))
    manifest = parse_manifest(data)
    assert (manifest.config, manifest.layers, manifest.media_type) == (config, (config,), OCI_MANIFEST)
    assert parse_index(write_index((describe(OCI_MANIFEST, data),))).manifests[0].size == len(data)


@pytest.mark.parametrize(
    ("value", "said", "found"),
    [
        (MANIFEST, "", OCI_MANIFEST),
        (MANIFEST, "application/json", OCI_MANIFEST),
        ({**MANIFEST, "mediaType": None}, "", OCI_MANIFEST),
        ({**MANIFEST, "mediaType": None}, DOCKER_MANIFEST, DOCKER_MANIFEST),
        ({"manifests": []}, "", OCI_INDEX),
        ({"manifests": []}, DOCKER_LIST, DOCKER_LIST),
    ],
)
def test_the_type_of_a_document(value, said, found):
    assert document_type(as_bytes(value), said) == found


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (MANIFEST, DOCKER_MANIFEST),
        (MANIFEST, OCI_INDEX),
        ({**MANIFEST, "manifests": []}, ""),
        ({**MANIFEST, "mediaType": OCI_INDEX}, ""),
        ({"mediaType": OCI_MANIFEST, "manifests": []}, ""),
        ({**MANIFEST, "mediaType": "text/plain"}, OCI_MANIFEST),
        ({}, ""),
        ([], ""),
        ({**MANIFEST, "config": {}}, ""),
        ({**MANIFEST, "config": None}, ""),
        ({**MANIFEST, "layers": [{**CONFIG, "size": -1}]}, ""),
        ({**MANIFEST, "layers": [{**CONFIG, "size": "1"}]}, ""),
        ({**MANIFEST, "layers": [{**CONFIG, "digest": "sha256:../../etc"}]}, ""),
        ({**MANIFEST, "layers": [CONFIG] * 513}, ""),
        ({**MANIFEST, "layers": {}}, ""),
    ],
)
def test_a_document_that_says_two_things_is_refused(value, said):
    with pytest.raises(PyruncError) as caught:
        parse_manifest(as_bytes(value), said)
    assert caught.value.kind == INVALID


def test_what_is_not_ours_to_run():
    for value, said in (
        ({"schemaVersion": 1}, ""),
        (MANIFEST, SCHEMA1[1]),
        ({**MANIFEST, "config": {**CONFIG, "mediaType": "application/vnd.cncf.helm.config.v1+json"}}, ""),
    ):
        with pytest.raises(PyruncError) as caught:
            parse_manifest(as_bytes(value), said)
        assert caught.value.kind == UNSUPPORTED


def test_a_huge_manifest_is_not_parsed():
    with pytest.raises(PyruncError, match="too large"):
        parse_manifest(b" " * (5 << 20))


def test_an_image_config_keeps_what_it_does_not_know():
    value = {
        "os": "linux", "architecture": "arm64", "variant": "v8", "config": {"Cmd": ["x"], "Shell": ["y"]},
        "rootfs": {"type": "layers", "diff_ids": [DIGEST]}, "history": [{}, {"empty_layer": True}],
    }  # fmt: skip
    config = parse_image_config(as_bytes(value))
    assert config.platform == Platform(os="linux", architecture="arm64", variant="v8")
    assert config.raw == value and config.config["Shell"] == ["y"] and config.labels == {}
    assert [step.empty_layer for step in config.history] == [False, True]
    for wrong in ({"rootfs": {"diff_ids": ["x"]}}, {"history": {}}, {"config": []}, {"created": 1}):
        with pytest.raises(PyruncError):
            parse_image_config(as_bytes(wrong))


def test_chain_ids():
    first, second = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    both = hashlib.sha256(f"{first} {second}".encode()).hexdigest()
    assert chain_ids((first, second)) == (first, f"sha256:{both}")
    assert chain_ids(()) == ()
