"""Snapshots: layers unpacked, and the writable directories on top of them.

An *active* snapshot has a key and can be written to; a *committed* one has a name, its chain id, and never
changes. `base` is what both drivers share, `overlay` and `plain` are the drivers, `choose` picks one.
What belongs here: directories, mounts, and how much they hold. What must not: tars, blobs, images.
"""
