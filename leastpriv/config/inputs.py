"""The inputs of the public contract: names, defaults, help (`data/inputs.tsv`), and checks of
single values.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from functools import cache
from itertools import chain

from msgspec import Struct

from leastpriv.aws.arns import Window, parse_principal
from leastpriv.errors import InputError
from leastpriv.models import Principal
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.names.observed import DeclaredCopies


class Input(Struct, frozen=True):
    """One input of the public contract, as its one declaration has it."""

    name: str
    default: str
    shell_default: str
    """Of the command, where it differs."""
    flag: str
    """The option on the command line, `--also-attached`; it may mean something else than the input.
    """
    help: str
    """What it is, for action.yml and the guide, without a full stop."""
    shell_help: str
    """The same for the option."""
    group: str
    """The heading under which guide and help have it."""
    choices: tuple[str, ...]
    """The values that it takes; empty: any text."""
    example: str
    several: bool
    """A list: the option may be repeated."""
    step_only: bool
    """No option of the command line: it concerns a pull request on GitHub, or is a secret."""
    config_only: bool
    """Not in action.yml: `settings` of the config has it."""
    is_count: bool
    """It takes a whole number; also an empty text if it has no default."""


@cache
def inputs() -> tuple[Input, ...]:
    """Returns all inputs, in the order of the table."""
    return tuple(
        Input(
            name=row["name"],
            default=row["default"],
            shell_default=row["shell_default"],
            flag=row["option"] or f"--{row['name']}",
            help=row["help"],
            shell_help=row["shell_help"] or row["help"],
            group=row["group"],
            choices=tuple(filter(None, row["choices"].split(","))),
            example=row["example"],
            several="list" in row["kind"].split(),
            step_only="step" in row["kind"].split(),
            config_only="config" in row["kind"].split(),
            is_count="count" in row["kind"].split() or row["default"].isdigit(),
        )
        for row in table("inputs", __package__ or "")
    )


Value = str | tuple[str, ...]
"""An input as it arrived: text, or the values of a repeated option."""
EVENT_HISTORY = "event-history"
"""The value of `trails` for CloudTrail's event history."""
# Names of buckets, trails and log groups: "General purpose bucket naming rules" (S3), CreateTrail
# (CloudTrail) and CreateLogGroup (CloudWatch Logs), read 2026-11-24.
_IN_AWS = re.compile(
    r"s3://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](?:/.*)?"
    r"|arn:[a-z-]+:cloudtrail:[a-z0-9-]+:\d{12}:trail/[\w.-]+"
    r"|(?:arn:[a-z-]+:logs:[a-z0-9-]+:\d{12}:)?log-group:[\w./#-]{1,512}(?::\*)?",
    re.ASCII,
)
_POLICY_ARN = re.compile(r"arn:aws(?:-[a-z]+)*:iam::(?:\d{12}|aws):policy/[!-~]+", re.ASCII)
# us-east-1, us-gov-west-1, ap-southeast-2 … (regions of botocore's endpoints.json)
_REGION = re.compile(r"[a-z]{2,5}(?:-[a-z]+)+-[0-9]{1,2}", re.ASCII)


def trails(value: Value, label: str, *, optional: bool = False) -> tuple[str, ...]:
    """Returns names of trail folders, trails in S3 and `event-history`; `optional` with other
    evidence.
    """
    trail_entries = entries(value)
    if not trail_entries and not optional:
        raise InputError(
            f"{label} is missing: name a folder of CloudTrail files, or {EVENT_HISTORY}."
        )
    for name in trail_entries:
        if is_in_aws(name) and not _IN_AWS.fullmatch(name):
            raise InputError(
                f"{label} is {name!r}: write s3://BUCKET/PREFIX, log-group:NAME, or a trail's ARN"
                " like arn:aws:cloudtrail:eu-west-1:123456789012:trail/NAME."
            )
    return trail_entries


def is_in_aws(trail: str) -> bool:
    """Whether a trail is named by its location in S3, its ARN or its log group, not by a folder."""
    return trail.startswith(("s3://", "arn:", "log-group:"))


def window(start: str, end: str) -> Window:
    """Returns the time to read, from `--from` (included) to `--to` (excluded); empty is open."""
    chosen_window = Window(_time(start, "--from"), _time(end, "--to"))
    if chosen_window.start and chosen_window.end and chosen_window.start >= chosen_window.end:
        raise InputError(f"--from {start} is not before --to {end}: the window is empty.")
    return chosen_window


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


def named_principal(arn: str, label: str) -> Principal:
    """Returns the role or user of an input; raises InputError where it is not the ARN of a role or
    user, or AWS alone controls the role.
    """
    try:
        principal = parse_principal(arn)
    except InputError as error:
        raise InputError(f"{label}: {error}") from error
    check_own_policy(arn, label)
    return principal


def check_own_policy(arn: str, label: str) -> None:
    """Raises InputError for a service-linked role, or a pattern of such roles.

    Source: "Service-linked role", https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html,
    read 2026-12-02.
    """
    if ":role/aws-service-role/" in arn:
        raise InputError(
            f"{label}: {arn!r} is a service-linked role, whose policy only AWS can change: name the"
            " role that your deploys use."
        )


_NO_PART_OF_ACTIONS = re.compile(r"[^A-Za-z0-9:*?._-]")
"""A letter of another alphabet, or a sign that does not show, leaves a guard without effect."""


def patterns(value: Value, label: str) -> tuple[str, ...]:
    """Returns patterns of actions; raises InputError where one is no pattern of actions."""
    action_patterns = _names(value)
    for pattern in action_patterns:
        if ":" not in pattern and pattern != "*":
            raise InputError(
                f"{label} holds {pattern!r}: write action patterns like s3:DeleteBucket or iam:*."
            )
        check_spelling(pattern, f"{label} holds")
        character = _NO_PART_OF_ACTIONS.search(pattern)
        if character:
            raise InputError(
                f"{label} holds {pattern!r}, whose character U+{ord(character[0]):04X} no action"
                " has: write the action again."
            )
    return action_patterns


COPIES_KEYS = ("long-lived", "short-lived")
"""Keys of the input `copies`."""
_COPY_WORD = re.compile(r"[A-Za-z0-9*?][A-Za-z0-9*?._-]{0,62}")


def copies(text: str, label: str) -> DeclaredCopies:
    """Returns the copies of an app; raises InputError where the text is no such mapping."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if not text:
        return DeclaredCopies()
    form = f'{label} is {text!r}: write {{long-lived: [prod], short-lived: ["pr-*"]}}.'
    try:
        content = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, RecursionError) as error:
        raise InputError(form) from error
    if not isinstance(content, Mapping) or not set(content) <= {*COPIES_KEYS}:
        raise InputError(form)
    words = {key: value if isinstance(value, list) else [value] for key, value in content.items()}
    if not all(map(_is_copy_word, chain.from_iterable(words.values()))):
        raise InputError(form)
    long_lived, short_lived = (tuple(words.get(key, ())) for key in COPIES_KEYS)
    if any(set(word) & {"*", "?"} for word in long_lived):
        raise InputError(f"{label} has a wildcard in long-lived: name each of these copies.")
    if "*" in short_lived:
        raise InputError(f"{label} has `*` in short-lived: write a form with letters, like pr-*.")
    return DeclaredCopies(long_lived, short_lived)


def _is_copy_word(word: object) -> bool:
    return isinstance(word, str) and _COPY_WORD.fullmatch(word) is not None


def check_spelling(pattern: str, label: str) -> None:
    """Checks a name or pattern of actions for slips; an action newer than the catalogue is none."""
    from leastpriv.permissions import catalog

    prefix, _, name = pattern.partition(":")
    if not {"*", "?"}.isdisjoint(prefix):
        return
    service = prefix.lower()
    services = catalog.services()
    if service not in services:
        meant = _service_meant(service, sorted(services))
        action = f"{meant}:{name}" if meant else ""
    elif not {"*", "?"}.isdisjoint(name) or catalog.spelling(pattern):
        return
    else:
        names = {action.partition(":")[2].lower(): action for action in catalog.actions(service)}
        text = name.lower()
        action = names.get(letters_meant(text, names) or _letter_replaced(text, names), "")
    if action:
        raise InputError(f"{label} {pattern!r}, which is no action (did you mean {action}?).")


def _service_meant(text: str, services: Collection[str]) -> str:
    """Returns the service whose prefix was meant; empty if none is close."""
    meant = letters_meant(text, services) or _letter_replaced(text, services)
    if meant or len(text) > _LONGEST_NAME:
        return meant
    for position, letter in enumerate(text):
        shorter = text[:position] + text[position + 1 :]
        if letter.isalpha() and shorter in services and len(shorter) > _SHORT:
            return shorter
    return ""


def letters_meant(text: str, known: Collection[str]) -> str:
    """Returns the known name of which letters are swapped, one is missing or one is doubled; empty
    without one.
    """
    if text in known or len(text) > _LONGEST_NAME:
        return ""
    letters = sorted(text)
    for name in known:
        if len(name) == len(text) and sorted(name) == letters:
            return name
    for name in known:
        if len(name) != len(text) + 1:
            continue
        if text in {name[:left_out] + name[left_out + 1 :] for left_out in range(len(name))}:
            return name
    for position in range(1, len(text)):
        single = text[:position] + text[position + 1 :]
        if text[position] == text[position - 1] and single in known:
            return single
    return ""


def _letter_replaced(text: str, known: Collection[str]) -> str:
    """Returns the known name with another letter at one place; short acronyms and versions are
    often that similar.
    """
    for name in known if len(text) > _SHORT else ():
        if len(name) == len(text):
            differing = [pair for pair in zip(name, text, strict=True) if pair[0] != pair[1]]
            if len(differing) == 1 and "".join(differing[0]).isalpha():
                return name
    return ""


_LONGEST_NAME = 128
"""Characters; no service, action or region has a name that long."""
_SHORT = 4
"""Letters of a name so short that a name of one other letter may be another service."""


def regions(value: Value, label: str) -> tuple[str, ...]:
    """Returns names of regions; raises InputError where one is no name of a region."""
    from leastpriv.evidence.access_advisor import tracked_regions

    names = _names(value)
    for region in names:
        if not _REGION.fullmatch(region):
            zone_text = ""
            if region[:-1] in tracked_regions():
                zone_text = f", an availability zone of {region[:-1]}"
            raise InputError(
                f"{label} holds {region!r}{zone_text}: write regions like eu-central-1."
            )
        meant = letters_meant(region, tracked_regions())
        if meant:
            raise InputError(
                f"{label} holds {region!r}, which is no region (did you mean {meant}?): write"
                " regions like eu-central-1."
            )
    return names


def files(value: Value, label: str) -> tuple[str, ...]:
    """Returns names of policy files and ARNs of managed policies; raises InputError."""
    file_entries = entries(value)
    for file in file_entries:
        if file.startswith("arn:") and not _POLICY_ARN.fullmatch(file):
            raise InputError(
                f"{label} holds {file!r}: write a file, or the ARN of a managed policy like "
                "arn:aws:iam::123456789012:policy/NAME."
            )
    return file_entries


def _names(value: Value) -> tuple[str, ...]:
    """Returns names of a list, which hold neither commas nor blanks: `eu-west-1, us-east-1` is two
    in a shell too.
    """
    return tuple(name for entry in entries(value) for name in re.split(r"[\s,]+", entry) if name)


def entries(value: Value) -> tuple[str, ...]:
    """Returns the entries of a list, without empty ones."""
    return (
        split_list(value)
        if isinstance(value, str)
        else tuple(entry for entry in value if entry.strip())
    )


_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})


def read_input(environment: Mapping[str, str], name: str) -> str:
    """Returns the input `name`, trimmed; empty if it is not set.

    The runner passes `policy-file` as `INPUT_POLICY-FILE`: upper case, blanks to `_`, hyphens kept.
    """
    return environment.get("INPUT_" + name.replace(" ", "_").upper(), "").strip()


def split_list(text: str) -> tuple[str, ...]:
    """Returns the entries of `text`, one per line or separated by commas; trimmed, without empty
    ones.
    """
    return tuple(entry for part in re.split(r"[\r\n,]", text) if (entry := part.strip()))


def parse_boolean(text: str, label: str) -> bool:
    """Returns the boolean `text` of an input, which messages name by its label."""
    if text not in _TRUE | _FALSE:
        raise InputError(f"{label} is {text!r}: write true or false.")
    return text in _TRUE


def parse_integer(text: str, label: str, minimum: int = 0) -> int:
    """Returns the number `text` of an input, which messages name by its label."""
    if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) is None or int(text) < minimum:
        raise InputError(f"{label} is {text!r}: write a whole number, {minimum} or more.")
    return int(text)
