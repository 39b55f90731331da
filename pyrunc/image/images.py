"""The images that are here: listed, found, chosen by filters, told of, and tagged."""

from __future__ import annotations

import datetime
import fnmatch
import re

from pyrunc.errors import CONFLICT, INVALID, NOT_FOUND, PyruncError
from pyrunc.image.names import read_names, set_name
from pyrunc.image.platforms import choose_manifest, host_platform, rank
from pyrunc.image.records import (
    ImageRecord,
    read_config,
    read_layer,
    read_manifest,
    read_record,
    read_records,
    write_record,
)
from pyrunc.oci.digest import hex_of, is_digest
from pyrunc.oci.image import (
    INDEXES,
    MAXIMUM_DOCUMENT,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    Platform,
    parse_index,
)
from pyrunc.oci.reference import parse_full, parse_reference
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyrunc.image.store import Store

_SHORT_ID = re.compile(r"[0-9a-f]{4,64}")


class Image(Record):
    """One platform of an image. `tags` and `digests` are familiar references (busybox:latest,
    busybox@sha256:…), `size` the bytes in the files of its layers, `created` as its config says (RFC 3339,
    or "")."""

    id: str
    record: ImageRecord
    manifest: Manifest
    config: ImageConfig
    size: int
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()

    @property
    def chain_id(self) -> str:
        """The committed snapshot that a container of it stands on; "" for an image without layers."""
        return self.config.chain_ids[-1] if self.config.diff_ids else ""

    @property
    def created_seconds(self) -> float:
        return seconds_of(self.config.created)

    @property
    def is_dangling(self) -> bool:
        return not self.tags


class ImageFilter(Record):
    """What `docker images -f` takes; nothing is no restriction. Times in seconds since 1970."""

    references: tuple[str, ...] = ()
    dangling: bool | None = None
    labels: tuple[str, ...] = ()  # key, or key=value
    without_labels: tuple[str, ...] = ()
    before: tuple[str, ...] = ()  # images
    since: tuple[str, ...] = ()
    until: float | None = None


class HistoryItem(Record):
    """`id` is an image ID, or "<missing>"; `size` of the layer that the step made."""

    id: str
    created: str
    created_by: str
    size: int
    comment: str
    tags: tuple[str, ...] = ()


def seconds_of(created: str) -> float:
    """RFC 3339 with up to nine digits of a second, as seconds since 1970; 0 for what is none."""
    text = re.sub(r"(\.\d{1,6})\d*", r"\1", created.strip()).replace("Z", "+00:00").replace("z", "+00:00")
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    if found.tzinfo is None:
        found = found.replace(tzinfo=datetime.UTC)
    return max(0.0, found.timestamp())


def list_images(store: Store) -> tuple[Image, ...]:
    """All images, the newest first. Raises PyruncError where the store is damaged."""
    return _list(store, read_records(store))


def _list(store: Store, records: Iterable[ImageRecord]) -> tuple[Image, ...]:
    names = _names_by_manifest(store, read_names(store))
    images = []
    for record in records:
        try:
            images.append(_image(store, record, names.get(record.manifest.digest, [])))
        except PyruncError:
            if read_record(store, record.id) is not None:  # else it was removed while we read
                raise
    return tuple(sorted(images, key=lambda image: (-image.created_seconds, image.id)))


def _names_by_manifest(store: Store, names: dict[str, Descriptor]) -> dict[str, list[str]]:
    """An index's names are those of each of its manifests."""
    found: dict[str, list[str]] = {}
    for name, target in sorted(names.items()):
        members = [target.digest]
        if target.media_type in INDEXES and store.has(target.digest):
            members = [item.digest for item in read_index(store, target).manifests]
        for member in members:
            found.setdefault(member, []).append(name)
    return found


def _image(store: Store, record: ImageRecord, names: list[str]) -> Image:
    config = read_config(store, record.id)
    references = [parse_full(name) for name in names]
    layers = (read_layer(store, diff_id) for diff_id in config.diff_ids)
    return Image(
        id=record.id,
        record=record,
        manifest=read_manifest(store, record.manifest),
        config=config,
        size=sum(layer.size for layer in layers if layer),
        tags=tuple(reference.familiar for reference in references if reference.tag),
        digests=tuple(reference.familiar for reference in references if not reference.tag),
    )


def read_index(store: Store, target: Descriptor) -> Index:
    return parse_index(store.read_blob(target.digest, MAXIMUM_DOCUMENT), target.media_type)


def find_image(store: Store, text: str, platform: Platform | None = None) -> Image:
    """By ID (also its first digits), name, name:tag or name@digest; of several platforms `platform`, or what
    fits the host best. Raises NOT_FOUND with docker's words, CONFLICT for digits that fit several."""
    records = {record.manifest.digest: record for record in read_records(store)}
    target = _named(store, text)
    if target is not None:
        found = _of_target(store, target, records, platform)
        if found:
            return _one(store, found, text)
        if platform:
            raise missing(text, platform.text, "this platform of it isn't here")
    return _one(store, _by_id(text, list(records.values())), text)


def missing(text: str, where: str = "", why: str = "") -> PyruncError:
    """Docker's words, with the tag that is meant."""
    try:
        name = text if is_digest(text) else parse_reference(text).familiar
    except PyruncError:
        name = text
    return PyruncError(NOT_FOUND, f"No such image: {name}", where, why)


def _one(store: Store, record: ImageRecord, text: str) -> Image:
    found = _list(store, [record])
    if not found:
        raise missing(text)
    return found[0]


def find_target(store: Store, text: str) -> Descriptor | None:
    """What a name names, as it was pulled: a manifest or an index. None for what is no name."""
    return _named(store, text)


def _named(store: Store, text: str) -> Descriptor | None:
    """name@digest with a tag in between means the digest."""
    try:
        reference = parse_reference(text)
    except PyruncError:
        return None
    names = read_names(store)
    if reference.digest:
        return names.get(f"{reference.repository}@{reference.digest}")
    return names.get(reference.full)


def _of_target(
    store: Store, target: Descriptor, records: dict[str, ImageRecord], platform: Platform | None
) -> ImageRecord | None:
    if target.media_type not in INDEXES:
        record = records.get(target.digest)
        if record and platform and not rank(platform, read_config(store, record.id).platform):
            return None
        return record
    index = read_index(store, target)
    here = tuple(item for item in index.manifests if item.digest in records)
    chosen = choose_manifest(Index(media_type=index.media_type, manifests=here), platform or host_platform())
    if chosen is None and platform is None and here:
        chosen = here[0]  # of a foreign platform, but all that there is
    return records[chosen.digest] if chosen else None


def _by_id(text: str, records: list[ImageRecord]) -> ImageRecord:
    digits = text.removeprefix("sha256:")
    found = [record for record in records if hex_of(record.id).startswith(digits)]
    if not _SHORT_ID.fullmatch(digits) or not found:
        raise missing(text)
    if len(found) > 1:
        raise PyruncError(CONFLICT, f"{text}: the id fits several images", hint="give more of its digits")
    return found[0]


def select_images(images: tuple[Image, ...], wanted: ImageFilter) -> tuple[Image, ...]:
    """Those that pass all filters, with the tags and digests that `references` leave. Raises NOT_FOUND where
    `before` or `since` name no image."""
    before = [_moment(images, text) for text in wanted.before]
    since = [_moment(images, text) for text in wanted.since]
    chosen = []
    for image in images:
        created, labels = image.created_seconds, image.config.labels
        if wanted.dangling is not None and image.is_dangling is not wanted.dangling:
            continue
        if any(created >= moment for moment in before) or any(created <= moment for moment in since):
            continue
        if wanted.until is not None and created >= wanted.until:
            continue
        if not all(_labelled(labels, text) for text in wanted.labels):
            continue
        if any(_labelled(labels, text) for text in wanted.without_labels):
            continue
        shown = _restricted(image, wanted.references) if wanted.references else image
        if shown is not None:
            chosen.append(shown)
    return tuple(chosen)


def _labelled(labels: dict[str, str], text: str) -> bool:
    key, equals, value = text.partition("=")
    return key in labels and (not equals or labels[key] == value)


def _moment(images: tuple[Image, ...], text: str) -> float:
    reference = parse_reference(text).familiar if not is_digest(text) else ""
    for image in images:
        if reference in (*image.tags, *image.digests) or (
            _SHORT_ID.fullmatch(text.removeprefix("sha256:"))
            and hex_of(image.id).startswith(text.removeprefix("sha256:"))
        ):
            return image.created_seconds
    raise missing(text)


def _restricted(image: Image, patterns: tuple[str, ...]) -> Image | None:
    tags = tuple(tag for tag in image.tags if any(matches(pattern, tag) for pattern in patterns))
    digests = tuple(name for name in image.digests if any(matches(pattern, name) for pattern in patterns))
    if not tags and not digests:
        return None
    return Image(**{**image.__dict__, "tags": tags, "digests": digests})


def matches(pattern: str, familiar: str) -> bool:
    """As docker's reference= does: the pattern is for the repository, with or without tag, short or in full;
    a star does not go past a slash."""
    reference = parse_reference(familiar, default_tag="")
    names = (
        reference.familiar,
        reference.familiar_repository,
        reference.full,
        reference.repository,
    )
    return any(_matches(pattern.split("/"), name.split("/")) for name in names)


def _matches(patterns: list[str], parts: list[str]) -> bool:
    return len(patterns) == len(parts) and all(
        fnmatch.fnmatchcase(part, pattern) for pattern, part in zip(patterns, parts, strict=True)
    )


def history(store: Store, image: Image) -> tuple[HistoryItem, ...]:
    """The newest step first, with the sizes of the layers that the steps made. Steps have no images of their
    own: they are "<missing>", as for any image that was pulled."""
    sizes = [layer.size if (layer := read_layer(store, diff)) else 0 for diff in image.config.diff_ids]
    items = []
    for entry in image.config.history:
        size = 0 if entry.empty_layer or not sizes else sizes.pop(0)
        items.append(
            HistoryItem(
                id="<missing>",
                created=entry.created,
                created_by=entry.created_by,
                size=size,
                comment=entry.comment,
            )
        )
    for size in sizes:  # layers that no step tells of
        items.append(HistoryItem(id="<missing>", created="", created_by="", size=size, comment=""))
    items.reverse()
    if items:
        items[0] = HistoryItem(**{**items[0].__dict__, "id": image.id, "tags": image.tags})
    return tuple(items)


def tag(store: Store, image: Image, text: str) -> None:
    """Give `image` the name `text` (repo[:tag]); if it was another's, that one loses it. Raises INVALID."""
    reference = parse_reference(text)
    if reference.digest:
        raise PyruncError(INVALID, "refusing to create a tag with a digest reference", text)
    with store.locked(exclusive=False):
        target = _target_of(store, image)
        set_name(store, reference, target, by_digest=False)
        write_record(store, image.id, image.record.manifest, tagged=True)


def _target_of(store: Store, image: Image) -> Descriptor:
    """A name of the image's own leads to the index, where it came by one: all its platforms get the new
    name."""
    for name, target in read_names(store).items():
        if target.digest == image.record.manifest.digest or parse_full(name).familiar in (
            *image.tags,
            *image.digests,
        ):
            return target
    return image.record.manifest
