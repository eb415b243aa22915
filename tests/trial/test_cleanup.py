"""Names and tags of a trial are unique and within AWS's limits, and show whether the trial has ended."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from leastpriv.trial.cleanup import ProcessIdentity, TrialTags, has_trial_ended
from leastpriv.trial.process import parent_and_start

NOW = datetime(2026, 11, 3, 9, 15, tzinfo=UTC)
PROCESS = ProcessIdentity("0a1b2c3d4e5f", os.getpid(), parent_and_start(os.getpid())[1])
TAGS = TrialTags("leastpriv-0a1b2c3d4e5f", NOW, PROCESS)


def tags(trial_tags: TrialTags = TAGS, at: datetime = NOW) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in trial_tags.tags(at)}


def test_names_and_tags_are_accepted_by_iam() -> None:
    assert re.fullmatch(r"[\w+=,.@-]{2,64}", TAGS.session_name(999_999_999))
    assert re.fullmatch(r"[\w+=,.@-]{1,64}", TAGS.resource_name("999999999-10"))
    for key, value in tags().items():
        assert re.fullmatch(r"[\w .:/=+@-]{1,128}", key)
        assert re.fullmatch(r"[\w .:/=+@-]{1,256}", value)


def test_a_running_trial_has_not_ended_on_this_or_another_machine() -> None:
    assert not has_trial_ended(tags(), NOW, PROCESS)
    assert not has_trial_ended(tags(), NOW, ProcessIdentity("another", 1, 1))


def test_a_trial_whose_process_ended_on_this_machine_has_ended() -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    trial_tags = TrialTags(TAGS.trial, NOW, ProcessIdentity(PROCESS.machine, int(ended.stdout), 7))
    assert has_trial_ended(tags(trial_tags), NOW, PROCESS)
    assert not has_trial_ended(tags(trial_tags), NOW, ProcessIdentity("another", 1, 1))


def test_a_trial_whose_process_id_was_reused_has_ended() -> None:
    trial_tags = TrialTags(TAGS.trial, NOW, ProcessIdentity(PROCESS.machine, PROCESS.pid, PROCESS.started - 1))
    assert has_trial_ended(tags(trial_tags), NOW, PROCESS)


@pytest.mark.parametrize("differs", ["boot", "namespace"])
def test_containers_with_one_name_are_different_machines(tmp_path: Path, differs: str) -> None:
    """Each has its own process ids, and the host may be another one or may have rebooted."""
    machines = []
    for number in (1, 2):
        proc = tmp_path / str(number)
        (proc / "sys/kernel/random").mkdir(parents=True)
        (proc / "self/ns").mkdir(parents=True)
        (proc / "sys/kernel/random/boot_id").write_text(f"boot-{number if differs == 'boot' else 0}\n")
        (proc / "self/ns/pid").symlink_to(f"pid:[{number if differs == 'namespace' else 0}]")
        machines.append(ProcessIdentity.current(proc).machine)
    assert len(set(machines)) == 2
    assert ProcessIdentity.current(tmp_path / "1").machine == machines[0]


def test_without_a_machine_identity_no_trial_counts_as_ended(tmp_path: Path) -> None:
    process = ProcessIdentity.current(tmp_path)
    assert process.machine == ""
    assert not has_trial_ended(tags(TrialTags(TAGS.trial, NOW, process)), NOW, process)


def test_a_trial_whose_credentials_expired_has_ended() -> None:
    elsewhere = TrialTags(TAGS.trial, NOW, ProcessIdentity("another", 1, 1))
    assert not has_trial_ended(tags(elsewhere), NOW + timedelta(minutes=59), PROCESS)
    assert has_trial_ended(tags(elsewhere), NOW + timedelta(minutes=61), PROCESS)
    assert not has_trial_ended(tags(elsewhere, NOW + timedelta(minutes=50)), NOW + timedelta(minutes=61), PROCESS)


def test_resources_without_readable_tags_are_not_removed() -> None:
    for odd in ({}, {"leastpriv:until": "soon"}, {"leastpriv:until": "2020-01-01"}, {"leastpriv:maker": "x/y"}):
        assert not has_trial_ended(odd, NOW, PROCESS)


def test_the_name_of_the_machine_is_not_in_the_tags() -> None:
    assert os.uname().nodename not in str(ProcessIdentity.current())
