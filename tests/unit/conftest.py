"""On a busy machine an example may take long: how long is no property of ours."""

from hypothesis import settings

settings.register_profile("pyrunc", deadline=None)
settings.load_profile("pyrunc")
