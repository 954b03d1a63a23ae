"""Which code of the user's own a run is made with: the modules outside the package that its targets come from."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import pkgutil
import sysconfig
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from diffusion_lab.config.targets import is_allowed, is_own, targets


def own_code(config: Mapping[str, Any]) -> dict[str, str]:
    """Return what identifies the code of the trusted targets of a run's config that are none of conf/.

    Args:
        config: resolved, as a plain container.

    Returns:
        By the name of each top-level module or package: the distribution and its version where it is installed; else
        a hash of the module's file, or of all Python files of the package. Of ``__main__``, a notebook or a script, a
        hash of the source of the targets' own functions, without base classes and what else they call.
    """
    names = {name for key, name in targets(config) if is_allowed(key, name) and is_own(name)}
    modules = sorted({name.partition(".")[0] for name in names})
    in_main = sorted(name for name in names if name.startswith("__main__."))
    return {module: _source(in_main) if module == "__main__" else _identity(module) for module in modules}


def _source(names: list[str]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for name in names:
        try:
            found = pkgutil.resolve_name(name)
            # A notebook keeps the source of functions, and not that of classes.
            parts = [found] if inspect.isfunction(found) else _functions(found)
            source = "\n".join(inspect.getsource(part) for part in parts)
        except (OSError, TypeError, AttributeError):  # typed where no source is kept, or in another process
            return "unknown"
        if not source:
            return "unknown"
        digest.update(f"{name}\n{source}\n".encode())
    return digest.hexdigest()


def _functions(found: Any) -> list[Any]:
    """Return the functions that a class defines itself, by name."""
    return [value for _, value in sorted(vars(found).items()) if inspect.isfunction(value)]


@cache
def _identity(module: str) -> str:
    """Return the identity of a top-level module or package; as it is read first, since that is what a process runs."""
    spec = importlib.util.find_spec(module)
    if spec is None:
        return "missing"
    folders = [Path(place) for place in spec.submodule_search_locations or []]
    places = folders or [Path(str(spec.origin))]
    if all(place.is_relative_to(sysconfig.get_path("purelib")) for place in places):
        names = metadata.packages_distributions().get(module, [])
        return ", ".join(f"{name} {metadata.version(name)}" for name in sorted(set(names))) or "installed"
    files = [path for folder in folders for path in sorted(folder.rglob("*.py"))] or places
    digest = hashlib.blake2b(digest_size=8)
    for file in files:
        digest.update(f"{file.relative_to(places[0].parent).as_posix()}\n".encode())
        digest.update(hashlib.blake2b(file.read_bytes()).digest())
    return digest.hexdigest()
