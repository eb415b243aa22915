"""Needs of the deployment tools themselves (`data/tool_calls.tsv`): stacks, roles, uploads, Terraform's state."""

from __future__ import annotations

from collections.abc import Iterator

from leastpriv.evidence.declared.models import Place
from leastpriv.models import Basis, Condition, Need, Permission
from leastpriv.permissions.fact_tables import table

_CLOUDFORMATION = (Condition("StringEquals", "iam:PassedToService", ("cloudformation.amazonaws.com",)),)


def tool_calls(step: str, because: str, place: Place, **names: str) -> Iterator[Need]:
    """Yields the needs of one step of a tool; `names` fill the resources: stack, role, bucket …."""
    values = {"partition": place.partition, "account": place.account, "region": place.region, **names}
    for row in table("tool_calls", __package__):
        if row["step"] != step:
            continue
        for action in row["actions"].split(","):
            conditions = _CLOUDFORMATION if step == "pass" else ()
            permission = Permission(action, row["resource"].format(**values), conditions)
            yield Need(permission, Basis.DECLARED, "what the tool itself calls", because)
