"""Judges whether patterns of used resources cover the resources of later runs.

Each pattern needs as many runs as a removal, and the patterns of the earlier half of the runs cover
the later half. Where names change too much for that, the common beginning of all names is tried: a
renamed app keeps it (`shop-*`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, pairwise

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.models import Usage, grouped
from leastpriv.permissions.generalize import (
    ObservedResource,
    Pattern,
    across_regions,
    patterns_of,
)
from leastpriv.permissions.names.app_names import AppNames
from leastpriv.permissions.names.writer import write_resources
from leastpriv.permissions.patterns import resource_covers, without_covered
from leastpriv.permissions.resource_types import ArnPart, fits, shape_overlaps, types_of_arn
from leastpriv.permissions.service_facts import rules_of
from leastpriv.permissions.volatility import (
    WildcardPart,
    common_ends,
    in_region,
    is_kept,
    is_whole_type,
    literal_letters,
    parts_of,
    region_of,
    service_of,
    without_shared_prefix,
)
from leastpriv.proposal.models import GuardContext, GuardResult

UNSTABLE = ("few-runs", "new-resources")
"""Guards of names that later runs may well not use."""
_MADE_AGAIN = 2
"""Runs that made a resource under one name show that the name does not change."""
_MOST_APPS = 5
"""Names with more beginnings than these have nothing in common."""
_LEAST_LITERAL = 3
"""Letters and digits of the common beginning."""
_BUCKETS = "arn:aws:s3:::"
_COMMON = "all names of this type that the runs used begin so"
_SEPARATOR = re.compile(r"[-_./:]")
_NUMBERS_AT_END = re.compile(r"(?<=[-_./:])(?:\d{1,4}[-_./:])+$")
"""A year or the number of a release at the end of a common beginning: the next name has another."""
_Patterns = Callable[[Sequence[ObservedResource]], tuple[Pattern, ...]]


class Judgement(Struct, frozen=True):
    """Patterns of resources, and why a later run may well use another resource."""

    patterns: tuple[Pattern, ...]
    doubt: GuardResult | None


class _NamesOfApp(Struct, frozen=True):
    """What the ARNs of one type have in common whose names begin with the same word."""

    head: str
    """All in front of the name."""
    variable: str
    """The part of the ARN's template that the name fills."""
    shape: str
    """The further parts, and the text between them."""
    word: str
    """The first word of the names."""


class Stability(Struct, frozen=True):
    """What shows that a later run uses no other resource than the patterns of one action cover."""

    context: GuardContext
    shown: Sequence[ObservedResource]
    """The uses that count the runs."""
    makers: Mapping[str, int] | None
    """Of an action that makes its resource: resource, in any region, -> number of runs that made
    it; else None.
    """
    names: Mapping[str, Mapping[str, Collection[str]]]
    """`names_by_word` of all services: an app's names begin alike in each."""
    app: AppNames
    """The names of the app, in all copies of which a used name is granted."""
    action: str
    escapes: bool
    """Whether the policy's version supports names with `*`, `?` or `$`."""

    def judge(self, found: Sequence[ObservedResource]) -> Judgement:
        """Returns the patterns of these resources, and why a later run may well use another one."""
        return self._judge(found, _exact if self.context.options.exact_resources else self._written)

    def _written(self, found: Sequence[ObservedResource]) -> tuple[Pattern, ...]:
        """The patterns of an action: by the names of the app, else by the look of a name."""
        return write_resources(self.action, found, self.app)

    def judge_common_names(self, found: Sequence[ObservedResource]) -> Judgement | None:
        """Returns the common beginnings of the names, where these cover what later runs used; else
        None.
        """
        if self.context.options.exact_resources:
            return None
        for has_end in (True, False):
            judgement = self._judge(
                found, partial(across_regions, make=partial(self._common, has_end))
            )
            if judgement.patterns and not judgement.doubt:
                return judgement
        return None

    def _judge(self, found: Sequence[ObservedResource], make: _Patterns) -> Judgement:
        patterns = in_whole_types(make(found))
        doubt = self._too_few(patterns) or self._new_in_later_half(found, make)
        return Judgement(patterns, doubt)

    def _too_few(self, patterns: Sequence[Pattern]) -> GuardResult | None:
        """Returns the guard for a pattern that fewer runs than `minimum-runs` used, or whose
        resource too few made; None if all have enough.
        """
        if not self.escapes and any("${" in pattern.pattern for pattern in patterns):
            reason = "its name has `*`, `?` or `$`, which only Version 2012-10-17 can write"
            return GuardResult("policy-version", reason)
        proved = any(self._runs_of(pattern) for pattern in patterns)
        for pattern in patterns:
            if is_whole_type(pattern.pattern) or not pattern.covers:
                continue
            if proved and self._is_of_uncounted(pattern):
                # What only unreviewed runs used proves nothing; next to proved names it is written.
                continue
            doubt = self._too_few_for(pattern)
            if doubt:
                return doubt
        return None

    def _too_few_for(self, pattern: Pattern) -> GuardResult | None:
        """Returns the guard for one pattern; None if enough runs used or made what it covers."""
        if not pattern.openings and self._is_made_once(pattern):
            return GuardResult(
                "makes-new",
                "it creates resources, and a later run may choose another name than"
                f" {pattern.pattern}, which fewer than {_MADE_AGAIN} runs are known to have"
                " created",
            )
        runs = len(self._runs_of(pattern))
        minimum = self.context.options.minimum_runs
        if runs < minimum:
            return GuardResult("few-runs", f"{runs} of {minimum} runs used it on {pattern.pattern}")
        return None

    def _is_made_once(self, pattern: Pattern) -> bool:
        """Whether too few runs made the resource, or the same one in another copy of the app."""
        if self.makers is None:
            return False
        runs = self.makers.get(in_region(pattern.pattern, "*"), 0)
        shapes = {self.app.shape_of(covered) for covered in pattern.covers} - {None}
        for resource in self.shown if shapes else ():
            if (
                resource.resource not in pattern.covers
                and self.app.shape_of(resource.resource) in shapes
            ):
                runs += self.makers.get(in_region(resource.resource, "*"), 0)
        return runs < _MADE_AGAIN

    def _is_of_uncounted(self, pattern: Pattern) -> bool:
        """Whether only runs that count for no threshold used what a pattern covers."""
        return not self._runs_of(pattern) and bool(self._every_run_of(pattern))

    def _runs_of(self, pattern: Pattern) -> set[str]:
        """The runs of `_every_run_of` that count."""
        return self._every_run_of(pattern) - self.context.uncounted_runs

    def _every_run_of(self, pattern: Pattern) -> set[str]:
        """The runs that used what a pattern covers, or a part of it, in any region or service
        of the same name.
        """
        any_region = in_region(pattern.pattern, "*")
        copies = {self.app.shape_of(covered) for covered in pattern.covers} - {None}
        runs: set[str] = set()
        for resource in self.shown:
            is_covered = any(
                resource_covers(wide_pattern, resource.resource)
                for wide_pattern in (any_region, f"{any_region}/*")
            )
            if is_covered or self.app.shape_of(resource.resource) in copies:
                runs.update(resource.runs)
        if any(opening.reason == _COMMON for opening in pattern.openings):
            begin = _name(pattern.pattern).partition("*")[0]
            runs_by_name = self.names.get(_first_word(begin), {})
            runs.update(
                run
                for name, name_runs in runs_by_name.items()
                if name.startswith(begin)
                for run in name_runs
            )
        return runs

    def _new_in_later_half(
        self, found: Sequence[ObservedResource], make: _Patterns
    ) -> GuardResult | None:
        """Returns the guard for a resource of the later half of the runs that the patterns of the
        earlier half do not cover; None without one.

        Where runs 1 and 2 used the queue `jobs`, and run 4 alone `jobs-new`, the latter is new.
        """
        runs = {*chain.from_iterable(each.runs for each in found)} - self.context.uncounted_runs
        runs_in_order = [run.id for run in self.context.evidence.runs if run.id in runs]
        earlier_runs = {*runs_in_order[: (len(runs_in_order) + 1) // 2]}
        earlier: list[ObservedResource] = []
        for each in found:
            own = tuple(run for run in each.runs if run in earlier_runs)
            if own:
                # The family was made of all runs: only the later ones may show that names change.
                earlier.append(replace(each, runs=own, family=""))
        patterns = {in_region(pattern.pattern, "*") for pattern in make(earlier)}
        for each in found:
            if runs.isdisjoint(each.runs):
                continue
            is_new = not any(resource_covers(pattern, each.resource) for pattern in patterns)
            if is_new and not is_whole_type(each.resource):
                return GuardResult(
                    "new-resources", f"only the later half of the runs used it on {each.resource}"
                )
        return None

    def _common(self, has_end: bool, found: Sequence[ObservedResource]) -> tuple[Pattern, ...]:
        """One pattern for each type and app, by the common beginning of its names; none where one
        is too short.
        """
        groups: dict[_NamesOfApp, list[ObservedResource]] = {}
        with_ids: list[ObservedResource] = []
        nameless: list[ObservedResource] = []
        for each in found:
            parts = parts_of(service_of(each.resource), each.resource)
            if not parts:
                # The account has one such resource, as Glue's catalog.
                nameless.append(each)
            elif _begins_with_id(each.resource, parts[0]):
                with_ids.append(each)
            else:
                groups.setdefault(_names_of_app(each.resource, parts), []).append(each)
        if len(groups) > _MOST_APPS:
            return ()
        patterns = [*patterns_of(with_ids), *_exact(nameless)]
        using = {run for each in found for run in each.runs}
        for app, group in groups.items():
            pattern = self._of_app(app, group, using, has_end=has_end)
            if pattern is None:
                return ()
            patterns.append(pattern)
        return tuple(sorted(patterns, key=lambda pattern: pattern.pattern))

    def _of_app(
        self,
        app: _NamesOfApp,
        group: Sequence[ObservedResource],
        using: Collection[str],
        *,
        has_end: bool,
    ) -> Pattern | None:
        """Returns the pattern of the names of one app; None where their beginning is too short."""
        names = sorted({member.resource[len(app.head) :] for member in group})
        arns = tuple(app.head + name for name in names)
        if len(names) > 1:
            open_name = _opened(names, has_end)
        else:
            runs = {run for member in group for run in member.runs}
            if len(runs) >= self.context.options.minimum_runs:
                return Pattern(arns[0], arns, ())
            open_name = _opened([*names, *self._alike(names[0], app.word, using)], False)
        if literal_letters(open_name.removesuffix(":*")) < _LEAST_LITERAL:
            return None
        return Pattern(app.head + open_name, arns, (WildcardPart(app.variable, _COMMON),))

    def _alike(self, name: str, word: str, using: Collection[str]) -> Iterator[str]:
        """Yields the names that begin like a name, with the same separator behind the word: names
        of Glue have `_` for `-`.
        """
        begin = name[: name.find(word) + len(word) + 1]
        for other_name, runs in self.names.get(word, {}).items():
            if other_name.startswith(begin) and any(run in using for run in runs):
                yield other_name


def _begins_with_id(resource: str, part: ArnPart) -> bool:
    """Whether the name of a resource begins with a value that AWS chose; a bucket's is a name."""
    is_id = is_kept(resource, part.variable, resource[part.start : part.end])
    return is_id and resource[: part.start] != _BUCKETS


def _names_of_app(resource: str, parts: Sequence[ArnPart]) -> _NamesOfApp:
    """Returns the names that a resource's belongs to."""
    between = (resource[part.end : next_part.start] for part, next_part in pairwise(parts))
    return _NamesOfApp(
        head=resource[: parts[0].start],
        variable=parts[0].variable,
        shape="/".join((*(part.variable for part in parts), *between)),
        word=_first_word(resource[parts[0].start :]),
    )


def in_whole_types(patterns: Sequence[Pattern]) -> tuple[Pattern, ...]:
    """Folds each id into the pattern of every resource of its type, where there is one: no grant
    depends on it.
    """
    covers_by_type = {
        pattern.pattern: {*pattern.covers} for pattern in patterns if is_whole_type(pattern.pattern)
    }
    if not covers_by_type:
        return tuple(patterns)
    folded = set[str]()
    for pattern in patterns:
        whole_type = next(
            (
                name
                for name in covers_by_type
                if name != pattern.pattern and resource_covers(name, pattern.pattern)
            ),
            None,
        )
        if whole_type:
            covers_by_type[whole_type].update(pattern.covers)
            folded.add(pattern.pattern)
    return tuple(
        replace(pattern, covers=tuple(sorted(covers_by_type[pattern.pattern])))
        if pattern.pattern in covers_by_type
        else pattern
        for pattern in patterns
        if pattern.pattern not in folded
    )


def names_by_word(usages: Iterable[Usage]) -> Mapping[str, Mapping[str, Collection[str]]]:
    """First word of a name -> the names that begin with it, of all services -> the runs that used
    them.
    """
    runs_by_word: dict[str, dict[str, set[str]]] = {}
    for usage in usages:
        name = _name(usage.resource)
        runs_by_word.setdefault(_first_word(name), {}).setdefault(name, set()).update(usage.runs)
    return runs_by_word


def in_regions_in_use(
    patterns: Sequence[Pattern], of_type: Iterable[ObservedResource]
) -> tuple[Pattern, ...]:
    """Writes each pattern for all regions in which any action used what it covers: the next deploy
    there updates it.
    """
    resources_by_region = grouped(
        [(region_of(resource.resource), resource.resource) for resource in of_type]
    )
    resources_by_region.pop("", None)
    pattern_by_text = {pattern.pattern: pattern for pattern in patterns}
    if len(resources_by_region) <= 1:
        resources_by_region = {}
    for pattern in patterns:
        for region, resources in resources_by_region.items():
            regional = in_region(pattern.pattern, region)
            is_used = any(resource_covers(regional, resource) for resource in resources)
            if is_used and regional not in pattern_by_text:
                pattern_by_text[regional] = replace(pattern, pattern=regional, covers=())
    return tuple(pattern_by_text[name] for name in sorted(without_covered(pattern_by_text)))


def _first_word(name: str) -> str:
    return next(filter(None, _SEPARATOR.split(without_shared_prefix(name))), "")


def _name(resource: str) -> str:
    """What an ARN has behind its resource type and behind a beginning that all teams share."""
    parts = parts_of(service_of(resource), resource)
    return without_shared_prefix(
        resource[parts[0].start :] if parts else resource.rpartition(":")[2]
    )


def _exact(found: Sequence[ObservedResource]) -> tuple[Pattern, ...]:
    return tuple(
        Pattern(resource, (resource,), ())
        for resource in sorted({resource.resource for resource in found})
    )


def _opened(names: Sequence[str], has_end: bool) -> str:
    """The common beginning, and end, of several names up to a separator; `/` where all names have
    one.
    """
    begin, end = common_ends(list(names))
    cut = max((match.end() for match in _SEPARATOR.finditer(begin)), default=0)
    begin = _NUMBERS_AT_END.sub("", begin[:cut])
    last = _SEPARATOR.search(end) if has_end else None
    if last:
        end = end[last.start() :]
    else:
        end = ":*" if end.endswith(":*") else ""
    is_path = "/" not in begin + end and all("/" in name for name in names)
    return f"{begin}*/*" if is_path else f"{begin}*{end}"


def with_items(action: str, resource: str) -> tuple[str, ...]:
    """Returns where a life-cycle action applies to what a call made: the resource, or the items of
    a collection.

    `/apis/ID/routes/*` of `/apis/ID/routes`. Nothing for `/apis`: all APIs of the account are below
    it.
    """
    path, below = resource.partition("::/")[2], f"{resource}/*"
    names = (
        {f"{kind}s" for kind in types_of_arn("apigateway", below)} if "/" in path else frozenset()
    )
    is_collection = not names.isdisjoint(types_of_arn("apigateway", resource))
    arns_of_depth = (arn for arn in rules_of(action).arns if arn.count("/") == resource.count("/"))
    if is_collection and not any(shape_overlaps(arn, resource) for arn in arns_of_depth):
        return (below,) if fits(action, below) else ()
    return (resource,) if fits(action, resource) else ()


def where_applied(action: str, known: Iterable[Sequence[Pattern] | None]) -> list[Pattern]:
    """The patterns of what the runs used on which another action applies too."""
    patterns_in_use = (
        pattern for patterns in known for pattern in patterns or () if pattern.covers
    )
    return [
        replace(pattern, pattern=name)
        for pattern in patterns_in_use
        for name in with_items(action, pattern.pattern)
    ]
