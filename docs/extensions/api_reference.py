"""The reference of the Python API: a page for each package, made of docstrings, and links between them.

A name in a docstring is written as in the source, often without its module. It is looked up as Python would; a type
that is not found is a warning, and so ends the build.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import pkgutil
import re
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from written_pages import write_pages

#: What each page holds: packages, or single modules.
PAGES: dict[str, tuple[str, ...]] = {
    "schedules": ("schedules",),
    "codecs": ("codecs", "vocabulary"),
    "processes": ("processes", "distributions", "noise"),
    "parameterizations": ("parameterizations",),
    "objectives": ("objectives",),
    "networks": ("networks",),
    "sampling": ("sampling",),
    "likelihood": ("likelihood",),
    "data": ("data",),
    "metrics": ("metrics", "evaluation"),
    "training": ("training",),
    "runs": ("commands.in_python", "runs.load", "errors"),
}
_TITLES = {"runs": "Runs: train, load_run, records"}
#: What of a module is for users, where the rest is not.
_MEMBERS = {"diffusion_lab.runs.load": "Run"}


def modules(package: str) -> list[str]:
    """Return the dotted names of the modules of a package of the lab, itself first; private ones are left out."""
    module = importlib.import_module(f"diffusion_lab.{package}")
    if not hasattr(module, "__path__"):
        return [module.__name__]
    inside = pkgutil.walk_packages(module.__path__, f"{module.__name__}.")
    return [module.__name__, *(found.name for found in inside if "._" not in found.name)]


def api_pages() -> dict[str, str]:
    """Return the pages, by file name, in reStructuredText."""
    return {f"{page}.rst": _page(page, packages) for page, packages in PAGES.items()}


def _page(page: str, packages: tuple[str, ...]) -> str:
    title = _TITLES.get(page, page.capitalize())
    parts = [_heading(title, "=")]
    for package in packages:
        for module in modules(package):
            if not _has_members(module):
                continue
            parts += [
                _heading(module.removeprefix("diffusion_lab."), "-"),
                f".. automodule:: {module}\n   :members: {_MEMBERS.get(module, '')}\n   :show-inheritance:\n",
            ]
    return "\n".join(parts)


def _heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n"


def _has_members(module: str) -> bool:
    """Whether a module defines a class or function that has a docstring; a package's ``__init__`` has none."""
    members = vars(importlib.import_module(module)).values()
    return any(
        (inspect.isclass(member) or inspect.isfunction(member))
        and member.__module__ == module
        and not member.__name__.startswith("_")
        for member in members
    )


def found_object(module: str | None, inside: str | None, name: str) -> Any:
    """Return what a name in a docstring or an annotation stands for, or None.

    Args:
        module: the module that it is in.
        inside: the class that it is in, if any.
        name: dotted, from there or from the top.
    """
    starts = [name]
    if module:
        starts.insert(0, f"{module}:{name}")
        kind = _resolved(f"{module}:{inside}") if inside else None
        kinds = [kind] if inspect.isclass(kind) else _classes(module)
        for base in dict.fromkeys(base for kind in kinds for base in kind.__mro__):  # which may be in other modules
            starts += [f"{base.__module__}:{base.__qualname__}.{name}"] if inside else []
            starts += [f"{base.__module__}:{name}"]
    for start in starts:
        if (found := _resolved(start)) is not None:
            return found
    return getattr(builtins, name, None)


def _classes(module: str) -> list[type]:
    members = vars(importlib.import_module(module)).values()
    return [member for member in members if inspect.isclass(member) and member.__module__ == module]


def _resolved(name: str) -> Any:
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, ValueError):
        return None
    except AttributeError:
        module, _, name = name.partition(":")
        return _resolved(imports[name]) if name in (imports := _typing_imports(module)) else None


@cache
def _typing_imports(module: str) -> dict[str, str]:
    """Return what a module imports for type checkers alone, with its place."""
    try:
        source = inspect.getsource(importlib.import_module(module))
    except (ImportError, OSError, TypeError, ValueError):  # there is none, or it is written in C
        return {}
    blocks = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    ]
    lines = [line for block in blocks for line in block.body if isinstance(line, ast.ImportFrom)]
    return {alias.asname or alias.name: f"{line.module}:{alias.name}" for line in lines for alias in line.names}


def link(app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.Element) -> nodes.Element | None:
    """Resolve a reference that Sphinx does not know: to the page of what the name stands for, or to plain text."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    code = node["reftype"] == "obj"  # single backticks, which may hold any code
    if not re.fullmatch(r"[\w.]+", target):
        return contnode if code else None
    found = found_object(node.get("py:module"), node.get("py:class"), target)
    if found is None:  # a private name of another library has no page, nor a need of one
        return contnode if code or target.startswith("_") else None
    home = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"
    entry = env.domains.python_domain.objects.get(home)
    if entry is None or home == ".":
        return contnode
    place = app.builder.get_relative_uri(node["refdoc"], entry.docname)
    return nodes.reference("", "", contnode, internal=True, refuri=f"{place}#{entry.node_id}", reftitle=home)


#: Stands for a colon that is no mark of Google's style.
_COLON = "\ue000"
_SECTIONS = ("Args:", "Attributes:", "Raises:", "Returns:", "Yields:")


def guard(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Take from text what looks like a mark: stars and bars of formulas, and colons where Napoleon expects a type."""
    section = "Returns:" if what in ("attribute", "data", "property") else ""
    for number, line in enumerate(lines):
        if line in _SECTIONS:
            section = line
            continue
        if line and not line.startswith(" ") and what not in ("attribute", "data", "property"):
            section = ""
        parts = re.split(r"(``.+?``|`[^`]+`)", line)
        line = "".join(
            part if part.startswith("`") else re.sub(r"(?<!\*)\*(?!\*)|\|", r"\\\g<0>", part) for part in parts
        )
        lines[number] = line.replace(":", _COLON) if section == "Returns:" else line


def unguard(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Put the colons back."""
    lines[:] = [line.replace(_COLON, ":") for line in lines]


def mend_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Write the default of a dataclass's list or dict as Python can read it."""
    return (signature.replace("<factory>", "...") if signature else signature), returned


def write(app: Sphinx) -> None:
    """Write the pages where Sphinx looks for them."""
    write_pages(Path(app.srcdir) / "reference" / "api", api_pages())


def setup(app: Sphinx) -> dict[str, Any]:
    """Write the pages before the build, and resolve their references."""
    app.connect("builder-inited", write)
    app.connect("autodoc-process-docstring", guard, priority=400)
    app.connect("autodoc-process-docstring", unguard, priority=600)
    app.connect("autodoc-process-signature", mend_signature)
    app.connect("missing-reference", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
