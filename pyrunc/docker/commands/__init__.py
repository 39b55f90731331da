"""The commands, a module for those that share their ways. Each has COMMANDS: name -> (Verb, function of a
Session and the options given, which returns the exit code). Names and modules are in `main`.
"""
