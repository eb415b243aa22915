"""Each state of a pull request has its next step; the decision is pure, so there is no server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.pull_request.lifecycle import (
    IN_USE,
    PAUSED_LABEL,
    ClosedPullRequest,
    Hold,
    Holds,
    OpenPullRequest,
    ProposalBranch,
    PullRequestStep,
    WantedProposal,
    plan_step,
)
from tests.fakes.replace import replace

WANTED = WantedProposal("aa" * 16, "main", changes=True)
NOTHING_LEFT = replace(WANTED, changes=False)
OURS = ProposalBranch("c0ffee", is_own=True, has_own_commits=True, fingerprint=WANTED.fingerprint)
STALE = replace(OURS, fingerprint=f"{'aa' * 4}{'bb' * 12}")
ELSEWHERE = replace(OURS, fingerprint="bb" * 16)
EDITED = replace(OURS, is_own=False)
FOREIGN = ProposalBranch("c0ffee", is_own=False, has_own_commits=False, fingerprint="")
PULL = OpenPullRequest(
    7,
    "main",
    "- [ ] <!-- leastpriv:rebase --> take the branch back\n",
    fingerprint=WANTED.fingerprint,
)
TICKED = replace(PULL, body=PULL.body.replace("[ ]", "[x]"))
GAP = Hold("The guard gap-in-scope holds it back.", "The guard `gap-in-scope` holds it back.")
HOLDS = Holds(for_now={"11": GAP}, lasting={"33": "asked-to-keep"})
WAITING = replace(NOTHING_LEFT, holds=HOLDS)
SAME = ClosedPullRequest(5, WANTED.fingerprint, declined=True)
OTHER = ClosedPullRequest(4, "cc" * 16, declined=True)


@pytest.mark.parametrize(
    ("wanted", "branch", "pull", "declined", "step"),
    [
        pytest.param(WANTED, None, None, (), PullRequestStep.CREATE, id="no branch, change needed"),
        pytest.param(
            NOTHING_LEFT, None, None, (), PullRequestStep.NOTHING, id="no branch, nothing to change"
        ),
        pytest.param(
            WANTED, OURS, PULL, (), PullRequestStep.NOTHING, id="open, ours, same fingerprint"
        ),
        pytest.param(
            WANTED,
            STALE,
            PULL,
            (),
            PullRequestStep.UPDATE,
            id="open, ours, other fingerprint or base",
        ),
        pytest.param(
            WANTED, EDITED, PULL, (), PullRequestStep.LEAVE_EDITED, id="open, a person pushed"
        ),
        pytest.param(
            WANTED,
            OURS,
            replace(PULL, base="release"),
            (),
            PullRequestStep.LEAVE_RETARGETED,
            id="open, other target",
        ),
        pytest.param(WANTED, EDITED, TICKED, (), PullRequestStep.UPDATE, id="edited, box ticked"),
        pytest.param(
            WANTED, OURS, TICKED, (), PullRequestStep.UPDATE, id="ours, box ticked: made anew"
        ),
        pytest.param(
            WANTED,
            STALE,
            replace(PULL, labels=(PAUSED_LABEL,)),
            (),
            PullRequestStep.NOTHING,
            id="paused",
        ),
        pytest.param(
            WANTED,
            STALE,
            replace(PULL, labels=("Leastpriv: Paused",)),
            (),
            PullRequestStep.NOTHING,
            id="paused, in capitals",
        ),
        pytest.param(NOTHING_LEFT, OURS, PULL, (), PullRequestStep.CLOSE, id="open, nothing left"),
        pytest.param(
            NOTHING_LEFT,
            EDITED,
            PULL,
            (),
            PullRequestStep.LEAVE_OBSOLETE,
            id="edited, nothing left",
        ),
        pytest.param(
            WANTED,
            None,
            None,
            (SAME,),
            PullRequestStep.NOTHING,
            id="closed unmerged, same fingerprint",
        ),
        pytest.param(
            WANTED,
            OURS,
            None,
            (OTHER, SAME),
            PullRequestStep.NOTHING,
            id="closed unmerged, branch left over",
        ),
        pytest.param(
            WANTED,
            None,
            None,
            (OTHER,),
            PullRequestStep.CREATE,
            id="closed unmerged, other fingerprint",
        ),
        pytest.param(
            WANTED,
            OURS,
            None,
            (),
            PullRequestStep.CREATE_PULL,
            id="branch ours, creation was forbidden",
        ),
        pytest.param(
            WANTED,
            STALE,
            None,
            (),
            PullRequestStep.UPDATE,
            id="branch ours and stale, no pull request",
        ),
        pytest.param(
            NOTHING_LEFT,
            OURS,
            None,
            (),
            PullRequestStep.DELETE_BRANCH,
            id="branch ours, nothing left, none open",
        ),
        pytest.param(
            NOTHING_LEFT,
            OURS,
            None,
            (SAME,),
            PullRequestStep.NOTHING,
            id="closed unmerged, all declined, branch kept",
        ),
        pytest.param(WANTED, FOREIGN, None, (), PullRequestStep.FOREIGN, id="branch is not ours"),
        pytest.param(
            NOTHING_LEFT,
            FOREIGN,
            None,
            (),
            PullRequestStep.NOTHING,
            id="branch is not ours, nothing to change",
        ),
        pytest.param(
            WANTED,
            ELSEWHERE,
            PULL,
            (),
            PullRequestStep.OTHER_SCOPE,
            id="ours, of another role or file",
        ),
        pytest.param(
            NOTHING_LEFT,
            ELSEWHERE,
            PULL,
            (),
            PullRequestStep.NOTHING,
            id="ours, of another, nothing to change",
        ),
        pytest.param(
            WANTED,
            OURS,
            replace(PULL, fingerprint=STALE.fingerprint),
            (),
            PullRequestStep.REWORD,
            id="ours, text of another",
        ),
        pytest.param(
            WANTED,
            OURS,
            replace(PULL, fingerprint=""),
            (),
            PullRequestStep.NOTHING,
            id="ours, text rewritten by a person",
        ),
        pytest.param(
            WANTED,
            EDITED,
            replace(TICKED, base="release"),
            (),
            PullRequestStep.LEAVE_RETARGETED,
            id="edited, ticked, other target",
        ),
        pytest.param(
            WANTED, EDITED, None, (), PullRequestStep.LEAVE_EDITED, id="edited, no pull request"
        ),
        pytest.param(WAITING, OURS, PULL, (), PullRequestStep.HOLD, id="held for now"),
        pytest.param(WAITING, EDITED, PULL, (), PullRequestStep.HOLD, id="edited, held for now"),
        pytest.param(
            WAITING,
            OURS,
            replace(PULL, labels=(PAUSED_LABEL,)),
            (),
            PullRequestStep.NOTHING,
            id="paused, held for now",
        ),
        pytest.param(
            WAITING, OURS, None, (), PullRequestStep.NOTHING, id="held for now, no pull request"
        ),
        pytest.param(WAITING, None, None, (), PullRequestStep.NOTHING, id="held, no branch"),
        pytest.param(
            replace(WAITING, changes=True),
            STALE,
            PULL,
            (),
            PullRequestStep.UPDATE,
            id="one change held, another proposed",
        ),
        pytest.param(
            WAITING,
            OURS,
            replace(PULL, changes=("22",)),
            (),
            PullRequestStep.CLOSE,
            id="others are held for now",
        ),
        pytest.param(
            replace(WAITING, holds=replace(HOLDS, hidden=GAP)),
            OURS,
            replace(PULL, changes=("22",)),
            (),
            PullRequestStep.HOLD,
            id="a gap may hide its change",
        ),
        pytest.param(
            replace(WAITING, holds=replace(HOLDS, hidden=GAP)),
            OURS,
            replace(PULL, changes=("33",)),
            (),
            PullRequestStep.CLOSE,
            id="a person keeps what it would change",
        ),
    ],
)
def test_row(
    wanted: WantedProposal,
    branch: ProposalBranch | None,
    pull: OpenPullRequest | None,
    declined: tuple[ClosedPullRequest, ...],
    step: PullRequestStep,
) -> None:
    """Each row of the documented lifecycle gives its step."""
    assert plan_step(wanted, branch, pull, declined).step is step


def test_a_new_proposal_names_the_one_that_was_declined() -> None:
    assert (
        plan_step(
            WANTED, None, None, (OTHER, ClosedPullRequest(2, "dd" * 16, declined=True))
        ).declined
        == OTHER.number
    )


def test_a_hold_names_the_guard_of_most_changes() -> None:
    few = Hold("minimum-runs", "minimum-runs")
    holds = Holds(for_now={"11": GAP, "12": few, "13": few})
    assert holds.hold(("11", "12", "13")) == few
    assert holds.hold(("11",)) == GAP
    assert holds.hold(("44",)) is None


def test_a_change_that_is_no_longer_to_be_made_ends_the_hold() -> None:
    """A removal of what is used now is not left to be merged."""
    holds = Holds(for_now={"11": GAP}, lasting={"21": IN_USE, "33": "asked-to-keep"}, hidden=GAP)
    assert holds.hold(("11", "12")) == GAP
    assert holds.hold(("11", "21")) is None
    assert "in use now" in holds.closing_reason(("11", "21"))
    assert "held back for now" in holds.closing_reason(("11", "21"))
    assert "`asked-to-keep`" in holds.closing_reason(("33",))
    assert "matches the evidence" not in holds.closing_reason(("11", "33"))
    assert "matches the evidence" in holds.closing_reason(("21",))
    assert "matches the evidence" in holds.closing_reason(())


branches = st.none() | st.builds(
    ProposalBranch,
    st.just("c0ffee"),
    st.booleans(),
    st.booleans(),
    st.sampled_from([WANTED.fingerprint, STALE.fingerprint, ""]),
)
pulls = st.none() | st.sampled_from(
    [PULL, TICKED, replace(PULL, base="release"), replace(PULL, labels=(PAUSED_LABEL,))]
)


@given(branches, pulls, st.lists(st.sampled_from([SAME, OTHER])), st.booleans())
def test_a_branch_with_edits_moves_only_by_its_ticked_box(
    branch: ProposalBranch | None,
    pull: OpenPullRequest | None,
    declined: list[ClosedPullRequest],
    changes: bool,
) -> None:
    decision = plan_step(replace(WANTED, changes=changes), branch, pull, declined)
    assert decision.reason
    if (
        branch
        and not branch.is_own
        and decision.step
        in {
            PullRequestStep.UPDATE,
            PullRequestStep.CLOSE,
            PullRequestStep.DELETE_BRANCH,
            PullRequestStep.CREATE,
        }
    ):
        assert decision.step is PullRequestStep.UPDATE
        assert pull is TICKED
