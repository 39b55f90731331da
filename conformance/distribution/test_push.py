"""What is taken, and where it then is."""

import json

import pytest

from conformance.clauses import requirement
from conformance.distribution.conftest import MANIFEST, Repository, digest_of

MISSING = digest_of(b"nobody pushed this")
NOTHING = {"Content-Length": "0"}


@requirement("PushSession", "PushMonolithic", "PushLocation")
def test_a_blob_at_once(repository):
    data = b"a blob at once"
    answer = repository.finish(repository.begin(), digest_of(data), data)
    assert answer.status == 201
    found = repository("GET", answer.headers["location"])
    assert (found.status, found.body) == (200, data)


@requirement("PushSinglePost")
def test_a_blob_by_one_post(repository):
    data = b"a blob by one post"
    answer = repository(
        "POST", f"blobs/uploads/?digest={digest_of(data)}", body=data,
        headers={"Content-Type": "application/octet-stream"},
    )  # fmt: skip
    assert answer.status in (201, 202)
    if answer.status == 202:
        assert repository.finish(answer.headers["location"], digest_of(data), data).status == 201
    assert repository("GET", f"blobs/{digest_of(data)}").body == data


@requirement("PushWrongDigest")
def test_a_blob_with_another_digest(repository):
    answer = repository.finish(repository.begin(), MISSING, b"something else")
    assert 400 <= answer.status < 500
    assert repository("HEAD", f"blobs/{MISSING}").status == 404


def patch(repository, place, data, first):
    headers = {
        "Content-Range": f"{first}-{first + len(data) - 1}",
        "Content-Type": "application/octet-stream",
    }
    return repository("PATCH", place, body=data, headers=headers)


@requirement("PushChunks", "PushChunksClose", "PushStatus")
def test_a_blob_in_chunks(repository):
    answer = patch(repository, repository.begin(), b"first,", 0)
    assert (answer.status, answer.headers["range"]) == (202, "0-5")
    status = repository("GET", answer.headers["location"])
    assert (status.status, status.headers["range"]) == (204, "0-5")
    answer = patch(repository, status.headers.get("location", answer.headers["location"]), b"second", 6)
    assert (answer.status, answer.headers["range"]) == (202, "0-11")
    digest = digest_of(b"first,second")
    assert repository.finish(answer.headers["location"], digest).status == 201
    assert repository("GET", f"blobs/{digest}").body == b"first,second"


@requirement("PushChunksOrder")
def test_a_chunk_out_of_order(repository):
    answer = patch(repository, repository.begin(), b"first,", 0)
    assert patch(repository, answer.headers["location"], b"third", 12).status == 416


@requirement("PushCancel")
def test_an_upload_that_is_cancelled(repository):
    place = repository.begin()
    assert repository("DELETE", place).status == 204
    assert repository("GET", place).status == 404


@pytest.fixture
def other(repository, address, subject):
    """Another repository, with a blob."""
    made = Repository(address(subject))
    made.registry.commands = repository.commands
    made.push_blob(b"of another")
    return made


@requirement("MountBlob")
def test_a_blob_from_another_repository(repository, other):
    digest = digest_of(b"of another")
    answer = repository("POST", f"blobs/uploads/?mount={digest}&from={other.name}", headers=NOTHING)
    assert answer.status in (201, 202)
    if answer.status == 201:
        assert repository("GET", answer.headers["location"]).body == b"of another"
    else:
        assert repository.finish(answer.headers["location"], digest, b"of another").status == 201


@requirement("MountBlobMissing")
def test_a_mount_of_what_is_not_there(repository, other):
    answer = repository("POST", f"blobs/uploads/?mount={MISSING}&from={other.name}", headers=NOTHING)
    assert answer.status == 202
    assert answer.headers["location"]


@requirement("PushManifest")
def test_a_manifest(repository):
    data = repository.manifest()
    answer = repository.put("latest", data)
    assert answer.status == 201
    found = repository("GET", answer.headers["location"], headers={"Accept": MANIFEST})
    assert (found.status, found.body) == (200, data)


@requirement("PushManifest", "PullManifestByDigest")
def test_a_manifest_without_a_tag(repository):
    data = repository.manifest()
    assert repository.put(digest_of(data), data).status == 201
    assert repository.get(digest_of(data)).body == data


@requirement("PushManifestOverwrites")
def test_a_tag_that_is_pushed_again(repository):
    first, second = repository.push("latest"), repository.push("latest")
    assert first != second
    assert repository.get("latest").body == second
    assert repository.get(digest_of(first)).body == first


@requirement("PushManifestUnknownBlob")
def test_a_manifest_whose_blob_is_missing(repository):
    layer = {"mediaType": "application/octet-stream", "digest": MISSING, "size": 18}
    answer = repository.put("latest", repository.manifest(layers=[layer]))
    if answer.status == 201:
        pytest.skip("it takes manifests whose blobs are missing, which it may")
    assert 400 <= answer.status < 500
    assert "MANIFEST_BLOB_UNKNOWN" in [error["code"] for error in answer.json()["errors"]]


@requirement("PushManifestInvalid")
@pytest.mark.parametrize("data", [b"{", b"[]", b"no JSON"])
def test_what_is_no_manifest(repository, data):
    repository.push("other")
    assert 400 <= repository.put("latest", data).status < 500
    assert repository.get("latest").status == 404


@requirement("PushLargeManifest")
def test_a_large_manifest(repository):
    data = repository.manifest(annotations={"org.example.large": "x" * ((4 << 20) - 2000)})
    assert repository.put("large", data).status == 201
    assert len(repository.get("large").body) == len(data)


def descriptor(data):
    return {"mediaType": MANIFEST, "digest": digest_of(data), "size": len(data)}


@requirement("PushManifestSubject")
def test_a_manifest_about_another(repository):
    about = descriptor(repository.push("latest"))
    answer = repository.put("about", repository.manifest(subject=about))
    assert answer.status == 201
    assert answer.headers.get("oci-subject") == about["digest"]


@requirement("PushManifestSubjectMissing")
def test_a_manifest_about_what_is_not_there(repository):
    about = {"mediaType": MANIFEST, "digest": MISSING, "size": 18}
    assert repository.put("about", repository.manifest(subject=about)).status == 201


@requirement("Referrers")
def test_nothing_refers_to_it(repository):
    answer = repository("GET", f"referrers/{digest_of(repository.push('latest'))}")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/vnd.oci.image.index.v1+json"
    assert answer.json()["manifests"] == []


@requirement("ReferrersListed")
def test_what_refers_to_it(repository):
    about = descriptor(repository.push("latest"))
    data = repository.push("about", subject=about, annotations={"org.example.key": "value"})
    answer = repository("GET", f"referrers/{about['digest']}")
    assert answer.status == 200
    (found,) = answer.json()["manifests"]
    assert found["digest"] == digest_of(data)
    assert found["artifactType"] == json.loads(data)["artifactType"]
    assert found["annotations"] == {"org.example.key": "value"}


# -- and goes again --------------------------------------------------------------------------------------


def deleted(answer, *refusals):
    """It is done; a registry may also refuse."""
    if answer.status in refusals:
        pytest.skip(f"deleting is not allowed here ({answer.status})")
    assert answer.status == 202
    return True


@requirement("DeleteTag")
def test_a_tag_is_deleted(repository):
    data = repository.push("latest")
    if deleted(repository("DELETE", "manifests/latest"), 400, 405):
        assert repository.get("latest").status == 404
        assert repository.get(digest_of(data)).status == 200


@requirement("DeleteManifest", "DeleteManifestGone")
def test_a_manifest_is_deleted(repository):
    data = repository.push("latest")
    if deleted(repository("DELETE", f"manifests/{digest_of(data)}"), 400, 405):
        assert repository.get(digest_of(data)).status == 404
        assert repository.get("latest").status == 404


@requirement("DeleteBlob", "DeleteBlobGone")
def test_a_blob_is_deleted(repository):
    repository.push_blob(b"to be deleted")
    if deleted(repository("DELETE", f"blobs/{digest_of(b'to be deleted')}"), 400, 405):
        assert repository("GET", f"blobs/{digest_of(b'to be deleted')}").status == 404
