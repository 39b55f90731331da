"""A registry held against the distribution specification, by what it answers to requests."""
