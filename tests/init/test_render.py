from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from leastpriv.config.inputs import INPUTS
from leastpriv.config.settings import from_environment
from leastpriv.init.options import InitOptions, parse_options
from leastpriv.init.reader_role import known_sources
from leastpriv.init.render import CLOUDFORMATION, PATH, TERRAFORM, action_inputs, deploy_command, render_files
from leastpriv.policy.hcl_syntax import read_blocks
from tests.fakes.command import leastpriv

KNOWN = {known.name for known in INPUTS}
ISSUER = "token.actions.githubusercontent.com"


def test_the_trust_policy_accepts_exactly_both_forms_of_githubs_subject() -> None:
    """By names, and by names and ids; the second only if both ids are given."""
    statement = _yaml(render_files(known_sources(), InitOptions())[CLOUDFORMATION])["Resources"]["LeastprivReader"][
        "Properties"
    ]["AssumeRolePolicyDocument"]["Statement"][0]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    equals = statement["Condition"]["StringEquals"]
    assert equals[f"{ISSUER}:aud"] == "sts.amazonaws.com"
    assert list(statement["Condition"]) == ["StringEquals"]
    assert equals[f"{ISSUER}:sub"] == [
        "repo:${RepositoryOwner}/${RepositoryName}:ref:refs/heads/${Branch}",
        [
            "HasIds",
            "repo:${RepositoryOwner}@${RepositoryOwnerId}/${RepositoryName}@${RepositoryId}:ref:refs/heads/${Branch}",
            "AWS::NoValue",
        ],
    ]


def test_terraform_accepts_the_same_subjects() -> None:
    text = render_files(known_sources(), InitOptions())[TERRAFORM]
    assert '"repo:${var.repository_owner}/${var.repository_name}:ref:refs/heads/${var.branch}"' in text
    by_id = "${var.repository_owner}@${var.repository_owner_id}/${var.repository_name}@${var.repository_id}"
    assert f'== "" ? "" : "repo:{by_id}:ref:refs/heads/${{var.branch}}"' in text


def test_the_terraform_file_is_valid_hcl() -> None:
    root = read_blocks(render_files(known_sources(), parse_options(repository="acme/shop"))[TERRAFORM])
    assert root.error < 0
    assert {"variable", "data", "resource", "output"} <= {block.labels[0] for block in root.blocks}


def test_every_parameter_that_the_template_uses_is_declared_and_every_declared_one_used() -> None:
    for sources in (known_sources(), ("event-history",)):
        text = render_files(sources, InitOptions())[CLOUDFORMATION]
        declared = set(_yaml(text)["Parameters"])
        body = text.partition("Conditions:")[2]
        used = set(re.findall(r"\$\{(\w+)\}|!Ref (\w+)", body))
        assert {one or other for one, other in used} - {"AWS"} == declared
        variables = render_files(sources, InitOptions())[TERRAFORM]
        assert set(re.findall(r'variable "(\w+)"', variables)) == set(re.findall(r"var\.(\w+)", variables))


@pytest.mark.parametrize("source", known_sources())
def test_the_workflow_sets_only_existing_inputs(source: str) -> None:
    steps = _yaml(render_files([source], InitOptions())[PATH])["jobs"]["least-privilege"]["steps"]
    assert {"role-arn", "policy-file"} <= set(steps[1]["with"]) <= KNOWN
    assert set(action_inputs([source])) <= KNOWN


@pytest.mark.parametrize(
    "name", ["null", "1.5", "true", "2026-11-24", "iam/ci.json#/Resources/R/Properties/Policies/0"]
)
def test_the_policy_file_is_the_given_text(name: str) -> None:
    steps = _yaml(render_files(["event-history"], parse_options(policy_file=name))[PATH])["jobs"]["least-privilege"][
        "steps"
    ]
    assert steps[1]["with"]["policy-file"] == name


@pytest.mark.parametrize(
    ("partition", "region", "audience"),
    [("aws-cn", "cn-north-1", "sts.amazonaws.com.cn"), ("aws-us-gov", "us-gov-west-1", "sts.amazonaws.com")],
)
def test_another_partition_has_its_own_region_and_audience(partition: str, region: str, audience: str) -> None:
    """The role accepts exactly the audience that the workflow requests."""
    found = render_files(known_sources(), parse_options(f"arn:{partition}:iam::111122223333:role/ci"))
    asked = _yaml(found[PATH])["jobs"]["least-privilege"]["steps"][0]["with"]
    assert asked["aws-region"] == region
    assert asked.get("audience", "sts.amazonaws.com") == audience
    role = _yaml(found[CLOUDFORMATION])["Resources"]["LeastprivReader"]["Properties"]
    [statement] = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Condition"]["StringEquals"][f"{ISSUER}:aud"] == audience
    assert f'values   = ["{audience}"]' in found[TERRAFORM]


def test_another_default_branch_is_in_both_templates_and_the_deploy_command(tmp_path: Path) -> None:
    result = leastpriv("init", "--output-dir", str(tmp_path), "--branch", "release/main", "--repository", "acme/shop")
    assert _yaml((tmp_path / CLOUDFORMATION).read_text())["Parameters"]["Branch"]["Default"] == "release/main"
    assert 'default     = "release/main"' in (tmp_path / TERRAFORM).read_text()
    assert "Branch=release/main" in result.err


def test_the_deploy_command_has_every_value_without_default_the_ids_and_the_branch() -> None:
    command = deploy_command(["s3-trail"], InitOptions())
    parameters = _yaml(render_files(["s3-trail"], InitOptions())[CLOUDFORMATION])["Parameters"]
    needed = {name for name, each in parameters.items() if "Default" not in each}
    values = shlex.split(command.partition("--parameter-overrides ")[2])
    assert {value.partition("=")[0] for value in values} == {*needed, "RepositoryOwnerId", "RepositoryId", "Branch"}


def test_the_deploy_command_asks_github_for_the_repository_ids() -> None:
    """A new repository's subject has ids by default, so that a role without them would reject its jobs."""
    values = shlex.split(deploy_command(["event-history"], parse_options(repository="acme/shop")))
    assert "RepositoryOwnerId=$(gh api repos/acme/shop --jq .owner.id)" in values
    assert "RepositoryId=$(gh api repos/acme/shop --jq .id)" in values


def test_the_workflow_names_a_trail_if_a_table_is_created_over_it() -> None:
    found = action_inputs(["athena", "athena-create"])
    assert (found["trails"], found["athena-table"]) == ("s3://BUCKET/PREFIX", "DATABASE.TABLE")


@pytest.mark.parametrize("sources", [*([source] for source in known_sources()), known_sources()], ids=",".join)
def test_the_workflow_needs_only_the_roles_permissions_and_has_valid_inputs(sources: list[str]) -> None:
    """The action reads access advisor by default; if that source is not chosen, the input disables it."""
    given = _yaml(render_files(sources, InitOptions())[PATH])["jobs"]["least-privilege"]["steps"][1]["with"]
    values = {name: "true" if value is True else "false" if value is False else value for name, value in given.items()}
    own = {
        "s3://BUCKET/PREFIX": "s3://logs/org", "DATABASE.TABLE": "default.logs",
        "SERVICE-ROLE-ARN": "arn:aws:iam::123456789012:role/analyzer",
        "TRAIL-ARN": "arn:aws:cloudtrail:eu-west-1:123456789012:trail/main",
    }  # fmt: skip
    for (name, value), (open_value, filled) in product(values.items(), own.items()):
        values[name] = values[name].replace(open_value, filled) if isinstance(value, str) else value
    read = from_environment({f"INPUT_{name.upper()}": str(value) for name, value in values.items()})
    assert read.last_accessed is ("last-accessed" in sources)
    assert read.validate_digests is ("digests" in sources and "athena" not in sources)
    assert read.custom_policy_checks is ("custom-policy-checks" in sources)
    assert bool(read.athena_table) is ("athena" in sources)


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ("last-accessed", "have no evidence"),
        ("event-history,digests", "The source digests needs another source: add s3-trail"),
        ("event-history,athena-create", "add athena to --sources"),
        ("s3-trail,athena,digests", "leaves validate-digests out"),
        ("s3-trail,access-analyzer", "in capitals: s3://BUCKET/PREFIX, SERVICE-ROLE-ARN TRAIL-ARN."),
        ("event-history,live-role", ""),
    ],
)
def test_an_incomplete_choice_of_sources_is_reported(sources: str, words: str, tmp_path: Path) -> None:
    result = leastpriv("init", "--output-dir", str(tmp_path), "--sources", sources)
    assert result.code == 0
    assert words in result.err
    assert words or len(result.err.splitlines()) == 4


def test_the_workflow_is_valid_for_github(tmp_path: Path) -> None:
    path = tmp_path / "least-privilege.yml"
    path.write_text(render_files(known_sources(), InitOptions())[PATH])
    tool = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run([tool, "--builtin-schema", "vendor.github-workflows", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_command_writes_and_reports_all_files(tmp_path: Path) -> None:
    result = leastpriv("init", "--output-dir", str(tmp_path), "--repository", "acme/shop")
    assert result.code == 0
    assert result.err.count("Wrote") == 3
    assert _yaml((tmp_path / CLOUDFORMATION).read_text())["Parameters"]["RepositoryOwner"]["Default"] == "acme"


def test_an_existing_file_is_never_overwritten_unasked(tmp_path: Path) -> None:
    (tmp_path / TERRAFORM).write_text("# mine\n")
    result = leastpriv("init", "--output-dir", str(tmp_path))
    assert result.code == 2
    assert f"{TERRAFORM} is there already" in result.err
    assert (tmp_path / TERRAFORM).read_text() == "# mine\n"
    assert not (tmp_path / CLOUDFORMATION).exists()
    assert leastpriv("init", "--output-dir", str(tmp_path), "--overwrite").err.count("Overwrote") == 1


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    leastpriv("init", "--output-dir", str(tmp_path))
    result = leastpriv("init", "--output-dir", str(tmp_path))
    assert (result.code, result.err.count("Unchanged")) == (0, 3)


def test_an_unwritable_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = leastpriv("init", "--output-dir", str(tmp_path / "file" / "x"))
    assert result.code == 1
    assert "cannot be written" in result.err


def _yaml(text: str) -> Any:
    """Reads YAML with CloudFormation's short functions as their values."""
    plain = re.sub(r"!(Sub|Ref|If|GetAtt|Not|Or|Equals)\b", "", text)
    return json.loads(json.dumps(YAML(typ="safe", pure=True).load(plain)))
