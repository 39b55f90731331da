"""One module per resource: a table ROUTES of (method, path, function), and the Protocols of what these
functions need of the engine. A route reads what the client wants, calls the engine, and shapes the answer. No
more.
"""
