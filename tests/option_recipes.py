"""Every option of the config tree, with the partners that it needs.

An option that does not go with the defaults of all other groups says what it goes with in its own YAML file, in a
comment of the form ``# With: process=absorbing codec=tokens``, which `--help` shows, too.
"""

from diffusion_lab.config.help import leading_comment
from diffusion_lab.config.tree import conf_dir, options


def groups():
    """The config groups."""
    return sorted(folder.name for folder in conf_dir().iterdir() if folder.is_dir())


#: The groups of scripts that measure what was trained.
OF_MEASURES = ("features",)


def every_option():
    """All options of what is trained, as they are typed: ``schedule=cosine``."""
    return [f"{group}={option}" for group in groups() if group not in OF_MEASURES for option in options(group)]


def recipe(typed):
    """The overrides with which an option, as it is typed, composes: itself and its partners."""
    group, _, option = typed.partition("=")
    comment = leading_comment((conf_dir() / group / f"{option}.yaml").read_text(encoding="utf-8").splitlines())
    partners = [line.removeprefix("With:").split() for line in comment if line.startswith("With:")]
    return [typed, *(override for line in partners for override in line)]


def of_tokens(typed):
    """Whether an option, as it is typed, is for tokens alone: for discrete diffusion, or that of their vectors."""
    return any(one in ("process=absorbing", "process=uniform", "codec=embedding") for one in recipe(typed))


def choices(group):
    """The options of a group as messages list them: ``cosine, linear``."""
    return ", ".join(options(group))
