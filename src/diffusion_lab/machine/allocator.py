"""Memory that was freed stays at hand."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Let the C library's allocator keep what is freed for the next request, where it is glibc's.

    By itself it returns large blocks to the system and asks for them anew: each step of a training on the CPU
    then has tens of MB of activations mapped and cleared page by page, about a seventh of the step. What is
    used at the peak stays with the process until it ends.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, -1)
