"""Effects on the host side: carries out operations. Reads no config.json and knows no state file."""
