"""The promises of names and tags: unique, within AWS's limits, and telling whether a trial is over."""

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
HERE = ProcessIdentity("0a1b2c3d4e5f", os.getpid(), parent_and_start(os.getpid())[1])
MARK = TrialTags("leastpriv-0a1b2c3d4e5f", NOW, HERE)


def tags(mark: TrialTags = MARK, at: datetime = NOW) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in mark.tags(at)}


def test_names_are_ones_that_iam_takes() -> None:
    assert re.fullmatch(r"[\w+=,.@-]{2,64}", MARK.session_name(999_999_999))
    assert re.fullmatch(r"[\w+=,.@-]{1,64}", MARK.resource_name("999999999-10"))
    for key, value in tags().items():
        assert re.fullmatch(r"[\w .:/=+@-]{1,128}", key)
        assert re.fullmatch(r"[\w .:/=+@-]{1,256}", value)


def test_a_trial_that_runs_is_not_dead_also_on_another_machine() -> None:
    assert not has_trial_ended(tags(), NOW, HERE)
    assert not has_trial_ended(tags(), NOW, ProcessIdentity("another", 1, 1))


def test_a_trial_whose_process_has_ended_here_is_dead() -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    mark = TrialTags(MARK.trial, NOW, ProcessIdentity(HERE.machine, int(ended.stdout), 7))
    assert has_trial_ended(tags(mark), NOW, HERE)
    assert not has_trial_ended(tags(mark), NOW, ProcessIdentity("another", 1, 1))


def test_a_process_id_that_another_process_has_by_now_is_dead() -> None:
    mark = TrialTags(MARK.trial, NOW, ProcessIdentity(HERE.machine, HERE.pid, HERE.started - 1))
    assert has_trial_ended(tags(mark), NOW, HERE)


@pytest.mark.parametrize("differs", ["boot", "room"])
def test_containers_with_one_name_are_different_machines(tmp_path: Path, differs: str) -> None:
    """Each has process ids of its own, and the machine below may be another one, or have started anew."""
    machines = []
    for number in (1, 2):
        proc = tmp_path / str(number)
        (proc / "sys/kernel/random").mkdir(parents=True)
        (proc / "self/ns").mkdir(parents=True)
        (proc / "sys/kernel/random/boot_id").write_text(f"boot-{number if differs == 'boot' else 0}\n")
        (proc / "self/ns/pid").symlink_to(f"pid:[{number if differs == 'room' else 0}]")
        machines.append(ProcessIdentity.current(proc).machine)
    assert len(set(machines)) == 2
    assert ProcessIdentity.current(tmp_path / "1").machine == machines[0]


def test_where_the_machine_does_not_tell_what_it_is_nobody_takes_a_trial_for_dead(tmp_path: Path) -> None:
    here = ProcessIdentity.current(tmp_path)
    assert here.machine == ""
    assert not has_trial_ended(tags(TrialTags(MARK.trial, NOW, here)), NOW, here)


def test_a_trial_whose_last_credentials_have_ended_is_dead() -> None:
    elsewhere = TrialTags(MARK.trial, NOW, ProcessIdentity("another", 1, 1))
    assert not has_trial_ended(tags(elsewhere), NOW + timedelta(minutes=59), HERE)
    assert has_trial_ended(tags(elsewhere), NOW + timedelta(minutes=61), HERE)
    assert not has_trial_ended(tags(elsewhere, NOW + timedelta(minutes=50)), NOW + timedelta(minutes=61), HERE)


def test_what_has_no_readable_tags_is_nobodys_to_remove() -> None:
    for odd in ({}, {"leastpriv:until": "soon"}, {"leastpriv:until": "2020-01-01"}, {"leastpriv:maker": "x/y"}):
        assert not has_trial_ended(odd, NOW, HERE)


def test_the_name_of_the_machine_is_not_told() -> None:
    assert os.uname().nodename not in str(ProcessIdentity.current())
