"""The Docker Engine API, 1.24 to 1.51: bytes on a socket to calls of the engine, and back.

Belongs here: HTTP (`http1`, without I/O; `wire`, over a socket), the server, tables of routes, the shapes of
Docker's JSON, the client. Does not: decisions about containers, and any mapping of an error to a status
outside `status`. A route asks for what it needs of the engine by a Protocol of its own; only `daemon` and
`local`, which make an engine, know the real one.
"""
