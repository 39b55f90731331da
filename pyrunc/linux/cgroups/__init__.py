"""Effects on cgroups, v1, v2 and both at once: make, write, join, freeze, kill, measure, remove.

A container's cgroup is its `paths`: (hierarchy name, directory) pairs as `plan.cgroups` chose them, the
unified hierarchy under the name "". Functions here work from these alone; what no longer exists is no error
where a container may end at any moment.
"""
