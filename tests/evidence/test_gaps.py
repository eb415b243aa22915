"""What several trails leave out together."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from leastpriv.cloudtrail.coverage import common_gaps, merge_source_gaps
from leastpriv.models import Gap, GapKind, Scope

READS = Scope(events=("management-read",))
WRITES = Scope(events=("management-write",))
KMS = Scope(services=("kms",))
OBJECTS = Scope(events=("AWS::S3::Object",), data_events=True)
ALL_TYPES = Scope(events=("AWS::S3::Object", "AWS::SQS::Queue"), data_events=True)
BUT_SHOP = Scope(events=("AWS::S3::Object read",), outside=("arn:aws:s3:::shop/*",))
BUT_LOGS = Scope(events=("AWS::S3::Object read",), outside=("arn:aws:s3:::logs/*",))
BUT_BOTH = Scope(
    events=("AWS::S3::Object read",), outside=("arn:aws:s3:::shop/*", "arn:aws:s3:::logs/*")
)
WRITTEN = Scope(events=("AWS::S3::Object write",))
FRANKFURT = Scope(regions=("eu-central-1",))
LOST = Gap(GapKind.SOURCE_FAILED, Scope(), "lost")


def settings(*scopes: Scope) -> list[Gap]:
    return [
        Gap(GapKind.NOT_LOGGED, scope, f"trail {number}") for number, scope in enumerate(scopes)
    ]


@pytest.mark.parametrize(
    ("sources", "together"),
    [
        ([[READS, KMS]], [READS, KMS]),
        ([[FRANKFURT, OBJECTS], [OBJECTS]], [OBJECTS]),
        ([[READS], [WRITES]], []),
        ([[READS, WRITES], [OBJECTS]], []),
        ([[READS, OBJECTS], [READS]], [READS]),
        ([[KMS], [READS]], [Scope(services=("kms",), events=("management-read",))]),
        ([[FRANKFURT], [FRANKFURT]], [FRANKFURT]),
        ([[FRANKFURT], [Scope(regions=("eu-west-1",))]], []),
        ([[BUT_SHOP], [BUT_LOGS]], [BUT_BOTH]),
        ([[BUT_SHOP], [WRITTEN]], []),
        # Who selects no objects at all does not show those that the other leaves out, so nothing
        # excuses them.
        ([[BUT_SHOP], [ALL_TYPES]], [BUT_SHOP]),
        ([[ALL_TYPES], [BUT_SHOP]], [BUT_SHOP]),
        ([[READS], []], [READS]),
        ([[], []], []),
        ([], []),
    ],
)
def test_an_event_is_hidden_only_where_every_trail_leaves_it_out(
    sources: list[list[Scope]], together: list[Scope]
) -> None:
    gaps = merge_source_gaps([settings(*scopes) for scopes in sources])
    assert [(gap.kind, gap.scope) for gap in gaps] == [
        (GapKind.NOT_LOGGED, scope) for scope in together
    ]


def test_a_trail_without_exclusions_hides_no_call() -> None:
    assert common_gaps([settings(READS, KMS), []]) == []
    assert common_gaps([settings(READS)]) == settings(READS)


def test_gaps_of_other_kinds_stay_whatever_another_source_has() -> None:
    assert merge_source_gaps([[LOST, *settings(READS)], settings(WRITES), [LOST]]) == (LOST, LOST)


parts = st.lists(st.sampled_from("ab"), unique=True, max_size=2).map(tuple)
scopes = st.builds(Scope, services=parts, events=parts, regions=parts)
coordinates = [(service, event, region) for service in "abc" for event in "abc" for region in "abc"]


def hidden(gaps: list[Gap], place: tuple[str, str, str]) -> bool:
    """Whether a use of a service by an event in a region may lie in one of the gaps."""
    parts = [(gap.scope.services, gap.scope.events, gap.scope.regions) for gap in gaps]
    return any(
        all(not part or coordinate in part for part, coordinate in zip(three, place, strict=True))
        for three in parts
    )


@given(st.lists(st.lists(scopes, min_size=1, max_size=3), min_size=1, max_size=3))
@example([[Scope(), Scope(regions=("a", "b"))], [Scope(regions=("b", "a"))]])
def test_a_common_gap_is_in_the_gaps_of_each_trail(sources: list[list[Scope]]) -> None:
    gaps_of_source = [settings(*scopes) for scopes in sources]
    together = list(merge_source_gaps(gaps_of_source))
    for call_place in coordinates:
        assert hidden(together, call_place) == all(
            hidden(gaps, call_place) for gaps in gaps_of_source
        )
