"""`leastpriv roles`: all roles of some trails, those with most to gain first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from leastpriv.atomic_file import read_named
from leastpriv.cli.command_line import print_rows, print_text
from leastpriv.cli.commands import open_trails
from leastpriv.errors import InputError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable

    from leastpriv.cli.command_line import Clock
    from leastpriv.evidence.models import Evidence
    from leastpriv.github_actions.workflow_commands import Console
    from leastpriv.models import Gap
    from leastpriv.pipeline.roles import KnownPolicies


def roles(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:
    """Lists what each role may do and did; returns 1 where no role is known."""
    from leastpriv.config.inputs import window
    from leastpriv.pipeline.roles import overview
    from leastpriv.pipeline.sources import ReadHooks, read_by_principal
    from leastpriv.report.roles import role_row, roles_csv, roles_table

    policies = _known_policies(options)
    if not options.trails and not policies.arns:
        raise InputError("--trails is missing: name a folder of CloudTrail files.")
    gaps: list[Gap] = []
    evidence_by_role: Iterable[tuple[str, Evidence]] = ()
    if options.trails:
        sources = open_trails(options, None, clock)
        chosen_window = window(options.start or "", options.end or "")
        hooks = ReadHooks(lambda calls: console.log(f"… {calls:,} calls"), shared_gaps=gaps)
        evidence_by_role = read_by_principal(sources, chosen_window, None, hooks)
    rows = [role_row(overview_row) for overview_row in overview(evidence_by_role, policies)]
    console.clear_progress()
    for gap in gaps:
        console.log(f"Not read: {gap.detail}")
    for sentence in policies.unread:
        console.log(f"Not known: {sentence}")
    if options.format == "csv":
        print_text(stdout, roles_csv(rows))
    else:
        print_rows(stdout, rows, roles_table, options.format)
    if not rows:
        console.error("No call of any role was read.")
    return int(not rows)


def _known_policies(options: Namespace) -> KnownPolicies:
    """Returns the policies that the options name: of account details, and of a config."""
    from leastpriv.pipeline.roles import KnownPolicies

    policies = KnownPolicies()
    for name in options.account_details or ():
        from leastpriv.evidence.account_details import read_account_details

        raw = read_named(name, "--account-details")
        for role in read_account_details(raw, name).values():
            policies.add(role.arn, role.documents)
            for policy in role.unread:
                policies.unread.append(f"{role.arn}: the policy {policy} cannot be read")
    if options.config:
        from leastpriv.config.targets_file import read_configuration

        raw = read_named(options.config, "--config")
        policies.add_config(read_configuration(raw, options.config), Path())
    return policies
