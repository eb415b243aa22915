"""The one matcher of action and resource patterns; pure text against text.

A pattern is what IAM calls a string with wildcards: `*` matches any run of characters, also none,
`?` for exactly one, everything else for itself. Three questions can be asked of it: does it match a
text, does it cover another pattern (every text of the other is its own), does it overlap one (some
text belongs to both).

Colons are no boundary for `*` in a resource: "If the `*` wildcard is the last character of a
resource ARN segment, it can expand to match beyond the colon boundaries"
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html, read
2026-11-24). For a `*` inside a segment the page only recommends to stay within it; no ARN has a
colon before its resource part, so that the two readings differ for no real resource, and one rule
serves both.

`${*}`, `${?}` and `${$}` in a resource of a policy of version 2012-10-17 are the characters
themselves; any other `${…}` is a policy variable, whose value only the request knows
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html, read
2026-11-24).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from itertools import takewhile


class Wildcard(Enum):
    """What matches more than itself."""

    ANY = "*"
    ONE = "?"


ANY, ONE = Wildcard.ANY, Wildcard.ONE

Token = str | Wildcard
"""A wildcard, one literal character, or a whole policy variable (`${` and what follows)."""

_PARTS = {
    False: re.compile(r"[*?]+|[^*?]+"),
    True: re.compile(r"\$\{[*?$]\}|\$\{[^}]*\}?|[*?]+|[^*?$]+|\$"),
}
"""Runs of wildcards and of literal characters; True: also escapes and policy variables."""
_WILDCARDS = re.compile("[*?]")
_ESCAPED = re.compile(r"\$\{([*?$])\}")
_VARIABLE = re.compile(r"\$\{(?![*?$]\})")
VARIABLE_IN_POLICY = re.compile(r"\$\{(?![*?$]\})[^}]{0,2000}\}")
"""A policy variable or the placeholder of a template, as a whole."""
BUILD_STEP_NAME = re.compile(
    r"(\{\{[^{}]*\}\}|\(\([\w.-]+\)\)|#\{[^{}]*\}|<%[^<>%]*%>|<[A-Za-z][\w"
    r" .-]*>|__[A-Z][A-Z0-9_]*?__|@@\w+@@"
    r"|%[A-Z][A-Z0-9_]{2,}%|\$[A-Z][A-Z0-9]*_[A-Z0-9_]+)"
)
"""Names that a build step replaces: Jinja, Concourse, Octopus, ERB, `sed`, shells. Lambda's
`$LATEST` is none.
"""
TYPE_WILDCARD = re.compile(r"arn:[^:*?]*:(?:ec2:[^:*?]*:\d*:[a-z-]+|kms:[^:*?]*:\d*:key)/\*")
"""AWS's own form for a resource that does not exist yet:
`arn:aws:ec2:eu-west-1:111122223333:vpc/*`, and the key that CreateKey tags
(https://docs.aws.amazon.com/kms/latest/developerguide/tag-permissions.html, read 2026-11-27)."""
_PLAIN = re.compile(r"[^*?$]*")
_SPECIAL = re.compile(r"[*?]|\$(?=[{$*?])")
_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def matches(pattern: str, text: str, *, ignore_case: bool = False) -> bool:
    """Returns whether `pattern` matches the whole of `text`, in time O(len(pattern) * len(text)).

    Only ASCII letters have a case here; IAM's own names have no others.
    """
    if "*" not in pattern and "?" not in pattern:
        # A policy may name thousands of actions: more than there are compiled patterns kept.
        return len(pattern) == len(text) and (
            pattern == text or (ignore_case and folded(pattern) == folded(text))
        )
    if ignore_case:
        pattern, text = folded(pattern), folded(text)
    return _matches(pattern, False, text)


def covers(pattern: str, other: str, *, ignore_case: bool = False) -> bool:
    """Returns whether every text that the pattern `other` matches is matched by `pattern`.

    Never True wrongly. False may be wrong where only a combination of wildcards would show the
    inclusion.
    """
    if ignore_case:
        pattern, other = folded(pattern), folded(other)
    return _covers(pattern, False, other, False)


def overlaps(pattern: str, other: str, *, ignore_case: bool = False) -> bool:
    """Returns whether some text matches both patterns; exact."""
    if ignore_case:
        pattern, other = folded(pattern), folded(other)
    return _overlaps(pattern, False, other, False)


def action_matches(pattern: str, action: str) -> bool:
    """Returns whether the entry `pattern` of an Action list names `action`; case does not count."""
    return matches(pattern, action, ignore_case=True)


def action_covers(pattern: str, other: str) -> bool:
    """Returns whether the action pattern `pattern` names every action that `other` names; see
    `covers`.
    """
    return covers(pattern, other, ignore_case=True)


def resource_matches(pattern: str, resource: str, *, variables: bool = True) -> bool:
    """Returns whether the entry `pattern` of a Resource list names the resource `resource`, a plain
    text.

    `variables` says whether `${…}` means anything, that is, whether the policy is of version
    2012-10-17. A pattern with a policy variable never matches here: ask `has_variable` first and
    answer "unknown".
    """
    return _matches(pattern, variables, resource)


def resource_covers(pattern: str, other: str, *, variables: bool = True) -> bool:
    """Returns whether `pattern` names every resource that the resource pattern `other` names; see
    `covers`.

    `variables` is about `pattern`; in `other` the escapes always count. A policy variable is
    covered by `*` and by the same variable, and covers nothing else.
    """
    return _covers(pattern, variables, other, True)


def without_covered(patterns: Iterable[str]) -> tuple[str, ...]:
    """Returns the resource patterns without those that another one covers, in order."""
    unique = list(dict.fromkeys(patterns))
    # The text before the first wildcard decides for most pairs.
    wildcard_starts = [
        (wildcard, _WILDCARDS.split(wildcard, 1)[0])
        for wildcard in unique
        if has_wildcard(wildcard)
    ]
    if not wildcard_starts:
        return tuple(unique)

    def is_covered(pattern: str) -> bool:
        return any(
            pattern.startswith(start) and pattern != wildcard and resource_covers(wildcard, pattern)
            for wildcard, start in wildcard_starts
        )

    return tuple(candidate for candidate in unique if not is_covered(candidate))


def resource_overlaps(pattern: str, other: str, *, variables: bool = True) -> bool:
    """Returns whether some resource could match both patterns; a policy variable could have any
    value.
    """
    return _overlaps(pattern, variables, other, True)


def has_wildcard(pattern: str) -> bool:
    """Returns whether a resource pattern holds a wildcard (escapes are none)."""
    return ("*" in pattern or "?" in pattern) and not {"*", "?"}.isdisjoint(
        _ESCAPED.sub("", pattern)
    )


def has_variable(pattern: str) -> bool:
    """Returns whether a resource pattern or condition value holds a policy variable (escapes are
    none).
    """
    return _VARIABLE.search(pattern) is not None


def with_any_text(pattern: str) -> str:
    """Returns an action entry with a wildcard in the place of each part that only the rendered
    template knows.
    """
    return VARIABLE_IN_POLICY.sub("*", pattern)


def escape_observed(text: str) -> str:
    """Write an observed name so that a Resource of a 2012-10-17 policy matches it and nothing
    else.
    """
    if "*" in text or "?" in text or "$" in text:
        return _SPECIAL.sub(lambda found: "${" + found[0] + "}", text)
    return text


def unescape(text: str) -> str:
    """Replace `${*}`, `${?}` and `${$}` by the characters they stand for."""
    return _ESCAPED.sub(r"\1", text) if "${" in text else text


def folded(text: str) -> str:
    """A text as it is compared without case."""
    # str.lower() may change the length of a text (U+0130), and `?` counts characters.
    return text.lower() if text.isascii() else text.translate(_ASCII_LOWER)


@lru_cache(maxsize=16384)
def tokens_of(pattern: str, escapes: bool) -> tuple[Token, ...]:
    """Read a pattern; in a run of wildcards all `?` come first and one `*` last: equals look
    equal.
    """
    tokens: list[Token] = []
    for part in _PARTS[escapes].findall(pattern):
        if part[0] in "*?":
            tokens += [ONE] * part.count("?") + [ANY] * ("*" in part)
        elif escapes and part[:2] == "${":
            tokens.append(part[2] if _ESCAPED.fullmatch(part) else part)
        else:
            tokens += part
    return tuple(tokens)


@lru_cache(maxsize=16384)
def literal_of(pattern: str, escapes: bool) -> str | None:
    """The only text that a pattern matches; None where it matches several, or holds a policy
    variable.
    """
    if "*" not in pattern and "?" not in pattern and not (escapes and "${" in pattern):
        return pattern
    chars = [
        token for token in tokens_of(pattern, escapes) if isinstance(token, str) and len(token) == 1
    ]
    return "".join(chars) if len(chars) == len(tokens_of(pattern, escapes)) else None


@lru_cache(maxsize=16384)
def _regex(pattern: str, escapes: bool) -> re.Pattern[str]:
    """Compile a pattern.

    Atomic groups keep the time linear in the product of both lengths: the leftmost place of a piece
    between two `*` is as good as any other, so that no earlier choice is ever tried again.
    """
    pieces = [""]
    for token in tokens_of(pattern, escapes):
        if token is ANY:
            pieces.append("")
        elif isinstance(token, Wildcard):
            pieces[-1] += "."
        else:
            # Nothing matches a policy variable.
            pieces[-1] += re.escape(token) if len(token) == 1 else "(?!)"
    first, *later_pieces = pieces
    middle = "".join(f"(?>.*?{piece})" for piece in later_pieces[:-1])
    last = ".*" + later_pieces[-1] if later_pieces else ""
    return re.compile(first + middle + last, re.DOTALL)


def _matches(pattern: str, escapes: bool, text: str) -> bool:
    if "*" not in pattern and "?" not in pattern and not (escapes and "${" in pattern):
        return pattern == text
    if "?" in pattern and not (pattern.isascii() and text.isascii()):
        pattern = _ASTRAL.sub(r"\g<0>\g<0>", pattern)
        text = _ASTRAL.sub(r"\g<0>\g<0>", text)
    return _regex(pattern, escapes).fullmatch(text) is not None


_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
"""Characters of two units of UTF-16: `?` matches one unit."""


def _covers(pattern: str, escapes: bool, other: str, other_escapes: bool) -> bool:
    text = literal_of(other, other_escapes)
    if text is not None:
        return _matches(pattern, escapes, text)
    start = _PLAIN.match(pattern)
    if start and not other.startswith(start[0]):
        return False
    return _swallows(tokens_of(pattern, escapes), tokens_of(other, other_escapes), loosely=False)


def _swallows(pattern: tuple[Token, ...], other: tuple[Token, ...], *, loosely: bool) -> bool:
    """Matches the tokens of `other` as if they were letters: `*` takes any, `?` one that is no `*`
    and no variable, any other token its like.

    Loosely, `?` and a letter take each other. Texts may have thousands of letters: the piece
    between two `*` is searched, and its first place is as good as any other.
    """
    tokens = {*pattern, *other}
    free = (letter for letter in map(chr, range(_LAST_CHARACTER, 0, -1)) if letter not in tokens)
    letters: dict[Token, str] = {}
    for token in tokens:
        is_letter = isinstance(token, str) and len(token) == 1
        letters[token] = str(token) if is_letter else next(free)
    text = "".join(letters[token] for token in other)
    spelled = "".join(letters[token] for token in pattern)
    pieces = spelled.split(letters[ANY]) if ANY in pattern else [spelled]
    one_letter = letters.get(ONE, "")
    is_plain = ONE not in pattern and not (loosely and ONE in other)
    not_taken = "" if loosely else "".join(letters[token] for token in tokens if _is_open(token))

    def end_of(piece: str, start: int, *, is_fixed: bool = False) -> int:
        """Where a piece ends whose place is fixed, or searched from a start; -1 without it."""
        if is_plain and is_fixed:
            return start + len(piece) if text.startswith(piece, start) else -1
        if is_plain:
            index = text.find(piece, start)
            return index + len(piece) if index >= 0 else -1
        form = _piece_form(piece, one_letter, not_taken, loosely)
        match = form.match(text, start) if is_fixed else form.search(text, start)
        return match.end() if match else -1

    first, *later_pieces = pieces
    position = end_of(first, 0, is_fixed=True)
    if not later_pieces:
        return position == len(text)
    for piece in later_pieces[:-1]:
        if position < 0:
            return False
        position = end_of(piece, position)
    start = len(text) - len(later_pieces[-1])
    return 0 <= position <= start and end_of(later_pieces[-1], start, is_fixed=True) == len(text)


_LAST_CHARACTER = 0x10FFFF


def _is_open(token: Token) -> bool:
    """Whether `?` does not take a token: `*` and a variable."""
    return token is ANY or (isinstance(token, str) and len(token) > 1)


@lru_cache(maxsize=1_024)
def _piece_form(piece: str, one: str, not_taken: str, loosely: bool) -> re.Pattern[str]:
    """Returns the form of a piece without `*` in which `?` takes a letter."""
    any_letter = f"[^{re.escape(not_taken)}]" if not_taken else "."
    letters: list[str] = []
    for letter in piece:
        if letter == one:
            letters.append(any_letter)
        elif loosely and one:
            letters.append(f"[{re.escape(letter)}{re.escape(one)}]")
        else:
            letters.append(re.escape(letter))
    return re.compile("".join(letters), re.DOTALL)


def _overlaps(pattern: str, escapes: bool, other: str, other_escapes: bool) -> bool:
    """Whether some text matches both patterns: `shop-*` and `*-prod` have `shop-prod`.

    `escapes`: `${*}` in it is a literal `*`, and `${aws:username}` a variable.
    """
    text = literal_of(other, other_escapes)
    # A variable takes any text, which a plain match of the literal does not know.
    has_open_variable = escapes and has_variable(pattern)
    if text is not None and not has_open_variable:
        return _matches(pattern, escapes, text)
    # Most pairs differ before their first wildcard: another service, another bucket.
    literal_start, other_start = _PLAIN.match(pattern), _PLAIN.match(other)
    if (
        literal_start
        and other_start
        and not (
            literal_start[0].startswith(other_start[0])
            or other_start[0].startswith(literal_start[0])
        )
    ):
        return False
    return _meet(_loose(pattern, escapes), _loose(other, other_escapes))


@lru_cache(maxsize=16384)
def _loose(pattern: str, escapes: bool) -> tuple[Token, ...]:
    """Returns the tokens of a pattern with `*` in place of its variables."""
    tokens = tokens_of(pattern, escapes)
    return tuple(ANY if isinstance(token, str) and len(token) > 1 else token for token in tokens)


def _meet(left: tuple[Token, ...], right: tuple[Token, ...]) -> bool:
    """Whether some text matches the tokens of both patterns."""
    if ANY in left and ANY in right:
        # Each `*` takes what the other pattern has in its middle: only the beginnings and the ends
        # may differ.
        return _begin_alike(left, right) and _begin_alike(left[::-1], right[::-1])
    if ANY in left:
        return _swallows(left, right, loosely=True)
    return _swallows(right, left, loosely=True)


def _begin_alike(one: tuple[Token, ...], other: tuple[Token, ...]) -> bool:
    """Whether some text can begin as both patterns do, up to the first `*` of either."""
    return all(
        _fits(*pair)
        for pair in takewhile(lambda pair: ANY not in pair, zip(one, other, strict=False))
    )


def _fits(one: Token, other: Token) -> bool:
    return one is ONE or other is ONE or one == other
