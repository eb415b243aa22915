"""Generates a policy from a trail with IAM Access Analyzer, as a second opinion.

Its policies lack `iam:PassRole` and data events, include denied calls, and name resources by
placeholders only
(https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-policy-generation.html, read
2026-11-24). An account may run one generation at a time and 50 a day (in some regions 5), of at
most 90 days of events
(https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-quotas.html, read 2026-11-24).
Free of charge; a cancelled generation counts as well.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from msgspec import Struct

from leastpriv.aws.errors import aws_message, error_code, translate_errors
from leastpriv.aws.session import Polling, pages
from leastpriv.errors import AwsError, AwsErrorKind, InputError, Signals, caught_signals
from leastpriv.evidence.models import GeneratedGrant, GeneratedPolicy
from leastpriv.permissions.fact_tables import table

_log = logging.getLogger(__name__)

_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[!-~]{1,576}")
_TRAIL = re.compile(r"arn:aws[a-z-]*:cloudtrail:[a-z0-9-]+:\d{12}:trail/[\w.-]{1,128}", re.ASCII)
_LONGEST_WINDOW = timedelta(days=90)
_FRESH = timedelta(hours=12)
"""A generation that ended so recently is reused: an account may have 50 a day."""
_SLACK = timedelta(days=1)
"""A window that begins up to this much later counts as equal: the windows of two runs of one day
differ a little.
"""


class GenerationSettings(NamedTuple):
    """ARNs of the role that Access Analyzer assumes, and of the trail."""

    access_role: str
    trail: str


def parse_generation(value: str, label: str) -> GenerationSettings | None:
    """Parses the input `access-analyzer`: `off` or empty is None, else the ARNs of a role and a
    trail in any order.

    Raises InputError where it has another form.
    """
    words = value.replace(",", " ").split()
    if not words or words == ["off"]:
        return None
    roles = [word for word in words if _ROLE.fullmatch(word)]
    trails = [word for word in words if _TRAIL.fullmatch(word)]
    if len(words) == 2 and len(roles) == len(trails) == 1:
        return GenerationSettings(roles[0], trails[0])
    raise InputError(
        f"{label} is {value!r}: write off, or the ARN of the service role that Access Analyzer"
        " assumes and the ARN of the trail, with a blank or a line break between them."
    )


def generate_policy(
    client: Any,
    principal: str,
    generation: GenerationSettings,
    start: datetime | None,
    waiting: Polling,
) -> GeneratedPolicy:
    """Generates a policy, or reuses another client's recent generation; cancels its own generation
    when interrupted.

    The events begin at `start`, at most 90 days ago. Another client's generation is reused only if
    it read the same trail in all regions, for as long.

    Raises:
        AwsError: AWS denied a request, failed, or did not finish in time; an unfinished generation
            is left to the next run.
    """
    _log.info(
        "Asking IAM Access Analyzer for a second opinion on the trail (free of charge, some"
        " minutes)"
    )
    end = waiting.clock()
    first = max(start, end - _LONGEST_WINDOW) if start else end - _LONGEST_WINDOW
    with caught_signals() as signals:
        jobs = _GenerationJobs(client, principal, generation, (first, end), waiting, signals)
        try:
            while True:
                job = jobs.taken() or jobs.started()
                answer = jobs.awaited(job)
                if job == jobs.own or jobs.serves(job, answer):
                    return _read(job, answer, was_running=job != jobs.own)
        except (KeyboardInterrupt, SystemExit):
            # Another client's generation must not be cancelled.
            if jobs.own:
                jobs.cancel(jobs.own)
            raise


class _GenerationJobs(Struct):
    """The generations of one principal."""

    client: Any
    principal: str
    generation: GenerationSettings
    window: tuple[datetime, datetime]
    """Times of the first and last event to read."""
    waiting: Polling
    signals: Signals
    own: str = ""
    """The generation that this run started."""
    passed_over: set[str] = set()
    """Other clients' generations that do not fit."""
    refused: bool = False
    """The account was busy once: meanwhile another client may have started one for the same
    principal.
    """

    def taken(self) -> str:
        """Returns a generation that is running, or succeeded recently; empty where there is
        none.
        """
        since = self.waiting.clock() - _FRESH
        for generation in self._all(self.principal):
            job = str(generation["jobId"])
            ended = generation.get("completedOn")
            if job in self.passed_over:
                continue
            if generation["status"] == "IN_PROGRESS":
                _log.info(f"Joining the policy generation {job}, which is already running")
                return job
            if generation["status"] == "SUCCEEDED" and ended and ended >= since:
                _log.info(
                    f"Using the policy generation {job} of {ended.astimezone(UTC):%Y-%m-%d %H:%M}"
                )
                return job
        return ""

    def started(self) -> str:
        """Starts a generation once the account is free; or returns one that another client started
        meanwhile.
        """
        job = self.waiting.until(self._start, "the account's turn to generate a policy")
        if job is None:
            busy = f"Other policy generations have kept the account busy for {self._longest}"
            raise AwsError(
                f"{busy}, and it has one at a time: run again later.", AwsErrorKind.OTHER
            )
        return job

    @property
    def _longest(self) -> str:
        return f"{self.waiting.longest.total_seconds() / 60:.0f} minutes"

    def _start(self) -> str | None:
        if self.refused and (joined := self.taken()):
            return joined
        first, end = self.window
        trail = {"cloudTrailArn": self.generation.trail, "allRegions": True}
        details = {
            "trails": [trail],
            "accessRole": self.generation.access_role,
            "startTime": first,
            "endTime": end,
        }
        activity = "starting a policy generation"
        action = "access-analyzer:StartPolicyGeneration"
        try:
            # An interruption here would lose the id of the generation that AWS has started.
            with self.signals.deferred(), translate_errors(activity, action):
                answer = self.client.start_policy_generation(
                    policyGenerationDetails={"principalArn": self.principal},
                    cloudTrailDetails=details,
                )
                self.own = str(answer["jobId"])
        except AwsError as error:
            code = error_code(error)
            is_spent = code == "ServiceQuotaExceededException"
            # If no generation is running in the account, its daily quota is used up.
            is_busy = is_spent and any(
                generation["status"] == "IN_PROGRESS" for generation in self._all("")
            )
            if code == "ConflictException" or is_busy:
                if not self.refused:
                    sentence = (
                        "Another policy generation runs in the account, which has one at a time"
                    )
                    _log.info(f"{sentence}: waiting {self._longest} at most for its turn")
                self.refused = True
                return None
            if is_spent:
                spent = "its daily quota is used up; run again tomorrow"
                sentence = (
                    "The account may start no policy generation"
                    f" ({aws_message(error).rstrip('.')}): {spent}."
                )
                raise AwsError(sentence, AwsErrorKind.OTHER) from error
            raise
        return self.own

    def awaited(self, job: str) -> Mapping[str, Any]:
        """Waits for the end of a generation and returns its result."""
        try:
            answer = self.waiting.until(lambda: self._answer(job), f"the policy generation {job}")
        except AwsError as error:
            sentence = (
                f"{error} The policy generation {job} continues; the next run uses its result."
            )
            raise AwsError(sentence, error.kind, error.missing_action) from error
        if answer is None:
            sentence = f"The policy generation {job} did not finish in time; it continues"
            raise AwsError(f"{sentence}, and the next run uses its result.", AwsErrorKind.OTHER)
        return answer

    def serves(self, job: str, answer: Mapping[str, Any]) -> bool:
        """Whether another client's generation is equal to ours; if not, it is skipped from then
        on.
        """
        details = answer["jobDetails"]
        trail = (
            answer.get("generatedPolicyResult", {})
            .get("properties", {})
            .get("cloudTrailProperties", {})
        )
        read = {
            trail_properties["cloudTrailArn"]
            for trail_properties in trail.get("trailProperties", ())
            if trail_properties.get("allRegions")
        }
        first = _utc(trail.get("startTime"))
        last = _utc(trail.get("endTime"))
        if details["status"] != "SUCCEEDED":
            reason = "was cancelled by its owner" if details["status"] == "CANCELED" else "failed"
        elif self.generation.trail not in read:
            reason = f"has not read all regions of {self.generation.trail}"
        elif (
            not first
            or not last
            or first > self.window[0] + _SLACK
            or last < self.window[1] - _FRESH
        ):
            reason = "has read fewer days"
        else:
            return True
        self.passed_over.add(job)
        _log.info(f"The policy generation {job} {reason}, so it is not used")
        return False

    def _answer(self, job: str) -> Mapping[str, Any] | None:
        """The result of a generation that has ended; None while it runs."""
        with translate_errors(
            "asking for the generated policy", "access-analyzer:GetGeneratedPolicy"
        ):
            generated: Mapping[str, Any] = self.client.get_generated_policy(
                jobId=job, includeResourcePlaceholders=True
            )
            return (
                generated
                if generated["jobDetails"]["status"] in ("SUCCEEDED", "FAILED", "CANCELED")
                else None
            )

    def cancel(self, job: str) -> None:
        """Cancels a generation; a failure is only logged."""
        try:
            with (
                self.signals.deferred(),
                translate_errors(
                    "cancelling the policy generation", "access-analyzer:CancelPolicyGeneration"
                ),
            ):
                self.client.cancel_policy_generation(jobId=job)
                _log.info(f"Cancelled the policy generation {job}")
        except AwsError as error:
            _log.info(f"The policy generation {job} continues: {error}")

    def _all(self, principal: str) -> Iterator[Mapping[str, Any]]:
        """Yields the generations of the last seven days, of a principal or, where it is empty, of
        the account.
        """
        parameters = {"principalArn": principal} if principal else {}
        activity = "listing policy generations"
        action = "access-analyzer:ListPolicyGenerations"
        for page in pages(self.client, "list_policy_generations", activity, action, **parameters):
            yield from page["policyGenerations"]


def _read(job: str, answer: Mapping[str, Any], *, was_running: bool) -> GeneratedPolicy:
    """Returns the policy that Access Analyzer generated; raises AwsError for a job that failed or
    was canceled.
    """
    details = answer["jobDetails"]
    if details["status"] == "CANCELED":
        raise AwsError(f"The policy generation {job} was canceled.", AwsErrorKind.OTHER)
    if details["status"] != "SUCCEEDED":
        error = details.get("jobError", {})
        rows = table("generation_errors", "leastpriv.evidence")
        advice = next(
            (row["advice"] for row in rows if row["code"] == error.get("code")), "run again later"
        )
        failure = (
            f"{error.get('code', 'no reason given')}: {str(error.get('message', '')).rstrip('.')}"
        )
        raise AwsError(
            f"The policy generation {job} failed ({failure}): {advice}.", AwsErrorKind.OTHER
        )
    generated = answer.get("generatedPolicyResult", {})
    policies = [policy["policy"] for policy in generated.get("generatedPolicies", ())]
    trail = generated.get("properties", {}).get("cloudTrailProperties", {})
    return GeneratedPolicy(
        job=job,
        first=_utc(trail.get("startTime")),
        last=_utc(trail.get("endTime")),
        is_complete=bool(generated.get("properties", {}).get("isComplete", False)),
        grants=grants_of(policies),
        policies=len(policies),
        was_running=was_running,
    )


def grants_of(policies: Iterable[str]) -> tuple[GeneratedGrant, ...]:
    """Returns the grants of policies in JSON that Access Analyzer wrote, sorted, each action once.

    Raises AwsError where a text is not a policy.
    """
    resources_by_action: dict[str, set[str]] = {}
    try:
        for text in policies:
            for statement in _listed(json.loads(text)["Statement"]):
                if statement["Effect"] != "Allow":
                    continue
                for action in _listed(statement.get("Action", ())):
                    resources = resources_by_action.setdefault(str(action), set())
                    resources.update(map(str, _listed(statement["Resource"])))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AwsError(
            "A policy that AWS generated cannot be parsed.", AwsErrorKind.INCOMPLETE
        ) from error
    grants = [
        GeneratedGrant(action, tuple(sorted(resources)))
        for action, resources in resources_by_action.items()
    ]
    return tuple(sorted(grants))


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _utc(time: datetime | None) -> datetime | None:
    return time.astimezone(UTC) if time else None
