"""Each file of `tests/cases_chain` is a promise: these calls and targets give this chain (its
README has the form).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.chains import config, entry, login, policy
from tests.fakes.command import leastpriv
from tests.fakes.deploys import FIRST, write_trail
from tests.test_cases import record

CASES = sorted((Path(__file__).parent / "cases_chain").glob("*.json"))
HANDED = {
    "cloudformation": ("cloudformation:CreateChangeSet", "stackName", "roleARN"),
    "codebuild": ("codebuild:CreateProject", "name", "serviceRole"),
    "lambda": ("lambda:CreateFunction20150331", "functionName", "role"),
}


def arn(name: str) -> str:
    return f"arn:aws:iam::111122223333:role/{name}"


def call_of(call: Mapping[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in call.items() if key not in ("assumes", "passes", "to")}
    if "assumes" in call:
        return {**login(arn(call["assumes"])), **rest}
    if "passes" in call:
        event, name, role = HANDED[call["to"]]
        return {"event": event, "parameters": {name: "orders", role: arn(call["passes"])}, **rest}
    return rest


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path, tmp_path: Path) -> None:
    case = json.loads(path.read_text(encoding="utf-8"))
    found = outcome(json.loads((run_case(case, tmp_path) / "proposal.json").read_text()))
    expected = {
        key: sorted(value) if isinstance(value, list) else value
        for key, value in case["expect"].items()
    }
    assert {key: found[key] for key in expected} == expected


def run_case(case: Mapping[str, Any], folder: Path) -> Path:
    """Write the case's trail, policies and config into the folder and run the command; return its
    output folder.
    """
    write_trail(
        folder / "trail",
        [
            record(
                arn(who), "17650000001", FIRST + timedelta(days=turn, seconds=second), call_of(call)
            )
            for turn in range(case.get("times", 1))
            for second, (who, call) in enumerate(case["calls"])
        ],
    )
    (folder / "iam").mkdir()
    for name in case["targets"]:
        (folder / "iam" / f"{name}.json").write_text(policy("*"))
    listed = [entry(arn(name), f"iam/{name}.json") for name in case["targets"]]
    (folder / "leastpriv.yml").write_text(config(listed, **case.get("config", {})))
    with contextlib.chdir(folder):
        options = ("--trails", "trail", "--output-dir", "out", "--lifecycle", "offer")
        result = leastpriv("propose", "--config", "leastpriv.yml", *options)
    assert result.code == 0, result.err
    return folder / "out"


def outcome(index: Mapping[str, Any]) -> dict[str, Any]:
    """What a case may expect, in words."""
    chain = index["chain"]

    def words(link: Mapping[str, Any]) -> str:
        way = "assumed" if link["way"] == "assumed" else f"passed to {link['service']}"
        return f"{name(link['from'])} -> {name(link['role'])}: {way} {link['count']}×"

    return {
        "roots": sorted(map(name, chain["roots"])),
        "links": sorted(map(words, chain["links"])),
        "needs": {name(each["role"]): each["actions"] for each in chain["unwritten"]},
        "first-files": sorted(index["first_files"]),
    }


def name(role: str) -> str:
    return role.rpartition("/")[2]


def test_each_case_has_a_reason() -> None:
    for path in CASES:
        case = json.loads(path.read_text(encoding="utf-8"))
        assert case["title"], path.name
        assert case["why"], path.name
