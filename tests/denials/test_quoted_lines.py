"""Which lines of a log quote a denial, and which report one (`quoted_texts.json`)."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from leastpriv.denials.job_logs import read_log
from leastpriv.denials.log_text import clean_log_text
from leastpriv.denials.message import find_denials

TEXTS: dict[str, list[str]] = json.loads(
    Path(__file__).with_name("quoted_texts.json").read_text(encoding="utf-8")
)
AROUND = ("{}", "{}\n", "$ make deploy\n{}\nDone in 3 s", "2026-12-01T10:00:00.0000000Z {}")


def texts(kind: str) -> list[str]:
    return [frame.format(text) for text in TEXTS[kind] for frame in AROUND]


@pytest.mark.parametrize("text", texts("quoted"))
def test_a_line_that_quotes_a_denial_reports_none(text: str) -> None:
    assert find_denials(clean_log_text(text)) == []


@pytest.mark.parametrize("text", texts("quoted"))
def test_a_log_with_a_line_that_quotes_a_denial_has_none(text: str) -> None:
    assert list(read_log(io.BytesIO(text.encode()), "log")) == []


@pytest.mark.parametrize("text", texts("reported"))
def test_a_line_that_reports_a_denial_is_read_whatever_precedes_it(text: str) -> None:
    actions = {each for one in find_denials(clean_log_text(text)) for each in one.denial.actions}
    assert actions & {"s3:GetObject", "s3:PutObject"}


@pytest.mark.parametrize("text", texts("reported"))
def test_a_log_with_a_line_that_reports_a_denial_has_it(text: str) -> None:
    found = read_log(io.BytesIO(text.encode()), "log")
    assert {each for one in found for each in one.denial.actions} & {"s3:GetObject", "s3:PutObject"}


def test_a_quoted_line_hides_no_denial_of_the_next_line() -> None:
    text = f"{TEXTS['quoted'][0]}\n{TEXTS['reported'][1]}"
    [denial] = find_denials(clean_log_text(text))
    assert denial.denial.actions == ("s3:PutObject",)
