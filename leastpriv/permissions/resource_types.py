"""Which resources an action takes: its types, their ARN templates, and whether an ARN or pattern is
one of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache, lru_cache

from msgspec import Struct

from leastpriv.models import Permission
from leastpriv.permissions import catalog
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import (
    VARIABLE_IN_POLICY,
    escape_observed,
    has_variable,
    has_wildcard,
    resource_overlaps,
    unescape,
)
from leastpriv.permissions.service_facts import Action, ResourceTemplate, ResourceType, rules_of

action_of = catalog.action
VARIABLE = re.compile(r"\$\{(\w+)\}")
"""A variable of an ARN template, `${QueueName}`."""
_PLACES = frozenset({"Partition", "Region", "Account"})
_ARN = re.compile(r"arn:aws[a-z-]*:[a-z0-9-]+:[^:]*:[^:]*:.+", re.DOTALL)
COLONS = 5
"""Between the fields of an ARN."""
_FIRST_WORD = re.compile(r"(?:[^:]*:){5}([^/:]+[/:])")
_IAM_NAME = re.compile(
    r"(arn:[^:]*:iam::[^:]*:(?:role|user|group|policy|instance-profile)/)([^/*]+)"
)


@lru_cache(maxsize=16_384)
def fits(action: str, resource: str) -> bool:
    """Whether a resource ARN or pattern can be one of the action's resource types.

    A policy variable inside an ARN is one part of it; one that begins the text can be any ARN.
    """
    catalog_action = action_of(action)
    if has_variable(resource):
        resource = _with_stand_ins(resource)
    if catalog_action is None or resource == "*":
        return True
    if not catalog_action.resource_types:
        return False
    prefix = catalog_action.name.partition(":")[0]
    for kind in catalog_action.resource_types:
        if _can_be(prefix, kind, resource) and not _is_another(catalog_action, prefix, resource):
            return True
    return any(
        shape_overlaps(template, resource) for template in rules_of(catalog_action.name).arns
    )


_STAND_INS = {1: "aws", 3: "us-east-1", 4: "111122223333", 5: "placeholder"}
"""Number of the field of an ARN -> a text for an unknown part of it."""


@lru_cache(maxsize=4_096)
def _with_stand_ins(resource: str) -> str:
    """Returns an ARN with a text for each variable; `*` if a variable can be its service or all of
    it.
    """
    text, position = "", 0
    for match in VARIABLE_IN_POLICY.finditer(resource):
        text += resource[position : match.start()]
        stand_in = _STAND_INS.get(min(text.count(":"), COLONS))
        if stand_in is None:
            return "*"
        text, position = text + stand_in, match.end()
    return text + resource[position:]


def _can_be(prefix: str, kind: ResourceType, resource: str) -> bool:
    """Whether a pattern can name a resource of a type, in any form of its ARN."""
    for template in (kind.arn, *_forms(prefix, kind.name)):
        if shape_overlaps(template, resource) and not _is_misnamed(
            prefix, kind.name, template, resource
        ):
            return True
    return False


def _is_misnamed(prefix: str, kind: str, template: str, resource: str) -> bool:
    """Whether a part of a pattern that has a template's shape is no text of its variable: `b/k`
    names no bucket.
    """
    rules = _text_rules(prefix, kind, template)
    match = _template_regex(template).fullmatch(resource) if rules else None
    return match is not None and _breaks(rules, match)


def _breaks(rules: _TextRules, match: re.Match[str]) -> bool:
    return any(rule.fullmatch(unescape(match[group])) is None for group, rule in rules)


@cache
def _text_rules(prefix: str, kind: str, template: str) -> _TextRules:
    texts = _texts(prefix, kind)
    names = enumerate(VARIABLE.findall(template), start=1)
    return tuple([(group, texts[name]) for group, name in names if name in texts])


@cache
def _texts(prefix: str, kind: str) -> Mapping[str, re.Pattern[str]]:
    """Returns the form of the texts of a type's variables that have one (`variable_texts.tsv`), by
    variable; a row for the type counts more than one for the service.
    """
    rows = [
        row
        for row in table("variable_texts")
        if row["prefix"] == prefix and row["type"] in ("", kind.lower())
    ]
    return {
        row["variable"]: re.compile(row["text"], re.DOTALL)
        for row in sorted(rows, key=lambda row: row["type"])
    }


def _is_another(action: Action, prefix: str, resource: str) -> bool:
    """Whether a whole ARN is of other types of the service only: a volume has the shape of no
    instance.
    """
    if has_wildcard(resource):
        return False
    kinds = types_of_arn(prefix, resource)
    return bool(kinds) and kinds.isdisjoint(type_names(action.name))


def kinds_of(action: str, resource: str) -> tuple[str, ...]:
    """Names of the action's resource types that a resource pattern can be of."""
    catalog_action = action_of(action)
    kinds = catalog_action.resource_types if catalog_action else ()
    prefix = catalog_action.name.partition(":")[0] if catalog_action else ""
    return tuple(
        dict.fromkeys(
            kind.name for kind in kinds if resource == "*" or _can_be(prefix, kind, resource)
        )
    )


def widest(action: str, principal: str, regions: Sequence[str]) -> tuple[str, ...]:
    """The widest resources of an action in the principal's partition and account and the regions
    seen.

    `*` where the action has no resource type; required types alone where it has some.
    """
    catalog_action = action_of(action)
    if catalog_action is None or not catalog_action.resource_types:
        return ("*",)
    required = [kind for kind in catalog_action.resource_types if kind.required]
    return whole_types(required or catalog_action.resource_types, principal, regions)


def whole_types(
    kinds: Iterable[ResourceType], principal: str, regions: Sequence[str]
) -> tuple[str, ...]:
    """Every resource of some types in the principal's partition and account and these regions."""
    partition, account = principal.split(":")[1], principal.split(":")[4]
    patterns = [
        fill_variables(kind.arn, {"Partition": partition, "Region": region, "Account": account})
        for kind in kinds
        for region in regions or ("*",)
    ]
    return tuple(dict.fromkeys(patterns))


def fill_variables(template: str, values: Mapping[str, str], unknown: str = "*") -> str:
    """Returns a template with the values of its variables; `unknown` takes the place of the
    others.
    """
    return VARIABLE.sub(lambda match: values.get(match[1], unknown), template)


def with_any_path(arn: str) -> str:
    """An IAM resource made from its name, under any path: requests name a role without it; empty
    for other ARNs.
    """
    match = _IAM_NAME.fullmatch(arn)
    return f"{match[1]}*/{match[2]}" if match else ""


@lru_cache(maxsize=16_384)
def type_names(action: str) -> frozenset[str]:
    """Names of an action's resource types in lower case."""
    catalog_action = action_of(action)
    return (
        frozenset(kind.name.lower() for kind in catalog_action.resource_types)
        if catalog_action
        else frozenset()
    )


def shape_overlaps(template: str, resource: str) -> bool:
    """Whether some ARN of the template's shape matches the pattern; field by field where the fields
    are literal.
    """
    is_plain = "*" not in resource and "?" not in resource and "$" not in resource
    if is_plain and resource.count(":") >= COLONS:
        return _shape_regex(template).fullmatch(resource) is not None
    if "::/" in template and not _has_as_many_parts(template, resource):
        return False
    return _shape_overlaps(template, resource)


def _has_as_many_parts(template: str, resource: str) -> bool:
    """Whether a path of API Gateway can be of a template: no id has a slash, except in the ARN
    below `/tags/`.
    """
    template_slashes, resource_slashes = template.count("/"), resource.count("/")
    return (
        resource_slashes == template_slashes
        or "/tags/" in template
        or ("*" in resource and resource_slashes < template_slashes)
    )


@cache
def _shape_regex(template: str) -> re.Pattern[str]:
    """Matches the plain ARNs that `_shape_overlaps` takes."""
    *fields, resource = VARIABLE.sub("?*", template.replace(":${Account}:", ":*:")).split(
        ":", COLONS
    )
    patterns = [
        field.translate({ord("?"): "[^:]", ord("*"): "[^:]*"}) for field in map(_escaped, fields)
    ]
    return re.compile(
        ":".join([*patterns, _escaped(resource).translate({ord("?"): ".", ord("*"): ".*"})]),
        re.DOTALL,
    )


def _escaped(text: str) -> str:
    """A text for a regex, its wildcards as they are."""
    return re.escape(text).replace(r"\*", "*").replace(r"\?", "?")


@lru_cache(maxsize=4_096)
def _shape_overlaps(template: str, resource: str) -> bool:
    """Whether a pattern and a template may have an ARN in common, field by field:
    `arn:aws:sqs:*:*:jobs-*` and the template of queues.
    """
    # AWS's own resources have no account (`arn:aws:ssm:eu-west-1::document/AWS-RunShellScript`).
    shape = VARIABLE.sub("?*", template.replace(":${Account}:", ":*:")).split(":", COLONS)
    fields = resource.split(":", COLONS)
    if len(fields) <= COLONS or any("*" in field or "?" in field for field in fields[:5]):
        # A `*` may stand for several fields; those before the first one are fields of the ARN.
        fields = f"{re.split('[*?]', resource, maxsplit=1)[0]}*".split(":")
        if not resource_overlaps(VARIABLE.sub("*", template), resource):
            return False
    return all(
        resource_overlaps(shape_field, field)
        for shape_field, field in zip(shape, fields, strict=False)
    )


def is_whole_arn(text: str) -> bool:
    """Whether a text has all fields of an ARN."""
    return _ARN.fullmatch(text) is not None


@lru_cache(maxsize=4_096)
def types_of_arn(prefix: str, arn: str) -> frozenset[str]:
    """Names of the service's resource types, in lower case, whose template fits the ARN most
    closely.
    """
    forms = _forms_by_word(prefix)
    best = -1
    names: list[str] = []
    for form in forms.get(_word(arn)) or forms[""]:
        if form.length < best:
            break
        # Most forms of a service are never asked for: a regex is compiled when its turn comes.
        match = _template_regex(form.template).fullmatch(arn)
        if match and not (form.rules and _breaks(form.rules, match)):
            names.append(form.kind)
            best = form.length
    return frozenset(names)


_TextRules = tuple[tuple[int, re.Pattern[str]], ...]
"""(group of a template's regex, what a text of its variable matches), for those variables of which
that is known.
"""


class _Form(Struct, frozen=True, gc=False):
    """A form of the ARNs of a resource type."""

    kind: str
    """The type in lower case."""
    template: str
    rules: _TextRules
    length: int
    """Characters of the template that are no variable."""


def is_named_when_meant(action: str, kind: str) -> bool:
    """Whether the record of a call that was authorised on a resource of this type, in lower case,
    would name it.

    So that a call whose record names another resource was authorised on that one alone.
    """
    rules = rules_of(action)
    type_rules = rules.types.get(kind)
    return rules.names_its_type or (type_rules is not None and type_rules.named_when_meant)


@cache
def _forms_by_word(prefix: str) -> Mapping[str, Sequence[_Form]]:
    """First word of an ARN's resource part -> forms that it may have, the closest first; any other
    word is as none.
    """
    forms_by_word: dict[str, list[_Form]] = {"": []}
    for type_template in _templates(prefix):
        template = type_template.template
        # A `*` in place of a field may stand for several.
        word = "" if "*" in template.rpartition(":")[0] else _word(template)
        length = len(VARIABLE.sub("", template).replace("*", ""))
        form = _Form(
            kind=type_template.kind.lower(),
            template=template,
            rules=_text_rules(prefix, type_template.kind, template),
            length=length,
        )
        forms_by_word.setdefault("" if "$" in word or "*" in word else word, []).append(form)
    of_any = forms_by_word[""]
    with_any = {
        word: forms if word == "" else [*forms, *of_any] for word, forms in forms_by_word.items()
    }
    return {word: sorted(forms, key=lambda form: -form.length) for word, forms in with_any.items()}


def _word(arn: str) -> str:
    """What begins the resource part of an ARN or template, `function:` or `role/`; empty where
    nothing ends it.
    """
    word = _FIRST_WORD.match(arn)
    return word[1] if word else ""


def end_of(action: str, kind: str) -> str:
    """What a policy writes behind the ARN of a type (lower case) for an action: `:*` of a log
    group, mostly.
    """
    rules = rules_of(action).types.get(kind)
    return rules.end if rules else ""


def is_of_type(prefix: str, text: str, kind: str) -> bool:
    """Whether a text is an ARN of the type named, in any form."""
    return text.startswith("arn:") and kind.lower() in types_of_arn(prefix, text)


def may_be(prefix: str, pattern: str, kind: ResourceTemplate) -> bool:
    """Whether an ARN or pattern is of a type, or has its shape."""
    return kind.name.lower() in types_of_arn(prefix, pattern) or shape_overlaps(kind.arn, pattern)


@lru_cache(maxsize=4_096)
def is_about(noun: str, kind: str) -> bool:
    """Whether a noun is the name of a type, or its end: `inferenceprofile` of
    `application-inference-profile`.
    """
    return noun != "" and re.sub("[^a-z0-9]", "", kind.lower()).endswith(noun)


class ArnPart(Struct, frozen=True, gc=False):
    """A part of an ARN that fills a variable of its template, but partition, region and account."""

    variable: str
    start: int
    end: int
    text: str


class ArnOfType(Struct, frozen=True, gc=False):
    """The parts of an ARN by the template of a type."""

    kind: str
    parts: tuple[ArnPart, ...]


@lru_cache(maxsize=4_096)
def parts_of_arn(prefix: str, arn: str) -> tuple[ArnOfType, ...]:
    """Returns the parts of an ARN or pattern for each type that fits it most closely."""
    kinds = types_of_arn(prefix, arn) if prefix else frozenset()
    typed_arns = []
    for form in _templates(prefix) if kinds else ():
        match = _template_regex(form.template).fullmatch(arn) if form.kind in kinds else None
        if not match:
            continue
        parts = [
            ArnPart(name, match.start(group), match.end(group), match[group])
            for group, name in enumerate(VARIABLE.findall(form.template), start=1)
            if name not in _PLACES
        ]
        typed_arns.append(ArnOfType(form.kind, tuple(parts)))
    return tuple(typed_arns)


@lru_cache(maxsize=512)
def services_of_arns(prefix: str) -> tuple[str, ...]:
    """The services that the ARNs of an IAM prefix name, sorted: `catalog` of `servicecatalog`."""
    return tuple(sorted({prefix, *(form.template.split(":")[2] for form in _templates(prefix))}))


def variables_of_arn(prefix: str, arn: str) -> tuple[ArnPart, ...]:
    """Returns the parts of an ARN by the first type that fits it; none where no type does."""
    typed_arns = parts_of_arn(prefix, arn)
    return typed_arns[0].parts if typed_arns else ()


def with_open_parts(prefix: str, arn: str, known: Collection[str]) -> str:
    """An ARN with `*` in place of each part whose text is not among the known ones, the rest
    escaped.
    """
    # Of several types the one with the most parts: the builds of an image have a type that ends in
    # `/*`.
    by_type = [typed_arn.parts for typed_arn in parts_of_arn(prefix, arn)]
    opened_arn = ""
    end = 0
    for part in max(by_type, key=len, default=()):
        if part.text not in known:
            opened_arn += f"{escape_observed(arn[end : part.start])}*"
            end = part.end
    return opened_arn + escape_observed(arn[end:])


def bucket_of(arn: str) -> str:
    """Returns the bucket of an object, as event selectors name it; another ARN unchanged."""
    return arn.partition("/")[0] if ":s3:::" in arn else arn


def ends_in_a_name(arn: str) -> bool:
    """Whether an ARN names more than the type of its resource: `role/web`, but not `role/*`."""
    return re.search("[A-Za-z0-9]", re.split("[:/]", arn)[-1]) is not None


def ends_in_a_word(arn: str) -> bool:
    """Whether the last six characters, where AWS puts random ones, look like a word: `my-secret`,
    `db-STAGES`.

    Of six random letters and digits 1 % are all small, all capital or all digits.
    """
    end = arn[-6:]
    return arn[-7:-6] == "-" and (
        end.isdigit() or (end.isalpha() and (end.islower() or end.isupper()))
    )


def is_of_other_form(prefix: str, arn: str) -> bool:
    """Whether an ARN has a form that the catalogue lacks, like ECS's service ARNs without their
    cluster.
    """
    kinds = types_of_arn(prefix, arn)
    templates = [kind.arn for kind in catalog.resource_types(prefix) if kind.name in kinds]
    return bool(kinds) and not any(
        _template_regex(template).fullmatch(arn) for template in templates
    )


class _Template(Struct, frozen=True, gc=False):
    """A template of the ARNs of a type."""

    kind: str
    template: str


@cache
def _templates(prefix: str) -> tuple[_Template, ...]:
    """Every form of the ARNs of every type of a service."""
    kinds = catalog.resource_types(prefix)
    templates = [_Template(kind.name, kind.arn) for kind in kinds]
    for name in dict.fromkeys(kind.name for kind in kinds):
        templates += [_Template(name, form) for form in _forms(prefix, name)]
    return tuple(templates)


@cache
def _forms(prefix: str, kind: str) -> tuple[str, ...]:
    """Forms of a type's ARNs besides the catalogue's."""
    return tuple(
        row["arn"]
        for row in table("arn_forms")
        if (row["prefix"], row["type"]) == (prefix, kind.lower())
    )


@cache
def own_variables(template: str) -> tuple[str, ...]:
    """Variables of a template but those of the place: partition, region, account."""
    return tuple(name for name in VARIABLE.findall(template) if name not in _PLACES)


@cache
def _template_regex(template: str) -> re.Pattern[str]:
    """Matches ARNs of a template: only its last variable may hold any separator, one before a `:`
    may hold `/`.

    Some templates have a `*` of their own, like DMS's `endpoint:*`, in place of an id; one for a
    region or an account may be empty.
    """
    parts = VARIABLE.split(template)
    last = len(parts) - 2
    pieces = [
        re.sub(r":\\\*(?=:)", ":[^:]*", re.escape(part)).replace(r"\*", ".+")
        if index % 2 == 0
        else _any_text(parts[index + 1], index == last)
        for index, part in enumerate(parts)
    ]
    return re.compile("".join(pieces), re.DOTALL)


def _any_text(after: str, is_last: bool) -> str:
    if is_last:
        return "(.+)"
    return "([^:]*)" if after.startswith(":") else "([^:/]*)"


def sets_tags_on_new(permission: Permission) -> bool:
    """Whether an action sets tags, and its resource leaves only ids open that AWS gives:
    `certificate/*`, `broker:orders:*`.
    """
    if "Tagging" not in catalog.access_level(permission.action):
        return False
    service = permission.action.partition(":")[0]
    return any(
        _leaves_only_ids_open(typed_arn) for typed_arn in parts_of_arn(service, permission.resource)
    )


def _leaves_only_ids_open(typed_arn: ArnOfType) -> bool:
    open_parts = [part for part in typed_arn.parts if "*" in part.text or "?" in part.text]
    return bool(open_parts) and all(
        part.text == "*" and part.variable.endswith(("Id", "ID", "Uuid")) for part in open_parts
    )


_CREATING_VERB = re.compile(
    "Create|Put|Register|Run|Allocate|Publish|Import|Upload|Request|Copy|Restore|Issue"
)


@lru_cache(maxsize=4_096)
def creates_its_resource(action: str) -> bool:
    """Whether an action creates the resource that it is authorized on: `CreateQueue`,
    `PutMetricAlarm`.

    Not `PutBucketPolicy`, whose bucket exists, nor `PutItem`. Derived from the name.
    """
    catalog_action = action_of(action)
    match = _CREATING_VERB.match(action.partition(":")[2])
    if catalog_action is None or match is None:
        return False
    noun = re.sub(r"v[0-9]$", "", _noun(match.string[match.end() :]))
    return any(noun.endswith(_noun(kind.name)) for kind in catalog_action.resource_types)


def _noun(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower()).removesuffix("s")
