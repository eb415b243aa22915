"""Real CloudTrail records of public repositories: none breaks the product, invents an action, or is
denied afterwards.

Skipped without the records, which are not part of the repository. See `shared_folder`.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from leastpriv.aws.arns import Principals, Window
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.denials.message import read_denial
from leastpriv.diff.compare import compare
from leastpriv.evidence.models import CallGroup, Evidence
from leastpriv.models import Call, Outcome
from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import Verdict
from leastpriv.permissions.mapping import needs_of
from leastpriv.permissions.patterns import has_variable
from leastpriv.permissions.resource_types import fits
from leastpriv.pipeline.sources import read_evidence
from leastpriv.proposal.models import Lifecycle, Options, Proposal
from leastpriv.proposal.proof import prove
from leastpriv.proposal.propose import propose

NOT_IN_CATALOGUE = {
    ("s3.amazonaws.com", "GetStorageLensDashboardDataInternal"): "an internal API of the console",
    ("ec2.amazonaws.com", "RegisterManagedInstance"): "an internal API of Systems Manager",
    ("ec2messages.amazonaws.com", "SendHeartbeat"): "the agent's API; no such action",
    (
        "cloudtrail.amazonaws.com",
        "EnableRegion",
    ): "a fabricated fixture: the call is account:EnableRegion",
    ("ec2.amazonaws.com", "PutBucketLogging"): "a fabricated fixture: the call is S3's",
}
"""Events of the records without an action in the catalogue, and the reason."""

NOT_THE_MAPPED_ACTION: Mapping[tuple[str, str, str], str] = {}
"""(source, event, denied action) where the denial rightly names another action than the event maps
to.
"""


@pytest.fixture(scope="module")
def files(shared_folder: Path) -> list[Path]:
    paths = sorted((shared_folder / "corpus" / "records").glob("*.jsonl.gz"))
    assert paths
    return paths


@pytest.fixture(scope="module")
def calls(files: list[Path]) -> list[Call]:
    items = [item for file in files for item in TrailFolder(file).read(Window(), Principals())]
    return [item for item in items if isinstance(item, Call)]


@dataclass(frozen=True)
class FirstDraft:
    """A first policy of a principal, and the evidence that it is made from."""

    evidence: Evidence
    proposal: Proposal


@pytest.fixture(scope="module")
def drafts(files: list[Path]) -> list[FirstDraft]:
    """For each principal of each file, a first policy from all of its evidence."""
    return [
        FirstDraft(evidence, first_policy(evidence))
        for file in files
        for evidence in read_evidence([TrailFolder(file)], Window(), None).values()
    ]


def first_policy(evidence: Evidence) -> Proposal:
    options = Options(lifecycle=Lifecycle.OFF)
    return propose(None, compare(None, [], evidence), evidence, options)


def test_the_records_hold_calls_of_many_kinds(calls: list[Call]) -> None:
    """So that the tests below cannot pass without records."""
    assert len(calls) > 3_000
    assert len({(call.source, call.name) for call in calls}) > 280
    assert (
        len(
            {
                action
                for call in calls
                for action in (n.permission.action for n in needs_of(call).needs)
            }
        )
        > 250
    )


def test_every_event_is_mapped_or_known_to_have_no_action(calls: list[Call]) -> None:
    open_events = {
        (call.source, call.name): needs_of(call).verdict
        for call in calls
        if needs_of(call).verdict in (Verdict.UNMAPPED, Verdict.UNVERIFIED)
    }
    assert open_events == dict.fromkeys(NOT_IN_CATALOGUE, Verdict.UNVERIFIED)


def test_every_action_is_in_the_catalogue_or_marked_unverified(calls: list[Call]) -> None:
    needs = [need for call in calls for need in needs_of(call).needs]
    invented = {
        n.permission.action
        for n in needs
        if n.verified and catalog.spelling(n.permission.action) is None
    }
    assert invented == set()


def test_every_resource_fits_its_action_and_holds_no_policy_variable(calls: list[Call]) -> None:
    pairs = {
        (n.permission.action, n.permission.resource) for call in calls for n in needs_of(call).needs
    }
    assert len(pairs) > 500
    assert [pair for pair in pairs if not fits(*pair)] == []
    assert [pair for pair in pairs if has_variable(pair[1])] == []


def test_the_action_that_aws_denied_is_the_one_the_event_maps_to(calls: list[Call]) -> None:
    """AWS itself names the authorized action, which is the best oracle of a mapping."""
    wrong: Counter[tuple[str, str, str]] = Counter()
    right: Counter[tuple[str, str]] = Counter()
    for call in calls:
        if call.outcome is not Outcome.DENIED:
            continue
        mapped = {need.permission.action for need in needs_of(call).needs}
        for action in read_denial(call.error_message, error_code=call.error_code).actions:
            if catalog.spelling(action) in mapped:
                right[(call.source, call.name)] += 1
            else:
                wrong[(call.source, call.name, action)] += 1
    assert dict(wrong).keys() == NOT_THE_MAPPED_ACTION.keys()
    assert sum(right.values()) >= 70
    assert len(right) >= 9


def test_a_policy_made_from_usage_allows_that_usage(
    drafts: list[FirstDraft],
) -> None:
    """Each allowed call of each principal, replayed; exceptions are those listed as denied and not
    proposed.
    """
    replayed = 0
    for draft in drafts:
        proof = prove(draft.proposal, [], draft.evidence)
        withheld = {
            usage.need.permission
            for entry in draft.proposal.held_back_additions
            if entry.guard_result.guard
            in ("forbidden", "self-widening", "sensitive", "unknown-resource")
            for usage in entry.usages
        }
        assert not proof.replay.uncertain
        assert [group for group in proof.replay.denied if not _is_withheld(group, withheld)] == []
        assert proof.replay.succeeded == sum(
            (
                proof.replay.allowed,
                proof.replay.unmapped,
                sum(group.count for group in proof.replay.denied),
            )
        )
        replayed += proof.replay.allowed
    assert replayed > 2_000


def _is_withheld(group: CallGroup, withheld: set[object]) -> bool:
    return any(need.permission in withheld for need in group.needs)


def test_a_policy_made_from_usage_grants_nothing_beyond_its_listed_additions(
    drafts: list[FirstDraft],
) -> None:
    for draft in drafts:
        assert prove(draft.proposal, [], draft.evidence).new_access == ()
        document = json.loads(draft.proposal.content)
        for statement in document["Statement"]:
            assert statement["Effect"] == "Allow"
            for action in statement["Action"]:
                assert catalog.spelling(action) == action
                assert all(fits(action, resource) for resource in statement["Resource"])


def test_no_principal_gets_an_action_that_it_did_not_attempt(
    drafts: list[FirstDraft],
) -> None:
    for draft in drafts:
        attempted = {usage.need.permission.action for usage in draft.evidence.usages}
        assert {change.action for change in draft.proposal.changes} <= attempted


def test_the_measurement_runs_on_a_folder_of_records(tmp_path: Path) -> None:
    record = {
        "eventVersion": "1.08",
        "eventType": "AwsApiCall",
        "eventTime": "2026-11-01T10:00:00Z",
        "eventSource": "sqs.amazonaws.com",
        "eventName": "CreateQueue",
        "awsRegion": "eu-west-1",
        "userIdentity": {
            "type": "IAMUser",
            "arn": "arn:aws:iam::111122223333:user/ann",
            "accountId": "111122223333",
            "userName": "ann",
        },
        "requestParameters": {"queueName": "orders"},
    }
    odd = record | {"eventName": "Frobnicate"}
    lines = "".join(json.dumps(each) + "\n" for each in (record, odd))
    (tmp_path / "one.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    script = Path(__file__).parents[1] / "bench" / "corpus.py"
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "unverified: sqs.amazonaws.com:Frobnicate (1)" in done.stdout
    assert "50.0%" in done.stdout
    assert "permissions --all-roles on one.jsonl.gz" in done.stdout
    assert "MiB, 3 rows" in done.stdout
