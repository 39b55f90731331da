"""Pure planning: config.json + facts about the host -> operations as data.

No I/O, no time, no random: what the host is comes as an argument (plan.facts).
"""
