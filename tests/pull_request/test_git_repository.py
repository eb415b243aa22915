"""Publishing into a git repository on disk, tested with real repositories."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.errors import PullRequestError
from leastpriv.pull_request.git_program import GitProgram
from leastpriv.pull_request.git_repository import GitRepository
from leastpriv.pull_request.lifecycle import Hold, Holds
from leastpriv.pull_request.models import (
    Publication,
    PublishResult,
    PullRequestOperation,
    commit_message,
)
from tests.fakes.replace import replace
from tests.hypothesis_profiles import examples

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
OLD = b'{"Version": "2012-10-17", "Statement": []}\r\n'
NEW = b'{"Version": "2012-10-17", "Statement": [1]}\r\n'
PATH = "iam/ci-deploy.json"
PROPOSED = Publication(
    branch="leastpriv/ci-deploy",
    base="main",
    path=PATH,
    files={PATH: NEW},
    title="Remove 14 actions from ci-deploy",
    fingerprint="ab" * 32,
)

Git = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a repository with a policy on main, changes in its working tree and a staged file."""
    folder = tmp_path / "repository"
    folder.mkdir()
    run(folder, "init", "--quiet", "--initial-branch=main")
    for name, content in (
        ("iam/ci-deploy.json", OLD),
        ("README.md", b"hello\n"),
        ("iam/other.json", b"{}\n"),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    run(folder, "add", ".")
    run(folder, "commit", "--quiet", "-m", "First")
    (folder / "README.md").write_bytes(b"changed\n")
    (folder / "staged.txt").write_bytes(b"staged\n")
    run(folder, "add", "staged.txt")
    return folder


def run(folder: Path, *arguments: str, given: str = "", at: datetime | None = None) -> str:
    """Run git as a person would, at a given time."""
    identity = {
        f"GIT_{role}_{part}": f"person{'@example.org' * (part == 'EMAIL')}"
        for role in ("AUTHOR", "COMMITTER")
        for part in ("NAME", "EMAIL")
    }
    dated = {"GIT_COMMITTER_DATE": at.isoformat()} if at else {}
    completed = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        input=given,
        capture_output=True,
        text=True,
        check=True,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder.parent),
            "GIT_CONFIG_NOSYSTEM": "1",
            **identity,
            **dated,
        },
    )
    return completed.stdout.strip()


def published(folder: Path, publication: Publication = PROPOSED) -> PublishResult:
    return GitRepository.open(folder).publish(publication, NOW)


def work_on(folder: Path, branch: str, *steps: tuple[str, ...]) -> None:
    """Commit as a person does in a worktree of the branch."""
    with tempfile.TemporaryDirectory() as other_folder:
        run(folder, "worktree", "add", "--quiet", f"{other_folder}/tree", branch)
        for step in steps:
            run(Path(other_folder, "tree"), *step)
        run(folder, "worktree", "remove", "--force", f"{other_folder}/tree")


def advance_main(folder: Path) -> str:
    tree = run(folder, "rev-parse", "main^{tree}")
    commit = run(folder, "commit-tree", tree, "-p", "main", "-m", "Second")
    run(folder, "update-ref", "refs/heads/main", commit)
    return commit


def snapshot(folder: Path) -> dict[str, str]:
    """Everything that must not change: files of the working tree, index, HEAD, main."""
    hashes = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }
    hashes |= {
        name: hashlib.sha256((folder / ".git" / name).read_bytes()).hexdigest()
        for name in ("HEAD", "index", "config")
    }
    return hashes | {
        "main": run(folder, "rev-parse", "main"),
        "branch": run(folder, "symbolic-ref", "HEAD"),
    }


def test_a_first_proposal_is_one_commit_on_the_base_that_changes_one_file(folder: Path) -> None:
    publish_result = published(folder)
    assert publish_result == PublishResult(
        PullRequestOperation.CREATED,
        PROPOSED.branch,
        run(folder, "rev-parse", PROPOSED.branch),
        run(folder, "rev-parse", "main"),
    )
    assert run(folder, "rev-list", f"main..{PROPOSED.branch}").split() == [publish_result.head_sha]
    assert run(folder, "diff", "--name-only", "main", PROPOSED.branch) == PROPOSED.path
    assert GitRepository.open(folder).read(publish_result.head_sha, PROPOSED.path) == NEW


def test_the_commit_has_author_time_and_fingerprint(folder: Path) -> None:
    published(folder)
    show = run(
        folder,
        "log",
        "-1",
        "--format=%an|%cn|%at|%ct|%s|%(trailers:key=Leastpriv-Fingerprint,valueonly)",
        PROPOSED.branch,
    )
    time = str(int(NOW.timestamp()))
    assert show == f"leastpriv|leastpriv|{time}|{time}|{PROPOSED.title}|{PROPOSED.fingerprint}"


def test_working_tree_index_and_head_do_not_change(folder: Path) -> None:
    before = snapshot(folder)
    published(folder)
    published(folder, replace(PROPOSED, fingerprint="abababab" + "cd" * 28, files={PATH: b"[]"}))
    published(folder, replace(PROPOSED, files={PATH: OLD}))
    assert snapshot(folder) == before


def test_an_equal_proposal_changes_nothing(folder: Path) -> None:
    first = published(folder)
    again = published(folder)
    assert (again.operation, again.head_sha, bool(again.reason)) == (
        PullRequestOperation.NONE,
        first.head_sha,
        True,
    )


def test_a_changed_proposal_replaces_the_commit(folder: Path) -> None:
    published(folder)
    publish_result = published(
        folder, replace(PROPOSED, fingerprint="abababab" + "cd" * 28, files={PATH: b"[]"})
    )
    assert publish_result.operation is PullRequestOperation.UPDATED
    assert run(folder, "rev-list", f"main..{PROPOSED.branch}").split() == [publish_result.head_sha]


def test_the_commit_moves_with_the_base(folder: Path) -> None:
    published(folder)
    moved = advance_main(folder)
    publish_result = published(folder)
    assert (publish_result.operation, publish_result.base_sha) == (
        PullRequestOperation.UPDATED,
        moved,
    )
    assert run(folder, "rev-parse", f"{PROPOSED.branch}^") == moved


def test_a_proposal_without_changes_deletes_the_branch(folder: Path) -> None:
    published(folder)
    publish_result = published(folder, replace(PROPOSED, files={PATH: OLD}))
    assert (publish_result.operation, publish_result.head_sha) == (PullRequestOperation.CLOSED, "")
    assert run(folder, "branch", "--list", PROPOSED.branch) == ""


def test_a_branch_whose_changes_are_held_back_for_now_is_kept(folder: Path) -> None:
    hold = Hold("The guard gap-in-scope holds it back, until the gap is closed.", "")
    waiting = replace(PROPOSED, files={}, holds=Holds(for_now={"11": hold}))
    head = published(folder).head_sha
    publish_result = published(folder, waiting)
    assert (publish_result.operation, publish_result.head_sha) == (PullRequestOperation.HELD, head)
    assert publish_result.reason == hold.text
    run(folder, "update-ref", "refs/heads/main", head)
    assert published(folder, waiting).operation is PullRequestOperation.CLOSED


def test_without_changes_and_branch_the_operation_is_none(folder: Path) -> None:
    publish_result = published(folder, replace(PROPOSED, files={PATH: OLD}))
    assert (publish_result.operation, publish_result.head_sha) == (PullRequestOperation.NONE, "")
    assert publish_result.reason == "Nothing to change on main."


def test_after_a_merge_the_next_proposal_uses_the_branch(folder: Path) -> None:
    head = published(folder).head_sha
    run(folder, "update-ref", "refs/heads/main", head)
    assert (
        published(
            folder, replace(PROPOSED, fingerprint="abababab" + "cd" * 28, files={PATH: b"[]"})
        ).operation
        is PullRequestOperation.UPDATED
    )


FORGED = f"Mine\n\nLeastpriv-Fingerprint: {PROPOSED.fingerprint}"


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([("commit", "--allow-empty", "-m", "Mine")], id="added a commit"),
        pytest.param([("commit", "--amend", "--no-edit")], id="amended"),
        pytest.param(
            [("commit", "--amend", "-m", "Mine"), ("commit", "--allow-empty", "-m", FORGED)],
            id="forged a trailer",
        ),
    ],
)
@pytest.mark.parametrize(
    "content", [b"[]", OLD], ids=["something to change", "nothing left to change"]
)
def test_a_branch_that_a_person_worked_on_is_left_alone(
    folder: Path, steps: list[tuple[str, ...]], content: bytes
) -> None:
    published(folder)
    work_on(folder, PROPOSED.branch, *steps)
    their_head = run(folder, "rev-parse", PROPOSED.branch)
    publish_result = published(
        folder, replace(PROPOSED, fingerprint="abababab" + "cd" * 28, files={PATH: content})
    )
    assert (publish_result.operation, publish_result.head_sha) == (
        PullRequestOperation.NONE,
        their_head,
    )
    assert "left alone" in publish_result.reason
    assert run(folder, "rev-parse", PROPOSED.branch) == their_head


@pytest.mark.parametrize("ahead", [False, True], ids=["equal to main", "ahead of main"])
def test_a_branch_of_others_is_an_error_that_names_the_input(folder: Path, ahead: bool) -> None:
    run(folder, "branch", PROPOSED.branch)
    if ahead:
        work_on(folder, PROPOSED.branch, ("commit", "--quiet", "--allow-empty", "-m", "Mine"))
    their_head = run(folder, "rev-parse", PROPOSED.branch)
    with pytest.raises(PullRequestError, match="name another in the input branch"):
        published(folder)
    assert run(folder, "rev-parse", PROPOSED.branch) == their_head


def test_a_proposal_from_an_older_base_is_not_committed_on_the_newer_one(folder: Path) -> None:
    compared = run(folder, "rev-parse", "main")
    advance_main(folder)
    with pytest.raises(PullRequestError, match="moved while the proposal was made"):
        GitRepository.open(folder).publish(replace(PROPOSED, expected_base=compared), NOW)
    assert run(folder, "branch", "--list", PROPOSED.branch) == ""


def test_a_branch_that_is_checked_out_in_any_worktree_is_not_moved(
    folder: Path, tmp_path: Path
) -> None:
    head = published(folder).head_sha
    run(folder, "worktree", "add", "--quiet", str(tmp_path / "other"), PROPOSED.branch)
    with pytest.raises(PullRequestError, match="checked out"):
        published(
            folder, replace(PROPOSED, fingerprint="abababab" + "cd" * 28, files={PATH: b"[]"})
        )
    assert run(folder, "rev-parse", PROPOSED.branch) == head


def test_a_branch_that_moves_between_reading_and_writing_is_not_overwritten(folder: Path) -> None:
    head = published(folder).head_sha
    repository = GitRepository.open(folder)
    their_commit = run(folder, "commit-tree", f"{head}^{{tree}}", "-p", head, "-m", "Meanwhile")
    run(folder, "update-ref", f"refs/heads/{PROPOSED.branch}", their_commit)
    for before, after in ((head, run(folder, "rev-parse", "main")), (head, None), (None, head)):
        with pytest.raises(PullRequestError, match="changed during the run"):
            repository.move_branch(PROPOSED.branch, before, after)
    assert run(folder, "rev-parse", PROPOSED.branch) == their_commit


def test_a_blocked_branch_name_gives_git_s_reason(folder: Path) -> None:
    run(folder, "branch", "leastpriv")
    with pytest.raises(PullRequestError, match="git update-ref failed"):
        published(folder)


def test_the_base_as_the_branch_is_an_error_sentence(folder: Path) -> None:
    with pytest.raises(PullRequestError, match="The input branch is"):
        published(folder, replace(PROPOSED, branch="main"))


def test_the_base_defaults_to_the_branch_that_is_checked_out(folder: Path) -> None:
    assert published(folder, replace(PROPOSED, base="")).operation is PullRequestOperation.CREATED


def test_without_a_branch_checked_out_the_base_must_be_named(folder: Path) -> None:
    run(folder, "checkout", "--quiet", "--detach")
    with pytest.raises(PullRequestError, match="input base"):
        published(folder, replace(PROPOSED, base=""))
    assert published(folder).operation is PullRequestOperation.CREATED


def test_a_base_that_only_the_remote_has_counts(folder: Path) -> None:
    run(folder, "update-ref", "refs/remotes/origin/release", "main")
    assert published(folder, replace(PROPOSED, base="release")).base_sha == run(
        folder, "rev-parse", "main"
    )


def test_a_base_that_is_no_branch_is_a_wrong_input(folder: Path) -> None:
    with pytest.raises(PullRequestError, match="input base") as raised:
        published(folder, replace(PROPOSED, base="nowhere"))
    assert raised.value.exit_code == 2


def test_a_repository_without_a_commit_is_an_error(tmp_path: Path) -> None:
    run(tmp_path, "init", "--quiet", "--initial-branch=main")
    with pytest.raises(PullRequestError, match="no commit"):
        published(tmp_path)


@pytest.mark.parametrize("below", [False, True])
def test_a_folder_that_is_not_the_root_of_a_repository_is_an_error(
    folder: Path, tmp_path: Path, below: bool
) -> None:
    (tmp_path / "plain").mkdir()
    with pytest.raises(PullRequestError, match="not the root of a git repository"):
        GitRepository.open(folder / "iam" if below else tmp_path / "plain")


def test_without_git_the_error_names_the_remedy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(PullRequestError, match="use mode report"):
        GitRepository.open(folder)


IRREGULAR = (
    "link.json",
    "linked/x.json",
    "submodule",
    "submodule/x.json",
    "iam",
    "README.md/x.json",
)
OUTSIDE = ("../x.json", "/etc/x.json", "a/.Git/x.json", "")


@pytest.mark.parametrize("path", IRREGULAR + OUTSIDE)
def test_only_regular_files_inside_the_repository_are_written(folder: Path, path: str) -> None:
    link = run(folder, "hash-object", "-w", "--stdin", given="iam")
    for entry in (
        f"120000,{link},link.json",
        f"120000,{link},linked",
        f"160000,{'1' * 40},submodule",
    ):
        run(folder, "update-index", "--add", "--cacheinfo", entry)
    run(folder, "commit", "--quiet", "-m", "Odd entries")
    with pytest.raises(PullRequestError, match="path"):
        published(folder, replace(PROPOSED, path=path, files={path: NEW}))
    assert run(folder, "branch", "--list", "leastpriv/*") == ""


def test_an_executable_file_keeps_its_mode_and_a_new_file_is_not_executable(folder: Path) -> None:
    run(folder, "update-index", "--chmod=+x", PROPOSED.path)
    run(folder, "commit", "--quiet", "-m", "Executable")
    first = published(folder).head_sha
    second = published(
        folder,
        replace(PROPOSED, branch="leastpriv/new", path="a/b/new.json", files={"a/b/new.json": NEW}),
    ).head_sha
    assert run(folder, "ls-tree", first, PROPOSED.path).startswith("100755 blob")
    assert run(folder, "ls-tree", second, "a/b/new.json").startswith("100644 blob")
    assert run(folder, "diff", "--name-status", "main", second) == "A\ta/b/new.json"


def test_an_absent_file_is_none_and_an_empty_one_is_not(folder: Path) -> None:
    repository = GitRepository.open(folder)
    head = published(folder, replace(PROPOSED, files={PATH: b""})).head_sha
    assert repository.read(head, PROPOSED.path) == b""
    assert repository.read(head, "iam/none.json") is None
    assert repository.read(head, "none/none.json") is None


def test_hooks_and_configuration_of_the_repository_run_nothing(
    folder: Path, tmp_path: Path
) -> None:
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    for hook in ("reference-transaction", "post-index-change", "pre-auto-gc", "post-rewrite"):
        shutil.copy(trap, folder / ".git/hooks" / hook)
    for key in (
        "core.fsmonitor",
        "core.pager",
        "gpg.program",
        "filter.x.clean",
        "core.sshCommand",
        "core.editor",
    ):
        run(folder, "config", key, str(trap))
    run(folder, "config", "commit.gpgSign", "true")
    (folder / ".git/info/attributes").write_text("*.json filter=x\n")
    (tmp_path / "sprung").unlink(
        missing_ok=True
    )  # preparing the repository may run the hook already
    published(folder)
    assert not (tmp_path / "sprung").exists()


def test_a_git_program_of_the_checkout_is_not_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job's PATH often begins with a folder of the checkout, as `node_modules/.bin`."""
    tools = folder / "node_modules/.bin"
    tools.mkdir(parents=True)
    (tools / "git").write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    (tools / "git").chmod(0o755)
    monkeypatch.chdir(tools)
    monkeypatch.setenv("PATH", os.pathsep.join((str(tools), ".", os.environ["PATH"])))
    published(folder)
    assert not (tmp_path / "sprung").exists()


def test_no_command_of_a_remote_is_run_by_an_older_git(folder: Path, tmp_path: Path) -> None:
    """Git before 2.45 knows no GIT_NO_LAZY_FETCH, and fetches what a partial clone lacks."""
    git = tmp_path / "git"
    git.write_text(f'#!/bin/sh\nunset GIT_NO_LAZY_FETCH\nexec {shutil.which("git")} "$@"\n')
    git.chmod(0o755)
    blob = run(folder, "rev-parse", f"main:{PATH}").strip()
    (folder / ".git/objects" / blob[:2] / blob[2:]).unlink()
    for key, value in {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "protocol.ext.allow": "always",
        "remote.origin.promisor": "true",
        "remote.origin.url": f"ext::touch {tmp_path}/sprung",
    }.items():
        run(folder, "config", key, value)
    repository = GitRepository(GitProgram(folder, str(git)))
    with pytest.raises(PullRequestError):
        repository.read(repository.branch_head("main").commit, PATH)
    assert not (tmp_path / "sprung").exists()


@pytest.fixture
def readable() -> Iterator[Path]:
    """Make a folder that other users can access, as the runner's workspace is."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_leaves_no_file_that_the_owner_of_the_checkout_cannot_remove(
    folder: Path, readable: Path
) -> None:
    checkout = readable / "checkout"
    shutil.copytree(folder, checkout)
    for path in (checkout, *checkout.rglob("*")):
        os.chown(path, 12345, 12345)
    assert published(checkout).operation is PullRequestOperation.CREATED
    assert {path.stat().st_uid for path in (checkout, *checkout.rglob("*"))} == {12345}


HOSTILE = st.lists(
    st.sampled_from(list("aB \n\r:@#1[]-\u2028\u202e\0<>"))
    | st.sampled_from(
        ["\n\n", "[skip ci]", "Co-authored-by: x <x@y.z>", "Leastpriv-Fingerprint: " + "cd" * 32]
    ),
    max_size=30,
).map("".join)


@given(HOSTILE)
def test_no_title_adds_a_trailer_or_a_second_fingerprint(title: str) -> None:
    message = commit_message(replace(PROPOSED, title=title))
    first, second, message_body = (message + "\n\n").split("\n", 2)
    assert first.strip()
    assert second == ""
    assert (
        message.rstrip("\n").split("\n\n")[-1] == f"Leastpriv-Fingerprint: {PROPOSED.fingerprint}"
    )
    assert "[skip ci]" not in message
    assert "\r" not in message_body
    assert "\0" not in message


@examples(15)
@given(HOSTILE)
def test_git_reads_exactly_one_trailer_from_hostile_text(title: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        message = commit_message(replace(PROPOSED, title=title))
        read = run(Path(name), "interpret-trailers", "--parse", given=message)
    assert read == f"Leastpriv-Fingerprint: {PROPOSED.fingerprint}"


@pytest.mark.parametrize(
    "word",
    [
        "@octo",
        "#12",
        "org/repo#12",
        "GH-3",
        "/issues/5",
        "[CI skip]",
        "[no ci]",
        "skip-checks: true",
    ],
)
def test_mentions_and_skip_instructions_in_a_message_are_disabled(word: str) -> None:
    message = commit_message(replace(PROPOSED, title=f"line\n{word}"))
    assert word not in message
    assert word in message.replace("\u200b", "")


@examples(25)
@given(
    st.binary(max_size=200),
    st.lists(
        st.text("ab-_. \u00e9", min_size=1, max_size=5).filter(lambda n: n.strip(".") != ""),
        min_size=1,
        max_size=3,
    ),
)
def test_any_bytes_at_any_path_are_read_back_unchanged(content: bytes, parts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(folder, "init", "--quiet", "--bare", "--initial-branch=main")
        tree = run(folder, "mktree")
        run(
            folder, "update-ref", "refs/heads/main", run(folder, "commit-tree", tree, "-m", "First")
        )
        path = "/".join(parts)
        publish_result = published(folder, replace(PROPOSED, path=path, files={path: content}))
        assert GitRepository.open(folder).read(publish_result.head_sha, path) == content
        run(folder, "fsck", "--strict")


def test_a_first_draft_without_an_action_creates_no_file(folder: Path) -> None:
    publish_result = published(folder, replace(PROPOSED, path="iam/new.json", files={}))
    assert (publish_result.operation, run(folder, "branch", "--list", PROPOSED.branch)) == (
        PullRequestOperation.NONE,
        "",
    )


def test_the_branch_of_another_policy_file_is_not_overwritten(folder: Path) -> None:
    head = published(folder).head_sha
    with pytest.raises(PullRequestError, match="another role or policy file"):
        published(
            folder,
            replace(
                PROPOSED,
                fingerprint="cd" * 32,
                path="iam/other.json",
                files={"iam/other.json": NEW},
            ),
        )
    assert run(folder, "rev-parse", PROPOSED.branch) == head


def test_a_file_changed_at_the_time_of_its_newest_commit(folder: Path) -> None:
    repository = GitRepository.open(folder)
    head = repository.branch_head().commit
    dated = int(run(folder, "log", "-1", "--format=%ct", "--", PROPOSED.path))
    run(
        folder,
        "commit",
        "--quiet",
        "--allow-empty",
        "-m",
        "Later",
        "--date",
        "2030-01-01T00:00:00Z",
    )
    assert repository.last_changed(
        repository.branch_head().commit, PROPOSED.path
    ) == datetime.fromtimestamp(dated, UTC)
    assert repository.last_changed(head, "iam/none.json") is None
    assert repository.last_changed("refs/heads/none", PROPOSED.path) is None


def test_a_merged_change_counts_from_its_merge(folder: Path) -> None:
    """A proposal may wait for weeks, in which calls are made under the old policy."""
    published(folder)
    merged = datetime(2030, 3, 1, tzinfo=UTC)
    run(
        folder,
        "commit",
        "--quiet",
        "--allow-empty",
        "-m",
        "Moved on",
        at=datetime(2030, 2, 1, tzinfo=UTC),
    )
    run(folder, "merge", "--quiet", "--no-ff", "-m", "Merge", PROPOSED.branch, at=merged)
    repository = GitRepository.open(folder)
    assert repository.last_changed(repository.branch_head().commit, PROPOSED.path) == merged


def test_a_file_is_read_as_of_a_time_or_in_its_first_version(folder: Path) -> None:
    """By the dates of the commits: rebased commits may come before younger ones."""
    repository = GitRepository.open(folder)
    first = (folder / PROPOSED.path).read_bytes()
    committed_at = datetime.fromtimestamp(
        int(run(folder, "log", "--format=%ct", "--reverse", "--", PROPOSED.path)[:10]), UTC
    )
    for days, text in ((10, "ten"), (20, "twenty")):
        (folder / PROPOSED.path).write_text(text)
        run(folder, "commit", "--quiet", "-am", text, at=committed_at + timedelta(days=days))
    head = repository.branch_head().commit

    def at(days: int) -> bytes | None:
        return repository.read_at(head, PROPOSED.path, committed_at + timedelta(days=days))

    assert [at(-5), at(5), at(15), at(25)] == [first, first, b"ten", b"twenty"]
    assert repository.read_at(head, "iam/none.json", committed_at) is None


def test_a_file_is_read_as_of_a_time_under_its_earlier_name(folder: Path) -> None:
    repository = GitRepository.open(folder)
    first = (folder / PROPOSED.path).read_bytes()
    committed_at = datetime.fromtimestamp(int(run(folder, "log", "-1", "--format=%ct")[:10]), UTC)
    for days, name in ((10, "policies/b c.json"), (20, "policies/\N{SNOWMAN}.json")):
        (folder / name).parent.mkdir(exist_ok=True)
        before = PROPOSED.path if days == 10 else "policies/b c.json"
        run(folder, "mv", before, name)
        run(folder, "commit", "--quiet", "-m", "Move", at=committed_at + timedelta(days=days))
    head = repository.branch_head().commit
    moved = "policies/\N{SNOWMAN}.json"
    assert repository.earlier_names(head, moved) == ("policies/b c.json", PROPOSED.path)
    assert repository.earlier_names(head, "README.md") == ()
    assert repository.earlier_names(head, "none.json") == ()
    assert repository.read_at(head, moved, committed_at + timedelta(days=1)) == first
    assert repository.read_at(head, moved, committed_at + timedelta(days=15)) == first
    assert repository.read_at(head, moved, committed_at - timedelta(days=9)) == first


@pytest.mark.parametrize(
    "name", [":(top)ci.json", ":(exclude)ci.json", ":!ci.json", ":/ci.json", "*.json", "[io]*.json"]
)
def test_a_path_is_no_pattern(folder: Path, name: str) -> None:
    """Git reads `:(` and wildcards in a path as a pattern unless it is told not to."""
    repository = GitRepository.open(folder)
    committed_at = datetime.fromtimestamp(int(run(folder, "log", "-1", "--format=%ct")[:10]), UTC)
    for days, text in ((10, "ten"), (20, "twenty")):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        run(folder, "--literal-pathspecs", "add", name)
        run(folder, "commit", "--quiet", "-m", text, at=committed_at + timedelta(days=days))
    (folder / "iam/other.json").write_text("later")
    run(folder, "commit", "--quiet", "-am", "Later", at=committed_at + timedelta(days=30))
    head = repository.branch_head().commit
    assert repository.last_changed(head, name) == committed_at + timedelta(days=20)
    assert repository.read_at(head, name, committed_at + timedelta(days=15)) == b"ten"
    proposed = replace(PROPOSED, path=name, files={name: NEW})
    assert published(folder, proposed).operation is PullRequestOperation.CREATED
    assert run(folder, "--literal-pathspecs", "diff", "--stat", head, PROPOSED.branch, "--", name)
    run(folder, "mv", name, "iam/moved.json")
    run(folder, "commit", "--quiet", "-m", "Move", at=committed_at + timedelta(days=40))
    moved = repository.branch_head().commit
    assert repository.earlier_names(moved, "iam/moved.json") == (name,)
    assert repository.read_at(moved, "iam/moved.json", committed_at + timedelta(days=15)) == b"ten"


def test_the_branch_of_a_moved_policy_file_goes_on(folder: Path) -> None:
    published(folder)
    former = replace(PROPOSED, title="x").policy
    digest = "cd" * 32
    moved = replace(
        PROPOSED,
        fingerprint=digest,
        path="iam/moved.json",
        files={"iam/moved.json": NEW},
        formers=(former,),
    )
    assert published(folder, moved).operation is PullRequestOperation.UPDATED
    assert published(folder, moved).operation is PullRequestOperation.NONE
