"""A container's wishes and facts about the host -> config.json. Pure: no files, no kernel, no clock.

`compose` puts the parts together; each of the others makes one section. What has to be looked up (the user in
the image's /etc/passwd, a device's numbers) is looked up by the engine, and comes in as `facts`.
"""
