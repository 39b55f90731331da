"""`features`: what a runtime says that it can do."""

import json

import pytest

from conformance.clauses import requirement


@pytest.fixture
def features(runtime):
    return json.loads(runtime("features").ok().stdout)


@requirement("FeaturesVersions")
def test_versions(features):
    assert features["ociVersionMin"].startswith("1.0.")
    assert features["ociVersionMax"].startswith("1.")


@requirement("FeaturesLists")
def test_lists(features):
    assert {"prestart", "createRuntime", "poststop"} <= set(features["hooks"])
    assert {"ro", "rbind", "nosuid"} <= set(features["mountOptions"])
    assert {"pid", "mount", "network"} <= set(features["linux"]["namespaces"])


@requirement("FeaturesUnsafeAnnotations")
def test_unsafe_annotations(features):
    found = features["potentiallyUnsafeConfigAnnotations"]
    assert all(isinstance(name, str) for name in found)
