"""One-line messages for the errors of Hydra and OmegaConf when a config is composed. Imported only after an error."""

from __future__ import annotations

import contextlib
import re
import sys
from typing import Any

from diffusion_lab.config.overrides import FORMS, as_text, searchpath
from diffusion_lab.config.tree import conf_dir, options
from diffusion_lab.errors import did_you_mean, unknown_key

#: Keys of earlier versions, and what stands in their place.
_REPLACED = {"sampling.clip_x0": "clip=x0, clip=dynamic or clip=none", "clip_x0": "clip=x0, clip=dynamic or clip=none"}


def explain(error: BaseException, config_name: str) -> str:
    """The line for an exception of Hydra or OmegaConf; `config_name` is the config that was composed."""
    text = " ".join(str(error).split())
    if match := re.search(r"Could not (?:override|append to config|delete from config)[.:]? '([^']+)'", text):
        return _no_such_key(match[1], config_name)
    if match := re.search(r"An item is already at '([^']+)'", text):
        return f"+{match[1]}=…: there is a key {match[1]} already; change it with {match[1]}=…, without the +"
    if match := re.search(r"Could not find '([^']+)'", text):
        group, _, given = match[1].rpartition("/")
        listed = re.search(r"Available options in '[^']+': (.*?)(?: Config search|$)", text)
        known = options(group) or (listed[1].split() if listed else [])
        guess = did_you_mean(given, known)
        return f"{group}={given}: there is no such option{guess or ','} choose from {', '.join(known)}"
    if match := re.search(r"Multiple values for (\S+?)\. ", text):
        return f"+{match[1]}=…: an option of {match[1]} is chosen already; change it with {match[1]}=…, without the +"
    if match := re.search(r"(?:Ambiguous value for argument|Sweep parameters) '(.*?)'(?: 1\.| requires)", text):
        key, _, value = match[1].partition("=")
        return (
            f"{match[1]}: several values are a sweep, which needs -m; a list is typed '{key}=[1,2]', and one text "
            f"{as_text(key, value)}"
        )
    if match := re.search(r"Interpolation key '([^']+)' not found", text):
        typed = [argument for argument in sys.argv[1:] if f"${{{match[1]}}}" in argument]
        return f"{typed[0] if typed else 'a value'}: it refers to the key {match[1]}, and there is none"
    if "Config group override must be" in text:  # of one of Hydra's own groups
        return FORMS
    return re.sub(r" (full_key|object_type|reference_type|See https)[:=/].*", "", text)


def _no_such_key(key: str, config_name: str) -> str:
    """Name the keys beside the one that was meant, or the one of that name elsewhere."""
    if key in _REPLACED:
        return f"there is no key {key} any more: type {_REPLACED[key]} instead"
    if key.split(".")[0] == "hydra":
        return f"there is no key {key} (--cfg hydra lists Hydra's own)"
    node = _composed(config_name)
    parent, _, last = key.rpartition(".")
    for name in parent.split(".") if parent else []:
        if not (isinstance(node, dict) and name in node):
            return _no_such_key(parent, config_name)
        node = node[name]
    if node is None and options(parent):
        return f"{key}: no option of {parent} is chosen; choose one first: {parent}={options(parent)[0]} {key}=…"
    if not isinstance(node, dict):
        return f"there is no key {key}: {parent} is a value"
    if isinstance(node.get(last), dict) and options(key):
        return f"{key}=…: no option of {key} is chosen here; accepted are {', '.join(_paths(node[last], f'{key}.'))}"
    if last in node:  # Hydra removes only keys that have a value
        return f"~{key}: it is null already, so there is nothing to remove"
    elsewhere = [path for path in _paths(_composed(config_name)) if path.rpartition(".")[2] == last]
    if elsewhere:
        return f"there is no key {key}; did you mean {elsewhere[0]}?"
    return unknown_key(key, [name for name in node if not name.startswith("_") and name != "hydra"])


def _composed(config_name: str) -> Any:
    """Compose the config with those group options of the command line that exist, as a plain container."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    chosen = []
    for argument in sys.argv[1:]:
        group, _, option = argument.partition("=")
        if option in options(group):
            chosen.append(argument)
    for options_too in (True, False):  # a config may not have a group in its defaults
        GlobalHydra.instance().clear()
        with (
            contextlib.suppress(HydraException, OmegaConfBaseException),
            initialize_config_dir(str(conf_dir()), version_base="1.3"),
        ):
            return OmegaConf.to_container(compose(config_name, [*chosen * options_too, *searchpath()]))
    return {}


def _paths(node: Any, prefix: str = "") -> list[str]:
    """Return the dotted paths of all keys of a container."""
    if not isinstance(node, dict):
        return []
    here = [f"{prefix}{name}" for name in node]
    return here + [path for name, value in node.items() for path in _paths(value, f"{prefix}{name}.")]
