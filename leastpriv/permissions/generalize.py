"""Opens the parts of observed resources that change from run to run: `resources: pattern`.

Three steps, each remembered by the pattern it makes: parts that are known to be volatile
(`volatility.py`), names whose end a tool drew (`family_of`), objects of one folder of a bucket.
What each run names in another way is read by the names of the app (`names/run_slots.py`). The
floor: an ARN's partition, service, region and account remain literal, and a pattern is every
resource of a type only where the role's own runs make such, whose id AWS chooses.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache, partial

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.permissions.catalog import is_read
from leastpriv.permissions.patterns import resource_covers
from leastpriv.permissions.volatility import (
    MADE,
    OpenedResource,
    WildcardPart,
    generated_name,
    in_region,
    literal_letters,
    open_parts,
    parts_of,
    region_of,
    service_of,
    with_open_end,
)

_MOST_SIBLINGS = 5
"""More objects than this in one folder are opened to the folder."""
_MOST_OF_ONE_RUN = 50
"""And more than this where a single run used them all: it may use the same ones next time."""
_LEAST_RUNS = 3
"""Runs that made such resources, deleted names or used further objects: fewer prove no pattern."""
_LEAST_LITERAL = 3
"""Letters and digits that remain literal in a part with a wildcard, for an action that reads."""
_LEAST_LITERAL_OF_WRITES = 4
_LEAST_LITERAL_OF_DELETIONS = 5
_DELETION = re.compile(
    r"[^:]+:(?:DELETE$|ScheduleKeyDeletion$|(?:Admin|Batch|ESHttp|PartiQL|Schedule)?"
    r"(?:Delete?|Remove|Terminate|Purge|Deregister|Destroy|Release))"
)
GENERATED = "the deploying tool draws this end for each resource"
_OF_OWN_RUNS = frozenset({GENERATED, MADE})
_BUCKET = re.compile(r"arn:[^:]+:s3:::[^/*?]+")


class Certainty(StrEnum):
    """How well the evidence shows a written resource."""

    WHOLE = "whole"
    OVER_COPIES = "pattern over copies"
    """The names of further copies and runs are open."""
    PATH_UNKNOWN = "path unknown"
    INFERRED = "inferred"
    """A call implies the permission, and its record names the resource."""
    FROM_ANSWER = "from the answer"
    """The answer of a call names it, not the request."""
    IN_PART = "known in part"
    """Records show its type, or a part of its name."""
    BOUNDED = "bounded by what the role touches"
    """No record shows the use."""


class ObservedResource(Struct, frozen=True):
    """A resource as the evidence shows it, observed names escaped."""

    resource: str
    runs: tuple[str, ...] = ()
    """Ids of the runs that used it."""
    made: bool = False
    """The same principal's runs create such resources, and may have created this one."""
    family: str = ""
    """Its name with the end open that a tool drew for it; also sensitive actions are granted on it,
    since a stack that is made again has no permission without.
    """
    ids: tuple[str, ...] = ()
    """The ids in it that AWS chose when one of these runs made it."""
    certainty: Certainty = Certainty.WHOLE


class Pattern(Struct, frozen=True):
    """A resource as it is written, and what it covers."""

    pattern: str
    covers: tuple[str, ...]
    """The observed resources, sorted."""
    openings: tuple[WildcardPart, ...]
    """Which parts are open, and why; empty where nothing is."""
    certainty: Certainty = Certainty.WHOLE


def deletes(action: str) -> bool:
    """Whether an action deletes resources."""
    return _DELETION.match(action) is not None


@lru_cache(maxsize=4_096)
def ends(action: str, kind: str) -> bool:
    """Whether an action deletes a resource of a type, in lower case, and not a part of it
    (`DeleteRoute`).
    """
    noun = _DELETION.sub("", action).lower().removesuffix("s")
    return noun in ("", re.sub("[^a-z0-9]", "", kind).removesuffix("s"))


def least_literal(action: str) -> int:
    """Letters and digits that remain literal in a name with a wildcard: most for an action that
    deletes.
    """
    if deletes(action):
        return _LEAST_LITERAL_OF_DELETIONS
    return _LEAST_LITERAL if is_read(action) else _LEAST_LITERAL_OF_WRITES


def patterns_of(
    observed_resources: Sequence[ObservedResource],
    least_letters: int = _LEAST_LITERAL,
    *,
    is_sensitive: bool = False,
) -> tuple[Pattern, ...]:
    """Patterns that cover all that was seen, sorted by pattern; each with what it covers and why it
    is open.

    Args:
        observed_resources: a name that is open in one region is open in all regions that were
            used.
        least_letters: letters and digits of a name that remain literal (`least_literal`).
        is_sensitive: open only what the tool or the run wrote into the names of resources that the
            runs created, and the ids that AWS gave what several runs created.
    """
    return across_regions(
        observed_resources, partial(_patterns_of_region, least_letters, is_sensitive)
    )


def across_regions(
    observed_resources: Sequence[ObservedResource],
    make: Callable[[Sequence[ObservedResource]], Iterable[Pattern]],
) -> tuple[Pattern, ...]:
    """Makes patterns of resources as if all were in one region, and writes each for the regions in
    which it was used.

    An app that is deployed to a second region has the same names there.
    """
    region_counts = Counter(
        region
        for seen_resource in observed_resources
        if (region := region_of(seen_resource.resource))
    )
    if len(region_counts) < 2:
        return tuple(make(observed_resources))
    main = region_counts.most_common(1)[0][0]
    merged: dict[str, ObservedResource] = {}
    originals: dict[str, dict[str, str]] = {}
    for observed in observed_resources:
        region, resource = region_of(observed.resource), in_region(observed.resource, main)
        family = in_region(observed.family, main)
        merged_resource = merged.get(resource, ObservedResource(resource))
        runs, is_made = (
            tuple(dict.fromkeys((*merged_resource.runs, *observed.runs))),
            merged_resource.made or observed.made,
        )
        merged[resource] = ObservedResource(
            resource=resource,
            runs=runs,
            made=is_made,
            family=merged_resource.family or family,
            ids=merged_resource.ids + observed.ids,
            certainty=observed.certainty,
        )
        originals.setdefault(resource, {})[region] = observed.resource
    patterns: list[Pattern] = []
    for pattern in make(tuple(merged.values())):
        originals_by_name: dict[str, list[str]] = {}
        for covered in pattern.covers:
            for region, original in originals[covered].items():
                name = in_region(pattern.pattern, region) if region else pattern.pattern
                originals_by_name.setdefault(name, []).append(original)
        patterns += [
            replace(pattern, pattern=name, covers=tuple(sorted(resources)))
            for name, resources in originals_by_name.items()
        ]
    return tuple(sorted(patterns, key=lambda each: each.pattern))


def _patterns_of_region(
    least_letters: int, is_sensitive: bool, observed_resources: Sequence[ObservedResource]
) -> Iterator[Pattern]:
    """Yields the patterns of resources of one region; resources that open to one text share it.

    Of a sensitive action only ids that its own runs made are open. Names whose end a tool drew are
    one where a creation shows that; many objects of one folder are its `folder/*`; and a pattern
    that another one covers is part of that.
    """
    groups: dict[str, _Group] = {}
    runs = {run for resource in observed_resources if resource.made for run in resource.runs}
    for observed in observed_resources:
        opened_resource = open_parts(observed.resource, observed.made, observed.ids)
        is_own_id = {opening.reason for opening in opened_resource.openings} == {MADE}
        if is_sensitive and not (is_own_id and len(runs) >= _LEAST_RUNS):
            opened_resource = OpenedResource(observed.resource)
        groups.setdefault(opened_resource.text, _Group()).add(observed, opened_resource.openings)
    if any(resource.family for resource in observed_resources):
        groups = _with_drawn_ends(groups, min(least_letters, _LEAST_LITERAL))
    if not is_sensitive and len(groups) > _MOST_SIBLINGS:
        groups = _folded(groups)
    if len(groups) > 1:
        groups = _swallowed(groups)
    for pattern, group in sorted(groups.items()):
        yield Pattern(pattern, tuple(sorted(group.resources)), tuple(dict.fromkeys(group.openings)))


def family_of(resource: str, families: Mapping[str, str]) -> str:
    """Returns the name of a resource with its drawn end open, also where its creation shows the
    name without the end that AWS adds to it; empty without one.
    """
    if not families:
        return ""
    return families.get(resource) or families.get(with_open_end(resource), "")


def generated_families(
    made_resources: Iterable[str], by_stacks: Collection[str]
) -> Mapping[str, str]:
    """Returns for resources that runs created their names with the end open that CloudFormation or
    Terraform drew.

    `by_stacks` are those that CloudFormation asked for: a bucket's name that a person ended in
    twelve letters (`data-1a2b3c4d5e6f`) says nothing of the next one. Of a bucket as many letters
    remain open.
    """
    families: dict[str, str] = {}
    for resource in made_resources:
        generated = generated_name(resource, resource in by_stacks)
        if generated == resource:
            continue
        if not _BUCKET.fullmatch(resource):
            generated = re.sub(r"(?<=20)\?{24}|(?<=-)\?{12,16}(?![?])", "*", generated)
        families[resource] = generated
    return families


class _Group(Struct):
    """What one pattern covers, while patterns are still being joined."""

    resources: set[str] = set()
    runs: set[str] = set()
    openings: list[WildcardPart] = []
    families: set[str] = set()

    def add(self, observed_resource: ObservedResource, openings: Iterable[WildcardPart]) -> None:
        self.resources.add(observed_resource.resource)
        self.runs.update(observed_resource.runs)
        self.openings.extend(openings)
        self.families.add(observed_resource.family)

    def may_swallow(self, pattern: str, other: _Group) -> bool:
        """Whether another group may be left out for this one's pattern; what runs created covers
        nothing else.
        """
        return pattern in self.resources or not self._is_made() or other._is_made()

    def _is_made(self) -> bool:
        return any(opening.reason in _OF_OWN_RUNS for opening in self.openings)

    def absorb(self, other: _Group, *openings: WildcardPart) -> None:
        self.resources |= other.resources
        self.runs |= other.runs
        self.families |= other.families
        self.openings += [*other.openings, *openings]


class _Wider(Struct, frozen=True):
    """A pattern that replaces a narrower one."""

    pattern: str
    opening: WildcardPart | None = None
    """What it opens; None where the wider pattern has its own reasons."""


def _join(groups: Mapping[str, _Group], replaced: Mapping[str, _Wider]) -> dict[str, _Group]:
    """The groups with some patterns replaced by wider ones."""
    joined: dict[str, _Group] = {}
    for pattern, group in groups.items():
        wider = replaced.get(pattern) or _Wider(pattern)
        openings = [wider.opening] if wider.opening else []
        joined.setdefault(wider.pattern, _Group()).absorb(group, *openings)
    return joined


def _with_drawn_ends(groups: Mapping[str, _Group], least_letters: int) -> dict[str, _Group]:
    """Opens the ends of names that a tool drew; so many letters of a name remain literal."""
    replaced: dict[str, _Wider] = {}
    for pattern, group in groups.items():
        if len(group.families) != 1:
            continue
        wider = next(iter(group.families))
        if wider and group.openings and not resource_covers(wider, pattern):
            wider = _covering(pattern, wider)
        if wider and literal_letters(wider.removesuffix(":*").rpartition(":")[2]) >= least_letters:
            is_bucket = ":s3:::" in wider and "/" not in wider
            part = "BucketName" if is_bucket else "name"
            replaced[pattern] = _Wider(wider, WildcardPart(part, GENERATED))
    return _join(groups, replaced)


def _folded(groups: Mapping[str, _Group]) -> dict[str, _Group]:
    """Opens a folder of a bucket of which many objects were seen; the whole bucket only where the
    runs differ.
    """
    folders: dict[str, list[str]] = {}
    for pattern in groups:
        folder, slash, _ = pattern.rpartition("/")
        if ":s3:::" in folder:
            folders.setdefault(folder + slash, []).append(pattern)
    replaced: dict[str, _Wider] = {}
    for folder, inside in folders.items():
        if _grows(folder, [groups[pattern].runs for pattern in inside]):
            opening = WildcardPart(
                "ObjectName", f"more than {_MOST_SIBLINGS} objects of this folder were used"
            )
            replaced |= dict.fromkeys(inside, _Wider(f"{folder}*", opening))
    return _join(groups, replaced)


def _grows(folder: str, runs: Sequence[set[str]]) -> bool:
    """Whether a folder's next object may be a new one: many were seen, and not all of them by the
    same single run.

    Of a whole bucket three runs have to show it, each with an object that it did not share with
    all.
    """
    if len(runs) <= _MOST_SIBLINGS:
        return False
    together = set().union(*runs)
    is_whole_bucket = "/" not in folder.partition(":::")[2].rstrip("/")
    if is_whole_bucket:
        with_own_objects = set().union(*(run for run in runs if run < together))
        return len(with_own_objects) >= _LEAST_RUNS
    return len(together) != 1 or len(runs) > _MOST_OF_ONE_RUN


def _swallowed(groups: Mapping[str, _Group]) -> dict[str, _Group]:
    """Leaves out patterns that another one covers, but no observed one for one of what runs
    created.
    """
    # What covers a pattern begins and ends as it does: most pairs need not be compared.
    ends: dict[tuple[str, str], list[str]] = {}
    for pattern in groups:
        if set(pattern) & set("*?"):
            literal = re.split(r"[*?]", pattern)
            ends.setdefault((literal[0], literal[-1]), []).append(pattern)
    lengths = sorted({(len(head), len(tail)) for head, tail in ends})
    covers: dict[str, str] = {}
    for pattern in groups:
        keys = (
            (pattern[:head], pattern[len(pattern) - tail :])
            for head, tail in lengths
            if head + tail <= len(pattern)
        )
        candidates = (
            candidate for key in keys for candidate in ends.get(key, ()) if candidate != pattern
        )
        fit = (
            candidate
            for candidate in candidates
            if groups[candidate].may_swallow(candidate, groups[pattern])
        )
        cover = next((candidate for candidate in fit if resource_covers(candidate, pattern)), None)
        if cover and not resource_covers(pattern, cover):
            covers[pattern] = cover
    replaced: dict[str, _Wider] = {}
    for pattern, cover in covers.items():
        while cover in covers:
            cover = covers[cover]
        replaced[pattern] = _Wider(cover)
    return _join(groups, replaced)


def _covering(pattern: str, other: str) -> str:
    """Returns what covers two patterns, part by part; empty where neither part covers the other."""
    parts = parts_of(service_of(pattern), pattern)
    other_parts = parts_of(service_of(other), other)
    if [part.variable for part in parts] != [part.variable for part in other_parts]:
        return ""
    covering = ""
    end = 0
    for part, other_part in zip(parts, other_parts, strict=True):
        wider_text = part.text if resource_covers(part.text, other_part.text) else other_part.text
        if not resource_covers(wider_text, part.text):
            return ""
        covering += pattern[end : part.start] + wider_text
        end = part.end
    return covering + pattern[end:]
