"""What AWS, or the way to it, refused: an exception of botocore -> one `AwsError` with the way out (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

from leastpriv.aws.error_codes import denying_policy, outcome_of
from leastpriv.errors import AwsError, AwsTrouble
from leastpriv.models import Outcome
from leastpriv.permissions.fact_tables import table

_DENIAL = re.compile(
    r"(?:(?P<principal>arn:\S+) )?is not authorized to perform: (?P<action>[\w-]+:\w+)"
    r"(?: on (?:the )?resource: (?P<resource>\S+))?(?P<reason>[^\n]*)"
)
"""AWS's sentence ("Troubleshoot access denied error messages", IAM User Guide, read 2026-11-24)."""
_LONGEST = 300
"""Characters of AWS's own message that a sentence quotes."""


def client_error() -> type[Any]:
    """Return the class of errors that AWS answers with; botocore is imported only where it is needed, as it is slow."""
    from botocore.exceptions import ClientError

    return cast("type[Any]", ClientError)


@contextmanager
def explained(doing: str, action: str = "") -> Iterator[None]:
    """Turns what botocore raises while `doing` something (a gerund) into an `AwsError`.

    `action` is the IAM action that the request needs, where the caller knows it.
    """
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except (BotoCoreError, ClientError, HTTPClientError, ResponseParserError) as error:
        raise aws_error(error, doing, action) from error
    except FileNotFoundError as error:
        raise _file_missing(error, doing) from error
    except OSError as error:
        sentence = f"The connection to AWS broke while {doing}: {error.strerror or type(error).__name__}."
        raise AwsError(sentence, AwsTrouble.UNREACHABLE) from error


def aws_error(error: Exception, doing: str, action: str = "") -> AwsError:
    """The sentence of one exception of botocore; names the missing permission where that is the reason.

    Its `missing` is the action that AWS's message names, else `action`. Never raises.
    """
    response = getattr(error, "response", None)
    if isinstance(response, Mapping) and isinstance(response.get("Error"), Mapping):
        return _refused(response, doing, action)
    return _not_reached(error, doing)


def _refused(response: Mapping[str, object], doing: str, action: str) -> AwsError:
    """AWS answered with an error."""
    described = response["Error"]
    said = described if isinstance(described, Mapping) else {}
    code, message = str(said.get("Code") or ""), str(said.get("Message") or "")
    about = response.get("ResponseMetadata")
    status = int(about.get("HTTPStatusCode") or 0) if isinstance(about, Mapping) else 0
    trouble = _trouble(code, message, status)
    quoted = f" ({code}{': ' + _short(message) if message else ''})" if code else ""
    match trouble:
        case AwsTrouble.EXPIRED:
            advice = "get new ones, in a workflow right before this step by aws-actions/configure-aws-credentials"
            sentence = f"The AWS credentials have expired while {doing}{quoted}: {advice}."
        case AwsTrouble.INVALID:
            sentence = f"AWS does not know these credentials ({doing}){quoted}: check where they are set."
        case AwsTrouble.DENIED:
            return denied(code, message, doing, action)
        case AwsTrouble.THROTTLED:
            sentence = f"AWS kept refusing for too many requests while {doing}{quoted}: run again later."
        case AwsTrouble.SERVER:
            sentence = f"AWS failed while {doing}{quoted or f' (HTTP status {status})'}: run again later."
        case _:
            sentence = f"AWS refused a request while {doing}{quoted}."
    return AwsError(sentence, trouble)


def _trouble(code: str, message: str, status: int) -> AwsTrouble:
    kind = _kinds().get(code)
    if kind:
        return kind
    # A HEAD request's refusal has neither a message nor a code but its status.
    if outcome_of(code, message) is Outcome.DENIED or code in ("403", "Forbidden"):
        return AwsTrouble.DENIED
    if status == 429:
        return AwsTrouble.THROTTLED
    return AwsTrouble.SERVER if status >= 500 else AwsTrouble.OTHER


def denied(code: str, message: str, doing: str, action: str) -> AwsError:
    """The sentence of a refusal by AWS's own code and message; `missing` is empty where no action is known."""
    found = _DENIAL.search(message)
    missing = found["action"] if found else action
    whose = (found and found["principal"]) or "these credentials"
    on = f" on {found['resource']}" if found and found["resource"] not in (None, "*") else ""
    denied_by = denying_policy(found["reason"]) if found else None
    if denied_by and denied_by[1]:
        sentence = (
            f"AWS refused {missing or 'a request'}{on} to {whose} while {doing}, and no grant helps: {denied_by[1]}."
        )
    elif missing:
        sentence = f"AWS refused {missing}{on} while {doing}: allow it to {whose}."
    else:
        sentence = f"AWS refused a request while {doing} ({code}{': ' + _short(message) if message else ''})."
    return AwsError(sentence, AwsTrouble.DENIED, missing)


def _not_reached(error: Exception, doing: str) -> AwsError:
    """No whole answer came."""
    name = type(error).__name__
    if name == "NoCredentialsError":
        return no_credentials(doing)
    if name in _OF_CREDENTIALS:
        return credentials_error(error, doing)
    if name in ("ResponseStreamingError", "IncompleteReadError", "ConnectionClosedError", "FlexibleChecksumError"):
        return AwsError(f"AWS's answer broke off while {doing}: run again later.", AwsTrouble.INCOMPLETE)
    if name in (
        "EndpointConnectionError",
        "ConnectTimeoutError",
        "ReadTimeoutError",
        "ProxyConnectionError",
        "SSLError",
    ):
        slow = "did not answer in time" if "Timeout" in name else "cannot be reached"
        where = getattr(error, "kwargs", {}).get("endpoint_url") or "AWS"
        advice = "check the region, the network and any proxy"
        return AwsError(f"{where} {slow} while {doing}: {advice}.", AwsTrouble.UNREACHABLE)
    if name == "ResponseParserError":
        return AwsError(f"What answered while {doing} is not AWS: its answer cannot be read.", AwsTrouble.INCOMPLETE)
    return AwsError(f"AWS could not be asked while {doing} ({name}: {_short(str(error))})", AwsTrouble.OTHER)


def credentials_error(error: Exception, doing: str) -> AwsError:
    """Credentials are set up somewhere, and cannot be had: what to do about it, by what botocore says."""
    name, told = type(error).__name__, getattr(error, "kwargs", {})
    if name == "PartialCredentialsError":
        advice = f"{told.get('cred_var')} is missing: set both keys, or neither where others are to be used"
        return AwsError(f"The AWS credentials for {doing} are set in half: {advice}.", AwsTrouble.NO_CREDENTIALS)
    reason = _short(str(error)).rstrip(":")
    if "SSO" in name or "LoginToken" in name or name == "TokenRetrievalError":
        advice = "run `aws sso login`, with --profile and the name of the profile"
    elif told.get("provider") == "custom-process":
        # botocore quotes what the command wrote, which may be nothing.
        advice = "run the `credential_process` of the profile by hand, and see that it writes credentials"
    elif isinstance(error, ValueError):
        advice = "check AWS_CONTAINER_CREDENTIALS_FULL_URI"
    else:
        advice = "check the profile in ~/.aws, and AWS_PROFILE"
    return AwsError(f"The AWS credentials for {doing} cannot be had ({reason}): {advice}.", AwsTrouble.INVALID)


_OF_CREDENTIALS = (
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "TokenRetrievalError",
    "LoginTokenLoadError",
    "UnauthorizedSSOTokenError",
    "SSOTokenLoadError",
    "SSOError",
)


def _file_missing(error: FileNotFoundError, doing: str) -> AwsError:
    """Only credentials lead to files: the token of a web identity."""
    advice = (
        "AWS_WEB_IDENTITY_TOKEN_FILE, or a profile, names it; in a workflow, use aws-actions/configure-aws-credentials"
    )
    sentence = f"The AWS credentials for {doing} need the file {error.filename}, which is not here: {advice}."
    return AwsError(sentence, AwsTrouble.NO_CREDENTIALS)


def code_of(error: AwsError) -> str:
    """AWS's own code of what it refused (`NoSuchEntity`); empty where AWS did not answer."""
    response = getattr(error.__cause__, "response", None)
    described = response.get("Error") if isinstance(response, Mapping) else None
    return str(described.get("Code") or "") if isinstance(described, Mapping) else ""


def member(answer: Mapping[str, Any], doing: str, *names: str) -> Any:
    """A member of an answer of AWS, by the names that lead to it.

    Raises:
        AwsError: the answer lacks it, as no whole answer does.
    """
    found: Any = answer
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    if found is None:
        raise AwsError(f"AWS's answer lacks {'.'.join(names)} while {doing}: run again later.", AwsTrouble.INCOMPLETE)
    return found


def no_credentials(doing: str) -> AwsError:
    """There are no credentials at all."""
    advice = (
        "in a workflow, run aws-actions/configure-aws-credentials in an earlier step of the job; on a shell, set "
        "AWS_PROFILE, or AWS_ACCESS_KEY_ID and so on"
    )
    return AwsError(f"There are no AWS credentials for {doing}: {advice}.", AwsTrouble.NO_CREDENTIALS)


def _short(text: str) -> str:
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


@cache
def _kinds() -> Mapping[str, AwsTrouble]:
    return {row["code"]: AwsTrouble(row["kind"]) for row in table("client_errors", __package__ or "")}
