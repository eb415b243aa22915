"""A simulated year: what the jobs of some roles need, day by day, and the product that runs every
two weeks on GitHub.

The truth is written first: each job has its calls, and each call the permission that AWS asks for.
A call is allowed where the policy on the base branch grants that permission, by an evaluation of
its own. So a removal that a later job needs shows as a denial, whatever the product thinks.
"""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from leastpriv.config.settings import Settings, from_options
from leastpriv.errors import LeastprivError
from leastpriv.pipeline.context import (
    RunContext,
    Target,
    TargetResult,
)
from leastpriv.pipeline.propose import propose
from leastpriv.pipeline.saved_history import HistoryFile
from leastpriv.pull_request.github.client import Connection
from leastpriv.pull_request.github.repository import GitHubRepository
from leastpriv.pull_request.lifecycle import target_mark
from tests.fakes.deploys import record
from tests.fakes.github import FakeGitHub
from tests.fakes.github.direct import NoDeadline

ACCOUNT = "111122223333"
REGION = "eu-west-1"
START = datetime(2026, 1, 5, tzinfo=UTC)
REPOSITORY = "octo-org/shop"
EVIDENCE = "leastpriv-evidence"
_WINDOW = 90
"""Days of records that the trail's bucket keeps."""
_OTHER = f"arn:aws:iam::{ACCOUNT}:role/nightly"
_PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com"
_AGENT = "aws-cli/2.31.5 md/awscrt#0.27.6 ua/2.1 os/linux#6.8 lang/python#3.13.7 md/command#all"
_SUBJECT = f"repo:{REPOSITORY}:ref:refs/heads/main"


@dataclass(frozen=True)
class Call:
    """A call of a job, and the permission that AWS asks for."""

    event: str
    parameters: Mapping[str, object]
    action: str
    resource: str


@dataclass(frozen=True)
class Job:
    """Calls that run one after another, on some days; the first that is denied ends the job."""

    name: str
    calls: tuple[Call, ...]
    days: frozenset[int]
    is_new: bool = False
    """A feature of this year, which the first policy does not grant."""
    user: int = 0
    """Number of the role that runs it, of those that share the policy."""


def _arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def queue(name: str) -> tuple[Call, ...]:
    """Creates and sets a queue."""
    url = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}"
    arn = _arn("sqs", name)
    return (
        Call("sqs:CreateQueue", {"queueName": name}, "sqs:CreateQueue", arn),
        Call("sqs:SetQueueAttributes", {"queueUrl": url}, "sqs:SetQueueAttributes", arn),
    )


def topic(name: str) -> tuple[Call, ...]:
    """Creates and sets a topic."""
    arn = _arn("sns", name)
    return (
        Call("sns:CreateTopic", {"name": name}, "sns:CreateTopic", arn),
        Call("sns:SetTopicAttributes", {"topicArn": arn}, "sns:SetTopicAttributes", arn),
    )


def rule(name: str) -> tuple[Call, ...]:
    """Writes a rule of EventBridge and its targets."""
    arn = _arn("events", f"rule/{name}")
    return (
        Call("events:PutRule", {"name": name}, "events:PutRule", arn),
        Call("events:PutTargets", {"rule": name}, "events:PutTargets", arn),
    )


def alarm(name: str) -> tuple[Call, ...]:
    """Writes an alarm."""
    arn = _arn("cloudwatch", f"alarm:{name}")
    return (
        Call("monitoring:PutMetricAlarm", {"alarmName": name}, "cloudwatch:PutMetricAlarm", arn),
    )


def parameter(name: str) -> tuple[Call, ...]:
    """Writes a parameter."""
    arn = _arn("ssm", f"parameter/{name}")
    return (Call("ssm:PutParameter", {"name": f"/{name}"}, "ssm:PutParameter", arn),)


def image(name: str) -> tuple[Call, ...]:
    """Pushes an image into a new repository."""
    arn = _arn("ecr", f"repository/{name}")
    named = {"repositoryName": name}
    layer = {**named, "layerDigests": ["sha256:0"]}
    return (
        Call("ecr:CreateRepository", named, "ecr:CreateRepository", arn),
        Call("ecr:GetAuthorizationToken", {}, "ecr:GetAuthorizationToken", "*"),
        Call("ecr:BatchCheckLayerAvailability", layer, "ecr:BatchCheckLayerAvailability", arn),
        Call("ecr:InitiateLayerUpload", named, "ecr:InitiateLayerUpload", arn),
        Call("ecr:UploadLayerPart", named, "ecr:UploadLayerPart", arn),
        Call("ecr:CompleteLayerUpload", named, "ecr:CompleteLayerUpload", arn),
        Call("ecr:PutImage", {**named, "imageTag": "1"}, "ecr:PutImage", arn),
    )


def code(name: str) -> tuple[Call, ...]:
    """Updates the code of a function."""
    arn = _arn("lambda", f"function:{name}")
    return (
        Call(
            "lambda:UpdateFunctionCode20150331v2",
            {"functionName": name},
            "lambda:UpdateFunctionCode",
            arn,
        ),
    )


_WITH_RESOURCE_POLICY = ("queue", "topic")
"""Features whose second call may set the policy of a resource, a sensitive permission."""
_NEW = (queue, topic, rule, alarm, parameter, image)
"""Features that the team adds, one a month."""


def plan(seed: int, app: str, days: int, users: int = 1) -> list[Job]:
    """Returns the jobs of one role: a deploy twice a week, a quarterly and a yearly job, and a
    feature a month.
    """
    chance = random.Random(seed)  # noqa: S311 - a simulation
    weekly = frozenset(day for day in range(days) if day % 7 in (1, 4) or chance.random() < 0.02)
    quarter = chance.randrange(10, 20)
    jobs = [
        Job("deploy", (*code(app), *queue(f"{app}-orders")), weekly),
        Job("quarterly", topic(f"{app}-report"), frozenset(range(quarter, days, 91))),
        Job("yearly", rule(f"{app}-audit"), frozenset({chance.randrange(3, 12), days - 6})),
    ]
    for month in range(1, days // 30):
        begin = month * 30 + chance.randrange(12)
        make = _NEW[(month + seed) % len(_NEW)]
        later = frozenset(day for day in weekly if day >= begin)
        name = f"{make.__name__}-{month}"
        calls = make(f"{app}-new{month}")
        jobs.append(Job(name, calls, later, is_new=True, user=month % users))
    deploy = jobs[0]
    jobs += [Job(deploy.name, deploy.calls, deploy.days, user=user) for user in range(1, users)]
    return jobs


def first_policy(app: str) -> dict[str, Any]:
    """A policy that a person wrote: wide, and without the features of the year."""

    def statement(sid: str, actions: object, resource: str) -> dict[str, object]:
        return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource}

    return {
        "Version": "2012-10-17",
        "Statement": [
            statement("Code", "lambda:*", _arn("lambda", f"function:{app}")),
            statement("Queue", "sqs:*", _arn("sqs", f"{app}-orders")),
            statement(
                "Report",
                ["sns:CreateTopic", "sns:SetTopicAttributes", "sns:DeleteTopic", "sns:Subscribe"],
                _arn("sns", f"{app}-report"),
            ),
            statement(
                "Audit",
                ["events:PutRule", "events:PutTargets", "events:DisableRule"],
                _arn("events", f"rule/{app}-audit"),
            ),
            statement(
                "Old",
                ["dynamodb:CreateTable", "dynamodb:UpdateTable"],
                _arn("dynamodb", f"table/{app}-old"),
            ),
        ],
    }


def grants(policy: bytes, action: str, resource: str) -> bool:
    """Whether a policy allows an action on a resource, by its texts alone."""
    allowed = False
    for statement in json.loads(policy)["Statement"]:
        if not any(
            fnmatchcase(action.lower(), each.lower()) for each in _list(statement["Action"])
        ):
            continue
        if not any(fnmatchcase(resource, each) for each in _list(statement["Resource"])):
            continue
        if statement["Effect"] == "Deny":
            return False
        allowed = True
    return allowed


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


@dataclass
class Measures:
    """What a year came to."""

    pull_requests: int = 0
    merged: int = 0
    real_changes: int = 0
    """Features that the policy did not grant when they began."""
    denied_by_removal: list[str] = field(default_factory=list)
    """Calls that were denied after a proposal had removed their permission."""
    back_and_forth: list[str] = field(default_factory=list)
    """Permissions that one merged proposal removed and a later one added."""
    false_closures: list[str] = field(default_factory=list)
    orphans: list[int] = field(default_factory=list)
    waits: dict[str, int] = field(default_factory=dict)
    """New feature -> number of merged proposals that knew its denial, until it ran."""
    named: dict[str, bool] = field(default_factory=dict)
    """New feature -> whether the first merged proposal that knew its denial wrote or offered every
    permission that it lacked."""
    failures: list[str] = field(default_factory=list)
    answered_twice: list[str] = field(default_factory=list)
    """Merged proposals that removed what a person had granted again, or added what a person had
    taken away.
    """
    answers: int = 0
    """What a person granted again, or took away from the branch of a proposal."""

    @property
    def unblocked_by_first(self) -> float:
        """The share of denied features that ran after one merged proposal.

        Those that write a resource's policy are left out: only their own denial adds such a right.
        """
        counts = [
            count
            for name, count in self.waits.items()
            if not name.startswith(_WITH_RESOURCE_POLICY)
        ]
        return sum(count == 1 for count in counts) / len(counts) if counts else 1.0

    @property
    def second_requests(self) -> int:
        """The features that needed a second proposal, since no person took the offered right to
        write a resource's policy from the first.
        """
        return sum(
            count > 1 and name.startswith(_WITH_RESOURCE_POLICY)
            for name, count in self.waits.items()
        )

    @property
    def all_unblocked_by_first(self) -> float:
        """The share of all denied features that ran after one merged proposal."""
        counts = [*self.waits.values()]
        return sum(count == 1 for count in counts) / len(counts) if counts else 1.0

    @property
    def named_by_first(self) -> float:
        """The share of all denied features whose first merged proposal wrote or offered the rest."""
        return sum(self.named.values()) / len(self.named) if self.named else 1.0


@dataclass
class Names:
    """The present names of a target."""

    roles: list[str]
    """The roles that share the policy."""
    file: str
    branch: str = ""

    @property
    def arns(self) -> tuple[str, ...]:
        """ARNs of the roles."""
        return tuple(f"arn:aws:iam::{ACCOUNT}:role/{role}" for role in self.roles)


class Clock:
    """The time on GitHub."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


class Year:
    """One target with its jobs, policy and pull requests."""

    def __init__(
        self,
        folder: Path,
        hub: FakeGitHub,
        clock: Clock,
        *,
        seed: int,
        memory: bool,
        days: int = 365,
        app: str = "shop",
        users: int = 1,
        takes_offers: bool = False,
        answers_by_hand: bool = False,
    ) -> None:
        """Begins the year of one target.

        Args:
            folder: The trail, which targets may share.
            hub: GitHub with the first policy in `iam/APP.json`.
            clock: The time on GitHub.
            seed: Decides days and features.
            memory: Whether runs keep a usage history.
            days: Length of the year.
            app: Name of the app.
            users: Number of roles that share the policy.
            takes_offers: Whether the team adds by hand, on the branch of a pull request, what that
                offers and a denied feature needs.
            answers_by_hand: Whether the team grants some removed permissions again, gives up a
                feature by taking its lines away from the branch of a pull request, and ends
                another one by deleting its lines on the base branch.
        """
        roles = [f"ci-{app}"] if users == 1 else [f"ci-{app}-{number}" for number in range(users)]
        self.names = Names(roles, f"iam/{app}.json")
        self.app = app
        self.measures = Measures()
        self._folder = folder
        self._hub = hub
        self._clock = clock
        self._memory = memory
        self._takes_offers = takes_offers
        self._answers_by_hand = answers_by_hand
        self._granted_again: set[tuple[str, str]] = set()
        self._taken_away: set[tuple[str, str]] = set()
        """What the team took away from the branch of a proposal."""
        self._deleted: set[tuple[str, str]] = set()
        """What the team deleted on the base branch after its merge."""
        self._chance = random.Random(seed)  # noqa: S311 - a simulation
        self._jobs = plan(seed, app, days, users)
        self._number = 17_000_000_000 + seed * 1_000_000
        self._merge_days: dict[int, int] = {}
        """Number of an open pull request -> day on which the team merges it."""
        self._removed: set[tuple[str, str]] = set()
        self._blocked: dict[str, int] = {}
        """New feature that was denied -> day of its first denial."""
        self._tries: Counter[str] = Counter()
        """New feature -> merged proposals that knew its denial."""
        self._proposed = 0
        """Day of the last run of the product."""
        self._offered: set[tuple[str, str]] = set()
        """Actions and resources that the last run offered."""
        self._handled: set[int] = set()
        self._arns: set[str] = set()
        """ARNs that its roles had when the product ran."""
        self._policy_of = ("", b"")

    @property
    def policy(self) -> bytes:
        """The policy on the base branch, which the account has too."""
        head = self._hub.head("main")
        if self._policy_of[0] != head:
            self._policy_of = (head, self._hub.file(self.names.file))
        return self._policy_of[1]

    @property
    def branch(self) -> str:
        """The present branch of the proposals."""
        return self._settings({}).branch

    @property
    def has_open_pull_request(self) -> bool:
        """Whether a pull request waits for the team."""
        branch = self.branch
        return any(
            issue.state == "open" and pull.head == branch for issue, pull in self._hub.world.pulls()
        )

    def day(self, day: int) -> None:
        """Runs the jobs of a day, and the team's review."""
        self._clock.now = START + timedelta(days=day, hours=20)
        self._review(day)
        if self._answers_by_hand:
            self._grant_again()
            self._end_feature()
        records = [self._noise(day)]
        for job in self._jobs:
            if day in job.days:
                records += self._run(job, day)
        self._write(day, records)

    def _noise(self, day: int) -> Mapping[str, Any]:
        call = {"event": "sts:GetCallerIdentity", "parameters": {}}
        return record(call, START + timedelta(days=day, hours=1), "nightly", _OTHER)

    def _run(self, job: Job, day: int) -> list[Mapping[str, Any]]:
        """Runs a job in its own workflow run; returns its records."""
        self._number += 1
        begin = START + timedelta(days=day, hours=9 + len(job.name) % 7)
        role = self.names.roles[job.user % len(self.names.roles)]
        arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
        found = [login(arn, str(self._number), begin)]
        policy = self.policy
        for second, call in enumerate(job.calls):
            told: dict[str, Any] = {"event": call.event, "parameters": call.parameters}
            is_allowed = grants(policy, call.action, call.resource)
            if not is_allowed:
                told["error"] = "AccessDenied"
                told["message"] = (
                    f"User: arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{self._number} is"
                    f" not authorized to perform: {call.action} on resource: {call.resource}"
                    f" because no identity-based policy allows the {call.action} action"
                )
            time = begin + timedelta(seconds=second + 1)
            made = dict(record(told, time, str(self._number), arn))
            made["userAgent"] = _AGENT
            made["userIdentity"] = {
                **made["userIdentity"],
                "accessKeyId": _key(str(self._number)),
            }
            found.append(made)
            if not is_allowed:
                self._note_denial(job, call, day)
                return found
        if job.name in self._blocked:
            del self._blocked[job.name]
            self.measures.waits[job.name] = self._tries[job.name]
        return found

    def _note_denial(self, job: Job, call: Call, day: int) -> None:
        permission = (call.action, call.resource)
        if permission in self._removed:
            self.measures.denied_by_removal.append(f"day {day}: {job.name}: {call.action}")
        elif job.name not in self._blocked and job.name not in self.measures.waits:
            self._blocked[job.name] = day
            self.measures.real_changes += 1

    def _write(self, day: int, records: Sequence[Mapping[str, Any]]) -> None:
        """Writes the records of a day, and drops those that the bucket no longer keeps."""
        for region in (REGION, "us-east-1"):
            inside = [each for each in records if each["awsRegion"] == region]
            path = self._file_of(day, region)
            path.parent.mkdir(parents=True, exist_ok=True)
            known = (
                json.loads(gzip.decompress(path.read_bytes()))["Records"] if path.exists() else []
            )
            path.write_bytes(gzip.compress(json.dumps({"Records": [*known, *inside]}).encode(), 1))
            self._file_of(day - _WINDOW, region).unlink(missing_ok=True)

    def _file_of(self, day: int, region: str) -> Path:
        date = START + timedelta(days=day)
        name = f"{ACCOUNT}_CloudTrail_{region}_{date:%Y%m%d}T2355Z_AbCdEfGhIjKlMnOp.json.gz"
        return self._folder / f"AWSLogs/{ACCOUNT}/CloudTrail/{region}/{date:%Y/%m/%d}" / name

    def missing_days(self, first: int, last: int) -> None:
        """Loses the files of some days, as a failed delivery does."""
        for day in range(first, last):
            for region in (REGION, "us-east-1"):
                self._file_of(day, region).unlink(missing_ok=True)

    def lose_memory_once(self) -> None:
        """GitHub does not answer for the branch of the usage history in the next run."""
        self._hub.fail_next("GET", f"/git/ref/heads/{EVIDENCE}$", 502, times=50)

    def rename_file(self, path: str) -> None:
        """A person moves the policy file."""
        files = {self.names.file: None, path: self.policy}
        self._hub.commit_as("kim", "main", files, f"Move {self.names.file}")
        self.names.file = path

    def propose(self, **options: str) -> TargetResult | None:
        """Runs the product as a new process does."""
        settings = self._settings(options)
        self._arns.update(self.names.arns, [settings.principal.arn])
        self._proposed = (self._clock.now - START).days
        result = self._target_result(settings)
        if result is None:
            return None
        offers = result.context.proposal.offered if result.context else ()
        self._offered = {(change.action, each) for change in offers for each in change.resources}
        if result.published and result.published.failure:
            self.measures.failures.append(result.published.failure)
        self._note_closures()
        return result

    def _settings(self, options: Mapping[str, str]) -> Settings:
        given: dict[str, Any] = {
            "role-arn": self.names.arns,
            "policy-file": self.names.file,
            "mode": "pull-request",
            "trails": (str(self._folder),),
            "aws-regions": (REGION, "us-east-1"),
            "labels": "leastpriv",
            "complete-additions": "write",
            **options,
        }
        if self.names.branch:
            given["branch"] = self.names.branch
        return from_options(given)

    def _target_result(self, settings: Settings) -> TargetResult | None:
        github = connected(self._hub)
        store = None
        if self._memory:
            file = HistoryFile.of(settings.principal)
            store = github.state_store(EVIDENCE, file.path, "Remember", file.longest)
        target = Target(settings, self.names.file, repository=github, store=store)
        run = RunContext(settings, (target,), self._clock.now, (self._folder,))
        try:
            return propose(run).targets[0]
        except LeastprivError as error:
            self.measures.failures.append(str(error))
            return None

    def _review(self, day: int) -> None:
        """Merges a pull request after three days, and one of three after three weeks."""
        branch = self.branch
        for issue, pull in self._hub.world.pulls():
            number = issue.number
            if issue.state != "open" or pull.head != branch:
                continue
            if self.names.file not in self._changed_files(pull.head):
                continue
            if number not in self._merge_days:
                wait = 21 if self._chance.random() < 1 / 3 else 3
                self._merge_days[number] = day + wait
            if day >= self._merge_days[number]:
                self._merge(number)

    def _changed_files(self, branch: str) -> list[str]:
        git = self._hub.world.git
        head = self._hub.head(branch)
        return [each.path for each in git.changes(git.commit(head).parents[0], head)]

    def _take_offers(self) -> None:
        """Adds what the last run offers and a denied feature needs, on the branch of the proposal."""
        branch = self.branch
        policy = json.loads(self._hub.file(self.names.file, branch))
        needed = {
            (call.action, call.resource)
            for job in self._jobs
            if job.name in self._blocked
            for call in job.calls
        }
        taken = sorted(needed & self._offered)
        if not taken:
            return
        policy["Statement"] += [
            {"Effect": "Allow", "Action": action, "Resource": resource}
            for action, resource in taken
        ]
        text = json.dumps(policy, indent=2)
        self._hub.commit_as("kim", branch, {self.names.file: text}, "Take the offers")

    def _grant_again(self) -> None:
        """Grants by hand what a proposal removed and the team wants to have, each once."""
        policy = json.loads(self.policy)
        wanted = [
            ("sqs:PurgeQueue", _arn("sqs", f"{self.app}-orders")),
            ("lambda:DeleteF*", _arn("lambda", f"function:{self.app}")),
            ("dynamodb:UpdateTable", _arn("dynamodb", f"table/{self.app}-old")),
        ]
        for action, resource in wanted:
            example = action.replace("F*", "FunctionConcurrency")
            if (example, resource) in self._granted_again:
                continue
            if grants(self.policy, example, resource):
                continue
            statement = {"Effect": "Allow", "Action": action, "Resource": resource}
            policy["Statement"].append(statement)
            self._granted_again.add((example, resource))
            self.measures.answers += 1
        text = json.dumps(policy, indent=2).encode()
        if json.loads(text) != json.loads(self.policy):
            self._hub.commit_as("kim", "main", {self.names.file: text}, "Grant again")

    def _give_up_feature(self) -> None:
        """Takes the lines of one blocked feature away from the branch of the proposal, once."""
        if self._taken_away:
            return
        branch = self.branch
        policy = json.loads(self._hub.file(self.names.file, branch))
        for job in self._jobs:
            if job.name not in self._blocked:
                continue
            for action, resource in self._needed_by_alone(job):
                is_added = grants(json.dumps(policy).encode(), action, resource)
                if not is_added or grants(self.policy, action, resource):
                    continue
                self._taken_away.add((action, resource))
                for statement in policy["Statement"]:
                    resources = _list(statement["Resource"])
                    if resource in resources:
                        actions = _list(statement["Action"])
                        statement["Action"] = [each for each in actions if each != action]
            if self._taken_away:
                self._blocked.pop(job.name)
                self._jobs.remove(job)
                break
        policy["Statement"] = [each for each in policy["Statement"] if each["Action"]]
        self._taken_away = {
            each for each in self._taken_away if not grants(json.dumps(policy).encode(), *each)
        }
        if self._taken_away:
            self.measures.answers += 1
            text = json.dumps(policy, indent=2)
            self._hub.commit_as("kim", branch, {self.names.file: text}, "Without the feature")

    def _end_feature(self) -> None:
        """Deletes the lines of one feature on the base branch, once, after it ran."""
        if self._deleted:
            return
        policy = json.loads(self.policy)
        for job in self._jobs:
            if not job.is_new or job.name not in self.measures.waits:
                continue
            self._jobs.remove(job)
            self._deleted = self._needed_by_alone(job)
            break
        for action, resource in self._deleted:
            for statement in policy["Statement"]:
                if resource in _list(statement["Resource"]):
                    actions = _list(statement["Action"])
                    statement["Action"] = [each for each in actions if each != action]
        policy["Statement"] = [each for each in policy["Statement"] if each["Action"]]
        text = json.dumps(policy, indent=2)
        self._deleted = {each for each in self._deleted if not grants(text.encode(), *each)}
        if self._deleted:
            self.measures.answers += 1
            self._hub.commit_as("kim", "main", {self.names.file: text}, "Without the feature")

    def _needed_by_alone(self, job: Job) -> set[tuple[str, str]]:
        """The permissions of a job that no other job needs, as one on `*` is."""
        others = [other for other in self._jobs if other != job]
        shared = {(call.action, call.resource) for other in others for call in other.calls}
        return {(call.action, call.resource) for call in job.calls} - shared

    def _note_answers(self, number: int) -> None:
        """Notes what a merged proposal did against an answer of the team."""
        for action, resource in self._granted_again:
            if not grants(self.policy, action, resource):
                self.measures.answered_twice.append(f"#{number} removes {action} again")
        for action, resource in self._taken_away | self._deleted:
            if grants(self.policy, action, resource):
                self.measures.answered_twice.append(f"#{number} adds {action} again")

    def _merge(self, number: int) -> None:
        before = self.policy
        if self._takes_offers:
            self._take_offers()
        if self._answers_by_hand:
            self._give_up_feature()
        self._hub.merge_pull(number, "kim", "squash", delete_branch=True)
        after = self.policy
        self.measures.merged += 1
        self._handled.add(number)
        self._tries.update(name for name, day in self._blocked.items() if day <= self._proposed)
        self._note_named(after)
        self._note_answers(number)
        for job in self._jobs:
            for call in job.calls:
                permission = (call.action, call.resource)
                was, now = grants(before, *permission), grants(after, *permission)
                if was and not now:
                    self._removed.add(permission)
                if now and not was and permission in self._removed:
                    self._removed.discard(permission)
                    self.measures.back_and_forth.append(f"#{number}: {call.action}")

    def _note_named(self, policy: bytes) -> None:
        """Notes of each denied feature whether its first merged proposal names all that it lacks."""
        for job in self._jobs:
            if self._tries[job.name] != 1 or job.name in self.measures.named:
                continue
            needs = {(call.action, call.resource) for call in job.calls}
            missing = {each for each in needs if not grants(policy, *each)}
            self.measures.named[job.name] = missing <= self._offered

    def _note_closures(self) -> None:
        """Notes a pull request that the product closed though its additions are still denied."""
        for issue, pull in self._hub.world.pulls():
            number = issue.number
            if issue.state != "closed" or pull.merged_at or number in self._handled:
                continue
            if not self._hub.comments(number):
                continue
            self._handled.add(number)
            reason = self._hub.comments(number)[-1]
            if "now matches the evidence" in reason:
                self.measures.false_closures.append(f"#{number}: {reason[:200]}")

    def finish(self) -> Measures:
        """Returns the measures at the end of the year."""
        pulls = [(issue, pull) for issue, pull in self._hub.world.pulls()]
        # Jobs of a matrix share the repository.
        self.measures.pull_requests = sum(_is_of_role(issue.body, self._arns) for issue, _ in pulls)
        branch = self.branch
        self.measures.orphans = [
            issue.number
            for issue, pull in pulls
            # A run of one target does not know whether another job has the earlier role.
            if issue.state == "open"
            and pull.head != branch
            and _is_of_role(issue.body, self.names.arns)
        ]
        return self.measures


def login(role: str, session: str, time: datetime) -> Mapping[str, Any]:
    """The login of a workflow run of the base branch."""
    name = role.rpartition("/")[2]
    call = {
        "event": "sts:AssumeRoleWithWebIdentity",
        "parameters": {"roleArn": role, "roleSessionName": session},
    }
    identity = {
        "type": "WebIdentityUser",
        "userName": _SUBJECT,
        "identityProvider": _PROVIDER,
    }
    answer = {
        "credentials": {"accessKeyId": _key(session)},
        "subjectFromWebIdentityToken": _SUBJECT,
        "provider": _PROVIDER,
        "assumedRoleUser": {"arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{session}"},
    }
    made = record(call, time, session, role)
    return {**made, "userIdentity": identity, "responseElements": answer}


def _is_of_role(body: str | None, arns: Collection[str]) -> bool:
    """Whether the body of a pull request names one of some roles."""
    mark = target_mark(body or "")
    return mark is not None and mark.name.role in arns


def _key(session: str) -> str:
    """The access key of a session."""
    return f"ASIA{session:0>16}"


def connected(hub: FakeGitHub) -> GitHubRepository:
    """The repository as a new process connects to it."""
    connection = Connection.open(
        hub.token,
        REPOSITORY,
        api_url=hub.url,
        web_url="https://github.com",
        deadline=NoDeadline(),
    )
    return GitHubRepository(connection)
