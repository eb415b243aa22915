"""EC2's encoded denials are found wherever a tool broke them, and decoded where the caller may
decode them.
"""

from __future__ import annotations

import io
import json
from string import ascii_letters, digits
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.denials.encoded_message import Decoder, read_decoded
from leastpriv.denials.job_logs import distinct_denials, read_log
from leastpriv.denials.message import read_denial
from leastpriv.errors import AwsError, AwsErrorKind
from leastpriv.models import Denial, DeniedBy

PHRASE = "You are not authorized to perform this operation. Encoded authorization failure message: "
INSTANCE = "arn:aws:ec2:us-east-1:123456789012:instance/i-dd01c9bd"
TEXTS = st.text("ABCDEFabcdef0123456789-_", min_size=60, max_size=3_000)
LONG_TEXTS = st.builds(
    lambda random, length: "".join(random.choices(ascii_letters + digits + "-_", k=length)),
    st.randoms(use_true_random=True),
    st.integers(501, 3_000),
)
"""AWS encrypts the message: no two parts of the text are equal."""


def decoded(**changes: Any) -> str:
    """The example of "DecodeAuthorizationMessage" in the AWS STS API Reference, in its shape (read
    2026-11-24).
    """
    answer = {
        "allowed": False,
        "explicitDeny": False,
        "matchedStatements": {"items": []},
        "failures": {"items": []},
        "context": {
            "principal": {
                "id": "AIDACKCEVSQ6C2EXAMPLE",
                "name": "Bob",
                "arn": "arn:aws:iam::123456789012:user/Bob",
            },
            "action": "ec2:StopInstances",
            "resource": INSTANCE,
            "conditions": {
                "items": [{"key": "ec2:Tenancy", "values": {"items": [{"value": "default"}]}}]
            },
        },
    }
    return json.dumps(answer | changes)


def refusal(encoded: str = "x" * 80) -> Denial:
    return read_denial(PHRASE + encoded)


@given(TEXTS)
def test_the_text_is_found_whole_in_a_record(encoded: str) -> None:
    assert refusal(encoded).encoded == encoded
    stated = (
        "User: arn:aws:iam::123456789012:user/Bob is not authorized to perform: ec2:StopInstances"
        " on resource: "
    )
    assert (
        read_denial(
            f"{stated}{INSTANCE} because no identity-based policy allows the ec2:StopInstances"
            f" action. Encoded authorization failure message: {encoded}"
        ).encoded
        == encoded
    )


@given(LONG_TEXTS, st.integers(60, 200))
def test_the_text_is_found_whole_where_a_terminal_broke_it(encoded: str, width: int) -> None:
    """CDK breaks at the width of the terminal, also inside words."""
    line = (
        "An error occurred (UnauthorizedOperation) when calling the RunInstances operation:"
        f" {PHRASE}{encoded}"
    )
    broken = "\n".join(line[start : start + width] for start in range(0, len(line), width))
    (logged_denial,) = read_log(io.BytesIO(f"start\n{broken}\n\ndone: all of it\n".encode()), "log")
    assert logged_denial.denial.encoded == encoded


def test_the_text_is_found_where_a_line_ends_before_the_colon() -> None:
    encoded = "aB3-_" * 60
    assert read_denial(f"{PHRASE.removesuffix(': ')}\n: {encoded}").encoded == encoded


def test_the_next_line_does_not_continue_an_unbroken_text() -> None:
    assert read_denial(f"{PHRASE}{'aB3-_' * 60}\nfailed\n").encoded == "aB3-_" * 60


def test_the_encoded_text_is_found_in_a_box() -> None:
    encoded = "aB3-_" * 60
    box = (
        f"╷\n│ Error: UnauthorizedOperation: {PHRASE}\n│ {encoded}\n│\n│   with"
        " aws_instance.web\n╵\n"
    )
    assert read_denial(box).encoded == encoded


@pytest.mark.parametrize(
    "cut", ["...", "*" * 9, "j4x3cFwZdJ...<snip>...ShGkw", f"{'x' * 80}…", "XXXX", ""]
)
def test_a_truncated_or_masked_text_is_ignored(cut: str) -> None:
    assert refusal(cut).encoded == ""


def test_denials_with_different_encoded_texts_are_distinct() -> None:
    log = "\n\n".join(PHRASE + text for text in ("a" * 80, "b" * 80, "a" * 80))
    distinct, _ = distinct_denials(read_log(io.BytesIO(log.encode()), "log"))
    assert [logged_denial.denial.encoded[0] for logged_denial in distinct] == ["a", "b"]


def test_the_documented_example_gives_action_resource_and_principal() -> None:
    denial = read_decoded(decoded(), refusal())
    assert (denial.actions, denial.resource, denial.principal) == (
        ("ec2:StopInstances",),
        INSTANCE,
        "arn:aws:iam::123456789012:user/Bob",
    )
    assert (denial.mendable, denial.explicit, denial.denied_by) == (True, False, DeniedBy.UNKNOWN)


def test_an_explicit_deny_is_not_mendable() -> None:
    denial = read_decoded(decoded(explicitDeny=True), refusal())
    assert (denial.mendable, denial.explicit, bool(denial.why)) == (False, True, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '"x"',
        decoded(allowed=True),
        decoded(context=None),
        decoded(context={"action": "ec2:Fly"}),
    ],
)
def test_another_text_leaves_the_denial_unchanged(text: str) -> None:
    assert read_decoded(text, refusal()) == refusal()


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(),
        lambda inner: st.dictionaries(
            st.sampled_from(
                ["allowed", "explicitDeny", "context", "action", "resource", "principal", "arn"]
            ),
            inner,
        ),
    )
)
def test_no_answer_raises_or_names_an_action_that_does_not_exist(value: object) -> None:
    assert read_decoded(json.dumps(value), refusal()).actions == ()


class Sts:
    """Decodes what it is asked to, and counts; some texts are refused."""

    def __init__(self, trouble: AwsErrorKind | None = None) -> None:
        self.trouble, self.asked = trouble, 0

    def __call__(self, encoded: str) -> str:
        self.asked += 1
        if self.trouble and encoded.startswith("x"):
            raise AwsError("AWS refused it.", self.trouble)
        return decoded()


def test_each_text_is_decoded_once() -> None:
    sts = Sts()
    decoder = Decoder(sts)
    denials = [decoder.decoded(refusal(text)) for text in ("a" * 80, "a" * 80, "b" * 80)]
    assert {denial.actions for denial in denials} == {("ec2:StopInstances",)}
    assert sts.asked == 2


def test_who_may_not_decode_is_asked_no_further_and_the_gap_says_why() -> None:
    sts = Sts(AwsErrorKind.DENIED)
    decoder = Decoder(sts)
    assert decoder.decoded(refusal("x" * 80)) == refusal("x" * 80)
    assert decoder.decoded(refusal("a" * 80)).actions == ()
    assert (sts.asked, decoder.trouble) == (1, ": AWS refused it")


def test_a_damaged_text_does_not_stop_decoding() -> None:
    decoder = Decoder(Sts(AwsErrorKind.OTHER))
    assert decoder.decoded(refusal("x" * 80)).actions == ()
    assert decoder.decoded(refusal("a" * 80)).actions == ("ec2:StopInstances",)


def test_what_names_its_action_is_not_decoded() -> None:
    sts = Sts()
    stated = read_denial(
        "User: arn:aws:iam::123456789012:user/Bob is not authorized to perform: ec2:RunInstances"
        f" on resource: {INSTANCE} because no identity-based policy allows the ec2:RunInstances"
        f" action. Encoded authorization failure message: {'a' * 80}"
    )
    assert Decoder(sts).decoded(stated) == stated
    assert sts.asked == 0
