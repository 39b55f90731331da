"""The shim: a small process of its own per container, which stays with it for as long as it lives.

It is the parent that a detached container would not have: it holds the streams and the terminal, writes the
log, reaps every process that the container leaves behind (it is their subreaper), and keeps how the container
ended, for whoever asks, after everybody who took part in the start is gone. Restarts and health checks are
its work, too, so they need no daemon. One thread, one epoll loop; what would block is done by a fork.

- `loop`, `reaper`: descriptors, timers and signals; children, and who is told of their end.
- `stdio`, `console`: copying without waiting; a pty's master from the runtime.
- `oci_runtime`: the only door to a runtime, ours or any other that has runc's command line.
- `logs`, `attach`, `health`, `restart`, `oom`: what a container's user wants of it.
- `protocol`: the socket's messages, the files beside it, and the functions by which others use a shim. No
  other module of this package is for them, but `logs` for who reads a log.
- `containerd`: the same for containerd, by its own protocol.

Here is nothing that knows namespaces, cgroup files or a plan: what the shim does to a container it asks the
runtime for, so that runc can take our place. A shim that is killed takes nothing along: the container goes
on, its output goes nowhere, and how it ends is not known. `delete --force` removes all of it.
"""
