"""Names and tags of a trial are unique and within AWS's limits, and show whether the trial has
ended.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from leastpriv.trial.cleanup import TrialTags, has_trial_ended

NOW = datetime(2026, 11, 3, 9, 15, tzinfo=UTC)
TAGS = TrialTags("leastpriv-0a1b2c3d4e5f", NOW)


def tags(at: datetime = NOW) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in TAGS.tags(at)}


def test_names_and_tags_are_accepted_by_iam() -> None:
    assert re.fullmatch(r"[\w+=,.@-]{2,64}", TAGS.session_name(999_999_999))
    assert re.fullmatch(r"[\w+=,.@-]{1,64}", TAGS.resource_name("999999999-10"))
    for key, value in tags().items():
        assert re.fullmatch(r"[\w .:/=+@-]{1,128}", key)
        assert re.fullmatch(r"[\w .:/=+@-]{1,256}", value)


def test_a_trial_has_ended_once_its_last_credentials_expired() -> None:
    assert not has_trial_ended(tags(), NOW + timedelta(minutes=59))
    assert has_trial_ended(tags(), NOW + timedelta(minutes=61))
    assert not has_trial_ended(tags(NOW + timedelta(minutes=50)), NOW + timedelta(minutes=61))


def test_resources_without_readable_tags_are_not_removed() -> None:
    for odd in ({}, {"leastpriv:until": "soon"}, {"leastpriv:until": "2020-01-01"}):
        assert not has_trial_ended(odd, NOW)
