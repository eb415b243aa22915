"""Terraform's data source `aws_iam_policy_document` as the policy it makes.

https://registry.terraform.io/providers/hashicorp/aws/latest/docs/data-sources/iam_policy_document, read 2026-11-24:
`version` is 2012-10-17 and `effect` Allow where they are absent, and `&{` stands for `${` of a policy variable.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from leastpriv.errors import PolicyFileError

_LISTS = {
    "actions": "Action",
    "not_actions": "NotAction",
    "resources": "Resource",
    "not_resources": "NotResource",
}
_ELSEWHERE = ("source_policy_documents", "override_policy_documents", "source_json", "override_json")


def as_policy(block: object, where: str, pointer: str) -> str:
    """Write the block as JSON whose strings are still Terraform's.

    Raises PolicyFileError where a part of the policy does not stand in the block.
    """
    body = block if isinstance(block, Mapping) else {}
    _refuse_open(body, where, pointer)
    policy: dict[str, object] = {"Version": body.get("version", "2012-10-17")}
    if "policy_id" in body:
        policy["Id"] = body["policy_id"]
    policy["Statement"] = [_statement(each) for each in _several(body.get("statement"))]
    return json.dumps(policy, indent=2, ensure_ascii=False) + "\n"


def _refuse_open(body: Mapping[str, object], where: str, pointer: str) -> None:
    for key in _ELSEWHERE:
        if body.get(key):
            raise PolicyFileError(
                f"{where}: {pointer} has {key}, so that the policy stands elsewhere too; save what Terraform renders "
                "as a JSON file and name that."
            )
    if body.get("dynamic"):
        raise PolicyFileError(
            f"{where}: {pointer} has dynamic blocks, which only Terraform can write out; save what it renders as a "
            "JSON file and name that."
        )


def _statement(block: Mapping[str, object]) -> dict[str, object]:
    made: dict[str, object] = {"Sid": block["sid"]} if block.get("sid") else {}
    made["Effect"] = block.get("effect", "Allow")
    for key, name in _LISTS.items():
        # An empty list is left out, as the provider does.
        if block.get(key):
            made[name] = _variables(block[key])
    for key, name in (("principals", "Principal"), ("not_principals", "NotPrincipal")):
        if key in block:
            made[name] = _principals(block[key])
    conditions = _conditions(block)
    return {**made, "Condition": conditions} if conditions else made


def _principals(blocks: object) -> object:
    """As the provider writes them: `*` for everybody, else the identifiers of each type together."""
    found: dict[str, list[object]] = {}
    for each in _several(blocks):
        found.setdefault(str(each.get("type", "")), []).extend(_listed(_variables(each.get("identifiers", []))))
    return "*" if found == {"*": ["*"]} else {kind: who[0] if len(who) == 1 else who for kind, who in found.items()}


def _conditions(block: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """The condition blocks; the values of those of equal test and variable follow each other, as in the provider.

    https://github.com/hashicorp/terraform-provider-aws/blob/main/internal/service/iam/policy_model.go, read 2026-11-24.
    """
    found: dict[str, dict[str, object]] = {}
    for each in _several(block.get("condition")):
        keys, key = found.setdefault(str(each.get("test", "")), {}), str(each.get("variable", ""))
        values = _variables(each.get("values", []))
        keys[key] = [*_listed(keys[key]), *_listed(values)] if key in keys else values
    return found


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def _several(value: object) -> Iterator[Mapping[str, object]]:
    """One block, or a list of blocks."""
    for each in value if isinstance(value, Sequence) and not isinstance(value, str) else [value]:
        if isinstance(each, Mapping):
            yield each


def _variables(value: object) -> object:
    if isinstance(value, str):
        return value.replace("&{", "$${")
    return [_variables(item) for item in value] if isinstance(value, Sequence) else value
