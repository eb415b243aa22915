"""Environment or command line -> `Settings`. Every message names the input and the way out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from leastpriv.errors import InputError
from leastpriv.evidence.source import Window, parse_principal
from leastpriv.inputs import INPUTS, Input
from leastpriv.model import Principal
from leastpriv.policy.location import Location
from leastpriv.proposal.situation import Options
from leastpriv.pull_request.publication import is_branch_name
from leastpriv.pull_request.repository.pulls import Manners
from leastpriv.runner.inputs import parse_boolean, parse_integer, read_input, split_list

Value = str | tuple[str, ...]
"""An input as it arrived: text, or the values of a repeated option."""


class Mode(StrEnum):
    """What happens with a proposal."""

    REPORT = "report"
    PULL_REQUEST = "pull-request"
    CHECK = "check"
    REVIEW = "review"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that one run is told; paths are still text, since only the caller knows where they start."""

    principal: Principal
    policy_file: str
    also_attached: tuple[str, ...]
    mode: Mode
    trails: tuple[str, ...]
    window: Window
    options: Options
    base: str
    branch: str
    manners: Manners = field(default_factory=Manners)
    github_token: str = field(default="", repr=False)

    @property
    def policy(self) -> Location:
        """The policy file, and where in it the policy stands."""
        return Location.of(self.policy_file)


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Settings of a step from its `INPUT_…` variables.

    Raises:
        InputError: an input is missing, malformed, or not built yet.
    """
    values = {known.name: read_input(environment, known.name) for known in INPUTS}
    return settings(values, {known.name: f"The input {known.name}" for known in INPUTS})


def from_options(values: Mapping[str, Value], start: str = "", end: str = "") -> Settings:
    """Settings from the command line's options, by input name.

    Raises:
        InputError: as `from_environment`.
    """
    shell = {known.name: known.shell_default for known in INPUTS if known.shell_default}
    given = {**values, **{name: default for name, default in shell.items() if not values.get(name)}}
    return settings(given, {known.name: known.flag for known in INPUTS}, start, end)


def settings(values: Mapping[str, Value], labels: Mapping[str, str], start: str = "", end: str = "") -> Settings:
    """Checks every value and puts defaults in; `labels` says how messages call an input."""
    _refuse_unbuilt(values, labels)
    text = {known.name: _text(values, known) for known in INPUTS if known.built}
    missing = next((known.name for known in INPUTS if known.required and not text[known.name]), "")
    if missing:
        raise InputError(f"{labels[missing]} is missing: {_help(missing)}.")
    _integer(text, labels, "lookback-days", 1)
    principal = named_principal(text["role-arn"], labels["role-arn"])
    return Settings(
        principal=principal,
        policy_file=text["policy-file"],
        also_attached=_files(values, labels, "also-attached"),
        mode=Mode(_one_of(text, labels, "mode", [mode.value for mode in Mode])),
        trails=trails(values.get("trails", ()), labels["trails"]),
        window=window(start, end),
        options=_options(text, values, labels),
        base=_branch(text["base"], labels["base"]),
        branch=_branch(text["branch"], labels["branch"]) or f"leastpriv/{_as_branch(principal.name)}",
        manners=_manners(values, text, labels),
        github_token=text["github-token"],
    )


def trails(value: Value, label: str) -> tuple[str, ...]:
    """Names of trail folders.

    Raises:
        InputError: there is none, or one is of a kind that is not built yet.
    """
    found = _list(value)
    if not found:
        raise InputError(f"{label} is missing: name a folder of CloudTrail files.")
    for name in found:
        if name.startswith("s3://"):
            raise InputError(
                f"{label} is {name!r}: trails in S3 are not built yet; copy the files into a folder and name that."
            )
    return found


def window(start: str, end: str) -> Window:
    """The time to read, from `--from` (included) to `--to` (not included); empty is open.

    Raises:
        InputError: a time is not ISO 8601, or the window is empty.
    """
    chosen = Window(_time(start, "--from"), _time(end, "--to"))
    if chosen.start and chosen.end and chosen.start >= chosen.end:
        raise InputError(f"--from {start} is not before --to {end}: the window is empty.")
    return chosen


def _time(text: str, flag: str) -> datetime | None:
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InputError(
            f"{flag} is {text!r}: write a date like 2026-11-03 or a time like 2026-11-03T09:00:00Z."
        ) from None


def _options(text: Mapping[str, str], values: Mapping[str, Value], labels: Mapping[str, str]) -> Options:
    return Options(
        minimum_days=_integer(text, labels, "minimum-days"),
        minimum_runs=_integer(text, labels, "minimum-runs"),
        drop_unseen_services=_one_of(text, labels, "unseen-services", ["keep", "drop"]) == "drop",
        keep=_patterns(values, labels, "keep"),
        never_add=_patterns(values, labels, "never-add"),
        exact_resources=_one_of(text, labels, "resources", ["pattern", "exact", "keep"]) == "exact",
        keep_forms=text["resources"] == "keep",
    )


def _branch(name: str, label: str) -> str:
    if name and not is_branch_name(name):
        raise InputError(f"{label} is {name!r}: git does not take that as the name of a branch.")
    return name


def _as_branch(name: str) -> str:
    """A principal's name as part of a branch's: IAM takes some that git does not (`ci..x`, `ci.lock`)."""
    return name if is_branch_name(name) else re.sub(r"\.(?=\.|$|lock$)|^[.-]", "_", name)


def _manners(values: Mapping[str, Value], text: Mapping[str, str], labels: Mapping[str, str]) -> Manners:
    lists = {name: _list(values.get(name, ())) for name in ("reviewers", "team-reviewers", "assignees")}
    return Manners(
        labels=split_list(text["labels"]),
        reviewers=lists["reviewers"],
        team_reviewers=lists["team-reviewers"],
        assignees=lists["assignees"],
        draft=parse_boolean(text["draft"], labels["draft"].removeprefix("The input ")),
    )


def _refuse_unbuilt(values: Mapping[str, Value], labels: Mapping[str, str]) -> None:
    for known in INPUTS:
        if not known.built and values.get(known.name):
            raise InputError(f"{labels[known.name]} is set, but not built yet: leave it out.")


def named_principal(arn: str, label: str) -> Principal:
    """The role or user of an input.

    Raises:
        InputError: it is not the ARN of a role or user.
    """
    try:
        return parse_principal(arn)
    except InputError as error:
        raise InputError(f"{label}: {error}") from error


def _integer(text: Mapping[str, str], labels: Mapping[str, str], name: str, minimum: int = 0) -> int:
    return parse_integer(text[name], labels[name].removeprefix("The input "), minimum)


def _one_of(
    text: Mapping[str, str],
    labels: Mapping[str, str],
    name: str,
    choices: Sequence[str],
    later: Sequence[str] = (),
) -> str:
    value = text[name]
    if value in later:
        raise InputError(f"{labels[name]} is {value!r}, which is not built yet: choose {' or '.join(choices)}.")
    if value not in choices:
        raise InputError(f"{labels[name]} is {value!r}: choose {' or '.join(choices)}.")
    return value


def _patterns(values: Mapping[str, Value], labels: Mapping[str, str], name: str) -> tuple[str, ...]:
    found = _list(values.get(name, ()))
    for pattern in found:
        if ":" not in pattern and pattern != "*":
            raise InputError(f"{labels[name]} holds {pattern!r}: write action patterns like s3:DeleteBucket or iam:*.")
    return found


def _files(values: Mapping[str, Value], labels: Mapping[str, str], name: str) -> tuple[str, ...]:
    found = _list(values.get(name, ()))
    for file in found:
        if file.startswith("arn:"):
            raise InputError(
                f"{labels[name]} holds {file!r}: ARNs are not built yet; save the policy as a file and name that."
            )
    return found


def _list(value: Value) -> tuple[str, ...]:
    return split_list(value) if isinstance(value, str) else tuple(entry for entry in value if entry.strip())


def _text(values: Mapping[str, Value], known: Input) -> str:
    value = values.get(known.name) or known.default
    return value.strip() if isinstance(value, str) else "\n".join(value)


def _help(name: str) -> str:
    return next(known.help for known in INPUTS if known.name == name)
