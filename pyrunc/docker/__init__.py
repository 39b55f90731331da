"""The docker-like command line, `pyr`: Docker's verbs, options, habits and exit codes.

Belongs here: words to requests of the Engine API, answers to text, a terminal and a container's streams held
together, files that a user names (environment files, archives, credentials). Does not: what the engine
decides. It speaks the API alone, by `api.client`: to a daemon where one runs, and otherwise to `api.local`,
which `session` reaches by name, for an engine is dear to import and most calls do not need one of their own.

`main` has the table of commands and imports the one module that is called for. Importing click is left to
`face` (help, suggestions), rich to `progress` on a terminal; a table needs no more than a few escapes.
"""
