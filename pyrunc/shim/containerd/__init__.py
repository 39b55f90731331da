"""containerd-shim-pyrunc-v2: containerd's shim protocol, version 2, so that containerd runs containers by us
without a runtime's process for each verb. containerd knows it as io.containerd.pyrunc.v2.

- `main`: the program's words, and its verbs: `start` leaves a daemon, `delete` cleans up after one.
- `ttrpc`, `messages`: bytes to values and back; no I/O.
- `daemon`: the process that stays. `server`: who asks it; `events`: who is told.
- `service`: the Task methods, a table; `task`: what they are about; `streams`: where their output goes.
- `rootfs`, `options`, `metrics`, `checkpoint`: a concern each. `once`: one verb, and no daemon.

A pod's containers share one such process. What it knows is in its memory; who kills it leaves to `delete`
what the runtime's state directory and the bundle say.
"""
