from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from leastpriv.cli.command_line import parser
from leastpriv.config.inputs import inputs
from leastpriv.config.settings import parse_settings, step_inputs, with_step_defaults
from leastpriv.config.targets_file import read_configuration, with_settings
from leastpriv.errors import InputError
from leastpriv.init.options import InitOptions, parse_options
from leastpriv.init.reader_role import known_sources
from leastpriv.init.render import (
    BUCKET_POLICY,
    CLOUDFORMATION,
    KEY_POLICY,
    LOGIN,
    MEMBER,
    STACK_SET,
    TERRAFORM,
    WORKFLOW,
    action_inputs,
    checkout_action,
    next_steps,
    render_files,
)
from leastpriv.policy.document import parse
from leastpriv.policy.evaluate import Request, evaluate
from leastpriv.policy.hcl_syntax import read_blocks
from tests.fakes.command import leastpriv
from tests.init.test_reader_role import GIVEN, ROLE

ROOT = Path(__file__).parents[2]
ISSUER = "token.actions.githubusercontent.com"
OTHER = "arn:aws:iam::222233334444:role/ci/deploy"
NEEDED = {"digests": ["s3-trail"], "kms": ["s3-trail"]}
SETUP = ("--role-arn", ROLE, "--repository", "acme/shop", "--action", GIVEN["action"][0])
each_source = pytest.mark.parametrize("source", known_sources())


def target(**given: Any) -> InitOptions:
    """The checked options of one role of acme/shop with its defaults."""
    options = {
        name.replace("_", "-"): [value] if isinstance(value, str) else value
        for name, value in given.items()
    }
    return parse_options(
        {"repository": ["acme/shop"], "role-arn": [ROLE], "action": GIVEN["action"], **options}
    )


def of_source(source: str) -> InitOptions:
    """The options of a source with those of which it needs one."""
    trails = [
        trail for trail in GIVEN["trails"] if trail.startswith("s3://") == (source != "log-group")
    ]
    inputs_of_source = {
        "s3-trail": {"trails": trails}, "digests": {"trails": trails},
        "log-group": {"trails": trails},
        "kms": {"trails": trails, "kms-key-arn": GIVEN["kms-key-arn"]},
        "access-analyzer": {"access-analyzer": GIVEN["access-analyzer"]},
    }  # fmt: skip
    tables = {name: GIVEN[name] for name in ("trails", "athena-table", "athena-results")}
    source_inputs = tables if source.startswith("athena") else inputs_of_source.get(source, {})
    user = {"role-arn": ["arn:aws:iam::111122223333:user/ci"]} if source == "live-user" else {}
    sources = ["event-history", *NEEDED.get(source, ()), source]
    required = {"repository": ["acme/shop"], "role-arn": [ROLE], "action": GIVEN["action"]}
    return parse_options({**required, **source_inputs, **user, "sources": sources})


@pytest.mark.parametrize(
    ("given", "ends"),
    [
        ({}, ["ref:refs/heads/main"]),
        ({"branch": ["main", "release/1"]}, ["ref:refs/heads/main", "ref:refs/heads/release/1"]),
        ({"environment": "prod"}, ["environment:prod"]),
        ({"environment": "prod:v1"}, ["environment:prod%3Av1"]),
        ({"tag": "v*"}, ["ref:refs/tags/v*"]),
        ({"environment": "prod", "branch": "main"}, ["environment:prod", "ref:refs/heads/main"]),
    ],
)
def test_the_trust_policy_accepts_exactly_both_forms_of_githubs_subject(
    given: dict[str, Any], ends: list[str]
) -> None:
    """By names, and by names and ids; the second only if both ids are given."""
    role = _yaml(render_files(target(**given))[CLOUDFORMATION])["Resources"]["LeastprivReader"][
        "Properties"
    ]
    [statement] = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Condition"]["StringEquals"][f"{ISSUER}:aud"] == "sts.amazonaws.com"
    operator = "StringLike" if "tag" in given else "StringEquals"
    assert set(statement["Condition"]) == {"StringEquals", operator}
    by_id = "repo:acme@${RepositoryOwnerId}/shop@${RepositoryId}"
    assert statement["Condition"][operator][f"{ISSUER}:sub"] == [
        *(f"repo:acme/shop:{end}" for end in ends),
        *(["HasIds", f"{by_id}:{end}", "AWS::NoValue"] for end in ends),
    ]
    text = render_files(target(**given))[TERRAFORM]
    for end in ends:
        assert f'"repo:acme/shop:{end}"' in text
        assert f'"repo:acme@${{var.repository_owner_id}}/shop@${{var.repository_id}}:{end}"' in text


def test_customized_subjects_replace_those_of_branches() -> None:
    subject = "repo:acme/shop:job_workflow_ref:acme/flows/.github/workflows/a.yml@refs/tags/v1"
    text = render_files(target(subject=subject))[CLOUDFORMATION]
    assert f'- "{subject}"' in text
    assert "refs/heads/main" not in text
    assert "RepositoryId" not in text


def test_an_enterprise_server_is_its_own_issuer_and_has_no_ids() -> None:
    issuer = "ghe.acme.com/_services/token"
    files = render_files(target(issuer=issuer))
    role = _yaml(files[CLOUDFORMATION])
    assert role["Resources"]["Provider"]["Properties"]["Url"] == f"https://{issuer}"
    [statement] = role["Resources"]["LeastprivReader"]["Properties"]["AssumeRolePolicyDocument"][
        "Statement"
    ]
    assert list(statement["Condition"]["StringEquals"]) == [f"{issuer}:aud", f"{issuer}:sub"]
    assert set(role["Parameters"]) == {"CreateProvider"}
    assert ISSUER not in files[TERRAFORM]


def test_the_terraform_file_is_valid_hcl() -> None:
    root = read_blocks(render_files(target())[TERRAFORM])
    assert root.error < 0
    assert {"variable", "data", "resource", "output"} <= {block.labels[0] for block in root.blocks}


def test_every_parameter_that_the_template_uses_is_declared_and_every_declared_one_used() -> None:
    for options in (target(), target(issuer="ghe.acme.com/_services/token")):
        files = render_files(options)
        body = files[CLOUDFORMATION].partition("Conditions:")[2]
        used_names = {
            parameter or reference
            for parameter, reference in re.findall(r"\$\{(\w+)\}|!Ref (\w+)", body)
        }
        assert used_names - {"AWS", "Provider"} == set(_yaml(files[CLOUDFORMATION])["Parameters"])
        declared = set(re.findall(r'variable "(\w+)"', files[TERRAFORM]))
        assert declared == set(re.findall(r"var\.(\w+)", files[TERRAFORM]))


@each_source
def test_the_workflow_needs_only_the_roles_permissions_and_has_valid_inputs(source: str) -> None:
    """The action reads last accessed information by default; if that source is not chosen, the
    input disables it.
    """
    options = of_source(source)
    workflow_inputs = _steps(render_files(options)[WORKFLOW])[1]["with"]
    assert workflow_inputs == action_inputs(options)
    assert set(workflow_inputs) <= {
        action_input.name for action_input in inputs() if not action_input.config_only
    }
    action_settings = step_inputs(
        {f"INPUT_{name.upper()}": value for name, value in workflow_inputs.items()}
    )
    if "config" in workflow_inputs:
        raw = render_files(options)[workflow_inputs["config"]].encode()
        action_settings = with_settings(action_settings, raw, workflow_inputs["config"])
    read = parse_settings(with_step_defaults(action_settings))
    assert read.last_accessed is ("last-accessed" in options.sources)
    assert read.validate_digests is ("digests" in options.sources)
    assert read.custom_policy_checks is ("custom-policy-checks" in options.sources)
    assert bool(read.athena_tables) is ("athena" in options.sources)
    assert read.event_history is ("event-history" in options.sources)
    buckets = [
        bucket_trail for bucket_trail in read.bucket_trails if bucket_trail.startswith("s3://")
    ]
    assert bool(buckets) is ("s3-trail" in options.sources)


def test_the_workflow_reads_the_folder_that_the_role_may_list() -> None:
    trails = target(trails="s3://trails/org/AWSLogs/o-abcdefghij")
    assert action_inputs(trails)["trails"] == "s3://trails/org/AWSLogs/o-abcdefghij/111122223333/"


@pytest.mark.parametrize(
    "name",
    [
        "null",
        "1.5",
        "true",
        "2026-11-24",
        "main.tf#data.aws_iam_policy_document.deploy",
        "a.yaml#/R/Policies/0",
    ],
)
def test_the_policy_file_is_the_given_text(name: str) -> None:
    assert (
        _steps(render_files(target(policy_file=name))[WORKFLOW])[1]["with"]["policy-file"] == name
    )


def test_a_policy_that_does_not_exist_yet_gets_a_file_by_the_role_s_name() -> None:
    assert action_inputs(target())["policy-file"] == "iam/deploy.json"


@pytest.mark.parametrize(
    ("partition", "region", "audience"),
    [
        ("aws-cn", "cn-north-1", "sts.amazonaws.com.cn"),
        ("aws-us-gov", "us-gov-west-1", "sts.amazonaws.com"),
    ],
)
def test_another_partition_has_its_own_region_and_audience(
    partition: str, region: str, audience: str
) -> None:
    """The role accepts exactly the audience that the workflow requests."""
    files = render_files(target(role_arn=f"arn:{partition}:iam::111122223333:role/ci"))
    login_inputs = _steps(files[WORKFLOW])[0]["with"]
    assert login_inputs["aws-region"] == region
    assert login_inputs.get("audience", "sts.amazonaws.com") == audience
    role = _yaml(files[CLOUDFORMATION])["Resources"]["LeastprivReader"]["Properties"]
    [statement] = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Condition"]["StringEquals"][f"{ISSUER}:aud"] == audience
    assert f'values   = ["{audience}"]' in files[TERRAFORM]


def test_the_regions_of_the_roles_are_an_input_and_the_first_is_that_of_the_credentials() -> None:
    login, action = _steps(
        render_files(target(aws_regions=["eu-central-1", "us-east-1"]))[WORKFLOW]
    )
    assert (login["with"]["aws-region"], action["with"]["aws-regions"]) == (
        "eu-central-1",
        "eu-central-1, us-east-1",
    )


def test_the_job_has_the_environment_that_the_trust_policy_requires() -> None:
    job = _yaml(render_files(target(environment="prod eu"))[WORKFLOW])["jobs"]["least-privilege"]
    assert job["environment"] == "prod eu"


def test_only_tags_start_a_workflow_whose_trust_policy_accepts_only_tags() -> None:
    trigger = _yaml(render_files(target(tag=["v*", "rel"]))[WORKFLOW])["on"]
    assert trigger == {"push": {"tags": ["v*", "rel"]}, "workflow_dispatch": None}
    assert "schedule" in _yaml(render_files(target(tag="v*", branch="main"))[WORKFLOW])["on"]


def test_the_workflow_names_commits_the_action_s_that_of_this_checkout() -> None:
    uses = [step["uses"] for step in _steps(render_files(target())[WORKFLOW])]
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step) for step in uses)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if head.returncode:
        pytest.skip("this is no git checkout")
    assert checkout_action() == f"org/leastpriv-action@{head.stdout.strip()}"


def test_the_examples_log_in_with_the_same_commit_as_the_workflow_of_init() -> None:
    for path in (ROOT / "examples" / "workflows").glob("*.yml"):
        for line in re.findall(
            r"uses: (aws-actions/configure-aws-credentials@.*)", path.read_text(encoding="utf-8")
        ):
            assert line == LOGIN, path.name


def test_several_roles_of_an_account_share_one_config() -> None:
    files = render_files(target(role_arn=[ROLE, f"{ROLE}-2"], policy_file=["a.json", "b.json"]))
    assert set(files) == {CLOUDFORMATION, TERRAFORM, WORKFLOW, ".github/leastpriv.yml"}
    entries = read_configuration(files[".github/leastpriv.yml"].encode(), "x").entries
    assert [(entry.role, entry.values["policy-file"]) for entry in entries] == [
        (ROLE, "a.json"),
        (f"{ROLE}-2", "b.json"),
    ]
    assert _steps(files[WORKFLOW])[1]["with"]["config"] == ".github/leastpriv.yml"


def test_a_pattern_of_roles_is_a_config_whose_files_are_named_by_the_roles() -> None:
    """The reader role may list roles, and read those of the pattern alone."""
    options = target(role_arn="arn:aws:iam::111122223333:role/teams/*-deploy")
    files = render_files(options)
    (entry,) = read_configuration(files[".github/leastpriv.yml"].encode(), "x").entries
    assert (entry.role, entry.values["policy-file"]) == (
        "arn:aws:iam::111122223333:role/teams/*-deploy",
        "iam/{name}.json",
    )
    assert "roles" in options.sources
    assert ':role/teams/*-deploy"' in files[CLOUDFORMATION]
    assert "iam:ListRoles" in files[CLOUDFORMATION]


def test_several_accounts_are_a_matrix_with_a_config_and_a_branch_each() -> None:
    files = render_files(target(role_arn=[ROLE, OTHER], trails="s3://trails/AWSLogs/o-abcdefghij"))
    job = _yaml(files[WORKFLOW])["jobs"]["least-privilege"]
    assert job["strategy"]["matrix"]["account"] == ["111122223333", "222233334444"]
    login, action = _steps(files[WORKFLOW])
    assert (
        login["with"]["role-to-assume"]
        == "arn:aws:iam::${{ matrix.account }}:role/leastpriv-reader"
    )
    assert action["with"]["trails"] == "s3://trails/AWSLogs/o-abcdefghij/${{ matrix.account }}/"
    branches = set()
    for account in job["strategy"]["matrix"]["account"]:
        path = action["with"]["config"].replace("${{ matrix.account }}", account)
        (entry,) = read_configuration(files[path].encode(), path).entries
        assert f":{account}:" in entry.role
        branches.add(entry.values["branch"])
    assert len(branches) == 2


@pytest.mark.parametrize(
    ("roles", "branches", "groups"),
    [
        (
            ["111122223333:role/ci", "111122223333:role/a/b/ci"],
            [None, "leastpriv/a-b-ci"],
            ["", ""],
        ),
        (
            ["111122223333:role/*", "222233334444:role/ci"],
            [None, "leastpriv/222233334444-ci"],
            ["111122223333", ""],
        ),
    ],
)
def test_each_config_of_init_is_one_that_the_action_reads(
    roles: list[str], branches: Any, groups: Any
) -> None:
    files = [
        "iam/{name}.json" if "*" in role else f"iam/{number}.json"
        for number, role in enumerate(roles)
    ]
    rendered = render_files(
        target(role_arn=[f"arn:aws:iam::{role}" for role in roles], policy_file=files)
    )
    configs = [
        content for name, content in rendered.items() if name.startswith(".github/leastpriv")
    ]
    entries = [
        entry for content in configs for entry in read_configuration(content.encode(), "x").entries
    ]
    assert [entry.values.get("branch") for entry in entries] == branches
    assert [entry.group for entry in entries] == groups


@pytest.mark.parametrize(
    ("subject", "warns"),
    [
        ("repo:acme/shop:pull_request", True),
        ("repo:acme/shop:ref:refs/heads/main", False),
    ],
)
def test_a_subject_of_pull_requests_is_named_among_the_next_steps(
    subject: str, warns: bool
) -> None:
    setup = target(subject=subject)
    assert (
        any(
            "pull requests: each person" in step
            for step in next_steps(setup, render_files(setup), {})
        )
        is warns
    )


def test_athena_may_write_below_the_results_folder_and_read_one_table() -> None:
    tables = {
        "trails": "s3://t-t",
        "athena_table": "default.logs",
        "athena_results": "s3://shared/athena/leastpriv/",
    }
    text = render_files(target(**tables))[CLOUDFORMATION]
    assert 's3:::shared/athena/leastpriv/*"' in text
    assert "s3:::shared/*" not in text
    assert ":table/default/logs" in text
    # Athena asks for the database named default in each query.
    assert text.count("database/default") == 1


@pytest.mark.parametrize("hub", ["111122223333", "999999999999"])
def test_the_reader_role_of_a_hub_assumes_those_of_the_other_accounts_in_one_run(hub: str) -> None:
    """Only the hub's role trusts the repository; the others trust the hub's role."""
    files = render_files(target(role_arn=[ROLE, OTHER], hub_account=hub))
    other_accounts = [account for account in ("111122223333", "222233334444") if account != hub]
    login, action = _steps(files[WORKFLOW])
    assert login["with"]["role-to-assume"] == f"arn:aws:iam::{hub}:role/leastpriv-reader"
    assert action["with"] == {"config": ".github/leastpriv.yml", "trails": "event-history"}
    configuration = read_configuration(files[".github/leastpriv.yml"].encode(), "x")
    assert [entry.account for entry in configuration.entries] == ["111122223333", "222233334444"]
    properties = _yaml(files[STACK_SET])["Resources"]["LeastprivReaders"]["Properties"]
    assert properties["StackInstancesGroup"][0]["DeploymentTargets"]["Accounts"] == other_accounts
    member = _yaml(properties["TemplateBody"])["Resources"]["LeastprivReader"]["Properties"]
    [statement] = member["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Condition"]["ArnEquals"]["aws:PrincipalArn"].endswith(
        f"::{hub}:role/leastpriv-reader"
    )
    assert "AssumeRoleWithWebIdentity" not in properties["TemplateBody"] + files[MEMBER]
    reader_policy = _yaml(files[CLOUDFORMATION])["Resources"]["LeastprivReader"]["Properties"][
        "Policies"
    ][0]["PolicyDocument"]
    (assumed,) = [
        assuming for assuming in reader_policy["Statement"] if assuming["Sid"] == "AssumeReaders"
    ]
    assert assumed["Resource"] == [
        f"arn:${{AWS::Partition}}:iam::{account}:role/leastpriv-reader"
        for account in other_accounts
    ]
    assert "AssumeReaders" not in properties["TemplateBody"] + files[MEMBER]


def test_two_hundred_accounts_fit_the_policy_of_the_hub_s_role() -> None:
    roles = [f"arn:aws:iam::{111100000000 + number}:role/ci-deploy" for number in range(200)]
    template = render_files(target(role_arn=roles, hub_account="111100000000"))[CLOUDFORMATION]
    assert '- !Sub "arn:${AWS::Partition}:iam::*:role/leastpriv-reader"' in template
    assert len(template) < 10_240


def test_the_stack_set_creates_the_role_of_the_template_in_every_account() -> None:
    files = render_files(target(role_arn=[ROLE, OTHER]))
    properties = _yaml(files[STACK_SET])["Resources"]["LeastprivReaders"]["Properties"]
    assert properties["TemplateBody"] == files[CLOUDFORMATION]
    assert len(files[CLOUDFORMATION]) < 51_200
    [group] = properties["StackInstancesGroup"]
    assert group["DeploymentTargets"]["Accounts"] == ["111122223333", "222233334444"]
    parameter_keys = {parameter["ParameterKey"] for parameter in properties["Parameters"]}
    assert parameter_keys == set(_yaml(files[CLOUDFORMATION])["Parameters"])


@pytest.mark.parametrize(
    ("account", "key", "decision"),
    [
        ("111122223333", "AWSLogs/o-abcdefghij/111122223333/CloudTrail/a.json.gz", "allowed"),
        ("222233334444", "AWSLogs/o-abcdefghij/222233334444/CloudTrail/a.json.gz", "allowed"),
        ("111122223333", "AWSLogs/o-abcdefghij/222233334444/CloudTrail/a.json.gz", "implicitDeny"),
        ("111122223333", "AWSLogs/o-abcdefghij/999999999999/CloudTrail/a.json.gz", "implicitDeny"),
    ],
)
def test_another_account_s_bucket_gives_each_reader_its_own_folder(
    account: str, key: str, decision: str
) -> None:
    trail_options = {
        "trails": "s3://trails/AWSLogs/o-abcdefghij", "trail_account": "999999999999",
        "kms_key_arn": "arn:aws:kms:eu-west-1:999999999999:key/1",
    }  # fmt: skip
    files = render_files(target(role_arn=[ROLE, OTHER], **trail_options))
    policy = parse(_without_principals(files[BUCKET_POLICY]), BUCKET_POLICY)
    reader = f"arn:aws:iam::{account}:role/leastpriv-reader"
    context = {"aws:PrincipalArn": (reader,), "aws:PrincipalAccount": (account,)}
    request = Request("s3:GetObject", f"arn:aws:s3:::trails/{key}", context, context_complete=True)
    assert evaluate(request, [policy]).effect == decision
    key_policy = json.loads(files[KEY_POLICY])
    assert key_policy["Statement"][0]["Condition"]["ArnEquals"]["aws:PrincipalArn"] == [
        "arn:aws:iam::111122223333:role/leastpriv-reader",
        "arn:aws:iam::222233334444:role/leastpriv-reader",
    ]  # fmt: skip


def test_the_role_s_own_bucket_needs_no_policy() -> None:
    key = "arn:aws:kms:eu-west-1:111122223333:key/1"
    assert BUCKET_POLICY not in render_files(target(trails="s3://trails", kms_key_arn=key))
    assert BUCKET_POLICY in render_files(target(trails="s3://trails", trail_account="999999999999"))


def test_the_deploy_command_has_every_parameter_and_asks_github_for_the_ids() -> None:
    """A new repository's subject has ids by default, so that a role without them would reject its
    jobs.
    """
    command = next_steps(target(), render_files(target()), {})[0].partition("aws cloud")[2]
    values = shlex.split(command.partition("--parameter-overrides ")[2])
    parameters = _yaml(render_files(target())[CLOUDFORMATION])["Parameters"]
    assert {value.partition("=")[0] for value in values} == set(parameters)
    assert "RepositoryOwnerId=$(gh api repos/acme/shop --jq .owner.id)" in values
    assert "RepositoryId=$(gh api repos/acme/shop --jq .id)" in values


def test_the_command_writes_and_reports_all_files_and_the_next_steps(tmp_path: Path) -> None:
    command = leastpriv("init", "--output-dir", str(tmp_path), *SETUP)
    assert command.code == 0
    assert command.err.count("Wrote") == 3
    steps = [("1", "Create"), ("2", "In"), ("3", "Commit"), ("4", "Check")]
    assert re.findall(r"^(\d)\. (\w+)", command.err, re.MULTILINE) == steps
    last = command.err.splitlines()[-1]
    assert last.startswith("leastpriv init --check")
    assert parser().parse_args(shlex.split(last)[1:]).repository == "acme/shop"


def test_another_forge_gets_no_workflow_for_github() -> None:
    subject = "project_path:acme/shop:ref_type:branch:ref:main"
    gitlab = target(issuer="gitlab.com", subject=subject)
    assert set(render_files(gitlab)) == {CLOUDFORMATION, TERRAFORM}
    assert not any(".github" in step for step in next_steps(gitlab, render_files(gitlab), {}))
    assert WORKFLOW in render_files(target(issuer="token.actions.acme.ghe.com"))


def test_an_existing_file_is_never_overwritten_unasked(tmp_path: Path) -> None:
    (tmp_path / TERRAFORM).write_text("# mine\n")
    command = leastpriv("init", "--output-dir", str(tmp_path), *SETUP)
    assert command.code == 2
    assert f"{TERRAFORM} is there already" in command.err
    assert (tmp_path / TERRAFORM).read_text() == "# mine\n"
    assert not (tmp_path / CLOUDFORMATION).exists()
    assert (
        leastpriv("init", "--output-dir", str(tmp_path), *SETUP, "--overwrite").err.count(
            "Overwrote"
        )
        == 1
    )


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    leastpriv("init", "--output-dir", str(tmp_path), *SETUP)
    command = leastpriv("init", "--output-dir", str(tmp_path), *SETUP)
    assert (command.code, command.err.count("Unchanged")) == (0, 3)


def test_an_unwritable_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = leastpriv("init", "--output-dir", str(tmp_path / "file" / "x"), *SETUP)
    assert command.code == 1
    assert "cannot be written" in command.err


def test_without_a_role_the_command_names_the_option() -> None:
    command = leastpriv("init", "--repository", "acme/shop")
    assert command.code == 2
    assert "--role-arn is missing" in command.err


def _without_principals(text: str) -> bytes:
    policy = json.loads(text)
    for statement in policy["Statement"]:
        del statement["Principal"]
    return json.dumps(policy).encode()


def _steps(workflow: str) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = _yaml(workflow)["jobs"]["least-privilege"]["steps"]
    return steps


def _yaml(text: str) -> Any:
    """Reads YAML with CloudFormation's short functions as their values; those inside a template's
    text remain.
    """
    if STACK in text:
        head, mark, body = text.partition("TemplateBody: |\n")
        return json.loads(json.dumps(YAML(typ="safe", pure=True).load(_plain(head) + mark + body)))
    return json.loads(json.dumps(YAML(typ="safe", pure=True).load(_plain(text))))


STACK = "AWS::CloudFormation::StackSet"


def _plain(text: str) -> str:
    return re.sub(r"!(Sub|Ref|If|GetAtt|Not|Or|Equals)\b", "", text)


def test_the_action_without_docker_runs_where_no_docker_is() -> None:
    action = f"acme/leastpriv-action/cli@{'0' * 40}"
    job = YAML(typ="safe", pure=True).load(render_files(target(action=action))[WORKFLOW])["jobs"]
    assert job["least-privilege"]["runs-on"] == "ubuntu-slim"
    assert job["least-privilege"]["timeout-minutes"] == 15
    assert job["least-privilege"]["steps"][-1]["uses"] == action
    server = {"action": action, "issuer": "ghe.acme.com/_services/token"}
    on_server = render_files(target(**server))[WORKFLOW]
    assert "runs-on: ubuntu-latest" in on_server
    assert "ubuntu-slim" not in render_files(target())[WORKFLOW]
    with pytest.raises(InputError, match="OWNER/NAME/cli@COMMIT"):
        target(action=f"acme/leastpriv-action/other@{'0' * 40}")
