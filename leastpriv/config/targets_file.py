"""Reads the file of the input `config`, which lists several targets, and adds targets to it.

`config.schema.json` describes its form (docs: several-roles.md). A wrong file is bad input as a
whole. A `reader` is the role that reads the trail of an account, named by `assume-role`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from posixpath import normpath
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.arns import account_of, has_wildcard
from leastpriv.config.inputs import Value, inputs, named_principal
from leastpriv.config.policy_users import (
    PolicyUsers,
    check_one_policy,
    of_accounts,
    policy_users,
)
from leastpriv.config.settings import GivenInputs, Mode, Settings, parse_settings
from leastpriv.errors import InputError, did_you_mean
from leastpriv.models import FormerNames, grouped
from leastpriv.pull_request.models import is_branch_name

if TYPE_CHECKING:
    from leastpriv.aws.assumed_role import AssumedRole

SHARED = frozenset(
    (
        "config", "mode", "trails", "athena-table", "athena-max-bytes", "aws-regions",
        "lookback-days",
        "wait-for-events", "job-logs",
        "github-token", "base", "evidence-branch", "drift-report", "cache-dir", "validate-digests",
        "sarif-file",
        "page-file", "body-file", "max-pull-requests",
    )
)  # fmt: skip
"""Inputs of the whole run: evidence, and where results go. All others may differ by target."""
OF_ONE_TARGET = ("role-arn", "policy-file", "also-attached", "trust-policy", "branch")
"""Inputs of one target: with a config only its entries have them."""
NAME = "{name}"
"""The placeholder of the role's name in the policy file of a pattern."""
ACCOUNT = "{account}"
"""The placeholder of the target's account in `assume-role`, and in the policy file of a pattern."""
USERS = "roles"
"""The key of the users of one policy: a list of ARNs, or a mapping of labels to ARNs."""
ORGANIZATION = "organization"
"""The value of `accounts` for the accounts of the AWS organization."""

FORMERLY = "formerly"
"""The key of a target's earlier names: its roles, policy files and branches."""
FORMER_KEYS = ("role-arn", "policy-file", "branch")

_STAND_IN = "arn:aws:iam::000000000000:role/placeholder"
_LONGEST = 2 * 1024 * 1024
_ACCOUNT_DIGITS = 12
REPOSITORY = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}", re.ASCII
)
_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)


class TargetEntry(Struct, frozen=True):
    """One entry of `targets`."""

    where: str
    """For messages: `The input config, target 2 (line 9 of .github/leastpriv.yml)`."""
    values: Mapping[str, Value]
    """By name of the input."""
    users: PolicyUsers
    """The users of the policy; those of a pattern share it, or have a file each."""
    group: str = ""
    repository: str = ""
    """`OWNER/NAME` of the policy file; empty: the repository of the run."""
    readers: Mapping[str, AssumedRole] = {}
    """By account of a user: the role that reads it; the run's own credentials read the others."""
    one_of_several_accounts: bool = False
    """Whether the targets are in several accounts, so that a role's name may not be unique."""
    formerly: FormerNames = FormerNames()
    """Its earlier names; those of a pattern have the placeholders of `policy-file`."""

    @property
    def account(self) -> str:
        """Account of the first user."""
        return account_of(self.role)

    @property
    def role(self) -> str:
        """ARN of the first user, or a pattern."""
        return self.users.arns[0]

    @property
    def is_pattern(self) -> bool:
        """Whether it matches roles with a policy file each."""
        return any(
            placeholder in str(self.values["policy-file"]) for placeholder in (NAME, ACCOUNT)
        )

    def policy_file(self, role: str) -> str:
        """Returns the policy file of a role that matches the pattern."""
        return _for_role(str(self.values["policy-file"]), role)

    def former_names(self, role: str) -> FormerNames:
        """Returns the earlier names of the target of a role."""

        def of_role(names: Iterable[str]) -> tuple[str, ...]:
            return tuple(_for_role(name, role) for name in names)

        former = self.formerly
        return FormerNames(
            roles=of_role(former.roles),
            files=of_role(former.files),
            branches=of_role(former.branches),
        )


def _for_role(path: str, role: str) -> str:
    """Returns `iam/ci-deploy.json` for `iam/{name}.json` and `arn:aws:iam::...:role/ci-deploy`."""
    return path.replace(NAME, role.rpartition("/")[2]).replace(ACCOUNT, account_of(role))


class Configuration(Struct, frozen=True):
    """The content of the targets file."""

    path: str
    entries: tuple[TargetEntry, ...]
    follow: bool = True
    """Whether the calls of roles are read that targets lead to and no entry names."""
    discover: str = ""
    """Path of a first policy file with `{name}` in it, for roles of the chain without one; empty:
    none is drafted.
    """
    shared_reader: Mapping[str, str] = {}
    """The keys of the role that reads every account without its own one."""
    of_organization: bool = False
    """Whether a wildcard in the account of a role means the accounts of the AWS organization."""
    settings: Mapping[str, Value] = {}
    """Inputs that all targets share, by name."""

    @property
    def readers(self) -> dict[str, AssumedRole]:
        """By account: the role that reads it."""
        return {
            account: reader for entry in self.entries for account, reader in entry.readers.items()
        }


def target_inputs() -> tuple[str, ...]:
    """Returns the names of the inputs that a target may have."""
    return tuple(declared.name for declared in inputs() if declared.name not in SHARED)


def settings_inputs() -> tuple[str, ...]:
    """Returns the names of the inputs that `settings` of the file may have: those that action.yml
    leaves out.
    """
    return tuple(declared.name for declared in inputs() if declared.config_only)


def names_one_target(given: GivenInputs) -> bool:
    """Whether a run has one target, whose further settings are in a file."""
    return bool(given.values.get("config") and given.values.get("role-arn"))


def with_settings(given: GivenInputs, raw: bytes, path: str) -> GivenInputs:
    """Returns the inputs of a run of one target with the settings of its file.

    Args:
        given: The inputs as they arrived; their values go first.
        raw: Content of the file.
        path: Name of the file.

    Raises:
        InputError: It is no YAML, differs from the schema, or lists targets.
    """
    content = _parsed(raw, path)
    subject = f"The input config names {path!r}"
    if "targets" in content:
        raise InputError(
            f"{subject}, which lists targets, and {_lower(given.labels['role-arn'])} is set:"
            " leave role-arn and policy-file out, or put only settings into the file."
        )
    _only(content, ("settings",), subject)
    return _merged(given, _settings(content, subject), subject)


def _lower(label: str) -> str:
    return label.replace("The", "the", 1)


def _settings(whole: Mapping[str, Any], where: str) -> Mapping[str, Value]:
    """Returns the settings that all targets share; raises InputError for another name."""
    settings = whole.get("settings", {})
    if not isinstance(settings, Mapping):
        raise InputError(f"{where}: settings is no mapping: write NAME: VALUE below it.")
    _only(settings, settings_inputs(), f"{where}: settings")
    return {str(key): _value(value, f"{where}: {key}") for key, value in settings.items()}


def _merged(given: GivenInputs, settings: Mapping[str, Value], where: str) -> GivenInputs:
    """Returns the inputs, with `settings` where the run has no value."""
    file_values = {name: value for name, value in settings.items() if not given.values.get(name)}
    labels = {**given.labels, **{name: f"{where}: {name}" for name in file_values}}
    values = {**given.values, **file_values}
    return replace(given, values=values, labels=labels)


def read_configuration(raw: bytes, path: str) -> Configuration:
    """Reads the file; raises InputError where it is no YAML, or differs from the schema; the
    message has the line.
    """
    content = _parsed(raw, path)
    subject = f"The input config names {path!r}"
    _only(
        content,
        ("settings", "targets", "accounts", "follow", "discover", *READER_KEYS),
        subject,
    )
    targets = content.get("targets")
    if not isinstance(targets, list) or not targets:
        raise InputError(
            f"{subject}, which lists no targets: write targets: and an entry for each role below"
            " it."
        )
    shared = _reader_keys(content, subject)
    accounts = _accounts(content, subject)
    target_entries: list[TargetEntry] = []
    position: Any = getattr(targets, "lc", None)
    for number, target in enumerate(targets, start=1):
        line = ""
        with suppress(
            AttributeError, KeyError, IndexError, TypeError
        ):  # A list in brackets may have no lines.
            line = f" (line {position.item(number - 1)[0] + 1})"
        target_entries.append(_entry(target, f"{subject}: target {number}{line}", shared, accounts))
    entries = tuple(target_entries)
    _check_distinct(entries)
    _check_branches(entries)
    _check_groups(entries)
    entries = _with_shared_readers(entries, shared)
    follow = content.get("follow", True)
    if not isinstance(follow, bool):
        raise InputError(f"{subject}: follow is {follow!r}: write true or false.")
    return Configuration(
        path=path,
        entries=entries,
        follow=follow,
        discover=_discover(content, entries, subject),
        of_organization=content.get("accounts") == ORGANIZATION,
        shared_reader=shared,
        settings=_settings(content, subject),
    )


def with_shared_settings(given: GivenInputs, configuration: Configuration) -> GivenInputs:
    """Returns the inputs that all targets share, with the settings of the file."""
    subject = f"The input config names {configuration.path!r}: settings"
    return _merged(given, configuration.settings, subject)


def in_organization(configuration: Configuration, accounts: Sequence[str]) -> Configuration:
    """Returns a config with the accounts of the AWS organization in place of wildcards in the
    accounts of its roles: `arn:aws:iam::*:role/ci` becomes a role in each.

    An entry whose pattern matches no account is left out.
    """
    entries = [with_accounts(entry, accounts) for entry in configuration.entries]
    matched = tuple(entry for entry in entries if entry.users.arns)
    entries_with_readers = _with_shared_readers(matched, configuration.shared_reader)
    return replace(configuration, entries=entries_with_readers)


def _accounts(whole: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Returns the accounts that a wildcard in the account of a role means; empty: those of the
    records, or of the organization.
    """
    value = whole.get("accounts", ())
    if value in ((), ORGANIZATION):
        return ()
    if not isinstance(value, list) or not value:
        raise InputError(
            f"{where}: accounts is {value!r}: write a list of account ids, as in ['123456789012'],"
            f" or {ORGANIZATION}."
        )
    return tuple(_account(account, where) for account in value)


def _account(value: object, where: str) -> str:
    """Returns the id of an account, which is a number where it has no quotes; raises InputError."""
    text = _number_text(value, f"{where}: accounts") if _is_number(value) else value
    if not isinstance(text, str) or not re.fullmatch(r"[0-9]{12}", text, re.ASCII):
        raise InputError(
            f"{where}: accounts has {value!r}: an account id has 12 digits, as in '123456789012'."
        )
    return text


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number_text(number: object, where: str) -> str:
    """Returns the digits of a number.

    Raises:
        InputError: It begins with a zero, which some readers of YAML drop and others take for the
            sign of an octal number, or it is not written in digits alone; an account may have
            underscores.
    """
    from ruamel.yaml.scalarint import BinaryInt, HexCapsInt, HexInt, OctalInt

    text = str(number)
    has_other_base = isinstance(number, BinaryInt | OctalInt | HexInt | HexCapsInt)
    # Of ruamel.yaml's ScalarInt: the number of digits, where the first one is a zero.
    width = getattr(number, "_width", None)
    if number and width and not has_other_base:
        raise InputError(
            f"{where} has a number with a zero at its start, which YAML drops: write it in quotes,"
            f" as in {text.zfill(width)!r}."
        )
    has_underscores = bool(getattr(number, "_underscore", None))
    if has_other_base or (has_underscores and len(text) != _ACCOUNT_DIGITS):
        raise InputError(
            f"{where} has a number that is not written in digits alone, which YAML reads as"
            f" {text}: write it in quotes, or write {text}."
        )
    return text


def with_accounts(entry: TargetEntry, accounts: Sequence[str]) -> TargetEntry:
    """Returns an entry with these accounts in place of the wildcards in the accounts of its
    roles.
    """
    users = entry.users
    arns = of_accounts(users.arns, accounts)
    if arns == users.arns:
        return entry
    labels = {arn: label for arn, label in users.labels.items() if arn in arns}
    return replace(entry, users=replace(users, arns=arns, labels=labels))


def settings_of(entry: TargetEntry, roles: Sequence[str], given: GivenInputs) -> Settings:
    """Returns the settings of one target: of an entry, or of roles that match its pattern and share
    a policy file; raises InputError.

    The values of the entry go before those of the run. Its branch is that of the entry or of its
    group, else `leastpriv/ROLE`, or `leastpriv/123456789012-ROLE` where the targets are in several
    accounts and this one is in one of them.
    """
    entry_values: dict[str, Value] = {
        **{name: value for name, value in entry.values.items() if name != USERS},
        "role-arn": _role_arn_input(entry.users, roles),
        "policy-file": entry.policy_file(roles[0]),
    }
    if entry.group:
        entry_values["branch"] = _branch_of_group(entry.group)
    labels = {**given.labels, **{key: f"{entry.where}: {key}" for key in entry.values}}
    values = {**given.values, "config": "", **entry_values}
    settings = parse_settings(replace(given, values=values, labels=labels))
    has_default_branch = "branch" not in entry_values
    is_in_one_account = not settings.spans_accounts
    if has_default_branch and entry.one_of_several_accounts and is_in_one_account:
        return replace(settings, branch=_branch_with_account(settings))
    return settings


def _role_arn_input(users: PolicyUsers, roles: Sequence[str]) -> tuple[str, ...]:
    """Returns roles as the input `role-arn` has them: `prod=arn:aws:iam::123456789012:role/ci`
    with a label, and `!arn:aws:iam::123456789012:role/ci-old` for one that a pattern excludes.
    """
    texts = [f"{users.labels[arn]}={arn}" if arn in users.labels else arn for arn in roles]
    return (*texts, *(f"!{arn}" for arn in users.excluded))


def _branch_of_group(group: str) -> str:
    return f"leastpriv/{group}"


def _branch_with_account(settings: Settings) -> str:
    """Returns `leastpriv/123456789012-ci` for the branch `leastpriv/ci`."""
    return settings.branch.replace("/", f"/{settings.principal.account}-", 1)


def _check_distinct(entries: Sequence[TargetEntry]) -> None:
    """Raises InputError for two entries with one role or file: their proposals would undo each
    other.
    """
    roles: set[str] = set()
    files: set[tuple[str, str]] = set()
    for entry in entries:
        file = str(entry.values["policy-file"])
        for role in entry.users.arns:
            if role in roles:
                raise _repeated(entry, "role-arn", role)
        file_key = (_repository_key(entry), normalized_file(file))
        if file_key in files:
            raise InputError(
                f"{entry.where}: policy-file is {file!r}, as in an earlier target: name the roles"
                f" that share it in one target, below {USERS}."
            )
        roles.update(entry.users.arns)
        files.add(file_key)


def _repository_key(entry: TargetEntry) -> str:
    """Returns the name of a repository as GitHub compares it: without case."""
    return entry.repository.lower()


def normalized_file(policy_file: str) -> str:
    """Returns the name of a policy file that all its spellings share: `iam/x.json` for
    `./iam//x.json`.
    """
    path, mark, pointer = policy_file.partition("#")
    return f"{normpath(path)}{mark}{pointer}"


def _check_branches(entries: Sequence[TargetEntry]) -> None:
    """Raises InputError for two entries of one repository whose branches git does not allow, or
    that would write to one branch without being a group.
    """
    are_several_accounts = _has_several_accounts(entries)
    by_repository = grouped((_repository_key(entry), entry) for entry in entries)
    for sharing in by_repository.values():
        _check_branches_of_repository(sharing, with_account=are_several_accounts)


def _check_groups(entries: Sequence[TargetEntry]) -> None:
    """Raises InputError for a group with targets of several repositories."""
    repositories_of_groups = grouped(
        (entry.group, _repository_key(entry)) for entry in entries if entry.group
    )
    for group, repositories in repositories_of_groups.items():
        if len(set(repositories)) > 1:
            raise InputError(
                f"{entries[0].where.partition(': target')[0]}: the group {group!r} has targets of"
                " several repositories: a pull request is of one."
            )


def _check_branches_of_repository(entries: Sequence[TargetEntry], *, with_account: bool) -> None:
    """Raises InputError for a branch of two entries, or one below another, as `leastpriv/ci` and
    `leastpriv/ci/prod`.
    """
    group_of_branch: dict[str, str] = {}
    branch_below: dict[str, str] = {}
    for entry in entries:
        branch = _branch_of(entry, with_account=with_account)
        if not branch:
            continue
        other_group = group_of_branch.get(branch)
        is_of_one_group = bool(entry.group) and other_group == entry.group
        if other_group is not None and not is_of_one_group:
            raise _repeated(entry, "branch", branch)
        parts = branch.split("/")
        folders = ["/".join(parts[:number]) for number in range(1, len(parts))]
        for earlier in (*folders, branch_below.get(branch)):
            if earlier in group_of_branch:
                raise InputError(
                    f"{entry.where}: branch is {branch!r}, and an earlier target has {earlier!r}:"
                    " git does not allow both, name another."
                )
        group_of_branch[branch] = entry.group
        for folder in folders:
            branch_below.setdefault(folder, branch)


def _branch_of(entry: TargetEntry, *, with_account: bool) -> str:
    """Returns the branch of an entry's pull request; empty for a pattern, whose roles are not
    known.
    """
    if entry.group:
        return _branch_of_group(entry.group)
    if entry.values.get("branch"):
        return str(entry.values["branch"])
    if entry.is_pattern:
        return ""
    from leastpriv.config.policy_users import principal_of_users

    principal = principal_of_users(entry.users, f"{entry.where}: role-arn")
    account = f"{entry.account}-" if with_account and principal.account == entry.account else ""
    return f"leastpriv/{account}{principal.name}"


def _has_several_accounts(entries: Iterable[TargetEntry]) -> bool:
    """Whether the roles of the entries are in several accounts, or in accounts with a wildcard."""
    accounts = {account for entry in entries for account in entry.users.accounts}
    return len(accounts) > 1 or any(map(has_wildcard, accounts))


def _repeated(entry: TargetEntry, name: str, value: str) -> InputError:
    return InputError(
        f"{entry.where}: {name} is {value!r}, as in an earlier target: give each its own."
    )


def run_settings(given: GivenInputs) -> Settings:
    """Returns the settings that all targets share: the principal is a stand-in, and the policy file
    is the config.
    """
    file = given.labels["config"].replace("The", "the", 1)
    for name in OF_ONE_TARGET:
        if given.values.get(name):
            raise InputError(
                f"{given.labels[name]} cannot be combined with {file}: set it there, for its"
                " target."
            )
    stand_ins = {"config": "", "role-arn": _STAND_IN, "policy-file": given.values["config"]}
    labels = {**given.labels, "policy-file": given.labels["config"]}
    all_values = replace(given, values={**given.values, **stand_ins}, labels=labels)
    settings = parse_settings(all_values, needs_evidence=not given.values["config"])
    if settings.mode is Mode.REVIEW:
        raise InputError(
            f"{labels['mode']} is 'review', which is for one policy file: name it and its role."
        )
    return settings


def first_file_template(policy_file: str) -> str:
    """Returns the path of first policy files with `{name}` in it: in the folder of a committed
    one.
    """
    folder = policy_file.partition("#")[0].rpartition("/")[0]
    return f"{folder}/{NAME}.json" if folder else f"{NAME}.json"


def _parsed(raw: bytes, path: str) -> Mapping[str, Any]:
    """Parses the file as YAML with a mapping at its top; raises InputError with the line of an
    error.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if len(raw) > _LONGEST:
        raise InputError(
            f"The input config names {path!r}, which is longer than {_LONGEST // 1024} kB."
        )
    try:
        content = YAML(typ="rt", pure=True).load(BytesIO(raw))
    except (YAMLError, ValueError, TypeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" on line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", "") or "it cannot be parsed"
        raise InputError(
            f"The input config names {path!r}, which is no YAML{line}: {problem}."
        ) from None
    if not isinstance(content, Mapping):
        raise InputError(
            f"The input config names {path!r}, which holds no mapping: write targets: at its top."
        )
    return content


def _entry(
    found: object, where: str, shared: Mapping[str, str], accounts: Sequence[str]
) -> TargetEntry:
    """Returns one target; its own reader role keeps the `shared` external id and session name, and
    `accounts` replace wildcards in the accounts of its roles.
    """
    if not isinstance(found, Mapping):
        raise InputError(f"{where} is no mapping: write role-arn: and policy-file: in it.")
    _only(found, (*target_inputs(), USERS, FORMERLY, "group", "repository", *READER_KEYS), where)
    reader_keys = _reader_keys(found, where)
    values = _values(found, where)
    users_key = USERS if USERS in values else "role-arn"
    users = policy_users(values[users_key], f"{where}: {users_key}")
    entry = TargetEntry(
        where,
        values,
        users,
        group=_group(values, where),
        repository=_repository(values, where),
        formerly=_former_names(found.get(FORMERLY, {}), f"{where}: {FORMERLY}"),
    )
    if accounts:
        entry = with_accounts(entry, accounts)
    if not entry.users.arns:
        raise InputError(f"{where}: no account of accounts matches role-arn.")
    if reader_keys:
        readers = {**shared, **reader_keys}
        entry = _with_readers(entry, readers, only_for_other_accounts=False)
    if not entry.is_pattern:
        check_one_policy(users, f"{where}: role-arn")
        return entry
    if not users.patterns:
        raise InputError(
            f"{where}: policy-file holds {NAME}, which only a role-arn with * or ? has use for."
        )
    _check_pattern(entry)
    return entry


def _values(found: Mapping[object, object], where: str) -> dict[str, Value]:
    """Returns the inputs of a target; raises InputError without its role or its policy file."""
    values: dict[str, Value] = {}
    for key, value in found.items():
        if key == USERS:
            values[str(key)] = _users_value(value, where)
        elif key not in READER_KEYS and key != FORMERLY:
            values[str(key)] = _value(value, f"{where}: {key}")
    if USERS in values and "role-arn" in values:
        raise InputError(f"{where} has both role-arn and {USERS}: write the roles in one of them.")
    if not values.get(USERS if USERS in values else "role-arn"):
        raise InputError(f"{where} has no role-arn.")
    policy_file = values.get("policy-file")
    if not isinstance(policy_file, str) or not policy_file:
        raise InputError(f"{where} has no policy-file.")
    return values


def _group(values: dict[str, Value], where: str) -> str:
    """Takes the group out of the inputs of a target."""
    group = values.pop("group", "")
    if not group:
        return ""
    if not isinstance(group, str) or not _GROUP.fullmatch(group):
        raise InputError(f"{where}: group is {group!r}: write a name of letters, digits, - and _.")
    if "branch" in values:
        raise InputError(
            f"{where} has both group and branch: the targets of a group share the branch"
            " leastpriv/GROUP."
        )
    return group


def _repository(values: dict[str, Value], where: str) -> str:
    """Takes the repository of the policy file out of the inputs of a target."""
    repository = values.pop("repository", "")
    if not repository:
        return ""
    if not isinstance(repository, str) or not REPOSITORY.fullmatch(repository):
        raise InputError(f"{where}: repository is {repository!r}: write OWNER/NAME.")
    if values.get("templates") or values.get("plans"):
        raise InputError(
            f"{where} has templates or plans, which are read in the workspace, next to repository:"
            " name them in a run of that repository."
        )
    return repository


def _former_names(value: object, where: str) -> FormerNames:
    """Returns the earlier names of a target; raises InputError for another form."""
    if not isinstance(value, Mapping):
        raise InputError(
            f"{where} is {value!r}: write {', '.join(FORMER_KEYS)} below it, each with one name or"
            " a list."
        )
    _only(value, FORMER_KEYS, where)
    names: dict[str, tuple[str, ...]] = {}
    for key in FORMER_KEYS:
        former_value = value.get(key, ())
        texts = (former_value,) if isinstance(former_value, str) else former_value
        if not isinstance(texts, list | tuple) or not all(
            isinstance(text, str) and text for text in texts
        ):
            raise InputError(
                f"{where}: {key} is {former_value!r}: write a name or a list of names."
            )
        names[key] = tuple(map(str, texts))
    for role in names["role-arn"]:
        named_principal(_for_role(role, _STAND_IN), f"{where}: role-arn")
    for branch in names["branch"]:
        if not is_branch_name(_for_role(branch, _STAND_IN)):
            raise InputError(
                f"{where}: branch is {branch!r}: git does not take that as the name of a branch."
            )
    files = tuple(map(normalized_file, names["policy-file"]))
    return FormerNames(roles=names["role-arn"], files=files, branches=names["branch"])


def _users_value(value: object, where: str) -> Value:
    """Returns the roles of a list or of a mapping from labels, as the input `role-arn` has them."""
    if isinstance(value, Mapping):
        texts = [f"{_label(label, where)}={_role(arn)}" for label, arn in value.items()]
    elif isinstance(value, list):
        texts = [_role(role) for role in value]
    else:
        texts = []
    if not texts or not all(isinstance(text, str) for text in texts):
        raise InputError(
            f"{where}: {USERS} is {value!r}: write a list of ARNs, or a mapping from labels to ARNs"
            " as in {prod: 'arn:aws:iam::123456789012:role/ci-deploy'}."
        )
    return tuple(texts)


def _label(value: object, where: str) -> str:
    """Returns the label of a role, which may be the number of its account."""
    return _number_text(value, f"{where}: {USERS}") if _is_number(value) else str(value)


def _role(value: Any) -> Any:
    """Returns a role of the list; YAML reads `!ARN` without quotes as a tag of an empty text."""
    from ruamel.yaml.comments import TaggedScalar

    if isinstance(value, TaggedScalar):
        return f"{value.tag.value}{value.value}"
    return value


def _check_pattern(entry: TargetEntry) -> None:
    """Raises InputError where the policy file, an earlier name or the branch of a pattern would be
    that of several roles.
    """
    file = str(entry.values["policy-file"])
    folders = file.split("/")[:-1]
    is_sound = file.count(NAME) == 1 and file.endswith(".json") and ".." not in folders
    if not is_sound or NAME in "/".join(folders):
        raise InputError(
            f"{entry.where}: policy-file is {file!r}: for a role-arn with wildcards write {NAME}"
            f" once in the file's name, as in iam/{NAME}.json."
        )
    former = entry.formerly
    for name in (*former.roles, *former.files, *former.branches):
        if NAME not in name:
            raise InputError(
                f"{entry.where}: {FORMERLY} has {name!r}, which would be an earlier name of several"
                f" roles: write {NAME} in it, or give the role its own target."
            )
    if "branch" in entry.values:
        raise InputError(
            f"{entry.where}: branch would be that of several roles: leave it out, or name a group."
        )


READER_KEYS = {
    "assume-role": (
        r"arn:aws(?:-[a-z]+)*:iam::(?:[0-9]{12}|\{account\}):role/[\w+=,.@/-]{1,576}",
        "write the ARN of a role, as in arn:aws:iam::{account}:role/leastpriv-reader",
    ),
    "external-id": (
        r"[\w+=,.@:/-]{2,1224}",
        "write 2 characters or more, and quote a number, so that YAML keeps its zeros",
    ),
    "session-name": (r"[\w+=,.@-]{2,64}", "write 2 to 64 letters, digits and +=,.@_-"),
}
"""The keys of the role that reads an account, the form of their values ("AssumeRole", AWS STS API
reference, read 2026-11-27), and the remedy of a wrong one."""


def _reader_keys(found: Mapping[str, Any], where: str) -> Mapping[str, str]:
    """Returns the keys of the role that reads an account; empty without one."""
    reader_values = {key: found[key] for key in READER_KEYS if key in found}
    for key, value in reader_values.items():
        form, remedy = READER_KEYS[key]
        if not isinstance(value, str) or not re.fullmatch(form, value, re.ASCII):
            raise InputError(f"{where}: {key} is {value!r}, which AWS STS does not take: {remedy}.")
    if reader_values and "assume-role" not in reader_values:
        raise InputError(
            f"{where} has {next(iter(reader_values))} without assume-role, the role that it is for."
        )
    return reader_values


def _with_readers(
    entry: TargetEntry, keys: Mapping[str, str], *, only_for_other_accounts: bool
) -> TargetEntry:
    """Adds the roles that read the accounts of an entry that are known."""
    readers = dict(entry.readers)
    for user in entry.users.arns:
        account = account_of(user)
        if account not in readers and not has_wildcard(account):
            readers[account] = _reader(
                keys, entry, user, only_for_other_accounts=only_for_other_accounts
            )
    return replace(entry, readers=readers)


def _reader(
    keys: Mapping[str, str], entry: TargetEntry, user: str, *, only_for_other_accounts: bool
) -> AssumedRole:
    """Returns the role that reads the account of a user; no role of another account does."""
    account = account_of(user)
    arn = keys["assume-role"].replace(ACCOUNT, account)
    if arn.split(":")[1:5] != user.split(":")[1:5]:
        raise InputError(
            f"{entry.where}: assume-role is {arn!r}, a role of another account or partition than"
            f" role-arn: name one of the account {account}, or write {ACCOUNT} for it."
        )
    from leastpriv.aws.assumed_role import AssumedRole

    return AssumedRole(
        arn=arn,
        external_id=keys.get("external-id", ""),
        session_name=keys.get("session-name", ""),
        only_for_other_accounts=only_for_other_accounts,
    )


def _value(value: object, where: str) -> Value:
    """Returns a value as an input has it: text, or a list of texts."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return _number_text(value, where)
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list) and all(isinstance(text, str) for text in value):
        return tuple(str(text) for text in value)
    if isinstance(value, Mapping) and where.endswith(": copies"):
        return json.dumps(value)
    raise InputError(f"{where} is neither text, nor a number, nor a list of texts.")


def _with_shared_readers(
    entries: Sequence[TargetEntry], shared: Mapping[str, str]
) -> tuple[TargetEntry, ...]:
    """Adds what an entry takes from the others: the role that reads its account, as an entry of the
    same account or the whole file names it, and whether there are more accounts.

    Raises InputError where two entries name different roles for one account, or the shared one is
    of another account.
    """
    readers: dict[str, AssumedRole] = {}
    for entry in entries:
        for account, reader in entry.readers.items():
            if readers.setdefault(account, reader) != reader:
                raise InputError(
                    f"{entry.where}: assume-role, external-id or session-name differ from those of"
                    f" an earlier target of the account {account}: name them once for each account."
                )
    several = _has_several_accounts(entries)
    completed: list[TargetEntry] = []
    for entry in entries:
        reader_by_account = {
            account: readers[account] for account in entry.users.accounts if account in readers
        }
        entry = replace(entry, readers=reader_by_account, one_of_several_accounts=several)
        if shared:
            entry = _with_readers(entry, shared, only_for_other_accounts=True)
        completed.append(entry)
    return tuple(completed)


def _discover(whole: Mapping[str, Any], entries: Sequence[TargetEntry], where: str) -> str:
    """Returns the path of first policy files, as `iam/{name}.json`; empty where none is drafted."""
    value = whole.get("discover", False)
    if value is True:
        return first_file_template(str(entries[0].values["policy-file"]))
    if value is False:
        return ""
    inside = isinstance(value, str) and not value.startswith("/") and ".." not in value.split("/")
    if inside and value.count(NAME) == 1 and value.endswith(f"{NAME}.json"):
        return str(value)
    raise InputError(
        f"{where}: discover is {value!r}: write true, or where first files go, as in"
        f" iam/{NAME}.json."
    )


def _only(found: Mapping[str, Any], allowed: Sequence[str], where: str) -> None:
    """Raises InputError for a key that is not allowed here; the message says where it belongs."""
    for key in found:
        if key in allowed:
            continue
        if key in settings_inputs():
            raise InputError(
                f"{where} has the key {key!r}, which is for all targets: put it under settings: at"
                " the top of the file."
            )
        if key in SHARED:
            raise InputError(
                f"{where} has the key {key!r}, which is for all targets: set it as an input of the"
                " run."
            )
        if any(key == declared.name for declared in inputs()):
            raise InputError(
                f"{where} has the key {key!r}, which is an input of the run: set it there."
            )
        advice = did_you_mean(str(key), allowed) or f": choose one of {', '.join(allowed)}"
        has = ", which has" if where.endswith("'") else " has"
        raise InputError(f"{where}{has} the unknown key {str(key)!r}{advice}.")


_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:+=,@-]*", re.ASCII)


def entry_text(
    role: str, policy_file: str, indent: int = 2, also_attached: Sequence[str] = ()
) -> str:
    """Returns one entry of `targets` as YAML; a name that YAML would not read as text is quoted."""
    pad = " " * indent
    attached_line = (
        f"{pad}  also-attached: {json.dumps(list(also_attached))}\n" if also_attached else ""
    )
    one, other = (
        text if _PLAIN.fullmatch(text) else json.dumps(text) for text in (role, policy_file)
    )
    return f"{pad}- role-arn: {one}\n{pad}  policy-file: {other}\n{attached_line}"


def with_targets(raw: bytes, path: str, added: Sequence[tuple[str, str]]) -> bytes | None:
    """Returns the file with entries for (role ARN, policy file) added; None where that takes more
    than new lines.
    """
    before = read_configuration(raw, path).entries
    text = raw.decode("utf-8", "surrogateescape")
    end = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    insertion = _end_of_targets(raw, lines)
    if insertion is None:
        return None
    line_number, indent = insertion
    if not lines[line_number - 1].endswith(("\n", "\r")):
        lines[line_number - 1] += end
    new = [entry_text(role, file, indent).replace("\n", end) for role, file in added]
    changed = "".join([*lines[:line_number], *new, *lines[line_number:]]).encode(
        "utf-8", "surrogateescape"
    )
    try:
        after = read_configuration(changed, path).entries
    except InputError:
        return None
    pairs_written = [(entry.role, entry.values["policy-file"]) for entry in after]
    pairs_expected = [*((entry.role, entry.values["policy-file"]) for entry in before), *added]
    return changed if pairs_written == pairs_expected else None


def _end_of_targets(raw: bytes, lines: Sequence[str]) -> tuple[int, int] | None:
    """Returns the index of the line after the last entry, and the column of its dash; None for a
    list in brackets.
    """
    from ruamel.yaml import YAML

    targets = YAML(typ="rt", pure=True).load(BytesIO(raw))["targets"]
    if targets.fa.flow_style():
        return None
    first, _ = targets.lc.item(len(targets) - 1)
    indent = lines[first].find("-")
    if indent < 0 or lines[first][:indent].strip():
        return None
    last = first
    for number in range(first + 1, len(lines)):
        line = lines[number]
        if line.strip() and len(line) - len(line.lstrip(" ")) <= indent:
            break
        last = number if line.strip() else last
    return last + 1, indent
