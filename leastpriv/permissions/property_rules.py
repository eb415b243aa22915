"""Finds the properties of a resource that decide whether an action of its life is needed.

A handler lists every action that some properties need. The rule reads names: `s3:PutBucketCORS`
follows from `CorsConfiguration`, and `kms:Decrypt` of another service from a property that names
that service. What no property can ask for is not needed; what the rule cannot decide is needed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache

from msgspec import Struct

from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import Visibility, visibility
from leastpriv.permissions.lifecycle import next_actions

NEVER = "-"
"""In place of properties: no property can ask for the action."""
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z]|s?(?![A-Za-z]))s?|[A-Z]?[a-z]+|[A-Z]+|\d+")


def words_of(name: str) -> frozenset[str]:
    """Returns the words of a name in any form, in the singular and in lower case."""
    return frozenset(_singular(word.lower()) for word in _WORD.findall(name))


def _singular(word: str) -> str:
    if word.endswith("ies"):
        return word.removesuffix("ies") + "y"
    return word.removesuffix("s") if len(word) > 3 and not word.endswith("ss") else word


_VERB = re.compile(r"[A-Z][a-z]+")
_ADDS = frozenset(
    (
        "Create",
        "Associate",
        "Attach",
        "Import",
        "Restore",
        "Enable",
        "Start",
        "Add",
        "Pass",
        "Copy",
        "Replace",
    )
)
"""Verbs of actions that only a property can ask for."""
_ENDS = frozenset(("Delete", "Release", "Terminate"))
"""Verbs that end any resource; others undo one verb, as Disassociate undoes Associate."""
_GENERAL = words_of(
    "configuration config setting attribute resource property specification option information"
    " detail for from to of by in on with and all aws arn id name document"
)
_SHORTEST = 5
"""Letters that two forms of a word share: `streaming` and `stream`, `recursion` and `recursive`."""


class Kind(Struct, frozen=True):
    """What the rule needs to know of a resource type."""

    words: frozenset[str]
    """Words of its name: `aws_sqs_queue`, `AWS::SQS::Queue`."""
    services: frozenset[str]
    """Prefixes of the actions that make and delete it."""
    makes: frozenset[str]
    reads: frozenset[str]
    """Actions of the phase `read`: a tool reads the whole resource."""


def deciding_properties(
    action: str,
    kind: Kind,
    properties: Mapping[str, frozenset[str]],
    required: Collection[str] = (),
) -> tuple[str, ...]:
    """Returns the properties any of which asks for an action.

    Args:
        action: an action of a phase other than `list`, but iam:PassRole: the roles that properties
            name decide that.
        kind: the resource type.
        properties: path (`Code.S3Bucket`, at most two levels) -> words of its name and of its
            format.
        required: paths that are always set.

    Returns:
        Paths; empty where the action is needed in any case; NEVER alone where no property can ask
        for it.
    """
    prefix = action.partition(":")[0]
    # Where no action makes the type by its name, as for a record of a zone, each may be the one
    # that does.
    if (
        action in kind.makes
        or (not kind.makes and prefix in kind.services)
        or _undoes(action, kind.makes)
    ):
        return ()
    if action == "iam:CreateServiceLinkedRole":
        return _without(action, kind)
    if prefix not in kind.services:
        return _deciding_for_other_service(action, kind, properties, required)
    # `s3:GetBucketCORS`: a tool reads the whole resource, whatever is set.
    if action in kind.reads:
        return ()
    # `s3:PutObjectAcl`: properties configure a resource, they do not work with its data.
    if visibility(action).visibility is Visibility.DATA:
        return (NEVER,)
    # `s3:PutBucketCORS`: the property whose name has the words of the action, `CorsConfiguration`.
    subject = _subject(action, kind)
    asking_properties = _asking(properties, required, subject, 1) if subject else None
    # What adds a part to the resource needs a property for this part.
    if asking_properties is None and subject and _verb(action) in _ADDS:
        return (NEVER,)
    return asking_properties or ()


def _undoes(action: str, makes: Collection[str]) -> bool:
    """Whether an action deletes what the only making action makes: no property decides about
    that.
    """
    prefix, _, name = action.partition(":")
    for making_action in makes if len(makes) == 1 else ():
        verb, start = _verb(action), _verb(making_action)
        is_opposite = verb in _ENDS or (verb != start and verb.lower().endswith(start.lower()))
        if making_action.startswith(f"{prefix}:") and is_opposite:
            return words_of(name.removeprefix(verb)) == words_of(
                making_action.partition(":")[2].removeprefix(start)
            )
    return False


def _deciding_for_other_service(
    action: str,
    kind: Kind,
    properties: Mapping[str, frozenset[str]],
    required: Collection[str],
) -> tuple[str, ...]:
    """Returns the same as `deciding_properties` for an action of another service than the type's:
    for `kms:Decrypt` of a function, `KmsKeyArn`.
    """
    # A property that names the service, in all its words, decides before one that shares a word
    # with the action, as `VpcConfig.SecurityGroupIds` does with `ec2:DescribeSecurityGroups`.
    service_words = words_of(action.partition(":")[0].replace("-", " "))
    for words, least_words in ((service_words, len(service_words)), (_subject(action, kind), 1)):
        asking_properties = _asking(properties, required, words, least_words)
        if asking_properties is not None:
            return asking_properties
        # Only properties that are always set have the words: the action is always needed.
        if _asking(properties, (), words, least_words):
            return ()
    return () if action in kind.reads else _without(action, kind)


def _without(action: str, kind: Kind) -> tuple[str, ...]:
    """An action of another service that no property names: needed where AWS lists it for what makes
    the resource.
    """
    return () if any(action in next_actions(maker) for maker in kind.makes) else (NEVER,)


def _asking(
    properties: Mapping[str, frozenset[str]],
    required: Collection[str],
    wanted_words: frozenset[str],
    least_words: int,
) -> tuple[str, ...] | None:
    """The properties that have most of the wanted words; empty where one is always set, None where
    there is none.
    """
    counts = {
        path: sum(any(_alike(word, path_word) for path_word in words) for word in wanted_words)
        for path, words in properties.items()
    }
    highest_count = max(counts.values(), default=0)
    if highest_count < least_words:
        return None
    best = [path for path, count in counts.items() if count == highest_count]
    for path in best:
        if path in required and all(
            any(_alike(word, path_word) for word in wanted_words)
            for path_word in words_of(path.rpartition(".")[2]) - _GENERAL
        ):
            return ()
    optional = {path for path in best if path not in required}
    return (
        tuple(sorted(path for path in optional if path.partition(".")[0] not in optional - {path}))
        or None
    )


def _subject(action: str, kind: Kind) -> frozenset[str]:
    name = action.partition(":")[2]
    verb = _verb(action)
    noun = name.removeprefix(verb)
    return words_of(noun) - kind.words - _GENERAL if noun else words_of(verb)


@lru_cache(maxsize=16_384)
def _verb(action: str) -> str:
    match = _VERB.match(action.partition(":")[2])
    return match[0] if match else ""


@lru_cache(maxsize=65_536)
def _alike(one: str, other: str) -> bool:
    return one == other or (
        len(one) > _SHORTEST and len(other) > _SHORTEST and one[:_SHORTEST] == other[:_SHORTEST]
    )


def kind_of(
    name: str, makes: Collection[str], deletes: Collection[str], reads: Collection[str]
) -> Kind:
    """Returns what the rule needs to know of a type, from its name and its actions."""
    writing_actions = [action for action in makes or deletes if not catalog.is_read(action)]
    services = frozenset(action.partition(":")[0] for action in writing_actions or reads)
    words = words_of(name.replace("::", " ").replace("_", " "))
    return Kind(words, services - {"iam", "ec2"} or services, frozenset(makes), frozenset(reads))
