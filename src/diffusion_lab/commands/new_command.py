"""Begin a project of one's own beside the package: classes, config files and tests to build on."""

from __future__ import annotations

import importlib.util
import keyword
import re
from pathlib import Path

from diffusion_lab.config.arguments import run_on_words
from diffusion_lab.errors import LabError

#: What is copied; its name stands wherever the project's own will.
TEMPLATE = Path(__file__).with_name("my_project")
#: Folders of the project beside its package.
_TAKEN = ("conf", "data", "outputs", "tests")
_HELP = """\
Begin a project of your own beside the package: a data set, a schedule and a network, an experiment that chooses them,
and their tests. Nothing of it is part of Diffusion Lab; all of it goes through every command.

  diffusion-lab new my_project     # the folder my_project, with a README that says how to go on
  diffusion-lab new work/discs     # the package is called as the folder is
"""


def main() -> None:
    """Run the command on what was typed behind it."""
    run_on_words(_HELP, new)


def new(typed: list[str]) -> None:
    """Make the project in the folder that was typed.

    Raises:
        LabError: if it is not one folder, which does not exist, with a name that Python can import.
    """
    if len(typed) != 1 or "=" in typed[0] or typed[0].startswith("-"):
        raise LabError("new: name one folder for the project, as in `diffusion-lab new my_project`")
    folder = Path(typed[0]).expanduser()
    name = folder.name
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise LabError(f"new {typed[0]}: {name!r} cannot be a package's name: lower-case letters, digits and _")
    if folder.exists():
        raise LabError(f"new {typed[0]}: it is there already")
    if name in _TAKEN:
        raise LabError(f"new {typed[0]}: the project has a folder {name} for something else: choose another name")
    if importlib.util.find_spec(name) is not None:
        raise LabError(f"new {typed[0]}: Python would import another package called {name}: choose another name")
    files = [path for path in sorted(TEMPLATE.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    for path in files:
        place = folder / str(path.relative_to(TEMPLATE)).replace("my_project", name)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(path.read_text(encoding="utf-8").replace("my_project", name), encoding="utf-8")
        except OSError as error:
            raise LabError(f"cannot write {place}: {error.strerror}") from error
    print(f"{len(files)} files in {folder}; its README.md says how to go on")
