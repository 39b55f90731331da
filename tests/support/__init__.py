"""What the black-box tests share: a runtime by its command line, bundles, facts about the host, leak checks.

Nothing here knows which runtime it drives, and nothing here imports pyrunc: the command line is the
only door. A container prints facts; judgements are made in the tests.
"""
