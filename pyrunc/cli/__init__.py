"""The command line: parse words, call one function of runtime, print, exit code."""
