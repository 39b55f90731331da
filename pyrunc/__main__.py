"""`python -m pyrunc`."""

from __future__ import annotations

from pyrunc.cli.main import entry

if __name__ == "__main__":
    entry()
