"""Which parts of one observed ARN change from run to run: by its resource type (`volatile.tsv`),
else by their look.

In: `arn:aws:lambda:eu-west-1:123456789012:function:web-Api-1A2B3C4D5E6F`.
Out: the same with `web-Api-*`, and the reason. A part is `open` where `*` replaces it, and `drawn`
where a tool or AWS made it up at random. The look of a text is its form: a UUID, a hash.

Looks that do not return: content hashes, UUIDs, the random ends that CloudFormation and Terraform
give to names. A part that is all there is of a name remains (`key/UUID`), since its pattern would
be every resource of the type; an object's key may open whole, because its bucket remains.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import takewhile

from msgspec import Struct

from leastpriv.permissions import catalog
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import has_wildcard
from leastpriv.permissions.resource_types import (
    COLONS,
    ArnPart,
    action_of,
    ends_in_a_word,
    parts_of_arn,
    types_of_arn,
)


class WildcardPart(Struct, frozen=True):
    """One part of a resource that a pattern leaves open."""

    part: str
    """Variable of the ARN template, `LogStreamName`; `name` where the type is not known."""
    reason: str


MADE = "this role's own runs made it"
"""Reason of an opening: the id is another one in each run that creates such a resource."""
_HASH = "a content hash"
_LOOKS = (
    (
        re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE),
        "a random id",
    ),
    (re.compile(r"[0-9a-f]{32,64}", re.IGNORECASE), _HASH),
)
_END = re.compile(r"(?<=[A-Za-z0-9]-)([A-Za-z0-9]{12,13})(?=$|[/:.*])")
"""CloudFormation ends the names it makes in 12 or 13 random letters and digits, behind the names of
the stack and of the resource
(https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-name.html).
"""
_END_BY_STACK = re.compile(
    r"(?<=[A-Za-z0-9]-)([A-Za-z0-9]{12,13}|[0-9a-f]{15}|[A-Za-z0-9]{16})"
    r"(?=$|[/:.*]|-(?:[?]{6}|[A-Za-z0-9]{6})$)"
)
"""The same, also before the end that Secrets Manager adds, where a stack is known to have made the
resource: AWS Batch has 15 or 16 (`JobQueue-wnYIFmaQpfwKNZuw`, inferred from names in public
repositories).
"""
_SHORTEST_END = 12
"""Letters and digits of the shortest random end."""
_STACK_AND_RESOURCE = re.compile(r"(?:.*[/:])?[A-Za-z][A-Za-z0-9]*-(?:[A-Za-z0-9]+-)+", re.DOTALL)
_LOGICAL_ID = re.compile(r"-[A-Za-z0-9]+(?=[0-9A-F]{0,7}[0-9])[0-9A-F]{8}-\Z")
"""AWS CDK ends each logical id in eight hexadecimal digits; CloudFormation draws what follows."""
_MADE_UNIQUE = re.compile(r"(?<=\D)20\d{24}(?=$|[/:.*]|-(?:[?]{6}|[A-Za-z0-9]{6})$)")
"""Terraform's `name_prefix` adds a time and a counter, 26 digits (`id.PrefixedUniqueId` of its
plugin SDK), also before the end that Secrets Manager adds."""
_TIME = re.compile(
    r"(?<![A-Za-z0-9])(20|1)"
    r"(?:(?<=20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[-_T]?"
    r"(?:[01][0-9]|2[0-3])[0-5][0-9](?:[0-5][0-9])?Z?"
    r"|(?<=1)[5-9][0-9]{8}(?:[0-9]{9}|[0-9]{3}(?:-20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,12}Z)?)?)"
    r"(?![A-Za-z0-9])"
)
"""A time of the run: `20261127120000`, `20261127-1200`, the seconds or milliseconds since 1970, the
nanoseconds that Pulumi writes (`backupStack` of its pkg/backend/diy/state.go, read 2026-11-28), and
both forms that Serverless joins in the keys of its artifacts,
`1764250000000-2025-11-27T12:00:00.000Z`."""
_BUILT = re.compile(
    r"(?<=[A-Za-z0-9_][.\-])(?:(?=[a-f]*[0-9])(?=[0-9]*[a-f])[0-9a-f]{8,31}"
    r"|(?P<mixed>[A-Za-z0-9_-]{8}))"
    r"(?=(?:\.[a-z0-9]{1,11}){1,3}$)"
)
"""Bundlers name what they build by its contents, behind a name and before the extension:
`main.54d5d5d6.js` of Create React App (https://create-react-app.dev/docs/production-build/),
`[name].[contenthash].js` of webpack, 20 hexadecimal digits
(https://webpack.js.org/guides/caching/), `[name]-[hash].js` of Rollup and Vite, 8 of base64's
letters (https://rollupjs.org/configuration-options/#output-assetfilenames).
"""
_SHARED_PREFIX = re.compile(
    r"/?aws/[^/]*/?|AWS[A-Z][A-Za-z]*|/?cdk-(?:bootstrap/)?[a-z0-9]{1,10}[-/]?"
)
"""Beginnings of names that AWS services and the bootstrap stack of CDK give to all: `/aws/lambda/`,
`cdk-hnb659fds-` (CloudWatch Logs User Guide, "AWS services that publish logs"; CDK Developer Guide,
"Bootstrapping"; read 2026-11-27). They do not distinguish one team's resources from another's."""
_COMMIT = re.compile(
    r"(?<![^/._-])(?=[0-9a-f]*(?:[0-9][a-f]+[0-9]|[a-f][0-9]+[a-f]))[0-9a-f]{7,31}(?![^/._-])"
)
"""A commit in short form (`git rev-parse --short`), or another random number of as many hexadecimal
digits.
"""
_LEAST_BESIDE_A_COMMIT = 4
_OF_UNKNOWN_TYPE = re.compile(r"((?:[^:]*:){5}[^/]*/)(.*)", re.DOTALL)
"""An ARN up to the first `/` of its last field, and what may open where the catalogue does not know
its type.
"""
_SECRET_END = re.compile(r"-[A-Za-z0-9]{6}$")
_OPEN_SUFFIX = "-??????"
_STREAMS = ":*"
"""What the ARN of a log group ends in: its log streams
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html, read
2026-12-03)."""
_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_LEAST_PIECES = 3
"""Words, letters and numbers in a random end: `v20261101120` has two, `1A2B3C4D5E6F` twelve."""
_WORD_LENGTH = 5
_ODD = re.compile(
    r"[bcdfghjklmnpqrstvwxz]{5}|[aeiou]{4}|[jqxz][bcdfghjklmnpqrstvwxz]|[bcdfghjklmnpqrstvwxz]q"
    r"|[vwj]x"
    r"|uu|[ajqvwxy][jqx]|(?!(.)\1|mb|mp|km)"
    r"(?:[fgjkmpqvwxz][cdfgjkmqvwxz]|[bdhjkmpqvwx][bfgjkmpqvwxz])"
)
"""Letters that stand together in no English word: without them, five letters with a vowel may be a
word of a name.
"""


class OpenedResource(Struct, frozen=True):
    """A resource with its volatile parts open."""

    text: str
    openings: tuple[WildcardPart, ...] = ()


@lru_cache(maxsize=16_384)
def open_parts(resource: str, is_made: bool, ids: tuple[str, ...] = ()) -> OpenedResource:
    """The resource with its volatile parts open, and what was opened.

    `is_made`: the role's own runs create such ones; `ids` are those that AWS chose when it did.
    """
    prefix = service_of(resource)
    parts = parts_of(prefix, resource)
    if not parts:
        return _opened_by_look(resource)
    openings: list[WildcardPart] = []
    open_text = ""
    end = 0
    for part in parts:
        text, reason = _part(prefix, resource, part, is_made, alone=len(parts) == 1)
        is_id = part.text in ids and prefix != "s3"
        if is_id and not _row(prefix, resource, part.variable, part.text):
            text = "*"
            reason = MADE
        if text != part.text:
            openings.append(WildcardPart(part.variable, reason))
        open_text += resource[end : part.start] + text
        end = part.end
    return OpenedResource(open_text + resource[end:], tuple(openings))


def _opened_by_look(resource: str) -> OpenedResource:
    """Returns a resource of no known type with `*` for what looks random in its last part:
    `.../web-Api-1A2B3C4D5E6F` gives `.../web-Api-*`.
    """
    unknown = _OF_UNKNOWN_TYPE.fullmatch(resource)
    if not unknown:
        return OpenedResource(resource)
    open_text = unknown[1] + _by_look(unknown[2], whole_may_open=":s3:::" in resource)
    if open_text == resource:
        return OpenedResource(resource)
    return OpenedResource(open_text, (WildcardPart("name", _look_of(resource)),))


def _part(
    prefix: str, resource: str, part: ArnPart, is_made: bool, *, alone: bool
) -> tuple[str, str]:
    """Returns the text that replaces one part, and the reason."""
    text = part.text
    row = _row(prefix, resource, part.variable, text)
    match row.get("volatility", ""):
        case "always":
            return "*", row["reason"]
        case "suffix":
            open_text = text if ends_in_a_word(text) else _SECRET_END.sub(_OPEN_SUFFIX, text)
            return _MADE_UNIQUE.sub("20*", open_text), row["reason"]
        case "kept":
            return ("*", MADE) if is_made and prefix != "s3" else (text, "")
        case "letters":
            return ("?" * len(text), MADE) if is_made else (text, "")
    open_text = _by_look(text, whole_may_open=not alone)
    if prefix == "s3" and part.variable == "ObjectName" and open_text == text:
        timed = _TIME.sub(r"\1*", text)
        open_text = _without_commits(_BUILT.sub(_opened_hash, timed))
        if open_text != timed:
            return open_text, _HASH
        return open_text, "a time of the run" if timed != text else ""
    return open_text, _look_of(text)


def generated_name(resource: str, by_stack: bool) -> str:
    """A resource with as many `?` as the random end of its name has letters, where Terraform or a
    stack gave it.

    Narrower than what `open_parts` writes: for a bucket, whose name is not in the account's own
    realm.
    """
    match = _MADE_UNIQUE.search(resource)
    if match:
        return f"{resource[: match.start()]}20{'?' * (len(match[0]) - 2)}{resource[match.end() :]}"
    if (id_match := _LOOKS[0][0].search(resource)) is not None:
        # Its pieces are neither commits nor ends; alone it is an id, not the end of a name.
        return (
            resource
            if resource[id_match.start() - 1] in "/:"
            else resource.replace(id_match[0], "?" * len(id_match[0]))
        )
    if by_stack:
        # Before a commit is opened: the name of the stack may have one.
        resource = _END_BY_STACK.sub(
            lambda end: (
                "?" * len(end[1]) if _is_end_of_stack(end) or _is_random(end[1]) else end[1]
            ),
            resource,
        )
    if ":s3:::" in resource:
        return _TIME.sub(lambda time: time[1] + "?" * (len(time[0]) - len(time[1])), resource)
    *fields, name = resource.split(":", 5)
    return ":".join((*fields, _without_commits(_TIME.sub(r"\1*", name))))


def _without_commits(text: str) -> str:
    """The text with short commits open letter by letter, where something else of it remains
    literal.
    """
    open_text = _COMMIT.sub(lambda found: "?" * len(found[0]), text)
    return open_text if literal_letters(open_text) >= _LEAST_BESIDE_A_COMMIT else text


def _is_end_of_stack(match: re.Match[str]) -> bool:
    """Whether the name of a stack's resource ends in letters that CloudFormation drew, no word of
    the template.
    """
    end, before = match[1], match.string[: match.start()]
    if not _STACK_AND_RESOURCE.fullmatch(before):
        return False
    if _LOGICAL_ID.search(before):
        return True
    words = sum(
        len(piece) for piece in _PIECE.findall(end) if piece.isdigit() or _is_word(piece.lower())
    )
    return _is_random(end) or words < len(end) - 2


def with_open_end(resource: str) -> str:
    """A resource with the end open that AWS adds to its name: of a secret six letters."""
    prefix = service_of(resource)
    for part in parts_of(prefix, resource):
        text = part.text
        if _row(prefix, resource, part.variable, text).get("volatility") == "suffix":
            return (
                resource[: part.start] + _SECRET_END.sub(_OPEN_SUFFIX, text) + resource[part.end :]
            )
    return resource


def literal_letters(part: str) -> int:
    """Letters and digits of a part outside its wildcards and outside a prefix that many teams
    share.
    """
    return sum(map(str.isalnum, without_shared_prefix(part)))


def without_shared_prefix(name: str) -> str:
    """A name without the beginning that AWS or a bootstrap stack gives to many teams' resources."""
    shared = _SHARED_PREFIX.match(name)
    return name[shared.end() if shared else 0 :]


def is_kept(resource: str, variable: str, text: str) -> bool:
    """Whether a part is an id or name that lives long: nothing is learned from its changes."""
    return _row(service_of(resource), resource, variable, text).get("volatility") in (
        "kept",
        "letters",
    )


def is_named_but_ids(resource: str) -> bool:
    """Whether an ARN has names and, for what AWS chose, only whole parts that are open:
    `cluster/orders/*`.
    """
    plain = re.sub(r"\$\{[*?$]\}", "", resource)
    texts = {plain[part.start : part.end] for part in parts_of(service_of(plain), plain)} - {"*"}
    return bool(texts) and not set("".join(texts)) & {"*", "?"}


def is_open_anyway(resource: str) -> bool:
    """Whether an ARN leaves open only the part that its type leaves open for every resource: an id,
    a suffix.
    """
    prefix = service_of(resource)
    literal_text = resource.removesuffix(_STREAMS) if prefix == "logs" else resource
    parts = parts_of(prefix, literal_text)
    for part in reversed(parts):
        text = part.text
        match _row(prefix, resource, part.variable, text).get("volatility"):
            case "always" if text == "*":
                literal_text = literal_text[: part.start] + literal_text[part.end :]
            case "suffix" if text.endswith(_OPEN_SUFFIX):
                literal_text = (
                    literal_text[: part.end - len(_OPEN_SUFFIX)] + literal_text[part.end :]
                )
            case _:
                pass
    return bool(parts) and literal_text != resource and not has_wildcard(literal_text)


def _row(prefix: str, resource: str, variable: str, text: str) -> Mapping[str, str]:
    for rule in _rules(prefix, variable):
        kind = rule.row["type"]
        if rule.text.fullmatch(text) and (not kind or _may_be(kind, prefix, resource, variable)):
            return rule.row
    return _NO_ROW


_NO_ROW: Mapping[str, str] = {}


def _may_be(kind: str, prefix: str, resource: str, variable: str) -> bool:
    """Whether an ARN may be one of a type by a template that has a variable: `…:stack/a/b` of
    `stack` with `Id`. So a row of the volatile table about this type and variable fits it.

    Args:
        kind: The type, in lower case.
        prefix: The service.
        resource: The ARN.
        variable: The variable, which some templates of a type lack.
    """
    for typed_arn in parts_of_arn(prefix, resource):
        if typed_arn.kind.lower() == kind and any(
            part.variable == variable for part in typed_arn.parts
        ):
            return True
    return False


class _Rule(Struct, frozen=True):
    """A row of the volatile table, and the texts that it is about."""

    text: re.Pattern[str]
    row: Mapping[str, str]


@lru_cache(maxsize=4_096)
def _rules(prefix: str, variable: str) -> tuple[_Rule, ...]:
    return tuple(
        _Rule(re.compile(row["text"] or ".*", re.DOTALL), row)
        for row in table("volatile")
        if row["prefix"] == prefix and row["variable"] in (variable, "*")
    )


@lru_cache(maxsize=16_384)
def parts_of(prefix: str, resource: str) -> tuple[ArnPart, ...]:
    """The parts of an ARN by the template of its type; none where no type fits.

    Of types of one shape (a function's version and its alias) the one of which the volatile table
    knows most parts.
    """
    parts: tuple[ArnPart, ...] = ()
    most_rows = 0
    for typed_arn in parts_of_arn(prefix, resource):
        rows = sum(
            bool(_row(prefix, resource, part.variable, part.text)) for part in typed_arn.parts
        )
        if not parts or rows > most_rows:
            parts = typed_arn.parts
            most_rows = rows
    return parts


_SERVICES_OF_ARNS = {
    "catalog": "servicecatalog",
    "route53-recovery-control": "route53-recovery-control-config",
}
"""Services of ARNs that are no IAM prefix, as the catalogue's templates have them."""


@lru_cache(maxsize=16_384)
def service_of(resource: str) -> str:
    """The IAM prefix of an ARN's service where the catalogue knows it, else the empty string."""
    if resource.count(":") < COLONS:
        return ""
    service = resource.split(":", 3)[2]
    service = _SERVICES_OF_ARNS.get(service, service)
    return service if service in catalog.services() else ""


class ServiceType(Struct, frozen=True):
    """A resource type; names of types are unique within a service alone."""

    service: str
    name: str
    """In lower case."""


@lru_cache(maxsize=16_384)
def service_types(resource: str) -> frozenset[ServiceType]:
    """The types of an ARN, with its service; none where the catalogue does not know the service."""
    service = service_of(resource)
    names = types_of_arn(service, resource) if service else ()
    return frozenset(ServiceType(service, name) for name in names)


def is_whole_type(pattern: str) -> bool:
    """Whether a pattern covers each resource of its type in the account, so that a later run can
    name no other.
    """
    parts, is_known = (
        parts_of(service_of(pattern), pattern),
        types_of_arn(service_of(pattern), pattern),
    )
    # The account has one resource of a type without a name, as Glue's catalog; an image of Amazon
    # EC2 has no account.
    has_place = any(pattern.split(":", 5)[3:5])
    return (
        bool(is_known)
        and has_place
        and all(set(pattern[part.start : part.end]) <= {"*", "?"} for part in parts)
    )


_SCOPE = "Scope"
"""The variable of AWS WAF that is `regional` or `global`."""


def is_any_of_type(action: str, resource: str) -> bool:
    """Whether a resource of an action names none of a type: `*` of an action that takes resources,
    or an ARN with an open name.

    An open name of an unknown type counts.
    """
    if resource == "*":
        catalog_action = action_of(action)
        return catalog_action is None or bool(catalog_action.resource_types)
    parts = parts_of(service_of(resource), resource)
    if not parts:
        return resource.endswith("*")
    name_texts = [part.text for part in parts if part.variable != _SCOPE]
    return all(set(text) <= {"*", "?"} for text in name_texts)


def _by_look(text: str, *, whole_may_open: bool) -> str:
    """`text` with what does not return open."""
    open_text = text
    if len(text) >= _SHORTEST_END:
        for look, _ in _LOOKS:
            open_text = look.sub("*", open_text)
        open_text = _END.sub(_opened_end, _MADE_UNIQUE.sub("20*", open_text))
    open_text = re.sub(r"\*{2,}", "*", open_text)
    return text if open_text == "*" and not whole_may_open else open_text


def _opened_end(match: re.Match[str]) -> str:
    is_of_stack = _STACK_AND_RESOURCE.fullmatch(match.string[: match.start()]) is not None
    return "*" if is_of_stack and _is_random(match[1]) else match[1]


def _opened_hash(match: re.Match[str]) -> str:
    mixed = match["mixed"] or ""
    kinds = (str.isdigit, str.islower, str.isupper)
    is_name = mixed and not (_is_random(mixed) and all(any(map(kind, mixed)) for kind in kinds))
    # Letter by letter: the next build's hash is as long, and `env-*.tfstate` would be that of
    # production as well.
    return mixed if is_name else "?" * len(match[0])


def _is_random(text: str) -> bool:
    """Whether 12 or 13 letters and digits look random; the tests measure how often that is
    wrong.
    """
    pieces = _PIECE.findall(text)
    if text.isalpha() and (text.islower() or text.isupper()):
        return _ODD.search(text.lower()) is not None
    if len(pieces) < _LEAST_PIECES:
        return False
    return text.isupper() or not any(_is_word(piece.lower()) for piece in pieces)


def _is_word(letters: str) -> bool:
    return (
        len(letters) >= _WORD_LENGTH
        and not set(letters).isdisjoint("aeiouy")
        and not _ODD.search(letters)
    )


def _look_of(text: str) -> str:
    return next(
        (reason for look, reason in _LOOKS if look.search(text)), "a random end of a generated name"
    )


def common_ends(texts: list[str]) -> tuple[str, str]:
    """The longest common beginning and end of some texts, which do not overlap."""
    begin = common_beginning(texts)
    return begin, common_beginning([text[len(begin) :][::-1] for text in texts])[::-1]


def common_beginning(texts: list[str]) -> str:
    """The longest common beginning of some texts."""
    common_letters = takewhile(lambda letters: len(set(letters)) == 1, zip(*texts, strict=False))
    return "".join(letters[0] for letters in common_letters)


_REGION = re.compile(
    r"(?<![a-z0-9])[a-z]{2,3}(?:-[a-z]{3,4})?-(?:north|south|east|west|central){1,2}-[1-9]"
    r"(?![a-z0-9])"
)
"""`us-east-1`, `us-gov-west-1`, also in a name: `cdk-hnb659fds-assets-111122223333-us-east-1`."""


@lru_cache(maxsize=4_096)
def region_of(resource: str) -> str:
    """The one region that an ARN names, in its own field or in a name; empty where it names none or
    several.
    """
    regions = set(_REGION.findall(resource))
    return regions.pop() if len(regions) == 1 else ""


def in_region(resource: str, region: str) -> str:
    """An ARN with another region; itself where it names none or several."""
    return _REGION.sub(region, resource) if region_of(resource) else resource
