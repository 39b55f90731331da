"""The directory: what stands in it beside what it refers to."""

import hashlib
import json
import re

import pytest

from conformance.clauses import requirement
from conformance.image.source import DIGEST, is_registered, listed

REF_NAME = "org.opencontainers.image.ref.name"


@requirement("LayoutFile", "LayoutVersion")
def test_the_layout_file(image):
    found = json.loads((image.layout() / "oci-layout").read_text())
    assert isinstance(found, dict)
    assert found["imageLayoutVersion"] == "1.0.0"


@requirement("LayoutIndex")
def test_the_index_is_there(image):
    image.layout()
    assert isinstance(image.root.data, dict)
    assert isinstance(image.root.data["manifests"], list)


@requirement("LayoutBlobs")
def test_the_directory_of_blobs(image):
    assert (image.layout() / "blobs").is_dir()


def blobs(image):
    found = list((image.layout() / "blobs").glob("*/*"))
    return found or pytest.skip("there are no blobs")


@requirement("LayoutBlobNames")
def test_the_names_of_blobs(image):
    for path in blobs(image):
        digest = f"{path.parent.name}:{path.name}"
        assert DIGEST.fullmatch(digest), path
        assert path.parent.name not in ("sha256", "sha512") or is_registered(digest), path


@requirement("LayoutBlobContent")
def test_a_blob_is_named_after_its_content(image):
    for path in blobs(image):
        assert not path.is_symlink(), f"{path} is a link, which could lead anywhere"
        if path.parent.name in ("sha256", "sha512"):
            with path.open("rb") as file:
                assert hashlib.file_digest(file, path.parent.name).hexdigest() == path.name, path


@requirement("LayoutRefName")
def test_the_characters_of_reference_names(image):
    image.layout()
    names = [
        entry["annotations"][REF_NAME]
        for entry in listed(image.root.data["manifests"])
        if REF_NAME in entry.get("annotations", {})
    ]
    if not names:
        pytest.skip("nothing in it has a reference name")
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9]+([-._:@+/]|--)?([A-Za-z0-9-._:@+/]*[A-Za-z0-9])?", name), name
