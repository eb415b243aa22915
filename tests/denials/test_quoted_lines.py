"""Which lines of a log quote a denial, and which report one (`quoted_texts.json`)."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from leastpriv.denials.job_logs import LoggedDenial, read_log
from leastpriv.denials.log_text import clean_log_text
from leastpriv.denials.message import FoundDenial, find_denials

TEXTS: dict[str, list[str]] = json.loads(
    Path(__file__).with_name("quoted_texts.json").read_text(encoding="utf-8")
)
AROUND = ("{}", "{}\n", "$ make deploy\n{}\nDone in 3 s", "2026-12-01T10:00:00.0000000Z {}")
OBJECT_ACTIONS = {"s3:GetObject", "s3:PutObject"}


@pytest.mark.parametrize("line", TEXTS["quoted"])
def test_a_line_that_quotes_a_denial_reports_none(line: str) -> None:
    for frame in AROUND:
        text = frame.format(line)
        assert find_denials(clean_log_text(text)) == [], text


@pytest.mark.parametrize("line", TEXTS["quoted"])
def test_a_log_with_a_line_that_quotes_a_denial_has_none(line: str) -> None:
    for frame in AROUND:
        text = frame.format(line)
        assert list(read_log(io.BytesIO(text.encode()), "log")) == [], text


@pytest.mark.parametrize("line", TEXTS["reported"])
def test_a_line_that_reports_a_denial_is_read_whatever_precedes_it(line: str) -> None:
    for frame in AROUND:
        text = frame.format(line)
        assert OBJECT_ACTIONS & actions_of(find_denials(clean_log_text(text))), text


@pytest.mark.parametrize("line", TEXTS["reported"])
def test_a_log_with_a_line_that_reports_a_denial_has_it(line: str) -> None:
    for frame in AROUND:
        text = frame.format(line)
        assert OBJECT_ACTIONS & actions_of(read_log(io.BytesIO(text.encode()), "log")), text


def actions_of(denials: Iterable[FoundDenial | LoggedDenial]) -> set[str]:
    return {action for denial in denials for action in denial.denial.actions}


def test_a_quoted_line_hides_no_denial_of_the_next_line() -> None:
    text = f"{TEXTS['quoted'][0]}\n{TEXTS['reported'][1]}"
    [denial] = find_denials(clean_log_text(text))
    assert denial.denial.actions == ("s3:PutObject",)
