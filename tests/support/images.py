"""Images made of what a test writes down: layers, manifests, layouts, by the standard library alone."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from pyrunc.image.platforms import host_platform

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def entry(name: str, data: bytes | None = None, **fields: Any) -> tuple[tarfile.TarInfo, bytes | None]:
    """A member: a file with `data`, else what `type` says. `pax` are its PAX records."""
    info = tarfile.TarInfo(name)
    info.pax_headers = fields.pop("pax", {})
    info.size = len(data) if data is not None else 0
    info.mode = 0o644
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def directory(name: str, **fields: Any) -> tuple[tarfile.TarInfo, None]:
    info, _ = entry(name, None, **{"type": tarfile.DIRTYPE, "mode": 0o755, **fields})
    return info, None


def symlink(name: str, target: str) -> tuple[tarfile.TarInfo, None]:
    return entry(name, None, type=tarfile.SYMTYPE, linkname=target)[0], None


def hard_link(name: str, target: str) -> tuple[tarfile.TarInfo, None]:
    return entry(name, None, type=tarfile.LNKTYPE, linkname=target)[0], None


def layer(*entries: tuple[tarfile.TarInfo, bytes | None], format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar, with these entries in this order."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=format) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data) if data is not None else None)
    return target.getvalue()


class MadeImage:
    """Blobs by digest, and the manifest's. `packed`: the layers as they are sent."""

    def __init__(
        self,
        *layers: bytes,
        packed: list[bytes] | None = None,
        config: dict[str, Any] | None = None,
        kind: str = "oci",
        diff_ids: list[str] | None = None,
        suffix: str = "gzip",
        architecture: str = "",
    ) -> None:
        host = host_platform()
        sent = packed if packed is not None else [gzip.compress(data, 1, mtime=0) for data in layers]
        self.config = json.dumps({
            "architecture": architecture or host.architecture, "os": "linux",
            "created": "2024-02-03T04:05:06.123456789Z", "config": config or {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids or [digest_of(data) for data in layers]},
            "history": [{"created_by": f"step {number}"} for number in range(len(layers))],
        }).encode()  # fmt: skip
        types = {
            "oci": (f"{OCI}.manifest.v1+json", f"{OCI}.config.v1+json", f"{OCI}.layer.v1.tar+{suffix}"),
            "docker": (
                f"{DOCKER}.distribution.manifest.v2+json",
                f"{DOCKER}.container.image.v1+json",
                f"{DOCKER}.image.rootfs.diff.tar.{suffix}",
            ),
        }[kind]
        self.media_type = types[0]
        self.layers = sent
        self.manifest = json.dumps({
            "schemaVersion": 2, "mediaType": types[0],
            "config": {"mediaType": types[1], "digest": digest_of(self.config), "size": len(self.config)},
            "layers": [
                {"mediaType": types[2], "digest": digest_of(data), "size": len(data)} for data in sent
            ],
        }).encode()  # fmt: skip
        self.blobs = {digest_of(data): data for data in (*sent, self.config)}
        self.digest = digest_of(self.manifest)
        self.id = digest_of(self.config)

    def descriptor(self, architecture: str = "") -> dict[str, Any]:
        found = {"mediaType": self.media_type, "digest": self.digest, "size": len(self.manifest)}
        if architecture:
            found["platform"] = {"os": "linux", "architecture": architecture}
        return found

    def write_layout(self, directory: Path, name: str) -> Path:
        """An OCI layout with this image as `name`."""
        blobs = directory / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        for digest, data in {**self.blobs, self.digest: self.manifest}.items():
            (blobs / digest[7:]).write_bytes(data)
        note = {"annotations": {"org.opencontainers.image.ref.name": name}}
        index = {"schemaVersion": 2, "manifests": [{**self.descriptor(), **note}]}
        (directory / "index.json").write_text(json.dumps(index))
        (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        return directory


def index_of(*manifests: dict[str, Any]) -> bytes:
    document = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": list(manifests)}
    return json.dumps(document).encode()
