"""What is decided without a store: platforms, endpoints, challenges, filters, settings, compression."""

import bz2
import gzip
import io
import lzma
import zlib

import pytest

from pyrunc.errors import INVALID, PyruncError
from pyrunc.image.auth import parse_challenge
from pyrunc.image.compression import _Inflater, _members, _Source, decompressed
from pyrunc.image.endpoints import is_insecure, plan_endpoints
from pyrunc.image.http import _for_redirect
from pyrunc.image.images import matches, seconds_of
from pyrunc.image.options import Mirror, Registries
from pyrunc.image.platforms import choose_manifest, parse_platform, rank
from pyrunc.image.settings import apply_changes
from pyrunc.oci.image import Descriptor, Index, Platform


def platform(text):
    system, architecture, variant = (*text.split("/"), "")[:3]
    return Platform(os=system, architecture=architecture, variant=variant)


def index_of(*texts):
    found = [
        Descriptor(media_type="", digest=text, size=0, platform=platform(text) if text else None)
        for text in texts
    ]
    return Index(media_type="", manifests=tuple(found))


@pytest.mark.parametrize(
    ("wanted", "there", "chosen"),
    [
        ("linux/amd64", ["linux/arm64", "linux/amd64"], "linux/amd64"),
        ("linux/arm64", ["linux/arm64/v8"], "linux/arm64/v8"),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6", "linux/arm/v8"], "linux/arm/v6"),
        ("linux/arm/v7", ["linux/arm/v6", "linux/arm/v7"], "linux/arm/v7"),
        ("linux/amd64", ["windows/amd64", "linux/s390x"], None),
        ("linux/amd64", [""], ""),
        ("linux/amd64", [], None),
    ],
)
def test_a_platform_is_chosen(wanted, there, chosen):
    found = choose_manifest(index_of(*there), platform(wanted))
    assert (found.digest if found else None) == chosen


def test_an_attestation_is_no_image():
    note = (("vnd.docker.reference.type", "attestation-manifest"),)
    hidden = Descriptor(media_type="", digest="x", size=0, platform=platform("linux/amd64"), annotations=note)
    assert choose_manifest(Index(media_type="", manifests=(hidden,)), platform("linux/amd64")) is None


def test_platforms_as_typed():
    assert parse_platform("linux/aarch64").text == "linux/arm64"
    assert parse_platform("linux/arm64/v8") == parse_platform("linux/arm64")
    assert parse_platform("s390x").text == "linux/s390x"
    assert rank(parse_platform("linux/arm/v6"), platform("linux/arm/v7")) == 0
    for text in ("", "a/b/c/d", "linux//x", "lin ux"):
        with pytest.raises(PyruncError):
            parse_platform(text)


@pytest.mark.parametrize(
    ("registry", "listed", "insecure"),
    [
        ("127.0.0.1:5000", (), True),
        ("localhost", (), True),
        ("[::1]:5000", (), True),
        ("10.1.2.3:5000", (), False),
        ("10.1.2.3:5000", ("10.0.0.0/8",), True),
        ("r.test:5000", ("r.test:5000",), True),
        ("r.test:5000", ("r.test",), True),
        ("r.test:5001", ("r.test:5000",), False),
        ("127.0.0.1.test", (), False),
    ],
)
def test_who_may_be_asked_without_certificates(registry, listed, insecure):
    assert is_insecure(registry, listed) is insecure
    urls = [end.url for end in plan_endpoints(registry, Registries(insecure=listed), mirrors=True)]
    assert urls == [f"https://{registry}", f"http://{registry}"][: 2 if insecure else 1], "https first"


def test_mirrors_come_first_and_rename():
    mirror = Mirror(url="https://m.test/cache/", rewrite=("library", "hub/library"))
    registries = Registries(mirrors=(("docker.io", (mirror,)), ("other", (Mirror(url="x.test"),))))
    first, last = plan_endpoints("docker.io", registries, mirrors=True)
    assert (first.url, first.is_mirror, last.is_mirror) == ("https://m.test/cache", True, False)
    assert first.repository("library/x") == "hub/library/x" and first.repository("libraryx/y") == "libraryx/y"
    assert len(plan_endpoints("docker.io", registries, mirrors=False)) == 1
    for url in ("ftp://x", "https://user@x", "https://", "https://x?y"):
        with pytest.raises(PyruncError):
            plan_endpoints("a.test", Registries(mirrors=(("*", (Mirror(url=url),)),)), mirrors=True)


def test_challenges():
    found = parse_challenge('Bearer realm="https://t/x",service="a, b" , scope="r:x:pull,push"')
    assert (found.scheme, found.realm) == ("bearer", "https://t/x")
    assert (found.service, found.scope) == ("a, b", "r:x:pull,push")
    assert parse_challenge('basic realm="say \\"it\\""').realm == 'say "it"'
    assert parse_challenge("Negotiate") is None


def test_redirects_keep_secrets_at_home():
    known = {"Authorization": "x", "Range": "y"}
    assert _for_redirect("https://a/1", "https://a/2", known) == known
    for other in ("https://b/2", "https://a:444/2"):
        assert _for_redirect("https://a/1", other, known) == {"Range": "y"}
    for other in ("http://a/2", "file:///etc/passwd", "https:///x"):
        with pytest.raises(PyruncError):
            _for_redirect("https://a/1", other, known)


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("busy*:*libc", "busybox:uclibc", True),
        ("busy*:*libc", "busybox:latest", False),
        ("busybox", "busybox:latest", True),
        ("*", "a/b:1", False),
        ("*/*", "a/b:1", True),
        ("docker.io/*/busybox:latest", "busybox:latest", True),
        ("[bx]usybox", "busybox:latest", True),
    ],
)
def test_patterns_for_references(pattern, name, fits):
    assert matches(pattern, name) is fits


def test_times_of_configs():
    assert seconds_of("1970-01-01T00:00:01.123456789Z") == pytest.approx(1.123456)
    assert seconds_of("1970-01-01T01:00:01+01:00") == 1
    assert seconds_of("0001-01-01T00:00:00Z") == seconds_of("") == seconds_of("yesterday") == 0


def test_settings_by_instructions():
    lines = ('CMD ["a", "b"]', "ENTRYPOINT run it", "ENV A=1 B='2 3'", "ENV C d e", "EXPOSE 80 53/udp",
             "LABEL x=y", "USER me", "VOLUME /v /w", "WORKDIR /a", "WORKDIR b", "ONBUILD RUN x",
             "STOPSIGNAL INT", "HEALTHCHECK --interval=1m30s --retries=2 CMD test it")  # fmt: skip
    found = apply_changes({"Env": ["A=0", "Z=9"]}, lines)
    assert found == {
        "Env": ["A=1", "Z=9", "B=2 3", "C=d e"], "Cmd": ["a", "b"], "Entrypoint": ["/bin/sh", "-c", "run it"],
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "Labels": {"x": "y"}, "User": "me",
        "Volumes": {"/v": {}, "/w": {}}, "WorkingDir": "/a/b", "OnBuild": ["RUN x"], "StopSignal": "INT",
        "Healthcheck": {"Test": ["CMD-SHELL", "test it"], "Interval": 90 * 10**9, "Retries": 2},
    }  # fmt: skip
    for line in ("RUN x", "FROM y", "ENV", "EXPOSE x", "LABEL", "HEALTHCHECK x", "ENV A=1 B", "ENV 'A=1"):
        with pytest.raises(PyruncError) as caught:
            apply_changes({}, (line,))
        assert caught.value.kind == INVALID


PLAIN = b"some text " * 300_000


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        gzip.compress(PLAIN),
        gzip.compress(PLAIN[:1000]) + gzip.compress(PLAIN[1000:]) + bytes(100),
        bz2.compress(PLAIN),
        lzma.compress(PLAIN),
    ],
    ids=["plain", "gzip", "gzip-members", "bzip2", "xz"],
)
def test_streams_are_told_by_their_first_bytes(data):
    chunks = list(decompressed(io.BytesIO(data).read))
    assert b"".join(chunks) == PLAIN and max(map(len, chunks)) <= 1 << 20


def test_zlib_does_what_isa_l_does():
    data = gzip.compress(PLAIN[:1000]) + gzip.compress(PLAIN[1000:]) + bytes(100)
    chunks = list(_members(_Inflater, (zlib.error,), _Source(b"", io.BytesIO(data).read), "gzip"))
    assert b"".join(chunks) == PLAIN and max(map(len, chunks)) <= 1 << 20


@pytest.mark.parametrize(
    "data", [gzip.compress(PLAIN)[:-9], gzip.compress(PLAIN) + b"junk", b"\x1f\x8b" + b"x" * 99]
)
def test_damaged_streams(data):
    with pytest.raises(PyruncError) as caught:
        list(decompressed(io.BytesIO(data).read))
    assert caught.value.kind == INVALID
