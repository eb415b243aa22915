"""Translates exceptions of botocore to `AwsError` with a remedy (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any

from msgspec import Struct

from leastpriv.errors import AwsError, AwsErrorKind
from leastpriv.models import DeniedBy, Outcome
from leastpriv.permissions.fact_tables import table

_PACKAGE = "leastpriv.aws"

# The sentence that only AWS's authorizer writes; none of 57 look-alikes in a labelled set of 343
# messages has it.
_DENIAL_PHRASE = re.compile(r"\bnot authorized to perform\b", re.IGNORECASE)
_CODE_PREFIX = re.compile(r"^(?:Client|Server)\.")


class DenyingPolicy(Struct, frozen=True):
    """A policy type as AWS's messages name it."""

    words: str
    """Without blanks, in lower case."""
    denied_by: DeniedBy
    why: str
    """Why no grant helps; empty where one does."""


def denying_policy(reason: str) -> DenyingPolicy | None:
    """Returns the policy type that a reason names first.

    The action may name one too: `because no identity-based policy allows the
    iam:PutRolePermissionsBoundary action`.
    """
    words = _without_blanks(reason)
    policies = [policy for policy in _denying_policies() if policy.words in words]
    return min(policies, key=lambda policy: words.find(policy.words), default=None)


def why_no_grant_helps(denied_by: DeniedBy) -> str:
    """Returns why no grant helps against a denial by this policy type."""
    reasons = (policy.why for policy in _denying_policies() if policy.denied_by is denied_by)
    return next(reasons, "")


@cache
def _denying_policies() -> tuple[DenyingPolicy, ...]:
    return tuple(
        DenyingPolicy(_without_blanks(row["words"]), DeniedBy(row["denied_by"]), row["why"])
        for row in table("denying_policies", _PACKAGE)
    )


def _without_blanks(text: str) -> str:
    return "".join(text.casefold().split())


@lru_cache(maxsize=4096)
def call_outcome(error_code: str, error_message: str) -> Outcome:
    """Returns whether AWS authorized the call; a call without an error was authorized.

    A call that failed for another reason (`NoSuchTagSet`) counts as allowed. An unlisted error is
    `UNKNOWN`, which blocks a removal and never justifies an addition. A message without a code is a
    failed call.
    """
    if not error_code and not error_message:
        return Outcome.ALLOWED
    code = _CODE_PREFIX.sub("", error_code)
    for row in table("refusal_texts", _PACKAGE):
        if row["code"] in ("", code) and _has_text(row, error_message):
            return Outcome(row["outcome"])
    outcome = _outcomes().get(code)
    if outcome is not None:
        return outcome
    if _DENIAL_PHRASE.search(error_message):
        # A validation error quotes its argument, which the caller chose and which may contain the
        # authorizer's sentence. The result blocks a removal and never becomes an addition.
        return Outcome.UNKNOWN
    for row in table("error_codes", _PACKAGE):
        if _is_of_pattern(row, code):
            return Outcome(row["outcome"])
    return Outcome.UNKNOWN


@cache
def _outcomes() -> Mapping[str, Outcome]:
    """The outcomes of the codes that the table has in whole."""
    rows = table("error_codes", _PACKAGE)
    return {row["code"]: Outcome(row["outcome"]) for row in rows if row["match"] == "exact"}


def _has_text(row: Mapping[str, str], message: str) -> bool:
    """Whether a message is the text of a row, or has it."""
    if row["match"] == "whole":
        return re.fullmatch(row["text"], message) is not None
    return row["text"].casefold() in message.casefold()


def _is_of_pattern(row: Mapping[str, str], code: str) -> bool:
    """Whether an error code has the beginning, the end or the part that a row names:
    `RequestThrottledException` has the prefix `RequestThrottled`.

    False for a row with a whole code: `_outcomes` has these, and the caller looks there first.
    """
    match row["match"]:
        case "exact":
            return False
        case "prefix":
            return code.startswith(row["code"])
        case "suffix":
            return code.endswith(row["code"])
        case _:
            return row["code"] in code


_DENIAL = re.compile(
    r"(?:(?P<principal>arn:\S+) )?is not authorized to perform: (?P<action>[\w-]+:\w+)"
    r"(?: on (?:the )?resource: (?:[a-z -]+(?=arn:))?"
    r"(?P<resource>(?:(?:role|user|group|policy|instance profile) )?\S+))?(?P<reason>[^\n]*)"
)
"""AWS's sentence ("Troubleshoot access denied error messages", IAM User Guide, read 2026-11-24)."""
_LONGEST = 300
"""Most characters of AWS's own message that a sentence quotes."""


@contextmanager
def translate_errors(doing: str, action: str = "") -> Iterator[None]:
    """Translates exceptions of botocore to `AwsError`.

    Args:
        doing: what the caller does, a gerund ("reading the policy").
        action: the IAM action that the request needs, where known.
    """
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except (BotoCoreError, ClientError, HTTPClientError, ResponseParserError) as error:
        raise to_aws_error(error, doing, action) from error
    except FileNotFoundError as error:
        # A missing web identity token, the only file that credentials refer to.
        sentence = (
            f"The AWS credentials for {doing} need the file {error.filename}, which does not exist"
            " here: AWS_WEB_IDENTITY_TOKEN_FILE, or a profile, names it; in a workflow, use"
            " aws-actions/configure-aws-credentials."
        )
        raise AwsError(sentence, AwsErrorKind.NO_CREDENTIALS) from error
    except OSError as error:
        sentence = (
            f"The connection to AWS broke while {doing}: {error.strerror or type(error).__name__}."
        )
        raise AwsError(sentence, AwsErrorKind.UNREACHABLE) from error


def to_aws_error(error: Exception, doing: str, action: str = "") -> AwsError:
    """Translates one exception of botocore, and names the missing permission where that is the
    reason. Never raises.

    `missing_action` is the action that AWS's message names, else `action`.
    """
    response = getattr(error, "response", None)
    error_member = response.get("Error", {}) if isinstance(response, Mapping) else None
    if not isinstance(response, Mapping) or not isinstance(error_member, Mapping):
        return _from_client_failure(error, doing)
    code, message = str(error_member.get("Code") or ""), str(error_member.get("Message") or "")
    about = response.get("ResponseMetadata")
    status = int(about.get("HTTPStatusCode") or 0) if isinstance(about, Mapping) else 0
    trouble, advice = _kind(code, message, status), remedy(message)
    quoted = ""
    if code:
        explained = f": {_shortened(message)}" if message else ""
        quoted = f" ({code}{explained})"
    match trouble:
        case AwsErrorKind.EXPIRED:
            advice = (
                "get new ones, in a workflow right before this step by"
                " aws-actions/configure-aws-credentials"
            )
            sentence = f"The AWS credentials have expired while {doing}{quoted}: {advice}."
        case AwsErrorKind.INVALID:
            advice = advice or "check where they are set"
            sentence = (
                f"AWS does not accept these credentials ({doing}){quoted}: {advice.rstrip('.')}."
            )
        case AwsErrorKind.DENIED:
            return denial_error(code, message, doing, action)
        case AwsErrorKind.THROTTLED:
            sentence = f"AWS throttled the requests while {doing}{quoted}: run again later."
        case AwsErrorKind.SERVER:
            sentence = (
                f"AWS failed while {doing}{quoted or f' (HTTP status {status})'}: run again later."
            )
        case _:
            sentence = f"AWS rejected a request while {doing}{quoted}. {advice}".rstrip()
    return AwsError(sentence, trouble)


def _kind(code: str, message: str, status: int) -> AwsErrorKind:
    # S3 writes the errors of AWS KMS with its name: `KMS.ThrottlingException`.
    kind = _kinds_by_code().get(code.removeprefix("KMS."))
    if kind:
        return kind
    # The error response to a HEAD request has no message, and the status as its code.
    if call_outcome(code, message) is Outcome.DENIED or code in ("403", "Forbidden"):
        return AwsErrorKind.DENIED
    if status == 429:
        return AwsErrorKind.THROTTLED
    return AwsErrorKind.SERVER if status >= 500 else AwsErrorKind.OTHER


def denial_error(code: str, message: str, doing: str, action: str) -> AwsError:
    """The error for a denial; `missing_action` is empty where no action is known."""
    denial = _DENIAL.search(message)
    missing = denial["action"] if denial else action
    principal = (denial and denial["principal"]) or "these credentials"
    on_resource = (
        f" on {denial['resource']}" if denial and denial["resource"] not in (None, "*") else ""
    )
    denying = denying_policy(denial["reason"]) if denial else None
    if denying and denying.why:
        sentence = (
            f"AWS denied {missing or 'a request'}{on_resource} to {principal} while {doing}, and no"
            f" grant helps: {denying.why}."
        )
    elif missing and denial and "explicit deny" in denial["reason"]:
        sentence = (
            f"AWS denied {missing}{on_resource} to {principal} while"
            f" {doing},{denial['reason'].rstrip('.')}: no Allow helps."
        )
    elif missing:
        sentence = f"AWS denied {missing}{on_resource} while {doing}: allow it to {principal}."
    else:
        sentence = (
            f"AWS denied a request while {doing}"
            f" ({code}{': ' + _shortened(message) if message else ''})."
        )
    advice = remedy(message)
    return AwsError(f"{sentence} {advice}" if advice else sentence, AwsErrorKind.DENIED, missing)


def remedy(message: str) -> str:
    """Returns what to do about AWS's message, by `data/remedies.tsv`; empty where nothing is
    known.
    """
    rows = table("remedies", __package__ or "")
    return next(
        (row["remedy"] for row in rows if re.search(row["message"], message, re.IGNORECASE)), ""
    )


def aws_message(error: AwsError) -> str:
    """Returns AWS's own sentence; empty where AWS did not respond."""
    return _described(error, "Message")


def _from_client_failure(error: Exception, doing: str) -> AwsError:
    """The error for a request without a complete response."""
    name = type(error).__name__
    if name == "NoCredentialsError":
        return no_credentials_error(doing)
    if name in _CREDENTIAL_ERRORS:
        return credentials_error(error, doing)
    if name in (
        "ResponseStreamingError",
        "IncompleteReadError",
        "ConnectionClosedError",
        "FlexibleChecksumError",
        "PaginationError",
    ):
        return AwsError(
            f"The response of AWS was cut off while {doing}: run again later.",
            AwsErrorKind.INCOMPLETE,
        )
    if name in _CONNECTION_ERRORS:
        slow = "did not answer in time" if "Timeout" in name else "cannot be reached"
        endpoint = getattr(error, "kwargs", {}).get("endpoint_url") or "AWS"
        advice = "check the region, the network and any proxy"
        return AwsError(f"{endpoint} {slow} while {doing}: {advice}.", AwsErrorKind.UNREACHABLE)
    if name == "ResponseParserError":
        advice = "it may not come from AWS: check the network and any proxy"
        return AwsError(
            f"The response while {doing} cannot be read, {advice}.", AwsErrorKind.INCOMPLETE
        )
    return AwsError(
        f"AWS could not be called while {doing} ({name}: {_shortened(str(error))})",
        AwsErrorKind.OTHER,
    )


def credentials_error(error: Exception, doing: str) -> AwsError:
    """The error for credentials that are configured but cannot be loaded, with a remedy for each
    cause.
    """
    name, details = type(error).__name__, getattr(error, "kwargs", {})
    if name == "PartialCredentialsError":
        advice = (
            f"{details.get('cred_var')} is missing: set both keys, or neither to use other"
            " credentials"
        )
        return AwsError(
            f"The AWS credentials for {doing} are incomplete: {advice}.",
            AwsErrorKind.NO_CREDENTIALS,
        )
    reason = _shortened(str(error)).rstrip(":")
    if "SSO" in name or "LoginToken" in name or name == "TokenRetrievalError":
        advice = "run `aws sso login`, with --profile and the name of the profile"
    elif details.get("provider") == "custom-process":
        # botocore quotes the command's output, which may be empty.
        advice = (
            "run the `credential_process` of the profile yourself and check that it prints"
            " credentials"
        )
    elif isinstance(error, ValueError):
        advice = "check AWS_CONTAINER_CREDENTIALS_FULL_URI"
    else:
        advice = "check the profile in ~/.aws, and AWS_PROFILE"
    return AwsError(
        f"The AWS credentials for {doing} cannot be loaded ({reason}): {advice}.",
        AwsErrorKind.INVALID,
    )


_CONNECTION_ERRORS = (
    "EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ProxyConnectionError",
    "SSLError",
)  # fmt: skip
_CREDENTIAL_ERRORS = (
    "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError",
    "LoginTokenLoadError",
    "UnauthorizedSSOTokenError", "SSOTokenLoadError", "SSOError",
)  # fmt: skip


def error_code(error: AwsError) -> str:
    """AWS's error code (`NoSuchEntity`); empty where AWS did not respond."""
    return _described(error, "Code")


def _described(error: AwsError, name: str) -> str:
    response = getattr(error.__cause__, "response", None)
    error_member = response.get("Error") if isinstance(response, Mapping) else None
    return str(error_member.get(name) or "") if isinstance(error_member, Mapping) else ""


@contextmanager
def translate_missing_members(doing: str) -> Iterator[None]:
    """Translates the KeyError of a response without a required member to `AwsError`."""
    try:
        yield
    except KeyError as error:
        sentence = f"AWS's answer lacks {error.args[0]} while {doing}: run again later."
        raise AwsError(sentence, AwsErrorKind.INCOMPLETE) from error


def required_member(answer: Mapping[str, Any], doing: str, *names: str) -> Any:
    """Returns a member of AWS's response, by the path of its keys; raises AwsError."""
    member: Any = answer
    for name in names:
        member = member.get(name) if isinstance(member, Mapping) else None
    if member is None:
        raise AwsError(
            f"AWS's answer lacks {'.'.join(names)} while {doing}: run again later.",
            AwsErrorKind.INCOMPLETE,
        )
    return member


def no_credentials_error(doing: str) -> AwsError:
    """The error for missing credentials."""
    advice = (
        "in a workflow, run aws-actions/configure-aws-credentials in an earlier step of the job; on"
        " a shell, set AWS_PROFILE, or AWS_ACCESS_KEY_ID and so on"
    )
    return AwsError(
        f"There are no AWS credentials for {doing}: {advice}.", AwsErrorKind.NO_CREDENTIALS
    )


def _shortened(text: str) -> str:
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


@cache
def _kinds_by_code() -> Mapping[str, AwsErrorKind]:
    return {
        row["code"]: AwsErrorKind(row["kind"]) for row in table("client_errors", __package__ or "")
    }
