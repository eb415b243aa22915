"""Runs parsers on malformed inputs: `.venv/bin/python bench/fuzz.py [INPUTS] [SEED]`, a million by
default.

A third each goes to the parsers of events (bytes of a trail file), of denials (messages and logs)
and of policies (JSON, YAML, Terraform): samples of the right form, changed at random, and joined
with hostile names. Anything but a result or the product's own error is a crash, whose input is
printed; so is an input that takes more than five seconds.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from leastpriv.cloudtrail.record import parse_record
from leastpriv.cloudtrail.record_blocks import DamagedFileError, open_pieces
from leastpriv.cloudtrail.record_formats import parse_values, unwrap
from leastpriv.denials.log_text import clean_log_text
from leastpriv.denials.message import find_denials, read_denial
from leastpriv.errors import LeastprivError
from leastpriv.models import Call
from leastpriv.permissions.mapping import needs_of
from leastpriv.policy.document import parse
from tests.fakes.deploys import POLICY, usual_deploys
from tests.hostile.names import FIXED

NAMES = [name for name in FIXED if len(name) < 300]
RECORDS = usual_deploys()
MESSAGES = [
    *(str(record["errorMessage"]) for record in RECORDS if "errorMessage" in record),
    (
        "User: arn:aws:iam::111122223333:user/ci is not authorized to perform: s3:PutObject on"
        ' resource: "arn:aws:s3:::b/k" with an explicit deny in a service control policy'
    ),
    "An error occurred (AccessDenied) when calling the CreateBucket operation: Access Denied",
    (
        "api error UnauthorizedOperation: You are not authorized to perform this operation. Encoded"
        " authorization failure message: aGVsbG8"
    ),
]
STATEMENT = "Statement: [{Effect: Allow, Action: !Sub 's3:*', Resource: ['*']}]"
YAML = (
    "Resources:\n  P:\n    Type: AWS::IAM::Policy\n    Properties:\n      PolicyDocument:\n       "
    f" {STATEMENT}\n"
)
HCL = (
    'data "aws_iam_policy_document" "d" {\n  statement {\n    actions = ["s3:Get*"]\n    resources'
    ' = ["*"]\n  }\n}\n'
)
SLOWEST = 5.0
"""Seconds of one input."""


def changed(text: str, chance: random.Random) -> str:
    """The text with one to four changes: pieces removed, doubled, moved, replaced by names or by
    any characters.
    """
    for _ in range(chance.randrange(1, 5)):
        at, end = sorted(chance.randrange(len(text) + 1) for _ in "ab")
        end = min(end, at + chance.choice((0, 1, 4, 40)))
        piece = chance.choice((
            "", text[at:end] * 2, chance.choice(NAMES), chr(chance.randrange(0x3000)),
            chance.choice('{}[]":,\\\n'),
            json.dumps(chance.choice(NAMES)), "null", "1e999", "-" * chance.randrange(60),
        ))  # fmt: skip
        text = text[:at] + piece + text[end:]
    return text


def an_event(chance: random.Random) -> Callable[[], object]:
    """A trail file of one to three records."""
    text = json.dumps({"Records": [chance.choice(RECORDS) for _ in range(chance.randrange(1, 4))]})
    data = changed(text, chance).encode("utf-8", "surrogatepass")
    if chance.random() < 0.1:
        packed = bytearray(gzip.compress(data, 1))
        packed[chance.randrange(len(packed))] = chance.randrange(256)
        data = bytes(packed)

    def work() -> None:
        with suppress(DamagedFileError):
            for record in (
                each
                for value in parse_values(open_pieces(io.BytesIO(data))[1])
                for each in unwrap(value)
            ):
                call = parse_record(record)
                if isinstance(call, Call):
                    needs_of(call)

    return work


def a_refusal(chance: random.Random) -> Callable[[], object]:
    """A message, or some lines of a log."""
    text = changed(chance.choice(MESSAGES), chance)
    if chance.random() < 0.5:
        return lambda: read_denial(text)
    lines = "\n".join([text, chance.choice(NAMES), changed(chance.choice(MESSAGES), chance)])
    return lambda: find_denials(clean_log_text(lines))


def a_policy(chance: random.Random) -> Callable[[], object]:
    """A policy file."""
    kind = chance.choices(("p.json", "t.yaml", "m.tf"), (90, 8, 2))[0]
    text = {
        "p.json": json.dumps(POLICY, indent=chance.choice((None, 2))),
        "t.yaml": YAML,
        "m.tf": HCL,
    }[kind]
    data = changed(text, chance).encode("utf-8", "surrogatepass")
    return lambda: parse(data, kind).to_bytes()


def main(arguments: list[str]) -> int:
    """Prints the number of each result; 1 after any crash."""
    inputs = int(arguments[0]) if arguments else 1_000_000
    chance = random.Random(int(arguments[1]) if arguments[1:] else 20261126)  # noqa: S311 - to be the same each time
    counts: Counter[str] = Counter()
    began, slowest = time.monotonic(), 0.0
    for number in range(inputs):
        make = (an_event, a_refusal, a_policy)[number % 3]
        work, started = make(chance), time.process_time()
        try:
            work()
            counts[f"{make.__name__[2:].strip('_')}: read"] += 1
        except LeastprivError:
            counts[f"{make.__name__[2:].strip('_')}: refused with a sentence"] += 1
        except Exception:
            counts["crashes"] += 1
            print(f"input {number} of {make.__name__}:", flush=True)
            traceback.print_exc(limit=-4)
        took = time.process_time() - started
        if (number + 1) % 10_000 == 0:
            print(
                f"{number + 1:,} inputs, {counts['crashes']} crashes", file=sys.stderr, flush=True
            )
        slowest = max(slowest, took)
        if took > SLOWEST:
            counts["too slow"] += 1
            print(f"input {number} of {make.__name__} took {took:.1f} s", flush=True)
    for name, count in sorted(counts.items()):
        print(f"{name}: {count:,}")
    crashes = counts["crashes"] + counts["too slow"]
    print(
        f"{inputs:,} inputs, {crashes} crashes, the slowest {slowest:.2f} s,"
        f" {time.monotonic() - began:.0f} s in all"
    )
    return 1 if crashes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
