"""Docker's JSON for images, as API 1.51 has it. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_NONE = "<none>"


def repository_of(familiar: str) -> str:
    """Without tag or digest."""
    rest = familiar.partition("@")[0]
    name, colon, tag = rest.rpartition(":")
    return name if colon and "/" not in tag else rest


def image_summary(image: Any, *, containers: int, shared_bytes: int = -1) -> dict[str, Any]:
    return {
        "Id": image.id,
        "ParentId": image.record.parent,
        "RepoTags": list(image.tags),
        "RepoDigests": repo_digests(image),
        "Created": int(image.created_seconds),
        "Size": image.size,
        "SharedSize": shared_bytes,
        "Labels": image.config.labels or None,
        "Containers": containers,
    }


def repo_digests(image: Any) -> list[str]:
    """By which it was pulled; and so that each name of it has one: its own manifest's."""
    names = dict.fromkeys(image.digests)
    return list(names)


def image_inspect(image: Any, driver: dict[str, Any]) -> dict[str, Any]:
    raw = image.config.raw
    config = raw.get("config") or {}
    made: dict[str, Any] = {
        "Id": image.id,
        "RepoTags": list(image.tags),
        "RepoDigests": repo_digests(image),
        "Parent": image.record.parent,
        "Comment": _last_comment(raw),
        "Created": image.config.created or "0001-01-01T00:00:00Z",
        "DockerVersion": raw.get("docker_version") or "",
        "Author": image.config.author,
        "Config": image_config(config),
        "Architecture": image.config.platform.architecture,
        "Os": image.config.platform.os,
        "Size": image.size,
        "GraphDriver": driver,
        "RootFS": {"Type": "layers", "Layers": list(image.config.diff_ids)},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
        "Descriptor": {
            "mediaType": image.record.manifest.media_type,
            "digest": image.record.manifest.digest,
            "size": image.record.manifest.size,
        },
    }
    if image.config.platform.variant:
        made["Variant"] = image.config.platform.variant
    return made


def _last_comment(raw: dict[str, Any]) -> str:
    if raw.get("comment"):
        return str(raw["comment"])
    history = raw.get("history") or []
    return str(history[-1].get("comment") or "") if history and type(history[-1]) is dict else ""


def image_config(config: dict[str, Any]) -> dict[str, Any]:
    """With the keys that clients read without asking whether they are there."""
    defaults: dict[str, Any] = {
        "Hostname": "", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": False,
        "AttachStderr": False, "Tty": False, "OpenStdin": False, "StdinOnce": False, "Env": None, "Cmd": None,
        "Image": "", "Volumes": None, "WorkingDir": "", "Entrypoint": None, "OnBuild": None, "Labels": None,
    }  # fmt: skip
    return {**defaults, **config}


def history(items: Iterable[Any], seconds_of: Any) -> list[dict[str, Any]]:
    return [
        {
            "Id": item.id,
            "Created": int(seconds_of(item.created)),
            "CreatedBy": item.created_by,
            "Tags": list(item.tags) or None,
            "Size": item.size,
            "Comment": item.comment,
        }
        for item in items
    ]
