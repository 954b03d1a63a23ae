"""A dirty working tree becomes a patch, and the patch the tree again: with real git, in temporary repositories."""

import os
import subprocess

import pytest

from diffusion_lab.run_folder import git_patch
from diffusion_lab.run_folder.git_patch import GitError, changed_files, sections, working_tree

PLAIN = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


def git(where, *arguments, status=0):
    who = {f"GIT_{role}_{what}": "nobody" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    command = ["git", "-C", str(where), *arguments]
    done = subprocess.run(command, capture_output=True, env={**os.environ, **PLAIN, **who}, timeout=60)
    assert done.returncode == status, done.stderr.decode(errors="replace")
    return done.stdout


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with one commit of files of many kinds; git knows nobody."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name, value in PLAIN.items():
        monkeypatch.setenv(name, value)
    top = tmp_path / "repository"
    top.mkdir()
    git(top, "init", "-q")
    write(top, "code.py", b"one\ntwo\nthree\n")
    write(top, "package/windows.txt", b"one\r\ntwo\r\n")
    write(top, "package/no newline.txt", b"the end")
    write(top, "latin.txt", "Größe\n".encode("latin-1"))
    write(top, "picture.bin", bytes(range(256)) * 4)
    write(top, "moved.py", b"".join(b"line %d\n" % i for i in range(50)))
    write(top, "deleted.py", b"gone\n")
    write(top, "run.sh", b"#!/bin/sh\n")
    write(top, "becomes_folder", b"a file\n")
    write(top, "becomes_file/inside.txt", b"a folder\n")
    (top / "link").symlink_to("code.py")
    write(top, ".gitignore", b"ignored/\n*.pyc\n")
    git(top, "add", "-A")
    git(top, "commit", "-qm", "first")
    return top


def write(top, name, content):
    file = top / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def contents(top):
    """What a tree holds, but for git's own folder and what git ignores: content and kind by name."""
    found = {}
    for file in sorted(top.rglob("*")):
        name = file.relative_to(top).as_posix()
        if name.split("/")[0] in (".git", "ignored") or name.endswith(".pyc"):
            continue
        if file.is_symlink():
            found[name] = ("link", str(file.readlink()))
        elif file.is_file():
            found[name] = ("x" if os.access(file, os.X_OK) else "-", file.read_bytes())
    return found


def applied(top, tree, tmp_path):
    """What `git apply` makes of a clean checkout of the commit."""
    clean = tmp_path / "clean"
    git(tmp_path, "clone", "-q", "--no-checkout", str(top), str(clean))
    git(clean, "checkout", "-q", tree.commit)
    (tmp_path / "code.patch").write_bytes(tree.patch)
    git(clean, "apply", str(tmp_path / "code.patch"))
    return contents(clean)


def edit(top):
    write(top, "code.py", b"one\n2\nthree\nfour \n")
    write(top, "package/windows.txt", b"one\r\n2\r\nmixed\nthree\r\n")
    write(top, "package/no newline.txt", b"the very end")
    write(top, "latin.txt", "Größer\n".encode("latin-1"))
    write(top, "picture.bin", bytes(reversed(range(256))) * 4)
    (top / "moved.py").rename(top / "here.py")
    write(top, "here.py", (top / "here.py").read_bytes().replace(b"line 7\n", b"line seven\n"))
    (top / "deleted.py").unlink()
    (top / "run.sh").chmod(0o755)
    (top / "becomes_folder").unlink()
    write(top, "becomes_folder/inside.txt", b"now a folder\n")
    (top / "becomes_file/inside.txt").unlink()
    (top / "becomes_file").rmdir()
    write(top, "becomes_file", b"now a file\n")
    (top / "link").unlink()
    (top / "link").symlink_to("here.py")
    write(top, "new/module.py", b"new\n")
    write(top, "new/empty.py", b"")
    write(top, "new/größe äöü.py", "ü\n".encode())
    write(top, 'new/a name with "quotes" and \t tab.txt', b"odd\n")
    write(top, "new/-begins with a dash", b"x\n")
    write(top, "new/*.txt", b"a star\n")
    write(top, "new/picture.bin", b"\0\1\2" * 99)
    write(top, "ignored/secret.txt", b"not to be seen")
    write(top, "package/code.pyc", b"compiled")


@pytest.mark.parametrize("staged", ["nothing", "all", "half"])
def test_the_patch_makes_the_tree_again(repository, tmp_path, staged):
    if staged == "half":
        write(repository, "code.py", b"staged\n")
        write(repository, "new/module.py", b"staged\n")
        git(repository, "add", "code.py", "new/module.py")
    edit(repository)
    if staged == "all":
        git(repository, "add", "-A")
    tree = working_tree(repository)
    assert applied(repository, tree, tmp_path) == contents(repository)
    assert tree.left_out == ()
    assert b"secret" not in tree.patch
    assert {"code.py", "deleted.py", "new/module.py", "here.py", "new/-begins with a dash"} <= set(sections(tree.patch))


def test_nothing_of_the_repository_is_changed(repository):
    edit(repository)
    git(repository, "add", "new/module.py")
    before = git_folder(repository)
    working_tree(repository)
    assert git_folder(repository) == before


def git_folder(top):
    """Every file of it. Git may renew the time of an object that it looks for."""
    return {str(file.relative_to(top)): file.read_bytes() for file in (top / ".git").rglob("*") if file.is_file()}


SETTINGS = {
    "diff.noprefix": "true", "diff.mnemonicPrefix": "true", "color.ui": "always", "color.diff": "always",
    "diff.external": "false", "diff.context": "0", "diff.renames": "copies", "diff.relative": "true",
    "diff.submodule": "log", "diff.algorithm": "histogram", "diff.wordRegex": ".", "diff.suppressBlankEmpty": "true",
    "diff.wsErrorHighlight": "all", "diff.colorMoved": "zebra", "core.quotePath": "false", "core.pager": "false",
    "diff.interHunkContext": "9", "status.showUntrackedFiles": "no", "diff.latin.textconv": "false",
    "diff.latin.command": "false", "diff.ignoreSubmodules": "all", "core.safecrlf": "true", "commit.gpgSign": "true",
    "diff.indentHeuristic": "false",
}  # fmt: skip


def test_a_person_s_own_settings_of_git_do_not_matter(repository, tmp_path, monkeypatch):
    (repository / ".git" / "info" / "attributes").write_text("latin.txt diff=latin\n*.bin diff\n")
    edit(repository)
    plain = working_tree(repository)
    mine = tmp_path / "gitconfig"
    for key, value in SETTINGS.items():
        git(tmp_path, "config", "-f", str(mine), key, value)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(mine))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "false")
    tree = working_tree(repository)
    monkeypatch.undo()
    assert applied(repository, tree, tmp_path) == contents(repository)
    assert len(tree.patch) == pytest.approx(len(plain.patch), rel=0.1)


def test_line_ends_that_git_converts_come_back_as_they_were(repository, tmp_path):
    write(repository, ".gitattributes", b"*.txt text eol=crlf\n")
    git(repository, "add", "-A", "--renormalize", ".")
    git(repository, "add", ".gitattributes")
    git(repository, "commit", "-qam", "second")
    write(repository, "package/windows.txt", b"one\r\nmore\r\n")
    write(repository, "new.txt", b"new\r\n")
    (repository / "package/no newline.txt").unlink()
    (repository / "latin.txt").unlink()
    (repository / "becomes_file/inside.txt").unlink()
    assert applied(repository, working_tree(repository), tmp_path) == contents(repository)


def test_a_clean_tree_has_an_empty_patch_and_its_commit(repository):
    os.utime(repository / "code.py")  # git's index has another time
    tree = working_tree(repository)
    assert tree == git_patch.WorkingTree(git(repository, "rev-parse", "HEAD").decode().strip(), b"")


def test_a_subfolder_sees_the_whole_tree(repository, tmp_path):
    edit(repository)
    assert working_tree(repository / "package") == working_tree(repository)


def test_in_a_hook_of_another_repository(repository, tmp_path, monkeypatch):
    edit(repository)
    expected = working_tree(repository)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "other" / ".git" / "index"))
    assert working_tree(repository) == expected


def test_a_repository_within_and_what_may_not_be_read_are_left_out_and_named(repository, monkeypatch):
    git(repository, "init", "-q", "nested")
    write(repository, "nested/file.txt", b"of another repository")
    write(repository, "secret.txt", b"small\n")
    (repository / "new_link").symlink_to("secret.txt")
    monkeypatch.setattr(os, "access", lambda path, mode: not (path.name == "secret.txt" and mode == os.R_OK))
    tree = working_tree(repository)
    assert tree.left_out == ("nested/", "secret.txt")
    assert list(sections(tree.patch)) == ["new_link"]


def test_what_is_large_or_cannot_be_read_is_left_out_and_named(repository, tmp_path, monkeypatch):
    monkeypatch.setattr(git_patch, "LARGEST_FILE", 2000)
    monkeypatch.setattr(git_patch, "LARGEST_PATCH", 2500)
    write(repository, "code.py", b"small\n")
    write(repository, "picture.bin", b"x" * 2001)
    write(repository, "fits.txt", b"x" * 1900)
    write(repository, "no_more.txt", b"x" * 1901)
    git(repository, "init", "-q", "nested")
    write(repository, "nested/file.txt", b"of another repository")
    tree = working_tree(repository)
    assert tree.left_out == ("nested/", "no_more.txt", "picture.bin")
    assert sorted(sections(tree.patch)) == ["code.py", "fits.txt"]


def test_a_patch_holds_files_of_up_to_4_mib_and_up_to_32_mib_in_all(repository):
    """A file of zeros takes no time to compress."""
    for name, size in {"largest.bin": 4 * 2**20, "too_large.bin": 4 * 2**20 + 1}.items():
        write(repository, name, bytes(size))
    tree = working_tree(repository)
    assert list(sections(tree.patch)) == ["largest.bin"]
    assert tree.left_out == ("too_large.bin",)
    for number in range(7):
        os.link(repository / "largest.bin", repository / f"more{number}.bin")
    assert working_tree(repository).left_out == ("too_large.bin",)
    write(repository, "one_byte_more.bin", b"x")
    assert working_tree(repository).left_out == ("more6.bin", "too_large.bin")


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"diff --git a/code.py b/code.py", "code.py"),
        (b"diff --git a/a b/c d.py b/a b/c d.py", "a b/c d.py"),
        (b'diff --git "a/gr\\303\\266n.py" "b/gr\\303\\266n.py"', r"gr\303\266n.py"),
        ("diff --git a/grün.py b/grün.py".encode(), "grün.py"),
        ("diff --git a/grün.py b/grün.py".encode("latin-1"), "gr\N{REPLACEMENT CHARACTER}n.py"),
        (b"diff --git a/a/b.py b/a/b.py", "a/b.py"),
    ],
)
def test_the_part_of_a_file_has_its_name_as_git_writes_it(head, name):
    part = head + b"\nindex 1..2 100644\n--- a\n+++ b\n@@ -1 +1 @@\n-diff --git a/x b/x\n+y\n"
    other = b"diff --git a/z b/z\n"
    assert sections(part) == {name: part}
    assert sections(other + part) == {"z": other, name: part}
    assert sections(b"") == {}


def test_results_are_no_code(repository):
    write(repository, "results/train/run/metrics.json", b"{}")
    assert list(sections(working_tree(repository).patch)) == ["results/train/run/metrics.json"]
    assert working_tree(repository, repository / "results").patch == b""
    write(repository, "code.py", b"changed\n")
    write(repository, "results.py", b"new\n")
    (repository / "deleted.py").unlink()
    without = working_tree(repository / "package", repository / "package" / ".." / "results")
    assert sorted(sections(without.patch)) == ["code.py", "deleted.py", "results.py"]
    assert working_tree(repository, repository).patch != b""  # the code itself cannot be left out


def test_a_merge_that_stopped_at_a_conflict(repository, tmp_path):
    git(repository, "checkout", "-qb", "side")
    write(repository, "code.py", b"side\n")
    git(repository, "commit", "-qam", "side")
    git(repository, "checkout", "-q", "-")
    write(repository, "code.py", b"main\n")
    git(repository, "commit", "-qam", "main")
    git(repository, "merge", "side", status=1)
    assert b"<<<<<<<" in (repository / "code.py").read_bytes()
    assert applied(repository, working_tree(repository), tmp_path) == contents(repository)


def test_where_git_has_nothing_to_say(repository, tmp_path, monkeypatch):
    (tmp_path / "nowhere").mkdir()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert working_tree(tmp_path / "nowhere") is None
    write(repository, "ignored/site-packages/diffusion_lab/noise.py", b"installed\n")
    assert working_tree(repository / "ignored/site-packages/diffusion_lab") is None
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    assert working_tree(empty) is None
    monkeypatch.setenv("PATH", "")
    assert working_tree(repository) is None


def test_a_repository_that_is_damaged_is_an_error_of_one_line(repository):
    tree = git(repository, "rev-parse", "HEAD^{tree}").decode().strip()
    (repository / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    with pytest.raises(GitError, match=r"\A(error|fatal): [^\n]+\Z"):
        working_tree(repository)


def test_the_files_between_two_commits(repository):
    first = working_tree(repository).commit
    edit(repository)
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "second")
    names = changed_files(repository, first, working_tree(repository).commit)
    assert {"code.py", "here.py", "moved.py", "new/größe äöü.py"} <= set(names)
    assert changed_files(repository, first, first) == []
    assert changed_files(repository, first, "0" * 40) is None
    assert changed_files(repository, first, "--output=/tmp/x") is None
