"""Write the JSON schema of the `config` file from the table of inputs; `--check` only compares."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the package of this checkout, not an installed one

from leastpriv.config.inputs import COPIES_KEYS, Input, inputs
from leastpriv.config.targets_file import (
    FORMER_KEYS,
    FORMERLY,
    ORGANIZATION,
    READER_KEYS,
    REPOSITORY,
    USERS,
    settings_inputs,
    target_inputs,
)

SCHEMA = ROOT / "leastpriv" / "config" / "config.schema.json"

_ARN = r"^arn:aws(-[a-z]+)*:iam::([0-9]{12}|[0-9*?]{1,12}):(role|user)/.+$"
_USER = r"^([A-Za-z0-9][\w .-]*=)?!?arn:aws(-[a-z]+)*:iam::[0-9*?]{1,12}:(role|user)/.+$"
_COPIES = {
    "type": "object",
    "additionalProperties": False,
    "properties": {name: {"type": "array", "items": {"type": "string"}} for name in COPIES_KEYS},
}
_LIST = {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


def schema() -> dict[str, object]:
    """The schema, in JSON Schema's draft 2020-12."""
    known = {each.name: each for each in inputs()}
    target = {name: _input(known[name]) for name in target_inputs()}
    target["role-arn"] = {
        "type": "string",
        "pattern": _ARN,
        "description": (
            "ARN of the role or user; with * or ? in its account, path or name, every such role"
            " that made a call: with {name} in policy-file a file each, else users of one policy."
        ),
    }
    users = {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": _USER}}
    labelled = {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": r"^[A-Za-z0-9][\w .-]{0,63}$"},
        "additionalProperties": {"type": "string", "pattern": _ARN},
    }
    target[USERS] = {
        "oneOf": [users, labelled],
        "description": (
            "All roles and users that the policy governs, in place of role-arn: a list of ARNs and"
            " patterns (LABEL=ARN names one in reports, !ARN excludes a role), or a mapping from"
            " labels to ARNs."
        ),
    }
    target["policy-file"] = {
        "type": "string",
        "minLength": 1,
        "description": (
            "The committed policy, as the input of this name; for a role-arn with wildcards with"
            " {name} in the file's name, as in iam/{name}.json."
        ),
    }
    target["repository"] = {
        "type": "string",
        "pattern": f"^{REPOSITORY.pattern}$",
        "description": (
            "OWNER/NAME of the repository of the policy file, which the token of github-token may"
            " write; by default that of the run."
        ),
    }
    target["group"] = {
        "type": "string",
        "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
        "description": "Targets of one group share the pull request of the branch leastpriv/GROUP.",
    }
    target[FORMERLY] = {
        "type": "object",
        "additionalProperties": False,
        "properties": dict.fromkeys(FORMER_KEYS, _LIST),
        "description": (
            "Earlier names of the target, whose history and declines it keeps: each one name or a"
            " list; policy-file may have {name}, as that of the target."
        ),
    }
    reader = {name: _reader_key(name) for name in READER_KEYS}
    needs = {name: ["assume-role"] for name in READER_KEYS if name != "assume-role"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings and targets of leastpriv-action",
        "type": "object",
        "anyOf": [{"required": ["targets"]}, {"required": ["settings"]}],
        "additionalProperties": False,
        "properties": {
            "settings": {
                "type": "object",
                "additionalProperties": False,
                "properties": {name: _input(known[name]) for name in settings_inputs()},
                "description": "Inputs that action.yml leaves out, for all targets.",
            },
            "targets": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["policy-file"],
                    "oneOf": [{"required": ["role-arn"]}, {"required": [USERS]}],
                    "additionalProperties": False,
                    "properties": target | reader,
                    "dependentRequired": needs,
                    "not": {"required": ["group", "branch"]},
                },
            },
            "accounts": {
                "oneOf": [
                    {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "anyOf": [
                                {"type": "string", "pattern": "^[0-9]{12}$"},
                                {
                                    "type": "integer",
                                    "minimum": 100000000000,
                                    "maximum": 999999999999,
                                },
                            ]
                        },
                    },
                    {"const": ORGANIZATION},
                ],
                "description": (
                    "The accounts that a wildcard in the account of a role means: a list, or"
                    f" {ORGANIZATION} for those of the AWS organization; by default all accounts"
                    " of the records."
                ),
            },
            "follow": {
                "type": "boolean",
                "default": True,
                "description": (
                    "Whether the calls of roles are read that the targets lead to and that are no"
                    " targets."
                ),
            },
            "discover": {
                "oneOf": [
                    {"type": "boolean"},
                    {"type": "string", "pattern": r"^(?!/).*\{name\}\.json$"},
                ],
                "default": False,
                "description": (
                    "Whether first policy files are drafted for such roles, or where they go: "
                    "iam/{name}.json."
                ),
            },
            **reader,
        },
        "dependentRequired": needs,
    }


def _reader_key(name: str) -> dict[str, object]:
    about = {
        "assume-role": (
            "ARN of the role that reads the account; {account} is the target's. At the top, for"
            " every account but that of the credentials."
        ),
        "external-id": "External id that the trust policy of assume-role names.",
        "session-name": "Session name of assume-role.",
    }
    return {"type": "string", "pattern": f"^{READER_KEYS[name][0]}$", "description": about[name]}


def _input(known: Input) -> dict[str, object]:
    about = f"{known.help[0].upper()}{known.help[1:]}."
    if known.name == "copies":
        return {"oneOf": [{"type": "string"}, _COPIES], "description": about}
    if known.several:
        return {**_LIST, "description": about}
    if known.default in ("true", "false"):
        return {"enum": [True, False, "true", "false"], "description": about}
    if known.choices:
        empty = [] if known.default else [""]
        return {"enum": [*empty, *known.choices], "description": about}
    if known.is_count:
        form = "^[0-9]{1,9}$" if known.default else "^([0-9]{1,9})?$"
        whole = [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": form}]
        return {"oneOf": whole, "description": about}
    return {"type": ["string", "number"], "description": about}


def main(arguments: list[str]) -> int:
    """Write the schema, or with `--check` compare it; 1 when it is stale."""
    fresh = json.dumps(schema(), indent=2) + "\n"
    stale = not SCHEMA.exists() or SCHEMA.read_text(encoding="utf-8") != fresh
    if arguments == ["--check"]:
        if stale:
            print(
                "leastpriv/config/config.schema.json is older than the inputs: run `make readme`."
            )
        return int(stale)
    SCHEMA.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
