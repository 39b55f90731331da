"""rmi and prune: names are taken away, then images without names, then what nothing reaches any more.

The order and the words of conflicts are docker's: people know them, and scripts look for them.
"""

from __future__ import annotations

from pyrunc.errors import CONFLICT, PyruncError
from pyrunc.image.collect import collect, collect_partial
from pyrunc.image.images import Image, ImageFilter, find_image, list_images, select_images
from pyrunc.image.names import changing_names
from pyrunc.image.options import ImageUse, Pruned, Removed
from pyrunc.image.records import remove_record
from pyrunc.oci.digest import short
from pyrunc.oci.reference import Reference, parse_full, parse_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.image.store import Store


def remove(
    store: Store,
    text: str,
    *,
    force: bool = False,
    prune_parents: bool = True,
    uses: tuple[ImageUse, ...] = (),
) -> tuple[Removed, ...]:
    """Remove a name, and with its last one the image; by ID, all its names. Without `prune_parents` what the
    image alone reaches stays until a prune. Raises NOT_FOUND, CONFLICT."""
    with store.locked(exclusive=True):
        image = find_image(store, text)
        removed = _remove_names(store, image, text, force=force, uses=uses)
        image = find_image(store, image.id)
        if not image.tags and not image.digests:
            blocked = _conflict(image, uses, force=force)
            if blocked is None:
                removed += _delete(store, image.id, sweep=prune_parents)
            elif not removed:
                raise blocked
        return tuple(removed)


def _remove_names(
    store: Store, image: Image, text: str, *, force: bool, uses: tuple[ImageUse, ...]
) -> list[Removed]:
    references = [parse_full(name) for name in (*image.tags, *image.digests)]
    named = _meant(references, text)
    if named is None:
        repositories = {reference.repository for reference in references}
        if len(repositories) > 1 and not force:
            raise _cannot(image, "must be forced", "image is referenced in multiple repositories")
        blocked = _conflict(image, uses, force=force)
        if blocked is not None:
            raise blocked
        going = references
    else:
        same = [other for other in references if other.repository == named.repository and other != named]
        is_last_tag = bool(named.tag) and not any(other.tag for other in same)
        going = [named, *(same if is_last_tag else ())]
        user = next((use for use in uses if use.image_id == image.id), None)
        if user and not force and len(going) == len(references):
            raise PyruncError(
                CONFLICT,
                f'conflict: unable to remove repository reference "{text}" (must force) - container '
                f"{user.container[:12]} is using its referenced image {short(image.id)}",
            )
    with changing_names(store) as names:
        for reference in going:
            names.pop(reference.full, None)
    return [Removed(action="Untagged", name=reference.familiar) for reference in going]


def _meant(references: list[Reference], text: str) -> Reference | None:
    """The name that `text` is; None for an ID."""
    try:
        wanted = parse_reference(text)
    except PyruncError:
        return None
    full = f"{wanted.repository}@{wanted.digest}" if wanted.digest else wanted.full
    return next((reference for reference in references if reference.full == full), None)


def _conflict(image: Image, uses: tuple[ImageUse, ...], *, force: bool) -> PyruncError | None:
    """A running container forbids, a stopped one asks for force."""
    mine = [use for use in uses if use.image_id == image.id]
    running = next((use for use in mine if use.running), None)
    if running:
        why = f"image is being used by running container {running.container[:12]}"
        return _cannot(image, "cannot be forced", why)
    if mine and not force:
        why = f"image is being used by stopped container {mine[0].container[:12]}"
        return _cannot(image, "must be forced", why)
    return None


def _cannot(image: Image, how: str, why: str) -> PyruncError:
    return PyruncError(CONFLICT, f"conflict: unable to delete {short(image.id)} ({how}) - {why}")


def _delete(store: Store, image_id: str, *, sweep: bool) -> list[Removed]:
    remove_record(store, image_id)
    removed = [Removed(action="Deleted", name=image_id)]
    if sweep:
        removed += [Removed(action="Deleted", name=chain) for chain in collect(store).layers]
    return removed


def prune(
    store: Store,
    wanted: ImageFilter,
    *,
    everything: bool = False,
    uses: tuple[ImageUse, ...] = (),
) -> Pruned:
    """Remove the images that have no tag (`everything`: all) and no container, and what is left of pulls that
    came to nothing. `wanted`: its labels and `until` restrict that."""
    used = {use.image_id for use in uses}
    removed: list[Removed] = []
    with store.locked(exclusive=True):  # an image that is being made has its record and its name at once
        for image in select_images(list_images(store), wanted):
            if image.id in used or not (everything or image.is_dangling):
                continue
            with changing_names(store) as names:
                for text in (*image.tags, *image.digests):
                    if names.pop(parse_full(text).full, None):
                        removed.append(Removed(action="Untagged", name=text))
            removed += _delete(store, image.id, sweep=False)
        collected = collect(store)
        partial = collect_partial(store)
    removed += [Removed(action="Deleted", name=chain) for chain in collected.layers]
    return Pruned(removed=tuple(removed), reclaimed_bytes=collected.bytes + partial)
