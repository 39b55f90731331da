"""image.asking: which registry an address means."""

from __future__ import annotations

import pytest

from pyrunc.image.asking import registry_of


@pytest.mark.parametrize(
    ("server", "registry"),
    [
        ("", "docker.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
        ("localhost:5000", "localhost:5000"),
        ("http://127.0.0.1:5000/v2/", "127.0.0.1:5000"),
        ("https://r.example", "r.example"),
    ],
)
def test_the_registry_of_an_address(server, registry):
    assert registry_of(server) == registry
