"""Descriptors, indexes, manifests and configurations."""

import base64
import hashlib
import re
from datetime import datetime

import pytest

from conformance.clauses import requirement
from conformance.image.source import DIGEST, INDEX, MANIFEST, is_registered

# RFC 6838, 4.2
_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
MEDIA_TYPE = re.compile(f"{_NAME}/{_NAME}")
EMPTY = "application/vnd.oci.empty.v1+json"
# What the Go language calls them (`go tool dist list`), of systems that run containers
SYSTEMS = {
    "linux",
    "windows",
    "freebsd",
    "darwin",
    "netbsd",
    "openbsd",
    "solaris",
    "illumos",
    "aix",
    "wasip1",
}
MACHINES = {
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le",
    "riscv64", "s390x", "wasm",
}  # fmt: skip
UNKNOWN = "unknown"  # what buildkit writes of attestations, which run nowhere


# -- descriptors -----------------------------------------------------------------------------------------


@requirement("DescriptorRequired")
def test_what_a_descriptor_must_have(image):
    for where, entry in image.descriptors:
        assert isinstance(entry.get("mediaType"), str), where
        assert isinstance(entry.get("digest"), str), where
        assert isinstance(entry.get("size"), int) and not isinstance(entry["size"], bool), where
        assert entry["size"] >= 0, where


@requirement("DescriptorMediaType")
def test_media_types(image):
    for where, entry in image.descriptors:
        assert MEDIA_TYPE.fullmatch(entry["mediaType"]), where


@requirement("DescriptorArtifactType")
def test_artifact_types(image):
    found = [(where, entry) for where, entry in image.descriptors if "artifactType" in entry]
    if not found:
        pytest.skip("no descriptor has an artifactType")
    for where, entry in found:
        assert MEDIA_TYPE.fullmatch(entry["artifactType"]), where


@requirement("DescriptorDigest")
def test_the_grammar_of_digests(image):
    for where, entry in image.descriptors:
        assert DIGEST.fullmatch(entry["digest"]), where


@requirement("DescriptorRegistered")
def test_registered_digests(image):
    for where, entry in image.descriptors:
        if entry["digest"].startswith(("sha256:", "sha512:")):
            assert is_registered(entry["digest"]), where


@requirement("DescriptorSize", "DescriptorContent")
def test_the_content_is_what_the_descriptor_says(image):
    for where, entry in image.descriptors:
        if "urls" in entry:
            continue  # what is to be had elsewhere need not be here
        with image.blob(entry["digest"]) as file:
            digest = hashlib.new(entry["digest"].partition(":")[0])
            size = 0
            while data := file.read(1 << 20):
                digest.update(data)
                size += len(data)
        assert size == entry["size"], where
        assert digest.hexdigest() == entry["digest"].partition(":")[2], where


@requirement("DescriptorUrls", "DescriptorUrlsScheme")
def test_urls(image):
    found = [(where, url) for where, entry in image.descriptors for url in entry.get("urls", [])]
    if not found:
        pytest.skip("no descriptor has urls")
    for where, url in found:
        assert re.fullmatch(r"https?://[\w.~:/?#\[\]@!$&'()*+,;=%-]+", url, re.ASCII), (where, url)


@requirement("DescriptorData")
def test_embedded_data(image):
    found = [(where, entry) for where, entry in image.descriptors if "data" in entry]
    if not found:
        pytest.skip("no descriptor has data in it")
    for where, entry in found:
        data = base64.b64decode(entry["data"], validate=True)
        algorithm, _, encoded = entry["digest"].partition(":")
        assert (len(data), hashlib.new(algorithm, data).hexdigest()) == (entry["size"], encoded), where


def require_strings(found, where):
    assert isinstance(found, dict), where
    assert all(isinstance(value, str) for value in found.values()), (where, found)
    assert "" not in found, where


@requirement("DescriptorAnnotations", "DescriptorAnnotationKeys")
def test_annotations(image):
    places = [*image.descriptors, *((document.where, document.data) for document in image.documents)]
    found = [(where, entry["annotations"]) for where, entry in places if entry.get("annotations") is not None]
    if not found:
        pytest.skip("nothing is annotated")
    for where, annotations in found:
        require_strings(annotations, where)


# -- indexes ---------------------------------------------------------------------------------------------


@requirement("IndexSchemaVersion")
def test_the_schema_of_an_index(image):
    for index in image.indexes:
        assert index.data.get("schemaVersion") == 2, index.where


@requirement("IndexMediaType")
def test_the_media_type_of_an_index(image):
    for index in image.indexes:
        assert index.data.get("mediaType", INDEX) == INDEX, index.where


@requirement("IndexMediaTypeGiven")
def test_an_index_says_what_it_is(image):
    for index in image.indexes:
        assert "mediaType" in index.data, index.where


@requirement("IndexManifests")
def test_the_manifests_of_an_index(image):
    for index in image.indexes:
        assert isinstance(index.data.get("manifests"), list), index.where
        assert all(isinstance(entry, dict) for entry in index.data["manifests"]), index.where


def platforms(image):
    found = [
        (index.where, entry["platform"])
        for index in image.indexes for entry in index.data["manifests"] if entry.get("platform") is not None
    ]  # fmt: skip
    return found or pytest.skip("no index names a platform")


@requirement("IndexPlatform")
def test_what_a_platform_must_have(image):
    for where, platform in platforms(image):
        assert platform.get("os") and platform.get("architecture"), (where, platform)


@requirement("IndexPlatformNames")
def test_the_names_of_platforms(image):
    for where, platform in platforms(image):
        assert platform["os"] in SYSTEMS | {UNKNOWN}, (where, platform)
        assert platform["architecture"] in MACHINES | {UNKNOWN}, (where, platform)


# -- manifests -------------------------------------------------------------------------------------------


@requirement("ManifestSchemaVersion")
def test_the_schema_of_a_manifest(image):
    for manifest in image.manifests:
        assert manifest.data.get("schemaVersion") == 2, manifest.where


@requirement("ManifestMediaType")
def test_the_media_type_of_a_manifest(image):
    for manifest in image.manifests:
        assert manifest.data.get("mediaType", MANIFEST) == MANIFEST, manifest.where


@requirement("ManifestMediaTypeGiven")
def test_a_manifest_says_what_it_is(image):
    for manifest in image.manifests:
        assert "mediaType" in manifest.data, manifest.where


@requirement("ManifestConfig")
def test_the_config_of_a_manifest(image):
    for manifest in image.manifests:
        assert isinstance(manifest.data.get("config"), dict), manifest.where


@requirement("ManifestLayers")
def test_the_layers_of_a_manifest(image):
    for manifest in image.manifests:
        assert isinstance(manifest.data.get("layers"), list), manifest.where
        assert all(isinstance(entry, dict) for entry in manifest.data["layers"]), manifest.where


@requirement("ManifestLayersOne")
def test_there_is_a_layer(image):
    for manifest in image.manifests:
        assert manifest.data["layers"], manifest.where


@requirement("ManifestArtifactType")
def test_an_artifact_without_a_configuration_has_a_type(image):
    found = [manifest for manifest in image.manifests if manifest.data["config"]["mediaType"] == EMPTY]
    if not found:
        pytest.skip("no manifest has the empty descriptor for its config")
    for manifest in found:
        assert MEDIA_TYPE.fullmatch(manifest.data.get("artifactType", "")), manifest.where


# -- configurations --------------------------------------------------------------------------------------


@requirement("ConfigObject")
def test_the_configuration_is_an_object(image):
    for _, config in image.configs:
        assert isinstance(config.data, dict), config.where


@requirement("ConfigPlatform")
def test_the_configuration_names_a_platform(image):
    for _, config in image.configs:
        assert config.data.get("os") and config.data.get("architecture"), config.where


@requirement("ConfigPlatformNames")
def test_the_names_of_the_configurations_platform(image):
    for _, config in image.configs:
        assert config.data["os"] in SYSTEMS, config.where
        assert config.data["architecture"] in MACHINES, config.where


_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


@requirement("ConfigCreated")
def test_the_times(image):
    for _, config in image.configs:
        times = [config.data, *config.data.get("history", [])]
        for time in (entry["created"] for entry in times if "created" in entry):
            assert _TIME.fullmatch(time), (config.where, time)
            datetime.fromisoformat(re.sub(r"\.\d+", "", time).upper())


@requirement("ConfigRootfsType")
def test_the_type_of_rootfs(image):
    for _, config in image.configs:
        assert config.data["rootfs"].get("type") == "layers", config.where


@requirement("ConfigHistory")
def test_the_history_tells_of_each_layer(image):
    found = [(manifest, config) for manifest, config in image.configs if config.data.get("history")]
    if not found:
        pytest.skip("there is no history")
    for manifest, config in found:
        told = [entry for entry in config.data["history"] if not entry.get("empty_layer")]
        assert len(told) == len(manifest.data["layers"]) == len(config.data["rootfs"]["diff_ids"]), (
            config.where
        )


def settings(image, name):
    """What the configurations say to this name."""
    found = [
        (config.where, config.data["config"][name])
        for _, config in image.configs if (config.data.get("config") or {}).get(name)
    ]  # fmt: skip
    return found or pytest.skip(f"no configuration has {name}")


@requirement("ConfigPorts")
def test_the_ports(image):
    for where, ports in settings(image, "ExposedPorts"):
        assert all(re.fullmatch(r"\d{1,5}(/(tcp|udp|sctp))?", port) for port in ports), (where, ports)


@requirement("ConfigEnv")
def test_the_environment(image):
    for where, entries in settings(image, "Env"):
        assert all(re.match(r"[^=\0]+=", entry) for entry in entries), (where, entries)


@requirement("ConfigStopSignal")
def test_the_stop_signal(image):
    for where, signal in settings(image, "StopSignal"):
        assert re.fullmatch(r"SIG[A-Z0-9]+([+-]\d+)?|\d+", signal), (where, signal)


@requirement("ConfigLabels")
def test_the_labels(image):
    for where, labels in settings(image, "Labels"):
        require_strings(labels, where)
