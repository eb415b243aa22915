"""Each file of `tests/cases_evaluator` is a rule of AWS about conditions: these requests get these
answers.

`tests/cases_evaluator/README.md` describes the format.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leastpriv.policy.document import Document, parse
from leastpriv.policy.evaluate import Request, evaluate

CASES = sorted((Path(__file__).parent / "cases_evaluator").glob("*.json"))
CHECKS = [
    (path, number)
    for path in CASES
    for number in range(len(json.loads(path.read_bytes())["checks"]))
]


def policy(*statements: dict[str, object]) -> Document:
    """Makes a policy about `iam:TagUser` on all users."""
    full = [{"Action": "iam:TagUser", "Resource": "*", **each} for each in statements]
    return parse(json.dumps({"Version": "2012-10-17", "Statement": full}).encode(), "policy.json")


@pytest.mark.parametrize(
    ("path", "number"), CHECKS, ids=lambda value: getattr(value, "stem", value)
)
def test_case(path: Path, number: int) -> None:
    """The statement gives the expected answer to the request."""
    check = json.loads(path.read_bytes())["checks"][number]
    context = {
        key: tuple(value) if isinstance(value, list) else (value,)
        for key, value in check["context"].items()
    }
    request = Request(
        "iam:TagUser", "arn:aws:iam::111122223333:user/ci", context, context_complete=True
    )
    judged = {"Effect": check["effect"], "Condition": check["condition"]}
    found = policy(judged) if check["effect"] == "Allow" else policy({"Effect": "Allow"}, judged)
    assert evaluate(request, [found]).effect == check["answer"]


def test_there_are_enough_cases_and_each_says_why() -> None:
    assert len(CASES) >= 12
    for path in CASES:
        case = json.loads(path.read_text(encoding="utf-8"))
        assert case["title"], path.name
        assert case["why"], path.name
        assert len({check["answer"] for check in case["checks"]}) > 1, path.name
