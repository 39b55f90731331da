"""The raw Linux ABI: numbers, system calls, names inside a root, /proc.

Knows nothing of containers and decides nothing. The only floor that imports _ctypes.
"""
