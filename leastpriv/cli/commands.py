"""The commands other than `propose`: `permissions`, `explain`, `evaluate`, `contains`, `denials`,
`init`, `trial`, `mcp`.
"""

from __future__ import annotations

import os
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from msgspec.structs import replace

from leastpriv.atomic_file import read_named
from leastpriv.cli.command_line import check_folder, print_rows, print_text, shows_table
from leastpriv.errors import InputError, LeastprivError
from leastpriv.github_actions.workflow_commands import Console

if TYPE_CHECKING:
    from leastpriv.aws.arns import Window
    from leastpriv.cli.command_line import Clock
    from leastpriv.models import Gap, Principal
    from leastpriv.pipeline.sources import CountedSource
    from leastpriv.policy.access import Policies, PolicyLevel
    from leastpriv.policy.document import Document


def permissions(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:
    """Lists what a role, or every role, used."""
    from leastpriv.cli.reading_bar import reading_bar
    from leastpriv.config.inputs import named_principal, window
    from leastpriv.pipeline.sources import ReadHooks, read_by_principal

    if bool(options.role_arn) == options.all_roles:
        raise InputError("Name one role with --role-arn, or all with --all-roles.")
    target = named_principal(options.role_arn, "--role-arn") if options.role_arn else None
    sources = open_trails(options, target, clock)
    shared_gaps: list[Gap] = []
    chosen_window = window(options.start or "", options.end or "")
    hooks = ReadHooks(shared_gaps=shared_gaps if options.all_roles else None)
    with reading_bar(console, sources):
        evidence_by_principal = read_by_principal(sources, chosen_window, target, hooks)
    from leastpriv.report.tables import gap_row, permission_rows, permission_table

    patterns = options.resources == "pattern"
    rows: list[dict[str, object]] = []
    has_calls = False
    gaps: list[Gap] = []
    for name, evidence in evidence_by_principal:
        rows += permission_rows({name: evidence}, patterns, name_principals=options.all_roles)
        if not shows_table(stdout, options.format):
            # The rows of all principals do not fit into memory.
            print_rows(stdout, rows, permission_table, options.format)
            rows.clear()
        if evidence.counts.calls:
            has_calls = True
        elif target:
            console.error(_missing_calls(target, sources, chosen_window, evidence.gaps))
        gaps += evidence.gaps
        # Else it is in memory while the next one is completed.
        del evidence
    rows += [gap_row(gap) for gap in shared_gaps]
    print_rows(stdout, rows, permission_table, options.format)
    if has_calls:
        return _report_damage(sources, [*shared_gaps, *gaps], console)
    if options.all_roles:
        gap = f" {shared_gaps[0].detail.removesuffix('.')}." if shared_gaps else ""
        console.error(f"No call of any role or user was read.{gap}")
    return 1


def _report_damage(sources: Sequence[CountedSource], gaps: Sequence[Gap], console: Console) -> int:
    """Returns the exit code of a run that read calls: 1, with the reason, where all files of a
    source are damaged.
    """
    from leastpriv.pipeline.sources import all_damaged_sentence

    damaged = all_damaged_sentence([source.statistics for source in sources], gaps)
    if not damaged:
        return 0
    console.error(damaged)
    return 1


def open_trails(options: Namespace, target: Principal | None, clock: Clock) -> list[CountedSource]:
    """Opens the trails of the options."""
    from leastpriv.aws.session import AwsSession
    from leastpriv.cloudtrail.file_reader import EventDeduplicator, S3TrailOptions
    from leastpriv.cloudtrail.local_store import TrailFolder
    from leastpriv.config.inputs import EVENT_HISTORY, is_in_aws, regions, trails
    from leastpriv.pipeline.sources import DEFAULT_DAYS, bucket_trail, event_history, open_all

    now = clock()
    chosen_regions = regions(options.aws_regions or (), "--aws-regions")
    session = AwsSession(os.environ, now, chosen_regions)
    since = None if options.start else now - DEFAULT_DAYS
    cache = Path(options.cache_dir) if options.cache_dir else None
    shared = S3TrailOptions(since, EventDeduplicator(), survey=False, cache=cache, now=now)

    def source(name: str) -> CountedSource:
        if is_in_aws(name):
            return bucket_trail(name, session, shared)
        if name == EVENT_HISTORY:
            from leastpriv.cloudtrail.event_history import EventHistoryOptions

            how = EventHistoryOptions(seen=shared.seen)
            return event_history(target, chosen_regions, session, how)
        return TrailFolder(Path(name), seen=shared.seen, survey=False, cache=cache)

    return open_all(
        [partial(source, name) for name in trails(tuple(options.trails or ()), "--trails")]
    )


def _missing_calls(
    target: Principal, sources: Sequence[CountedSource], window: Window, gaps: Sequence[Gap]
) -> str:
    """Says why there is no call; folders are read again for the roles that they have instead."""
    from leastpriv.aws.arns import Principals, short_arn
    from leastpriv.cloudtrail.local_store import TrailFolder
    from leastpriv.evidence.parts import CountingFiles
    from leastpriv.pipeline.sources import missing_calls

    again = [TrailFolder(source.path) for source in sources if isinstance(source, TrailFolder)]
    for folder in again:
        for _ in folder.read_parts(window, Principals(frozenset({target})), CountingFiles()):
            pass
    other_statistics = [
        source.statistics for source in sources if not isinstance(source, TrailFolder)
    ]
    statistics = [*other_statistics, *(folder.statistics for folder in again)]
    return missing_calls(target, statistics, gaps, short_arn(target.arn))


def explain(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:
    """Explains why an action is needed, or what a proposal does with it."""
    from leastpriv.cli.command_line import EXPLAINED
    from leastpriv.cli.propose import command_context
    from leastpriv.config.inputs import check_spelling
    from leastpriv.config.settings import from_options
    from leastpriv.pipeline.collect_evidence import RunEvidence, with_known_users
    from leastpriv.pipeline.context import Target
    from leastpriv.pipeline.propose import make_proposal
    from leastpriv.policy.source import Location
    from leastpriv.report import explain as report

    asked = list(dict.fromkeys(options.actions))
    as_json = options.format == "json"
    for action in asked:
        check_spelling(action, "ACTION is")
    if not (options.role_arn or options.trails or options.policy_file):
        print_text(stdout, report.explain(asked, None, as_json=as_json))
        return 0
    if options.policy_file and not Path(Location.of(options.policy_file).path).is_file():
        raise InputError(f"--policy-file names {options.policy_file!r}, which is no file.")
    values = {name: getattr(options, name.replace("-", "_")) or "" for name in EXPLAINED}
    values["policy-file"] = options.policy_file or "policy"
    values["from"] = options.start or ""
    values["to"] = options.end or ""
    settings = from_options(values)
    run = command_context(settings, os.environ, clock())
    if not options.policy_file:
        run = replace(run, targets=(Target(settings, settings.policy_file),))
    reader = RunEvidence(run)
    target = with_known_users(run.targets[0], reader)
    # Neither a pull request nor the usage history is written.
    context = make_proposal(run, target, partial(reader.of, target)).context
    if context.missing_calls:
        console.error(context.missing_calls)
    has_policy = bool(options.policy_file)
    print_text(stdout, report.explain(asked, context, has_policy=has_policy, as_json=as_json))
    return int(bool(context.missing_calls))


_NEW_ACCESS = 3
_ASKED = "true"
"""Value of `--organization-policies` that asks AWS."""


def evaluate(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:
    """Decides requests under all policies that are given."""
    from leastpriv.policy.access import evaluate_access
    from leastpriv.policy.evaluate import read_requests
    from leastpriv.report.tables import access_notes, decision_row, decision_table

    if not (options.policies or options.resource_policies):
        raise InputError("Name a policy with --policy, or that of a resource.")
    policies = _policies(options, options.policies or ())
    requests = read_requests(read_named(options.request, "--request"), options.request)
    if not requests:
        raise InputError(f"--request {options.request} has no request: write one object, or more.")
    arns = [
        *(request.principal for request in requests),
        *(request.resource for request in requests),
    ]
    policies = _with_accounts(policies, options, clock, arns, console)
    decisions = [evaluate_access(request, policies) for request in requests]
    rows = [decision_row(decision) for decision in decisions]
    print_rows(stdout, rows, decision_table, options.format)
    for note in access_notes(policies, decisions):
        console.log(note)
    return 0


def _policies(options: Namespace, named: Sequence[str] = ()) -> Policies:
    """Reads the policies of the principal, of its organization and of the resources from files."""
    from leastpriv.policy.access import Policies
    from leastpriv.policy.organization import read_organization, read_resource_policy

    boundary, session = options.boundary, options.session_policy
    organization_policies = options.organization_policies or ()
    paths = [path for path in organization_policies if path != _ASKED]
    if paths and _ASKED in organization_policies:
        raise InputError(
            f"--organization-policies names files, and {_ASKED} asks AWS instead: leave one out."
        )
    return Policies(
        identity=tuple(_policy(name, "--policy") for name in named),
        boundary=(_policy(boundary, "--boundary"),) if boundary else None,
        session=(_policy(session, "--session-policy"),) if session else None,
        organization=read_organization(paths, "--organization-policies"),
        resources=tuple(
            read_resource_policy(resource_policy, "--resource-policy")
            for resource_policy in options.resource_policies or ()
        ),
    )


def _with_accounts(
    policies: Policies, options: Namespace, clock: Clock, arns: Sequence[str], console: Console
) -> Policies:
    """Adds the SCPs and RCPs of the accounts in some ARNs, where AWS is to be asked for them.

    Raises LeastprivError where those of the first account cannot be read.
    """
    if _ASKED not in (options.organization_policies or ()):
        return policies
    from leastpriv.aws.session import AwsSession
    from leastpriv.aws_checks.simulate import account_levels
    from leastpriv.policy.access import Organization, account_in_arn

    aws = AwsSession(os.environ, clock()).aws()
    accounts: dict[str, tuple[PolicyLevel, ...]] = {}
    for arn in arns:
        account = account_in_arn(arn)
        if not account or account in accounts:
            continue
        levels = account_levels(aws, account, arn.split(":")[1])
        if levels.levels:
            for sentence in levels.unread:
                console.log(sentence)
        elif levels.unread:
            # A further account may be of another organization, whose policies are not asked for.
            is_further = bool(accounts) and levels.is_outside
            if not is_further:
                raise LeastprivError(levels.unread[0])
        accounts[account] = levels.levels
    return replace(policies, organization=Organization(accounts=accounts))


def contains(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:
    """Returns 0 where a policy allows nothing that another does not, else 3, and prints the
    smallest new request.
    """
    from leastpriv.policy.access import limits_of
    from leastpriv.policy.containment import check_containment
    from leastpriv.report.tables import excess_row, excess_sentence, excess_table

    if options.principal and not options.principal.startswith("arn:"):
        raise InputError(f"--principal {options.principal} is no ARN of a role, user or session.")
    old = [_policy(name, "--old") for name in options.old]
    new = [_policy(name, "--new") for name in options.new]
    arns = [options.principal or ""]
    policies = _with_accounts(_policies(options), options, clock, arns, console)
    if policies.organization.accounts and not options.principal:
        raise InputError(
            "--organization-policies names several accounts: name the role or user with"
            " --principal."
        )
    limits = limits_of(policies, options.principal or "")
    smallest = check_containment([*old, *limits.allowed], new, limits=limits.layers).smallest
    if smallest is None:
        return 0
    print_rows(stdout, [excess_row(smallest, new)], excess_table, options.format)
    console.error(excess_sentence(smallest, new))
    return _NEW_ACCESS


def denials(options: Namespace, stdout: TextIO, console: Console, _clock: Clock) -> int:
    """Lists the denials in logs; returns 1 without one."""
    from leastpriv.denials.job_logs import distinct_denials, read_logs
    from leastpriv.report.tables import denial_summary, denial_table, logged_denial_row

    for name in options.files:
        folder = Path(name)
        if folder.is_dir() and not any(file.is_file() for file in folder.rglob("*")):
            raise InputError(f"{name!r} has no file: name the folder of the logs.")
    denials_read, limit = distinct_denials(read_logs(options.files, sys.stdin.buffer))
    print_rows(
        stdout,
        [logged_denial_row(logged_denial) for logged_denial in denials_read],
        denial_table,
        options.format,
    )
    console.log(denial_summary(denials_read, limit))
    return 0 if denials_read else 1


def _policy(name: str, flag: str) -> Document:
    from leastpriv.pipeline.infrastructure import RepositoryVersion
    from leastpriv.policy.document import parse
    from leastpriv.policy.source import Location

    location = Location.of(name)
    path, mark, pointer = name.partition("#")
    if mark and not location.pointer and not Path(name).exists() and Path(path).is_file():
        raise InputError(
            f"{flag} names {path!r} with the pointer {pointer!r}; a pointer begins with /, as"
            " #/Policy."
        )
    folder = RepositoryVersion.on_disk().folder(location.path)
    return parse(read_named(location.path, flag), location.path, location.pointer, folder=folder)


def trial(options: Namespace, stdout: TextIO, _console: Console, clock: Clock) -> int:
    """Runs a command under a policy, and adds to the policy what AWS denied."""
    from leastpriv.trial.main import parse_settings, run_trial
    from leastpriv.trial.rounds import TrialContext

    # The command's output passes through; progress of the trial is on standard error.
    return run_trial(parse_settings(options), TrialContext(os.environ, stdout, sys.stderr, clock))


def mcp(options: Namespace, _stdout: TextIO, _console: Console, _clock: Clock) -> int:
    """Serves the commands as tools of an agent or editor, until the client ends the connection."""
    from leastpriv.config.inputs import parse_integer
    from leastpriv.mcp_server.calls import Access
    from leastpriv.mcp_server.server import serve

    seconds = parse_integer(options.time_limit, "--time-limit", 1)
    return serve(Access(root=Path(options.root), aws=options.aws, seconds=seconds))


def init(options: Namespace, stdout: TextIO, console: Console, _clock: Clock) -> int:
    """Writes the reader role and the workflow, or checks them."""
    from leastpriv.init.options import parse_options
    from leastpriv.init.render import (
        command_options,
        earlier_files,
        next_steps,
        render_files,
        with_edited_config,
        write_files,
    )

    given_options = _given_options(options)
    if sys.stdin.isatty() and not (given_options["repository"] and given_options["role-arn"]):
        given_options = ask(
            given_options, lambda prompt: _answer(prompt, sys.stdin, sys.stderr), console.error
        )
        console.log(f"Without questions: leastpriv init {command_options(given_options)}")
    target = parse_options(given_options)
    if options.check:
        from leastpriv.init.check import check_rows, check_setup
        from leastpriv.init.probes import CheckState

        checks = list(check_setup(target, os.environ))
        print_text(stdout, check_rows(checks))
        unsuccessful = (CheckState.FAILS, CheckState.UNKNOWN)
        return int(any(check.state in unsuccessful for check in checks))
    check_folder(options.output_dir, "--output-dir")
    files = render_files(target)
    folder = Path(options.output_dir)
    earlier = earlier_files(target, given_options, folder)
    if not options.overwrite:
        files = with_edited_config(files, target, folder)
    write_files(files, folder, overwrite=options.overwrite, earlier=earlier)
    for number, step in enumerate(next_steps(target, files, given_options), start=1):
        console.log(f"{number}. {step}")
    return 0


def _given_options(options: Namespace) -> dict[str, Sequence[str]]:
    """Returns the values of each option of `init`; some take several in one text."""
    from leastpriv.init.options import known_options

    values_by_option: dict[str, Sequence[str]] = {}
    for name, option in known_options().items():
        value = getattr(options, name.replace("-", "_"))
        texts = (value,) if isinstance(value, str) else value or ()
        if option["several"] != "commas":
            values_by_option[name] = tuple(filter(None, texts))
            continue
        words: list[str] = []
        for text in texts:
            words.extend(filter(None, re.split(r"[,\s]+", text)))
        values_by_option[name] = tuple(words)
    return values_by_option


def ask(
    given: Mapping[str, Sequence[str]], answer: Callable[[str], str], report: Callable[[str], None]
) -> dict[str, Sequence[str]]:
    """Asks for each option that is not given, again after a wrong answer; returns all options."""
    from leastpriv.init.options import known_options

    options = dict(given)
    for name, option in known_options().items():
        is_skipped = {
            "no environment": bool(options["environment"]),
            "s3": not any(trail.startswith("s3://") for trail in options["trails"]),
            "athena": not options["athena-table"],
        }
        if option["question"] and not options[name] and not is_skipped.get(option["needs"], False):
            options[name] = _ask_one(name, option, answer, report)
    return options


def _ask_one(
    name: str,
    known: Mapping[str, str],
    answer: Callable[[str], str],
    report: Callable[[str], None],
) -> tuple[str, ...]:
    """Asks for an option until it has an answer that it takes."""
    from leastpriv.init.options import check_option

    default = known["default"]
    prompt = f"{known['question']}{f' [{default}]' if default else ''}: "
    is_required = name in ("repository", "role-arn")
    while True:
        reply = answer(prompt).strip() or default
        words = (reply,) if name == "environment" and reply else tuple(reply.split())
        try:
            values = tuple(check_option(name, word) for word in words)
        except InputError as error:
            report(str(error))
            continue
        if reply or not is_required:
            return values


def _answer(prompt: str, stdin: TextIO, stderr: TextIO) -> str:
    stderr.write(prompt)
    stderr.flush()
    line = stdin.readline()
    if not line:
        raise InputError("The answers ended: name the options, or answer on a terminal.")
    return line
