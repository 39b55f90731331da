"""Build the launcher: `python -I build.py TREE LIBRARY OUTPUT`, with the interpreter it is for.

TREE has the package to freeze, LIBRARY is where that and the script will be installed, OUTPUT is made.
Without a compiler or Debian's static library there is none: one line says what is missing, and the exit code
is 1. pyrunc is whole without it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import deepfreeze  # noqa: E402  (beside this file, where -I does not look)
import freeze  # noqa: E402

SOURCES = ("launcher.c", "native.c", "json.c", *(("classes.c",) if deepfreeze.IS_POSSIBLE else ()))
# Static and at a fixed address: a dynamic linker would take longer than a `kill`.
FLAGS = ("-O2", "-static", "-no-pie", "-fno-pie", "-Wall", "-Werror=implicit-function-declaration")


class Unavailable(Exception):
    """Said to the user in one line."""


def build(tree: Path, library: str, output: Path) -> None:
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        raise Unavailable("there is no C compiler (Debian: apt-get install gcc libc6-dev)")
    archive = _static_library()
    include = Path(sysconfig.get_path("include"))
    if not (include / "Python.h").exists():
        raise Unavailable(f"there is no {include}/Python.h (Debian: apt-get install libpython3-dev)")
    with tempfile.TemporaryDirectory() as scratch:
        modules = {**freeze.read(tree / "pyrunc", library, for_launcher=True), **freeze.borrow()}
        modules["encodings"] = freeze.Module("encodings", HERE / "encodings.py", "encodings.py", "")
        chosen = freeze.choose(modules)
        if "pyrunc.cli.main" not in chosen:
            raise Unavailable("the command line imports what cannot be frozen")
        defines = {"SCRIPTS": f"{library}/bin"}
        groups = freeze.group(chosen)
        if deepfreeze.IS_POSSIBLE:
            _write_objects(groups, Path(scratch))
            defines["STATIC_CODE"] = ""
        else:
            _write_marshalled(groups, Path(scratch))
            defines["CODE"] = f"{scratch}/code"
        linked = [f'LINKED("{name}", {function})' for name, function in freeze.LINKED.items()]
        Path(scratch, "linked.h").write_text("\n".join(linked))
        command = [
            compiler, *FLAGS, f"-I{include}", f"-I{scratch}",
            *(f'-D{name}="{value}"' for name, value in defines.items()),
            "-o", f"{scratch}/linked", *(str(HERE / source) for source in SOURCES), str(archive), "-lm", "-s",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            why = [line for line in done.stderr.splitlines() if "error" in line or "undefined" in line]
            raise Unavailable(f"{compiler} failed: {why[0] if why else done.stderr.strip()[-200:]}")
        # A linker writes here and there. Of what is written at once the kernel keeps large pieces, which cost
        # a call fewer and cheaper page faults: 0.25 ms.
        output.write_bytes(Path(scratch, "linked").read_bytes())
        output.chmod(0o755)
    said = subprocess.run([output, "--version"], capture_output=True, text=True, check=False)
    if "launcher: static" not in said.stdout:
        output.unlink()
        raise Unavailable(f"what was built does not run: {said.stderr.strip()[-200:]}")


def _write_objects(groups: list[list[freeze.Module]], directory: Path) -> None:
    """`constants.h`: the code, and all that it refers to, in a section for each group; `groups.h`: these
    sections; `frozen.h`: each module's group and code, by name."""
    writer, sections, places = deepfreeze.Writer(), [], {}
    for number, group in enumerate(groups):
        sections.append(f"GROUP(frozen_{number})")
        writer.lines += ["#undef GROUP_SECTION", f'#define GROUP_SECTION "frozen_{number}"']
        writer.lines += deepfreeze.section("GROUP_SECTION")
        for module in group:
            places[module.name] = f'FROZEN("{module.name}", {number}, {writer.code(module.code)})'
    (directory / "constants.h").write_text("\n".join(writer.lines))
    (directory / "groups.h").write_text("\n".join(sections))
    (directory / "frozen.h").write_text("\n".join(places[name] for name in sorted(places)))


def _write_marshalled(groups: list[list[freeze.Module]], directory: Path) -> None:
    """`code`: the groups, marshalled, one after the other; `groups.h`: where each begins, and its length;
    `frozen.h`: each module's place in a group, by name."""
    code, begins, places = b"", [], {}
    for number, group in enumerate(groups):
        marshalled = freeze.marshalled(group)
        begins.append(f"GROUP({len(code)}, {len(marshalled)})")
        code += marshalled
        for index, module in enumerate(group):
            places[module.name] = f'FROZEN("{module.name}", {number}, {index})'
    (directory / "code").write_bytes(code)
    (directory / "groups.h").write_text("\n".join(begins))
    (directory / "frozen.h").write_text("\n".join(places[name] for name in sorted(places)))


def _static_library() -> Path:
    version = sysconfig.get_config_var("LDVERSION")
    found = Path(sysconfig.get_config_var("LIBPL") or "/", f"libpython{version}.a")
    if not found.exists():
        raise Unavailable(f"there is no {found} (Debian: apt-get install libpython3-dev)")
    return found


def main() -> int:
    tree, library, output = sys.argv[1:]
    try:
        build(Path(tree), library, Path(output))
    except Unavailable as error:
        print(f"no launcher: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
