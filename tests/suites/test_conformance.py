"""The conformance suites as programs: what is good passes, and each thing that is wrong is seen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from support.host import needs_root
from support.images import MadeImage, digest_of, directory, entry, layer
from support.registry import needs_registry, needs_skopeo, running_registry, skopeo
from support.runtime import CHECKOUT, write_launcher

_BASE = layer(directory("etc"), entry("etc/passwd", b"root"), entry("gone", b"x"))
_ABOVE = layer(entry(".wh.gone", b""))
_CONFIG = {"Env": ["A=b"], "Labels": {"a.b": "c"}, "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGTERM"}


def conformance(*words: object) -> tuple[int, dict[str, object]]:
    """The exit status, and the report."""
    command = [sys.executable, "-m", "conformance", "--format", "json", *map(str, words)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def red(report) -> list[object]:
    return [result for result in report["results"] if result["outcome"] in ("failed", "unexpected")]


def failing(report, subject: int = 0) -> set[str]:
    """The clauses that fail; what has no proper entry in the lists of a clause fails with it."""
    return {clause["id"] for clause in report["clauses"] if clause["verdicts"][subject] == "failed"}


# -- images ----------------------------------------------------------------------------------------------


def make_layout(where: Path, image: MadeImage, **more: object) -> Path:
    image.write_layout(where, "docker.io/library/x:1")
    index = json.loads((where / "index.json").read_text())
    kind = "application/vnd.oci.image.index.v1+json"
    (where / "index.json").write_text(json.dumps({**index, "mediaType": kind, **more}))
    return where


def edit(where: Path, change) -> None:
    index = json.loads((where / "index.json").read_text())
    change(index)
    (where / "index.json").write_text(json.dumps(index))


def good(where: Path) -> None:
    make_layout(where, MadeImage(_BASE, _ABOVE, config=_CONFIG))


def twice(where: Path) -> None:
    make_layout(where, MadeImage(layer(entry("a", b"1"), entry("./a", b"2")), config=_CONFIG))


def whiteout_with_content(where: Path) -> None:
    make_layout(where, MadeImage(layer(entry(".wh.a", b"not empty"))))


def opaque(where: Path) -> None:
    make_layout(where, MadeImage(layer(entry("etc/.wh..wh..opq", b""))))


def whiteout_of_nothing(where: Path) -> None:
    make_layout(where, MadeImage(layer(entry("etc/.wh.", b""))))


def other_packing(where: Path) -> None:
    make_layout(where, MadeImage(_BASE, packed=[_BASE]))


def other_diff_ids(where: Path) -> None:
    make_layout(where, MadeImage(_BASE, diff_ids=[digest_of(b"another")]))


def no_environment(where: Path) -> None:
    make_layout(where, MadeImage(_BASE, config={"Env": ["NOTHING"]}))


def port_of_no_kind(where: Path) -> None:
    make_layout(where, MadeImage(_BASE, config={"ExposedPorts": {"http": {}}}))


def machine_of_no_kind(where: Path) -> None:
    make_layout(where, MadeImage(_BASE, architecture="x86_64"))


def docker(where: Path) -> None:
    make_layout(where, MadeImage(_BASE, kind="docker"))


def wrong_size(where: Path) -> None:
    good(where)
    edit(where, lambda index: index["manifests"][0].update(size=1))


def wrong_digest(where: Path) -> None:
    good(where)
    edit(where, lambda index: index["manifests"][0].update(digest="sha256:../../../etc/passwd"))


def changed_blob(where: Path) -> None:
    good(where)
    path = where / "blobs" / "sha256" / digest_of(b"stray")[7:]
    path.write_bytes(b"changed")


def blob_that_is_a_link(where: Path) -> None:
    good(where)
    path = where / "blobs" / "sha256" / digest_of(b"stray")[7:]
    path.symlink_to("/etc/passwd")


def schema_one(where: Path) -> None:
    good(where)
    edit(where, lambda index: index.update(schemaVersion=1))


def other_layout(where: Path) -> None:
    good(where)
    (where / "oci-layout").write_text('{"imageLayoutVersion": "2.0.0"}')


def annotation_of_a_number(where: Path) -> None:
    good(where)
    edit(where, lambda index: index.update(annotations={"a": 1}))


def half_a_platform(where: Path) -> None:
    good(where)
    edit(where, lambda index: index["manifests"][0].update(platform={"os": "linux"}))


WRONG = {
    good: set(),
    twice: {"LayerNoDuplicates"},
    whiteout_with_content: {"LayerWhiteoutEmpty"},
    opaque: {"LayerWhiteoutExplicit"},
    whiteout_of_nothing: {"LayerWhiteoutName"},
    other_packing: {"LayerMediaType"},
    other_diff_ids: {"ConfigDiffIds"},
    no_environment: {"ConfigEnv"},
    port_of_no_kind: {"ConfigPorts"},
    machine_of_no_kind: {"ConfigPlatformNames"},
    docker: {"ManifestMediaType"},
    wrong_size: {"DescriptorSize", "DescriptorContent"},
    changed_blob: {"LayoutBlobContent"},
    blob_that_is_a_link: {"LayoutBlobContent"},
    schema_one: {"IndexSchemaVersion"},
    other_layout: {"LayoutFile", "LayoutVersion"},
    annotation_of_a_number: {"DescriptorAnnotations", "DescriptorAnnotationKeys"},
    half_a_platform: {"IndexPlatform", "IndexPlatformNames"},
}


def test_what_is_wrong_with_an_image_is_seen_and_no_more(tmp_path):
    for make in WRONG:
        make(tmp_path / make.__name__)
    status, report = conformance(*(f"--image={make.__name__}={tmp_path / make.__name__}" for make in WRONG))
    assert status == 1
    seen = {make.__name__: failing(report, number) for number, make in enumerate(WRONG)}
    assert seen == {make.__name__: clauses for make, clauses in WRONG.items()}


def test_a_digest_that_leads_out_of_the_layout_is_not_followed(tmp_path):
    wrong_digest(tmp_path / "layout")
    status, report = conformance("--image", tmp_path / "layout")
    assert status == 1
    assert {"DescriptorDigest", "DescriptorRegistered"} <= failing(report)
    assert "root:" not in json.dumps(report)


@needs_registry
@needs_skopeo
def test_an_image_is_judged_where_it_lies_in_a_registry(tmp_path):
    good(tmp_path / "layout")
    with running_registry(tmp_path / "registry") as registry:
        target = f"{registry.address}/team/app:1"
        source = f"oci:{tmp_path / 'layout'}:docker.io/library/x:1"
        skopeo("copy", "--dest-tls-verify=false", source, f"docker://{target}")
        status, report = conformance("--image", f"app=http://{target}")
    assert (status, failing(report)) == (0, set())
    verdicts = {clause["id"]: clause["verdicts"][0] for clause in report["clauses"]}
    assert verdicts["LayerWhiteoutEmpty"] == verdicts["ConfigDiffIds"] == "passed"
    assert verdicts["LayoutIndex"] == "skipped"


# -- registries ------------------------------------------------------------------------------------------


@needs_registry
def test_debians_registry_does_what_is_listed(tmp_path):
    status, report = conformance("--registry", "docker-registry")
    assert status == 0, red(report)
    counts = report["subjects"][0]["counts"]
    assert counts["passed"] > 35
    assert counts["deviation"] > 0


def test_a_registry_that_does_not_answer_fails_everything():
    status, report = conformance("--registry", "http://127.0.0.1:9")
    assert status == 1
    assert report["subjects"][0]["counts"]["passed"] == 0


# -- runtimes --------------------------------------------------------------------------------------------

SECTIONS = ("bundle", "state", "errors", "root", "rlimits", "rootfspropagation")


@needs_root
def test_a_runtime_fails_in_nothing_but_what_is_listed(tmp_path):
    """A part of the suite; `make conformance` is all of it."""
    runtime = os.environ.get("PYRUNC_TEST_RUNTIME") or write_launcher(tmp_path / "pyrunc")
    status, report = conformance("--runtime", runtime, *(f"--section={name}" for name in SECTIONS))
    assert status == 0, red(report)
    assert {clause["section"] for clause in report["clauses"]} == set(SECTIONS)


# -- pyrunc conformance ----------------------------------------------------------------------------------


def test_the_command_runs_the_suite(tmp_path):
    good(tmp_path / "layout")
    program = "import sys; sys.path.insert(0, {!r}); from pyrunc.cli.main import entry; entry()"
    words = [
        "conformance",
        "--image",
        tmp_path / "layout",
        "--format",
        "tap",
        "--output",
        tmp_path / "report",
    ]
    command = [sys.executable, "-c", program.format(str(CHECKOUT)), *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report").read_text().startswith("TAP version 13\n1..")


def test_an_installed_suite_stands_by_itself(tmp_path):
    """As `make install` puts it down: without the rest of the tests."""
    suite = tmp_path / "suite"
    shutil.copytree(CHECKOUT / "conformance", suite / "conformance")
    shutil.copytree(CHECKOUT / "tests" / "support", suite / "support")
    good(tmp_path / "layout")
    command = [sys.executable, "-m", "conformance", "--image", tmp_path / "layout"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=suite, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_pytest_it_says_what_to_do():
    done = subprocess.run(
        [sys.executable, "-ISc", "import sys; sys.path.insert(0, sys.argv[1]); import conformance.__main__",
         CHECKOUT],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "pytest" in done.stderr
    assert "hint: apt install python3-pytest" in done.stderr
