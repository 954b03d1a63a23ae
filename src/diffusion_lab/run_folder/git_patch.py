"""The code of a git working tree: its commit, and its uncommitted changes as a patch for `git apply`."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

#: Bytes. Larger files are no code: they are left out of a patch, and named.
LARGEST_FILE = 4 * 2**20
LARGEST_PATCH = 32 * 2**20

#: Options that give a patch the same form whatever a person's git configuration says.
_FORM = [
    *("-p", "--binary", "--full-index", "-U3", "--no-renames", "--no-color", "--no-ext-diff", "--no-textconv"),
    *("--submodule=short", "--src-prefix=a/", "--dst-prefix=b/"),
]

#: Prefixes of git's environment variables that are passed on; others may come from a hook that this process runs in.
_KEPT = ("GIT_CONFIG", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM", "GIT_EXEC_PATH")


@dataclass(frozen=True)
class WorkingTree:
    """The state of a git working tree.

    Attributes:
        commit: the commit that is checked out.
        patch: the changes from the commit to the files, empty if there are none; bytes, as files have any encoding.
        left_out: the paths of changed files that are not in the patch, as they are too large or cannot be read.
    """

    commit: str
    patch: bytes
    left_out: tuple[str, ...] = ()


class GitError(Exception):
    """Git is not installed, or failed; the message is the last line that it printed."""


def working_tree(inside: Path, without: Path | None = None) -> WorkingTree | None:
    """Return the state of the working tree that a folder belongs to; None if it is in none, or is not tracked.

    Untracked files are part of it, unless git ignores them. Neither the repository's index nor its objects are changed.

    Args:
        inside: a folder.
        without: a folder whose files are left out.

    Raises:
        GitError: if git fails on the way.
    """
    try:
        top = Path(os.fsdecode(_git(inside, "rev-parse", "--show-toplevel").rstrip(b"\n")))
        commit = _git(inside, "rev-parse", "--verify", "HEAD").decode().strip()
        if not _git(inside, "ls-files", "-z", "--", "."):  # such as a package in the .venv of another project
            return None
    except GitError:
        return None
    written, removed, left_out = _changed(top, without)
    objects = top / os.fsdecode(_git(top, "rev-parse", "--git-path", "objects").rstrip(b"\n"))
    with tempfile.TemporaryDirectory() as temporary:
        own = Path(temporary) / "objects"
        (own / "info").mkdir(parents=True)
        (own / "info" / "alternates").write_bytes(os.fsencode(objects) + b"\n")
        elsewhere = {"GIT_INDEX_FILE": f"{temporary}/index", "GIT_OBJECT_DIRECTORY": str(own)}
        _git(top, "read-tree", "HEAD", variables=elsewhere)
        for how, paths in (("--force-remove", removed), ("--add", written)):
            typed = b"".join(path + b"\0" for path in paths)
            _git(top, "update-index", "--replace", how, "-z", "--stdin", typed=typed, variables=elsewhere)
        patch = _git(top, "diff-index", "--cached", *_FORM, "HEAD", variables=elsewhere)
    return WorkingTree(commit, patch, tuple(left_out))


def changed_files(inside: Path, one: str, other: str) -> list[str] | None:
    """Return the files that differ between two commits, given by their full hashes; None if git does not know both."""
    if not all(
        re.fullmatch(r"[0-9a-f]{40,64}", commit) for commit in (one, other)
    ):  # anything else may be an option to git
        return None
    try:
        names = _git(inside, "diff-tree", "-r", "-z", "--name-only", "--no-renames", one, other, "--")
    except GitError:
        return None
    return [os.fsdecode(name) for name in names.split(b"\0") if name]


def sections(patch: bytes) -> dict[str, bytes]:
    """Split a patch of `working_tree` into the part for each file, by the file's name as git writes it."""
    found = {}
    for section in re.split(rb"^(?=diff --git )", patch, flags=re.MULTILINE):
        head = section.partition(b"\n")[0].removeprefix(b"diff --git ")
        # Without renames the head has the name twice: a/name b/name, each perhaps in quotes.
        name = head[: len(head) // 2].strip(b'"').removeprefix(b"a/").decode(errors="replace")
        if section:
            found[name] = section
    return found


def _changed(top: Path, without: Path | None) -> tuple[list[bytes], list[bytes], list[str]]:
    """Return the paths that may differ from HEAD: existing ones, removed ones, and those that are left out."""
    tracked = _git(top, "diff-index", "-z", "--name-only", "--no-renames", "--ignore-submodules=dirty", "HEAD")
    new = _git(top, "ls-files", "-z", "--others", "--exclude-standard")
    paths = {path: top / os.fsdecode(path) for path in sorted((tracked + new).split(b"\0")) if path}
    if without is not None and not top.is_relative_to(without := without.resolve()):
        paths = {path: file for path, file in paths.items() if not file.is_relative_to(without)}
    removed = [path for path, file in paths.items() if _is_gone(file)]
    there = {path: file for path, file in paths.items() if path not in removed}
    readable = {
        path: file.lstat().st_size
        for path, file in there.items()
        if file.is_symlink() or (file.is_file() and os.access(file, os.R_OK))  # a folder is a nested repository
    }
    written: list[bytes] = []
    total = 0
    for path, size in sorted(readable.items(), key=lambda item: item[1]):
        if size <= LARGEST_FILE and total + size <= LARGEST_PATCH:
            written.append(path)
            total += size
    return written, removed, [path.decode(errors="replace") for path in there if path not in written]


def _is_gone(file: Path) -> bool:
    """Return whether there is no such file any more; a plain folder may be in its place."""
    return not os.path.lexists(file) or (file.is_dir() and not file.is_symlink() and not (file / ".git").exists())


def _git(inside: Path, *arguments: str, typed: bytes = b"", variables: dict[str, str] | None = None) -> bytes:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") or k.startswith(_KEPT)}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", **(variables or {})}
    command = ["git", "-C", str(inside), "-c", "core.fsmonitor=false", *arguments]
    try:
        done = subprocess.run(command, input=typed, capture_output=True, env=environment, timeout=20)
    except (OSError, subprocess.SubprocessError) as error:
        raise GitError(str(error)) from error
    if done.returncode:
        raise GitError((done.stderr.decode(errors="replace").strip().splitlines() or ["git failed"])[-1])
    return done.stdout
