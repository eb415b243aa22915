"""Usage by pattern: nothing is lost when resources that change from run to run are told as one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from leastpriv.evidence.iam_paths import by_pattern
from leastpriv.models import Basis, Denial, DeniedBy, Need, Outcome, Permission, Usage
from leastpriv.permissions.patterns import resource_covers

START = datetime(2026, 11, 1, tzinfo=UTC)
HASH = "3f786850e387550fdab836ed7e6dc881de23001b3f786850e387550fdab836ed"
NOT_ALLOWED = Denial(("s3:PutObject",), "", "", DeniedBy.IDENTITY, explicit=False, mendable=True)
FORBIDDEN = Denial(("s3:PutObject",), "", "", DeniedBy.IDENTITY, explicit=True, mendable=False)


def usage(
    resource: str,
    *,
    action: str = "s3:PutObject",
    outcome: Outcome = Outcome.ALLOWED,
    denial: Denial | None = None,
    count: int = 1,
    day: int = 0,
    run: str = "1",
) -> Usage:
    basis = Basis.DENIED if denial else Basis.OBSERVED
    seen_at = START + timedelta(days=day)
    need = Need(Permission(action, resource), basis, "named by the request")
    return Usage(
        need, outcome, count, seen_at, seen_at, (run,), (f"s3:{run}",), ("eu-west-1",), denial
    )


def asset(number: int) -> str:
    return f"arn:aws:s3:::assets/{number}{HASH[1:]}.zip"


def test_assets_of_all_runs_are_one_usage_with_the_sum_of_their_figures() -> None:
    (merged,) = by_pattern(
        [usage(asset(1), count=2, day=3, run="b"), usage(asset(2), count=5, day=1, run="a")]
    )
    assert merged.need.permission.resource == "arn:aws:s3:::assets/*.zip"
    assert merged.count == 7
    assert (merged.first_seen, merged.last_seen) == (
        START + timedelta(days=1),
        START + timedelta(days=3),
    )
    assert merged.runs == ("a", "b")
    assert merged.events == ("s3:a", "s3:b")


def test_a_usage_with_nothing_volatile_is_the_same_object() -> None:
    stable = usage("arn:aws:s3:::b/k")
    assert by_pattern([stable]) == (stable,)


def test_outcomes_actions_and_denying_policies_are_not_mixed() -> None:
    usages = [
        usage(asset(1)),
        usage(asset(2), outcome=Outcome.UNKNOWN),
        usage(asset(3), action="s3:GetObject"),
        usage(asset(4), outcome=Outcome.DENIED, denial=NOT_ALLOWED),
        usage(asset(5), outcome=Outcome.DENIED, denial=FORBIDDEN),
    ]
    assert len(by_pattern(usages)) == 5


def test_a_denial_that_no_grant_fixes_is_not_mendable() -> None:
    """An explicit deny and a missing grant come from identity-based policies both."""
    usages = [
        usage(asset(n), outcome=Outcome.DENIED, denial=d)
        for n, d in ((1, NOT_ALLOWED), (2, FORBIDDEN))
    ]
    assert [merged.denial for merged in by_pattern(usages)] == [NOT_ALLOWED, FORBIDDEN]


RESOURCES = st.one_of(
    st.integers(0, 9).map(asset),
    st.integers(0, 9).map(lambda n: f"arn:aws:s3:::assets/p/{n}"),
    st.sampled_from(
        ["arn:aws:s3:::assets", "*", "arn:aws:s3:::assets/a${*}", "arn:aws:s3:::assets/*"]
    ),
)


@given(
    st.lists(
        st.builds(
            usage,
            RESOURCES,
            action=st.sampled_from(["s3:PutObject", "s3:GetObject"]),
            outcome=st.sampled_from([Outcome.ALLOWED, Outcome.UNKNOWN]),
            count=st.integers(1, 9),
            day=st.integers(0, 90),
            run=st.sampled_from("abc"),
        ),
        max_size=20,
    )
)
def test_totals_are_kept_and_every_resource_is_covered(usages: list[Usage]) -> None:
    merged = by_pattern(usages)
    assert sum(merged_usage.count for merged_usage in merged) == sum(
        plain_usage.count for plain_usage in usages
    )
    for plain_usage in usages:
        (home,) = [
            merged_usage
            for merged_usage in merged
            if (merged_usage.need.permission.action, merged_usage.outcome)
            == (plain_usage.need.permission.action, plain_usage.outcome)
            and resource_covers(
                merged_usage.need.permission.resource, plain_usage.need.permission.resource
            )
        ][:1]
        assert home.count >= 1
    assert {run for merged_usage in merged for run in merged_usage.runs} == {
        run for each_usage in usages for run in each_usage.runs
    }
    assert min((merged_usage.first_seen for merged_usage in merged), default=None) == min(
        (e.first_seen for e in usages), default=None
    )
    keys = [(merged_usage.need.permission, merged_usage.outcome) for merged_usage in merged]
    assert len(set(keys)) == len(keys)
