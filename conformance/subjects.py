"""What a run is about: runtimes, images and registries, as the command line names them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from conformance.verdicts import Subject

# suite -> the option that names its subjects, and what it says
OPTIONS = {
    "runtime": ("--runtime", "a runtime's program"),
    "image": ("--image", "[NAME=]DIR of an image layout, or [NAME=]URL/REPOSITORY:TAG in a registry"),
    "distribution": ("--registry", "[NAME=]URL of a registry, or `docker-registry`, which is started for it"),
}
DOCKER_REGISTRY = "docker-registry"


class NoSubject(ValueError):
    """What was named is not there, or not such a thing; the text says which."""


def identify(suite: str, word: str) -> Subject:
    return _IDENTIFY[suite](word)


def _runtime(command: str) -> Subject:
    """By the first line of `--version`: "runc version 1.1.5"."""
    path = shutil.which(command)
    if path is None:
        raise NoSubject(f"--runtime: no such program: {command}")
    asked = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"(\S+) version:? (\S+)", asked.stdout)
    if asked.returncode != 0 or found is None:
        raise NoSubject(f"--runtime: {command} --version does not tell a name and a version")
    return Subject(str(Path(path).absolute()), found[1], found[2])


def _named(word: str) -> tuple[str, str]:
    """`NAME=PLACE`; without a name, the place is it."""
    found = re.fullmatch(r"([\w.+-]+)=(.+)", word)
    return (found[1], found[2]) if found else (word, word)


def _image(word: str) -> Subject:
    name, place = _named(word)
    if is_url(place):
        if not re.fullmatch(r"/.+(:[^/:@]+|@\w+:\w+)", urlsplit(place).path):
            raise NoSubject(f"--image: names no REPOSITORY:TAG or REPOSITORY@DIGEST: {place}")
    elif not Path(place).is_dir():
        raise NoSubject(f"--image: neither a directory nor a URL: {place}")
    else:
        place = str(Path(place).absolute())
    return Subject(place, name, "")


def _registry(word: str) -> Subject:
    name, place = _named(word)
    if is_url(place):
        return Subject(place.rstrip("/"), name, "")
    path = shutil.which(place)
    if Path(place).name != DOCKER_REGISTRY or path is None:
        raise NoSubject(f"--registry: neither a URL nor an installed {DOCKER_REGISTRY}: {place}")
    asked = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    return Subject(path, DOCKER_REGISTRY, asked.stdout.split()[-1].lstrip("v"))


def is_url(place: str) -> bool:
    return urlsplit(place).scheme in ("http", "https")


_IDENTIFY = {"runtime": _runtime, "image": _image, "distribution": _registry}
