"""api.bodies: types of what clients send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrunc.api import bodies
from pyrunc.engine.hostconfig import CONFIG_DEFAULTS, HOST_DEFAULTS
from pyrunc.errors import PyruncError


@pytest.mark.parametrize(
    ("shape", "value", "where"),
    [
        (bodies.CREATE, {"Image": 1.5}, "/Image"),
        (bodies.CREATE, {"Env": "A=1"}, "/Env"),
        (bodies.CREATE, {"Env": ["A=1", 2]}, "/Env/1"),
        (bodies.CREATE, {"HostConfig": {"Memory": "16m"}}, "/HostConfig/Memory"),
        (bodies.CREATE, {"HostConfig": {"Memory": True}}, "/HostConfig/Memory"),
        (bodies.CREATE, {"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": 80}]}}},
         "/HostConfig/PortBindings/80/tcp/0/HostPort"),
        (bodies.CREATE, {"HostConfig": []}, "/HostConfig"),
        (bodies.NETWORK, {"IPAM": {"Config": [{"Subnet": 10}]}}, "/IPAM/Config/0/Subnet"),
        (bodies.VOLUME, {"Labels": {"a": 1}}, "/Labels/a"),
    ],
)  # fmt: skip
def test_what_is_of_another_type_is_named(shape, value, where):
    with pytest.raises(PyruncError) as caught:
        bodies.require_shape(value, shape)
    assert caught.value.where == where


@pytest.mark.parametrize(
    "value", [{}, {"Image": None}, {"New": 1.5}, {"HostConfig": {"Newer": [{}]}}, {"Cmd": "a"}]
)
def test_null_and_what_is_not_known_are_let_through(value):
    bodies.require_shape(value, bodies.CREATE)


def test_every_setting_has_a_type():
    """But for the two that have more than one; and what is there unless told otherwise is of it."""
    assert set(CONFIG_DEFAULTS) - set(bodies.CONFIG) == {"Cmd", "Entrypoint"}
    assert set(HOST_DEFAULTS) == set(bodies.HOST)
    bodies.require_shape({**CONFIG_DEFAULTS, "HostConfig": HOST_DEFAULTS}, bodies.CREATE)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from([*bodies.CREATE, *bodies.HOST]), _JSON))
def test_anything_is_taken_or_refused(value):
    for document in (value, {"HostConfig": value}):
        try:
            bodies.require_shape(document, bodies.CREATE)
        except PyruncError as error:
            assert error.kind == "invalid"
