"""Each file of `tests/cases_review` is a promise: this edit and these calls give this verdict and
these lines.

`tests/cases_review/README.md` describes the format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from leastpriv.proposal.models import Options
from leastpriv.proposal.review_models import Review
from leastpriv.report.context import ReviewContext
from leastpriv.report.review import review_body
from tests.fakes.deploys import FIRST, ROLE, Record, deploys, record
from tests.fakes.reviews import RUN_URL, Policy, reviewed

CASES = sorted((Path(__file__).parent / "cases_review").glob("*.json"))
SECTIONS = re.compile(
    r"^#### (?:Needs a security reviewer|Removes [^\n]+|Adds|Conditions and"
    r" Deny)\n\n(.+?)(?=\n\n(?:####|</details>))",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"\[(\d+)\]\(([^)]+)\)")


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path, tmp_path: Path) -> None:
    """The edit and the evidence of the case give exactly the expected lines."""
    case = json.loads(path.read_text(encoding="utf-8"))
    context = run_case(case, tmp_path)
    found = outcome(context.review, review_body(context))
    found["lines"] = cut(found["lines"], case["expect"]["lines"])
    assert {key: found[key] for key in case["expect"]} == case["expect"]


def run_case(case: Mapping[str, Any], folder: Path) -> ReviewContext:
    """Write the case's records as a trail and review its edit."""
    return reviewed(
        folder,
        policy(case["base"]),
        policy(case["head"]),
        list(records(case)),
        attached=[policy(each) for each in case.get("also-attached", ())],
        options=Options(minimum_days=0, minimum_runs=1, never_add=tuple(case.get("never-add", ()))),
    )


def test_there_are_enough_cases_each_with_reason_verdict_and_lines() -> None:
    """Each case gives a reason, and lines, without which any result would pass."""
    assert len(CASES) >= 20
    for path in CASES:
        case = json.loads(path.read_text(encoding="utf-8"))
        assert case["title"], path.name
        assert case["why"], path.name
        assert {"verdict", "lines", "replay"} <= case["expect"].keys(), path.name


def cut(lines: list[str], expected: list[str]) -> list[str]:
    """The lines, truncated if the expected ones end in `…`: actions that AWS adds must not break a
    case.
    """
    shown = [
        wanted if wanted.endswith("…") and line.startswith(wanted[:-1]) else line
        for line, wanted in zip(lines, expected, strict=False)
    ]
    return shown + lines[len(shown) :]


def policy(value: Any) -> Policy:
    """A policy as JSON, as lines of text, or none."""
    return "\n".join(value) if isinstance(value, list) else value


def records(case: Mapping[str, Any]) -> Iterator[Record]:
    """The records of all runs; another principal reads before and after, so that missing events
    prove absence.
    """
    for number, block in enumerate(case.get("runs", ())):
        first = datetime.fromisoformat(block["first"]) if "first" in block else FIRST
        times, days = block.get("times", 1), block.get("every-days", 1)
        yield from deploys(block["calls"], first=first, times=times, days=days, number=100 * number)
    if case.get("runs") and case.get("others", True):
        for region in ("eu-west-1", "us-east-1"):
            for day in (-1, 60):
                call = {"event": "ec2:DescribeRegions", "region": region}
                yield record(
                    call,
                    FIRST + timedelta(days=day),
                    "watch",
                    ROLE.replace("ci-deploy", "somebody-else"),
                )


def outcome(review: Review, body: str) -> dict[str, Any]:
    """What a case may expect, in words."""
    sections = (found[1].splitlines() for found in SECTIONS.finditer(body))
    return {
        "verdict": review.verdict.value,
        "breaks": review.breaks,
        "new-access-without-evidence": review.has_new_access_without_evidence,
        "lines": [
            _short(line)
            for lines in sections
            for line in lines
            if not line.startswith(("| Entry", "| ---"))
        ],
        "replay": f"{review.before.allowed} -> {review.after.allowed} of {review.after.succeeded}",
        "refused": sum(group.count for group in review.newly_denied),
        "may-be-refused": sum(group.count for group in review.may_be_denied),
        "guards": sorted(
            {
                f"{action}: {guard_result.guard}"
                for removal in review.removals
                for guard_result, actions in removal.unseen.items()
                for action in actions
            }
        ),
    }


def _short(line: str) -> str:
    """A line without the URLs of runs."""
    for number, address in LINK.findall(line):
        assert address == RUN_URL.format(run=number)
    return LINK.sub(r"[\1]", line)
