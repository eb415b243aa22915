"""Finds resources that the principal's own runs create, whose ids or names differ in each run.

`orders-1`, `orders-2` and `orders-3` form a name pattern where three runs created them, as do
copies of an app and names with a word of the run itself, for every action on one of them. That of a
bucket is for actions on it only, since its ARN has no owner: actions on the objects of two buckets
are proposed for those of the newest bucket.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from leastpriv.aws.session_names import is_run_id
from leastpriv.cloudtrail.coverage import bucket_of
from leastpriv.models import Outcome, Run, Usage
from leastpriv.permissions.arn_templates import IN_PART, IN_RESPONSE
from leastpriv.permissions.catalog import is_read
from leastpriv.permissions.generalize import (
    CERTAIN,
    COPY,
    NAMED_ANEW,
    OWN_WORD,
    USED_COPY,
    NamePattern,
    ObservedResource,
    deletes,
    ends,
    families_of,
    family_of,
    generated_families,
)
from leastpriv.permissions.lifecycle import created_types
from leastpriv.permissions.name_copies import (
    LONG_LIVED,
    copies_of,
    forms_of_branch,
    is_object,
    numbered_words,
    pattern_of_words,
)
from leastpriv.permissions.resource_types import types_of_arn, variables_of_arn
from leastpriv.permissions.tool_lifecycle import STACK_SERVICE
from leastpriv.permissions.volatility import (
    WildcardPart,
    is_named_but_ids,
    is_open_anyway,
    open_parts,
    service_of,
)

_REF = re.compile(r"(?:ref|refs)[:/](?:refs/)?(?P<kind>heads|tags|pull)/(?P<name>[^:]+)")
_NUMBERED = re.compile(r"[A-Za-z]{0,20}[-_]?[0-9]{2,12}")
"""Words of a session name that a workflow fills in: `pr-31` of `deploy-pr-31`."""
_RUN_NUMBER = re.compile(r"(?<![0-9])[0-9]{4,11}(?![0-9])")
"""A number of a session name without the word before it; twelve digits are an account."""
_PULL = re.compile(
    r"(?<![A-Za-z0-9])((?:pr|pull|pull-request|mr)[-_]?)[0-9]{1,6}(?![A-Za-z0-9])", re.IGNORECASE
)
"""A pull request in a name: the login of its run has no number, `repo:shop/orders:pull_request`."""
_DAY = re.compile(
    r"(?<![0-9])(?P<day>20[0-9]{2}([-_.]?)(?:0[1-9]|1[0-2])\2(?:0[1-9]|[12][0-9]|3[01]))(?![0-9])(?:[-_.][0-9]+)*"
    r"(?![A-Za-z0-9])"
)
"""A day in a name, with a counter or time behind it: of the run if it is the day on which the run
began.
"""
_MOST_OF_A_DAY = 20
"""Resources of one run with its day; of more the names themselves show what changes."""
_WORKSPACE = re.compile(r":s3:::[^/]+/(?:.*/)?env:/(?P<name>[^/]+)/")
"""Key of the state of a workspace in Terraform's S3 backend
(https://developer.hashicorp.com/terraform/language/backend/s3, `workspace_key_prefix`, read
2026-11-27)."""


def words_of_runs(
    runs: Iterable[Run], usages: Iterable[Usage] = ()
) -> Mapping[str, frozenset[str]]:
    """Maps the id of each run to the words that its names may contain, in lower case."""
    known = tuple(runs)
    found: dict[str, set[str]] = {run.id: {*_words_of(run)} for run in known}
    began = {run.id: f"{run.first:%Y%m%d}" for run in known}
    days: dict[str, dict[str, str]] = {}
    for usage in [usage for usage in usages if usage.outcome is Outcome.ALLOWED]:
        resource = usage.need.permission.resource
        workspace = _WORKSPACE.search(resource)
        words = {*forms_of_branch(workspace["name"])} if workspace else set()
        words.update([pull[0].lower() for pull in _PULL.finditer(resource)])
        for run in usage.runs if words else ():
            found.setdefault(run, set()).update(words)
        for day in _DAY.finditer(resource) if began else ():
            for run in usage.runs:
                if began.get(run) == re.sub(r"[-_.]", "", day["day"]):
                    days.setdefault(run, {})[resource] = day[0]
    for run, named in days.items():
        if len(named) <= _MOST_OF_A_DAY:
            found.setdefault(run, set()).update(named.values())
    return {
        run: frozenset(words - LONG_LIVED) for run, words in found.items() if words - LONG_LIVED
    }


def _words_of(run: Run) -> Iterator[str]:
    for session in filter(None, (run.session, run.parent_run)):
        words = (
            [session]
            if is_run_id(session)
            else [*_NUMBERED.findall(session), *_RUN_NUMBER.findall(session)]
        )
        yield from map(str.lower, words)
    ref = _REF.search(run.identity.subject) if run.identity else None
    if ref and ref["kind"] == "pull":
        number = ref["name"].partition("/")[0]
        yield from (
            number,
            *(f"{word}{sign}{number}" for word in ("pr", "pull") for sign in ("", "-", "_")),
        )
    elif ref:
        yield from forms_of_branch(ref["name"])


_LEAST_RUNS = 2
"""A resource that only one run created is no pattern."""


def _created_by_own_runs(
    usages: Sequence[Usage],
    reviewed: Collection[str] | None,
    makers_of_ids: Mapping[tuple[str, str], set[str]],
) -> Callable[[Usage], bool]:
    """Returns a test of whether the principal's runs may have created the resource of a usage.

    They may if the first run that used the resource also created a resource of its type
    successfully, or if the response of a creating call contains its id. At least two of the
    `reviewed` runs (None: all) must have created such resources, and a resource that all of these
    runs used is not newly created. One run is enough where it alone used the resource whose id its
    call returned, or where any run deleted it: the next run has another one.
    """
    made = _creating_runs(usages, reviewed)
    services = {service for service, _ in (*made, *makers_of_ids)}
    used = _using_runs(
        usage for usage in usages if service_of(usage.need.permission.resource) in services
    )
    needed = {(usage.need.permission.action, usage.need.permission.resource) for usage in usages}
    deleted = {
        arn
        for action, arn in needed
        if any(ends(action, kind) for kind in types_of_arn(service_of(arn), arn))
    }

    def is_made(usage: Usage) -> bool:
        resource = usage.need.permission.resource
        if resource not in used:
            return False
        prefix, (first, runs) = service_of(resource), used[resource]
        texts = variables_of_arn(prefix, resource) if makers_of_ids else ()
        makers_of_it = [
            makers_of_ids[prefix, text] for _, text in texts if (prefix, text) in makers_of_ids
        ]
        kinds = types_of_arn(prefix, resource)
        if makers_of_it and (
            resource in deleted or any({*usage.runs} <= makers for makers in makers_of_it)
        ):
            return True
        of_kinds = (made.get((prefix, kind), set()) for kind in kinds)
        return any(
            (first in own or makers_of_it) and len(own) >= _LEAST_RUNS and not own <= runs
            for own in of_kinds
        )

    return is_made


def _makers_of_ids(
    usages: Iterable[Usage], reviewed: Collection[str] | None
) -> dict[tuple[str, str], set[str]]:
    """(IAM prefix, id that AWS chose in the response of a creating call) -> runs that made the
    call.
    """
    found: dict[tuple[str, str], set[str]] = {}
    for usage in usages:
        for new in usage.made if reviewed is None or set(usage.runs) <= {*reviewed} else ():
            found.setdefault((usage.need.permission.action.partition(":")[0], new), set()).update(
                usage.runs
            )
    return found


def creating_usages(usages: Sequence[Usage], wanted: Iterable[Usage]) -> list[Usage]:
    """Returns the usages that created resources of the types that `wanted` is about."""
    arns = {usage.need.permission.resource for usage in wanted}
    kinds = {(service_of(arn), kind) for arn in arns for kind in types_of_arn(service_of(arn), arn)}
    return [usage for usage in usages if not kinds.isdisjoint(_types_created(usage))]


def _creating_runs(
    usages: Iterable[Usage], reviewed: Collection[str] | None
) -> Mapping[tuple[str, str], set[str]]:
    """(IAM prefix, resource type) -> runs that created such a resource."""
    made: dict[tuple[str, str], set[str]] = {}
    for usage in usages:
        for kind in _types_created(usage):
            runs = (
                usage.runs if reviewed is None else (run for run in usage.runs if run in reviewed)
            )
            made.setdefault(kind, set()).update(runs)
    return made


def _types_created(usage: Usage) -> set[tuple[str, str]]:
    """(IAM prefix, resource type) of the resources that the calls of a usage created."""
    if usage.outcome is not Outcome.ALLOWED or not usage.succeeded:
        return set()
    prefix = usage.need.permission.action.partition(":")[0]
    return {
        (prefix, kind)
        for event in usage.events
        for kind in created_types(prefix, event.rpartition(":")[2])
    }


def _using_runs(usages: Iterable[Usage]) -> Mapping[str, tuple[str, set[str]]]:
    """Resource -> the first run that used it, and all runs that did."""
    used: dict[str, tuple[str, set[str]]] = {}
    for usage in sorted(
        (usage for usage in usages if usage.runs), key=lambda usage: usage.first_seen
    ):
        used.setdefault(usage.need.permission.resource, (usage.runs[0], set()))[1].update(
            usage.runs
        )
    return used


_LEAST_MEMBERS = 2
"""An action on the objects of one bucket only may be specific to that bucket."""


class CreatedResources(Struct, frozen=True):
    """The resources that the runs of one principal created."""

    is_created: Callable[[Usage], bool]
    families: Mapping[str, NamePattern]
    """Resource -> the name pattern that it belongs to."""
    objects: Mapping[tuple[str, str], Mapping[str, frozenset[str]]]
    """(name pattern of buckets, key with wildcards for its volatile parts) -> bucket, oldest first
    -> objects.
    """
    new_ids: frozenset[tuple[str, str]] = frozenset()
    """(IAM prefix, id) of what the runs created."""

    def observe(self, usage: Usage, resource: str) -> ObservedResource:
        """Describes a resource of a usage for `patterns_of`."""
        made = self.is_created(usage)
        prefix = service_of(resource)
        parts = variables_of_arn(prefix, resource) if made else ()
        ids = dict.fromkeys([text for _, text in parts if (prefix, text) in self.new_ids])
        return ObservedResource(
            resource, usage.runs, made, family_of(resource, self.families), tuple(ids)
        )

    def seen(self, usages: Iterable[Usage]) -> list[ObservedResource]:
        """Describes the resources of usages for `patterns_of`."""
        return [self.observe(usage, usage.need.permission.resource) for usage in usages]

    def objects_of_next_buckets(
        self, seen: Iterable[ObservedResource]
    ) -> Iterator[tuple[ObservedResource, str]]:
        """Yields objects in buckets whose next copy has another word or a drawn end, each with the
        pattern of these.

        An ARN of an object does not show whose bucket it is, so the pattern needs the condition of
        the account.
        """
        for each in seen:
            bucket, slash, _ = each.resource.partition("/")
            family = self.families.get(bucket) if slash and ":s3:::" in bucket else None
            if family and family.opening.reason in CERTAIN:
                own = self.families.get(each.resource)
                yield (
                    each,
                    f"{family.pattern}/{(own.pattern if own else each.resource).partition('/')[2]}",
                )

    def expected_objects(self, seen: Iterable[ObservedResource]) -> Iterator[ObservedResource]:
        """Yields objects of the newest bucket of a name pattern, for actions observed on such
        objects of older buckets.

        They get the runs that used them in the latest of these buckets, so a wildcard covers the
        same folders.
        """
        used: dict[tuple[str, str], dict[str, set[str]]] = {}
        for each in seen:
            bucket = bucket_of(each.resource)
            family = self.families.get(bucket)
            if family:
                place = (family.pattern, _generalized_key(each.resource))
                used.setdefault(place, {}).setdefault(bucket, set()).update(each.runs)
        for place, buckets in used.items():
            known = self.objects.get(place, {})
            newest = next(iter([*known][-1:]), "")
            if len(buckets) >= _LEAST_MEMBERS and newest not in buckets:
                runs = next(
                    (
                        tuple(sorted(buckets[bucket]))
                        for bucket in reversed([*known])
                        if bucket in buckets
                    ),
                    (),
                )
                for resource in sorted(known.get(newest, ())):
                    yield ObservedResource(
                        resource,
                        runs,
                        family=NamePattern(resource, WildcardPart("BucketName", NAMED_ANEW)),
                    )


def find_created_resources(
    usages: Iterable[Usage],
    naming: Iterable[Usage] | None = None,
    reviewed: Collection[str] | None = None,
    runs: Iterable[Run] = (),
) -> CreatedResources:
    """Finds the resources that the principal of these usages creates.

    Args:
        usages: all usages of the principal.
        naming: the usages that name patterns are learned from; None: all.
        reviewed: ids of the runs that ids of created resources are learned from; None: all.
        runs: runs whose own words are open in the names of what they created.
    """
    known = tuple(usages)
    teachers = known if naming is None else tuple(naming)
    creations = tuple(_creations(teachers))
    by_action: dict[str, list[ObservedResource]] = {}
    for usage in creations:
        permission = usage.need.permission
        by_action.setdefault(permission.action, []).append(
            ObservedResource(permission.resource, usage.runs)
        )
    by_stacks = {
        each.need.permission.resource for each in creations if STACK_SERVICE in each.forwarded_by
    }
    allowed = [each for each in teachers if each.outcome is Outcome.ALLOWED and each.succeeded]
    objects = (each for each in allowed if is_object(each.need.permission.resource))
    of_runs = words_of_runs(runs, known)
    short_lived = _words_of_short_lived(creations, teachers)
    own_words = {
        run: of_runs.get(run, frozenset()) | short_lived.get(run, frozenset())
        for run in {*of_runs, *short_lived}
    }
    # No other name has a long word by chance: it is open in all names that the run used, also of a
    # stack.
    long_words = {
        run: frozenset(each for each in own if len(each) >= _LEAST_WORD)
        for run, own in own_words.items()
    }
    # What two runs made under one name was not drawn for either.
    once = (each.need.permission.resource for each in creations if len(each.runs) < _LEAST_RUNS)
    generated = generated_families(once, by_stacks)
    learned = {
        resource: family
        for made in by_action.values()
        for resource, family in families_of(made).items()
    }
    named = {
        **_with_own_words(allowed, long_words, generated),
        **_with_own_words([*creations, *objects], own_words, generated),
    }
    families = {
        **learned,
        **generated,
        **_of_copies(creations, teachers, generated),
        **named,
        **_of_pull_requests(named, {family.pattern for family in learned.values()}),
    }
    age = {
        each.need.permission.resource: each.last_seen
        for each in sorted(creations, key=lambda each: each.last_seen)
    }
    makers = _makers_of_ids(known, reviewed)
    return CreatedResources(
        _created_by_own_runs(known, reviewed, makers),
        families,
        _objects_by_bucket(teachers, families, list(age)),
        frozenset(makers),
    )


def _of_copies(
    creations: Sequence[Usage], usages: Sequence[Usage], generated: Mapping[str, NamePattern]
) -> Mapping[str, NamePattern]:
    """Resource -> name pattern of the copies of its app; an object is created by any call that
    writes it.
    """
    on_objects = [each for each in usages if is_object(each.need.permission.resource)]
    writes = (
        each
        for each in on_objects
        if not any(test(each.need.permission.action) for test in (is_read, deletes))
    )
    creations = [*creations, *writes]
    names: dict[str, str] = {}
    used: dict[str, set[str]] = {}
    created: dict[str, frozenset[str]] = {}
    for usage in (*creations, *usages) if creations else ():
        resource = usage.need.permission.resource
        if usage.outcome is Outcome.ALLOWED and usage.succeeded:
            names.setdefault(resource, _opened(resource, generated))
            used.setdefault(names[resource], set()).update(usage.runs)
    for usage in creations:
        if name := names.get(usage.need.permission.resource):
            created[name] = created.get(name, frozenset()) | {*usage.runs}
    patterns = copies_of(created, used) if created else {}
    made = {
        patterns[name] for name in used if name in patterns and (name in created or is_object(name))
    }
    return {
        resource: NamePattern(
            patterns[name], WildcardPart("name", COPY if patterns[name] in made else USED_COPY)
        )
        for resource, name in names.items()
        if name in patterns
    }


_LEAST_WORD = 5
_LEAST_SHORT_LIVED = 3
"""Resources that one run created and deleted, with one word in their names."""


def _words_of_short_lived(
    creations: Sequence[Usage], usages: Iterable[Usage]
) -> Mapping[str, frozenset[str]]:
    """Run -> words with a digit in the names of several resources that this run created and deleted
    again.
    """
    created = {(run, usage.need.permission.resource) for usage in creations for run in usage.runs}
    found: dict[str, dict[str, set[str]]] = {}
    for usage in usages:
        resource = usage.need.permission.resource
        for run in usage.runs if deletes(usage.need.permission.action) and usage.succeeded else ():
            if (run, resource) in created:
                for word in numbered_words(resource):
                    found.setdefault(run, {}).setdefault(word, set()).add(resource)
    return {
        run: frozenset(word for word, names in words.items() if len(names) >= _LEAST_SHORT_LIVED)
        for run, words in found.items()
    }


def _with_own_words(
    usages: Iterable[Usage],
    words: Mapping[str, frozenset[str]],
    generated: Mapping[str, NamePattern],
) -> Mapping[str, NamePattern]:
    """Resource -> its name with the words of the runs that created it open; the bucket of an object
    remains literal.
    """
    found: dict[str, NamePattern] = {}
    for usage in usages if words else ():
        resource = usage.need.permission.resource
        name = _opened(resource, generated)
        pattern = pattern_of_words(
            name, frozenset(word for run in usage.runs for word in words.get(run, ()))
        )
        if pattern != name:
            found[resource] = NamePattern(pattern, WildcardPart("name", OWN_WORD))
    return found


def _opened(resource: str, generated: Mapping[str, NamePattern]) -> str:
    """The resource with the ends open that AWS or a tool drew."""
    drawn = family_of(resource, generated)
    return drawn.pattern if drawn else open_parts(resource, made=False)[0]


def _of_pull_requests(
    named: Mapping[str, NamePattern], learned: Collection[str]
) -> Mapping[str, NamePattern]:
    """Resource -> its name with only the number open, where all that the runs created so are of
    pull requests.
    """
    numbers = (
        (resource, _PULL.sub(r"\1*", open_parts(resource, made=False)[0])) for resource in named
    )
    return {
        resource: NamePattern(pattern, named[resource].opening)
        for resource, pattern in numbers
        if pattern in learned
    }


def _creations(usages: Iterable[Usage]) -> Iterator[Usage]:
    """Yields the usages that created a resource that they name."""
    for usage in usages:
        created = _types_created(usage)
        resource = usage.need.permission.resource
        prefix = usage.need.permission.action.partition(":")[0]
        if created and not created.isdisjoint(
            [(prefix, kind) for kind in types_of_arn(prefix, resource)]
        ):
            is_named = usage.need.derivation in (IN_PART, IN_RESPONSE) and is_named_but_ids(
                resource
            )
            if usage.need.exact or is_named or is_open_anyway(resource):
                yield usage


def _objects_by_bucket(
    usages: Iterable[Usage], families: Mapping[str, NamePattern], buckets: list[str]
) -> Mapping[tuple[str, str], Mapping[str, frozenset[str]]]:
    found: dict[tuple[str, str], dict[str, set[str]]] = {}
    for usage in usages:
        resource = usage.need.permission.resource
        bucket = bucket_of(resource)
        family = families.get(bucket)
        if family and bucket != resource and usage.outcome is Outcome.ALLOWED and usage.need.exact:
            found.setdefault((family.pattern, _generalized_key(resource)), {}).setdefault(
                bucket, set()
            ).add(resource)
    return {
        place: {bucket: frozenset(held[bucket]) for bucket in buckets if bucket in held}
        for place, held in found.items()
    }


def _generalized_key(resource: str) -> str:
    return open_parts(resource, made=False)[0].partition("/")[2]
