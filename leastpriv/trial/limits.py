"""What a person allows a trial to add.

The text of a command proves nothing: the command chooses it and knows its session. So sensitive
actions and those that read or write data need a record of AWS, or a person's yes.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.permissions import catalog
from leastpriv.permissions.catalog import access_level, sensitivity
from leastpriv.permissions.data_access import data_read
from leastpriv.permissions.event_table import Visibility, visibility
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import action_matches
from leastpriv.policy.containment import check_containment
from leastpriv.policy.document import Document, parse
from leastpriv.policy.edit import create_policy
from leastpriv.proposal.edit_plan import new_statements
from leastpriv.proposal.models import Change


def needed_proof(action: str) -> str:
    """Returns why the text of a command is not enough to add an action; empty where it is."""
    sensitive = sensitivity(action)
    if sensitive:
        return sensitive
    read = data_read(action)
    if read:
        return f"reads {read}"
    for row in table("data_uses", __package__ or ""):
        if action_matches(row["pattern"], action):
            return row["what"]
    if catalog.spelling(action) is None:
        return "is not known"
    is_on_data = visibility(action).visibility is Visibility.DATA
    # To list names is no data: a tool lists before it finds what it needs.
    lists = access_level(action) == "List" or action.partition(":")[2].startswith("List")
    if is_on_data and not lists:
        return "reads or writes data"
    return ""


class TrialLimits(Struct, frozen=True):
    """The actions that a person says yes to, and the outer bound of all additions."""

    yes_to: tuple[str, ...] = ()
    """Actions; a pattern (`s3:*Object`) is a yes to actions on data only, not to sensitive ones."""
    within: Document | None = None
    """Nothing that this policy does not allow is added."""

    def names(self, action: str) -> bool:
        """Whether the person names an action whole, so that it may be added before a denial."""
        return any(yes_action.lower() == action.lower() for yes_action in self.yes_to)

    def says_yes_to(self, action: str) -> bool:
        """Whether the person allows an action that only the command's text names."""
        if self.names(action):
            return True
        is_on_data = not sensitivity(action)
        return is_on_data and any(
            action_matches(yes_pattern, action) for yes_pattern in self.yes_to
        )

    def may_add_unrecorded(self, action: str) -> bool:
        """Whether an action may be added that no record of AWS shows as denied."""
        return not needed_proof(action) or self.says_yes_to(action)

    def allows(self, change: Change, resource: str) -> bool:
        """Whether an addition is inside the outer bound on one of its resources."""
        if self.within is None:
            return True
        grant = replace(change, resources=(resource,))
        document = parse(create_policy(new_statements([grant], ())), "an addition")
        return check_containment([self.within], [document]).holds
