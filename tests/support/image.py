"""An OCI image layout in a tar file, made from a directory: what `ctr image import` takes."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path
from typing import Any

_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}


def tar_of(rootfs: Path, target: Path) -> Path:
    with tarfile.open(target, "w") as tar:
        tar.add(rootfs, arcname=".")
    return target


def write_layout(rootfs: Path, target: Path, name: str, config: dict[str, Any]) -> Path:
    """One layer, one manifest, under the reference `name`."""
    layer = tar_of(rootfs, target.with_suffix(".layer")).read_bytes()
    target.with_suffix(".layer").unlink()

    def digest(data: bytes) -> str:
        return "sha256:" + hashlib.sha256(data).hexdigest()

    def descriptor(kind: str, data: bytes) -> dict[str, Any]:
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest(data), "size": len(data)}

    machine = platform.machine()
    image = json.dumps({
        "architecture": _ARCHITECTURE.get(machine, machine), "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
    }).encode()  # fmt: skip
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", image), "layers": [descriptor("layer.v1.tar", layer)],
    }).encode()  # fmt: skip
    entry = descriptor("manifest.v1+json", manifest)
    entry["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    files = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": index}
    files.update({f"blobs/{digest(data).replace(':', '/')}": data for data in (layer, image, manifest)})
    with tarfile.open(target, "w") as tar:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return target
