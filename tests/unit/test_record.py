"""record: a frozen dataclass in all but price."""

from __future__ import annotations

import pytest

from pyrunc.record import Record, replaced


class Base(Record):
    name: str
    size: int = 3

    def doubled(self) -> int:
        return 2 * self.size


class Derived(Base):
    size: int = 5
    extra: tuple[str, ...] = ()


def test_a_default_stands_for_what_is_not_given():
    assert (Base(name="a").name, Base(name="a").size) == ("a", 3)
    assert Base(name="a", size=4).size == 4


def test_fields_are_inherited_and_defaults_overridden():
    assert tuple(Derived.FIELDS) == ("name", "size", "extra")
    derived = Derived(name="a")
    assert (derived.size, derived.extra, derived.doubled()) == (5, (), 10)
    assert Base(name="a").size == 3


def test_all_that_was_wrong_is_named():
    with pytest.raises(TypeError, match=r"^Base needs name=$"):
        Base()
    with pytest.raises(TypeError, match=r"^Base has no colour$"):
        Base(name="a", colour=1)
    with pytest.raises(TypeError, match=r"^Base needs name=, has no names$"):
        Base(names="a")
    with pytest.raises(TypeError, match=r"^Base has no doubled$"):
        Base(name="a", doubled=1)


def test_a_value_does_not_change():
    with pytest.raises(AttributeError, match="Base is immutable: size"):
        Base(name="a").size = 1


def test_equal_fields_of_one_class_make_equals():
    assert Base(name="a", size=3) == Base(size=3, name="a")
    assert hash(Base(name="a", size=3)) == hash(Base(size=3, name="a"))
    assert Base(name="a") != Base(name="b")
    assert Base(name="a", size=5) != Derived(name="a")


def test_it_is_shown_as_it_would_be_written():
    assert repr(Derived(extra=("x",), name="a")) == "Derived(name='a', size=5, extra=('x',))"


def test_a_copy_differs_in_what_was_asked_for():
    assert replaced(Derived(name="a", extra=("x",)), name="b") == Derived(name="b", extra=("x",))
    with pytest.raises(TypeError):
        replaced(Base(name="a"), colour=1)
