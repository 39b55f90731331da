"""What can be had, and what is said of what cannot."""

import re

import pytest

from conformance.clauses import requirement
from conformance.distribution.conftest import MANIFEST, digest_of

MISSING = digest_of(b"nobody pushed this")


@requirement("BaseEndpoint")
def test_the_registry_is_one(repository):
    assert repository("GET", "/v2/").status == 200


def error_of(answer):
    """The first code of an error, if it has a body that says."""
    if not answer.headers.get("content-type", "").startswith("application/json"):
        pytest.skip("its errors have no JSON, which they need not have")
    errors = answer.json()["errors"]
    assert isinstance(errors, list) and errors
    assert all(isinstance(error["code"], str) for error in errors)
    return errors[0]["code"]


CASES = {"manifests/none": "MANIFEST_UNKNOWN", f"blobs/{MISSING}": "BLOB_UNKNOWN"}


@requirement("ErrorsFormat", "ErrorsCodes")
@pytest.mark.parametrize("place", CASES, ids=["manifest", "blob"])
def test_an_error_has_a_code(repository, place):
    repository.push("latest")
    assert re.fullmatch(r"[A-Z_]+", error_of(repository("GET", place)))


@requirement("ErrorsListed")
@pytest.mark.parametrize("place", CASES, ids=["manifest", "blob"])
def test_the_code_is_the_listed_one(repository, place):
    repository.push("latest")
    assert error_of(repository("GET", place)) == CASES[place]


@requirement("NameInvalid")
@pytest.mark.parametrize("name", ["UPPER", "-begins", "ends-", "two..dots"])
def test_a_name_that_cannot_be(repository, name):
    answer = repository("GET", f"/v2/{name}/manifests/latest")
    assert answer.status in (400, 404)


@requirement("PullManifestByTag", "PullManifestType", "PullManifestDigest", "PushManifestBytes")
def test_a_manifest_by_its_tag(repository):
    data = repository.push("latest")
    answer = repository.get("latest")
    assert answer.status == 200
    assert answer.body == data
    assert answer.headers["content-type"] == MANIFEST
    assert answer.headers.get("docker-content-digest", digest_of(data)) == digest_of(data)


@requirement("PullManifestByDigest")
def test_a_manifest_by_its_digest(repository):
    data = repository.push("latest")
    answer = repository.get(digest_of(data))
    assert (answer.status, answer.body) == (200, data)


@requirement("PullManifestMissing", "HeadManifestMissing")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("reference", ["none", MISSING], ids=["tag", "digest"])
def test_a_manifest_that_is_not_there(repository, method, reference):
    repository.push("latest")
    assert repository.get(reference, method).status == 404


@requirement("HeadManifest")
@pytest.mark.parametrize("by", ["tag", "digest"])
def test_head_of_a_manifest(repository, by):
    data = repository.push("latest")
    answer = repository.get("latest" if by == "tag" else digest_of(data), "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == str(len(data))


@requirement("PullBlob", "HeadBlob")
def test_a_blob(repository):
    repository.push_blob(b"some content")
    place = f"blobs/{digest_of(b'some content')}"
    answer = repository("GET", place)
    assert (answer.status, answer.body) == (200, b"some content")
    head = repository("HEAD", place)
    assert (head.status, head.headers["content-length"]) == (200, "12")


@requirement("PullBlobMissing", "HeadBlobMissing")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_blob_that_is_not_there(repository, method):
    repository.push("latest")
    assert repository(method, f"blobs/{MISSING}").status == 404


@requirement("PullBlobRange")
def test_a_part_of_a_blob(repository):
    repository.push_blob(b"0123456789")
    answer = repository("GET", f"blobs/{digest_of(b'0123456789')}", headers={"Range": "bytes=2-4"})
    assert (answer.status, answer.body) == (206, b"234")


@pytest.fixture
def tagged(repository):
    data = repository.manifest()
    for tag in ("b", "h", "a", "e", "d", "g", "c", "f"):
        assert repository.put(tag, data).status == 201
    return repository


def tags(repository, query=""):
    answer = repository("GET", f"tags/list{query}")
    assert answer.status == 200
    assert answer.json()["name"] == repository.name
    return answer.json()["tags"] or []


@requirement("TagsList", "TagsOrder")
def test_the_list_of_tags(tagged):
    assert tags(tagged) == list("abcdefgh")


@requirement("TagsCount", "TagsLast")
def test_tags_some_at_a_time(tagged):
    assert tags(tagged, "?n=2") == ["a", "b"]
    assert tags(tagged, "?n=2&last=b") == ["c", "d"]
    assert tags(tagged, "?last=a") == list("bcdefgh")


@requirement("TagsNone")
def test_no_tags_at_a_time(tagged):
    answer = tagged("GET", "tags/list?n=0")
    assert answer.status == 200
    assert not answer.json()["tags"]
    assert "link" not in answer.headers


@requirement("TagsMissing")
def test_tags_of_no_repository(repository):
    assert repository("GET", "tags/list").status == 404
