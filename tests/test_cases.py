"""Each file of `tests/cases` is a promise: these calls and this policy give these changes,
held-back changes and gaps.

`tests/cases/README.md` describes the format.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from leastpriv.config.settings import from_options
from leastpriv.denials.job_logs import distinct_denials, read_logs
from leastpriv.errors import LeastprivError
from leastpriv.evidence.run_logs import LoggedDenials
from leastpriv.models import ChangeKind, Origin, Run
from leastpriv.pipeline.collect_evidence import RunEvidence, with_known_users
from leastpriv.pipeline.context import JobLogs, RunContext, Target
from leastpriv.pipeline.propose import make_proposal
from leastpriv.proposal import guards
from leastpriv.proposal.guards import GUARDS
from leastpriv.proposal.models import Change, HeldBackChange, Release
from leastpriv.proposal.propose import MAX_CHANGES
from leastpriv.report.context import ReportContext
from leastpriv.report.pull_request import body, title
from leastpriv.report.unreviewed_runs import (
    denied_to_unreviewed_runs,
    kept_for_unreviewed_runs,
    names_in_narrowings,
)
from tests.fakes.case_inputs import Reviews, account, history_store, reading, with_commits
from tests.fakes.past import KnownPast
from tests.fakes.replace import replace
from tests.fakes.runs import Proposed

CASES = sorted((Path(__file__).parent / "cases").glob("*.json"))
NOW = datetime(2026, 11, 24, tzinfo=UTC)
ROLE = "arn:aws:iam::111122223333:role/ci-deploy"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path, tmp_path: Path) -> None:
    """The evidence and the committed policy of the case give exactly what it expects, and a second
    run on the proposed policy proposes nothing.
    """
    case = json.loads(path.read_text(encoding="utf-8"))
    first = run_case(case, tmp_path)
    check_outcome(case, first)
    if can_run_again(case):
        assert first.has_changes
        assert changes_of_a_second_run(case, first, tmp_path) == []


def check_outcome(case: Mapping[str, Any], proposed: Proposed) -> None:
    """Compare a proposal with what the case expects."""
    actual = outcome(proposed)
    if not case["expect"].keys().isdisjoint({"shown", "absent"}):
        text = body(proposed.context)
        for key in ("shown", "absent"):
            actual[key] = sorted(part for part in case["expect"].get(key, ()) if part in text)
    expected = {key: _in_order(key, value) for key, value in case["expect"].items()}
    if "absent" in expected:
        expected["absent"] = []
    assert {key: actual[key] for key in expected} == expected


def _in_order(key: str, value: object) -> object:
    return sorted(value) if isinstance(value, list) and key != "policy" else value


def can_run_again(case: Mapping[str, Any]) -> bool:
    """Whether a case changes something, and by evidence: a draft of declarations alone is the last
    run without it.
    """
    return bool(case["expect"]["changes"]) and "declared" not in case.get("options", {})


def changes_of_a_second_run(case: Mapping[str, Any], first: Proposed, folder: Path) -> list[str]:
    """Run the case on the policy that its first run proposed; the folder has its trail already."""
    # With `max-changes` the changes held back follow, one merge after the other.
    while any(held.guard_result.guard == MAX_CHANGES for held in first.context.proposal.held_back):
        first = run_case(_merged(case, first.context.proposal.content), folder)
    again = run_case(_merged(case, first.context.proposal.content), folder)
    return [change_words(change) for change in again.context.proposal.changes]


def _merged(case: Mapping[str, Any], content: bytes) -> dict[str, Any]:
    """The case with the proposed policy as the committed one."""
    if "terraform" in case:
        name = case["policy-file"].partition("#")[0]
        files = {**case["terraform"], name: content.decode().splitlines()}
        return {**case, "terraform": files}
    return {**case, "policy": json.loads(content)}


def test_there_are_enough_cases_and_each_has_a_reason() -> None:
    """Each case gives a reason; thirty of them cover the main path."""
    assert len(CASES) >= 30
    for path in CASES:
        case = json.loads(path.read_text(encoding="utf-8"))
        assert case["title"], path.name
        assert case["why"], path.name
        assert "changes" in case["expect"], path.name


UNREACHED = {"wildcard-action", "resource-type"}
"""Guards that no case reaches: earlier ones hold the change back, or it needs a template; see
`tests/proposal`.
"""


def test_every_guard_of_the_guide_has_a_case() -> None:
    """Each guard that a case names is in the guide."""
    text = (
        (Path(__file__).parent.parent / "docs/guards.md")
        .read_text(encoding="utf-8")
        .partition("## How certain")[0]
    )
    named = {*re.findall("^- `([a-z-]+)`:", text, re.MULTILINE)}
    assert GUARDS.keys() <= named
    assert named - UNREACHED == {guard for path in CASES for guard in guards_of(path)}


@pytest.mark.parametrize("guard", GUARDS)
def test_a_case_fails_if_its_guard_is_disabled(
    guard: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        guards, "GUARDS", {name: check for name, check in GUARDS.items() if name != guard}
    )
    # A grant of everything last: without its guard it narrows to hundreds of services, for half a
    # minute.
    cases = sorted((path for path in CASES if guard in guards_of(path)), key=grants_everything)
    assert any(fails(path, tmp_path / path.stem) for path in cases)


def fails(path: Path, folder: Path) -> bool:
    """Whether a case is not met; the product's own proof may fail too."""
    case = json.loads(path.read_text(encoding="utf-8"))
    try:
        check_outcome(case, run_case(case, folder))
    except (AssertionError, LeastprivError):
        return True
    return False


def grants_everything(path: Path) -> bool:
    """Return whether a statement of the case's policy allows every action."""
    return '"Action": "*"' in path.read_text(encoding="utf-8")


def guards_of(path: Path) -> set[str]:
    """The guards that a case expects."""
    expected = json.loads(path.read_text(encoding="utf-8"))["expect"]
    held = [
        each for key in ("held-back", "refused", "stays-on-all") for each in expected.get(key, ())
    ]
    return {each.rpartition(": ")[2] for each in held}


def run_case(case: Mapping[str, Any], folder: Path) -> Proposed:
    """Writes the case's records as a trail and its policies as files, and makes the proposal.

    A trail that an earlier run of the same case wrote into the folder is read again.
    """
    folder.mkdir(exist_ok=True)
    made = records(case)
    trail = folder / "trail"
    if not trail.exists():
        write_trail(trail, made, accounts_of(case))
    trails = (trail,) if made else ()
    attached = []
    for number, document in enumerate(case.get("also-attached", [])):
        attached.append(str(folder / f"attached-{number}.json"))
        Path(attached[-1]).write_text(json.dumps(document), encoding="utf-8")
    policy, pointer = folder / "policy.json", ""
    for name, lines in case.get("terraform", {}).items():
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    if "terraform" in case:
        name, _, pointer = case["policy-file"].partition("#")
        policy = folder / name
    if case.get("policy") is not None:
        policy.write_text(json.dumps(case["policy"], indent=2), encoding="utf-8")
    for name, content in case.get("files", {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    lifecycle = "write" if case.get("policy") or "terraform" in case else "offer"
    given = {
        "mode": "report" if "origins" in case else "pull-request",
        "minimum-days": 30,
        "aws-regions": regions(made),
        "lifecycle": lifecycle,
        **case.get("options", {}),
    }
    for name in ("declared", "templates", "plans"):
        given[name] = [str(folder / each) for each in given.get(name, [])]
    options = {
        name: tuple(value) if isinstance(value, list) else str(value)
        for name, value in given.items()
    }
    users = users_of(case)
    principal = next(iter(users.values()))
    role_arns = [f"{label}={arn}" if label else arn for label, arn in users.items()]
    if "pattern" in case:
        role_arns = [case["pattern"]]
    role_arns.extend(f"!{arn}" for arn in case.get("no-users", ()))
    inputs = {
        "role-arn": tuple(role_arns),
        "policy-file": str(policy),
        "trails": tuple(map(str, trails)),
        **options,
    }
    settings = from_options(
        {**inputs, "also-attached": tuple(attached), "job-logs": tuple(case.get("job-logs", ()))}
    )
    target = Target(settings, policy.name, folder, pointer=pointer, writes_store=False)
    if "policy-before" in case:
        before = json.dumps(case["policy-before"]).encode()
        changed = datetime.fromisoformat(case["policy-changed"])
        target = replace(target, past=KnownPast(changed, before))
    target = replace(target, store=history_store(case, principal, target.policy_name, folder))
    if "commits" in case:
        target = with_commits(target, case)
    if "origins" in case:
        target = replace(target, repository=Reviews(case["origins"], case.get("comments", ())))
    run = RunContext(settings, (target,), NOW, trails, job_logs(case, folder))
    target = with_known_users(target, RunEvidence(run))
    with account(case):
        content = make_proposal(run, target, reading(case, run, target))
    return Proposed(content, None, bool(content.context.proposal.changes))


def job_logs(case: Mapping[str, Any], folder: Path) -> JobLogs:
    """The case's logs: files without a known run, or the jobs of the run that it names."""
    files = []
    for name, lines in case.get("job-logs", {}).items():
        files.append(str(folder / name))
        Path(files[-1]).write_text(
            "\n".join([lines] if isinstance(lines, str) else lines), encoding="utf-8"
        )
    if "job-logs-of" not in case:
        return JobLogs(tuple(files), root=f"{folder}/")
    return JobLogs(run=KeptLogs(case["job-logs-of"], files))


@dataclass(frozen=True, slots=True)
class KeptLogs:
    """The logs of a workflow run as files."""

    run_id: str
    files: list[str]

    def read(self) -> LoggedDenials:
        """The denials in the files."""
        run = Run(self.run_id, self.run_id, NOW, NOW)
        return LoggedDenials(
            tuple(distinct_denials(read_logs(self.files, io.BytesIO()))[0]), run=run
        )


def users_of(case: Mapping[str, Any]) -> dict[str, str]:
    """The users of the policy by label; the label of the only one is empty."""
    principal = case.get("principal", ROLE)
    return {"": principal} if isinstance(principal, str) else dict(principal)


def write_trail(folder: Path, found: list[dict[str, Any]], accounts: Sequence[str] = ()) -> None:
    """One file per day and region, under CloudTrail's own keys."""
    by_file: dict[Path, list[dict[str, Any]]] = {}
    for record in found:
        day, region = str(record["eventTime"])[:10], record["awsRegion"]
        account = record.get("recipientAccountId")
        # Records of a case's own keep the folder of the role, whatever they say.
        account = account if account in accounts else "111122223333"
        stamp = day.replace("-", "")
        name = f"{account}_CloudTrail_{region}_{stamp}T2355Z_AbCdEfGhIjKlMnOp.json.gz"
        key = folder / "AWSLogs" / account / "CloudTrail" / region / day.replace("-", "/") / name
        by_file.setdefault(key, []).append(record)
    for path, inside in by_file.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(json.dumps({"Records": inside}).encode()))


def records(case: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All records of a case: its runs, repeated as described, and its raw records."""
    found = [
        record
        for number, block in enumerate(case.get("runs", []))
        for record in run_records(case, block, number)
    ]
    found += list(case.get("records", []))
    if case.get("others", True):
        named = case.get("options", {}).get("aws-regions", [])
        for account in accounts_of(case):
            found += list(others(found, named, account))
    return [
        each
        for each in found
        if not any(is_missing(each, part) for part in case.get("missing", []))
    ]


def is_missing(made: Mapping[str, Any], part: Mapping[str, Any]) -> bool:
    """Whether a record belongs to a part of the trail that the case leaves out."""
    day = str(made["eventTime"])[:10]
    return (
        part.get("region", made.get("awsRegion")) == made.get("awsRegion")
        and part.get("read-only", made.get("readOnly")) == made.get("readOnly")
        and part.get("source", made.get("eventSource")) == made.get("eventSource")
        and part.get("from", day) <= day <= part.get("to", day)
    )


def accounts_of(case: Mapping[str, Any]) -> list[str]:
    """The accounts whose trails the case has: one, or that of each user of the policy."""
    users = users_of(case)
    if len(users) == 1:
        return ["111122223333"]
    return sorted({arn.split(":")[4] for arn in users.values()} - set(case.get("no-trail-of", ())))


def others(
    found: list[dict[str, Any]], named: Sequence[str] = (), account: str = "111122223333"
) -> Iterator[dict[str, Any]]:
    """A reading and a writing call of another principal on each day in each region: the trail is
    complete.
    """
    times = sorted(datetime.fromisoformat(str(each["eventTime"])) for each in found)
    if not times:
        return
    first, last = times[0] - timedelta(minutes=1), times[-1] + timedelta(minutes=1)
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    for region in sorted({*regions(found), *named}):
        for time in (*days, last):
            for event in ("ec2:DescribeRegions", "ec2:CreateTags"):
                yield record(
                    "arn:aws:iam::444455556666:role/another",
                    "watch",
                    time,
                    {"event": event, "region": region},
                    account,
                )


def regions(found: list[dict[str, Any]]) -> list[str]:
    """The regions of the records."""
    return sorted({str(each["awsRegion"]) for each in found if each.get("awsRegion")})


def run_records(
    case: Mapping[str, Any], block: Mapping[str, Any], number: int
) -> Iterator[dict[str, Any]]:
    """The records of one run, `times` times, `every-days` apart."""
    first = datetime.fromisoformat(block["first"])
    for turn in range(block.get("times", 1)):
        start = first + timedelta(days=turn * block.get("every-days", 1))
        session = block.get("session", f"1765000{number:02}{turn:02}")
        for second, call in enumerate(block["calls"]):
            users = users_of(case)
            arn = users[block["by"]] if "by" in block else users[""]
            account = arn.split(":")[4] if "by" in block else "111122223333"
            yield record(arn, session, start + timedelta(seconds=second), call, account)


def record(
    principal: str,
    session: str,
    time: datetime,
    call: Mapping[str, Any],
    account: str = "111122223333",
) -> dict[str, Any]:
    """A CloudTrail record of one call."""
    service, _, name = call["event"].partition(":")
    made: dict[str, Any] = {
        "eventVersion": "1.11",
        "userIdentity": (
            call.get("identity")
            or identity(principal, session, call.get("key", "ASIAEXAMPLE0000001"))
        ),
        "eventTime": f"{time:%Y-%m-%dT%H:%M:%SZ}",
        "eventSource": f"{service}.amazonaws.com",
        "eventName": name,
        "awsRegion": call.get("region", "eu-west-1"),
        "sourceIPAddress": "203.0.113.7",
        "requestParameters": call.get("parameters"),
        "responseElements": call.get("response"),
        "eventID": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{principal} {session} {time} {call}")),
        "readOnly": call.get("read-only", name.startswith(("Get", "List", "Describe", "Head"))),
        "eventType": call.get("type", "AwsApiCall"),
        "managementEvent": not call.get("data", False),
        "eventCategory": "Data" if call.get("data") else "Management",
        "recipientAccountId": account,
    }
    if "resources" in call:
        made["resources"] = [{"ARN": arn, "accountId": account} for arn in call["resources"]]
    if "user-agent" in call:
        made["userAgent"] = call["user-agent"]
    if "error" in call:
        made["errorCode"] = call["error"]
        made["errorMessage"] = call.get("message", "")
    return made


def identity(principal: str, session: str, key: str) -> dict[str, Any]:
    """The `userIdentity` of a role's session or of a user."""
    account, path = principal.split(":")[4], principal.split(":", 5)[5]
    name = path.rpartition("/")[2]
    if path.startswith("user/"):
        return {
            "type": "IAMUser",
            "arn": principal,
            "accountId": account,
            "userName": name,
            "accessKeyId": key,
        }
    return {
        "type": "AssumedRole",
        "arn": f"arn:aws:sts::{account}:assumed-role/{name}/{session}",
        "accountId": account,
        "accessKeyId": key,
        "sessionContext": {
            "sessionIssuer": {
                "type": "Role",
                "arn": principal,
                "accountId": account,
                "userName": name,
            }
        },
    }


def outcome(result: Proposed) -> dict[str, Any]:
    """What a case may expect, in words."""
    draft, evidence = result.context.proposal, result.context.evidence
    replay = result.context.proof.replay
    return {
        "changes": sorted(change_words(change) for change in draft.changes),
        "offered": sorted(change_words(change) for change in draft.offered),
        "notes": sorted(draft.notes),
        "releases": [release_words(each) for each in draft.releases],
        "title": title(result.context),
        "verdict": f"{result.context.verdict.instruction}: {result.context.verdict.rule}",
        "held-back": sorted({held_words(held) for held in draft.held_back}),
        "refused": sorted({held_words(held) for held in draft.held_back_additions}),
        "stays-on-all": sorted({held_words(held) for held in draft.held_back_restrictions}),
        "gaps": sorted(f"{gap.kind}: {gap.detail}" for gap in evidence.gaps),
        "no-calls": sorted(f"{why}: {count}" for why, count in evidence.no_calls.items()),
        "not-evaluated": sorted(
            f"{each.event}: {each.why} {each.count}" for each in evidence.not_evaluated
        ),
        "runs": len(evidence.runs),
        "users": sorted(
            f"{usage.need.permission.action} on {usage.need.permission.resource}:"
            f" {', '.join(usage.users)}"
            for usage in evidence.usages
        ),
        "replay": f"{replay.allowed} of {replay.succeeded}",
        "policy": (
            draft.content.decode().splitlines()
            if draft.document.source.format != "json"
            else json.loads(draft.content)
        ),
        "needs-security": sorted(change.action for change in draft.changes if change.security),
        "unreviewed": sorted(
            {
                *names_of_runs(result.context, Origin.UNREVIEWED),
                *(f"{use.action}: kept" for use in kept_for_unreviewed_runs(result.context)),
                *(
                    f"{usage.need.permission.action}: not granted"
                    for usage in denied_to_unreviewed_runs(result.context)
                ),
            }
        ),
        "branch-unknown": sorted(names_of_runs(result.context, Origin.UNKNOWN)),
        "conditional": sorted(
            {usage.need.permission.action for usage in result.context.difference.conditional}
        ),
    }


def names_of_runs(context: ReportContext, origin: Origin) -> set[str]:
    """`A: R`: the names in narrowed statements that only runs of an origin used."""
    return {f"{each.action}: {each.resource}" for each in names_in_narrowings(context, origin)}


def change_words(change: Change) -> str:
    """`add A on R, R but not on R if KEY=VALUE|VALUE` (`KEY!=VALUE`), `remove A`, `narrow A to B, C`."""
    if change.kind is ChangeKind.ADD:
        conditions = [
            f" if {each.key}{'!' * ('Not' in each.operator)}={'|'.join(each.values)}"
            for each in change.conditions
        ]
        left_out = f" but not on {', '.join(change.denied_on)}" if change.denied_on else ""
        on = f"{', '.join(change.resources)}{left_out}"
        return f"add {change.action} on {on}{''.join(conditions)}"
    if change.restricted_to:
        return f"narrow {change.action} to {', '.join(change.restricted_to)}"
    if change.kind is ChangeKind.NARROW:
        return f"narrow {change.action} to {', '.join(change.replacement)}"
    return f"remove {change.action}"


def release_words(release: Release) -> str:
    """`INPUT=VALUE INPUT=VALUE: N removals, M narrowings`."""
    values = " ".join(f"{name}={value}" for name, value in release.settings.items())
    return f"{values}: {release.removals} removals, {release.narrowings} narrowings"


def held_words(held: HeldBackChange) -> str:
    """`A: guard`."""
    return f"{held.action}: {held.guard_result.guard}"
