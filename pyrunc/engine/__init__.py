"""The engine: containers, volumes, networks and images as Docker's users know them. Plain blocking calls.

Belongs here: what a container is made of (`model`, in SQLite by `db`), how it becomes a bundle (`spec`,
pure), and its way through create, start, exit and removal. Does not: HTTP, words of a command line, and
anything that the shim does for a running container (its log, restarts, health), for that goes on without us.

Threads call from all sides, and another process may have the same data root open: so what must not be
done twice at a time stands under a container's own lock (`locks`), and each fact is in one place: wishes in
the database, what became of them in the status file that the container's shim keeps.

Nothing here forks: other processes are started by posix_spawn, from `subprocess` without `preexec_fn`.

    engine.open_engine(Layout(...), Settings(...)) -> Engine      with .containers .images .volumes .networks
    ...
"""
