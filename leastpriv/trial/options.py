"""Parses the options of `leastpriv trial`; every message names the option and the remedy."""

from __future__ import annotations

from argparse import Namespace

from msgspec import Struct

from leastpriv.config.inputs import entries, named_principal, patterns
from leastpriv.errors import InputError
from leastpriv.models import Principal
from leastpriv.policy.source import Location

SESSION_POLICY, TRIAL_ROLE = "session-policy", "trial-role"


class TrialSettings(Struct, frozen=True):
    """The settings of one trial."""

    principal: Principal
    policy: Location
    also_attached: tuple[str, ...]
    strategy: str
    max_rounds: int
    trails: tuple[str, ...]
    wait: float
    """Seconds to wait for records after a round whose output does not help."""
    settle: float
    """Seconds that IAM gets to apply a change of the temporary role."""
    never_add: tuple[str, ...]
    clean_up: bool
    argv: tuple[str, ...]


def parse_settings(options: Namespace) -> TrialSettings | None:
    """Parses the options; None: there is no command, and the trial only cleans up; raises InputError."""
    if not options.argv and not options.clean_up:
        raise InputError("There is no command to try: write it after --, as in leastpriv trial … -- make deploy.")
    if not options.argv:
        return None
    for value, flag in ((options.role_arn, "--role-arn"), (options.policy_file, "--policy-file")):
        if not value:
            raise InputError(f"{flag} is missing: a command is tried under the policy of one role or user.")
    principal = named_principal(options.role_arn, "--role-arn")
    strategy = options.strategy or (TRIAL_ROLE if principal.kind == "user" else SESSION_POLICY)
    if strategy == SESSION_POLICY and principal.kind == "user":
        raise InputError("--strategy is session-policy, but a user cannot be assumed: use trial-role.")
    return TrialSettings(
        principal=principal,
        policy=Location.of(options.policy_file),
        also_attached=_entries(options.also_attached),
        strategy=strategy,
        max_rounds=_integer(options.max_rounds, "--max-rounds", 1),
        trails=_entries(options.trails),
        wait=_integer(options.wait, "--wait-for-records", 0),
        settle=_integer(options.settle, "--settle", 0),
        never_add=patterns({"never-add": _entries(options.never_add)}, {"never-add": "--never-add"}, "never-add"),
        clean_up=options.clean_up,
        argv=tuple(options.argv),
    )


def _entries(values: list[str] | None) -> tuple[str, ...]:
    return tuple(entry for value in values or () for entry in entries(value))


def _integer(text: str, flag: str, minimum: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) >= minimum):
        raise InputError(f"{flag} is {text!r}: write a whole number, {minimum} or more.")
    return int(text)
