"""Each recipe of the guide, followed in the lab as written: init, the role, the login, the check,
and a proposal.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.end_to_end.lab.lab import ACCOUNT, Lab
from tests.end_to_end.test_lab import allow, policy
from tests.pages import ROOT, blocks

pytestmark = pytest.mark.slow

PROGRAM = Path(sys.executable).with_name("leastpriv")
WIDE = policy(allow("sqs:*", "s3:*"))
NARROW = policy(allow("s3:ListAllMyBuckets"))
ORGANIZATION = "o-abc1234567"
HCL = """\
data "aws_iam_policy_document" "deploy" {
  statement {
    sid       = "Buckets"
    actions   = ["s3:ListAllMyBuckets"]
    resources = ["*"]
  }
}
"""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What the page leaves to the user."""

    folder: str
    """The output folder of its command."""
    roles: tuple[str, ...] = ("ci-deploy",)
    """Names, with paths, of the roles that deploy."""
    subject: str = "repo:acme/shop:ref:refs/heads/main"
    issuer: str = "token.actions.githubusercontent.com"
    session: str = "17650000{:02}"
    files: dict[str, str] = field(default_factory=dict)
    """Files of the repository."""
    opens: str = "leastpriv/ci-deploy"
    """The branch of the proposal."""


CDK = f"cdk-hnb659fds-cfn-exec-role-{ACCOUNT}-eu-west-1"
RECIPES = (
    Recipe("."),
    Recipe("organization"),
    Recipe("accounts", opens=f"leastpriv/{ACCOUNT}-ci-deploy"),
    Recipe("environment", subject="repo:acme/shop:environment:production"),
    Recipe("cdk", ("ci-deploy", CDK)),
    Recipe("terraform", files={"infra/iam.tf": HCL}),
    Recipe("codebuild", ("service-role/codebuild-orders",),
    session="AWSCodeBuild-{:08}-1111-2222-3333-444444444444",
           opens="leastpriv/codebuild-orders"),
    Recipe("gitlab", subject="project_path:acme/shop:ref_type:branch:ref:main",
    issuer="gitlab.com"),
    Recipe("server", issuer="github.acme.example/_services/token"),
)  # fmt: skip


def command_of(recipe: Recipe) -> list[str]:
    """The command of the page, with the account and the region of the lab."""
    page = "docs/getting-started.md" if recipe.folder == "." else "docs/recipes.md"
    commands = [block.text for block in blocks(page) if block.text.startswith("leastpriv init")]
    wanted = "" if recipe.folder == "." else f"--output-dir {recipe.folder} "
    (text,) = [
        each
        for each in commands
        if wanted in f"{each} ".replace("\n", " ") and "--check" not in each
    ]
    return shlex.split(text.replace("\\\n", " ").replace("123456789012", ACCOUNT))[1:]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.folder)
def test_a_recipe_followed_as_written_reaches_a_proposal(
    recipe: Recipe, fresh_lab: Lab, tmp_path: Path
) -> None:
    lab, clone = fresh_lab, (tmp_path / "clone").resolve()
    _deploys(lab, recipe)
    _repository(clone, recipe)
    command = command_of(recipe)
    _leastpriv(clone, {}, *command, "--overwrite")
    written = (clone / recipe.folder).resolve()
    if written != clone and (written / ".github").exists():
        shutil.copytree(written / ".github", clone / ".github")
    _create_role(lab, (written / "leastpriv-reader.yaml").read_text())
    claims = {"iss": f"https://{recipe.issuer}", "aud": "sts.amazonaws.com", "sub": recipe.subject}
    with _tokens(claims) as token_environment:
        environment = {**lab.environment(), **token_environment}
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            del environment[name]
        checked = _leastpriv(
            clone, environment, *command, "--check", code=int(recipe.folder == "accounts")
        )
    own = [
        line
        for line in checked.stdout.splitlines()
        if "222233334444" not in line and "333344445555" not in line
    ]
    assert not [line for line in own if line.startswith("FAILS")], checked.stdout
    assert f"works  assume: arn:aws:iam::{ACCOUNT}:role/leastpriv-reader" in checked.stdout
    session = _as_job(lab, claims)
    done = _leastpriv(
        clone,
        session,
        "propose",
        "--mode",
        "pull-request",
        "--output-dir",
        tmp_path / "out",
        *_inputs(clone),
    )
    assert "AWS denied" not in done.stderr + done.stdout
    branches = subprocess.run(
        ["git", "branch", "--format=%(refname:short)"],
        cwd=clone,
        capture_output=True,
        text=True,
        check=True,
    )
    assert recipe.opens in branches.stdout.split(), done.stderr
    changed = subprocess.run(
        ["git", "diff", "--stat", "main", recipe.opens],
        cwd=clone,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "1 file changed" in changed.stdout or len(recipe.roles) > 1, changed.stdout
    text = subprocess.run(
        ["git", "show", recipe.opens], cwd=clone, capture_output=True, text=True, check=True
    ).stdout
    assert "sqs:CreateQueue" in text


def test_a_token_of_another_branch_fails_with_the_condition_s_name(
    fresh_lab: Lab, tmp_path: Path
) -> None:
    recipe = RECIPES[0]
    _deploys(fresh_lab, recipe)
    _repository(tmp_path / "clone", recipe)
    _leastpriv(tmp_path / "clone", {}, *command_of(recipe))
    _create_role(fresh_lab, (tmp_path / "clone" / "leastpriv-reader.yaml").read_text())
    claims = {
        "iss": f"https://{recipe.issuer}", "aud": "sts.amazonaws.com",
        "sub": "repo:acme/shop:ref:refs/heads/feature",
    }  # fmt: skip
    with _tokens(claims) as token_environment:
        environment = {**fresh_lab.environment(), **token_environment}
        done = _leastpriv(tmp_path / "clone", environment, *command_of(recipe), "--check", code=1)
    assert (
        "token.actions.githubusercontent.com:sub: the token has"
        " 'repo:acme/shop:ref:refs/heads/feature'" in done.stdout
    )
    assert "the trust policy that the account has" in done.stdout


def _deploys(lab: Lab, recipe: Recipe) -> None:
    """Seven deploys of each role; for the organization's recipe the records are in its trail
    too.
    """
    for name in recipe.roles:
        path, _, short = f"/{name}".rpartition("/")
        arn = lab.role(short, WIDE, path=f"{path}/")
        for run in range(7):
            lab.client("sqs", lab.assume(arn, recipe.session.format(run))).create_queue(
                QueueName=f"orders-{len(name)}"
            )
    if recipe.folder == "organization":
        lab.flush()
        bucket = lab.client("s3")
        bucket.create_bucket(Bucket="acme-org-trail")
        for file in lab.records.rglob("*.json.gz"):
            key = (
                file.relative_to(lab.records)
                .as_posix()
                .replace("AWSLogs/", f"AWSLogs/{ORGANIZATION}/", 1)
            )
            for account in (ACCOUNT, "999999999999"):
                bucket.upload_file(
                    str(file), "acme-org-trail", key.replace(f"/{ACCOUNT}/", f"/{account}/", 1)
                )


def _repository(clone: Path, recipe: Recipe) -> None:
    for name, content in {"README.md": "shop\n", **recipe.files}.items():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text(content)
    who = ("-c", "user.name=kim", "-c", "user.email=kim@example.com")
    for arguments in (
        ["init", "-q", "-b", "main"],
        ["add", "."],
        [*who, "commit", "-q", "-m", "Begin"],
    ):
        subprocess.run(["git", *arguments], cwd=clone, check=True, capture_output=True)


def _create_role(lab: Lab, template: str) -> None:
    lab.client("cloudformation").create_stack(
        StackName="reader", TemplateBody=template, Capabilities=["CAPABILITY_NAMED_IAM"]
    )
    assert lab.client("iam").get_role(RoleName="leastpriv-reader")


def _inputs(clone: Path) -> list[str]:
    """The inputs of the written workflow as options."""
    path = clone / ".github/workflows/least-privilege.yml"
    if not path.exists():
        # The page has the command of another forge.
        role, file = f"arn:aws:iam::{ACCOUNT}:role/ci-deploy", "iam/ci-deploy.json"
        return ["--role-arn", role, "--policy-file", file, "--trails", "event-history"]
    workflow = YAML(typ="safe", pure=True).load(path)
    given = workflow["jobs"]["least-privilege"]["steps"][1]["with"]
    found = []
    for name, value in given.items():
        text = value.replace("${{ matrix.account }}", ACCOUNT)
        for each in re.split(r",\s*", text) if name in ("trails", "aws-regions") else [text]:
            found += [f"--{name}", each]
    return found


def _leastpriv(
    folder: Path, environment: dict[str, str], *arguments: object, code: int = 0
) -> subprocess.CompletedProcess[str]:
    own = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    done = subprocess.run(
        [PROGRAM, *map(str, arguments)], cwd=folder, env={**own, **environment},
        capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done


def _token(claims: dict[str, str]) -> str:
    parts = (json.dumps(part).encode() for part in ({"alg": "none"}, claims, {}))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


@contextmanager
def _tokens(claims: dict[str, str]) -> Iterator[dict[str, str]]:
    """Serves tokens with these claims as GitHub does; yields a job's variables."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"value": _token(claims)}).encode())

        def log_message(self, *_: Any) -> None:
            """Prints nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/?v=2"
        yield {"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "t"}
        server.shutdown()


def _as_job(lab: Lab, claims: dict[str, str]) -> dict[str, str]:
    answer = lab.client("sts").assume_role_with_web_identity(
        RoleArn=f"arn:aws:iam::{ACCOUNT}:role/leastpriv-reader", RoleSessionName="1765000099",
        WebIdentityToken=_token(claims),
    )  # fmt: skip
    keys = answer["Credentials"]
    return lab.environment(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])


def test_every_command_of_the_page_of_recipes_is_followed() -> None:
    text = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    named = set(re.findall(r"--output-dir (\w+)", text))
    assert named == {recipe.folder for recipe in RECIPES[1:]}
