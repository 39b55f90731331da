"""The configuration as a whole: version, unknown properties, invalid values, annotations, root."""

import json

import pytest
from support.facts import mount_at

from conformance.clauses import requirement


@requirement("SpecVersionInSemVer", "ValidValues")
@pytest.mark.parametrize("version", ["", "1", "1.0", "latest", "v1.0.0"], ids=lambda value: value or "empty")
def test_a_version_that_is_not_semver(bundle, refused, version):
    bundle.config["ociVersion"] = version
    refused()


@requirement("SpecVersionRequired")
def test_no_version(bundle, refused):
    del bundle.config["ociVersion"]
    refused()


@requirement("SpecVersionInSemVer")
@pytest.mark.parametrize("version", ["1.0.0", "1.0.2-dev", "1.0.0-rc5", "1.0.2+build.5"])
def test_versions_of_1_0(runtime, bundle, version):
    bundle.config["ociVersion"] = version
    runtime.run(bundle, "true").ok()


@requirement("ExtensibilityIgnoreUnknownProp")
def test_unknown_properties_are_ignored(runtime, bundle):
    bundle.config["unknown"] = {"a": [1]}
    bundle.process["unknown"] = True
    bundle.linux["unknown"] = "x"
    bundle.config["mounts"][0]["unknown"] = None
    bundle.resources["unknown"] = {"limit": 1}
    runtime.run(bundle, "true").ok()


@requirement("ValidValues")
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("process.args", "true"),
        ("process.env", {"A": "b"}),
        ("process.user", 0),
        ("process.cwd", 1),
        ("mounts", {}),
        ("root", "rootfs"),
        ("linux.namespaces", "pid"),
        ("hostname", ["x"]),
    ],
)
def test_a_value_of_the_wrong_type(bundle, refused, path, value):
    *parents, last = path.split(".")
    place = bundle.config
    for name in parents:
        place = place[name]
    place[last] = value
    refused()


@requirement("ValidValues")
def test_a_config_that_is_not_json(runtime, bundle):
    (bundle.path / "config.json").write_text("{")
    assert runtime("create", "--bundle", bundle.path, bundle.id).returncode != 0


@requirement("AnnotationsKeyValueMap")
def test_annotations_that_are_no_map(bundle, refused):
    bundle.config["annotations"] = ["a=b"]
    refused()


@requirement("AnnotationsValueString")
@pytest.mark.parametrize("value", [1, ["x"], {"x": "y"}])
def test_an_annotation_that_is_no_string(bundle, refused, value):
    bundle.config["annotations"] = {"org.example.key": value}
    refused()


@requirement("AnnotationsKeyRequired")
def test_an_empty_key_of_an_annotation(bundle, refused):
    bundle.config["annotations"] = {"": "value"}
    refused()


@requirement("AnnotationsKeyIgnoreUnknown")
def test_unknown_annotations_are_no_error(runtime, bundle):
    bundle.config["annotations"] = {"org.example.nobody.knows": "1", "plain": "2"}
    runtime.run(bundle, "true").ok()


@requirement("HostnameSet")
def test_the_host_name(runtime, bundle):
    bundle.config["hostname"] = "name-of-it"
    assert runtime.ask(bundle, name="hostname")["name"] == "name-of-it"


@requirement("HostnameSet")
def test_a_host_name_without_a_uts_namespace_is_an_error(bundle, refused):
    bundle.share("uts")
    bundle.config["hostname"] = "must-not-be-the-hosts"
    refused()


@requirement("DomainnameSet")
def test_the_domain_name(runtime, bundle):
    bundle.config["domainname"] = "example.org"
    assert runtime.ask(bundle, name="cat /proc/sys/kernel/domainname")["name"] == "example.org"


@requirement("RootOnNonHyperVRequired")
def test_no_root(bundle, refused):
    del bundle.config["root"]
    refused()


@requirement("RootPathExist")
def test_a_root_that_does_not_exist(bundle, refused):
    bundle.config["root"]["path"] = "missing"
    refused()


@requirement("RootPathExist")
def test_a_root_that_is_a_file(bundle, refused):
    (bundle.path / "file").write_text("")
    bundle.config["root"]["path"] = "file"
    refused()


@requirement("RootPathRelative")
@pytest.mark.parametrize("absolute", [False, True])
def test_a_relative_and_an_absolute_root(runtime, bundle, absolute):
    (bundle.rootfs / "etc/marker").write_text("found\n")
    moved = bundle.path / "other-name"
    bundle.rootfs.rename(moved)
    bundle.config["root"]["path"] = str(moved) if absolute else "other-name"
    assert runtime.ask(bundle, marker="cat /etc/marker")["marker"] == "found"


@requirement("RootReadonlyImplement")
def test_a_readonly_root(runtime, bundle):
    answers = runtime.ask(bundle, touch="touch /new", mounts="cat /proc/self/mountinfo")
    assert "Read-only file system" in answers["touch"]
    assert "ro" in mount_at(answers["mounts"], "/").options


@requirement("RootReadonlyImplement")
@pytest.mark.parametrize("given", [{}, {"readonly": False}])
def test_a_root_is_writable_by_default(runtime, bundle, given):
    bundle.config["root"] = {"path": "rootfs", **given}
    assert runtime.ask(bundle, touch="touch /new")["touch"] == ""
    assert (bundle.rootfs / "new").exists()


@requirement("RootPathOnPosixConvention")
def test_a_configuration_that_the_runtime_writes(runtime, work):
    bundle = work / "written"
    bundle.mkdir()
    done = runtime("spec", "--bundle", bundle)
    if done.returncode != 0:
        pytest.skip(f"it writes none by `spec --bundle`: {done.said}")
    assert json.loads((bundle / "config.json").read_text())["root"]["path"] == "rootfs"
