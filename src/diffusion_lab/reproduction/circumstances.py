"""In what two runs differ besides their results: config, code, versions, data, threads, hardware."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import diffusion_lab
from diffusion_lab.run_folder.fingerprint import without_idle_keys
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.git_patch import changed_files, sections
from diffusion_lab.run_folder.run_record import RunRecord

_LISTED = 6  # of each kind

#: Of what a session says under `computing`, or in older runs `hardware`.
_HARDWARE = ("device", "name", "processes", "system", "cpu_capability", "cuda", "cudnn")


def circumstances(here: RunFolder, there: RunFolder) -> dict[str, str]:
    """What differs, in words, by kind: ``config``, ``code``, ``versions``, ``data``, ``threads`` …; empty if nothing.

    Of a run that was resumed, its first session speaks for it, and ``sessions`` says whether the others differ.

    Raises:
        LabError: naming the file that is damaged.
    """
    manifests = [folder.read_json("manifest.json") for folder in (here, there)]
    starts = [RunRecord(folder.path).sessions for folder in (here, there)]
    first = [sessions[0] if sessions else {} for sessions in starts]
    computing = [_mapping(session, "computing") or _mapping(session, "hardware") for session in first]
    configs = [_flat(without_idle_keys(folder.read_config())) for folder in (here, there)]
    variables = [_mapping(node, "variables") for node in computing]
    found = {
        "config": _listed(configs, configs[0].keys() | configs[1].keys()),
        "code": _code((here, there), first),
        "versions": _known_to_both([_mapping(session, "versions") for session in first]),
        "data": _known_to_both([_mapping(manifest, "data") for manifest in manifests]),
        "threads": _one_known_to_both(computing, "threads"),
        "hardware": _known_to_both([{key: node[key] for key in _HARDWARE if key in node} for node in computing]),
        "precision": _one_known_to_both(computing, "precision"),
        "variables": _listed(variables, variables[0].keys() | variables[1].keys()),
        "first weights": _one_known_to_both(first, "weights"),
        "sessions": "; ".join(filter(None, map(_other_sessions, starts, ("here", "there")))),
    }
    return {kind: text for kind, text in found.items() if text}


def _known_to_both(nodes: list[dict[str, Any]]) -> str:
    known = [{key for key, value in node.items() if value is not None} for node in nodes]
    return _listed(nodes, known[0] & known[1])  # what one of them does not say is no difference


def _one_known_to_both(nodes: list[dict[str, Any]], key: str) -> str:
    values = [node.get(key) for node in nodes]
    return "" if None in values else _pair(*values)


def _listed(nodes: list[dict[str, Any]], keys: Iterable[str]) -> str:
    pairs = {key: _pair(nodes[0].get(key), nodes[1].get(key)) for key in sorted(keys)}
    parts = [f"{key} {pair}" for key, pair in pairs.items() if pair]
    more = [f"and {len(parts) - _LISTED} more"] if len(parts) > _LISTED else []
    return "; ".join([*parts[:_LISTED], *more])


def _pair(here: Any, there: Any) -> str:
    words = ["none" if value is None else str(value) for value in (here, there)]
    return "" if here == there else f"{words[0]} here, {words[1]} there"


def _code(folders: tuple[RunFolder, RunFolder], sessions: list[dict[str, Any]]) -> str:
    hashes = [_mapping(session, "fingerprint").get("code") for session in sessions]
    if hashes[0] == hashes[1] and hashes[0] is not None:
        return ""
    trees = [_mapping(session, "git") for session in sessions]
    commits = [str(tree.get("commit", "unknown")) for tree in trees]
    patches = [sections(_patch(folder, tree)) for folder, tree in zip(folders, trees, strict=True)]
    files = {name for name in patches[0].keys() | patches[1].keys() if patches[0].get(name) != patches[1].get(name)}
    between = changed_files(Path(diffusion_lab.__file__).parent, commits[1], commits[0])
    files |= set(between or [])
    if None in hashes and commits[0] == commits[1] and not files:
        return ""
    commit = _pair(commits[0][:12], commits[1][:12])
    text = f"commit {commit}" if commit else f"commit {commits[0][:12]}, with other changes"
    ran = sorted(name for name in files if "diffusion_lab/" in name and name.endswith(".py"))
    listed = ", ".join([*ran[:_LISTED], *([f"and {len(ran) - _LISTED} more"] if len(ran) > _LISTED else [])])
    return f"{text}: {listed}" if ran else text


def _patch(folder: RunFolder, tree: Mapping[str, Any]) -> bytes:
    name = tree.get("patch")
    known = isinstance(name, str) and re.fullmatch(r"code_\d+\.patch", name) and (folder.path / name).is_file()
    return (folder.path / str(name)).read_bytes() if known else b""


def _other_sessions(sessions: list[dict[str, Any]], which: str) -> str:
    prints = [_mapping(session, "fingerprint") for session in sessions]
    parts = ("config", "code", "data", "environment")
    changed = [part for part in parts if len({str(p[part]) for p in prints if part in p}) > 1]
    return f"the run {which} was resumed with another {', '.join(changed)}" if changed else ""


def _mapping(node: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = node.get(key)
    return found if isinstance(found, dict) else {}


def _flat(node: Any, key: str = "") -> dict[str, Any]:
    if isinstance(node, Mapping):
        return {k: v for name, part in node.items() for k, v in _flat(part, f"{key}.{name}" if key else name).items()}
    return {key: node}
