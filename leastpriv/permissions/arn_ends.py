"""ARNs of secrets, log groups and SageMaker's resources, which policies write with another end than records."""

from __future__ import annotations

import re
from collections.abc import Sequence

from leastpriv.permissions.patterns import escape_observed
from leastpriv.permissions.resource_types import ends_in_a_word
from leastpriv.permissions.service_facts import ActionFacts


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

    A partial ARN of a secret whose name ends like `-secret` looks whole: both forms count.
    https://docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot.html#ARN_secretnamehyphen
    """
    escaped = escape_observed(arn)
    if not _SECRET_END.search(arn):
        return (escaped + "-??????",)
    return (escaped, escaped + "-??????") if in_part and ends_in_a_word(arn) else (escaped,)


def answered_arn(facts: ActionFacts, arn: str) -> str:
    """The ARN of an answer as policies write it for an action."""
    if facts.prefix == "logs":
        return of_log_group(arn, facts)
    return of_secret(arn, in_part=False)[0] if facts.prefix == "secretsmanager" else escape_observed(arn)


def in_lower_case(arn: str) -> str:
    """An ARN with its name in lower case."""
    *places, name = arn.split(":", 5)
    return ":".join((*places, name.lower()))
