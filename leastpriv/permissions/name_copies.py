"""Finds the words by which copies of one app differ: `shop-prod-orders`, `shop-qa-orders`,
`shop-pr-31-orders`.

Two words name copies where runs created resources of three shapes under both: a queue, a table and
a role of `prod`, and the same of `qa`. One such resource proves nothing: `shop-orders` and
`shop-users` are two queues of one app. Words that a run wrote of itself (its branch, commit, pull
request or workspace) need no second copy.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import combinations

from leastpriv.permissions.patterns import resource_covers
from leastpriv.permissions.volatility import (
    common_ends,
    is_kept,
    literal_letters,
    parts_of,
    service_of,
)

_LEAST_SHAPES = 3
"""Resources that two copies share, but for the word."""
_LEAST_SHAPES_IF_CERTAIN = 2
"""The same where three copies share them, or all names that a run created have the word, and no
word is a number.
"""
_MOST_WORDS = 4
"""Words of a branch name: `feature-login-page-2`."""
_LEAST_TRUNCATED = 12
"""Letters of a branch's name that prove it although the rest is missing."""
_MOST_OBJECTS = 300
"""Objects that runs wrote, in which copies are looked for; more are written by folder."""
_MOST_COPIES = 20
"""Copies of one shape that are compared; further ones get its pattern without."""
LONG_LIVED = frozenset({
    "default", "dev", "develop", "development", "live", "main", "master", "prd", "prod",
    "production", "release",
    "stage", "staging", "trunk",
})  # fmt: skip
"""Branches and workspaces that every run has: their names do not change."""
_LEAST_LITERAL = 3
_LEAST_LITERAL_OF_SHORT = 2
_LEAST_SHAPES_OF_SHORT = 4
"""Letters that remain literal of a shortened name (`sf-login` of `storefront-login`), and resources
that prove the word.
"""
_LEAST_LITERAL_BEHIND = 6
"""Letters and digits that remain literal of a name that begins with the word of its copy."""
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_TOKEN = re.compile(r"[A-Za-z0-9]+")
"""Words without a sign between them: a random number has no others."""
_GAP = "\0"
_Span = tuple[int, int]
_Runs = Mapping[str, Collection[str]]
"""Resource -> runs."""
_Shapes = dict[str, dict[str, str]]
"""A resource with a gap -> the word in lower case that filled it -> the resource."""


def copies_of(created: Mapping[str, frozenset[str]], used: _Runs) -> Mapping[str, str]:
    """Maps resources of which copies exist to the pattern of all copies.

    Args:
        created: resource, its random ends open, -> the runs that created it.
        used: any resource -> the runs that used it; a copy that existed before the first record is
            used only.
    """
    has_few = sum(map(is_object, created)) <= _MOST_OBJECTS
    names = dict.fromkeys(
        each for each in (*created, *used) if not is_object(each) or (has_few and each in created)
    )
    shapes = shapes_of(names)
    by_word: dict[str, set[str]] = {}
    for text, each in shapes.items():
        for word in each:
            by_word.setdefault(word, set()).add(text)
    of_all_names = _words_of_all_names(created, by_word)
    found: dict[str, tuple[int, int, str]] = {}
    for (one, other), shared in pairs_of_copies(shapes, created, used, by_word).items():
        are_words = not (one.isdecimal() and other.isdecimal())
        shared = [
            each for each in shared if are_words or not is_object(each)
        ]  # versions of a file are no copies
        ends = [_ends_of(one), _ends_of(other)]
        has_third = any(
            all(_differ(_ends_of(word), end) for end in ends)
            for each in shared
            for word in shapes[each]
            if word
        )
        is_certain = are_words and (
            has_third or (one and not of_all_names.isdisjoint([one, other]))
        )
        if len(shared) < (_LEAST_SHAPES_IF_CERTAIN if is_certain else _LEAST_SHAPES):
            continue
        is_one_app = len(set(map(_word_behind_gap, filter(_begins_with_gap, shared)))) < 2
        least = _LEAST_LITERAL if len(shared) < _LEAST_SHAPES_OF_SHORT else _LEAST_LITERAL_OF_SHORT
        for text in sorted(by_word[one] & by_word[other]):
            pattern = _pattern(text, is_one_app, least)
            for resource in (
                [shapes[text][word] for word in (one, other) if word] if pattern else ()
            ):
                found[resource] = max(
                    found.get(resource, (0, 0, "")), (len(shared), -len(pattern), pattern)
                )
    if not found:
        return {}
    patterns = {resource: pattern for resource, (_, _, pattern) in found.items()}
    further = names.keys() - patterns.keys()
    patterns = {
        **patterns_of_names_within(patterns, further),
        **_buckets_of_stacks(patterns, further),
        **patterns,
    }
    return {**patterns_of_one_copy(patterns, created, used), **patterns}


def shapes_of(names: Mapping[str, None]) -> _Shapes:
    """The shapes that names with different words have; the word is empty in `shop`, where a copy is
    `shop-qa`.
    """
    shapes: _Shapes = {}
    for resource in names:
        for word, text in _shapes_of(resource):
            shapes.setdefault(text, {}).setdefault(word, resource)
    for text, shape in shapes.items():
        if (plain := re.sub(f"[-_.]{_GAP}", "", text)) in names:
            shape[""] = plain
    return {text: shape for text, shape in shapes.items() if len(shape) > 1}


def is_object(resource: str) -> bool:
    """Whether an ARN is of an object of a bucket."""
    return "/" in resource.partition(":s3:::")[2]


def patterns_of_one_copy(
    patterns: Mapping[str, str], created: Collection[str], used: _Runs
) -> Mapping[str, str]:
    """Maps objects, and what runs created for one copy alone, to a pattern with the words of the
    copies in these runs.

    The load balancer `shop-qa` of a run that used the queues `shop-qa-…`, where no run created that
    of `shop-prod`.
    """
    words: dict[str, set[str]] = {}
    for resource, pattern in patterns.items():
        word = words_that_differ(resource, pattern, numbered=False).lower()
        if len(word) > 1 and not word.isdecimal() and word not in LONG_LIVED:
            for run in used.get(resource, ()):
                words.setdefault(run, set()).add(word)
    shapes = [pattern.replace("*", _GAP) for pattern in patterns.values()]
    apps = {_word_behind_gap(shape) for shape in shapes if _begins_with_gap(shape)}
    found: dict[str, str] = {}
    for resource, runs in used.items() if words else ():
        if resource not in patterns and (resource in created or is_object(resource)):
            own = frozenset(word for run in runs for word in words.get(run, ()))
            pattern = pattern_of_words(resource, own)
            if (
                _begins_with_gap(shape := pattern.replace("*", _GAP))
                and _word_behind_gap(shape) not in apps
            ):
                pattern = pattern_of_words(resource, own, is_one_app=False)
            if pattern != resource:
                found[resource] = pattern
    return found


def _buckets_of_stacks(patterns: Mapping[str, str], names: Iterable[str]) -> Mapping[str, str]:
    """Maps buckets to a pattern, where CloudFormation begins the name with that of a copied stack
    in lower case.

    `shopprod-assets-…` of `ShopProd`: the letters alone do not show where a word ends.
    """
    stacks: dict[str, str] = {}
    for resource, pattern in patterns.items():
        if service_of(resource) == "cloudformation":
            own, wide = (
                next(_open_texts(each), (0, ""))[1].lower() for each in (resource, pattern)
            )
            stacks[own] = wide
    found: dict[str, str] = {}
    for name in names:
        place, prefix, bucket = name.partition(":s3:::")
        begins = (bucket[: sign.start()] for sign in re.finditer("-", bucket))
        stack = next((each for each in begins if each in stacks), "")
        if stack:
            found[name] = f"{place}{prefix}{stacks[stack]}{bucket[len(stack) :]}"
    return found


def patterns_of_names_within(
    patterns: Mapping[str, str], names: Iterable[str]
) -> Mapping[str, str]:
    """Maps further resources to a pattern, where a whole part is the name of a copy: the add-on of
    `acme-login`.
    """
    whole: dict[tuple[str, str], str] = {}
    for resource, pattern in patterns.items():
        own, opened = (_open_texts(each) for each in (resource, pattern))
        for (_, text), (_, wide) in zip(own, opened, strict=False):
            if "*" in wide and not set(text) & set("*?"):
                whole[service_of(resource), text] = wide
    found: dict[str, str] = {}
    for name in names:
        texts = [
            (start, text) for start, text in _open_texts(name) if (service_of(name), text) in whole
        ]
        wide = name
        for start, text in reversed(texts):
            wide = wide[:start] + whole[service_of(name), text] + wide[start + len(text) :]
        if wide != name:
            found[name] = wide
    return found


def forms_of_branch(branch: str) -> Iterator[str]:
    """Yields the forms in which tools write a branch into a name: `feature-login`, `feature_login`,
    `login`.
    """
    words = re.findall(r"[a-z0-9]+", branch.lower())
    last = re.findall(r"[a-z0-9]+", branch.lower().rpartition("/")[2])
    for own in (words, last):
        if own:
            yield from ("-".join(own), "_".join(own), ".".join(own), "".join(own))


# Leaving each run out in turn asks for the same names again and again.
@lru_cache(maxsize=65_536)
def pattern_of_words(resource: str, words: frozenset[str], is_one_app: bool = True) -> str:
    """The resource with the words of the resource's run open; the resource itself where it has
    none, or little else.
    """
    opened = resource
    for word in sorted(words, key=lambda each: (-len(each), each)):
        spans = [span for span in _spans(opened) if opened[slice(*span)].lower() == word.lower()]
        spans = spans or [*_spans_of_long(opened, word.lower())]
        shape = _replaced(opened, spans, _GAP) if spans else opened
        opened = _pattern(shape, is_one_app) or opened
    return opened


def _spans_of_long(resource: str, word: str) -> Iterator[_Span]:
    """Yields the places of a word of many parts, or of its beginning where a tool truncated the
    name of a branch.
    """
    if len(word) < _LEAST_TRUNCATED:
        return
    for offset, text in _open_texts(resource):
        for found in re.finditer(
            rf"(?<![A-Za-z0-9]){re.escape(word[:_LEAST_TRUNCATED])}", text, re.IGNORECASE
        ):
            shared = common_ends([text[found.start() :].lower(), word])[0].rstrip("-_.")
            end = found.start() + len(shared)
            if not text[end : end + 1].isalnum():
                yield offset + found.start(), offset + end


def _words_of_all_names(
    created: Mapping[str, frozenset[str]], by_word: Collection[str]
) -> frozenset[str]:
    """The words that are in each of several names that one run created."""
    of_run: dict[str, list[str]] = {}
    for resource, runs in created.items():
        for run in runs if not is_object(resource) else ():
            of_run.setdefault(run, []).append(resource)
    found: set[str] = set()
    for names in of_run.values():
        words = ({name[slice(*span)].lower() for span in _spans(name)} for name in names)
        found |= set.intersection(*words) if len(names) >= _LEAST_SHAPES_IF_CERTAIN else set()
    return frozenset(found.intersection(by_word))


def numbered_words(resource: str) -> frozenset[str]:
    """The words of a name, in lower case, that have letters and digits: `a1b2c3` of
    `orders-a1b2c3`.
    """
    words = {resource[slice(*span)].lower() for span in _spans(resource)}
    return frozenset(
        word
        for word in words
        if _TOKEN.fullmatch(word) and not (word.isalpha() or word.isdecimal())
    )


def words_that_differ(one: str, other: str, *, numbered: bool = True) -> str:
    """The words of a resource or pattern in which another differs; `numbered`: only where both
    words have a digit.
    """
    for start, stop in sorted(_spans(one), key=lambda span: span[1] - span[0]):
        before, after = (_as_regex(text) for text in (one[:start], one[stop:]))
        match = re.fullmatch(f"{before}([^/:]+){after}", other, re.DOTALL)
        if match and not (
            numbered and not all(re.search("[0-9]", text) for text in (one[start:stop], match[1]))
        ):
            return one[start:stop]
    return ""


def _as_regex(pattern: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern)


def pairs_of_copies(
    shapes: _Shapes,
    created: Mapping[str, frozenset[str]],
    used: _Runs,
    by_word: Mapping[str, set[str]],
) -> Mapping[tuple[str, str], list[str]]:
    """Maps two words to the shapes that have both, created by different runs.

    A run that creates `shop-worker` and uses `shop` extends the app; one that creates a copy uses
    the copy alone.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for text, shape in sorted(shapes.items()):
        frequent = sorted(shape, key=lambda word: (-len(by_word[word]), word))[:_MOST_COPIES]
        copies = [
            (word, created.get(shape[word], frozenset()), _ends_of(word))
            for word in sorted(frequent)
        ]
        for (one, runs, ends), (other, others, other_ends) in combinations(copies, 2):
            if (runs or others) and _differ(ends, other_ends) and runs.isdisjoint(others):
                found.setdefault((one, other), []).append(text)
    for word in [other for one, other in found if not one]:
        both = by_word[""] & by_word[word]
        creators = {run for text in both for run in created.get(shapes[text][word], ())}
        if not creators or any(
            not creators.isdisjoint(used.get(shapes[text][""], ())) for text in both
        ):
            del found["", word]
    return found


def _differ(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two texts, of which these are the ends, share neither their first nor their last
    word.
    """
    return not (one and other) or (one[0] != other[0] and one[1] != other[1])


@lru_cache(maxsize=16_384)
def _ends_of(text: str) -> tuple[str, ...]:
    """The first and the last word of a text; nothing where it has none."""
    words = _WORD.findall(text)
    return (words[0], words[-1]) if words else ()


@lru_cache(maxsize=4_096)  # each run left out asks again
def _shapes_of(resource: str) -> Sequence[tuple[str, str]]:
    """Returns each run of words of a name, in lower case, and the resource with a gap in all of its
    places.
    """
    places: dict[str, list[_Span]] = {}
    for start, end in _spans(resource):
        places.setdefault(resource[start:end].lower(), []).append((start, end))
    return [(word, _replaced(resource, spans, _GAP)) for word, spans in places.items()]


@lru_cache(maxsize=4_096)
def _spans(resource: str) -> tuple[_Span, ...]:
    """Places of runs of one to four words in the variable parts of an ARN, none across a `/` or a
    wildcard.
    """
    found: set[_Span] = set()
    for offset, text in _open_texts(resource):
        for piece in re.finditer(r"[^/*?${}:]+", text):
            for kind in (_WORD, _TOKEN):
                words = [word.span() for word in kind.finditer(text, *piece.span())]
                for first, (start, _) in enumerate(words):
                    found |= {
                        (offset + start, offset + end)
                        for _, end in words[first : first + _MOST_WORDS]
                    }
    return tuple(sorted(found))


def _open_texts(resource: str) -> Iterator[tuple[int, str]]:
    """Yields the variable parts of an ARN whose words may differ, each with its offset."""
    for part in parts_of(service_of(resource), resource):
        text = resource[part.start : part.end]
        is_bucket = part.variable == "BucketName" and part.end == len(resource)
        if is_bucket or not is_kept(resource, part.variable, text):
            yield part.start, text


def _replaced(resource: str, spans: Iterable[_Span], text: str) -> str:
    opened, last = "", 0
    for start, end in sorted(spans):
        if start >= last:
            opened += resource[last:start] + text
            last = end
    return opened + resource[last:]


@lru_cache(maxsize=16_384)
def _pattern(shape: str, is_one_app: bool, least: int = _LEAST_LITERAL) -> str:
    """The shape with wildcards; empty where too little of the name would remain literal.

    `is_one_app`: all names that the copies share have one word behind the gap.
    """
    wide = shape.replace(_GAP, "*")
    for part in parts_of(service_of(wide), wide):
        name = shape[part.start : part.end]
        if _GAP in name and not _is_literal_enough(name.lstrip("/"), is_one_app, least):
            return ""
    return re.sub(r"\*{2,}", "*", wide)


def _is_literal_enough(name: str, is_one_app: bool, least: int) -> bool:
    if not name.startswith(_GAP):
        return literal_letters(name) >= least
    return (
        is_one_app
        and not name.startswith(f"{_GAP}/")
        and literal_letters(name) >= _LEAST_LITERAL_BEHIND
    )


def _begins_with_gap(shape: str) -> bool:
    return any(
        shape[part.start : part.end].lstrip("/").startswith(_GAP)
        for part in parts_of(service_of(shape), shape)
    )


def _word_behind_gap(shape: str) -> str:
    found = _WORD.search(shape, shape.find(_GAP))
    return found[0].lower() if found else ""


def covering(pattern: str, other: str) -> str:
    """Returns what covers two patterns, part by part; empty where neither part covers the other."""
    ours, theirs = parts_of(service_of(pattern), pattern), parts_of(service_of(other), other)
    if [part.variable for part in ours] != [part.variable for part in theirs]:
        return ""
    found, at = "", 0
    for one, two in zip(ours, theirs, strict=True):
        text, second = pattern[one.start : one.end], other[two.start : two.end]
        wide = text if resource_covers(text, second) else second
        if not resource_covers(wide, text):
            return ""
        found, at = f"{found}{pattern[at : one.start]}{wide}", one.end
    return found + pattern[at:]
