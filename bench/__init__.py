"""Measures runtimes by their command line, and the spawner: `python -m bench --help`.

Only the standard library, and of pyrunc the spawner's client and the names of system calls, so that any
runtime can be measured anywhere. Runtimes take turns in random order within a round, so that noise from the
rest of the machine falls on all of them alike; medians of the same run are compared; the bundle is made here,
from nothing but a busybox.

- `figures`, `charts`: pure
- `bundles`, `programs`, `host`: a bundle, a runtime's command line, what the kernel says
- `lifecycle`, `warm`, `storm`, `memory`, `growth`: a measurement each
"""
