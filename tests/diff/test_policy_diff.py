"""Differences of two policy versions: none for another form, one for every changed decision."""

from __future__ import annotations

import json
import random
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.diff.policy_diff import PolicyDiff, diff_policies
from leastpriv.errors import PolicyFileError
from leastpriv.policy.document import Document, parse
from leastpriv.policy.evaluate import Request, evaluate
from tests.fakes.policies import rewritten
from tests.hypothesis_profiles import sampled

QUEUE = "arn:aws:sqs:eu-west-1:111122223333:orders"
ACTIONS = ("sqs:CreateQueue", "sqs:DeleteQueue", "sqs:TagQueue", "sns:CreateTopic")
NAMES = (QUEUE, f"{QUEUE}-dead", "arn:aws:sns:eu-west-1:111122223333:orders")
REGIONS = ("eu-west-1", "us-east-1")
SOME_ACTIONS = st.lists(
    st.sampled_from([*ACTIONS, "sqs:*Queue", "s*:Create*", "SQS:tagqueue", "*"]),
    min_size=1,
    max_size=3,
)
SOME_RESOURCES = st.lists(
    st.sampled_from([*NAMES, f"{QUEUE}*", "arn:aws:s?s:*", "*"]), min_size=1, max_size=2
)
CONDITIONS = st.sampled_from(
    [
        None,
        {"StringEquals": {"aws:RequestedRegion": "eu-west-1"}},
        {"StringEquals": {"aws:RequestedRegion": ["us-east-1", "eu-west-1"]}},
        {"StringNotEquals": {"aws:RequestedRegion": "eu-west-1"}},
        {"StringEqualsIfExists": {"aws:requestedregion": "eu-west-1"}},
    ]
)


@st.composite
def statements(
    draw: st.DrawFn, actions: st.SearchStrategy[list[str]] | None = None
) -> dict[str, Any]:
    """Draws a statement in any form of the policy language; with `actions`, only with such
    actions.
    """
    drawn: dict[str, Any] = {"Effect": draw(st.sampled_from(["Allow", "Allow", "Deny"]))}
    action_key = (
        draw(st.sampled_from(["Action", "Action", "NotAction"])) if actions is None else "Action"
    )
    drawn[action_key] = draw(SOME_ACTIONS if actions is None else actions)
    drawn[draw(st.sampled_from(["Resource", "Resource", "NotResource"]))] = draw(SOME_RESOURCES)
    condition = draw(CONDITIONS)
    return {**drawn, "Condition": condition} if condition else drawn


POLICIES = st.lists(statements(), min_size=1, max_size=3)
OF_TWO_SERVICES = st.lists(
    statements(
        st.lists(
            st.sampled_from([*ACTIONS, "sqs:*Queue", "sqs:*", "sns:Create*"]),
            min_size=1,
            max_size=3,
        )
    ),
    min_size=1,
    max_size=3,
)
"""Excludes grants of all actions, which make each example slow."""


def document(found: object) -> Document:
    return parse(json.dumps({"Version": "2012-10-17", "Statement": found}).encode(), "p.json")


def compared(before: object, after: object, *attached: object) -> PolicyDiff:
    return diff_policies(
        document(before), document(after), [document(statement) for statement in attached]
    )


def decided(policy: Document, action: str, resource: str, region: str) -> str:
    context = {"aws:RequestedRegion": (region,)}
    return evaluate(Request(action, resource, context, context_complete=True), [policy]).effect


def wider(found: PolicyDiff) -> set[str]:
    """Returns actions that the differences show as allowed in more cases than before."""
    changed = [edit.actions for edit in (*found.added, *found.denies_removed)]
    changed += [edit.actions for edit in found.conditions if edit.widens]
    return {action for actions in changed for action in actions}


def narrower(found: PolicyDiff) -> set[str]:
    """Returns actions that the differences show as allowed in fewer cases than before."""
    changed = [edit.actions for edit in (*found.removed, *found.denies_added)]
    changed += [
        edit.actions
        for edit in found.conditions
        if (edit.stricter if edit.effect == "Allow" else edit.looser)
    ]
    return {action for actions in changed for action in actions}


@given(POLICIES, POLICIES)
def test_every_changed_decision_has_a_difference(before: Any, after: Any) -> None:
    """In any form of both versions, an action that gains or loses access is in a difference."""
    old, new = document(before), document(after)
    difference = diff_policies(old, new)
    for action, resource, region in product(ACTIONS, NAMES, REGIONS):
        if action.partition(":")[0] != resource.split(":")[2]:
            continue
        then, now = decided(old, action, resource, region), decided(new, action, resource, region)
        if now == "allowed" and then != "allowed":
            assert action in wider(difference)
        if then == "allowed" and now != "allowed":
            assert action in narrower(difference)


@given(POLICIES, st.randoms())
def test_another_form_of_the_same_policy_has_no_difference(
    policy: Any, chance: random.Random
) -> None:
    text = rewritten({"Version": "2012-10-17", "Statement": policy}, chance)
    difference = diff_policies(document(policy), parse(text.encode(), "p.json"))
    assert difference == PolicyDiff((), (), (), (), ())


def test_another_form_of_a_real_policy_has_no_difference(shared_folder: Path) -> None:
    paths = sorted((shared_folder / "corpus" / "policies").glob("*.json"))
    policies = [(path.name, parsed) for path in paths if (parsed := read_policy(path))]
    assert len(policies) >= 100
    for name, policy in sampled(policies):
        chance = random.Random(name)  # noqa: S311 - no secret
        rewritten_policy = parse(rewritten(json.loads(policy.text), chance).encode(), name)
        assert diff_policies(policy, rewritten_policy) == PolicyDiff((), (), (), (), ()), name


def read_policy(path: Path) -> Document | None:
    """Returns the policy of a file that is only a policy; None for other files."""
    try:
        document = parse(path.read_bytes(), path.name)
    except PolicyFileError:
        return None
    return None if document.pointer else document


@given(POLICIES, POLICIES)
def test_swapped_versions_have_swapped_differences(before: Any, after: Any) -> None:
    forward, back = compared(before, after), compared(after, before)
    assert (forward.added, forward.removed) == (back.removed, back.added)
    assert (forward.denies_added, forward.denies_removed) == (
        back.denies_removed,
        back.denies_added,
    )
    assert {
        (edit.before, edit.after, edit.actions, edit.looser) for edit in forward.conditions
    } == {(edit.after, edit.before, edit.actions, edit.stricter) for edit in back.conditions}


def allow(actions: object, resources: object, **more: object) -> dict[str, object]:
    return {"Effect": "Allow", "Action": actions, "Resource": resources, **more}


def test_an_entry_without_a_counterpart_is_whole_with_its_actions() -> None:
    (edit,) = compared(
        [allow(["sqs:CreateQueue", "sqs:TagQueue"], QUEUE)], [allow("sqs:CreateQueue", QUEUE)]
    ).removed
    assert (edit.entry, edit.only, edit.on, edit.whole) == (
        "sqs:TagQueue",
        ("sqs:TagQueue",),
        (QUEUE,),
        True,
    )


def test_a_wildcard_counts_its_actions_and_names_the_removed_ones() -> None:
    (edit,) = compared([allow("sqs:*agQueue", QUEUE)], [allow("sqs:TagQueue", QUEUE)]).removed
    assert (edit.granted, edit.only, edit.whole) == (2, ("sqs:UntagQueue",), False)


def test_a_narrower_resource_is_reported_with_the_remaining_ones() -> None:
    (edit,) = compared([allow("sqs:TagQueue", "*")], [allow("sqs:TagQueue", QUEUE)]).removed
    assert (edit.partly, edit.on, edit.elsewhere, edit.whole) == (
        ("sqs:TagQueue",),
        ("*",),
        (QUEUE,),
        False,
    )


def test_an_action_kept_on_part_of_its_resources_is_not_removed() -> None:
    (edit,) = compared(
        [allow("sqs:TagQueue", [f"{QUEUE}*", "arn:aws:sqs:us-east-1:*:x"])],
        [allow("sqs:TagQueue", QUEUE)],
    ).removed
    assert (edit.only, edit.partly, edit.elsewhere) == ((), ("sqs:TagQueue",), (QUEUE,))


def test_a_deny_under_more_conditions_and_an_allow_under_fewer_widen() -> None:
    condition = {"Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    always, sometimes = allow("sqs:TagQueue", QUEUE), allow("sqs:TagQueue", QUEUE, **condition)
    for effect, before, after in (("Deny", always, sometimes), ("Allow", sometimes, always)):
        (edit,) = compared([{**before, "Effect": effect}], [{**after, "Effect": effect}]).conditions
        assert edit.widens
        (edit,) = compared([{**after, "Effect": effect}], [{**before, "Effect": effect}]).conditions
        assert not edit.widens


def test_a_wildcard_and_its_list_differ_only_in_future_actions() -> None:
    (edit,) = compared([allow("sqs:Tag*", QUEUE)], [allow("sqs:TagQueue", QUEUE)]).removed
    assert edit.actions == ()
    assert edit.on == (QUEUE,)


def test_an_action_that_the_catalogue_lacks_keeps_the_files_spelling() -> None:
    (edit,) = compared(
        [allow(["sqs:NewThing", "nowhere:Go"], "*")], [allow("NOWHERE:*", "*")]
    ).removed
    assert edit.actions == ("sqs:NewThing",)
    assert compared([allow("sqs:NewThing", "*")], [allow("SQS:newthing", "*")]).removed == ()


def test_a_service_that_the_catalogue_lacks_is_compared_as_text() -> None:
    assert (
        compared([allow("nowhere:*", "*")], [allow("nowhere:G*", "*")]).removed[0].entry
        == "nowhere:*"
    )
    assert compared([allow("nowhere:G*", "*")], [allow("nowhere:*", "*")]).removed == ()


def test_a_statement_that_an_attached_policy_covers_is_no_difference() -> None:
    attached = [allow("sqs:*", "*")]
    assert (
        compared([allow("sqs:TagQueue", QUEUE)], [allow("sns:CreateTopic", "*")], attached).removed
        == ()
    )


def test_statements_that_cover_an_entry_only_together_are_no_difference() -> None:
    """The coverage is that of the proof, which joins wildcards, regions and excluded resources."""
    regions = [
        {"Condition": {"StringEquals": {"aws:RequestedRegion": region}}}
        for region in (list(REGIONS), *REGIONS)
    ]
    for one_statement, parts in (
        (
            allow("sqs:*", "*"),
            [allow("sqs:*", f"{QUEUE}*"), {**allow("sqs:*", ""), "NotResource": f"{QUEUE}*"}],
        ),
        (
            allow("sqs:*", QUEUE, **regions[0]),
            [allow("sqs:*", QUEUE, **region) for region in regions[1:]],
        ),
        (
            allow("sqs:*", QUEUE),
            [allow("sqs:TagQueue", QUEUE), {**allow("", QUEUE), "NotAction": "sqs:TagQueue"}],
        ),
    ):
        nonempty_parts = [{key: value for key, value in part.items() if value} for part in parts]
        difference = compared([one_statement], nonempty_parts)
        assert difference.removed == difference.conditions == ()


@pytest.mark.parametrize(
    ("free", "limited"),
    [
        ([], ["newservice:Do*"]),
        (["sqs:TagQueue"], ["sqs:TagQ*"]),
        (["sqs:TagQueue"], ["sqs:Tag*e"]),
    ],
)
def test_a_condition_that_limits_only_future_actions_is_a_difference(
    free: list[str], limited: list[str]
) -> None:
    condition = {"Condition": {"Bool": {"aws:SecureTransport": "true"}}}
    before = [*([allow(free, "*")] if free else []), allow(limited, "*", **condition)]
    difference = compared(before, [allow(limited, "*")])
    assert (difference.removed, difference.added) == ((), ())
    assert [(edit.actions, edit.widens) for edit in difference.conditions] == [
        (tuple(limited), True)
    ]


def test_an_excluded_resource_with_a_variable_limits_no_other_resource() -> None:
    """No value of the variable makes the exclusion match a queue."""
    home = "arn:aws:s3:::data/${aws:username}/*"
    not_resource = {"Effect": "Allow", "Action": ["sqs:*", "s3:GetObject"], "NotResource": home}
    excluded = {
        "Effect": "Allow",
        "Action": "sqs:*",
        "NotResource": ["arn:aws:s3:::data/*", "arn:aws:sns:*"],
    }
    for before in (allow("sqs:TagQueue", QUEUE), excluded):
        difference = compared([before], [not_resource])
        assert difference.removed == difference.conditions == ()
    assert compared([allow("s3:GetObject", "arn:aws:s3:::data/a/*")], [not_resource]).removed
    limited = {**not_resource, "Condition": {"Bool": {"aws:SecureTransport": "true"}}}
    difference = compared([allow("sqs:TagQueue", QUEUE)], [limited])
    assert (difference.removed, [edit.stricter for edit in difference.conditions]) == ((), [True])


def test_statements_with_an_entry_together_show_the_condition_of_one() -> None:
    remaining = {
        **allow("sqs:TagQueue", ""),
        "NotResource": QUEUE,
        "Condition": {"Bool": {"aws:SecureTransport": "true"}},
    }
    del remaining["Resource"]
    difference = compared([allow("sqs:TagQueue", "*")], [allow("sqs:TagQueue", QUEUE), remaining])
    assert difference.removed == ()
    (edit,) = difference.conditions
    assert (edit.actions, edit.on, edit.stricter) == (("sqs:TagQueue",), ("*",), True)


def test_wildcards_beyond_the_step_budget_hide_no_change() -> None:
    texts = [[f"*{'a*' * (5 + number % 7)}{end}{number}" for number in range(60)] for end in "bc"]
    condition = {"Condition": {"Bool": {"aws:SecureTransport": "true"}}}
    before, after = (allow("sqs:TagQueue", text) for text in texts)
    difference = compared(
        [before, allow("sqs:*", "*a*a*")], [after, allow("sqs:*", "*a*a*", **condition)]
    )
    assert {"sqs:TagQueue", "sqs:CreateQueue"} <= narrower(difference)


def test_a_policy_of_many_statements_is_compared_in_full() -> None:
    """Each statement differs, and the step budget of the comparison suffices."""
    resource_pairs = [[f"{QUEUE}-{number}-*", f"{QUEUE}-{number}"] for number in range(1_500)]
    before = [allow(["sqs:CreateQueue", "sqs:Tag*"], resources) for resources in resource_pairs]
    difference = compared(
        before, [allow("sqs:CreateQueue", resources) for resources in resource_pairs]
    )
    assert [(edit.entry, edit.only) for edit in difference.removed] == [
        ("sqs:Tag*", ("sqs:TagQueue",))
    ] * 1_500
    assert (difference.added, difference.conditions) == ((), ())


def test_many_split_statements_with_conditions_of_their_own_are_no_difference() -> None:
    """Beyond the step budget a statement that has the whole entry still covers it."""
    condition = {"Condition": {"StringEquals": {"aws:RequestedRegion": list(REGIONS)}}}
    resources = [f"{QUEUE}-{number}/${{aws:username}}/*" for number in range(400)]
    before = [
        allow(["sqs:CreateQueue", "sqs:Tag*"], resource, **condition) for resource in resources
    ]
    after = [
        allow(action, resource, **condition)
        for action in ("sqs:Tag*", "sqs:CreateQueue")
        for resource in resources
    ]
    assert compared(before, after) == compared(after, before) == PolicyDiff((), (), (), (), ())


@pytest.mark.parametrize(
    ("before", "after", "stricter", "looser"),
    [
        (None, {"Bool": {"aws:SecureTransport": "true"}}, True, False),
        ({"Bool": {"aws:SecureTransport": "true"}}, None, False, True),
        (
            {"StringEquals": {"aws:RequestedRegion": "a"}},
            {"StringEquals": {"aws:RequestedRegion": "b"}},
            True,
            True,
        ),
        (
            {"StringNotEquals": {"aws:RequestedRegion": "a"}},
            {"StringNotEquals": {"aws:RequestedRegion": ["a", "b"]}},
            True,
            False,
        ),
        ({"StringEquals": {"a:b": ["x", "y"]}}, {"StringEquals": {"A:B": "y"}}, True, False),
        (
            {"StringLike": {"aws:RequestedRegion": "eu-*"}},
            {"StringEquals": {"aws:RequestedRegion": "eu-a"}},
            True,
            False,
        ),
        (
            {"IpAddress": {"aws:SourceIp": "10.1.0.0/16"}},
            {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
            False,
            True,
        ),
    ],
)
def test_changed_conditions_have_a_direction(
    before: object, after: object, stricter: bool, looser: bool
) -> None:
    difference = compared(
        [allow("sqs:TagQueue", QUEUE, **({"Condition": before} if before else {}))],
        [allow("sqs:TagQueue", QUEUE, **({"Condition": after} if after else {}))],
    )
    assert (difference.removed, difference.added) == ((), ())
    (edit,) = difference.conditions
    assert (edit.stricter, edit.looser, edit.actions) == (stricter, looser, ("sqs:TagQueue",))


def test_a_policy_variable_differs_from_the_plain_text_of_an_older_version() -> None:
    text = {"Statement": [allow("sqs:TagQueue", "arn:aws:sqs:*:*:${aws:username}")]}
    old = parse(json.dumps({"Version": "2008-10-17", **text}).encode(), "p.json")
    new = parse(json.dumps({"Version": "2012-10-17", **text}).encode(), "p.json")
    assert diff_policies(old, new).added
    assert diff_policies(old, old) == diff_policies(new, new) == PolicyDiff((), (), (), (), ())


def test_no_file_grants_nothing() -> None:
    policy = document([allow("sqs:TagQueue", QUEUE)])
    assert [edit.whole for edit in diff_policies(None, policy).added] == [True]
    assert [edit.whole for edit in diff_policies(policy, None).removed] == [True]
    assert diff_policies(None, None) == PolicyDiff((), (), (), (), ())
