"""Splits the name of a resource into words and separators, and puts slots in their place."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.permissions.resource_types import ArnPart
from leastpriv.permissions.volatility import is_kept, open_parts, parts_of, service_of

Words = tuple[str, ...]
"""Words and separators in turn, letter by letter the text that they were read from."""
Place = tuple[int, int]
"""Begin and end of some of the words of a name."""

COPY = "\0copy"
"""The slot for the word of a copy."""
RUN = "\0run"
"""The slot for the part that is new in each run."""
OWN_RUN = f"{RUN}\0own"
"""The same for a day, an id or a number of the run itself."""
SEPARATORS = frozenset("-_/.:=")
SIGNS_OF_SEGMENTS = frozenset("/:")
"""The separators between the segments of a path."""
_MONTH = r"20[2-9]\d(?P<by>[-/_.]?)(?:0[1-9]|1[0-2])"
_DAY = r"(?P=by)(?:0[1-9]|[12]\d|3[01])"
_TIME = r"[-T_/]?\d\d[-:.]?\d\d(?:[-:.]?\d\d(?:\.\d+)?)?Z?"
_DATE = rf"{_MONTH}(?:{_DAY}(?:{_TIME})?)?"
_DATE_WORD = re.compile(_DATE)
_REGION = (
    r"(?:[a-z]{2}(?:-gov|-iso[a-z]?)?|eusc-de)"
    r"-(?:(?:north|south)?(?:east|west)|north|south|central)-\d"
)
"""`de-pr-4` is the preview of a market, and no region."""
_REGION_WORD = re.compile(_REGION)
_ALONE = r"(?<![0-9A-Za-z])"
_WHOLE = re.compile(
    rf"(?P<uuid>[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})"
    rf"|{_ALONE}(?P<date>{_DATE})(?![0-9A-Za-z])"
    rf"|{_ALONE}(?P<version>v?\d+\.\d+\.\d+)(?![0-9A-Za-z])"
    rf"|{_ALONE}(?P<region>{_REGION})(?![0-9A-Za-z])"
    r"|(?P<separator>[-_/.:=])"
)
"""Texts that are one word whatever signs they have: a UUID, a date with its time, a version, a
region.
"""
_CAMEL = re.compile(
    r"(?:[A-Z]?[a-z]+\d*)(?:[A-Z]{1,4}\d{0,5}(?=[A-Z][a-z][a-z\d])|[A-Z][a-z]+\d*)+"
)
_CAMEL_WORD = re.compile(r"[A-Z]+\d*(?=[A-Z][a-z])|[A-Z]?[a-z]+\d*")
_NUMBERED = re.compile(r"[A-Za-z]+\d{1,3}|v?\d+(?:\.\d+)*|\d{12}")
_LEAST_DRAWN_NUMBER = 5
"""Digits of a number that a machine drew; twelve are an account."""
_LEAST_DRAWN = 6
"""Letters and digits of a word that a machine drew."""
_MOST_GLUED = 6
"""Words that an app writes without a sign between them."""
_ACCOUNT = 12
_COLONS = 5
"""Colons before the name in an ARN."""
_WITHOUT_TYPE = frozenset({"s3", "sqs", "sns", "apigateway", "codecommit", "codepipeline"})
"""Services whose ARNs have no resource type before the name."""
_MOST_WORDS_OF_NAME = 64
"""Words and separators of a name that is read; a name of IAM has at most 64 letters."""
_MOST_OF_SEGMENT = 40
"""Words and separators of a part of a segment: a branch has up to some twenty words."""


class Name(Struct, frozen=True, cache_hash=True):
    """A resource, with what its service fixes apart from the text of the app."""

    head: str
    """`arn:aws:SERVICE:REGION:ACCOUNT`."""
    kind: str
    """Service and resource type, `dynamodb:table/`."""
    fixed: Words
    """The words of the type, with which the name begins."""
    words: Words
    """All words, those of the type first."""

    @property
    def text(self) -> Words:
        """The words of the app."""
        return self.words[len(self.fixed) :]

    def places_of(self, key: str) -> Iterable[Place]:
        """The places in the app's text where whole words have the letters of a key."""
        return places_of(key, self.words, len(self.fixed))

    def parts(self, most_words: int) -> Iterator[Place]:
        """Yields the places of the parts of the app's text: those within a segment of a path, where
        a branch may have many words, and those of at most so many words over several.
        """
        end_of_segment = len(self.words)
        for begin in reversed(range(len(self.fixed), len(self.words))):
            if self.words[begin] in SIGNS_OF_SEGMENTS:
                end_of_segment = begin
            last = max(begin + most_words, min(end_of_segment, begin + _MOST_OF_SEGMENT))
            last = min(last, len(self.words))
            for end in range(begin + 1, last + 1):
                yield begin, end

    @property
    def region(self) -> str:
        """The region of the ARN; empty where it has none."""
        return self.head.split(":")[3]

    @property
    def service(self) -> str:
        """The service of the ARN."""
        return self.kind.partition(":")[0]


@lru_cache(maxsize=16_384)
def words_of(text: str) -> Words:
    """Splits a text at its separators and before the capitals of CamelCase."""
    words: list[str] = []
    last = 0
    for match in _WHOLE.finditer(text):
        words += _camel_words(text[last : match.start()])
        words.append(match[0])
        last = match.end()
    words += _camel_words(text[last:])
    return tuple(word for word in words if word)


def _camel_words(text: str) -> Sequence[str]:
    return _CAMEL_WORD.findall(text) if _CAMEL.fullmatch(text) else (text,)


@lru_cache(maxsize=16_384)
def name_of(resource: str) -> Name | None:
    """Reads an ARN or a pattern of one, with what AWS or a tool draws open; None for other text.

    A name with an escaped sign, a policy variable or very many words is read by no rule, nor is an
    id that AWS drew.
    """
    if _is_unread(resource):
        return None
    return _readable(_name(open_parts(resource, is_made=False).text))


@lru_cache(maxsize=16_384)
def name_below_id(resource: str) -> Name | None:
    """Reads what an ARN has behind its last id: the branch of `apps/d2a1b3c4e5f6g7/branches/pr-41`.

    Names below different ids are of different kinds. None without an id, or where only words that
    AWS fixes follow it.
    """
    parts = _id_parts(resource)
    if not parts or "${" in resource:
        return None
    end = parts[-1].end + 1
    open_text = open_parts(resource, is_made=False).text
    if not open_text.startswith(resource[:end]) or not key_of(open_text[end:]):
        return None
    *head, text = open_text.split(":", _COLONS)
    fixed = text[: len(text) - len(open_text[end:])]
    type_words = words_of(fixed)
    words = type_words + words_of(text.removeprefix(fixed))
    return _readable(Name(":".join(head), f"{head[2]}:{fixed}", type_words, words))


@lru_cache(maxsize=16_384)
def literal_name_of(resource: str) -> Name | None:
    """Reads an ARN or a pattern of one letter by letter; None where `name_of` reads none."""
    return None if _is_unread(resource) else _readable(_name(resource))


def _is_unread(resource: str) -> bool:
    return resource.count(":") < _COLONS or "${" in resource or _has_id(resource)


def _name(resource: str) -> Name:
    """Splits an ARN into its head, its kind (`sqs:`, `s3:object`) and the words of its name, with
    the word of its type apart: `table/` of DynamoDB is fixed.
    """
    *head, text = resource.split(":", _COLONS)
    service = head[2]
    fixed = ""
    if service not in _WITHOUT_TYPE:
        before = re.match("/?[^:/]*[:/]?", text)
        fixed = before[0] if before else ""
    kind = fixed
    if service == "s3" and "/" in text:
        kind = "object"
    elif service == "lambda":
        kind += ":" * text.count(":")
    elif service == "apigateway":
        kind = "/".join("#" if is_drawn(part) else part for part in text.split("/"))
    type_words = words_of(fixed)
    words = type_words + words_of(text.removeprefix(fixed))
    return Name(":".join(head), f"{service}:{kind}", type_words, words)


def _readable(name: Name) -> Name | None:
    """The name; None for one of so many words that comparing its parts would take too long."""
    return name if len(name.words) <= _MOST_WORDS_OF_NAME else None


def ids_in(resource: str) -> Iterator[str]:
    """Yields an ARN up to each id in it that AWS drew and that is exact until there:
    `/restapis/ID` of `/restapis/ID/stages/v1`.
    """
    for part in _id_parts(resource):
        if {"*", "?"}.isdisjoint(resource[: part.end]):
            yield resource[: part.end]


def _has_id(resource: str) -> bool:
    """Whether a part of an ARN is an id that lives long."""
    return bool(_id_parts(resource))


@lru_cache(maxsize=16_384)
def _id_parts(resource: str) -> tuple[ArnPart, ...]:
    """The parts of an ARN that are ids; the name of a bucket is none."""
    if ":s3:::" in resource:
        return ()
    return tuple(
        part
        for part in parts_of(service_of(resource), resource)
        if is_kept(resource, part.variable, part.text)
    )


def glued_words(names: Iterable[Name]) -> Mapping[str, Words]:
    """Reads how texts without a sign are divided, from names of the app with signs or capitals:
    `shoppr41stack`, which CDK writes into the names of buckets and databases, of the stack
    `ShopPr41Stack`, and the database `shopprod` of the queue `shop-prod-jobs`.
    """
    glued: dict[str, Words] = {}
    for name in names:
        words = _with_numbers(lowered(name.text))
        for begin, first in enumerate(words):
            if first.isdigit():
                continue
            for last in range(begin + 1, min(begin + _MOST_GLUED, len(words))):
                if words[last].isdigit():
                    break
                part = words[begin : last + 1]
                glued["".join(part)] = part
    return glued


def _with_numbers(text: Words) -> Words:
    """The words of a text without its separators, a number with the word before it: `pr41`.

    Other numbers stay apart: the `12` of a build is not that of `1-2`.
    """
    words: list[str] = []
    for word in text:
        if word.isdigit() and words and words[-1].isalpha():
            words[-1] += word
        elif not is_separator(word):
            words.append(word)
    return tuple(words)


def unglued(name: Name, glued: Mapping[str, Words]) -> Name:
    """The name with each text that is known to be several words divided."""
    if glued.keys().isdisjoint(name.text):
        return name
    text = name.text
    # A word of a text may be several itself.
    while not glued.keys().isdisjoint(text):
        text = tuple(chain.from_iterable(glued.get(word, (word,)) for word in text))
    return replace(name, words=(*name.fixed, *text))


def is_separator(word: str) -> bool:
    """Whether a word is a sign between words."""
    return word in SEPARATORS


def is_region(word: str) -> bool:
    """Whether a word is a region of AWS."""
    return _REGION_WORD.fullmatch(word) is not None


def is_short_for_region(word: str, region: str) -> bool:
    """Whether a word may be short for a region: `euc1`, `euce1` and `eu` for `eu-central-1`."""
    letters = _letters(word)
    region_letters = iter(_letters(region))
    is_short = len(letters) > 1 and letters[0] == region[:1]
    return is_short and all(letter in region_letters for letter in letters)


def is_date(word: str) -> bool:
    """Whether a word is a month or a day, with or without a time."""
    return _DATE_WORD.fullmatch(word) is not None


@lru_cache(maxsize=16_384)
def is_drawn(word: str) -> bool:
    """Whether a word looks drawn by a machine, or is a date or a version."""
    if word in SEPARATORS or is_region(word):
        return False
    if _WHOLE.fullmatch(word) or RUN in word:
        return True
    if word.isdigit():
        return len(word) >= _LEAST_DRAWN_NUMBER and len(word) != _ACCOUNT
    if _NUMBERED.fullmatch(word) or not word.isalnum():
        return False
    has_digit = any(letter.isdigit() for letter in word)
    has_letter = any(letter.isalpha() for letter in word)
    return len(word) >= _LEAST_DRAWN and has_digit and has_letter


def masked(words: Words) -> Words:
    """The words with one sign for each that looks drawn: two names differ in no such word."""
    return tuple("#" if is_drawn(word) else word for word in words)


class Between(NamedTuple):
    """Where names differ: the numbers of the words before and behind the place (`SharedEnds`)."""

    before: int
    behind: int


class SharedEnds:
    """Which beginnings and ends several names of a kind have: names that differ in one part share
    the words before and behind it.

    Each beginning and each end has a number, so that equal ones are found, and kept, as numbers.
    """

    def __init__(self, names: Iterable[tuple[str, Words]]) -> None:
        """`names`: kinds, and words as `masked` gives them."""
        self._beginnings = _Beginnings()
        self._ends = _Beginnings()
        for kind, words in names:
            self._beginnings.add(kind, words)
            self._ends.add(kind, words[::-1])

    def beginnings(self, kind: str, words: Words) -> Sequence[int]:
        """For each place in a name the number of the words before it; 0 where no other name has
        them.
        """
        return self._beginnings.shared(kind, words)

    def ends(self, kind: str, words: Words) -> Sequence[int]:
        """For each place in a name the number of the words from it on; 0 where no other name has
        them.
        """
        return self._ends.shared(kind, words[::-1])[::-1]


class _Beginnings:
    """The beginnings of some names, each with a number from 1 and the names that have it."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, str], int] = {}
        """Number of a beginning and the word behind it -> number of both."""
        self._names: Counter[int] = Counter()

    def add(self, kind: str, words: Words) -> None:
        """Adds a name."""
        number = 0
        for word in (kind, *words):
            number = self._numbers.setdefault((number, word), len(self._numbers) + 1)
            self._names[number] += 1

    def shared(self, kind: str, words: Words) -> list[int]:
        """The number of each beginning of a name that was added; 0 where no other name has it."""
        numbers: list[int] = []
        number = 0
        for word in (kind, *words):
            number = self._numbers[number, word]
            numbers.append(number if self._names[number] > 1 else 0)
        return numbers


def is_word(words: Words) -> bool:
    """Whether a part of a name begins and ends with letters or digits, not with a sign."""
    return bool(words) and bool(_letters(words[0])) and bool(_letters(words[-1]))


def stripped(words: Words) -> Words:
    """The words without the separators at both ends."""
    while words and words[0] in SEPARATORS:
        words = words[1:]
    while words and words[-1] in SEPARATORS:
        words = words[:-1]
    return words


def key_of(words: Iterable[str]) -> str:
    """The letters and digits of some words in lower case: `pr58` of `pr-58`, `Pr58` and `pr_58`."""
    return "".join(map(_letters, words))


@lru_cache(maxsize=16_384)
def _letters(word: str) -> str:
    return "".join(filter(str.isalnum, word)).lower()


def lowered(words: Words) -> Words:
    """The words in lower case."""
    return tuple(word.lower() for word in words)


def places_of(key: str, words: Words, start: int = 0) -> Iterable[Place]:
    """The places, begin and end, of each run of whole words that has these letters."""
    # Most names have not the letters of most keys.
    return _places_of(key, words, start) if key in _all_letters(words) else ()


@lru_cache(maxsize=16_384)
def _all_letters(words: Words) -> str:
    return key_of(words)


def _places_of(key: str, words: Words, start: int) -> Iterator[Place]:
    for begin in range(start, len(words)):
        first = _letters(words[begin])
        if not first or not key.startswith(first):
            continue
        read = ""
        for end in range(begin, len(words)):
            read += _letters(words[end])
            if read == key:
                yield begin, end + 1
                break
            if not key.startswith(read):
                break
