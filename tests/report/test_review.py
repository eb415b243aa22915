"""The comment on a person's edit: the verdict first, one marker last, and inert names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.permissions.patterns import BUILD_STEP_NAME
from leastpriv.proposal.models import GuardResult
from leastpriv.report.context import ReviewContext
from leastpriv.report.review import review_body, review_marker, review_title
from leastpriv.report.review_verdict import review_first_screen
from leastpriv.report.screen_models import markdown
from tests.fakes.deploys import CREATE_QUEUE, POLICY, UPDATE, deploys, usual_deploys
from tests.fakes.markdown import HOSTILE, read, table_widths
from tests.fakes.replace import replace
from tests.fakes.reviews import reviewed
from tests.hypothesis_profiles import examples

LIMIT = 58_000

MARKER = re.compile(r"<!-- leastpriv:review v=1 scope=[0-9a-f]{12} -->")


def edited(**fields: object) -> dict[str, Any]:
    """The policy with other fields in its statement `Queues`."""
    statements = [
        {**statement, **fields} if statement["Sid"] == "Queues" else statement
        for statement in POLICY["Statement"]
    ]
    return {**POLICY, "Statement": statements}


@pytest.fixture(scope="module")
def breaking(tmp_path_factory: pytest.TempPathFactory) -> ReviewContext:
    """A used action is removed, and another one is added."""
    return reviewed(
        tmp_path_factory.mktemp("breaking"),
        POLICY,
        edited(Action="sqs:SendMessage"),
        usual_deploys(),
    )


def verdict(context: ReviewContext) -> str:
    return markdown(review_first_screen(context)).partition("\n\n")[0]


def test_the_first_screen_answers_and_the_folds_have_the_rest(breaking: ReviewContext) -> None:
    first, _, folds = review_body(breaking).partition("<details>")
    assert first.startswith(
        "> [!CAUTION]\n> **Do not merge.** After this edit of `iam/ci-deploy.json`, 6 recorded calls of"
        " `ci-deploy` in 35 days and 6 runs would be denied: such a deploy would fail. It also"
        " gives new access without evidence. ([about reviews]("
    )
    assert re.findall(r"^- \*\*(.+?)\*\*", first, re.MULTILINE) == ["Replay:"]
    rows = re.findall(r"^\| (removes|adds) (.+) \|$", first, re.MULTILINE)
    assert [verb for verb, _ in rows] == ["removes", "adds", "removes"]
    assert re.fullmatch(
        r"`sqs:CreateQueue` \| .+ \| \[used 6×\]\(.+\) \| \*\*denied\*\*", rows[0][1]
    )
    assert rows[1][1].endswith(" | none | **new access**")
    assert len(first.split()) <= 250
    assert re.findall(r"^#### (.+)$", folds, re.MULTILINE) == [
        "Removes what was used",
        "Removes without a recorded use",
        "Adds",
    ]
    assert [
        title.partition(":")[0]
        for title in re.findall("<summary>(.+?)</summary>", f"<details>{folds}")
    ] == [
        "Changes",
        "Could not be seen",
        "Replay",
    ]


def test_the_replay_says_how_many_calls_and_what_is_not_evaluated(breaking: ReviewContext) -> None:
    text = review_body(breaking)
    assert (
        "- **6 of 12** successful calls are allowed by this version. Not evaluated: 1 call that AWS"
        " denied. SCPs, permissions boundaries and resource policies are not evaluated.\n- The base allows 12 of 12.\n- **6 calls would"
        " be denied after this edit**: `sqs.amazonaws.com:CreateQueue`." in text
    )


@pytest.mark.parametrize(
    ("head", "title"),
    [
        (edited(Action="sqs:PurgeQueue"), "denies 6 recorded calls"),
        (
            edited(Action=["sqs:CreateQueue", "sqs:PurgeQueue", "sqs:SendMessage"]),
            "new access without evidence",
        ),
        (edited(Action="sqs:CreateQueue"), "allows less"),
        (edited(Sid="Renamed"), "no change of permissions"),
    ],
)
def test_the_title_has_the_verdict_and_the_roles_name(
    tmp_path: Path, head: Mapping[str, Any], title: str
) -> None:
    context = reviewed(tmp_path, POLICY, head, usual_deploys())
    assert review_title(context) == f"Policy review for ci-deploy: {title}"


def test_a_call_that_may_be_denied_weakens_the_verdict(tmp_path: Path) -> None:
    head = edited(Condition={"Bool": {"aws:SecureTransport": "true"}})
    context = reviewed(tmp_path, POLICY, head, usual_deploys())
    screen = markdown(review_first_screen(context))
    assert screen.startswith("> [!WARNING]\n> **Rehearse first, then merge.**")
    assert "would be denied for sure." in screen
    assert "**Not sure:** 6 recorded calls may be denied" in screen


def test_the_verdict_mentions_evidence_without_a_call(tmp_path: Path) -> None:
    sentence = verdict(reviewed(tmp_path, POLICY, edited(Action="sqs:PurgeQueue")))
    assert sentence.startswith(
        "> [!NOTE]\n> **No evidence.** No call of `arn:aws:iam::111122223333:role/ci-deploy` is"
        " among"
    )


def test_calls_that_neither_version_allows_are_listed_separately(tmp_path: Path) -> None:
    text = review_body(
        reviewed(
            tmp_path,
            edited(Action="sqs:PurgeQueue"),
            edited(Action="sqs:TagQueue"),
            usual_deploys(),
        )
    )
    assert "- 6 calls by neither version: another policy of the role must have allowed them" in text
    assert "would be denied after this edit" not in text


def test_new_and_deleted_files_are_marked(tmp_path: Path) -> None:
    assert "`iam/ci-deploy.json` (new)" in verdict(
        reviewed(tmp_path / "new", None, POLICY, usual_deploys())
    )
    assert "`iam/ci-deploy.json` (deleted)" in verdict(
        reviewed(tmp_path / "gone", POLICY, None, usual_deploys())
    )


def test_witnesses_of_containment_are_shown(breaking: ReviewContext) -> None:
    context = replace(breaking, review=replace(breaking.review, new_access=("sqs:* on *",)))
    assert "- **new access by containment**: `sqs:* on *`" in review_body(context)


def test_the_marker_is_the_last_line(breaking: ReviewContext) -> None:
    mark = review_marker(breaking.principal, breaking.policy_file)
    assert review_body(breaking).splitlines()[-1] == mark
    assert (
        review_marker(breaking.principal, "iam/other.json")
        != mark
        != review_marker("arn:aws:iam::1:role/x", breaking.policy_file)
    )


def hostile_policy(texts: list[str], entries: int, *, excludes: bool = True) -> dict[str, Any]:
    """Statements with hostile text in every field, some with `NotAction` and `NotResource`."""
    texts_in_turn = cycle(texts)
    statements: list[dict[str, Any]] = []
    for number in range(entries):
        sid, actions = (
            next(texts_in_turn),
            ["sqs:CreateQueue", f"x{next(texts_in_turn)}", f"sqs:{next(texts_in_turn)}"],
        )
        # A name for a build step in NotAction is bad input.
        is_plain = not any(map(BUILD_STEP_NAME.search, actions))
        statement: dict[str, Any] = {
            "Sid": sid,
            "Effect": "Deny" if number % 3 == 2 else "Allow",
            "NotAction" if excludes and number % 5 == 4 and is_plain else "Action": actions,
            "NotResource" if excludes and number % 4 == 3 else "Resource": [
                f"arn:aws:sqs:::{next(texts_in_turn)}",
                next(texts_in_turn),
            ],
        }
        if number % 2:
            statement["Condition"] = {
                f"StringEquals{next(texts_in_turn)}": {
                    next(texts_in_turn): [next(texts_in_turn), next(texts_in_turn)]
                }
            }
        if number % 7 == 6:
            statement["Condition"] = {next(texts_in_turn): None}
        statements.append(statement)
    return {"Version": "2012-10-17", "Statement": statements}


def acts_beyond_its_own(text: str) -> set[str]:
    """Active content of a page except its marker and the links to runs."""
    page = read(text)
    run_links = {
        link
        for link in page.links
        if re.fullmatch(r"https://github.com/octo-org/shop/actions/runs/1765\d+", link)
    }
    assert MARKER.fullmatch(page.html[-1].strip())
    assert all(
        re.fullmatch(r"<details><summary>[^<>]+</summary>|</details>", html.strip())
        for html in page.html[:-1]
    )
    return set(page.acts()) - run_links - set(page.html)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> ReviewContext:
    """Names of objects, statements, actions, resources, conditions, events and the file are
    hostile.
    """
    puts = [
        {
            "event": "s3:PutObject",
            "data": True,
            "parameters": {"bucketName": "shop", "key": text},
            "resources": [f"arn:aws:s3:::shop/{text}"],
        }
        for text in HOSTILE
    ]
    events = [{"event": f"lambda:{text}"} for text in HOSTILE]
    grant = {
        "Sid": HOSTILE[1],
        "Effect": "Allow",
        "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::shop/*",
    }
    names = [text for text in HOSTILE if text != "*"]
    unedited = hostile_policy(names, 40, excludes=False)
    base = {**unedited, "Statement": [*unedited["Statement"], *POLICY["Statement"], grant]}
    head = hostile_policy(names[::-1], 30, excludes=False)
    return reviewed(
        tmp_path_factory.mktemp("hostile"),
        base,
        head,
        [*deploys([UPDATE, CREATE_QUEUE, *puts, *events]), *usual_deploys()],
        path="iam/" + "".join(HOSTILE[:12]),
    )


def test_hostile_names_are_inert(hostile: ReviewContext) -> None:
    text = review_body(hostile)
    assert acts_beyond_its_own(f"# {review_title(hostile)}\n\n{text}") == set()
    assert read(text).links
    assert text.count("<!--") == 1
    assert all(len(numbers) == 1 for numbers in table_widths(text))
    assert MARKER.fullmatch(text.splitlines()[-1])


def test_reasons_that_quote_hostile_names_are_inert(breaking: ReviewContext) -> None:
    """A guard's reason quotes events and files; an addition's reason quotes the user's patterns."""
    reasons = {GuardResult("gap-in-scope", f"unmapped-event: {text}"): (text,) for text in HOSTILE}
    removals = tuple(replace(removal, unseen=reasons) for removal in breaking.review.removals)
    forbidden = {f"it matches {text} of never-add": (text,) for text in HOSTILE}
    additions = tuple(
        replace(addition, forbidden=forbidden, sensitive=forbidden)
        for addition in breaking.review.additions
    )
    text = review_body(
        replace(breaking, review=replace(breaking.review, removals=removals, additions=additions))
    )
    assert acts_beyond_its_own(text) == set()
    assert all(len(numbers) == 1 for numbers in table_widths(text))
    assert read(text).codes.count("gap-in-scope") == len(HOSTILE)


def test_hostile_names_reach_every_section(hostile: ReviewContext) -> None:
    """The reviewer must see what an attacker wrote."""
    sections = {
        part.partition("\n")[0]: part for part in review_body(hostile, 500_000).split("\n#### ")
    }
    for section in (
        "Removes what was used",
        "Removes without a recorded use",
        "Adds",
        "Conditions and Deny",
    ):
        assert "evil.example" in "\n".join(read(sections[section]).codes), section


TEXTS = st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=30)), min_size=3, max_size=12)


@examples(40, fast=4)
@given(TEXTS, TEXTS, st.integers(1, 8))
def test_untrusted_text_of_either_version_is_inert(
    tmp_path_factory: pytest.TempPathFactory, old: list[str], new: list[str], entries: int
) -> None:
    context = reviewed(
        tmp_path_factory.mktemp("any"),
        hostile_policy(old, entries),
        hostile_policy(new, entries),
        path=old[0],
    )
    text = review_body(context)
    assert acts_beyond_its_own(text) == set()
    assert all(len(numbers) == 1 for numbers in table_widths(text))
    assert MARKER.fullmatch(text.splitlines()[-1])
    assert len(text) <= LIMIT


def test_thousands_of_entries_fit_a_comment_with_complete_verdict_and_replay(
    tmp_path: Path, breaking: ReviewContext
) -> None:
    def policy(name: str) -> dict[str, Any]:
        statements = [
            {
                "Sid": f"{name}{number}",
                "Effect": "Deny" if number % 3 == 2 else "Allow",
                "Action": ["sqs:TagQueue", "iam:PassRole"],
                "Resource": f"arn:aws:iam::111122223333:{name}/{number}/{'x' * 200}",
            }
            for number in range(500)
        ]
        return {**POLICY, "Statement": statements}

    context = reviewed(tmp_path, policy("old"), policy("new"), usual_deploys())
    text = review_body(context)
    assert LIMIT * 0.8 < len(text) <= LIMIT
    assert text.startswith(f"{verdict(context)}\n\n")
    assert "more lines are in the job's summary" in text
    assert text[text.index("<details><summary>Replay") :] in review_body(context, 10_000_000)
    assert MARKER.fullmatch(text.splitlines()[-1])
