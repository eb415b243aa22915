"""Tries what the files of `leastpriv init` allow: the job's token, the login, and each statement of
the reader role.
"""

from __future__ import annotations

import base64
import json
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

from msgspec import Struct

from leastpriv.aws.arns import has_wildcard
from leastpriv.aws.errors import aws_message, error_code, translate_errors
from leastpriv.aws.session import Aws, assumed_environment, web_identity_environment
from leastpriv.errors import AwsError, InputError, LeastprivError
from leastpriv.init.options import InitOptions
from leastpriv.init.probes import Check, CheckState, answered, send_probes
from leastpriv.init.reader_role import (
    READER,
    Values,
    filled_values,
    reader_grants,
    trust_policy,
)
from leastpriv.permissions.patterns import matches

_URL = "ACTIONS_ID_TOKEN_REQUEST_URL"
_BEARER = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
_SHOWN = (
    "iss", "aud", "sub", "repository", "repository_id", "repository_owner_id", "ref",
    "environment", "event_name",
    "job_workflow_ref",
)  # fmt: skip
"""Claims that a trust policy can require; the others say who started the run."""
_SECONDS = 30
_COMPARISONS: Mapping[str, Callable[[str, str], bool]] = {
    "StringLike": matches,
    "StringEquals": str.__eq__,
    "StringEqualsIgnoreCase": lambda one, other: one.casefold() == other.casefold(),
}
"""The operators for equal or alike text; a condition with another one counts as fulfilled."""


def check_rows(checks: list[Check]) -> str:
    """Returns one line per check, and a last one that counts."""
    lines = [f"{check.state:<7} {check.step}: {check.detail}\n" for check in checks]
    counts = Counter(check.state for check in checks)
    total = f"{counts[CheckState.WORKS]} checks work, {counts[CheckState.FAILS]} fail"
    unknown = counts[CheckState.UNKNOWN]
    if unknown:
        total += f", {unknown} could not be made"
    return "".join([*lines, f"{total}.\n"])


def check_setup(target: InitOptions, environment: Mapping[str, str]) -> Iterator[Check]:
    """Yields each check, with the token of the job where there is one, else with the credentials of
    the environment.
    """
    if not environment.get(_URL):
        if environment.get("GITHUB_ACTIONS"):
            yield Check(
                "token",
                CheckState.INFO,
                "this job has none: give it the permission id-token: write to check the login",
            )
        yield from _with_credentials(target, environment)
        return
    token = _requested_token(environment, target.audience)
    claims = token_claims(token)
    yield from (
        Check("token", CheckState.INFO, f"{name} is {claims[name]}")
        for name in _SHOWN
        if name in claims
    )
    for account in target.runs:
        role = target.reader_arn(account)
        try:
            token_environment = web_identity_environment(environment, role, token, target.region)
        except AwsError as error:
            check = Check.of_error("assume", error, role)
            yield check
            if check.state is CheckState.FAILS:
                yield from _why_not_assumed(target, account, claims, environment)
            continue
        yield Check("assume", CheckState.WORKS, role)
        yield from _check_account(target, Aws.open(token_environment), token_environment, account)


def _with_credentials(target: InitOptions, environment: Mapping[str, str]) -> Iterator[Check]:
    """Yields the checks that ask AWS: whose credentials these are, the reader role and its trust
    policy, and each source.
    """
    aws = Aws.open(environment, "the checks", target.region)
    account = aws.account()
    if account not in (*target.accounts, target.hub):
        raise InputError(
            f"The credentials are of the account {account}, and --role-arn names"
            f" {target.accounts[0]}."
        )
    caller = aws.caller()
    is_reader = f":assumed-role/{READER}/" in caller
    note = "" if is_reader else f", not {READER}: the checks show what these may do"
    yield Check("credentials", CheckState.INFO, f"{caller}{note}")
    if not is_reader and account in target.runs:
        role = _asked(aws, "iam:GetRole", target.reader_arn(account), RoleName=READER)
        if role.code == "NoSuchEntity":
            yield Check(
                "role",
                CheckState.FAILS,
                f"the account has no role {READER}: deploy the template first ({READER}.yaml or"
                f" {READER}.tf of leastpriv init)",
            )
            return
        yield from _check_trust(target, aws, account, role)
    yield from _check_account(target, aws, environment, account)


def _check_trust(target: InitOptions, aws: Aws, account: str, role: _Answer) -> Iterator[Check]:
    """Compares the deployed OIDC provider and trust policy with the tokens that GitHub will
    issue.
    """
    arn = target.provider(target.partition, account)
    provider = _asked(aws, "iam:GetOpenIDConnectProvider", arn, OpenIDConnectProviderArn=arn)
    accepted = provider.body.get("ClientIDList", ())
    check = provider.check
    if provider.body and target.audience not in accepted:
        detail = f"{arn} accepts {', '.join(accepted)}, not {target.audience}"
        check = Check(check.step, CheckState.FAILS, detail)
    yield check
    yield role.check
    for subject in target.subjects() if role.body else ():
        claims = {
            "iss": f"https://{target.issuer}",
            "aud": target.audience,
            "sub": subject.replace("*", "x"),
            "repository": target.repository,
            "repository_owner": target.repository.split("/")[0],
        }
        unmet = list(unmet_conditions(role.body["Role"]["AssumeRolePolicyDocument"], claims))
        if unmet:
            yield Check("trust policy", CheckState.FAILS, "; ".join(unmet))
        else:
            yield Check("trust policy", CheckState.WORKS, f"accepts {subject}")


def _check_account(
    target: InitOptions, aws: Aws, environment: Mapping[str, str], account: str
) -> Iterator[Check]:
    """Checks an account's sources, from the hub those of the other accounts too."""
    if account in target.accounts:
        yield from _check_sources(target, aws, account)
    for other_account in target.others if account == target.hub else ():
        role = target.reader_arn(other_account)
        try:
            account_aws = Aws.open(assumed_environment(aws, environment, role))
        except AwsError as error:
            yield Check.of_error("assume", error, role)
            continue
        yield Check("assume", CheckState.WORKS, role)
        yield from _check_sources(target, account_aws, other_account)


def _requested_token(environment: Mapping[str, str], audience: str) -> str:
    request = urllib.request.Request(  # noqa: S310 - the runner sets the address
        f"{environment[_URL]}&audience={audience}",
        headers={"Authorization": f"bearer {environment.get(_BEARER, '')}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310 - as above
            return str(json.load(answer)["value"])
    except (OSError, ValueError, KeyError) as error:
        sentence = (
            f"GitHub issued no token ({error}): the job needs the permission id-token: write."
        )
        raise LeastprivError(sentence) from None


def token_claims(token: str) -> dict[str, Any]:
    """Returns the claims of a token, without a check of its signature."""
    with suppress(ValueError, IndexError):
        part = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        if isinstance(claims, dict):
            return claims
    raise LeastprivError("GitHub's token cannot be read.")


def _why_not_assumed(
    target: InitOptions, account: str, claims: Mapping[str, Any], environment: Mapping[str, str]
) -> Iterator[Check]:
    """Yields the conditions that the token does not fulfil: of the role's trust policy where it can
    be read.
    """
    ids = (str(claims.get("repository_owner_id", "")), str(claims.get("repository_id", "")))
    subjects = (*target.subjects(), *(target.subjects(*ids) if target.has_ids else ()))
    trust: Mapping[str, Any] = trust_policy(
        target.provider(target.partition, account), target.audience, subjects
    )
    author = "init writes"
    with suppress(LeastprivError):
        iam = Aws.open(environment, otherwise=target.region).client("iam")
        with translate_errors("reading the trust policy", "iam:GetRole"):
            trust = iam.get_role(RoleName=READER)["Role"]["AssumeRolePolicyDocument"]
            author = "the account has"
    unmet = list(unmet_conditions(trust, claims))
    yield from (
        Check("trust policy", CheckState.FAILS, f"{difference} (the trust policy that {author})")
        for difference in unmet
    )
    if not unmet:
        by_id = (
            f", which needs RepositoryOwnerId={ids[0]} RepositoryId={ids[1]}"
            if "@" in str(claims.get("sub"))
            else ""
        )
        detail = (
            f"the token fulfils the trust policy that {author}: if nothing exists yet, deploy the"
            f" template first; else compare it with the deployed one{by_id}, and check that the"
            " role and its OIDC provider exist"
        )
        yield Check("trust policy", CheckState.INFO, detail)


def unmet_conditions(trust: Mapping[str, Any], claims: Mapping[str, Any]) -> Iterator[str]:
    """Yields a sentence for each condition that keeps the claims out; none if one statement accepts
    them.

    Statements for other issuers count only where there is none for the issuer of the claims.
    """
    claimed_issuer = claims.get("iss")
    of_issuer: list[list[str]] = []
    of_others: list[list[str]] = []
    for statement in _entries(trust.get("Statement", ())):
        if statement.get("Effect") != "Allow":
            continue
        for issuer in _issuers(statement):
            unmet = list(_unmet(statement, issuer, claims))
            is_claimed = claimed_issuer == f"https://{issuer}"
            (of_issuer if is_claimed else of_others).append(unmet)
    unmet_of_each = of_issuer or of_others
    if not unmet_of_each:
        yield f"no statement trusts the OIDC provider of {claimed_issuer}"
    if all(unmet_of_each):
        yield from dict.fromkeys(chain.from_iterable(unmet_of_each))


def _entries(value: Any) -> Sequence[Any]:
    """Returns a list; a single value as a list of one."""
    return [value] if isinstance(value, str | Mapping) else value


def _issuers(statement: Mapping[str, Any]) -> list[str]:
    """Returns the issuers of the OIDC providers that a statement trusts."""
    principal = statement.get("Principal", {})
    if not isinstance(principal, Mapping):
        return []
    arns = _entries(principal.get("Federated", ()))
    issuers = [arn.partition(":oidc-provider/")[2] for arn in arns]
    return [issuer for issuer in issuers if issuer]


def _unmet(statement: Mapping[str, Any], issuer: str, claims: Mapping[str, Any]) -> Iterator[str]:
    if str(claims.get("iss", "")) != f"https://{issuer}":
        yield f"the issuer is {claims.get('iss')}, the provider's URL https://{issuer}"
    for operator, entries in statement.get("Condition", {}).items():
        for key, values in entries.items():
            accepted = list(map(str, values if isinstance(values, list) else [values]))
            claim = str(claims.get(key.rpartition(":")[2], ""))
            compare = _COMPARISONS.get(operator.rpartition(":")[2].removesuffix("IfExists"))
            if compare and not any(compare(accepted_value, claim) for accepted_value in accepted):
                yield (
                    f"{operator} {key}: the token has {claim!r}, accepted is"
                    f" {' or '.join(map(repr, accepted))}"
                )


def _check_sources(target: InitOptions, aws: Aws, account: str) -> Iterator[Check]:
    """Checks each statement of the reader role in an account."""
    sources = target.sources
    if "event-history" in sources:
        yield from _check_regions(target, aws)
    if {"s3-trail", "athena"} & {*sources}:
        yield from _check_bucket(target, aws, account)
    for principal in target.principals:
        is_read = f"live-{principal.kind}" in sources and principal.account == account
        if is_read and not has_wildcard(principal.arn):
            kind = principal.kind.title()
            yield _asked(
                aws, f"iam:Get{kind}", principal.arn, **{f"{kind}Name": principal.name}
            ).check
    values = _probe_values(target, aws, account)
    grants = [
        grant
        for grant in reader_grants(sources, values)
        if grant.sid not in _CHECKED_BY_REGION or not target.regions
    ]
    yield from send_probes(aws, grants, values)


_CHECKED_BY_REGION = ("ReadEventHistory", "FindRegions")
"""Statements whose requests are sent in each region that the user names."""


def _check_regions(target: InitOptions, aws: Aws) -> Iterator[Check]:
    """Reads event history in each region; one line for all regions with the same failure."""
    regions_by_failure: dict[Check, list[str]] = {}
    for region in target.regions:
        answer = _asked(aws, "cloudtrail:LookupEvents", region, region, MaxResults=1)
        if answer.failure:
            regions_by_failure.setdefault(answer.failure, []).append(region)
        else:
            yield answer.check
    for failure, regions in regions_by_failure.items():
        yield Check(failure.step, failure.state, f"{', '.join(regions)}: {failure.detail}")


def _probe_values(target: InitOptions, aws: Aws, account: str) -> Values:
    """Returns what the probes name: the values of the reader role, and a role or user of the
    account.
    """
    values: dict[str, str | Sequence[str]] = {
        **target.values,
        "Account": account,
        "Region": aws.region or target.region,
    }
    (folder,) = filled_values(str(values.get("TrailFolder", "")), {"Account": account})
    values["TrailFolder"] = folder
    for principal in target.principals:
        if principal.account == account:
            # A role in place of a pattern: AWS checks its name before it looks for it.
            name = principal.name.replace("*", "x").replace("?", "x")
            values.setdefault(f"{principal.kind.title()}Name", name)
            values.setdefault("TargetArn", principal.arn.replace("*", "x").replace("?", "x"))
    return values


class _Answer(Struct, frozen=True):
    """The result of one request."""

    check: Check
    body: Mapping[str, Any] = {}
    """AWS's answer; empty if there is none."""
    failure: Check | None = None
    """The check without what the request is about; None if it did not fail."""
    code: str = ""
    """AWS's error code; empty if there is none."""


def _asked(aws: Aws, action: str, about: str, region: str = "", **parameters: object) -> _Answer:
    """Sends the request that an action is named after."""
    service, _, operation = action.partition(":")
    try:
        body = answered(aws, service, operation, action, region, **parameters)
    except AwsError as error:
        return _Answer(
            Check.of_error(operation, error, about),
            failure=Check.of_error(operation, error),
            code=error_code(error),
        )
    return _Answer(Check(operation, CheckState.WORKS, about), body)


def _check_bucket(target: InitOptions, aws: Aws, account: str) -> Iterator[Check]:
    """Lists the account's folder, reads one file, and reports which key decrypted it."""
    bucket = str(target.values["TrailBucket"])
    (folder,) = filled_values(str(target.values["TrailFolder"]), {"Account": account})
    place_in_bucket = f"s3://{bucket}/{folder}"
    try:
        with translate_errors(f"listing {place_in_bucket}", "s3:ListBucket"):
            page = aws.client("s3").list_objects_v2(
                Bucket=bucket, Prefix=f"{folder}CloudTrail/", MaxKeys=1
            )
    except AwsError as error:
        yield Check.of_error("list", error)
        return
    yield Check("list", CheckState.WORKS, place_in_bucket)
    keys = [str(stored["Key"]) for stored in page.get("Contents", ())]
    if not keys:
        detail = f"{place_in_bucket}CloudTrail/ has no file: check prefix, organization and account"
        yield Check("read", CheckState.FAILS, detail)
        return
    try:
        with translate_errors(f"reading s3://{bucket}/{keys[0]}", "s3:GetObject"):
            answer = aws.client("s3").get_object(Bucket=bucket, Key=keys[0])
            answer["Body"].read(1)
    except AwsError as error:
        step = "decrypt" if "kms" in aws_message(error).lower() else "read"
        yield Check.of_error(step, error)
        return
    yield Check("read", CheckState.WORKS, keys[0])
    if key := answer.get("SSEKMSKeyId"):
        yield Check("decrypt", CheckState.WORKS, str(key))
    elif "kms" in target.sources:
        yield Check(
            "decrypt", CheckState.INFO, "the file that was read is not encrypted with a key of KMS"
        )
