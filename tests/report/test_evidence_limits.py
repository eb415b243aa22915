"""What the records cover, in sentences, as values and as a picture."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from leastpriv.aws.arns import Window
from leastpriv.cloudtrail.coverage import READ, WRITE, Coverage, DataStream, RegionEvents, mask_of
from leastpriv.report.evidence_limits import coverage_picture, coverage_sentences, coverage_value

FIRST = date(2026, 9, 1)


def days(numbers: Iterable[int]) -> frozenset[date]:
    return frozenset(FIRST + timedelta(days=number) for number in numbers)


SHOP = "arn:aws:s3:::shop"
FOUND = Coverage(
    days={"eu-west-1": days(range(10)), "us-east-1": days([0, 1, 5])},
    logged={
        RegionEvents("eu-west-1", READ): days(range(10)),
        RegionEvents("eu-west-1", WRITE): days(range(4)),
        RegionEvents("us-east-1", READ): days([0, 1, 5]),
        RegionEvents("eu-west-1", "kms.amazonaws.com"): days([3]),
    },
    data={
        DataStream("s3.amazonaws.com:PutObject", "write", f"{SHOP}/a/"): mask_of(
            [FIRST.toordinal()]
        ),
        DataStream("s3.amazonaws.com:PutObject", "write", f"{SHOP}/b/"): mask_of(
            [FIRST.toordinal() + 2]
        ),
        DataStream("s3.amazonaws.com:GetObject", "read", f"{SHOP}/b/"): mask_of(
            [FIRST.toordinal()]
        ),
    },
    named_regions=frozenset({"eu-west-1"}),
    window=Window(datetime(2026, 9, 1, tzinfo=UTC)),
)


def test_three_sentences_say_regions_with_days_kinds_and_data_events() -> None:
    assert list(coverage_sentences(FOUND)) == [
        (
            "Calendar days with records: `eu-west-1` 10 of 10, `us-east-1` 3 of 10. No other region"
            " has records."
        ),
        (
            "Management events recorded: reads in each of these regions; writes and AWS KMS in"
            " `eu-west-1` only. No region has events of the RDS Data API."
        ),
        f"Data events recorded: `{SHOP}` (read, write), and no others.",
    ]


def test_without_records_one_sentence_says_so() -> None:
    assert list(coverage_sentences(Coverage())) == ["Coverage: no record of any region."]
    assert not list(coverage_picture(Coverage()))


def test_many_regions_are_counted_after_the_first_twenty() -> None:
    many = Coverage(days={f"eu-west-{number}": days([0]) for number in range(30)})
    [sentence, *_] = coverage_sentences(many)
    assert "and 10 more regions" in sentence
    assert len(list(coverage_picture(many))) == 20


def test_values_name_each_day_without_a_record() -> None:
    value = coverage_value(FOUND)
    assert value["regions"] == [
        {
            "region": "eu-west-1",
            "days": 10,
            "first": "2026-09-01",
            "last": "2026-09-10",
            "without_record": [],
            "days_by_kind": {
                READ: 10,
                WRITE: 4,
                "kms.amazonaws.com": 1,
                "rdsdata.amazonaws.com": 0,
            },
        },
        {
            "region": "us-east-1",
            "days": 3,
            "first": "2026-09-01",
            "last": "2026-09-06",
            "without_record": ["2026-09-03", "2026-09-04", "2026-09-05"],
            "days_by_kind": {READ: 3, WRITE: 0, "kms.amazonaws.com": 0, "rdsdata.amazonaws.com": 0},
        },
    ]
    assert value["data_events"] == [
        {
            "resource": SHOP,
            "event": "s3.amazonaws.com:GetObject",
            "prefixes": [f"{SHOP}/b/"],
            "days": 1,
        },
        {
            "resource": SHOP,
            "event": "s3.amazonaws.com:PutObject",
            "prefixes": [f"{SHOP}/a/", f"{SHOP}/b/"],
            "days": 2,
        },
    ]
    assert (value["from"], value["to"], value["named_regions"]) == (
        "2026-09-01T00:00:00+00:00",
        None,
        ["eu-west-1"],
    )


def test_the_picture_separates_days_with_reads_and_writes_from_days_with_one_of_them() -> None:
    busy, quiet = coverage_picture(FOUND)
    assert busy == {
        "region": "eu-west-1",
        "days": 10,
        "whole": "M0.00 0h40.00v10h-40.00z",
        "part": "M40.00 0h60.00v10h-60.00z",
    }
    assert (quiet["whole"], quiet["part"]) == (
        "",
        "M0.00 0h20.00v10h-20.00zM50.00 0h10.00v10h-10.00z",
    )


def test_names_from_records_are_escaped() -> None:
    hostile = Coverage(
        days={"eu-west-1`|@octo": days([0])}, data={DataStream("x:Y", "", "arn:aws:s3:::a`b@c"): 1}
    )
    text = "\n".join(coverage_sentences(hostile))
    assert "``eu-west-1`\\u{7c}@\u200bocto``" in text
    assert "@octo" not in text
    assert "b@c" not in text
