"""Evaluation of requests against policy documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.permissions.patterns import escape_observed
from leastpriv.policy.access import AccessDecision, Policies, evaluate_access
from leastpriv.policy.document import Document, parse
from leastpriv.policy.evaluate import (
    Decision,
    Request,
    evaluate,
    grants,
    policy_size,
)

ALLOWED: Final = "allowed"
DENIED: Final = "explicitDeny"
IMPLICIT: Final = "implicitDeny"
UNKNOWN: Final = "unknown"


def policy(*statements: Mapping[str, object], version: str = "2012-10-17") -> Document:
    """Makes a document; Effect, Action and Resource have defaults."""
    return parse(
        json.dumps({"Version": version, "Statement": [full(s) for s in statements]}).encode(),
        "p.json",
    )


def full(statement: Mapping[str, object]) -> Mapping[str, object]:
    """Adds the defaults of a statement."""
    action = {} if "NotAction" in statement else {"Action": "*"}
    resource = {} if "NotResource" in statement else {"Resource": "*"}
    return {"Effect": "Allow", **action, **resource, **statement}


def effect(resource: str, *statements: Mapping[str, object], version: str = "2012-10-17") -> str:
    """Evaluates s3:GetObject on a resource."""
    return evaluate(
        Request("s3:GetObject", resource), [policy(*statements, version=version)]
    ).effect


def test_an_explicit_deny_wins_then_an_allow_else_it_is_implicit() -> None:
    allow, deny = policy({}), policy({"Effect": "Deny", "Action": "s3:Get*"})
    request = Request("s3:GetObject", "arn:aws:s3:::b/k")
    assert evaluate(request, []) == Decision(IMPLICIT)
    assert evaluate(request, [allow]) == Decision(ALLOWED, 0, 0)
    assert evaluate(request, [allow, deny]) == Decision(DENIED, 1, 0)
    assert evaluate(request, [deny, allow]) == Decision(DENIED, 0, 0)
    assert evaluate(Request("s3:PutObject", "*"), [deny, allow]) == Decision(ALLOWED, 1, 0)


def test_the_deciding_statement_is_named() -> None:
    document = policy({"Action": "ec2:*"}, {"Action": "s3:*"}, {"Action": "s3:GetObject"})
    assert evaluate(Request("S3:getobject", "x"), [policy(), document]) == Decision(ALLOWED, 1, 1)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ({"Action": "s3:get*"}, ALLOWED),
        ({"Action": ["ec2:*", "S3:GetObject"]}, ALLOWED),
        ({"Action": "s3:GetObject?"}, IMPLICIT),
        ({"NotAction": "iam:*"}, ALLOWED),
        ({"NotAction": ["iam:*", "s3:*"]}, IMPLICIT),
        ({"Effect": "Deny", "NotAction": "iam:*"}, DENIED),
        ({"Effect": "Deny", "NotAction": "s3:*"}, IMPLICIT),
    ],
)
def test_actions_and_not_actions(statement: Mapping[str, object], expected: str) -> None:
    assert effect("arn:aws:s3:::b/k", statement) == expected


@pytest.mark.parametrize(
    ("requested", "entries", "expected"),
    [
        ("b/k", "b/*", ALLOWED),
        ("b/k", ["x", "b/k"], ALLOWED),
        ("b/k", "B/k", IMPLICIT),
        ("b/*", "b*", ALLOWED),
        ("b/*", "b/k", IMPLICIT),
        ("*", "b/k", IMPLICIT),
        ("b/?", ["b/a", "b/*"], ALLOWED),
        (escape_observed("b/*"), "b/${*}", ALLOWED),
        ("b/*", "b/${*}", IMPLICIT),
        ("b/k", "b/${aws:username}", UNKNOWN),
        ("c/k", "b/${aws:username}", IMPLICIT),
        ("b/k", ["b/${aws:username}", "b/k"], ALLOWED),
    ],
)
def test_an_allow_must_cover_the_whole_request(
    requested: str, entries: object, expected: str
) -> None:
    assert effect(requested, {"Resource": entries}) == expected


@pytest.mark.parametrize(
    ("requested", "entries", "expected"),
    [
        ("b/k", "b/*", DENIED),
        ("b/*", "*", DENIED),
        ("b/*", "b/k", UNKNOWN),
        ("b/*", "c/k", ALLOWED),
        ("b/k", "b/${aws:username}", UNKNOWN),
        ("c/k", "b/${aws:username}", ALLOWED),
    ],
)
def test_a_deny_that_overlaps_the_request_counts(
    requested: str, entries: object, expected: str
) -> None:
    assert effect(requested, {}, {"Effect": "Deny", "Resource": entries}) == expected


@pytest.mark.parametrize(
    ("requested", "entries", "when_allow", "when_deny"),
    [
        ("b/k", "c/*", ALLOWED, DENIED),
        ("b/k", ["c/*", "b/*"], IMPLICIT, ALLOWED),
        ("b/*", "b/k", IMPLICIT, UNKNOWN),
        ("b/*", "c/k", ALLOWED, DENIED),
        ("b/k", "b/${aws:username}", UNKNOWN, UNKNOWN),
    ],
)
def test_not_resource_is_the_complement(
    requested: str, entries: object, when_allow: str, when_deny: str
) -> None:
    assert effect(requested, {"NotResource": entries}) == when_allow
    assert effect(requested, {}, {"Effect": "Deny", "NotResource": entries}) == when_deny


@pytest.mark.parametrize(
    ("entry", "context", "complete", "as_resource", "as_not_resource"),
    [
        ("b/${aws:username}", {"AWS:username": ("k",)}, False, ALLOWED, IMPLICIT),
        ("b/${aws:username}", {"aws:username": ("x",)}, True, IMPLICIT, ALLOWED),
        ("b/${aws:username}", {"aws:username": ("*",)}, True, IMPLICIT, ALLOWED),
        ("b/${aws:username}", {}, False, UNKNOWN, UNKNOWN),
        ("b/${aws:username}", {}, True, IMPLICIT, ALLOWED),
        ("b/${aws:username, 'k'}", {}, True, ALLOWED, IMPLICIT),
        ("b/${aws:username}", {"aws:username": ("k", "l")}, True, IMPLICIT, ALLOWED),
    ],
)
def test_a_policy_variable_in_a_resource_takes_the_value_of_its_key(
    entry: str,
    context: dict[str, tuple[str, ...]],
    complete: bool,
    as_resource: str,
    as_not_resource: str,
) -> None:
    request = Request("s3:GetObject", "b/k", context, complete)
    assert evaluate(request, [policy({"Resource": entry})]).effect == as_resource
    assert evaluate(request, [policy({"NotResource": entry})]).effect == as_not_resource


def test_a_not_resource_that_names_the_resource_decides_despite_variables() -> None:
    request = Request("s3:GetObject", "b/k", {}, True)
    assert (
        evaluate(request, [policy({"NotResource": ["b/${aws:username}", "b/*"]})]).effect
        == IMPLICIT
    )


LAYERS = {
    "allow": policy({}),
    "deny": policy({"Effect": "Deny"}),
    "other": policy({"Action": "ec2:*"}),
    "maybe": policy({"Condition": {"Bool": {"a:B": "true"}}}),
}


@pytest.mark.parametrize(
    ("identity", "boundary", "session", "expected"),
    [
        ("allow", None, None, (ALLOWED, "identity")),
        ("allow", "allow", "allow", (ALLOWED, "identity")),
        ("allow", "other", None, (IMPLICIT, "boundary")),
        ("allow", "allow", "other", (IMPLICIT, "session")),
        ("other", "allow", "allow", (IMPLICIT, "identity")),
        ("other", "deny", None, (DENIED, "boundary")),
        ("allow", "other", "deny", (DENIED, "session")),
        ("allow", "maybe", None, (UNKNOWN, "boundary")),
        ("maybe", "other", None, (IMPLICIT, "boundary")),
    ],
)
def test_each_layer_must_allow_and_any_can_deny(
    identity: str, boundary: str | None, session: str | None, expected: tuple[str, str]
) -> None:
    policies = Policies(
        identity=(LAYERS[identity],),
        boundary=(LAYERS[boundary],) if boundary else None,
        session=(LAYERS[session],) if session else None,
    )
    decision = evaluate_access(Request("s3:GetObject", "b/k"), policies)
    assert (decision.effect, decision.layer) == expected
    decides = decision.effect != IMPLICIT
    assert bool(decision.statement) is decides


def test_a_layer_without_documents_allows_nothing() -> None:
    policies = Policies(identity=(policy({}),), boundary=())
    decision = evaluate_access(Request("s3:GetObject", "b/k"), policies)
    assert decision == AccessDecision(IMPLICIT, "boundary")


def test_in_an_older_policy_variables_and_escapes_are_plain_text() -> None:
    assert effect("b/k", {"Resource": "b/${aws:username}"}, version="2008-10-17") == IMPLICIT
    assert effect("b/*", {"Resource": "b/${*}"}, version="2008-10-17") == IMPLICIT
    assert effect("b/*", {"Resource": "b/${aws:username}"}, version="2008-10-17") == IMPLICIT
    request = Request("s3:GetObject", "b/k", {"aws:username": ("k",)}, True)
    assert (
        evaluate(request, [policy({"Resource": "b/${aws:username}"}, version="2008-10-17")]).effect
        == IMPLICIT
    )


def test_a_statement_without_resource_is_unknown() -> None:
    document = parse(b'{"Statement": {"Effect": "Allow", "Action": "s3:*"}}', "p.json")
    assert evaluate(Request("s3:GetObject", "b/k"), [document]).effect == UNKNOWN


WITH = {"Condition": {"StringEquals": {"AWS:Key": "a"}}}


@pytest.mark.parametrize(
    ("context", "complete", "as_allow", "as_deny"),
    [
        ({"aws:KEY": ("a",)}, False, ALLOWED, DENIED),
        ({"aws:KEY": ("b",)}, False, IMPLICIT, ALLOWED),
        ({}, True, IMPLICIT, ALLOWED),
        ({}, False, UNKNOWN, UNKNOWN),
    ],
)
def test_conditions_decide_and_an_absent_key_of_an_incomplete_context_is_unknown(
    context: dict[str, tuple[str, ...]], complete: bool, as_allow: str, as_deny: str
) -> None:
    request = Request("s3:GetObject", "b/k", context, complete)
    assert evaluate(request, [policy(WITH)]).effect == as_allow
    assert evaluate(request, [policy({}, {**WITH, "Effect": "Deny"})]).effect == as_deny


def test_a_context_is_incomplete_by_default() -> None:
    assert not Request("s3:GetObject", "b/k").context_complete


def test_every_condition_of_a_block_must_hold() -> None:
    block = {"StringEquals": {"a:A": "1", "a:B": "2"}, "Bool": {"a:C": "true"}}
    context = {"a:A": ("1",), "a:B": ("2",), "a:C": ("true",)}
    document = policy({"Condition": block})
    assert evaluate(Request("x:Y", "*", context, True), [document]).effect == ALLOWED
    for key in context:
        assert (
            evaluate(Request("x:Y", "*", {**context, key: ("0",)}, True), [document]).effect
            == IMPLICIT
        )


def test_an_unknown_statement_matters_only_if_no_other_decides() -> None:
    request = Request("s3:GetObject", "b/k")
    maybe_deny = {**WITH, "Effect": "Deny"}
    assert evaluate(request, [policy(WITH, {})]) == Decision(ALLOWED, 0, 1)
    assert evaluate(request, [policy(maybe_deny)]) == Decision(IMPLICIT)
    assert evaluate(request, [policy({}, maybe_deny)]) == Decision(UNKNOWN, 0, 1)
    assert evaluate(request, [policy({}, maybe_deny, {"Effect": "Deny"})]) == Decision(DENIED, 0, 2)
    assert evaluate(request, [policy({"Condition": {"Bool": "x"}})]).effect == UNKNOWN


def test_grants_evaluates_one_statement_alone() -> None:
    request = Request("s3:GetObject", "b/*")

    def of(statement: Mapping[str, object]) -> str:
        return grants(policy(statement).statements[0], request)

    assert of({}) == "yes"
    assert of({"Effect": "Deny"}) == "no"
    assert of({"Action": "ec2:*"}) == "no"
    assert of({"Resource": "c/*"}) == "no"
    assert of({"Resource": "b/k"}) == "maybe"
    assert of({"Resource": "b${aws:username}"}) == "maybe"
    assert of(WITH) == "maybe"
    assert of({"Resource": "c", **WITH}) == "no"
    false = Request("s3:GetObject", "b/k", {"aws:key": ("b",)})
    assert grants(policy(WITH).statements[0], false) == "no"


entries = st.lists(st.text("ab*?", min_size=1, max_size=3), min_size=1, max_size=2)
conditions = st.sampled_from(
    [{}, {"Condition": {"Bool": {"k": "true"}}}, {"Condition": {"Null": {"k": "true"}}}]
)


@st.composite
def any_statement(draw: st.DrawFn) -> Mapping[str, object]:
    """Draws a statement with each of its elements positive or negated."""
    return {
        "Effect": draw(st.sampled_from(["Allow", "Deny"])),
        draw(st.sampled_from(["Action", "NotAction"])): draw(st.sampled_from(["s:A", "s:B", "*"])),
        draw(st.sampled_from(["Resource", "NotResource"])): draw(entries),
        **draw(conditions),
    }


@given(st.lists(any_statement(), max_size=4), st.text("ab*?", min_size=1, max_size=3))
def test_a_certain_answer_on_a_pattern_holds_for_every_resource_and_context(
    statements: list[Mapping[str, object]], requested: str
) -> None:
    """A partly known request is allowed or denied only if each complete request is."""
    documents = [policy(*statements)]
    answer = evaluate(Request("s:A", requested), documents).effect
    if answer not in {ALLOWED, DENIED}:
        return
    for filling in ("", "a", "b", "ab", "ca"):
        concrete = requested.replace("*", filling).replace("?", filling[:1] or "b")
        for context in ({}, {"k": ("true",)}, {"k": ("false",)}):
            assert evaluate(Request("s:A", concrete, context, True), documents).effect == answer


@given(st.lists(any_statement(), max_size=4), st.text("ab", min_size=1, max_size=3))
def test_a_complete_request_has_a_certain_answer(
    statements: list[Mapping[str, object]], requested: str
) -> None:
    for context in ({}, {"k": ("true",)}):
        assert (
            evaluate(Request("s:A", requested, context, True), [policy(*statements)]).effect
            != UNKNOWN
        )


def test_white_space_counts_only_inside_strings() -> None:
    tight = '{"Statement":[{"Sid":"a b","Effect":"Allow","Action":"é:B","Resource":"*"}]}'
    loose = json.dumps(json.loads(tight), indent=4)
    assert "\\u00e9" in loose
    assert (
        policy_size(parse(loose.encode(), "p.json"))
        == policy_size(parse(tight.encode(), "p.json"))
        == len(tight)
    )
    wrapped = '{"PolicyDocument": ' + loose + "}"
    assert policy_size(parse(wrapped.encode(), "p.json")) == len(tight)


def test_real_policies_can_be_evaluated(shared_folder: Path) -> None:
    folder = shared_folder / "corpus" / "policies"
    path = next(
        path for path in sorted(folder.glob("*.json")) if b'"s3:PutObject"' in path.read_bytes()
    )
    document = parse(path.read_bytes(), path.name)
    statement = next(
        granting for granting in document.statements if "s3:PutObject" in granting.actions
    )
    assert grants(statement, Request("s3:PutObject", statement.resources[0])) in {"yes", "maybe"}
    assert evaluate(Request("nosuch:Action", "*"), [document]).effect in {IMPLICIT, ALLOWED}
