"""Writes parts of ARNs as policies have them.

The text under a key of a request becomes a part by the transforms of `tools/facts/parameters.tsv`.
ARNs of secrets, log groups and SageMaker's resources have another end in policies than in records.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from urllib.parse import unquote

from leastpriv.permissions.patterns import escape_observed
from leastpriv.permissions.request import FREE_MAPS, CallRequest, key_of, request_values
from leastpriv.permissions.resource_types import COLONS, ends_in_a_word, is_of_type, with_open_parts
from leastpriv.permissions.service_facts import ActionFacts, ActionType, TypeChoice


def transformed(transform: str, value: str) -> str:
    """Returns the part of a text that is in an ARN, escaped; empty where the text is of another
    kind.
    """
    if transform.startswith(("starts ", "matches ")):
        part = value if _whole(transform).fullmatch(value) else ""
    else:
        part = _TRANSFORMS[transform](value)
    escaped = escape_observed(part)
    return _OPEN_FORMS[transform].format(escaped) if part and transform in _OPEN_FORMS else escaped


@cache
def _whole(transform: str) -> re.Pattern[str]:
    kind, _, text = transform.partition(" ")
    return re.compile(rf"{text}-[0-9a-z]+" if kind == "starts" else text)


_OPEN_FORMS = {
    "secret-suffix": "{}-??????",
    "service-role": "aws-service-role/{}/*",
    "below": "{}/*",
}
"""Transforms whose text AWS goes on with: six random characters, the name of the role, the number
of a version.
"""
OF_ARNS = frozenset({"last-path", "arn-account", "arn-type", "arn-name"})
"""Transforms that read an ARN too."""
_TRANSFORMS: Mapping[str, Callable[[str], str]] = {
    "last-path": lambda value: value.rstrip("/").rpartition("/")[2],
    "strip-slash": lambda value: value.lstrip("/"),
    "before-colon": lambda value: value.partition(":")[0],
    "after-function": lambda value: value.rpartition(":function:")[2],
    "after-slash": lambda value: value.partition("/")[2],
    "id-only": lambda value: value if re.fullmatch(r"(mrk-)?[0-9a-f-]{32,36}", value) else "",
    "alias": lambda value: value.partition("/")[2] if value.startswith("alias/") else "",
    "version": lambda value: value if value.isdecimal() or value == "$LATEST" else "",
    "after-colon": lambda value: value.partition(":")[2],
    "parameter-name": lambda value: value.lstrip("/").partition(":")[0],
    "without-scheme": lambda value: value.partition("://")[2] or value,
    "letters-only": lambda value: "" if value.isdecimal() or value.startswith("$") else value,
    "arn-account": lambda value: value.split(":")[4] if value.count(":") >= COLONS else "",
    "arn-name": lambda value: (
        value.split(":")[5].rpartition("/")[2] if value.count(":") >= COLONS else ""
    ),
    "arn-type": lambda value: (
        value.split(":")[5].partition("/")[0] if value.count(":") >= COLONS else ""
    ),
    "waf-scope": lambda value: {"REGIONAL": "regional", "CLOUDFRONT": "global"}.get(value, ""),
    "lower-case": str.lower,
    "secret-suffix": str,
    "service-role": str,
    "below": str,
}


def of_log_group(arn: str, facts: ActionFacts) -> str:
    """A log group's ARN as policies write it for an action: with `:*`, mostly.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html
    """
    if not _LOG_GROUP.fullmatch(arn):
        return escape_observed(arn)
    end = next((kind.end for kind in facts.types if kind.template.name.lower() == "log-group"), "")
    return escape_observed(re.sub(r"(:\*|:log-stream:)$", "", arn)) + end


_LOG_GROUP = re.compile(r"arn:[^:]*:logs:[^:]*:[^:]*:log-group:[^:]+(:\*|:log-stream:)?")
_SECRET_END = re.compile(r"-[A-Za-z0-9]{6}$")


def of_secret(arn: str, *, in_part: bool) -> Sequence[str]:
    """A secret's ARN as policies write it, with its six random characters.

    A partial ARN of a secret whose name ends like `-secret` looks whole: both forms count
    (troubleshoot.html#ARN_secretnamehyphen in
    https://docs.aws.amazon.com/secretsmanager/latest/userguide/).
    """
    escaped = escape_observed(arn)
    if not _SECRET_END.search(arn):
        return (escaped + "-??????",)
    return (escaped, escaped + "-??????") if in_part and ends_in_a_word(arn) else (escaped,)


def answered_arn(facts: ActionFacts, arn: str) -> str:
    """The ARN of an answer as policies write it for an action."""
    if facts.prefix == "logs":
        return of_log_group(arn, facts)
    return (
        of_secret(arn, in_part=False)[0]
        if facts.prefix == "secretsmanager"
        else escape_observed(arn)
    )


def own_arns(prefix: str, kind: ActionType, request: CallRequest) -> list[str]:
    """Returns the ARNs of a type under keys that name it: `cluster`, or `Arn` behind the noun or
    the type.
    """
    arns = []
    for key, text in request.outer:
        if text[:4] == "arn:" and is_of_type(prefix, text, kind.template.name):
            names = any(
                key in variable.sure and variable.same.get(key) != "text"
                for variable in kind.template.variables[-1:]
            )
            arns += (
                [text]
                if names or key in (f"{request.noun}arn", f"{key_of(kind.template.name)}arn")
                else []
            )
    return arns


def new_arn(
    prefix: str, arn: str, parameters: Mapping[str, object], named_arns: Sequence[str]
) -> str:
    """Returns the ARN of what a call made, open where the request did not name its parts: they were
    not known yet.
    """
    # A number may be a count; an ARN of the request may have the name that the new resource gets.
    texts = {text for _, text in request_values(parameters, FREE_MAPS) if not text.isdecimal()}
    arns = [text for text in (*texts, *named_arns) if text.startswith("arn:")]
    return with_open_parts(
        prefix, arn, texts.union(*(re.split("[:/]", request_arn) for request_arn in arns))
    )


def with_path(pattern: str, answer: Mapping[str, object]) -> str:
    """Returns an ARN of IAM with the path that an answer shows, where the request has only the
    name.
    """
    head, _, name = pattern.rpartition("/")
    texts = (
        text
        for _, text in request_values(answer)
        if text.startswith(f"{head}/") and text.endswith(f"/{name}")
    )
    return next(texts, pattern)


def in_lower_case(arn: str) -> str:
    """An ARN with its name in lower case."""
    *fields, name = arn.split(":", 5)
    return ":".join((*fields, name.lower()))


def is_meant_otherwise(kind: ActionType, request: CallRequest) -> bool:
    """Whether the request means resources of a type without naming them: `targets` by tag, a
    template by its name.
    """
    keys = kind.other_keys
    return bool(keys) and not keys.isdisjoint(request.keys)


def is_chosen(prefix: str, kind: ActionType, request: CallRequest) -> bool:
    """Whether a type may be the one meant, where a parameter decides, or an ARN in its absence: the
    rule of a bus.
    """
    for choice in kind.choices:
        if not _agrees(choice, request):
            if choice.parameter in request.by_key:
                return False
            if not any(is_of_type(prefix, text, kind.template.name) for _, text in request.outer):
                return False
    return True


def _agrees(choice: TypeChoice, request: CallRequest) -> bool:
    """Whether a request agrees with a choice; one without the parameter means the type's value."""
    pairs = request.outer if choice.means == "only" else request.values
    texts = [text for key, text in pairs if key == choice.parameter]
    if choice.means == "part":
        return all(choice.value in text for text in texts)
    names = [re.split("[/:]", text)[-1] for text in texts]
    if choice.means == "only":
        return bool(names) and choice.value in ("*", *names)
    has_value = all(name == choice.value for name in names)
    return has_value == (choice.means == "this")


# In a template `*` is a part of a host that is not known.
_S3_HOST = r"s3(?:[.-][a-z0-9.*-]+)?\.amazonaws\.com(?:\.cn)?"
_OBJECTS = (
    re.compile(r"(?:s3://|arn:[a-z-]+:s3:::)?(?P<bucket>[a-z0-9][a-z0-9.-]+)/(?P<key>.+)"),
    re.compile(rf"https://{_S3_HOST}/(?P<bucket>[a-z0-9][a-z0-9.-]+)/(?P<key>[^?#]+)(?:\?.*)?"),
    re.compile(rf"https://(?P<bucket>[a-z0-9][a-z0-9.-]+?)\.{_S3_HOST}/(?P<key>[^?#]+)(?:\?.*)?"),
)


def object_of(address: str) -> tuple[str, str]:
    """Returns the bucket and the key of an object by its ARN, its URI, `BUCKET/KEY` or either form
    of its URL.

    Both are empty where the text is no such address
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html).
    """
    match = next(filter(None, (form.fullmatch(address) for form in _OBJECTS)), None)
    if match is None:
        return "", ""
    return match["bucket"], unquote(match["key"]) if address.startswith("https:") else match["key"]
