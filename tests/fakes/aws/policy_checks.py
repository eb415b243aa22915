"""Fakes ValidatePolicy, the custom policy checks and SimulateCustomPolicy, as far as tests need
them.

A small evaluator, independent of the product's, decides; both share only the JSON parser with
locations.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leastpriv.policy.syntax_tree import Node
from leastpriv.policy.syntax_tree import read_json as read_places
from tests.fakes.aws.server import Asked, FakeAws, RefusedError

Policy = Mapping[str, Any]
_PAGE = 3
"""Findings and results per page: few, so that paging is tested."""
_GUIDE = (
    "https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-reference-policy-checks.html"
)
_UNKNOWN_TO_THE_SIMULATOR = frozenset({"ec2:newaction"})


class PolicyChecks(FakeAws):
    """The checks; operations in `contrary` return the opposite result."""

    def __init__(self, *contrary: str) -> None:
        super().__init__({
            "accessanalyzer:ValidatePolicy": self._validate,
            "accessanalyzer:CheckNoNewAccess": self._no_new_access,
            "accessanalyzer:CheckAccessNotGranted": self._not_granted,
            "accessanalyzer:CheckNoPublicAccess": self._no_public_access,
            "iam:SimulateCustomPolicy": self._simulate,
            "sts:GetCallerIdentity": self._who,
        })  # fmt: skip
        self.caller = "arn:aws:iam::111122223333:user/reader"
        """The caller of the tests."""
        self.contrary = contrary
        self.context_needed: dict[str, str] = {}
        """Action -> condition key that the simulator reports as missing for it."""

    @property
    def judged(self) -> list[str]:
        """The operations of all requests except GetCallerIdentity."""
        return [each.operation for each in self.requests if each.operation != "GetCallerIdentity"]

    def _who(self, _: Asked) -> Mapping[str, Any]:
        return {"UserId": "AIDAEXAMPLE", "Account": self.caller.split(":")[4], "Arn": self.caller}

    def _validate(self, asked: Asked) -> Mapping[str, Any]:
        text = asked.parameters["policyDocument"]
        of_resource = asked.parameters["policyType"] == "RESOURCE_POLICY"
        if of_resource == any("Principal" not in each for each in _statements(_parsed(text))):
            raise RefusedError("ValidationException", "The policy is of another type.")
        found = list(_findings(text, _parsed(text)))
        start = int(asked.parameters.get("nextToken", "0"))
        more = {"nextToken": str(start + _PAGE)} if start + _PAGE < len(found) else {}
        return {"findings": found[start : start + _PAGE], **more}

    def _no_new_access(self, asked: Asked) -> Mapping[str, Any]:
        old, new = (
            _parsed(asked.parameters[key])
            for key in ("existingPolicyDocument", "newPolicyDocument")
        )
        wider = [
            (number, statement)
            for number, statement in enumerate(_statements(new))
            for action in _list(statement, "Action")
            for resource in _list(statement, "Resource")
            if decide([new], action.replace("*", "X"), resource.replace("*", "X"))[0] == "allowed"
            and decide([old], action.replace("*", "X"), resource.replace("*", "X"))[0] != "allowed"
        ]
        return self._result(asked.operation, wider)

    def _not_granted(self, asked: Asked) -> Mapping[str, Any]:
        policy = _parsed(asked.parameters["policyDocument"])
        wanted = [action for access in asked.parameters["access"] for action in access["actions"]]
        granting = [
            (number, statement)
            for number, statement in enumerate(_statements(policy))
            if statement["Effect"] == "Allow"
            and any(_names(statement, action.replace("*", "X")) for action in wanted)
        ]
        return self._result(asked.operation, granting)

    def _no_public_access(self, asked: Asked) -> Mapping[str, Any]:
        policy = _parsed(asked.parameters["policyDocument"])
        open_to_all = [
            (number, statement)
            for number, statement in enumerate(_statements(policy))
            if statement.get("Principal") in ("*", {"AWS": "*"}) and not statement.get("Condition")
        ]
        return self._result(asked.operation, open_to_all)

    def _result(self, operation: str, found: Sequence[tuple[int, Policy]]) -> Mapping[str, Any]:
        fails = bool(found) != (operation in self.contrary)
        reasons = [
            {
                "description": "New access in the statement.",
                "statementIndex": number,
                "statementId": each.get("Sid"),
            }
            for number, each in found
        ]
        if not fails:
            return {"result": "PASS", "message": "The policy document passes."}
        return {"result": "FAIL", "message": "The policy document fails.", "reasons": reasons}

    def _simulate(self, asked: Asked) -> Mapping[str, Any]:
        given = asked.parameters
        policies = [_parsed(text) for text in given["PolicyInputList"]]
        context = {
            each["ContextKeyName"].lower(): each["ContextKeyValues"]
            for each in given.get("ContextEntries", ())
        }
        unknown = [
            name for name in given["ActionNames"] if name.lower() in _UNKNOWN_TO_THE_SIMULATOR
        ]
        if unknown:
            raise RefusedError("InvalidInput", f"Invalid Action: {unknown[0]}")
        limits = _Limits(
            [_parsed(text) for text in given.get("PermissionsBoundaryPolicyInputList", ())],
            [
                [_parsed(text) for text in level["ServiceControlPolicyInputList"]]
                for level in given.get("OrderedOrganizationPolicyInputList", ())
            ],
        )
        results = [
            limits.limited(
                self._simulated(policies, action, given.get("ResourceArns"), context), context
            )
            for action in given["ActionNames"]
        ]
        start = int(given.get("Marker", "0"))
        cut = start + _PAGE < len(results)
        more = {"Marker": str(start + _PAGE)} if cut else {}
        return {"EvaluationResults": results[start : start + _PAGE], "IsTruncated": cut, **more}

    def _simulated(
        self,
        policies: Sequence[Policy],
        action: str,
        resources: Sequence[str] | None,
        context: Mapping[str, list[str]],
    ) -> Mapping[str, Any]:
        every = [(name, *decide(policies, action, name, context)) for name in resources or ("*",)]
        if "SimulateCustomPolicy" in self.contrary:
            every = [(name, "implicitDeny", missing) for name, _, missing in every]
        key = self.context_needed.get(action)
        every = [
            (name, *(("implicitDeny", {key}) if key else (decision, missing)))
            for name, decision, missing in every
        ]
        specific = [
            {
                "EvalResourceName": name,
                "EvalResourceDecision": decision,
                "MissingContextValues": sorted(missing),
                "MatchedStatements": [],
            }
            for name, decision, missing in every
        ]
        worst = next((decision for _, decision, _ in every if decision != "allowed"), "allowed")
        return {
            "EvalActionName": action,
            # The template of the type, never the resource: so the API reference since 2026.
            "EvalResourceName": "*" if resources is None else "arn:${Partition}:x:::${Name}",
            "EvalDecision": worst,
            "MatchedStatements": [],
            "MissingContextValues": sorted({key for _, _, missing in every for key in missing}),
            **({"ResourceSpecificResults": specific} if resources else {}),
        }


@dataclass(frozen=True, slots=True)
class _Limits:
    """A permissions boundary, and the SCPs of each level from the root to the account."""

    boundary: Sequence[Policy]
    levels: Sequence[Sequence[Policy]]

    def limited(
        self, result: Mapping[str, Any], context: Mapping[str, list[str]]
    ) -> Mapping[str, Any]:
        """A result of the principal's own policies, under the limits."""
        action = result["EvalActionName"]
        specific = result.get("ResourceSpecificResults", ())
        names = [each["EvalResourceName"] for each in specific] or ["*"]
        organization = all(
            decide(level, action, name, context)[0] == "allowed"
            for level in self.levels
            for name in names
        )
        within = {
            name: not self.boundary or decide(self.boundary, action, name, context)[0] == "allowed"
            for name in names
        }

        def answer(key: str, name: str, own: Mapping[str, Any]) -> dict[str, Any]:
            found = dict(own) if organization and within[name] else {**own, key: "implicitDeny"}
            detail = {
                "PermissionsBoundaryDecisionDetail": {"AllowedByPermissionsBoundary": within[name]}
            }
            return {**found, **(detail if self.boundary else {})}

        shown = [
            answer("EvalResourceDecision", each["EvalResourceName"], each) for each in specific
        ]
        worst = next((name for name in names if not within[name]), names[0])
        whole = answer("EvalDecision", worst, result) | (
            {"ResourceSpecificResults": shown} if shown else {}
        )
        detail = {"OrganizationsDecisionDetail": {"AllowedByOrganizations": organization}}
        return {**whole, **(detail if self.levels else {})}


def decide(
    policies: Sequence[Policy],
    action: str,
    resource: str,
    context: Mapping[str, list[str]] | None = None,
) -> tuple[str, set[str]]:
    """The decision in IAM's order for one request, and the missing condition keys."""
    missing: set[str] = set()
    effects: set[str] = set()
    for statement in (each for policy in policies for each in _statements(policy)):
        if not (_names(statement, action) and _is_about(statement, resource)):
            continue
        if _holds(statement.get("Condition", {}), context or {}, missing):
            effects.add(statement["Effect"])
    return _decision(effects), missing


def _decision(effects: set[str]) -> str:
    if "Deny" in effects:
        return "explicitDeny"
    return "allowed" if "Allow" in effects else "implicitDeny"


def _parsed(text: str) -> Policy:
    try:
        policy: Policy = json.loads(text)
        return policy
    except ValueError as error:
        raise RefusedError("ValidationException", f"The policy is not JSON: {error}") from error


def _statements(policy: Policy) -> list[Policy]:
    found = policy["Statement"]
    return found if isinstance(found, list) else [found]


def _list(statement: Policy, key: str) -> list[str]:
    found = statement.get(key, [])
    return found if isinstance(found, list) else [found]


def _matches(pattern: str, text: str, flags: int = 0) -> bool:
    plain = re.sub(r"\$\{([*?$])\}", lambda found: f"\0{ord(found[1])}\0", pattern)
    made = re.escape(plain).replace(r"\*", ".*").replace(r"\?", ".")
    made = re.sub("\\\\?\0(\\d+)\\\\?\0", lambda found: re.escape(chr(int(found[1]))), made)
    return re.fullmatch(made, text, flags | re.DOTALL) is not None


def _names(statement: Policy, action: str) -> bool:
    if "NotAction" in statement:
        return not any(
            _matches(each, action, re.IGNORECASE) for each in _list(statement, "NotAction")
        )
    return any(_matches(each, action, re.IGNORECASE) for each in _list(statement, "Action"))


def _is_about(statement: Policy, resource: str) -> bool:
    if "NotResource" in statement:
        return not any(_matches(each, resource) for each in _list(statement, "NotResource"))
    return any(_matches(each, resource) for each in _list(statement, "Resource"))


def _holds(conditions: Policy, context: Mapping[str, list[str]], missing: set[str]) -> bool:
    holds = True
    for operator, keys in conditions.items():
        for key, values in keys.items():
            wanted = values if isinstance(values, list) else [values]
            have = context.get(key.lower())
            if have is None:
                missing.add(key)
            match = have is not None and any(
                _matches(each, text) for each in wanted for text in have
            )
            holds = holds and (match != operator.startswith("StringNot"))
    return holds


_UNLISTED = {"apigateway:TagResource", "bedrock-agentcore:CreateTokenVault"}
"""What Access Analyzer calls errors though IAM authorizes it."""


def _findings(text: str, policy: Policy) -> Iterator[Mapping[str, Any]]:
    """Some of the real checks, one of each type, with Access Analyzer's locations."""
    root = read_places(text, "policy")
    found = root.get("Statement")
    nodes = found.items if found and found.kind == "array" else (found,)
    for number, (statement, node) in enumerate(zip(_statements(policy), nodes, strict=True)):
        assert node is not None
        for place, action in enumerate(_list(statement, "Action")):
            at = node.get("Action")
            assert at is not None
            entry = at.items[place] if at.kind == "array" else at
            path = [
                {"value": "Statement"},
                {"index": number},
                {"value": "Action"},
                {"index": place},
            ]
            if action in _UNLISTED or not re.fullmatch(r"\*|[a-z0-9-]+:[A-Za-z0-9*?]+", action):
                yield _finding(
                    "ERROR",
                    "INVALID_ACTION",
                    f"The action {action} does not exist.",
                    text,
                    entry,
                    path,
                )
            elif action.lower() == "iam:passrole" and "*" in _list(statement, "Resource"):
                words = (
                    "Using the iam:PassRole action with wildcards (*) in the resource can be overly"
                    " permissive."
                )
                yield _finding(
                    "SECURITY_WARNING", "PASS_ROLE_WITH_STAR_IN_RESOURCE", words, text, entry, path
                )
            elif action in _list(statement, "Action")[:place]:
                words = f"The {number}. statement repeats the action {action}."
                yield _finding("SUGGESTION", "REDUNDANT_ACTION", words, text, entry, path)
    if policy.get("Version") != "2012-10-17":
        yield _finding(
            "WARNING",
            "MISSING_VERSION",
            "We recommend that you specify the Version element.",
            text,
            root,
            [],
        )


def _finding(
    kind: str, code: str, words: str, text: str, node: Node, path: list[Any]
) -> Mapping[str, Any]:
    span = {"start": _position(text, node.start), "end": _position(text, node.end)}
    return {
        "findingType": kind, "issueCode": code, "findingDetails": words,
        "learnMoreLink": f"{_GUIDE}#{code.lower()}",
        "locations": [{"path": path, "span": span}],
    }  # fmt: skip


def _position(text: str, offset: int) -> Mapping[str, int]:
    """Lines from 1, columns and offsets from 0 (API reference of `Position`)."""
    return {
        "line": text.count("\n", 0, offset) + 1,
        "column": offset - text.rfind("\n", 0, offset) - 1,
        "offset": offset,
    }
