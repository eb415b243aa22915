"""Leave the future out: what a policy made from the first n runs of a history refuses of the runs
after them.

    .venv/bin/python -m bench.future.future FOLDER OUT.json [--trailscraper PROGRAM]
        [--histories HISTORY …] [--runs N …] [--ways WAY …]

FOLDER holds histories that `bench.future.record` made. For each, and each n from 1 to 11 (or those
of `--runs`), policies are made so:

- `draft`: no policy is there; the proposal's first draft.
- `draft, used`: with those of the offered counterparts that the role has used on other things of
  the kind, also what is for a security reviewer.
- `draft, offers`: with all statements to copy that the proposal offers for later runs.
- `narrowed`: a policy of service wildcards is there (`s3:*` … on everything), and is narrowed with
  the default guards, but for the days, which a history of 33 has not.
- `listed, N %`: a policy is there that lists every action that the twelve runs need, on everything,
  and is narrowed with `minimum-confidence: N`: what goes too early is refused later.
- `star`: a policy of `*` on everything is narrowed as `narrowed` is.
- `trailscraper`: its policy from the same files.

The truth is the lab's enforcement: every question that it asked while the history was recorded is
asked again of the policy, in its own evaluator (`truth.py`). Used are the pairs of action and
resource that the twelve runs needed; granted those that the policy allows over the resources of
this history, `around` over those of all histories; a Deny takes its pairs away. *Destroying* are
the granted pairs that destroy, *needless* those of them that no run needed. PROGRAM is that of
trailscraper, which has a separate environment. OUT.json holds a row for each policy, which
`bench.future.tables` reads.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from math import exp
from pathlib import Path
from typing import Any

from bench.future.plan import existing_folder
from bench.future.truth import Askable, Pair, authorization_checks, pair
from leastpriv.config.settings import from_options
from leastpriv.diff.compare import compare
from leastpriv.permissions import catalog
from leastpriv.permissions.names.app_names import destroys
from leastpriv.permissions.patterns import escape_observed, resource_covers
from leastpriv.permissions.resource_types import action_of, fits
from leastpriv.pipeline.collect_evidence import RunEvidence
from leastpriv.pipeline.context import PullRequestContent, RunContext, Target
from leastpriv.pipeline.propose import make_proposal
from leastpriv.policy.document import Document, parse
from leastpriv.proposal.models import Options
from leastpriv.proposal.propose import propose as propose_changes
from leastpriv.report.changes import statements_to_copy
from tests.end_to_end.lab.lab import ACCOUNT, PYTHON, ROOT

ROLE = f"arn:aws:iam::{ACCOUNT}:role/ci-deploy"
REGION = "us-east-1"
"""The region of all histories."""
NOW = datetime(2026, 11, 24, tzinfo=UTC)
Policy = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One policy with its results."""

    history: str
    way: str
    runs: int
    """Number of runs that it was made from."""
    next: int
    """Pairs of the next run that it denies."""
    later: int
    """Pairs of all later runs that it denies."""
    refused: tuple[str, ...]
    """`ACTION on RESOURCE` of the next run, the first of them."""
    granted: int
    """Pairs of an action and a resource that this history ever used."""
    around: int
    """The same with the resources of all histories, as if all ten apps lived in one account."""
    used: int
    destroying: int
    """Granted pairs that destroy something of this history."""
    needless: int
    """Those of them that no run needed."""
    needless_pairs: tuple[str, ...] = ()
    refused_later: tuple[str, ...] = ()
    chance: float | None = None
    """The proposal's prediction for the next run; None for policies of others."""
    own: float | None = None
    turing: float | None = None
    coverage: float | None = None


class LabEvaluator:
    """The lab's evaluator, in its own environment."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [str(PYTHON), "-m", "tests.end_to_end.lab.checks"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def allowed(
        self, policies: Sequence[Policy], checks: Sequence[Mapping[str, Any]]
    ) -> list[bool]:
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
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=existing_folder)
    parser.add_argument("out", type=Path)
    parser.add_argument("--trailscraper", default="")
    parser.add_argument("--histories", nargs="*", default=[])
    parser.add_argument("--runs", nargs="*", type=int, default=[])
    parser.add_argument("--ways", nargs="*", default=[])
    options = parser.parse_args(arguments)
    folder: Path = options.folder
    histories = sorted(
        history for history in folder.iterdir() if (history / "checks.jsonl").exists()
    )
    checks = {history.name: authorization_checks(history) for history in histories}
    askable = Askable(check for checks_of_history in checks.values() for check in checks_of_history)
    evaluator = LabEvaluator()
    rows: list[Row] = []
    for history in histories:
        if options.histories and history.name not in options.histories:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            rows += _history(
                history, checks[history.name], askable, evaluator, Path(scratch), options
            )
        print(history.name, flush=True)
        options.out.write_text(
            json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8"
        )
    evaluator.close()


def _history(
    history: Path,
    checks: list[dict[str, Any]],
    askable: Askable,
    evaluator: LabEvaluator,
    scratch: Path,
    options: argparse.Namespace,
) -> Iterator[Row]:
    resources = {check["resource"] for check in checks} | {"*"}
    used_pairs = {pair(check) for check in checks}
    actions = sorted({check["action"] for check in checks})
    trail = scratch / "trail"
    for runs in range(1, max(check["run"] for check in checks) + 1):
        shutil.copytree(history / "records" / str(1000 + runs), trail / str(runs))
        if options.runs and runs not in options.runs:
            continue
        for way, policies, result in _policies(trail, actions, scratch, options):
            answers = evaluator.allowed(policies, checks)
            refused = [
                check for check, is_allowed in zip(checks, answers, strict=True) if not is_allowed
            ]
            granted = _granted(policies, askable)
            following = sorted({pair(check) for check in refused if check["run"] == runs})
            later = sorted({pair(check) for check in refused if check["run"] >= runs})
            destroying = {
                (action, resource)
                for action, resource in granted
                if resource in resources and destroys(action)
            }
            yield Row(
                history=history.name,
                way=way,
                runs=runs,
                next=len(following),
                later=len(later),
                refused=tuple(f"{action} on {resource}" for action, resource in following[:12]),
                granted=sum(resource in resources for _, resource in granted),
                around=len(granted),
                used=len(used_pairs),
                destroying=len(destroying),
                needless=len(destroying - used_pairs),
                needless_pairs=_texts(destroying - used_pairs),
                refused_later=_texts(later),
                **(_said(result) if result else {}),
            )


def _texts(pairs: Iterable[Pair]) -> tuple[str, ...]:
    return tuple(f"{action} on {resource}" for action, resource in sorted(pairs))


def _said(result: PullRequestContent) -> dict[str, float]:
    proof = result.context.proof
    if proof.confidence is None:
        return {}
    all_runs = proof.confidence.whole
    return {
        "chance": result.context.chance.estimate,
        "own": all_runs.chance,
        "turing": 1 - exp(-(1 - all_runs.coverage) * all_runs.uses / max(all_runs.runs, 1)),
        "coverage": all_runs.coverage,
    }


def _policies(
    trail: Path, actions: list[str], scratch: Path, options: argparse.Namespace
) -> Iterator[tuple[str, list[Policy], PullRequestContent | None]]:
    for way, policies, result in _all_policies(trail, actions, scratch, options):
        if not options.ways or way in options.ways:
            yield way, policies, result


def _all_policies(
    trail: Path, actions: list[str], scratch: Path, options: argparse.Namespace
) -> Iterator[tuple[str, list[Policy], PullRequestContent | None]]:
    drafted = proposal(trail, scratch, None)
    documents = written(drafted)
    yield "draft", documents, drafted
    if options.ways == ["draft"]:
        return
    evidence = drafted.context.evidence
    used_actions = {usage.need.permission.action for usage in evidence.usages}
    used_offers = [
        {"Effect": "Allow", "Action": offer.action, "Resource": list(offer.resources)}
        for offer in drafted.context.suggested_actions
        if offer.action in used_actions and offer.resources
    ]
    yield "draft, used", [*documents, {"Version": "2012-10-17", "Statement": used_offers}], drafted
    offered = statements_to_copy(drafted.context.suggested_actions)
    yield "draft, offers", [*documents, {"Version": "2012-10-17", "Statement": offered}], drafted
    wildcards = sorted({f"{action.partition(':')[0]}:*" for action in actions})
    narrowed = proposal(trail, scratch, _on_everything(wildcards))
    yield "narrowed", written(narrowed), narrowed
    if not options.ways or "star" in options.ways:
        narrowed = proposal(trail, scratch, _on_everything(["*"]))
        yield "star", written(narrowed), narrowed
    policy_of_actions = parse(json.dumps(_on_everything(actions)).encode(), "policy.json")
    for percent in (0, 80, 90):
        limits = Options(minimum_days=0, minimum_confidence=percent)
        difference = compare(policy_of_actions, [], evidence)
        limited = propose_changes(policy_of_actions, difference, evidence, limits)
        yield f"listed, {percent} %", [_value(document) for document in limited.documents], None
    if options.trailscraper:
        yield "trailscraper", [_of_trailscraper(options.trailscraper, trail)], None


def _on_everything(actions: list[str]) -> Policy:
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}],
    }


def proposal(trail: Path, scratch: Path, committed: Policy | None) -> PullRequestContent:
    """The product's proposal for the deploy role from a trail, with or without a committed
    policy.
    """
    policy = scratch / "policy.json"
    policy.unlink(missing_ok=True)
    if committed:
        policy.write_text(json.dumps(committed, indent=2), encoding="utf-8")
    inputs: dict[str, str | tuple[str, ...]] = {
        "role-arn": ROLE,
        "policy-file": str(policy),
        "trails": (str(trail),),
        "aws-regions": REGION,
        "minimum-days": "0",
    }
    settings = from_options(inputs)
    target = Target(settings, "policy.json", scratch)
    run = RunContext(settings, (target,), NOW, (trail,))
    return make_proposal(run, target, lambda: RunEvidence(run).of(target))


def written(result: PullRequestContent) -> list[Policy]:
    """The policies of a proposal."""
    return [_value(document) for document in result.context.proposal.documents]


def _value(document: Document) -> Policy:
    value: Policy = json.loads(document.to_bytes())
    return value


def _of_trailscraper(program: str, trail: Path) -> Policy:
    # Without a window it reads only the last days.
    select = [program, "select", "--log-dir", str(trail), "--filter-assumed-role-arn", ROLE]
    selected = subprocess.run(
        [*select, "--from", "2026-01-01", "--to", "2027-01-01"], capture_output=True, check=True
    )
    generated = subprocess.run(
        [program, "generate"], input=selected.stdout, capture_output=True, check=True
    )
    policy: Policy = json.loads(generated.stdout)
    return policy


def _granted(policies: Sequence[Policy], askable: Askable) -> set[Pair]:
    """Pairs of an action and one of the known resources of its types; `*` if it has none."""
    pairs: dict[str, set[Pair]] = {"Allow": set(), "Deny": set()}
    for policy in policies:
        for statement in each_of(policy["Statement"]):
            entries = each_of(statement["Action"])
            for action in {
                action_name
                for entry in entries
                for action_name in (catalog.expand(entry) or (entry,))
            }:
                pairs[statement["Effect"]].update(
                    (action, resource)
                    for resource in granted_on(action, each_of(statement["Resource"]), askable)
                )
    return pairs["Allow"] - pairs["Deny"]


def granted_on(action: str, patterns: Sequence[str], askable: Askable) -> Iterator[str]:
    """The known resources of the action's types that the patterns cover."""
    documented = action_of(action)
    if documented is None or not documented.resource_types:
        yield "*"
        return
    for resource in askable.resources:
        escaped = escape_observed(resource)
        if resource == "*":
            yield from ("*",) if "*" in patterns else ()
        elif (
            fits(action, resource)
            and askable.can_be(action, resource)
            and any(resource_covers(pattern, escaped) for pattern in patterns)
        ):
            yield resource


def each_of(value: Any) -> list[Any]:
    """A value as a list, as policies may write either."""
    return value if isinstance(value, list) else [value]


if __name__ == "__main__":
    main(sys.argv[1:])
