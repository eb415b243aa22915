"""The tools accept the output of `leastpriv init` for them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from leastpriv.init.options import parse_options
from leastpriv.init.reader_role import known_sources, reader_grants, reader_policy
from leastpriv.init.render import TERRAFORM, render_files
from tests.end_to_end.lab.lab import ACCOUNT, Lab, is_there
from tests.end_to_end.seed import tools
from tests.end_to_end.seed.tools import ToolMissingError
from tests.end_to_end.test_reader_role import TARGET
from tests.init.test_reader_role import GIVEN as ALL_VALUES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_there(), reason="the lab's environment is not there: make lab"),
]

GIVEN = {"repository_owner_id": "12", "repository_id": "34"}
PROVIDER = """\
provider "aws" {
  region                  = "us-east-1"
  skip_metadata_api_check = true
  endpoints {
    iam = "ENDPOINT"
    sts = "ENDPOINT"
  }
}
"""


def test_terraform_formats_nothing_and_creates_the_role_of_the_table(
    lab: Lab, tmp_path: Path
) -> None:
    """With the policy of the table, and a trust policy for both forms of GitHub's subject."""
    given = {**ALL_VALUES, "role-arn": [TARGET], "sources": known_sources()}
    options = parse_options(given)
    (tmp_path / TERRAFORM).write_text(render_files(options)[TERRAFORM])
    _terraform(lab, tmp_path, "fmt", "-check", "-diff")
    (tmp_path / "provider.tf").write_text(PROVIDER.replace("ENDPOINT", lab.endpoint))
    for command in (
        ("init", "-input=false"),
        ("validate",),
        ("apply", "-auto-approve", "-input=false"),
    ):
        _terraform(lab, tmp_path, *command)
    iam = lab.client("iam")
    made = iam.get_role_policy(RoleName="leastpriv-reader", PolicyName="leastpriv-reader")[
        "PolicyDocument"
    ]
    values = {**options.values, "Account": ACCOUNT}
    assert _plain(made) == _plain(reader_policy(reader_grants(options.sources), values))
    [trust] = iam.get_role(RoleName="leastpriv-reader")["Role"]["AssumeRolePolicyDocument"][
        "Statement"
    ]
    assert trust["Condition"]["StringEquals"]["token.actions.githubusercontent.com:sub"] == [
        "repo:acme/shop:ref:refs/heads/main", "repo:acme@12/shop@34:ref:refs/heads/main",
    ]  # fmt: skip


def _terraform(lab: Lab, folder: Path, *arguments: str) -> None:
    made = _had(tools.terraform)
    given = {f"TF_VAR_{name}": value for name, value in GIVEN.items()}
    own = {"TF_CLI_CONFIG_FILE": str(made / "terraform.rc"), "TF_IN_AUTOMATION": "1", **given}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        [made / "program", *arguments], cwd=folder, env={**kept, **lab.environment(), **own},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]


def _had(tool: Any) -> Any:
    try:
        return tool()
    except ToolMissingError as error:
        pytest.skip(str(error))


def _plain(policy: Any) -> list[Any]:
    """Statements in which a list of one equals its element, and the order of a list is ignored."""
    found = policy if isinstance(policy, dict) else json.loads(policy)

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        return [value] if isinstance(value, str) else sorted(value)

    return [plain(statement) for statement in found["Statement"]]
