"""The launcher's way of making classes: they are what type() would have made, and behave so.

A launcher is built of a package made up here, whose command line looks at its own classes and says what it
sees; the ordinary interpreter says the same.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from support.launcher import LAUNCHER, deepfreeze

CLASSES = '''
class Base:
    """Has all that a Record has."""
    FIELDS = {}

    def __init_subclass__(cls):
        cls.FIELDS = {**cls.FIELDS, **cls.__dict__.get("__annotations__", {})}

    def __init__(self, **values):
        self.__dict__.update(values)

    def __setattr__(self, name, value):
        raise AttributeError(name)

    def __eq__(self, other):
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self):
        return hash(tuple(self.__dict__.items()))

    def __repr__(self):
        return f"{type(self).__name__}{self.__dict__}"


class Plain(Base):
    one: int
    two: int = 2

    def both(self):
        return self.one, self.two


class Inner(Plain):
    three: int

    @property
    def all(self):
        return (*self.both(), self.three)

    @classmethod
    def made(cls):
        return cls(one=1, three=3)


class Documented(Plain):
    """What it is."""


class Nothing(Plain):
    pass


def make(value):
    class Closed(Plain):
        kept = value

        def up(self):
            return value

    return Closed


class Special(Plain):
    def __len__(self):
        return 7


class Above(Plain):
    def both(self):
        return super().both()[::-1]


class Told(Plain):
    class _Teller:
        def __set_name__(self, owner, name):
            self.told = (owner.__name__, name)

    teller = _Teller()


class Slotted:
    __slots__ = ("a",)


class BelowSlotted(Slotted):
    b = 1


class Mistake(Exception):
    pass


class Worse(Mistake):
    code = 3


class Meta(type):
    def __new__(cls, name, bases, space, **words):
        return super().__new__(cls, name + "Made", bases, space)


class ByMeta(metaclass=Meta):
    pass


class BelowMeta(ByMeta):
    pass


class Both(Nothing, Documented):
    pass


class Keyword(Plain):
    def __init_subclass__(cls, extra=0):
        cls.extra = extra


class WithKeyword(Keyword, extra=4):
    pass


Closed = make(5)
'''

MAIN = """
import gc
import posix
import sys

from pyrunc import classes

NAMES = [
    "Base", "Plain", "Inner", "Documented", "Nothing", "Closed", "Special", "Above", "Told", "BelowSlotted",
    "Worse", "ByMeta", "BelowMeta", "Both", "WithKeyword",
]
VALID_VERSION = 1 << 19


def facts(cls):
    return (
        cls.__name__, cls.__qualname__, cls.__module__, cls.__doc__, repr(cls),
        [base.__name__ for base in cls.__mro__], cls.__base__.__name__, type(cls).__name__,
        sorted(cls.__dict__), cls.__basicsize__, cls.__itemsize__, cls.__dictoffset__, cls.__weakrefoffset__,
        cls.__flags__ & ~VALID_VERSION, [below.__name__ for below in cls.__subclasses__()],
        sorted(getattr(cls, "FIELDS", {})),
    )


def behaviour():
    inner, above = classes.Inner.made(), classes.Above(one=1)
    return (
        repr(inner), inner.all, inner == classes.Inner.made(), inner == classes.Plain(one=1, three=3),
        isinstance(inner, classes.Base), issubclass(classes.Inner, classes.Special), above.both(),
        classes.Closed(one=3).up(), classes.Closed.kept, len(classes.Special()), classes.Told.teller.told,
        classes.BelowSlotted().__dict__, classes.Worse.code, classes.WithKeyword.extra,
        [classes.Nothing(one=n, a=n).a for n in range(50)], inner.__dict__,
        len({inner, classes.Inner.made()}),
        refused(lambda: setattr(inner, "one", 2)), refused(lambda: len(inner)), refused(lambda: inner.none),
    )


def refused(call):
    try:
        return call()
    except Exception as error:
        return repr(error)


def changed():
    inner = classes.Inner.made()
    found = [inner.both() for _ in range(50)]
    classes.Plain.both = lambda self: "changed"
    classes.Base.__repr__ = lambda self: "repr"
    classes.Base.__len__ = lambda self: 3
    found += [inner.both(), repr(inner), len(inner)]
    classes.Plain.__len__ = lambda self: 4
    classes.Inner.__call__ = lambda self: "called"
    return found + [len(inner), inner(), callable(classes.Nothing())]


def collected():
    classes.make(6)(one=1)
    before = len(classes.Plain.__subclasses__())
    gc.collect()
    return before, len(classes.Plain.__subclasses__())


def failed():
    def body():
        class Wrong(classes.Plain):
            a = 1 / 0

    class Strict(classes.Base):
        def __init_subclass__(cls):
            raise KeyError(cls.__name__)

    def child():
        class Child(Strict):
            pass

    return refused(body), refused(child)


def entry():
    if sys.argv[1:] == ["--version"]:
        found = "launcher: static"
    else:
        found = "\\n".join(map(repr, [*(facts(getattr(classes, name)) for name in NAMES), behaviour(),
                          changed(), collected(), failed()]))
    posix.write(1, found.encode())
    posix._exit(0)
"""


@pytest.mark.skipif(not deepfreeze.IS_POSSIBLE, reason="this Python's launcher makes classes by type() alone")
def test_classes_are_as_type_makes_them(tmp_path):
    library = Path(sysconfig.get_config_var("LIBPL") or "/", sysconfig.get_config_var("LIBRARY") or "")
    if shutil.which("cc") is None or not library.is_file():
        pytest.skip("no compiler or no static library here to build a launcher")
    package = tmp_path / "pyrunc"
    (package / "cli").mkdir(parents=True)
    for name, text in {"__init__": "", "cli/__init__": "", "classes": CLASSES, "cli/main": MAIN}.items():
        (package / f"{name}.py").write_text(text)
    launcher = tmp_path / "launcher"
    build = [sys.executable, "-IB", LAUNCHER / "build.py", tmp_path, "/nowhere", launcher]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import pyrunc.cli.main as m; m.entry()"
    expected = subprocess.run([sys.executable, "-ISOOc", program], capture_output=True, text=True, check=True)
    assert expected.stdout.count("\n") > 15
    found = subprocess.run([launcher], capture_output=True, text=True, check=False)
    assert found.stderr == ""
    assert found.stdout.splitlines() == expected.stdout.splitlines()
