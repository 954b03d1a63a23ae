"""A run made again, and held against the recorded one."""
