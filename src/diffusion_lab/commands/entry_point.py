"""The command `diffusion-lab`: the scripts of this project under one name, from any folder."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import sys
from pathlib import Path

from diffusion_lab.commands.completion import script
from diffusion_lab.config.cli import exit_on_error
from diffusion_lab.config.command_names import COMMANDS
from diffusion_lab.errors import LabError, did_you_mean

_SHELLS = ("bash", "zsh")


def main() -> None:
    """Run the command that is typed first, on what is typed behind it."""
    typed = sys.argv[1:]
    name = typed[0].replace("-", "_") if typed else ""
    if name in COMMANDS:
        sys.argv = [f"{sys.argv[0]} {typed[0]}", *typed[1:]]  # as records of runs show it
        importlib.import_module(f"diffusion_lab.commands.{name}_command").main()
    else:
        exit_on_error(lambda: print(_answer(typed), end=""))


def _answer(typed: list[str]) -> str:
    if not typed or typed[0] in ("-h", "--help"):
        return help_text()
    if typed == ["--version"]:
        return f"diffusion-lab {importlib.metadata.version('diffusion-lab')}\n"
    if typed[0] == "completion":
        if typed[1:] not in [[shell] for shell in _SHELLS]:
            raise LabError(f"completion: name one shell, {' or '.join(_SHELLS)}")
        return script(typed[1], COMMANDS)
    known = (*COMMANDS, "completion")
    raise LabError(f"there is no command {typed[0]}{did_you_mean(typed[0], known)}; there are {', '.join(known)}")


def help_text() -> str:
    """Return what can be typed behind `diffusion-lab`, with the first line of each command's module."""
    lines = [f"  {name:<16}{_first_line(name)}" for name in COMMANDS]
    return "\n".join(
        [
            "Train diffusion models on images and text, draw from them, and compare them.",
            "",
            *lines,
            '  completion      Print the shell\'s completion: eval "$(diffusion-lab completion bash)", or zsh.',
            "",
            "`diffusion-lab <command> --help` lists the keys of a command, and `--version` says which version this is.",
            "",
        ]
    )


def _first_line(name: str) -> str:
    source = Path(__file__).with_name(f"{name}_command.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").splitlines()[0]
