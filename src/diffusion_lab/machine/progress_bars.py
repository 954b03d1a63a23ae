"""Where progress bars can be shown."""

from __future__ import annotations

import sys


def can_show_bars() -> bool:
    """Return whether somebody sees what is drawn again and again on stderr: in a terminal, or in a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules
