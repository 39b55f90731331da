"""The launcher's build code, and its modules in C as extensions of the interpreter that runs the tests."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import shutil
import subprocess
import sysconfig
import types
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).resolve().parents[2] / "launcher"


def _load(name: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, LAUNCHER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


freeze = _load("freeze")
deepfreeze = _load("deepfreeze")


def extension(name: str, source: str | Path, directory: Path) -> types.ModuleType:
    """Module `name`, compiled from `source` (a path, or a name in the launcher's). It isn't put into
    sys.modules."""
    compiler = shutil.which("cc")
    include = sysconfig.get_path("include")
    if compiler is None or not Path(include, "Python.h").exists():
        pytest.skip("there is no C compiler with the interpreter's headers")
    library = directory / f"{name}.so"
    options = [
        "-shared",
        "-fPIC",
        "-O1",
        "-Wall",
        "-Werror",
        "-fsanitize=undefined",
        "-fno-sanitize-recover",
        f"-I{include}",
    ]
    subprocess.run([compiler, *options, "-o", library, LAUNCHER / source], check=True)
    loader = importlib.machinery.ExtensionFileLoader(name, str(library))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module
