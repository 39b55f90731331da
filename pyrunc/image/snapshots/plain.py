"""Snapshots as whole copies: for file systems that can't be below an overlay, and kernels without it.

Slow and large, and always right: a layer is its parent's copy with the tar applied to it, a container a copy
of its image.
"""

from __future__ import annotations

import os

from pyrunc.errors import doing
from pyrunc.image.snapshots.base import DIRECTORY, Mounts, Snapshots
from pyrunc.image.snapshots.overlay import mount_bind
from pyrunc.kernel.trees import copy_tree


class Plain(Snapshots):
    driver = "plain"
    needs_parent = True

    def mounts(self, key: str) -> Mounts:
        self.parent_of(key)
        return Mounts(type="bind", upper=self.upper(key))

    def mount(self, key: str, target: str) -> None:
        with doing("mount snapshot", key):
            mount_bind(self.mounts(key).upper, target)

    def _fill(self, path: str, parent: str) -> None:
        if not parent:
            return
        with doing("copy layer", parent):
            source = os.open(self.layers_of(parent)[0], DIRECTORY)
            try:
                target = os.open(path, DIRECTORY)
                try:
                    copy_tree(source, target)
                finally:
                    os.close(target)
            finally:
                os.close(source)
