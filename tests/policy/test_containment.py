"""Containment of new documents in old ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.errors import PolicyFileError
from leastpriv.models import Permission
from leastpriv.permissions.patterns import escape_observed
from leastpriv.policy.containment import (
    UNPROVEN_CONDITIONS,
    UNPROVEN_WILDCARDS,
    Containment,
    Excess,
    check_containment,
    lost_denies,
)
from leastpriv.policy.document import Document, parse
from leastpriv.policy.evaluate import Request, evaluate
from tests.hypothesis_profiles import examples

Statement = Mapping[str, Any]
ROLE = "arn:aws:iam::1:role/ci"
BUCKET = "arn:aws:s3:::b/*"


def document(*statements: Statement, version: str = "2012-10-17") -> Document:
    """Makes a document; Effect, Action and Resource have defaults."""
    policy_statements = []
    for statement in statements:
        action = {} if "NotAction" in statement else {"Action": "s3:*"}
        resource = {} if "NotResource" in statement else {"Resource": "*"}
        policy_statements.append({"Effect": "Allow", **action, **resource, **statement})
    return parse(
        json.dumps({"Version": version, "Statement": policy_statements}).encode(), "p.json"
    )


def deny(**parts: object) -> Statement:
    return {"Effect": "Deny", **parts}


def within(old: Sequence[Statement], new: Sequence[Statement], **options: Any) -> Containment:
    return check_containment([document(*old)], [document(*new)], **options)


def same_region(*regions: str) -> Statement:
    return {"Condition": {"StringEquals": {"aws:RequestedRegion": list(regions)}}}


A, B, C = {"Action": "s3:a"}, {"Action": "s3:b"}, {"Action": "s3:c"}

CONTAINED: Mapping[str, tuple[Sequence[Statement], Sequence[Statement]]] = {
    "nothing in anything": ([], []),
    "itself": ([{}], [{}]),
    "an action in a wildcard, whatever the case": (
        [{"Action": "S3:Get*"}],
        [{"Action": "s3:getObject"}],
    ),
    "a wildcard in a wider one": (
        [{"Action": "s3:*"}],
        [{"Action": "s3:Get*", "Resource": BUCKET}],
    ),
    "a resource in a wider one": (
        [{"Resource": BUCKET}],
        [{"Resource": ["arn:aws:s3:::b/k", "arn:aws:s3:::b/a*"]}],
    ),
    "several statements together cover one": (
        [{"Action": "s3:*", "Resource": "a*"}, {"Action": "s3:Get*", "NotResource": "a*"}],
        [{"Action": "s3:Get*"}],
    ),
    "wildcards that only together cover one": ([{"Resource": ["x?*", "x"]}], [{"Resource": "x*"}]),
    "a NotAction in a wildcard": ([{"Action": "*"}], [{"NotAction": "iam:*"}]),
    "a NotAction that excludes more": (
        [{"NotAction": "iam:*"}],
        [{"NotAction": ["iam:*", "s3:*"]}],
    ),
    "a NotAction that excludes a wider pattern": (
        [{"NotAction": "iam:Get*"}],
        [{"NotAction": "iam:*"}],
    ),
    "an action in a NotAction": ([{"NotAction": "iam:*"}], [{"Action": "s3:*"}]),
    "a NotResource in all": ([{}], [{"NotResource": "a*"}]),
    "a NotResource that excludes more": ([{"NotResource": "ab*"}], [{"NotResource": "a*"}]),
    "a denied action is not allowed": ([], [{}, deny()]),
    "a new Deny leaves a covered part": (
        [{"Action": "s3:Get*"}],
        [{"Action": "s3:*"}, deny(NotAction="s3:Get*", Resource="*")],
    ),
    "a new Deny leaves covered resources": (
        [{**A, "Resource": "a*"}],
        [A, deny(NotResource="a*"), deny(Resource="a?*b")],
    ),
    "an old Deny that remains": (
        [{}, deny(Action="s3:Put*")],
        [{"Resource": BUCKET}, deny(Action="s3:Put*")],
    ),
    "an old Deny that grows": ([{}, deny(Action="s3:Put*")], [{}, deny(Action="s3:P*")]),
    "an old Deny that does not matter": ([{}, deny(Action="s3:Put*")], [{"Action": "s3:Get*"}]),
    "an old Deny on other resources": ([{}, deny(Resource="a*")], [{"Resource": "b*"}]),
    "an old Deny split in two": ([{}, deny()], [{}, deny(Resource="a*"), deny(NotResource="a*")]),
    "the same condition": ([same_region("x")], [same_region("x")]),
    "another old Allow under a condition": ([{}, same_region("x")], [{}]),
    "a condition gained": ([{}], [same_region("x")]),
    "a narrower condition": ([same_region("x", "y")], [same_region("y")]),
    "a condition split over two statements": (
        [same_region("x"), same_region("y")],
        [same_region("y", "x")],
    ),
    "an old Deny that the condition excludes": (
        [{}, deny(Condition={"StringNotEquals": {"aws:RequestedRegion": "x"}})],
        [same_region("x")],
    ),
    "an old Deny under a condition that remains": (
        [{}, deny(Condition={"Bool": {"aws:SecureTransport": "false"}})],
        [{}, deny(Condition={"Bool": {"aws:SecureTransport": "false"}})],
    ),
    "an old Deny whose condition goes": (
        [{}, deny(Condition={"Bool": {"aws:SecureTransport": "false"}})],
        [{}, deny()],
    ),
    "a new Deny under the condition of an Allow": (
        [],
        [same_region("x"), deny(**same_region("x", "y"))],
    ),
    "a new Deny of one case": (
        [same_region("x")],
        [same_region("x", "y"), deny(**same_region("y"))],
    ),
    "an unreadable condition that remains": (
        [{"Condition": {"Bool": "x"}}],
        [{"Condition": {"Bool": "x"}}],
    ),
    "a variable in a wildcard": ([{"Resource": "b/*"}], [{"Resource": "b/${aws:username}/*"}]),
    "the same variable": (
        [{"Resource": ["x", "b/${aws:username}*"]}],
        [{"Resource": "b/${aws:username}/*"}],
    ),
    "a variable that NotResource excludes": (
        [{"NotResource": ["a", "b/${aws:username}"]}],
        [{"NotResource": ["a*", "b/${aws:username}"]}],
    ),
    "a Deny of a variable that remains": (
        [{}, deny(Resource="b/${aws:username}")],
        [{}, deny(Resource="b/${aws:username}*")],
    ),
    "an escaped wildcard": ([{"Resource": "b?"}], [{"Resource": "b${*}"}]),
}


@pytest.mark.parametrize("how", CONTAINED)
def test_containment_holds_exactly_if_old_documents_allow_all(how: str) -> None:
    old, new = CONTAINED[how]
    assert within(old, new).excesses == ()
    assert within(old, new).holds
    assert within(old, new).smallest is None


EXCEEDING: Mapping[str, tuple[Sequence[Statement], Sequence[Statement], tuple[str, str]]] = {
    "an action": ([A], [{"Action": ["s3:a", "s3:b"]}], ("s3:b", "*")),
    "a resource": ([{**A, "Resource": "x"}], [{**A, "Resource": ["x", "y"]}], ("s3:a", "y")),
    "a resource in other case": ([{**A, "Resource": "x"}], [{**A, "Resource": "X"}], ("s3:a", "X")),
    "a longer resource": ([{**A, "Resource": "x?*"}], [{**A, "Resource": "x*"}], ("s3:a", "x")),
    "a resource that two patterns leave out": (
        [{**A, "Resource": ["x", "x??*"]}],
        [{**A, "Resource": "x*"}],
        ("s3:a", "xy"),
    ),
    "a pair of two covered halves": (
        [{**A, "Resource": "x"}, {**B, "Resource": "y"}],
        [{"Action": ["s3:a", "s3:b"], "Resource": ["x", "y"]}],
        ("s3:a", "y"),
    ),
    "a removed Deny": ([A, deny(Resource="x*")], [A], ("s3:a", "x")),
    "a Deny narrowed": ([A, deny(Resource="x*")], [A, deny(Resource="x?*")], ("s3:a", "x")),
    "a Deny for other actions": (
        [A, deny(Resource="x*")],
        [A, deny(Resource="x*", Action="s3:b")],
        ("s3:a", "x"),
    ),
    "a Deny under a condition that it had not": (
        [A, deny()],
        [A, deny(Condition={"Bool": {"aws:SecureTransport": "false"}})],
        ("s3:a", "*"),
    ),
    "a Deny narrowed to what another statement is about": (
        [A, {**A, "Resource": "a*"}, deny(Resource="?*")],
        [A, deny(Resource="a*")],
        ("s3:a", "*"),
    ),
    "a removed Deny before an Allow": ([A, deny(), A], [A], ("s3:a", "*")),
    "all but": ([{**A, "Resource": "a"}], [{**A, "NotResource": "x"}], ("s3:a", "y")),
    "an escape that was none": (
        [{**A, "Resource": "x${*}"}],
        [{**A, "Resource": "x*"}],
        ("s3:a", "x"),
    ),
    "a version that makes a text a wildcard": (
        [{**A, "Resource": "x${$}"}],
        [{**A, "Resource": "x${?}"}],
        ("s3:a", "x?"),
    ),
}


@pytest.mark.parametrize("how", EXCEEDING)
def test_a_shortest_request_shows_what_is_new(how: str) -> None:
    old, new, (action, resource) = EXCEEDING[how]
    smallest = within(old, new).smallest
    assert smallest is not None
    assert smallest.witness is not None
    assert (smallest.witness.action, smallest.witness.resource, smallest.reason) == (
        action,
        resource,
        "",
    )
    assert smallest.witness.context == {}


def context_of(old: Sequence[Statement], new: Sequence[Statement]) -> Mapping[str, tuple[str, ...]]:
    smallest = within(old, new).smallest
    assert smallest is not None
    assert smallest.witness is not None
    return smallest.witness.context


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([same_region("x")], [{}], {}),
        ([same_region("x")], [same_region("x", "y")], {"aws:requestedregion": ("y",)}),
        ([], [same_region("x")], {"aws:requestedregion": ("x",)}),
        ([{"Condition": {"StringNotEquals": {"k": "a"}}}], [{}], {"k": ("a",)}),
        ([{"Condition": {"BoolIfExists": {"k": "true"}}}], [{}], {"k": ("false",)}),
        ([{"Condition": {"NumericLessThanIfExists": {"k": "5"}}}], [{}], {"k": ("6",)}),
        ([{"Condition": {"NumericGreaterThanIfExists": {"k": "5"}}}], [{}], {"k": ("4",)}),
        ([{"Condition": {"NumericEqualsIfExists": {"k": "5"}}}], [{}], {"k": ("4",)}),
        ([{"Condition": {"StringLikeIfExists": {"k": "a*"}}}], [{}], {"k": ("x",)}),
        ([{"Condition": {"Null": {"k": "true"}}}], [{}], {"k": ("x",)}),
        ([{"Condition": {"Null": {"k": "false"}}}], [{}], {}),
        ([{}, deny(Condition={"StringEquals": {"k": "a"}})], [{}], {"k": ("a",)}),
        ([{}, deny(Condition={"Null": {"k": "false"}})], [{}], {"k": ("x",)}),
        ([{}, deny(Condition={"ForAnyValue:StringNotEquals": {"k": "a"}})], [{}], {"k": ("x",)}),
        ([], [{"Condition": {"NumericLessThan": {"k": "5"}}}], {"k": ("4",)}),
        ([], [{"Condition": {"NumericGreaterThan": {"k": "5"}}}], {"k": ("6",)}),
        ([], [{"Condition": {"DateLessThanEquals": {"k": "2026-11-24"}}}], {"k": ("1795478399",)}),
        ([], [{"Condition": {"IpAddress": {"k": "203.0.113.0/24"}}}], {"k": ("203.0.113.0",)}),
        ([], [{"Condition": {"StringLike": {"k": "a?*b"}}}], {"k": ("axb",)}),
        (
            [],
            [{"Condition": {"ArnLike": {"k": "arn:aws:iam::*:role/?"}}}],
            {"k": ("arn:aws:iam:::role/x",)},
        ),
        ([], [{"Condition": {"ForAllValues:StringLike": {"k": "a"}}}], {}),
        ([], [{"Condition": {"StringNotEquals": {"k": "a"}}}], {}),
        ([], [{"Resource": "b/${aws:username}/${*}?*"}], {"aws:username": ("x",)}),
        (
            [
                {"Condition": {"StringNotEquals": {"k": "a"}}},
                {"Condition": {"StringNotEquals": {"l": "a"}}},
            ],
            [{}],
            {"k": ("a",), "l": ("a",)},
        ),
    ],
)
def test_a_witness_has_the_context_that_it_needs(
    old: Sequence[Statement], new: Sequence[Statement], expected: Mapping[str, tuple[str, ...]]
) -> None:
    assert context_of(old, new) == expected


def test_a_witness_has_values_for_variables() -> None:
    smallest = within([], [{**A, "Resource": "b/${aws:username}/${*}?*"}]).smallest
    assert smallest is not None
    assert smallest.witness is not None
    assert smallest.witness.resource == "b/x/*x"
    assert smallest.resource == "b/${aws:username}/${*}?*"


CANNOT_TELL: Mapping[str, tuple[Sequence[Statement], Sequence[Statement]]] = {
    "an unknown operator": (
        [{"Condition": {"NoSuch": {"k": "a"}}}],
        [{"Condition": {"NoSuch": {"k": ["a", "b"]}}}],
    ),
    "an unreadable condition": ([{"Condition": {"Bool": "x"}}], [{"Condition": {"Bool": "y"}}]),
    "a narrower condition that we do not see": (
        [{"Condition": {"NumericLessThan": {"k": "5"}}}],
        [{"Condition": {"NumericEquals": {"k": "4"}}}],
    ),
    "a name that a variable may have": (
        [{}, deny(Resource="b/${aws:username}")],
        [{"Resource": "b/ci"}],
    ),
}


@pytest.mark.parametrize("how", CANNOT_TELL)
def test_access_that_is_not_proved_contained_counts_as_new(how: str) -> None:
    old, new = CANNOT_TELL[how]
    answer = within(old, new)
    assert not answer.holds
    assert answer.smallest is not None
    assert answer.smallest.witness is None
    assert answer.smallest.reason == UNPROVEN_CONDITIONS


def test_a_policy_of_an_older_version_has_no_variables() -> None:
    new = {**A, "Resource": "b/${aws:username}"}
    assert check_containment(
        [document(new, version="2008-10-17")], [document(new, version="2008-10-17")]
    ).holds
    assert check_containment(
        [document({**A, "Resource": "b/${$}{aws:username}"})], [document(new, version="2008-10-17")]
    ).holds
    assert not check_containment([document(new)], [document(new, version="2008-10-17")]).holds


def test_a_statement_without_resource_contains_only_itself() -> None:
    def bare(action: str) -> Document:
        return parse(
            json.dumps({"Statement": {"Effect": "Allow", "Action": action}}).encode(), "p.json"
        )

    assert check_containment([bare("s3:*")], [bare("s3:a")]).holds
    assert not check_containment(
        [document({})], [bare("s3:a"), document({"Action": "s3:a"})]
    ).excesses
    assert not check_containment([], [bare("s3:a")]).holds
    assert not check_containment([bare("s3:*")], [document({})]).holds


def test_documents_add_up_and_excesses_name_document_and_statement() -> None:
    old = [document({"Resource": "a*"}), document({"NotResource": "a*"})]
    assert check_containment(old, [document({})]).holds
    (excess,) = check_containment(
        old, [document({}), document({}, {"Action": ["s3:x", "ec2:*"], "Resource": "q"})]
    ).excesses
    assert (excess.document, excess.statement.index, excess.action, excess.resource) == (
        1,
        1,
        "ec2:*",
        "q",
    )


def test_every_excess_is_listed_once_as_written() -> None:
    new = {"Action": ["S3:a", "s3:b", "S3:a"], "Resource": ["x", "y*", "z/${aws:username}"]}
    answer = within([{**A, "Resource": "x"}], [new])
    excess_pairs = [(excess.action, excess.resource) for excess in answer.excesses]
    assert len(excess_pairs) == len(set(excess_pairs)) == 5
    assert {("s3:b", "x"), ("s3:b", "y*"), ("S3:a", "y*"), ("S3:a", "z/${aws:username}")} < set(
        excess_pairs
    )
    negated = within([], [{"NotAction": "iam:*", "NotResource": "x"}])
    assert [(excess.action, excess.resource) for excess in negated.excesses] == [("*", "*")]


def test_many_grants_with_a_wildcard_at_both_ends_are_found_in_the_list() -> None:
    names = [f"table/*-Table{number}-*" for number in range(60)]
    permissions = [Permission("s3:a", name) for name in names]
    assert within([], [{**A, "Resource": names}], listed=permissions).holds
    assert not within([], [{**A, "Resource": [*names, "table/x"]}], listed=permissions).holds
    assert not within(
        [deny(**A, Resource="table/*")], [{**A, "Resource": names[:2]}], listed=permissions[:2]
    ).holds


def test_listed_grants_are_no_excess() -> None:
    new = {"Action": ["s3:a", "s3:b"], "Resource": ["x*", "b/${aws:username}"]}
    permissions = [
        Permission("S3:a", "x*"),
        Permission("s3:b", "*"),
        Permission("s3:a", "b/${aws:username}"),
    ]
    assert within([], [new], listed=permissions).holds
    assert [excess.resource for excess in within([], [new], listed=permissions[:2]).excesses] == [
        "b/${aws:username}"
    ]
    assert not within([deny(Resource="xy")], [new], listed=permissions).holds


@pytest.mark.parametrize(
    ("entry", "resource", "named"),
    [
        ({"Action": "s3:*"}, BUCKET, "s3:PutObject"),
        ({"Action": "*"}, "arn:aws:iam::1:role/x", "iam:GetRole"),
        ({"NotAction": ["s3:*", "iam:*", "lambda:*"]}, "arn:aws:ec2:eu-west-1:1:vpc/x", "ec2:"),
        ({"Action": "nosuch:*"}, "*", "nosuch:"),
    ],
)
def test_a_witness_prefers_an_existing_action_that_fits_the_resource(
    entry: Statement, resource: str, named: str
) -> None:
    smallest = within(
        [{"Action": "s3:Get*", "Resource": BUCKET}], [{**entry, "Resource": resource}]
    ).smallest
    assert smallest is not None
    assert smallest.witness is not None
    assert smallest.witness.action.startswith(named)


def test_the_smallest_excess_is_the_one_with_the_shortest_request() -> None:
    new: list[Statement] = [
        {"Action": "s3:long", "Resource": "a"},
        {"Condition": {"NoSuch": {"k": "a"}}},
        B,
        {**A, "Condition": {"StringEquals": {"k": "a"}}},
    ]
    smallest = within([], new).smallest
    assert smallest is not None
    assert smallest.statement.index == 2


def large(*actions: str, services: int = 10) -> Sequence[Statement]:
    """Makes a policy of 30 statements and a Deny."""
    return [
        *(
            {
                "Action": [f"svc{service}:{action}Thing{number}" for action in actions],
                "Resource": [
                    f"arn:aws:svc{service}:eu-west-1:1:thing/orders-{number}-*",
                    f"arn:aws:svc{service}:::x",
                ],
                **(same_region("x", "y") if number == 2 else {}),
            }
            for service in range(services)
            for number in range(3)
        ),
        deny(Action="svc1:Delete*", Resource="arn:*:thing/*"),
    ]


EVERYTHING: Sequence[Statement] = [{"Action": "*"}]


@pytest.mark.parametrize(
    ("old", "new", "holds", "budget"),
    [
        (large("Get", "Put"), large("Get", "Put"), True, 4_300),
        (large("Get", "Put"), large("Get"), True, 4_300),
        (large("Get", "P*", "*"), large("Get", "Put"), True, 7_900),
        ([*EVERYTHING, large()[-1]], large("Get", "Delete"), True, 1_700),
        (EVERYTHING, large("*"), True, 900),
        ([{"NotAction": "iam:*"}], [{"NotAction": ["iam:*", "svc0:*"]}, *large("*")], True, 900),
        ([{"NotResource": "a*"}], [{"NotResource": ["a*", "b"]}], True, 15),
        ([{"NotResource": ["a*", "b"]}], [{"Resource": ["c*", "d*"]}], True, 15),
        (large("Get"), large("Get", "Put"), False, 12_000),
        (large("Get"), EVERYTHING, False, 1_500),
    ],
)
def test_real_policies_take_few_steps(
    old: Sequence[Statement], new: Sequence[Statement], holds: bool, budget: int
) -> None:
    answer = within(old, new, budget=budget)
    assert answer.holds == holds
    assert UNPROVEN_WILDCARDS not in {excess.reason for excess in answer.excesses}


def test_a_policy_of_thousands_of_statements_is_proved() -> None:
    """A text is compared only with patterns whose beginning agrees with it, so that the step budget
    suffices.
    """
    resource_pairs = [
        [f"arn:aws:s3:::b{number}/*", f"arn:aws:s3:::c{number}/x"] for number in range(3_000)
    ]
    old = [
        {"Action": ["s3:GetObject", "s3:Put*"], "Resource": resources}
        for resources in resource_pairs
    ]
    new = [
        {"Action": ["s3:GetObject", "s3:PutObject"], "Resource": resources}
        for resources in resource_pairs
    ]
    assert within(old, new).holds


def test_hostile_wildcards_end_without_proof() -> None:
    old = {"Resource": [f"*{'a*' * (n % 9 + 3)}b{'?a' * (n % 7)}*" for n in range(300)]}
    new = {
        "Action": "s3:a",
        "Resource": [f"*{'?*a' * (n % 5 + 1)}{'b?' * (n % 11)}*" for n in range(300)],
    }
    answer = within([old], [new], budget=100_000)
    assert UNPROVEN_WILDCARDS in {excess.reason for excess in answer.excesses}
    assert within([{"Resource": ["*a*a*a*a*b"] * 300}], [{"Resource": ["*a*a*a*a*b"] * 300}]).holds


def test_comparing_conditions_and_finding_witnesses_spends_the_budget() -> None:
    many = [
        {**A, "Resource": f"b{n}", "Condition": {"StringEquals": {"k": f"{n}"}}} for n in range(100)
    ]
    few = within(many, [{**statement, "Resource": "*"} for statement in many], budget=10_000)
    assert few.excesses[-1].reason == UNPROVEN_WILDCARDS
    answer = within([], [{"Action": f"s3:a{n}"} for n in range(100)], budget=1_000)
    assert [bool(excess.witness) for excess in answer.excesses] == [True] * 10 + [False] * 90
    assert answer.excesses[-1].reason == UNPROVEN_WILDCARDS


def test_a_lost_deny_counts_even_if_no_statement_allows() -> None:
    old = document(
        deny(Sid="One"), deny(Sid="Two", Resource="x", **same_region("x")), {"Action": "ec2:*"}
    )
    assert lost_denies([old], [document(deny(Sid="Other"))]) == ()
    assert [lost.sid for lost in lost_denies([old], [document(deny(NotResource="y"))])] == ["One"]
    assert [lost.sid for lost in lost_denies([old], [document(deny(Action="s3:a"), {})])] == [
        "One",
        "Two",
    ]
    assert lost_denies([old], [document(deny(Resource="q*"), deny(NotResource="q*"))]) == ()
    assert lost_denies([], [old]) == ()


patterns = st.lists(st.text("ab*?", min_size=1, max_size=3), min_size=1, max_size=2)
conditions: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {},
        {"Condition": {"StringEquals": {"k": ["x", "y"]}}},
        {"Condition": {"StringEquals": {"k": "x"}}},
        {"Condition": {"StringNotEquals": {"k": "x"}}},
        {"Condition": {"Null": {"k": "true"}}},
        {"Condition": {"Bool": {"k": "no"}}},
        {"Condition": {"ArnLike": {"k": ["x", ROLE]}}},
        {"Condition": {"ArnLike": {"k": [ROLE, "x"]}}},
        {"Condition": {"ArnNotLike": {"k": "arn:*:*:*:*:*"}}},
        {"Condition": {"StringNotEquals": {"aws:TagKeys": "x"}}},
    ]
)


@st.composite
def any_statement(draw: st.DrawFn) -> Statement:
    """Draws a statement with each of its elements positive or negated."""
    return {
        "Effect": draw(st.sampled_from(["Allow", "Allow", "Deny"])),
        draw(st.sampled_from(["Action", "Action", "NotAction"])): draw(patterns),
        draw(st.sampled_from(["Resource", "Resource", "NotResource"])): draw(patterns),
        **draw(conditions),
    }


@st.composite
def two_policies(draw: st.DrawFn, *, with_conditions: bool = True) -> tuple[Document, Document]:
    """Draws a policy and another one, similar in parts or different."""
    old: Sequence[Statement] = draw(st.lists(any_statement(), max_size=3))
    new: Sequence[Statement] = [
        *draw(st.lists(any_statement(), max_size=2)),
        *old[: draw(st.integers(0, 3))],
    ]
    if not with_conditions:
        old, new = (
            [
                {key: part for key, part in statement.items() if key != "Condition"}
                for statement in s
            ]
            for s in (old, new)
        )
    return document(*old), document(*new)


WORDS = ["".join(letters) for length in (1, 2, 3) for letters in product("abx", repeat=length)]


def requests(words: Sequence[str]) -> list[Request]:
    values = ("x", "y", "z", ROLE, "")
    contexts: list[dict[str, tuple[str, ...]]] = [{"k": (value,)} for value in values]
    contexts += [{}, {"aws:TagKeys": ("y",)}]
    return [
        Request(action, resource, k, True)
        for action, resource, k in product(words, words, contexts)
    ]


@examples(400)
@given(two_policies(), st.lists(st.sampled_from(WORDS), min_size=4, max_size=8, unique=True))
def test_a_contained_policy_allows_no_further_request(
    policies: tuple[Document, Document], words: list[str]
) -> None:
    old, new = policies
    if check_containment([old], [new]).holds:
        newly = [
            request
            for request in requests(words)
            if evaluate(request, [new]).effect == "allowed"
            and evaluate(request, [old]).effect != "allowed"
        ]
        assert not newly


@st.composite
def policies_under_limits(
    draw: st.DrawFn, *, with_conditions: bool = True
) -> tuple[Document, Document, tuple[tuple[Document, ...], ...]]:
    """Draw two policies, and one or two layers that limit both."""
    old, new = draw(two_policies(with_conditions=with_conditions))
    first, second = draw(two_policies(with_conditions=with_conditions))
    layers: tuple[tuple[Document, ...], ...] = ((first,), (second, first))
    return old, new, layers[: draw(st.integers(1, 2))]


def allowed_under(request: Request, *layers: Sequence[Document]) -> bool:
    return all(evaluate(request, layer).effect == "allowed" for layer in layers)


@examples(400)
@given(
    policies_under_limits(), st.lists(st.sampled_from(WORDS), min_size=4, max_size=6, unique=True)
)
def test_a_policy_contained_under_limits_allows_no_further_request(
    policies: tuple[Document, Document, tuple[tuple[Document, ...], ...]], words: list[str]
) -> None:
    old, new, limits = policies
    if check_containment([old], [new], limits=limits).holds:
        newly = [
            request
            for request in requests(words)
            if allowed_under(request, [new], *limits) and not allowed_under(request, [old])
        ]
        assert not newly


@examples(200)
@given(policies_under_limits(with_conditions=False))
def test_without_conditions_the_answer_under_limits_is_exact(
    policies: tuple[Document, Document, tuple[tuple[Document, ...], ...]],
) -> None:
    old, new, limits = policies
    for excess in check_containment([old], [new], limits=limits).excesses:
        assert excess.witness is not None
        check(excess, old, new)
        witness = excess.witness
        request = Request(witness.action, escape_observed(witness.resource), {}, True)
        assert allowed_under(request, *limits)


@examples(400)
@given(two_policies(with_conditions=False))
def test_without_conditions_the_answer_is_exact(policies: tuple[Document, Document]) -> None:
    """Without conditions the answer is always containment or a request."""
    for excess in check_containment([policies[0]], [policies[1]]).excesses:
        assert excess.witness is not None
        check(excess, *policies)


@examples(200)
@given(two_policies())
def test_no_witness_is_allowed_by_the_old_policy(policies: tuple[Document, Document]) -> None:
    for excess in check_containment([policies[0]], [policies[1]]).excesses:
        assert (excess.witness is None) == bool(excess.reason)
        check(excess, *policies)


def check(excess: Excess, old: Document, new: Document) -> None:
    witness = excess.witness
    if witness:
        request = Request(witness.action, escape_observed(witness.resource), witness.context, True)
        assert evaluate(request, [new]).effect == "allowed"
        assert evaluate(request, [old]).effect in {"implicitDeny", "explicitDeny"}


@examples(200)
@given(two_policies())
def test_a_policy_is_contained_in_itself_and_in_more_allows(
    policies: tuple[Document, Document],
) -> None:
    first_policy, second_policy = policies
    assert check_containment([first_policy], [first_policy]).holds
    assert lost_denies([first_policy], [first_policy]) == ()
    allows = document(
        *(
            statement
            for statement in json.loads(second_policy.text)["Statement"]
            if statement["Effect"] == "Allow"
        )
    )
    assert check_containment([first_policy, allows], [first_policy]).holds


def test_real_policies_contain_themselves(shared_folder: Path) -> None:
    read = 0
    for path in sorted((shared_folder / "corpus" / "policies").glob("*.json")):
        try:
            real = parse(path.read_bytes(), path.name)
        except PolicyFileError:
            continue
        read += 1
        assert check_containment([real], [real]).holds, path.name
        assert lost_denies([real], [real]) == ()
    assert read > 50
