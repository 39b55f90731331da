"""One module per command, reached through the table in cli.main alone."""
