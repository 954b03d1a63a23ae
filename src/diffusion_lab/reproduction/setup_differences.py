"""Differences between two runs other than their results: config, code, versions, data, threads, hardware."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from diffusion_lab.machine.bounded_read import read_bounded
from diffusion_lab.run_folder.fingerprint import without_idle_keys
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.git_patch import changed_files, sections
from diffusion_lab.run_folder.run_record import RunRecord

_MAX_LISTED = 6  # of each kind

#: Keys of a session's `computing`, which older runs call `hardware`.
_HARDWARE = ("device", "name", "processes", "system", "cpu_capability", "cuda", "cudnn")


def setup_differences(here: RunFolder, there: RunFolder) -> dict[str, str]:
    """Describe what differs, by kind: ``config``, ``code``, ``versions``, ``data``, ``threads`` …; empty if nothing.

    A run that was resumed has several sessions. The first sessions are compared, and ``sessions`` says whether the
    later ones of a run differ from its first.

    Raises:
        LabError: naming the file that is damaged.
    """
    manifests = [folder.read_manifest() for folder in (here, there)]
    sessions = [RunRecord(folder.path).sessions for folder in (here, there)]
    first = [run_sessions[0] if run_sessions else {} for run_sessions in sessions]
    computing = [_mapping(session, "computing") or _mapping(session, "hardware") for session in first]
    configs = [_flatten(without_idle_keys(folder.read_config())) for folder in (here, there)]
    variables = [_mapping(node, "variables") for node in computing]
    own_code = [_mapping(session, "own_code") for session in first]
    descriptions = {
        "config": _describe_keys(configs, configs[0] | configs[1]),
        "code": _describe_code((here, there), first),
        "own code": _describe_keys(own_code, own_code[0] | own_code[1]),
        "versions": _describe_common_keys([_mapping(session, "versions") for session in first]),
        "data": _describe_common_keys([_mapping(manifest, "data") for manifest in manifests]),
        "threads": _describe_key(computing, "threads"),
        "hardware": _describe_common_keys([{key: node[key] for key in _HARDWARE if key in node} for node in computing]),
        "precision": _describe_key(computing, "precision"),
        "variables": _describe_keys(variables, variables[0] | variables[1]),
        "first weights": _describe_key(first, "weights"),
        "sessions": "; ".join(filter(None, map(_describe_later_sessions, sessions, ("here", "there")))),
    }
    return {kind: description for kind, description in descriptions.items() if description}


def _describe_common_keys(nodes: list[dict[str, Any]]) -> str:
    """The differences in keys that both runs recorded: a key that only one of them has shows no difference."""
    known = [{key for key, value in node.items() if value is not None} for node in nodes]
    return _describe_keys(nodes, known[0] & known[1])


def _describe_key(nodes: list[dict[str, Any]], key: str) -> str:
    """The difference in one key, if both runs recorded it."""
    values = [node.get(key) for node in nodes]
    return "" if None in values else _describe_pair(*values)


def _describe_keys(nodes: list[dict[str, Any]], keys: Iterable[str]) -> str:
    pairs = {key: _describe_pair(nodes[0].get(key), nodes[1].get(key)) for key in sorted(keys)}
    parts = [f"{key} {pair}" for key, pair in pairs.items() if pair]
    more = [f"and {len(parts) - _MAX_LISTED} more"] if len(parts) > _MAX_LISTED else []
    return "; ".join([*parts[:_MAX_LISTED], *more])


def _describe_pair(here: Any, there: Any) -> str:
    texts = ["none" if value is None else str(value) for value in (here, there)]
    return "" if here == there else f"{texts[0]} here, {texts[1]} there"


def _describe_code(folders: tuple[RunFolder, RunFolder], sessions: list[dict[str, Any]]) -> str:
    """The commits, and the package's files that differ between them or in uncommitted changes."""
    hashes = [_mapping(session, "fingerprint").get("code") for session in sessions]
    if hashes[0] == hashes[1] and hashes[0] is not None:
        return ""
    git = [_mapping(session, "git") for session in sessions]
    commits = [str(node.get("commit", "unknown")) for node in git]
    patches = [sections(patch) for patch in map(_read_patch, folders, git)]
    files = {name for name in patches[0].keys() | patches[1].keys() if patches[0].get(name) != patches[1].get(name)}
    files |= set(changed_files(Path(__file__).parents[1], commits[1], commits[0]) or [])
    if None in hashes and commits[0] == commits[1] and not files:
        return ""
    commit_pair = _describe_pair(commits[0][:12], commits[1][:12])
    commit = f"commit {commit_pair}" if commit_pair else f"commit {commits[0][:12]}, with other changes"
    package_files = sorted(name for name in files if "diffusion_lab/" in name and name.endswith(".py"))
    more = [f"and {len(package_files) - _MAX_LISTED} more"] if len(package_files) > _MAX_LISTED else []
    listed = ", ".join([*package_files[:_MAX_LISTED], *more])
    return f"{commit}: {listed}" if package_files else commit


def _read_patch(folder: RunFolder, git: Mapping[str, Any]) -> bytes:
    """A session's uncommitted changes; empty if there are none, or if their file is gone."""
    name = git.get("patch")  # checked when the manifest was read
    return read_bounded(folder.path / name) if name and (folder.path / name).is_file() else b""


def _describe_later_sessions(sessions: list[dict[str, Any]], which: str) -> str:
    fingerprints = [_mapping(session, "fingerprint") for session in sessions]
    parts = ("config", "code", "data", "environment")
    changed = [part for part in parts if len({str(f[part]) for f in fingerprints if part in f}) > 1]
    return f"the run {which} was resumed with a different {', '.join(changed)}" if changed else ""


def _mapping(node: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The mapping under a key; empty if there is none."""
    found = node.get(key)
    return found if isinstance(found, dict) else {}


def _flatten(node: Any, key: str = "") -> dict[str, Any]:
    """The leaves of a config by dotted key; a list is one value."""
    if isinstance(node, Mapping):
        parts = [_flatten(part, f"{key}.{name}" if key else name) for name, part in node.items()]
        return {k: v for part in parts for k, v in part.items()}
    return {key: node}
