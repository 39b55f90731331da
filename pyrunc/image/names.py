"""References and what they name: one file, replaced as a whole.

A name leads to a *target*: the manifest or the index that was pulled, so that several platforms of a tag can
be kept. Besides `repo:tag` there is `repo@digest` for each target that came from a registry or went to one,
which is what an image is still known by when its tag has moved on.
"""

from __future__ import annotations

from contextlib import contextmanager

from pyrunc.image.locks import locked
from pyrunc.image.store import read_json, write_json
from pyrunc.oci.image import Descriptor, parse_descriptor
from pyrunc.oci.reference import Reference, with_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrunc.image.store import Store

_FILE = "names.json"


def read_names(store: Store) -> dict[str, Descriptor]:
    """Full references -> targets."""
    value = read_json(store.path(_FILE)) or {}
    return {
        name: parse_descriptor(target, _FILE) for name, target in value.items() if isinstance(target, dict)
    }


@contextmanager
def changing_names(store: Store) -> Iterator[dict[str, Descriptor]]:
    """The names, to be changed in place: one writer at a time, and on an error nothing is written."""
    with locked(store.path("names.lock"), exclusive=True):
        names = read_names(store)
        before = dict(names)
        yield names
        if names != before:
            write_json(store.path(_FILE), {name: target.to_json() for name, target in names.items()})


def set_name(store: Store, reference: Reference, target: Descriptor, *, by_digest: bool) -> Descriptor | None:
    """`reference` (repo:tag, or repo@digest) names `target`; with `by_digest` repo@digest does, too. Returns
    what it named before."""
    with changing_names(store) as names:
        before = names.get(reference.full)
        if reference.tag:
            names[f"{reference.repository}:{reference.tag}"] = target
        if by_digest or not reference.tag:
            names[with_digest(reference, target.digest).full] = target
    return before
