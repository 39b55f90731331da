"""Go's text/template, as far as `--format` goes: `parse` makes a tree of the text, `evaluate` walks it over
JSON values, `functions` has Go's functions and Docker's. Pure. Defined templates (`define`, `block`) are
refused by name.
"""
