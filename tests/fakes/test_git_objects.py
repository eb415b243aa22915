"""What the fake stores and reads without git is what git itself stores and reads."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.fakes.github.git_objects import Signature
from tests.fakes.github.git_repository import GitError, GitRepository, TreeEntry
from tests.hypothesis_profiles import examples

KIM = Signature("Kim Lee", "kim@example.com", "2026-11-20T12:00:00+02:30")
BOT = Signature("ci[bot]", "1+ci[bot]@example.com", "2026-11-20T12:00:00+00:00")
NAMES = ("a", "a.b", "a-b", "a0", "b", "ab", ".github", "git", "x y")
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
MODES = st.sampled_from(("100644", "100755", "120000"))


@pytest.fixture
def git(tmp_path: Path) -> Iterator[GitRepository]:
    repository = GitRepository(tmp_path / "repository.git")
    repository.create("main")
    yield repository
    repository.objects.close()


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[str, str, bytes | None]]:
    """Changes of files, some of which delete, in the place of folders too."""
    contents = st.one_of(st.none(), st.binary(max_size=4)) if draw(st.booleans()) else st.binary()
    return draw(st.lists(st.tuples(PATHS, MODES, contents), max_size=6))


@given(batches=st.lists(changes(), min_size=1, max_size=4))
@examples(100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_tree_is_the_one_that_git_s_index_makes(
    git: GitRepository, batches: list[list[tuple[str, str, bytes | None]]]
) -> None:
    tree = None
    for batch in batches:
        entries = [
            TreeEntry(path, mode, None if content is None else git.write_blob(content))
            for path, mode, content in batch
        ]
        expected = git.tree_by_index(tree, entries)
        tree = git.write_tree(tree, entries)
        assert tree == expected
        listed = git.text("ls-tree", "-z", "--long", "-r", "-t", tree).split("\0")
        assert [line.split() for line in listed if line] == [
            [one.mode, one.kind, one.sha, "-" if one.size is None else str(one.size), *path.split()]
            for one in git.read_tree(tree, recursive=True)
            for path in [one.path]
        ]


@pytest.mark.parametrize(
    "path", [".git/config", "a/.GIT/x", "../x", "a//b", "/a", "a/", "git~1/x", "./a", ".git./a"]
)
def test_a_path_that_git_refuses_is_refused(git: GitRepository, path: str) -> None:
    blob = git.write_blob(b"x")
    try:
        by_git = git.tree_by_index(None, [TreeEntry(path, "100644", blob)])
    except GitError:
        by_git = None
    if by_git is None:
        with pytest.raises(GitError):
            git.write_tree(None, [TreeEntry(path, "100644", blob)])
    else:
        assert git.write_tree(None, [TreeEntry(path, "100644", blob)]) == by_git


@pytest.mark.parametrize("message", ["Title", "Title\n\nBody: \u00e9\n", "", "\nlate\n\n"])
def test_a_commit_reads_as_git_shows_it(git: GitRepository, message: str) -> None:
    tree = git.write_tree(None, [TreeEntry("a", "100644", git.write_blob(b"x"))])
    first = git.write_commit(tree, [], "Begin", KIM, KIM)
    sha = git.write_commit(tree, [first, first], message, KIM, BOT)
    (shown, *_) = git.commits(sha)
    utc = Signature(BOT.name, BOT.email, shown.committer.date.replace("Z", "+00:00"))
    read = git.commit(sha)
    assert (read.tree, read.parents, read.message) == (shown.tree, shown.parents, shown.message)
    assert (read.author, read.committer) == (shown.author, utc)
    assert (shown.author, utc) == (KIM, BOT)


def test_a_name_that_would_end_its_field_is_refused(git: GitRepository) -> None:
    tree = git.write_tree(None, [])
    for name in ("a\nparent x", "a <b>"):
        with pytest.raises(GitError):
            git.write_commit(tree, [], "m", Signature(name, "a@example.com", KIM.date), BOT)


def test_git_finds_no_fault_in_the_objects(git: GitRepository) -> None:
    blob = git.write_blob(b"x")
    paths = ("a/b", "a.b/c", "a0", "a/c/d")
    tree = git.write_tree(None, [TreeEntry(path, "100644", blob) for path in paths])
    sha = git.write_commit(tree, [], "Begin", KIM, BOT)
    git.move_ref("refs/heads/main", sha, None)
    command = ["git", f"--git-dir={git.folder}", "fsck", "--strict", "--no-dangling"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, "")


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[list[int], str, bytes]]:
    """Commits with the numbers of their parents, one changed path and its content."""
    commits = []
    for number in range(draw(st.integers(2, 7))):
        parents = draw(st.lists(st.integers(0, number - 1), max_size=2)) if number else []
        commits.append((parents, draw(PATHS), draw(st.binary(max_size=2))))
    return commits


@given(history=histories(), data=st.data())
@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_ancestors_and_logs_are_those_of_git(
    git: GitRepository, history: list[tuple[list[int], str, bytes]], data: st.DataObject
) -> None:
    made: list[str] = []
    for number, (parents, path, content) in enumerate(history):
        trees = [git.commit(made[parent]).tree for parent in parents]
        entry = TreeEntry(path, "100644", git.write_blob(content))
        tree = git.write_tree(trees[0] if trees else None, [entry])
        ids = list(dict.fromkeys(made[parent] for parent in parents))
        made.append(git.write_commit(tree, ids, f"Commit {number}", KIM, BOT))
    one = data.draw(st.sampled_from(made))
    other = data.draw(st.sampled_from(made))
    path = data.draw(PATHS)
    assert git.count(one, other) == int(git.text("rev-list", "--count", f"{one}..{other}"))
    bases = _answer(git, "merge-base", "--all", one, other).splitlines()
    assert git.merge_base(one, other) in (bases or [None])
    assert git.merged_tree(one, other) == (
        _answer(git, "merge-tree", "--write-tree", one, other) or None
    )
    for revisions in ((one,), (one, f"^{other}")):
        for paths in ((), (path,)):
            by_git = [commit.sha for commit in git.commits_by_git(*revisions, paths=paths)]
            assert [commit.sha for commit in git.commits(*revisions, paths=paths)] == by_git
    assert [(change.path, change.sha) for change in git.changes(one, other)] == [
        (name, fields.split()[3] if fields[-1] != "D" else fields.split()[2])
        for fields, name in _pairs(git.text("diff-tree", "-r", "-z", "--no-renames", one, other))
    ]


def _answer(git: GitRepository, *arguments: str) -> str:
    """Git's answer; empty where it has none."""
    try:
        return git.text(*arguments)
    except GitError:
        return ""


def _pairs(listed: str) -> Iterator[tuple[str, str]]:
    parts = iter(listed.removesuffix("\0").split("\0"))
    return zip(parts, parts, strict=False)


@pytest.mark.parametrize(("ref", "is_moved"), [("refs/heads/a", True), ("refs/heads/a/b", False)])
def test_a_ref_moves_only_from_its_commit_and_into_no_other_ref(
    git: GitRepository, ref: str, is_moved: bool
) -> None:
    tree = git.write_tree(None, [])
    first = git.write_commit(tree, [], "First", KIM, BOT)
    second = git.write_commit(tree, [first], "Second", KIM, BOT)
    git.move_ref("refs/heads/a", first, None)
    for old in (None, second):
        with pytest.raises(GitError):
            git.move_ref(ref, second, old)
    if is_moved:
        git.move_ref(ref, second, first)
    assert git.refs("refs/heads/") == {"refs/heads/a": second if is_moved else first}
    assert git.text("rev-parse", "refs/heads/a") == git.branch("a")
