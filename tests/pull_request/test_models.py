"""Branch names are valid as in git, and a body keeps the ids of its changes."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.models import Permission
from leastpriv.pull_request.lifecycle import (
    body_fingerprint,
    controls_section,
    declined_changes,
    proposed_additions,
)
from leastpriv.pull_request.models import (
    Publication,
    PublishResult,
    PullRequestOperation,
    PullRequestOptions,
    commit_message,
    is_branch_name,
    pull_request_outputs,
)

PIECES = [
    "a",
    "feature",
    "/",
    "//",
    ".",
    "..",
    ".lock",
    "@",
    "@{",
    "~",
    "^",
    ":",
    "?",
    "*",
    "[",
    "\\",
    " ",
    "-",
    "é",
]


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join))
def test_branch_names_are_valid_exactly_if_git_accepts_them(name: str) -> None:
    completed = subprocess.run(
        ["git", "check-ref-format", f"refs/heads/{name}"], capture_output=True, check=False
    )
    # An option, and a synonym of HEAD, which git accepts only as names of references.
    assert is_branch_name(name) == (
        completed.returncode == 0 and not name.startswith("-") and name != "@"
    )


@pytest.mark.parametrize("name", ["", "HEAD", "-x", "a\u202eb", "a\nb", "a/", "/a", "a.lock/b"])
def test_branch_names_with_invisible_characters_are_invalid(name: str) -> None:
    assert not is_branch_name(name)


@given(
    st.lists(st.from_regex(r"[0-9a-f]{12}", fullmatch=True) | st.just("first-draft"), max_size=30)
)
def test_ids_of_changes_are_read_back_from_the_body(ids: list[str]) -> None:
    body = f"text\n<!-- leastpriv v=1 version=1 fingerprint=abcdef01 -->\n{controls_section(ids)}"
    assert declined_changes(body) == tuple(ids)
    assert body_fingerprint(body) == "abcdef01"


def test_thousands_of_changes_fit_the_body() -> None:
    assert len(controls_section(["0123456789ab"] * 100_000)) < 25_000


def test_a_body_without_markers_has_no_changes_and_no_fingerprint() -> None:
    assert (declined_changes("<!-- other -->"), body_fingerprint("")) == ((), "")


def test_outputs_name_the_pull_request_only_where_there_is_one() -> None:
    outputs = pull_request_outputs(
        PublishResult(
            PullRequestOperation.CREATED, "b", "c0ffee", "ba5e", number=7, url="https://x/pull/7"
        )
    )
    assert (outputs["pull-request-number"], outputs["pull-request-url"]) == (
        "7",
        "https://x/pull/7",
    )
    declined = pull_request_outputs(
        PublishResult(PullRequestOperation.NONE, "b", "", "ba5e", "It was declined.", number=7)
    )
    assert (declined["pull-request-number"], declined["pull-request-operation"]) == ("", "none")
    assert set(pull_request_outputs(None).values()) == {"", "none"}


@pytest.mark.parametrize(
    ("given", "first"),
    [("", "iam(ci): 9 -> 4 actions"), ("chore(iam): narrow ci", "chore(iam): narrow ci")],
)
def test_the_first_line_of_a_commit_is_the_title_or_that_of_the_settings(
    given: str, first: str
) -> None:
    publication = Publication(
        branch="leastpriv/ci",
        base="main",
        path="ci.json",
        files={},
        title="iam(ci): 9 -> 4 actions",
        fingerprint="0123abcd",
        options=PullRequestOptions(commit_title=given),
    )
    assert commit_message(publication).splitlines()[0] == first


def test_a_body_names_its_additions_and_untrusted_names_end_no_comment() -> None:
    additions = (
        Permission("sqs:SendMessage", "arn:aws:sqs:eu-west-1:111122223333:orders-*"),
        Permission("s3:GetObject", "arn:aws:s3:::b/--> @kim #12 <b>=x é\n"),
    )
    text = controls_section(["0123456789ab"], additions=additions)
    assert proposed_additions(text) == additions
    [line] = [body_line for body_line in text.splitlines() if "leastpriv:additions" in body_line]
    assert line.count("-->") == 1
    assert not {"@", "#", "é"} & set(line)
    assert "<b>" not in line
    assert declined_changes(text) == ("0123456789ab",)


def test_a_long_list_of_additions_is_named_in_part() -> None:
    additions = [Permission("s3:GetObject", f"arn:aws:s3:::{'b' * 500}/{n}") for n in range(99)]
    text = controls_section([], additions=additions)
    assert len(text) < 13_000
    assert proposed_additions(text) == tuple(additions[:18])


@pytest.mark.parametrize("body", ["", "<!-- leastpriv:additions v=1  -->", "text"])
def test_a_body_without_additions_names_none(body: str) -> None:
    assert proposed_additions(body) == ()
