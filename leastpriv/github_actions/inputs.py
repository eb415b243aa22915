"""Reads the inputs of a step from the environment, and parses lists, booleans and integers."""

from __future__ import annotations

import re
from collections.abc import Mapping

from leastpriv.errors import InputError

_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})


def read_input(environment: Mapping[str, str], name: str) -> str:
    """Returns the input `name`, trimmed; empty if it is not set.

    The runner passes `policy-file` as `INPUT_POLICY-FILE`: upper case, blanks to `_`, hyphens kept.
    """
    return environment.get("INPUT_" + name.replace(" ", "_").upper(), "").strip()


def split_list(text: str) -> tuple[str, ...]:
    """Returns the entries of `text`, one per line or separated by commas; trimmed, without empty ones."""
    return tuple(entry for part in re.split(r"[\r\n,]", text) if (entry := part.strip()))


def parse_boolean(text: str, name: str) -> bool:
    """Returns the boolean `text` of the input `name`.

    Raises:
        InputError: it is none of YAML 1.2's spellings.
    """
    if text not in _TRUE | _FALSE:
        raise InputError(f"The input {name} is {text!r}: write true or false.")
    return text in _TRUE


def parse_integer(text: str, name: str, minimum: int = 0) -> int:
    """Returns the number `text` of the input `name`.

    Raises:
        InputError: it is not a number of at most nine decimal digits, or less than `minimum`.
    """
    if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) is None or int(text) < minimum:
        raise InputError(f"The input {name} is {text!r}: write a whole number, {minimum} or more.")
    return int(text)
