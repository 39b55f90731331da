"""The package that the interpreter wants to see before it looks up an error handler of a codec. There are no
codecs in it: UTF-8 is in the interpreter itself, and the launcher knows no other."""
