"""What the resource types of a role's stacks declare: kept where a policy has it, never written."""

from __future__ import annotations

from leastpriv.proposal.situation import Candidate, Situation


def declared(candidate: Candidate, situation: Situation) -> str:
    """A handler of a type that this role deploys needs it by the type's own account, perhaps in a later run."""
    types = situation.evidence.hints.declared.actions.get(candidate.action, ())
    more = f" and {len(types) - 1} more" if len(types) > 1 else ""
    return f"the handlers of {types[0]}{more} need it, which this role deploys" if types else ""
