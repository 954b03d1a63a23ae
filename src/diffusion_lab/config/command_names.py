"""What scripts are called: `python scripts/train.py` in a clone, and `diffusion-lab train` elsewhere."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from diffusion_lab.config.tree import conf_dir

#: What can be typed behind `diffusion-lab`: modules of `diffusion_lab.commands`, each with a function `main`.
COMMANDS = (
    "new", "train", "sample", "evaluate", "compare", "compare_draws", "runs", "search", "reproduce", "verify_resume",
    "export", "train_features", "schema",
)  # fmt: skip
_SCRIPT = re.compile(rf"(?<![\w/.])(?:python )?scripts/({'|'.join(COMMANDS)})\.py")


def is_installed() -> bool:
    """Return whether this program was started as `diffusion-lab`, or there are no scripts that could be started."""
    path = Path(sys.argv[0])
    name = path.name.split(" ")[0]  # `entry_point` adds the command
    by_name = name.removesuffix(".exe") == "diffusion-lab" or (path.parent.name, name) == (
        "diffusion_lab",
        "__main__.py",
    )
    return by_name or not (conf_dir().parent / "scripts").is_dir()


def as_typed(text: str) -> str:
    """Return a text that names scripts of a clone, in which they are called as the person has to type them."""
    return _SCRIPT.sub(r"diffusion-lab \1", text) if is_installed() else text
