"""What scripts are called: `python scripts/train.py` in a clone, and `diffusion-lab train` elsewhere."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from diffusion_lab.config.tree import conf_dir

_SCRIPT = re.compile(r"(?:python )?scripts/(\w+)\.py")


def is_installed() -> bool:
    """Return whether this program was started as `diffusion-lab`, or there are no scripts that could be started."""
    started_as = Path(sys.argv[0])
    by_name = started_as.stem == "diffusion-lab" or started_as.parts[-2:] == ("diffusion_lab", "__main__.py")
    return by_name or not (conf_dir().parent / "scripts").is_dir()


def as_typed(text: str) -> str:
    """Return a text that names scripts of a clone, in which they are called as the person has to type them."""
    return _SCRIPT.sub(r"diffusion-lab \1", text) if is_installed() else text
