"""Checks the options of `leastpriv init`; every message names the option.

GitHub writes the subject of its tokens in two forms: by names, `repo:OWNER/NAME:…`, and for repositories created,
renamed or transferred since 2026-07-15, or that opted in, by names and immutable ids, `repo:OWNER@ID/NAME@ID:…`
(https://docs.github.com/en/actions/reference/security/oidc, read 2026-11-27). An Enterprise Server has the first only.
A repository uses one form at a time; the role accepts both, so that a switch breaks nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from msgspec import Struct

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


class InitOptions(Struct, frozen=True):
    """The checked options."""

    repository: str
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
    regions: tuple[str, ...]
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


@cache
def known_options() -> Mapping[str, Mapping[str, str]]:
    """Returns the options with values that go into the files, by name."""
    return {row["option"]: row for row in table("options", __package__ or "")}


def check_option(name: str, value: str) -> str:
    """Returns the value of an option; raises InputError for one that cannot be written into the files."""
    known = known_options()[name]
    if name == "role-arn" and not is_pattern(value):
        try:
            parse_principal(value)
        except InputError as error:
            raise InputError(f"--role-arn: {error}") from error
    if not re.fullmatch(known["pattern"], value, re.ASCII):
        raise InputError(f"--{name} is {value!r}: {known['advice']}.")
    return value


def is_pattern(role: str) -> bool:
    """Whether an ARN is a pattern of several roles."""
    return "*" in role or "?" in role


def parse_options(given: Given) -> InitOptions:
    """Checks each option and all of them together.

    Raises InputError if a required option is missing, an option's value cannot be written into the files, or options
    contradict each other.
    """
    known = known_options()
    found = {name: tuple(dict.fromkeys(check_option(name, each) for each in given.get(name, ()))) for name in known}
    one = {name: values[0] if values else "" for name, values in found.items() if not known[name]["several"]}
    for name in ("repository", "role-arn"):
        if not found[name]:
            raise InputError(f"--{name} is missing: name it, or run `leastpriv init` on a terminal, where it asks.")
    for name, other, has in (
        ("trail-account", "--trails s3://BUCKET", any(each.startswith("s3://") for each in found["trails"])),
        ("athena-results", "--athena-table", found["athena-table"]),
    ):
        if found[name] and not has:
            raise InputError(f"--{name} is given without {other}, for which it is: add it, or leave --{name} out.")
    targets = _targets(found["role-arn"], found["policy-file"])
    principal = targets[0][0]
    region = one["region"] or next(iter(found["aws-regions"]), "")
    partition = _partition(principal.partition, filter(None, (*found["aws-regions"], region)))
    # "Any `:` within the metadata values will be replaced with `%3A`" (GitHub, as above). Of a job with an environment
    # GitHub names neither branch nor tag.
    environments = [f"environment:{name.replace(':', '%3A')}" for name in found["environment"]]
    tags = [f"ref:refs/tags/{name}" for name in found["tag"]]
    branches = found["branch"] or (() if environments or tags else ("main",))
    values = _trail_values(found["trails"], one)
    if one["hub-account"] and {"TrailBucket", "LogGroup", "Database"} & {*values}:
        raise InputError("--hub-account reads event history: leave it out for a bucket, a log group or Athena.")
    values |= {"Partition": principal.partition, "Targets": arn_ends(each for each, _ in targets)}
    values["Roles"] = arn_ends(each for each, _ in targets if each.kind == "role")
    values["Users"] = arn_ends(each for each, _ in targets if each.kind == "user")
    # That of the trail's bucket, named or that of its key.
    trail_account = one["trail-account"] or ":".join(one["kms-key-arn"].split(":")[4:5])
    return InitOptions(
        one["repository"],
        targets,
        (*environments, *(f"ref:refs/heads/{name}" for name in branches), *tags),
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
        trail_account if {trail_account} != {each.account for each, _ in targets} else "",
        one["hub-account"],
        one["action"],
        values,
    )


def _targets(roles: Sequence[str], files: Sequence[str]) -> tuple[tuple[Principal, str], ...]:
    principals = []
    for role in roles:
        _, partition, _, _, account, end = role.split(":", 5)
        named = Principal(role, partition, account, "role", end.rpartition("/")[2])
        principals.append(named if is_pattern(role) else parse_principal(role))
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


def _partition(name: str, regions: Iterable[str]) -> Mapping[str, str]:
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
_COMPANIONS = {"digests": ("s3-trail",), "kms": ("s3-trail", "athena")}
"""Source that is no evidence alone -> sources of which it needs one."""


def _sources(found: Given, values: Values, athena_table: str) -> tuple[str, ...]:
    """Returns the named sources, or the default ones, with those that other options imply; raises InputError."""
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
