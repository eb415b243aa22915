"""Leave the future out: what a policy made from the first n runs of a history refuses of the runs after them.

    .venv/bin/python -m bench.future.future FOLDER OUT.json [TRAILSCRAPER [HISTORY …]]

FOLDER holds histories that `bench.future.record` made. For each, and each n from 1 to 11, policies are made so:

- `draft`: no policy is there; the proposal's first draft.
- `draft, used`: with those of the offered counterparts that the role has used on other things of the kind, also what
  is for a security reviewer.
- `draft, offers`: with all statements to copy that the proposal offers for later runs.
- `narrowed`: a policy of service wildcards is there (`s3:*` … on everything), and is narrowed with the default guards,
  but for the days, which a history of 33 has not.
- `listed, N %`: a policy is there that lists every action that the twelve runs need, on everything, and is narrowed
  with `minimum-confidence: N`: what goes too early is refused later.
- `trailscraper`: its policy from the same files.

The truth is the lab's enforcement: every question that it asked while the history was recorded is asked again of the
policy, in its own evaluator. Granted are pairs of an action and a resource, over all resources that any history used;
used are the pairs that the twelve runs needed. TRAILSCRAPER is its program, of an environment of its own. OUT.json
holds a row for each policy; `bench.future.tables` reads it.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from math import exp
from pathlib import Path
from typing import Any

from bench.future.plan import RUNS
from leastpriv.diff.compare import compare
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import escape_observed, resource_covers
from leastpriv.permissions.resource_types import action_of, fits
from leastpriv.pipeline import Result, run
from leastpriv.policy.document import Document, parse
from leastpriv.proposal.propose import propose
from leastpriv.proposal.situation import Options
from leastpriv.report.offers import statements
from leastpriv.settings import from_options
from leastpriv.workplace import Workplace
from tests.end_to_end.lab.lab import ACCOUNT, PYTHON, ROOT

ROLE = f"arn:aws:iam::{ACCOUNT}:role/ci-deploy"
NOW = datetime(2026, 11, 24, tzinfo=UTC)
Pair = tuple[str, str]
Policy = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One policy, judged."""

    history: str
    way: str
    runs: int
    """From so many runs it was made."""
    next: int
    """Pairs of the next run that it refuses."""
    later: int
    """Pairs of all later runs that it refuses."""
    refused: tuple[str, ...]
    """`ACTION on RESOURCE` of the next run, the first of them."""
    granted: int
    used: int
    chance: float | None = None
    """What the proposal says of the next run; None of others' policies."""
    own: float | None = None
    turing: float | None = None
    coverage: float | None = None


class Judge:
    """The lab's evaluator, in its own environment."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [str(PYTHON), "-m", "tests.end_to_end.lab.checks"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def allowed(self, policies: Sequence[Policy], checks: Sequence[Mapping[str, Any]]) -> list[bool]:
        """For each check whether the policies allow it."""
        question, answer = self._process.stdin, self._process.stdout
        if question is None or answer is None:
            raise RuntimeError("the evaluator has no pipes")
        question.write(json.dumps({"policies": policies, "checks": checks}) + "\n")
        question.flush()
        answers: list[bool] = json.loads(answer.readline())
        return answers

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def main(arguments: list[str]) -> None:
    """Measures every history of a folder."""
    folder, out = Path(arguments[0]), Path(arguments[1])
    program, chosen = next(iter(arguments[2:3]), ""), arguments[3:]
    places = sorted(place for place in folder.iterdir() if (place / "checks.jsonl").exists())
    checks = {place.name: _checks(place) for place in places}
    universe = sorted({check["resource"] for each in checks.values() for check in each} | {"*"})
    judge = Judge()
    rows: list[Row] = []
    for place in places:
        if chosen and place.name not in chosen:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            rows += _history(place, checks[place.name], universe, judge, Path(scratch), program)
        print(place.name, flush=True)
        out.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
    judge.close()


_NOT_AS_AWS = (
    re.compile(r"(?:events|states|ssm|ecs):.* on \*"),
    re.compile(r"events:\w+ on arn:aws:events:[^:]+:\d+:rule/default/.*"),
)
"""Questions that the lab asks otherwise than AWS, so that no policy made for AWS can allow them: of calls that name a
resource it asks on `*`; and AWS calls the rules of the default event bus `rule/NAME`."""


def _checks(place: Path) -> list[dict[str, Any]]:
    """The distinct questions of a history, each with the number of its run, but for those of `_NOT_AS_AWS`."""
    found: dict[str, dict[str, Any]] = {}
    for line in (place / "checks.jsonl").read_text(encoding="utf-8").splitlines():
        check = json.loads(line)
        known = action_of(check["action"])
        asked = f"{check['action']} on {check['resource']}"
        lost = known is not None and known.resource_types and any(each.fullmatch(asked) for each in _NOT_AS_AWS)
        if ":assumed-role/ci-deploy/" in check["principal"] and not lost:
            found.setdefault(line, {**check, "run": int(check["principal"].rpartition("/")[2]) - 1001})
    return list(found.values())


def _history(
    place: Path, checks: list[dict[str, Any]], universe: Sequence[str], judge: Judge, scratch: Path, program: str
) -> Iterator[Row]:
    used = {_pair(check) for check in checks}
    actions = sorted({check["action"] for check in checks})
    trail = scratch / "trail"
    for runs in range(1, RUNS):
        shutil.copytree(place / "records" / str(1000 + runs), trail / str(runs))
        for way, policies, result in _policies(trail, actions, scratch, program):
            answers = judge.allowed(policies, checks)
            refused = [check for check, is_allowed in zip(checks, answers, strict=True) if not is_allowed]
            following = sorted({_pair(check) for check in refused if check["run"] == runs})
            yield Row(
                history=place.name,
                way=way,
                runs=runs,
                next=len(following),
                later=len({_pair(check) for check in refused if check["run"] >= runs}),
                refused=tuple(f"{action} on {resource}" for action, resource in following[:12]),
                granted=len(_granted(policies, universe)),
                used=len(used),
                **(_said(result) if result else {}),
            )


def _pair(check: Mapping[str, Any]) -> Pair:
    known = action_of(check["action"])
    return check["action"], check["resource"] if known is None or known.resource_types else "*"


def _said(result: Result) -> dict[str, float]:
    proof = result.subject.proof
    if proof.confidence is None:
        return {}
    whole = proof.confidence.whole
    return {
        "chance": proof.chance,
        "own": whole.chance,
        "turing": 1 - exp(-whole.expected),
        "coverage": whole.coverage,
    }


def _policies(
    trail: Path, actions: list[str], scratch: Path, program: str
) -> Iterator[tuple[str, list[Policy], Result | None]]:
    drafted = _proposal(trail, scratch, None)
    documents = _written(drafted)
    yield "draft", documents, drafted
    evidence = drafted.subject.evidence
    known = {usage.need.permission.action for usage in evidence.usages}
    used = [
        {"Effect": "Allow", "Action": offer.action, "Resource": list(offer.resources)}
        for offer in drafted.subject.offers
        if offer.action in known and offer.resources
    ]
    yield "draft, used", [*documents, {"Version": "2012-10-17", "Statement": used}], drafted
    offered = statements(drafted.subject.offers)
    yield "draft, offers", [*documents, {"Version": "2012-10-17", "Statement": offered}], drafted
    wildcards = sorted({f"{action.partition(':')[0]}:*" for action in actions})
    narrowed = _proposal(trail, scratch, _on_everything(wildcards))
    yield "narrowed", _written(narrowed), narrowed
    listed = parse(json.dumps(_on_everything(actions)).encode(), "policy.json")
    for percent in (0, 80, 90):
        options = Options(minimum_days=0, minimum_confidence=percent)
        draft = propose(listed, compare(listed, [], evidence), evidence, options)
        yield f"listed, {percent} %", [_value(document) for document in draft.documents], None
    if program:
        yield "trailscraper", [_of_trailscraper(program, trail)], None


def _on_everything(actions: list[str]) -> Policy:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}


def _proposal(trail: Path, scratch: Path, committed: Policy | None) -> Result:
    policy = scratch / "policy.json"
    policy.unlink(missing_ok=True)
    if committed:
        policy.write_text(json.dumps(committed, indent=2), encoding="utf-8")
    inputs = {"role-arn": ROLE, "policy-file": str(policy), "trails": (str(trail),), "minimum-days": "0"}
    return run(from_options(inputs), Workplace("policy.json", scratch, (trail,)), NOW, lambda _: None)


def _written(result: Result) -> list[Policy]:
    return [_value(document) for document in result.subject.draft.documents]


def _value(document: Document) -> Policy:
    value: Policy = json.loads(document.to_bytes())
    return value


def _of_trailscraper(program: str, trail: Path) -> Policy:
    # Without a window it takes the last days alone.
    select = [program, "select", "--log-dir", str(trail), "--filter-assumed-role-arn", ROLE]
    selected = subprocess.run([*select, "--from", "2026-01-01", "--to", "2027-01-01"], capture_output=True, check=True)
    made = subprocess.run([program, "generate"], input=selected.stdout, capture_output=True, check=True)
    policy: Policy = json.loads(made.stdout)
    return policy


def _granted(policies: Sequence[Policy], universe: Sequence[str]) -> set[Pair]:
    """Pairs of an action and one of the known resources that it can be asked for on; `*` where it takes none."""
    found: set[Pair] = set()
    for policy in policies:
        statements = policy["Statement"]
        for statement in [statements] if isinstance(statements, dict) else statements:
            entries = _list(statement["Action"])
            for action in {each for entry in entries for each in (catalog.expand(entry) or (entry,))}:
                found.update((action, on) for on in _on(action, _list(statement["Resource"]), universe))
    return found


def _on(action: str, patterns: Sequence[str], universe: Sequence[str]) -> Iterator[str]:
    known = action_of(action)
    if known is None or not known.resource_types:
        yield "*"
        return
    for resource in universe:
        escaped = escape_observed(resource)
        if resource == "*":
            yield from ("*",) if "*" in patterns else ()
        elif fits(action, resource) and any(resource_covers(each, escaped) for each in patterns):
            yield resource


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


if __name__ == "__main__":
    main(sys.argv[1:])
