"""Conformance suites: runtimes, images and registries are held against OCI's specifications.

A container under test only prints facts (busybox), all judging is done outside. Nothing here imports pyrunc:
it is one runtime among others. README.md tells how to run them and how to add a clause.
"""
