"""The fingerprint is equal for the same proposal and different for any other."""

from __future__ import annotations

import re

from hypothesis import assume, given
from hypothesis import strategies as st

from leastpriv.proposal.models import fingerprint
from leastpriv.pull_request.lifecycle import fingerprint_scope

Parts = tuple[str, bytes | None, bytes]
PARTS = st.tuples(st.text(), st.none() | st.binary(), st.binary())


@given(PARTS)
def test_the_fingerprint_is_stable_and_hexadecimal(parts: Parts) -> None:
    assert fingerprint(*parts) == fingerprint(*parts)
    assert re.fullmatch(r"[0-9a-f]{32}", fingerprint(*parts))


@given(PARTS, PARTS)
def test_the_fingerprint_changes_with_each_part(
    one: tuple[str, bytes | None, bytes], other: tuple[str, bytes | None, bytes]
) -> None:
    for index in range(3):
        scope, committed, proposed = (other if part == index else one for part in range(3))
        mixed = (scope[0], committed[1], proposed[2])
        assume((mixed[1] or b"") != (one[1] or b"") or mixed[0] != one[0] or mixed[2] != one[2])
        assert fingerprint(*mixed) != fingerprint(*one)


def test_the_fingerprint_is_equal_in_every_version_so_that_an_update_recreates_no_pull_request() -> (
    None
):
    assert fingerprint("arn iam/ci.json", b"{}", b"[]") == "f03625af593832621889c8f97894291e"


def test_the_fingerprint_begins_with_the_scope_whatever_the_proposal() -> None:
    drafted, redrafted, elsewhere = (
        fingerprint(*parts)
        for parts in (("s", b"{}", b"[]"), ("s", None, b"x"), ("t", b"{}", b"[]"))
    )
    assert (
        fingerprint_scope(drafted) == fingerprint_scope(redrafted) != fingerprint_scope(elsewhere)
    )


@given(st.binary(min_size=1), st.binary(min_size=1))
def test_moving_bytes_from_one_file_to_the_other_changes_the_fingerprint(
    one: bytes, other: bytes
) -> None:
    assert fingerprint("s", one + other, b"") != fingerprint("s", one, other)
