"""The reference of the config tree: a page for each group and each command, made of `conf/` and of constructors.

The keys, values and comments are those of the files; what a key accepts, its range and its description are read from
the annotations, checks and docstrings of the class that its ``_target_`` names, as `diffusion-lab schema` reads them.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

from config_yaml import ConfigFile, Key, read_config
from diffusion_lab.config.annotations import describe, type_hints
from diffusion_lab.config.help import group_comments
from diffusion_lab.config.json_schema import ON_PATHS, argument_texts
from diffusion_lab.config.schema import Part, Paths, Search
from diffusion_lab.config.settings import SCHEMAS
from diffusion_lab.config.targets import located
from diffusion_lab.config.tree import conf_dir, option_file, options
from ranges import ranges_of
from written_pages import write_pages

#: The classes that take the keys of groups whose files name none.
_TAKERS: Mapping[str, type] = {"trainer": pl.Trainer, "paths": Paths, "search": Search}
#: Groups whose options set keys of the whole config.
_WHOLE = ("experiment", "debug")
_COMMANDS: Mapping[str, type] = {**SCHEMAS, **ON_PATHS}
#: Words by which two texts may differ and say the same.
_SMALL = {"a", "an", "the", "is", "are", "and", "or", "of", "in", "for", "to", "at", "by", "that", "which", "it"}
_HEAD = "| key | default | accepts | meaning |\n| --- | --- | --- | --- |"


@cache
def groups() -> list[str]:
    """Return the names of all groups of the config tree."""
    return sorted({file.parent.name for file in conf_dir().glob("*/*.yaml")})


@cache
def group_texts() -> dict[str, tuple[str, str]]:
    """Return the default option of each group and what is said of the group, by the first command that has it."""
    found: dict[str, tuple[str, str]] = {}
    for command in ("train", *sorted(set(_COMMANDS) - {"train"})):
        lines = (conf_dir() / f"{command}.yaml").read_text(encoding="utf-8").splitlines()
        for group, text in group_comments(lines).items():
            found.setdefault(group, text)
    return found


def group_pages(notes: Path) -> dict[str, str]:
    """Return the page of each group, by file name, in Markdown.

    Args:
        notes: a folder with what is to be said of a group besides, ``<group>.md``.
    """
    return {f"{group}.md": _group_page(group, notes / f"{group}.md") for group in groups()}


def command_pages() -> dict[str, str]:
    """Return the page of each command that has a config, by file name, in Markdown."""
    return {f"{command}.md": _command_page(command) for command in _COMMANDS}


def _group_page(group: str, note: Path) -> str:
    default, text = group_texts()[group]
    meaning, _, example = text.partition("; e.g. ")
    parts = [f"(config-{group})=\n# {group}", f"{_sentence(prose(meaning))}"]
    if example:
        parts.append(f"For example `{example}`.")
    if default != "null":
        parts.append(f"The default is {_option_link(group, default)}.")
    if note.is_file():
        parts.append(note.read_text(encoding="utf-8").strip())
    parts.append(
        "\n".join(f"- {_option_link(group, option)}: {_first_line(group, option)}" for option in options(group))
    )
    parts += [_option(group, option) for option in options(group)]
    if group == "trainer":
        parts.append(_arguments_of_trainer())
    return "\n\n".join(parts) + "\n"


def _option(group: str, option: str) -> str:
    file = read_config(option_file(group, option))
    parts = [f"(config-{group}-{option})=\n## `{group}={option}`", _introduction(file)]
    bases = [_option_link(group, one) for of, one in file.chosen if not of]
    if bases:
        parts.append(f"It builds on {' and '.join(bases)}; the keys here are added or changed.")
    if others := [(of, one) for of, one in file.chosen if of and "/" not in of]:
        parts.append("It chooses " + ", ".join(_chosen(of, one) for of, one in others) + ".")
    if group in _WHOLE:
        return "\n\n".join([*filter(None, parts), _settings(file)])
    named = {key.path[:-1]: key.value for key in file.keys if key.path[-1] == "_target_"}
    for path, target in named.items():
        made = located(group, target)
        where = f"`{'.'.join((group, *path))}` is" if path else "It is"
        parts.append(f"{where} {_class_link(made)}.{_refusals(made)}")
    above = {
        key.path: key.comment for of, one in file.chosen if not of for key in read_config(option_file(group, one)).keys
    }
    keys = [
        dataclasses.replace(key, comment=key.comment or above.get(key.path, "")) for key in file.keys if _shown(key)
    ]
    parts.append(_table([_row(group, key) for key in keys]))
    for path, target in named.items():
        parts.append(_left_out(located(group, target), {key.path[-1] for key in file.keys if key.path[:-1] == path}))
    return "\n\n".join(filter(None, parts))


def _command_page(command: str) -> str:
    file = read_config(conf_dir() / f"{command}.yaml")
    schema = _COMMANDS[command]
    name = command.replace("_", "-")
    parts = [f"(command-{command})=\n# {command}", _introduction(file)]
    parts.append(f"Installed from a package it is called `diffusion-lab {name}`." if command != "recipes" else "")
    if any(not of and one == "train" for of, one in file.chosen):
        parts.append("It takes every group and key of {ref}`train <command-train>`, too.")
    if chosen := [(of, one) for of, one in file.chosen if of in groups()]:
        parts += [
            "## Groups",
            "| group | default | meaning |\n| --- | --- | --- |\n" + "\n".join(_group_row(*c) for c in chosen),
        ]
    rows = []
    for key in file.keys:
        if (
            key.path[0] != "hydra"
            and _shown(key)
            and not (key.path[0] in groups() and len(key.path) == 1 and key.value == "null")
        ):
            hint, text, bound = _of_schema(schema, key.path)
            rows.append(_cells(".".join(key.path), key, hint, text, bound))
    parts += ["## Keys", _table(rows)]
    if hydras := [key for key in file.keys if key.path[0] == "hydra" and (key.value or key.comment)]:
        said = ", ".join(f"`{'.'.join(key.path)}={key.value}`" for key in hydras if key.value)
        parts.append(f"Hydra's own keys are set so that the program makes the run folder itself: {said}.")
    return "\n\n".join(filter(None, parts)) + "\n"


def _group_row(group: str, option: str) -> str:
    command = next(text for of, (_, text) in group_texts().items() if of == group)
    shown = _option_link(group, option) if option != "null" else "none"
    return f"| {{ref}}`{group} <config-{group}>` | {shown} | {prose(command.partition('; e.g. ')[0], table=True)} |"


def _of_schema(schema: type, path: tuple[str, ...]) -> tuple[Any, str, str]:
    """The annotation, the description and the range of a key of a dataclass of settings, or of one in it."""
    hint: Any = schema
    ranges: dict[str, str] = {}
    for name in path:
        if not dataclasses.is_dataclass(hint):
            return None, "", ""
        assert isinstance(hint, type)
        ranges = ranges_of(hint)
        hint = type_hints(hint).get(name)
    bound = ranges.get(".".join(path), ranges.get(path[-1], ""))
    return (None, "", "") if dataclasses.is_dataclass(hint) or hint in (Part, Part | None) else (hint, "", bound)


def _row(group: str, key: Key) -> str:
    name = ".".join((group, *key.path))
    taker: Callable[..., Any] | None = located(group, key.target) if key.target else _TAKERS.get(group)
    if taker is None or (not key.value and not key.target):
        return _cells(name, key, None, "", "")
    ranges = ranges_of(taker)
    return _cells(
        name,
        key,
        type_hints(taker).get(key.path[-1]),
        argument_texts(taker).get(key.path[-1], ""),
        ranges.get(name, ranges.get(key.path[-1], "")),
    )


def _cells(name: str, key: Key, hint: Any, text: str, bound: str) -> str:
    accepts = "" if hint in (None, Any) else describe(hint)
    if bound:
        accepts += f"; {bound}" if accepts else bound
    meaning = " ".join(_sentence(prose(one, table=True)) for one in _without_repeats([key.comment, _plain(text)]))
    value = f"`{_in_table(key.value)}`" if key.value else ""
    if key.value == "???":
        value = "must be given"
    return f"| `{name}` | {value} | {prose(accepts, table=True)} | {meaning} |"


def _without_repeats(texts: list[str]) -> list[str]:
    """Return those of texts that have words which no other has: a comment may say what a docstring says at length."""
    words = [set(re.findall(r"\w+", text.lower())) - _SMALL for text in texts]
    return [
        text
        for number, text in enumerate(texts)
        if not any(
            words[number] < other or (words[number] == other and place < number)
            for place, other in enumerate(words)
            if place != number
        )
        and text
    ]


def _settings(file: ConfigFile) -> str:
    rows = [
        f"| `{'.'.join(key.path)}` | `{_in_table(key.value)}` | {_sentence(prose(key.comment, table=True))} |"
        for key in file.keys
        if key.value
    ]
    return "| key | value | |\n| --- | --- | --- |\n" + "\n".join(rows) if rows else ""


def _table(rows: list[str]) -> str:
    return "\n".join([_HEAD, *rows]) if rows else ""


def _shown(key: Key) -> bool:
    """Whether a key has a row: a class is named above the table, and a node without a comment by its keys."""
    return key.path[-1] not in ("_target_", "_partial_") and bool(key.value or key.comment)


def _left_out(target: Callable[..., Any], there: set[str]) -> str:
    """What the constructor takes, and the file does not set."""
    hints = type_hints(target)
    if not target.__module__.startswith("diffusion_lab."):
        return ""
    names = [
        f"`{name}`" + (f" ({prose(describe(hints[name]))})" if name in hints else "")
        for name, parameter in inspect.signature(target).parameters.items()
        if name not in there and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    return f"Not in the file, since other parts of the run give it: {', '.join(names)}." if names else ""


def _arguments_of_trainer() -> str:
    hints, texts, rows = type_hints(pl.Trainer), argument_texts(pl.Trainer), []
    for name, parameter in inspect.signature(pl.Trainer).parameters.items():
        key = Key((name,), "null" if parameter.default is None else str(parameter.default), "", None)
        rows.append(_cells(f"trainer.{name}", key, hints.get(name), texts.get(name, ""), ""))
    return (
        "(config-trainer-arguments)=\n## All arguments of Lightning's Trainer\n\n"
        "Those that no option sets are typed as `+trainer.<argument>=…`.\n\n" + _table(rows)
    )


def _refusals(target: Callable[..., Any]) -> str:
    """What the docstring says of values that are refused."""
    text = (inspect.getdoc(target) or "").partition("\nRaises:\n")[2]
    found = re.findall(r"^ {4}(?:ValueError|LabError): (.*(?:\n {8}.*)*)", text, re.M)
    said = [match[0] for one in found if (match := re.search(r"\bif .*", " ".join(one.split()).rstrip(".")))]
    return f" It is refused {prose(_plain('; '.join(said)))}." if said else ""


def _introduction(file: ConfigFile) -> str:
    """The comment at the top of a file: text, commands that are set in, and what an option goes with."""
    blocks: list[list[str]] = [[]]
    for line in file.comment:
        kind = "With" if line.startswith("With: ") else "code" if line.startswith("  ") else "text"
        if not line:
            blocks.append([])
        elif blocks[-1] and (kind == "With" or (kind == "code") != blocks[-1][0].startswith("  ")):
            blocks.append([line])
        else:
            blocks[-1].append(line)
    return "\n\n".join(map(_block, filter(None, blocks)))


def _block(lines: list[str]) -> str:
    if lines[0].startswith("With: "):
        return f"It goes with `{lines[0].removeprefix('With: ')}`."
    if lines[0].startswith("  "):
        return "```sh\n" + "\n".join(line.removeprefix("  ") for line in lines) + "\n```"
    return prose(" ".join(lines))


def _first_line(group: str, option: str) -> str:
    comment = read_config(option_file(group, option)).comment
    text = [line for line in comment if line and not line.startswith(("With: ", "  "))]
    return _sentence(prose(re.split(r"(?<=\.)(?<! al\.) ", " ".join(text))[0])) if text else ""


def _option_link(group: str, option: str) -> str:
    return f"{{ref}}`{option} <config-{group}-{option}>`"


def _chosen(group: str, option: str) -> str:
    return f"`{group}={option}`"


def _class_link(target: Callable[..., Any]) -> str:
    home = f"{target.__module__}.{target.__qualname__}"
    return f"{{py:obj}}`{target.__qualname__} <{home}>`" if home.startswith("diffusion_lab.") else f"`{home}`"


def _sentence(text: str) -> str:
    text = text.strip()
    if not text:
        return ""
    word = text.split()[0]  # which stays as it is where it is a value
    first = text[0] if word.endswith((":", ",")) or re.search(r"[_=\d]", word) else text[0].upper()
    return first + text[1:] + ("" if text.endswith((".", ":", "!", "?", "…")) else ".")


def _plain(text: str) -> str:
    """A docstring's text without the marks of reStructuredText, which other libraries use."""
    text = re.sub(r":[\w:]+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    return text.replace("``", "`")


def prose(text: str, table: bool = False) -> str:
    """Return a comment as Markdown: what is typed, such as ``schedule=cosine``, is shown as code, the rest as it is."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(
        (_in_table(part) if table else part) if part.startswith("`") and len(part) > 1 else _marked(part, table)
        for part in parts
    )


def _marked(text: str, table: bool) -> str:
    typed = r"'?\+?(?:[a-z][\w.@]*=(?:'[^']*'|\[[^\]]*\]|[^\s,;()]*[^\s,;:.()])|\$\{[^}]*\}|[a-z_]+/[\w.]+\.py)'?"
    out, last = "", 0
    for match in re.finditer(typed, text):
        out += _escaped(text[last : match.start()]) + f"`{_in_table(match[0]) if table else match[0]}`"
        last = match.end()
    return out + _escaped(text[last:])


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>$|#~^])", r"\\\1", text)


def _in_table(text: str) -> str:
    return text.replace("|", r"\|")


class ConfigGroups(SphinxDirective):
    """The directive ``{config-groups}``: a table of all groups, with their options."""

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        rows = []
        for group in groups():
            default, text = group_texts()[group]
            listed = " ".join(
                f"{{ref}}`{option} <config-{group}-{option}>`" + (" \\*" if option == default else "")
                for option in options(group)
            )
            rows.append(
                f"| {{ref}}`{group} <config-{group}>` | {prose(text.partition('; e.g. ')[0], table=True)} | {listed} |"
            )
        head = "| group | meaning | options (\\* is the default) |\n| --- | --- | --- |"
        return self.parse_text_to_nodes("\n".join([head, *rows]))


class OptionLinks(SphinxPostTransform):
    """Makes links of what is typed to choose an option, such as ``schedule=cosine``, on every page."""

    default_priority = 5

    def run(self, **kwargs: Any) -> None:
        """Wrap each piece of code that is an option's name."""
        domain = self.env.domains.standard_domain
        for literal in list(self.document.findall(nodes.literal)):
            match = re.fullmatch(r"(\w+)=(\w+)", literal.astext())
            if match is None or isinstance(literal.parent, nodes.reference | nodes.title):
                continue
            label = f"config-{match[1]}-{match[2]}".lower()
            if label not in domain.anonlabels:
                continue
            docname, anchor = domain.anonlabels[label]
            if docname == self.env.docname:
                continue
            place = self.app.builder.get_relative_uri(self.env.docname, docname)
            link = nodes.reference("", "", internal=True, refuri=f"{place}#{anchor}")
            literal.replace_self(link)
            link.append(literal)


def write(app: Sphinx) -> None:
    """Write the pages where Sphinx looks for them."""
    reference = Path(app.srcdir) / "reference"
    write_pages(reference / "config", group_pages(reference / "notes"))
    write_pages(reference / "commands", command_pages())


def setup(app: Sphinx) -> dict[str, Any]:
    """Write the pages before the build."""
    app.add_directive("config-groups", ConfigGroups)
    app.add_post_transform(OptionLinks)
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
