"""`features`: what a runtime says that it can do."""

import json
import re

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


@requirement("AnnotationsKeyReversedDomain")
def test_the_runtimes_own_annotations(features):
    """In `features` it is the runtime that writes them, by the rules of those in config.json."""
    for key, value in features.get("annotations", {}).items():
        assert re.fullmatch(r"[a-z][a-z0-9-]*(\.[a-zA-Z0-9_-]+){2,}", key), key
        assert isinstance(value, str)
