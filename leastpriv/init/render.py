"""Renders the files of `leastpriv init` and writes all of them or none.

The files are the reader role as a CloudFormation template and as a Terraform configuration, the
workflow that runs the action with that role, and what other accounts need: a StackSet, and the
policies of a bucket and a key.
"""

from __future__ import annotations

import json
import logging
import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from leastpriv.aws.arns import has_wildcard
from leastpriv.errors import InputError, LeastprivError, PullRequestError
from leastpriv.init.options import (
    Given,
    InitOptions,
    known_options,
    parse_options,
)
from leastpriv.init.reader_role import (
    MOST_NAMES,
    READER,
    ReaderGrant,
    bucket_policy,
    key_policy,
    reader_grants,
    subject_operator,
)
from leastpriv.models import Principal

_log = logging.getLogger(__name__)

CLOUDFORMATION = f"{READER}.yaml"
TERRAFORM = f"{READER}.tf"
STACK_SET = f"{READER}-stackset.yaml"
MEMBER = f"{READER}-other-accounts.tf"
BUCKET_POLICY = "trail-bucket-policy.json"
KEY_POLICY = "trail-key-policy.json"
WORKFLOW = ".github/workflows/least-privilege.yml"
SETTINGS = frozenset(
    {
        "access-analyzer",
        "athena-table",
        "custom-policy-checks",
        "denial-details",
        "last-accessed",
        "organization-policies",
        "validate-digests",
    }
)
"""Values of a run that action.yml leaves out: the config has them (a test compares)."""
LOGIN = "aws-actions/configure-aws-credentials@61815dcd50bd041e203e49132bacad1fd04d2708 # v5.1.1"
"""The action that assumes the role; the example workflows use the same commit."""
ADVICE = (
    "By names, then by ids. Once the repository uses ids, remove the first: a name can be given up"
    " and taken by others."
)
"""A comment in the trust policy."""
_ASSUME = (
    "https://docs.aws.amazon.com/service-authorization/latest/reference/"
    "list_awssecuritytokenservice.html"
)
_ACCOUNT = "${{ matrix.account }}"


def render_files(target: InitOptions) -> dict[str, str]:
    """Renders each file; returns content by path.

    Raises InputError for an unknown source, a value that a source lacks, or an action without a
    known commit.
    """
    files = {name: _template(name, target) for name in (CLOUDFORMATION, TERRAFORM)}
    if target.is_github:
        files[WORKFLOW] = _workflow(target)
    if target.others:
        files[MEMBER] = _template(TERRAFORM, target, member=True)
    if target.others or len(target.accounts) > 1:
        files[STACK_SET] = _stack_set(target)
    if target.has_config:
        for account in target.runs:
            files[_config(target, account)] = _targets_file(target, account)
    elif settings_of_action(target):
        files[_config(target, target.runs[0])] = _settings_text(target)
    is_bucket_elsewhere = target.trail_account or len(target.accounts) > 1
    if "TrailBucket" in target.values and is_bucket_elsewhere:
        files |= _trail_policies(target)
    return files


def _workflow(target: InitOptions) -> str:
    """Renders the workflow; with a run for each account, its role is that of the matrix."""
    action = target.action or checkout_action()
    return _rendered(
        WORKFLOW,
        target,
        login=LOGIN,
        action=f"{action} # the commit of this leastpriv: no release exists yet",
        reader_arn=target.reader_arn(_ACCOUNT if len(target.runs) > 1 else target.runs[0]),
        inputs=action_inputs(target),
    )


def _stack_set(target: InitOptions) -> str:
    """Renders the StackSet of the reader role for the other accounts, or for all."""
    is_member = bool(target.others)
    return _rendered(
        STACK_SET,
        target,
        template=_template(CLOUDFORMATION, target, member=is_member),
        stacks=target.others or target.accounts,
        member=is_member,
    )


def _trail_policies(target: InitOptions) -> dict[str, str]:
    """Returns what the account of the trail's bucket adds to the policies there."""
    policies = {BUCKET_POLICY: bucket_policy(target.sources, target.values, target.accounts)}
    if "TrailKeyArn" in target.values:
        policies[KEY_POLICY] = key_policy(target.values, target.accounts)
    return {name: json.dumps(policy, indent=2) + "\n" for name, policy in policies.items()}


def _settings_text(target: InitOptions) -> str:
    """Returns the settings of the config in YAML; empty without one."""
    lines = [
        f"  {name}: {json.dumps(value)}\n" for name, value in settings_of_action(target).items()
    ]
    return f"settings:\n{''.join(lines)}" if lines else ""


def _targets_file(target: InitOptions, account: str) -> str:
    """Returns the config of a run: a role that is in all accounts has one entry."""
    reader = f'assume-role: "{target.reader_arn("{account}")}"\n' if target.others else ""
    accounts = ""
    if target.shared:
        lines = "".join(f'  - "{shared_account}"\n' for shared_account in target.shared_accounts)
        accounts = f"accounts:\n{lines}"
    entries = [
        f'  - role-arn: "{shared_target.principal.arn}"\n    policy-file: "{shared_target.file}"\n'
        for shared_target in target.shared
    ]
    files = {shared_target.file for shared_target in target.shared}
    for account_target in target.targets:
        is_of_run = target.hub or target.shared or account_target.principal.account == account
        if is_of_run and account_target.file not in files:
            entries.append(_entry(target, account_target.principal, account_target.file))
    return f"{_settings_text(target)}{reader}{accounts}targets:\n{''.join(entries)}"


def earlier_files(target: InitOptions, given: Given, folder: Path) -> dict[str, str]:
    """Returns the files as an earlier `init` made them for the accounts that the config in a folder
    lists: `{".github/leastpriv.yml": "…"}`; none where it lists no accounts.

    `write_files` replaces a file that is equal to one of these, since no person has edited it.
    Where the options name no hub account, it is the one that the present target has.
    """
    name = _config(target, target.runs[0])
    text = _text_of_config(target, folder)
    accounts = _ACCOUNT_LINE.findall(text)
    if not accounts:
        return {}
    hub = given.get("hub-account") or (target.hub,)
    options = {
        **given,
        "accounts": accounts,
        "hub-account": [content for content in hub if content],
    }
    with suppress(InputError):
        return {**render_files(parse_options(options)), name: text}
    return {name: text}


def with_edited_config(
    found: Mapping[str, str], target: InitOptions, folder: Path
) -> dict[str, str]:
    """Returns the files with the config of a folder where it lists accounts: the missing ones are
    added to it, and its other lines remain.
    """
    text = _text_of_config(target, folder)
    lines = list(_ACCOUNT_LINE.finditer(text))
    if not lines:
        return dict(found)
    listed_accounts = [line[1] for line in lines]
    added = [
        shared_account
        for shared_account in target.shared_accounts
        if shared_account not in listed_accounts
    ]
    end = lines[-1].end()
    added_lines = "".join(f'\n  - "{account}"' for account in added)
    return {**found, _config(target, target.runs[0]): f"{text[:end]}{added_lines}{text[end:]}"}


def _text_of_config(target: InitOptions, folder: Path) -> str:
    """Returns the config in a folder; empty where there is none for roles in all accounts."""
    path = folder / _config(target, target.runs[0])
    if not target.shared or not path.is_file():
        return ""
    return path.read_text(encoding="utf-8", errors="replace")


_ACCOUNT_LINE = re.compile(r'^  - "([0-9]{12})"$', re.MULTILINE)


def _entry(target: InitOptions, principal: Principal, file: str) -> str:
    """Returns an entry of the config, with the branch of its pull request where the usual
    `leastpriv/ROLE` would be that of several roles.
    """
    branch = _branch_line(target, principal)
    return f'  - role-arn: "{principal.arn}"\n    policy-file: "{file}"\n{branch}'


def _branch_line(target: InitOptions, principal: Principal) -> str:
    """Returns the line of an entry that names its branch; empty where the usual one serves.

    - Each account has a run: `branch: "leastpriv/123456789012-ci-deploy"`.
    - The same for a pattern, whose roles have no branch of one name: `group: "123456789012"`.
    - Two roles of the account have the name, as `a/ci` and `b/ci`: `branch: "leastpriv/a-ci"`.
    """
    path_and_name = principal.arn.split("/", 1)[1]
    has_run_per_account = len(target.runs) > 1
    if has_run_per_account and has_wildcard(path_and_name):
        return f'    group: "{principal.account}"\n'
    namesakes = [
        other
        for other in target.principals
        if (other.account, other.name) == (principal.account, principal.name)
    ]
    name = principal.name
    if len(namesakes) > 1:
        name = path_and_name.replace("/", "-")
    if has_run_per_account:
        return f'    branch: "leastpriv/{principal.account}-{name}"\n'
    if name != principal.name:
        return f'    branch: "leastpriv/{name}"\n'
    return ""


def _config(target: InitOptions, account: str) -> str:
    """Returns the path of the config of an account's run, or of the only run."""
    return f".github/leastpriv/{account}.yml" if len(target.runs) > 1 else ".github/leastpriv.yml"


def _template(name: str, target: InitOptions, *, member: bool = False) -> str:
    """Renders the role for a tool, whose expressions find the role's own account; a member trusts
    the hub's role.
    """
    if name == CLOUDFORMATION:
        pseudo_parameters = {"Partition": "${AWS::Partition}", "Account": "${AWS::AccountId}"}
        ids = ("${RepositoryOwnerId}", "${RepositoryId}")
    else:
        account = "${data.aws_caller_identity.current.account_id}"
        pseudo_parameters = {
            "Partition": "${data.aws_partition.current.partition}",
            "Account": account,
        }
        ids = ("${var.repository_owner_id}", "${var.repository_id}")
    grants = reader_grants(target.sources, {**target.values, **pseudo_parameters})
    if target.others and not member:
        accounts = target.others if len(target.others) <= MOST_NAMES else ("*",)
        resources = tuple(
            f"arn:{pseudo_parameters['Partition']}:iam::{other_account}:role/{READER}"
            for other_account in accounts
        )
        grants = (
            *grants,
            ReaderGrant("AssumeReaders", ("sts:AssumeRole",), resources, None, _ASSUME),
        )
    return _rendered(
        name,
        target,
        member=member,
        grants=grants,
        by_name=target.subjects(),
        by_id=target.subjects(*ids) if target.has_ids else (),
        operator=subject_operator(target.subjects()),
    )


def action_inputs(target: InitOptions) -> dict[str, str]:
    """Returns the inputs of the workflow's step, without the settings, which a config has.

    A config that lists the targets (`has_config`) is among the values already; for one target a
    config with settings alone is written, and named here.
    """
    settings = settings_of_action(target)
    found = {name: value for name, value in _values(target).items() if name not in settings}
    needs_settings_file = bool(settings) and not target.has_config
    if needs_settings_file:
        found["config"] = _config(target, target.runs[0])
    return found


def settings_of_action(target: InitOptions) -> dict[str, str]:
    """Returns what action.yml leaves out, for the config."""
    return {name: value for name, value in _values(target).items() if name in SETTINGS}


def _values(target: InitOptions) -> dict[str, str]:
    """Returns the action's inputs and settings."""
    sources = target.sources
    values = target.values
    account = _ACCOUNT if len(target.runs) > 1 else target.runs[0]
    first = target.targets[0]
    target_values = {"role-arn": first.principal.arn, "policy-file": first.file}
    bucket = f"s3://{values.get('TrailBucket')}"
    folder = str(values.get("TrailFolder"))
    trails = {
        "event-history": "event-history",
        "log-group": f"log-group:{values.get('LogGroup')}",
        "s3-trail": f"{bucket}/{folder.replace('{Account}', account)}",
    }
    inputs = {
        **({"config": _config(target, account)} if target.has_config else target_values),
        "trails": ", ".join(trail for source, trail in trails.items() if source in sources),
        "aws-regions": ", ".join(target.regions),
        "athena-table": target.athena_table,
        "access-analyzer": target.access_analyzer,
        # The action reads both by default, and a role without the permissions would be denied in
        # every run.
        "denial-details": "" if "denial-details" in sources else "false",
        "last-accessed": "" if "last-accessed" in sources else "false",
        "organization-policies": "true" if "organization-policies" in sources else "",
        "custom-policy-checks": "true" if "custom-policy-checks" in sources else "",
        "validate-digests": "true" if "digests" in sources else "",
        "job-logs": "auto" if "job-logs" in sources else "",
    }
    return {name: value for name, value in inputs.items() if value}


def checkout_action() -> str:
    """Returns the action at the commit of this checkout, or of the repository that pip installed
    from.

    Raises InputError where the commit is not known.
    """
    folder = Path(__file__).parents[2]
    commit = ""
    if (folder / ".git").exists() and (folder / "action.yml").is_file():
        from leastpriv.pull_request.git_repository import GitRepository

        with suppress(PullRequestError):
            commit = GitRepository.open(folder).commit_at("HEAD") or ""
    with suppress(metadata.PackageNotFoundError, ValueError):
        origin = json.loads(metadata.distribution("leastpriv").read_text("direct_url.json") or "{}")
        commit = commit or str(origin.get("vcs_info", {}).get("commit_id", ""))
    if not commit:
        raise InputError(
            "The commit of this leastpriv is not known: name it as --action OWNER/NAME@COMMIT."
        )
    return f"org/leastpriv-action@{commit}"


def _rendered(name: str, target: InitOptions, **more: Any) -> str:
    """Renders a file from its template with the options."""
    # Imported here: only this command waits for it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # The files are no HTML, and the options have no character that they interpret.
    environment = Environment(  # noqa: S701
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    file = {
        CLOUDFORMATION: "reader.yaml",
        TERRAFORM: "reader.tf",
        STACK_SET: "stackset.yaml",
        WORKFLOW: "workflow.yml",
    }
    values = {
        name: getattr(target, name)
        for name in (*target.__struct_fields__, "runs", "others", "has_ids", "is_slim")
    }
    placeholders = {
        **values,
        "sources": ", ".join(target.sources),
        "reader": READER,
        "advice": ADVICE,
        **more,
    }
    return environment.get_template(f"{file[name]}.j2").render(placeholders)


def next_steps(target: InitOptions, found: Mapping[str, str], given: Given) -> list[str]:
    """Returns what the user does with the files, in order; a shell command has its line.

    `given`: the options, which the check takes again.
    """
    ids = ""
    if target.has_ids:
        fields = (("RepositoryOwnerId", ".owner.id"), ("RepositoryId", ".id"))
        ids = "".join(
            f' {name}="$(gh api repos/{target.repository} --jq {field})"' for name, field in fields
        )
    steps: list[str] = []
    if target.hub or STACK_SET not in found:
        steps.append(_step_for_role(target, ids))
    if STACK_SET in found:
        steps.append(_step_for_stacks(target, ids))
    if BUCKET_POLICY in found:
        files = " and ".join(name for name in (BUCKET_POLICY, KEY_POLICY) if name in found)
        steps.append(
            f"In the account of the trail's bucket, add the statements of {files} to the policies"
            " there."
        )
    if target.values["Roles"]:
        steps.append(
            "In the deploy job, give configure-aws-credentials role-session-name: ${{"
            " github.run_id }}."
        )
    if f"repo:{target.repository}:pull_request" in target.subjects():
        steps.append(
            "--subject accepts jobs of pull requests: each person who may open one can read the"
            " records."
        )
    if WORKFLOW in found:
        steps.append(
            f"Commit {', '.join(name for name in found if name.startswith('.github/'))} to the"
            " default branch, and select Allow GitHub Actions to create and approve pull requests"
            " under Settings > Actions > General."
        )
    steps.append(
        "Check it, in a job of the repository or with the role's credentials:\n"
        f"leastpriv init --check {command_options(given)}"
    )
    return steps


_DEPLOY = "aws cloudformation deploy --capabilities CAPABILITY_NAMED_IAM --stack-name"


def _step_for_role(target: InitOptions, ids: str) -> str:
    provider = target.provider(target.partition, target.runs[0])
    exists = (
        f"aws iam get-open-id-connect-provider --open-id-connect-provider-arn {provider} >"
        " /dev/null 2>&1"
    )
    return (
        f"Create the role in the account {target.runs[0]}, with its OIDC provider if it has none:\n"
        f"{_DEPLOY} {READER} --template-file {CLOUDFORMATION} --parameter-overrides"
        f' CreateProvider="$({exists} && echo false || echo true)"{ids}'
    )


def _step_for_stacks(target: InitOptions, ids: str) -> str:
    """Returns the instruction to deploy the StackSet."""
    root = "aws organizations list-roots --query 'Roots[0].Id' --output text"
    if target.hub:
        where_created = "in the other accounts"
        options = ""
    else:
        where_created = (
            "in all accounts, with CreateProvider=true if they have no OIDC provider for the"
            " workflows"
        )
        options = f" CreateProvider=false{ids}"
    return (
        f"Create the roles {where_created}, from the management account:\n{_DEPLOY} {READER}-roles"
        f' --template-file {STACK_SET} --parameter-overrides OrganizationalUnits="$({root})"'
        f"{options}"
    )


def command_options(given: Given) -> str:
    """Returns the options as a shell takes them."""
    words: list[str] = []
    for name, values in given.items():
        if known_options()[name]["several"] == "commas" and values:
            values = (",".join(values),)
        words.extend(f"--{name} {shlex.quote(value)}" for value in values)
    return " ".join(words)


def write_files(
    found: Mapping[str, str],
    folder: Path,
    *,
    overwrite: bool = False,
    earlier: Mapping[str, str] | None = None,
) -> None:
    """Writes the files below a folder and reports each.

    A file with its `earlier` content is replaced, since no person changed it. Raises InputError if
    files with other content exist and `overwrite` is not set (none is written then);
    LeastprivError if a file cannot be written.
    """
    try:
        existing = {
            name: (folder / name).read_bytes() for name in found if (folder / name).exists()
        }
        changed_files = [
            name for name, content in existing.items() if content != found[name].encode()
        ]
        if not overwrite:
            _check_unchanged(
                folder, {name: existing[name] for name in changed_files}, earlier or {}
            )
        for name, content in found.items():
            path = folder / name
            if name in existing and name not in changed_files:
                _log.info(f"Unchanged {path}")
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8", newline="\n")
            _log.info(f"{'Overwrote' if name in existing else 'Wrote'} {path}")
    except OSError as error:
        raise LeastprivError(
            f"{error.filename or folder} cannot be written: {error.strerror}."
        ) from error


def _check_unchanged(
    folder: Path, existing: Mapping[str, bytes], earlier: Mapping[str, str]
) -> None:
    """Raises InputError if files have another content than they were made with."""
    changed = [
        name for name, content in existing.items() if content != earlier.get(name, "").encode()
    ]
    if changed:
        are = "is" if len(changed) == 1 else "are"
        raise InputError(
            f"In {folder} {', '.join(changed)} {are} there already, with other content: no file"
            " was written. Set --overwrite, or another --output-dir."
        )
