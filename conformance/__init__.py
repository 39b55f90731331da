"""A conformance suite for OCI runtimes: any program with runc's command line is held against the spec.

The container under test only prints facts (busybox), all judging is done outside. Nothing here imports
pyrunc: it is one runtime among others. README.md tells how to run it and how to add a clause.
"""
