"""The life cycle of the one pull request, row by row (no server: the table is pure)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.pull_request.lifecycle import PAUSED_LABEL, Branch, Declined, Pull, Step, Wanted, decide

WANTED = Wanted("aa" * 16, "main", changes=True)
NOTHING_LEFT = replace(WANTED, changes=False)
OURS = Branch("c0ffee", ours=True, ever_ours=True, fingerprint=WANTED.fingerprint)
STALE = replace(OURS, fingerprint=f"{'aa' * 4}{'bb' * 12}")
ELSEWHERE = replace(OURS, fingerprint="bb" * 16)
EDITED = replace(OURS, ours=False)
FOREIGN = Branch("c0ffee", ours=False, ever_ours=False, fingerprint="")
PULL = Pull(7, "main", "- [ ] <!-- leastpriv:rebase --> take the branch back\n", fingerprint=WANTED.fingerprint)
TICKED = replace(PULL, body=PULL.body.replace("[ ]", "[x]"))
SAME = Declined(5, WANTED.fingerprint)
OTHER = Declined(4, "cc" * 16)


@pytest.mark.parametrize(
    ("wanted", "branch", "pull", "declined", "step"),
    [
        pytest.param(WANTED, None, None, (), Step.CREATE, id="no branch, change needed"),
        pytest.param(NOTHING_LEFT, None, None, (), Step.NOTHING, id="no branch, nothing to change"),
        pytest.param(WANTED, OURS, PULL, (), Step.NOTHING, id="open, ours, same fingerprint"),
        pytest.param(WANTED, STALE, PULL, (), Step.UPDATE, id="open, ours, other fingerprint or base"),
        pytest.param(WANTED, EDITED, PULL, (), Step.LEAVE_EDITED, id="open, a person pushed"),
        pytest.param(WANTED, OURS, replace(PULL, base="release"), (), Step.LEAVE_RETARGETED, id="open, other target"),
        pytest.param(WANTED, EDITED, TICKED, (), Step.UPDATE, id="edited, box ticked"),
        pytest.param(WANTED, OURS, TICKED, (), Step.UPDATE, id="ours, box ticked: made anew"),
        pytest.param(WANTED, STALE, replace(PULL, labels=(PAUSED_LABEL,)), (), Step.NOTHING, id="paused"),
        pytest.param(
            WANTED, STALE, replace(PULL, labels=("Leastpriv: Paused",)), (), Step.NOTHING, id="paused, in capitals"
        ),
        pytest.param(NOTHING_LEFT, OURS, PULL, (), Step.CLOSE, id="open, nothing left"),
        pytest.param(NOTHING_LEFT, EDITED, PULL, (), Step.LEAVE_OBSOLETE, id="edited, nothing left"),
        pytest.param(WANTED, None, None, (SAME,), Step.NOTHING, id="closed unmerged, same fingerprint"),
        pytest.param(WANTED, OURS, None, (OTHER, SAME), Step.NOTHING, id="closed unmerged, branch left over"),
        pytest.param(WANTED, None, None, (OTHER,), Step.CREATE, id="closed unmerged, other fingerprint"),
        pytest.param(WANTED, OURS, None, (), Step.CREATE_PULL, id="branch ours, creation was forbidden"),
        pytest.param(WANTED, STALE, None, (), Step.UPDATE, id="branch ours and stale, no pull request"),
        pytest.param(NOTHING_LEFT, OURS, None, (), Step.DELETE_BRANCH, id="branch ours, nothing left, none open"),
        pytest.param(NOTHING_LEFT, OURS, None, (SAME,), Step.NOTHING, id="closed unmerged, all declined, branch kept"),
        pytest.param(WANTED, FOREIGN, None, (), Step.FOREIGN, id="branch is not ours"),
        pytest.param(NOTHING_LEFT, FOREIGN, None, (), Step.NOTHING, id="branch is not ours, nothing to change"),
        pytest.param(WANTED, ELSEWHERE, PULL, (), Step.OTHER_SCOPE, id="ours, of another role or file"),
        pytest.param(NOTHING_LEFT, ELSEWHERE, PULL, (), Step.NOTHING, id="ours, of another, nothing to change"),
        pytest.param(
            WANTED, OURS, replace(PULL, fingerprint=STALE.fingerprint), (), Step.REWORD, id="ours, text of another"
        ),
        pytest.param(
            WANTED, OURS, replace(PULL, fingerprint=""), (), Step.NOTHING, id="ours, text rewritten by a person"
        ),
        pytest.param(
            WANTED, OURS, replace(PULL, fingerprint="", by_us=False), (), Step.REWORD, id="ours, opened by hand"
        ),
        pytest.param(
            WANTED,
            EDITED,
            replace(TICKED, base="release"),
            (),
            Step.LEAVE_RETARGETED,
            id="edited, ticked, other target",
        ),
        pytest.param(WANTED, EDITED, None, (), Step.LEAVE_EDITED, id="edited, no pull request"),
    ],
)
def test_row(
    wanted: Wanted, branch: Branch | None, pull: Pull | None, declined: tuple[Declined, ...], step: Step
) -> None:
    """Each row of the documented life cycle gives its step."""
    assert decide(wanted, branch, pull, declined).step is step


def test_a_new_proposal_names_the_one_that_was_declined() -> None:
    assert decide(WANTED, None, None, (OTHER, Declined(2, "dd" * 16))).declined == OTHER.number


branches = st.none() | st.builds(
    Branch,
    st.just("c0ffee"),
    st.booleans(),
    st.booleans(),
    st.sampled_from([WANTED.fingerprint, STALE.fingerprint, ""]),
)
pulls = st.none() | st.sampled_from(
    [PULL, TICKED, replace(PULL, base="release"), replace(PULL, labels=(PAUSED_LABEL,))]
)


@given(branches, pulls, st.lists(st.sampled_from([SAME, OTHER])), st.booleans())
def test_a_branch_that_is_not_ours_alone_moves_only_by_its_ticked_box(
    branch: Branch | None, pull: Pull | None, declined: list[Declined], changes: bool
) -> None:
    decision = decide(replace(WANTED, changes=changes), branch, pull, declined)
    assert decision.reason
    if branch and not branch.ours and decision.step in {Step.UPDATE, Step.CLOSE, Step.DELETE_BRANCH, Step.CREATE}:
        assert decision.step is Step.UPDATE
        assert pull is TICKED
