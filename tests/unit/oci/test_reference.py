"""oci.reference and oci.digest: what people type, in full and short again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrunc.errors import INVALID, UNSUPPORTED, PyruncError
from pyrunc.oci.digest import is_digest, require_digest, short
from pyrunc.oci.reference import parse_full, parse_reference

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("typed", "full", "familiar"),
    [
        ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("me/tool", "docker.io/me/tool:latest", "me/tool:latest"),
        ("index.docker.io/library/x", "docker.io/library/x:latest", "x:latest"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("localhost:5000/x:1", "localhost:5000/x:1", "localhost:5000/x:1"),
        ("[::1]:5000/a/b:1", "[::1]:5000/a/b:1", "[::1]:5000/a/b:1"),
        ("r.example/a__b/c-d.e", "r.example/a__b/c-d.e:latest", "r.example/a__b/c-d.e:latest"),
        (f"x@{DIGEST}", f"docker.io/library/x@{DIGEST}", f"x@{DIGEST}"),
        (f"x:1@{DIGEST}", f"docker.io/library/x:1@{DIGEST}", f"x:1@{DIGEST}"),
    ],
)
def test_names_in_full_and_short(typed, full, familiar):
    reference = parse_reference(typed)
    assert (reference.full, reference.familiar) == (full, familiar)
    assert parse_full(full) == reference


@pytest.mark.parametrize(
    "typed",
    ["", ":", "x:", "X", "a//b", "/a", "a/", "x:-1", "x y", "x\n", "-x", "x@", "x@sha256:1", "a" * 64,
     "a/" * 128 + "b", "x:" + "t" * 129, "exa mple.com/x", "http://x/y", "../x", "a/../b"],
)  # fmt: skip
def test_what_is_no_reference(typed):
    with pytest.raises(PyruncError) as caught:
        parse_reference(typed)
    assert caught.value.kind == INVALID


@given(st.text(max_size=40))
def test_nothing_else_comes_of_any_text(text):
    try:
        reference = parse_reference(text)
    except PyruncError:
        return
    assert parse_full(reference.full) == reference
    assert ".." not in reference.path.split("/")


def test_digests():
    assert short(require_digest(DIGEST)) == "a" * 12
    for text in ("", "sha256", "sha256:", "sha256:" + "A" * 64, "sha256:" + "a" * 63, "sha256:../x", "a/b:c"):
        assert not is_digest(text)
        with pytest.raises(PyruncError):
            require_digest(text)
    with pytest.raises(PyruncError) as caught:
        require_digest("blake3:" + "a" * 64)
    assert caught.value.kind == UNSUPPORTED
