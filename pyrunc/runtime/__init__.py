"""The lifecycle of one container, a module per verb, and its state on disk. Prints nothing."""
