"""Checks the options of `leastpriv init`; every message names the option.

GitHub writes the subject of its tokens in two forms: by names, `repo:OWNER/NAME:…`, and for repositories created,
renamed or transferred since 2026-07-15, or that opted in, by names and immutable ids, `repo:OWNER@ID/NAME@ID:…`
(https://docs.github.com/en/actions/reference/security/oidc, read 2026-11-27). An Enterprise Server has the first only.
A repository uses one form at a time; the role accepts both, so that a switch breaks nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from leastpriv.aws.arns import parse_principal
from leastpriv.errors import InputError
from leastpriv.init.reader_role import DEFAULT_SOURCES, READER, Values, arn_ends, reader_grants
from leastpriv.models import Principal
from leastpriv.permissions.fact_tables import table

GITHUB = "token.actions.githubusercontent.com"
"""Issuer of github.com's tokens."""
_SERVER = "/_services/token"
"""End of the issuer of an Enterprise Server, whose subjects have no ids."""

Given = Mapping[str, Sequence[str]]
"""The values of each option, by its name without dashes at its start."""


@dataclass(frozen=True, slots=True)
class InitOptions:
    """The checked options."""

    repository: str
    """OWNER/NAME."""
    targets: tuple[tuple[Principal, str], ...]
    """Each role or user, and its policy file."""
    jobs: tuple[str, ...]
    """Ends of the accepted subjects (`ref:refs/heads/main`)."""
    given_subjects: tuple[str, ...]
    """Whole subjects, which replace those made from `jobs`."""
    environment: str
    """GitHub environment of the workflow's job; empty: none."""
    tags: tuple[str, ...]
    """Patterns of the tags whose push starts the workflow."""
    scheduled: bool
    """Whether the workflow runs weekly, on the default branch."""
    region: str
    """Region of the workflow's credentials."""
    regions: tuple[str, ...]
    """Value of the input `aws-regions`."""
    issuer: str
    audience: str
    sources: tuple[str, ...]
    athena_table: str
    access_analyzer: str
    trail_account: str
    """Account of the trail's bucket and key, if it is another one."""
    hub: str
    """Account whose reader role assumes those of the others, in one run; empty: each account is a run."""
    action: str
    """The action as a workflow names it, `OWNER/NAME@COMMIT`; empty: from the checkout."""
    values: Values
    """Values of the grants that are not those of one account."""

    @property
    def partition(self) -> str:
        """Partition of all roles."""
        return self.targets[0][0].partition

    @property
    def accounts(self) -> tuple[str, ...]:
        """Distinct accounts of the roles."""
        return tuple(dict.fromkeys(principal.account for principal, _ in self.targets))

    @property
    def runs(self) -> tuple[str, ...]:
        """Accounts whose reader role the workflow assumes: each is a run."""
        return (self.hub,) if self.hub else self.accounts

    @property
    def others(self) -> tuple[str, ...]:
        """Accounts whose reader role that of the hub assumes."""
        return tuple(each for each in self.accounts if each != self.hub) if self.hub else ()

    @property
    def has_config(self) -> bool:
        """Whether the workflow has a config instead of one role and policy file."""
        return bool(len(self.targets) > 1 or self.others or is_pattern(self.targets[0][0].arn))

    @property
    def has_ids(self) -> bool:
        """Whether subjects have a form with ids."""
        return self.is_github and not self.issuer.endswith(_SERVER) and not self.given_subjects

    @property
    def is_github(self) -> bool:
        """Whether a GitHub issues the tokens: github.com, an enterprise's own address, or an Enterprise Server."""
        return self.issuer.startswith("token.actions.") or self.issuer.endswith(_SERVER)

    def reader_arn(self, account: str) -> str:
        """ARN of the reader role in an account."""
        return f"arn:{self.partition}:iam::{account}:role/{READER}"

    def provider(self, partition: str, account: str) -> str:
        """ARN of the OIDC provider."""
        return f"arn:{partition}:iam::{account}:oidc-provider/{self.issuer}"

    def subjects(self, owner_id: str = "", repository_id: str = "") -> tuple[str, ...]:
        """Returns the accepted subjects, by names; with ids those by names and ids.

        The ids may be a template's expressions.
        """
        owner, name = self.repository.split("/")
        whose = f"{owner}@{owner_id}/{name}@{repository_id}" if owner_id else self.repository
        return self.given_subjects or tuple(f"repo:{whose}:{job}" for job in self.jobs)


_BUCKET = r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[\w!./-]*)?"
_KNOWN = {
    "repository": (
        re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,38}/(?!\.\.?$)[A-Za-z0-9._-]{1,100}"),
        "write OWNER/NAME",
    ),
    # A path may have quotes and braces, which a template would interpret.
    "role-arn": (
        re.compile(r"[\w+=,.@/:-]+|arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/*?-]+", re.ASCII),
        "use a role whose path has letters, digits and +=,.@_- only, or * and ? in its name or path for several roles",
    ),
    # A path inside the repository, with an optional pointer after `#`.
    "policy-file": (
        re.compile(r"(?!/)(?!(?:[^#]*/)?\.\.(?:[/#]|$))(?:\{name\}|[\w./])(?:\{name\}|[\w./#@+\[\]-])*", re.ASCII),
        "write a path in the repository, like iam/ci-deploy.json",
    ),
    "branch": (
        re.compile(r"(?!.*(?:\.\.|//|/\.|/$|\.$|\.lock$|@\{))[\w][\w./@+-]*", re.ASCII),
        "write the name of a branch, with letters, digits and ./@+_- only",
    ),
    "tag": (re.compile(r"[\w*][\w./@+*-]*", re.ASCII), "write a tag or a pattern of tags, like v*"),
    "environment": (
        re.compile(r"[\w][\w .:/@+-]{0,254}", re.ASCII),
        "write the name of an environment, with letters, digits, blanks and .:/@+_- only",
    ),
    "subject": (
        re.compile(r"[a-z_]+:[\w.@/*:+%-]+", re.ASCII),
        "write a subject as a token has it, like repo:acme/shop:job_workflow_ref:acme/flows/.github/workflows/a.yml@v1",
    ),
    "issuer": (
        re.compile(r"[a-z0-9.-]+(?::\d+)?(?:/[\w.-]+)*", re.ASCII),
        "write it without https://, like HOSTNAME/_services/token",
    ),
    "region": (re.compile(r"[a-z]{2,5}(-[a-z]+)+-\d{1,2}", re.ASCII), "write a region like eu-west-1"),
    "trails": (
        re.compile(rf"event-history|log-group:[\w./#-]+|{_BUCKET}", re.ASCII),
        "write event-history, s3://BUCKET/PREFIX, s3://BUCKET/PREFIX/AWSLogs/ORGANIZATION or log-group:NAME (for "
        "the ARN of a trail, its bucket)",
    ),
    "athena-table": (
        re.compile(r"(?:[\w.-]+/)?[a-z0-9_]+\.[a-z0-9_]+", re.ASCII),
        "write DATABASE.TABLE or WORKGROUP/DATABASE.TABLE",
    ),
    "athena-results": (re.compile(_BUCKET, re.ASCII), "write s3://BUCKET/PREFIX"),
    "access-analyzer": (
        re.compile(r"arn:[\w:/+=,.@-]+ arn:[\w:/-]+", re.ASCII),
        "write the ARN of the service role, a blank, and the ARN of the trail",
    ),
    "kms-key-arn": (
        re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[\w-]+", re.ASCII),
        "write the ARN of a key (not of an alias), like arn:aws:kms:eu-west-1:123456789012:key/1234…",
    ),
    "trail-account": (re.compile(r"\d{12}", re.ASCII), "write an account id of 12 digits"),
    "hub-account": (re.compile(r"\d{12}", re.ASCII), "write an account id of 12 digits"),
    "action": (re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", re.ASCII), "write OWNER/NAME@COMMIT, with 40 hex digits"),
    "sources": (re.compile(r"[a-z0-9-]+"), "name sources"),
}
_SEVERAL = ("role-arn", "policy-file", "branch", "environment", "tag", "subject", "sources", "trails", "aws-regions")
"""Options that may have several values."""


def check_option(name: str, value: str) -> str:
    """Returns the value of an option; raises InputError for one that cannot be written into the files."""
    pattern, advice = _KNOWN["region" if name == "aws-regions" else name]
    if name == "role-arn" and not is_pattern(value):
        try:
            parse_principal(value)
        except InputError as error:
            raise InputError(f"--role-arn: {error}") from error
    if not pattern.fullmatch(value):
        raise InputError(f"--{name} is {value!r}: {advice}.")
    return value


def is_pattern(role: str) -> bool:
    """Whether an ARN stands for several roles."""
    return "*" in role or "?" in role


def parse_options(given: Given) -> InitOptions:
    """Checks each option and all of them together.

    Raises InputError if a required option is missing, an option's value cannot be written into the files, or options
    contradict each other.
    """
    found = {name: tuple(dict.fromkeys(check_option(name, each) for each in given.get(name, ()))) for name in OPTIONS}
    one = {name: values[0] if values else "" for name, values in found.items() if name not in _SEVERAL}
    for name in ("repository", "role-arn"):
        if not found[name]:
            raise InputError(f"--{name} is missing: name it, or run `leastpriv init` on a terminal, where it asks.")
    _check_companions(found)
    targets = _targets(found["role-arn"], found["policy-file"])
    principal = targets[0][0]
    region = one["region"] or next(iter(found["aws-regions"]), "")
    partition = _partition(principal.partition, (*found["aws-regions"], *(each for each in (region,) if each)))
    values = _trail_values(found["trails"], one)
    if one["hub-account"] and {"TrailBucket", "LogGroup", "Database"} & {*values}:
        raise InputError("--hub-account reads event history: leave it out for a bucket, a log group or Athena.")
    values |= {"Partition": principal.partition, "Targets": arn_ends(each for each, _ in targets)}
    values["Roles"] = arn_ends(each for each, _ in targets if each.kind == "role")
    values["Users"] = arn_ends(each for each, _ in targets if each.kind == "user")
    return InitOptions(
        one["repository"],
        targets,
        _jobs(found),
        _subjects(found["subject"], one["repository"], one["issuer"] or GITHUB),
        next(iter(found["environment"]), ""),
        found["tag"],
        bool(found["branch"] or found["environment"] or not found["tag"]),
        region or partition["example"],
        found["aws-regions"],
        one["issuer"] or GITHUB,
        partition["audience"],
        _sources(found, values, one["athena-table"]),
        one["athena-table"],
        one["access-analyzer"],
        _trail_account(one, {each.account for each, _ in targets}),
        one["hub-account"],
        one["action"],
        values,
    )


OPTIONS = (*_KNOWN, "aws-regions")
"""Names of all options with values that go into the files."""


def _targets(roles: Sequence[str], files: Sequence[str]) -> tuple[tuple[Principal, str], ...]:
    principals = [_principal(role) for role in roles]
    if len({each.partition for each in principals}) > 1:
        raise InputError("--role-arn names roles of several partitions: write the files of each partition apart.")
    if not files:
        several = len({each.account for each in principals}) > 1
        names = ["{name}" if is_pattern(each.arn) else each.name for each in principals]
        folders = [f"{each.account}/" if several else "" for each in principals]
        files = [f"iam/{folder}{name}.json" for folder, name in zip(folders, names, strict=True)]
    if len(files) != len(principals):
        raise InputError(
            f"--policy-file is given {len(files)} times and --role-arn {len(principals)} times: name one file for each "
            "role, in their order, or none for first policies in iam/."
        )
    if len({*files}) < len(files):
        raise InputError("Several roles would have one policy file: name --policy-file for each role, in their order.")
    for each, file in zip(principals, files, strict=True):
        if is_pattern(each.arn) is not (file.count("{name}") == 1):
            raise InputError(
                f"--policy-file is {file!r}: write {{name}} once for a role with * or ?, and for no other."
            )
    return tuple(zip(principals, files, strict=True))


def _principal(role: str) -> Principal:
    if not is_pattern(role):
        return parse_principal(role)
    _, partition, _, _, account, end = role.split(":", 5)
    return Principal(role, partition, account, "role", end.rpartition("/")[2])


def _partition(name: str, regions: Sequence[str]) -> Mapping[str, str]:
    """Returns the row of the roles' partition."""
    known = {row["partition"]: row for row in table("partitions", __package__ or "")}
    if name not in known:
        raise InputError(f"--role-arn is of the partition {name}: choose a role in {', '.join(known)}.")
    for region in regions:
        if not re.fullmatch(known[name]["regions"], region):
            raise InputError(
                f"--region is {region!r}, which is not in the partition {name} of the role: write a region like "
                f"{known[name]['example']}."
            )
    return known[name]


def _jobs(found: Given) -> tuple[str, ...]:
    """Returns the ends of the subjects: of a job with an environment GitHub names neither branch nor tag."""
    # "Any `:` within the metadata values will be replaced with `%3A`" (GitHub, as above).
    environments = [f"environment:{name.replace(':', '%3A')}" for name in found["environment"]]
    tags = [f"ref:refs/tags/{name}" for name in found["tag"]]
    branches = found["branch"] or (() if environments or tags else ("main",))
    return (*environments, *(f"ref:refs/heads/{name}" for name in branches), *tags)


_OWNED = r"repo|repository|repository_owner|project_path|namespace_path"
"""Claims that begin with the owner, of GitHub and GitLab; an environment or a workflow of that name is free to all."""


def _subjects(given: Sequence[str], repository: str, issuer: str) -> tuple[str, ...]:
    """Returns whole subjects, of which each names the owner; a value has no `:`, so that a claim begins after one."""
    owner = repository.split("/")[0]
    claims = _OWNED if issuer.startswith("token.actions.") or issuer.endswith(_SERVER) else "[a-z_]+"
    own = re.compile(
        rf"(?:^|:)(?:{claims}):{re.escape(owner)}(?:[@/:]|$)|(?:^|:)repository(?:_owner)?_id:\d+(?::|$)"
        rf"|^job_workflow_ref:{re.escape(owner)}/"
    )
    for subject in given:
        if not own.search(subject):
            raise InputError(f"--subject is {subject!r}: it accepts the jobs of other owners than {owner}.")
    return tuple(given)


def _check_companions(found: Given) -> None:
    """Raises InputError for an option that has no effect without another."""
    for name, other, has in (
        ("trail-account", "--trails s3://BUCKET", any(each.startswith("s3://") for each in found["trails"])),
        ("athena-results", "--athena-table", found["athena-table"]),
    ):
        if found[name] and not has:
            raise InputError(f"--{name} is given without {other}, for which it is: add it, or leave --{name} out.")


def _trail_values(trails: Sequence[str], one: Mapping[str, str]) -> dict[str, str | Sequence[str]]:
    """Returns the values that the grants need."""
    buckets = [each for each in trails if each.startswith("s3://")]
    groups = [each.removeprefix("log-group:") for each in trails if each.startswith("log-group:")]
    if len(buckets) > 1 or len(groups) > 1:
        raise InputError("--trails names several buckets or log groups: a reader role is written for one.")
    values: dict[str, str | Sequence[str]] = {}
    if groups:
        values["LogGroup"] = groups[0]
    if buckets:
        _, _, bucket, *folders = buckets[0].rstrip("/").split("/")
        at = folders.index("AWSLogs") if "AWSLogs" in folders else len(folders)
        # What follows the organization is an account's folder, which the role's account replaces.
        organization = [each for each in folders[at + 1 : at + 2] if each.startswith("o-")]
        top = "".join(f"{each}/" for each in (*folders[:at], "AWSLogs", *organization))
        values |= {"TrailBucket": bucket, "TrailTop": top, "TrailFolder": f"{top}{{Account}}/"}
    workgroup, _, name = one["athena-table"].rpartition("/")
    if name:
        database, _, only = name.partition(".")
        values |= {"WorkGroup": workgroup or "primary", "Database": database, "Table": only}
    if one["athena-results"]:
        _, _, bucket, *folders = one["athena-results"].rstrip("/").split("/")
        values |= {"ResultBucket": bucket, "Results": "/".join([bucket, *folders, "*"])}
    if one["kms-key-arn"]:
        values["TrailKeyArn"] = one["kms-key-arn"]
    if one["access-analyzer"]:
        values["AnalyzerRoleArn"] = one["access-analyzer"].partition(" ")[0]
    return values


_EVIDENCE = ("event-history", "s3-trail", "log-group", "athena", "job-logs")
_COMPANIONS = {"digests": ("s3-trail",), "kms": ("s3-trail", "athena"), "athena-create": ("athena",)}
"""Source that is no evidence alone -> sources of which it needs one."""


def _sources(found: Given, values: Values, athena_table: str) -> tuple[str, ...]:
    """Returns the named sources, or the default ones, with those that other options imply.

    Raises InputError for an unknown source, or one that lacks another.
    """
    s3 = "TrailBucket" in values and not athena_table
    implied = {
        "event-history": "event-history" in found["trails"],
        "s3-trail": s3,
        "log-group": "LogGroup" in values,
        "athena": bool(athena_table),
        "kms": "TrailKeyArn" in values,
        "access-analyzer": "AnalyzerRoleArn" in values,
        "roles": any(map(is_pattern, found["role-arn"])),
    }
    named = found["sources"]
    reader_grants(named)
    if not named:
        named = [each for each in DEFAULT_SOURCES if each != "event-history" or not (found["trails"] or athena_table)]
    live = [name for name, has in (("live-role", values["Roles"]), ("live-user", values["Users"])) if has]
    chosen: list[str] = []
    for name in (*(name for name, has in implied.items() if has), *named):
        chosen += live if name in ("live-role", "live-user") else [name]
    sources = tuple(dict.fromkeys(chosen))
    if not {*_EVIDENCE} & {*sources}:
        raise InputError(f"--sources names no evidence: add one of {', '.join(_EVIDENCE)}.")
    for source, wanted in _COMPANIONS.items():
        if source in sources and not {*wanted} & {*sources}:
            raise InputError(f"The source {source} needs another source: add {' or '.join(wanted)} to --sources.")
    return sources


def _trail_account(one: Mapping[str, str], accounts: set[str]) -> str:
    """Returns the account of the trail's bucket, named or that of its key; empty: that of the role."""
    account = one["trail-account"] or ":".join(one["kms-key-arn"].split(":")[4:5])
    return account if {account} != accounts else ""
