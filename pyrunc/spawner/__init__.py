"""The spawner: the runtime as a library in a small process of its own, one thread, which lives long.

An engine has threads and a large heap: it may not fork, and its clone would take 7 us for each of its MiB.
So it starts a spawner, early, and asks it over a socket for what it would otherwise start a program for. No
interpreter starts, and what config.json files hold is known from the last time. It is the code behind the
command line, called in another way: the state on disk is the same, each goes on with what the other began.

- `protocol`: the messages, drawn there. Bytes to values and back, no more.
- `server`: the process. Of a connection it answers one request after the other, of several side by side.
- `client`: for users, `Spawner`, and `Connection` for those with several things in flight.

Inits are the spawner's own children, and not (by CLONE_PARENT) those of who asked. So failed launches, hooks
and processes between are reaped where they are made, and a library in the client's process that waits for any
child takes nothing from us. How a process ended is told through a pipe of its own, whose reading end came
with the answer that told its pid: who needs to know reads it, in any thread, and sees its end if we die.
No more than that is lost then: containers go on, and the command line knows them.
"""
