"""The vocabulary of the OCI specifications, pure: no files, no environment, no kernel."""
