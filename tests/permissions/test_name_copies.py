"""Words that are open in a name."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from leastpriv.permissions.name_copies import pattern_of_words
from leastpriv.permissions.patterns import resource_covers

HERE = "eu-west-1:111122223333"


def test_words_of_the_run_are_open_where_enough_remains() -> None:
    queue = f"arn:aws:sqs:{HERE}:"
    assert (
        pattern_of_words(f"{queue}shop-pr-31-orders", frozenset({"pr-31", "31"}))
        == f"{queue}shop-*-orders"
    )
    assert (
        pattern_of_words(f"{queue}pr-31-shop-orders", frozenset({"pr-31"}))
        == f"{queue}*-shop-orders"
    )
    assert pattern_of_words(f"{queue}qa", frozenset({"qa"})) == f"{queue}qa"
    assert pattern_of_words(f"{queue}aqab-orders", frozenset({"qa"})) == f"{queue}aqab-orders"
    parameter = f"arn:aws:ssm:{HERE}:parameter/qa/password"
    assert pattern_of_words(parameter, frozenset({"qa"})) == parameter


WORD = st.sampled_from(["prod", "qa", "pr-31", "shop", "orders", "*", "Api", "7", "aws/lambda", ""])
NAME = st.lists(WORD, min_size=1, max_size=4).map("-".join)
ARN = st.tuples(
    st.sampled_from(
        [
            f"sqs:{HERE}:",
            "s3:::",
            f"logs:{HERE}:log-group:",
            "iam::111122223333:role/",
            f"ssm:{HERE}:parameter/",
        ]
    ),
    NAME,
).map(lambda each: f"arn:aws:{each[0]}{each[1]}")


@given(ARN, st.sets(WORD))
def test_words_of_a_run_open_no_whole_name(resource: str, words: set[str]) -> None:
    pattern = pattern_of_words(resource, frozenset(words))
    assert resource_covers(pattern, resource)
    assert pattern == resource or not pattern.endswith((":*", "role/*", "parameter/*"))
