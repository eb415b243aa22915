"""A deploy with hostile names everywhere, and all that the action outputs for it."""

from __future__ import annotations

import io
import json
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from leastpriv.action.step import action_main
from tests.action.test_step import Job, read_outputs
from tests.fakes.deploys import (
    CREATE_QUEUE,
    FIRST,
    NOW,
    POLICY,
    UPDATE,
    deploys,
    record,
    write_trail,
)
from tests.fakes.github import FakeGitHub

POLICY_FILE = "iam/[x](https:evil.example) @octo `b` <i>|#12.json"
RIGHTS = {
    "metadata": "read",
    "contents": "write",
    "pull_requests": "write",
    "actions": "read",
    "issues": "write",
}
CARRIED = "hunter2-carried-b7c1"
"""Secrets in calls: a password, a key, the value of a parameter."""
LINKS = (
    r"http://127\.0\.0\.1:\d+/octo-org/shop/actions/runs/1765\d+"
    # A line of the policy file on the base branch; its name is encoded.
    r"|http://127\.0\.0\.1:\d+/octo-org/shop/blob/main/[A-Za-z0-9._/%-]+#L\d+"
    r"|https://github\.com/octo-org/shop/(?:pull|issues)/\d+"
    r"|https://github\.com/org/leastpriv-action/blob/main/docs/[a-z-]+\.md(?:#[a-z-]+)?"
)
HTML = (
    r"<details><summary>[A-Za-z0-9,.:_ -]+</summary>|</details>|"
    r"<!-- leastpriv(?::[a-z]+)?(?: v=1(?: [a-z]+=[0-9a-f.,]+)*(?: [0-9a-f]{12})*)? -->|"
    # Names of the target, percent-encoded.
    r"<!-- leastpriv:target v=1 id=[0-9a-f]{8}(?: [a-z]+=[A-Za-z0-9._~/%-]*)+ -->|"
    # Of the resources, what could end the line or the comment is escaped.
    r"<!-- leastpriv:additions v=1(?: [A-Za-z0-9._~/%:*-]+=[a-z0-9-]+:\w+(?:,[a-z0-9-]+:\w+)*)+ -->"
)
REFUSED = "User: arn:aws:sts::111122223333:assumed-role/ci-deploy/1 is not authorized to perform: "


def calls(name: str) -> Iterator[Mapping[str, Any]]:
    """Calls with a name wherever the caller can choose one."""
    account = "111122223333"
    yield {
        "event": "s3:PutObject",
        "data": True,
        "parameters": {"bucketName": "shop", "key": name},
        "resources": [f"arn:aws:s3:::shop/{name}"],
    }
    yield {"event": "sqs:CreateQueue", "parameters": {"queueName": name, "tags": {name: name}}}
    yield {"event": "ssm:PutParameter", "parameters": {"name": name, "value": CARRIED}}
    yield {
        "event": "lambda:CreateFunction20150331",
        "parameters": {
            "functionName": name,
            "role": f"arn:aws:iam::{account}:role/{name}",
            "handler": name,
            "environment": {"variables": {"PASSWORD": CARRIED}},
        },
    }
    yield {
        "event": "sts:AssumeRole",
        "parameters": {"roleArn": f"arn:aws:iam::{account}:role/{name}", "roleSessionName": name},
    }
    issued = {
        "accessKeyId": "ASIAEXAMPLE",
        "secretAccessKey": CARRIED,
        "sessionToken": f"token-{CARRIED}",
    }
    yield {
        "event": "sts:GetSessionToken",
        "parameters": {"tokenCode": CARRIED},
        "response": {"credentials": issued},
    }
    yield {
        "event": "rds:CreateDBInstance",
        "parameters": {"dBInstanceIdentifier": "shop", "masterUserPassword": CARRIED},
        "response": {
            "dBInstanceIdentifier": "shop",
            "pendingModifiedValues": {"masterUserPassword": CARRIED},
        },
    }
    yield {
        "event": "cloudformation:CreateStack",
        "parameters": {
            "stackName": "shop",
            "parameters": [{"parameterKey": "Key", "parameterValue": CARRIED}],
        },
        "error": "ValidationError",
        "message": f"Parameter Key with the value {CARRIED} is wrong",
    }
    yield {"event": f"lambda:{name}"}
    yield {"event": f"{name}:Do", "parameters": {name: name}}


def refusals(name: str) -> Iterator[Mapping[str, Any]]:
    """Denied calls, with a name in AWS's message."""
    because = "because no identity-based policy allows the s3:GetObject action"
    yield {
        "event": "s3:GetObject",
        "data": True,
        "parameters": {"bucketName": "shop", "key": name},
        "error": "AccessDenied",
        "message": f"{REFUSED}s3:GetObject on resource: arn:aws:s3:::shop/{name} {because}",
    }
    yield {
        "event": "sns:Publish",
        "error": "AccessDenied",
        "message": (
            f"{REFUSED}sns:Publish on resource: arn:aws:sns:eu-west-1:111122223333:{name} with an"
            " explicit deny in a service control policy"
        ),
    }
    yield {"event": "sns:Subscribe", "error": name or "x", "message": name}


def records(names: Sequence[str]) -> list[Mapping[str, Any]]:
    """Six runs with the names, one with denials, and one with hostile session, region and user
    agent.
    """
    name_calls = [call for name in names for call in calls(name)]
    refused = [call for name in names for call in refusals(name)]
    third = FIRST + timedelta(days=14, minutes=30)
    records = [
        *deploys([UPDATE, CREATE_QUEUE, *name_calls]),
        *deploys(refused, first=third, times=1, number=2),
    ]
    for number, name in enumerate(names):
        odd = dict(record(CREATE_QUEUE, FIRST + timedelta(days=20, minutes=number), name))
        records.append(odd | {"userAgent": name, "sourceIPAddress": name})
        records.append(
            dict(
                record(
                    {**CREATE_QUEUE, "error": name or "x"},
                    FIRST + timedelta(days=21, minutes=number),
                    "1",
                )
            )
        )
    return records


def policy(names: Sequence[str]) -> dict[str, Any]:
    """A committed policy of a contributor, with names in Sids, resources, actions and
    conditions.
    """
    names = [name for name in names if len(name) < 1_000]
    statements = [
        {
            "Sid": name,
            "Effect": "Allow",
            "Action": ["sqs:CreateQueue", "sqs:PurgeQueue", "s3:PutObjectTagging"],
            "Resource": f"arn:aws:sqs:eu-west-1:111122223333:x{name.replace('$', '')}*",
            "Condition": {"StringEquals": {"aws:PrincipalTag/x": name}},
        }
        for name in names
    ]
    odd = [
        {"Sid": name, "Effect": "Allow", "Action": f"s3:Get{name}", "Resource": "*"}
        for name in names
    ]
    return {
        **POLICY,
        "Id": "".join(names)[:200],
        "Statement": [*POLICY["Statement"], *statements, *odd],
    }


def cached(folder: Path) -> Iterator[bytes]:
    """Yields what a cache of calls holds, unpacked."""
    for path in folder.glob("*.sqlite"):
        with closing(sqlite3.connect(path)) as database:
            yield from (
                zlib.decompress(content)
                for (content,) in database.execute("SELECT content FROM objects")
            )


@dataclass(slots=True)
class Put:
    """The outputs of a run of the action, by kind."""

    code: int
    log: str
    outputs: Mapping[str, str]
    markdown: dict[str, str] = field(default_factory=dict)
    """Texts that GitHub renders as Markdown, by kind."""
    lines: dict[str, str] = field(default_factory=dict)
    """Titles, and the message of the commit."""
    files: dict[str, bytes] = field(default_factory=dict)


class Stage:
    """A repository on a local fake of GitHub, and a trail with the names."""

    def __init__(self, folder: Path, names: Sequence[str], hub: FakeGitHub) -> None:
        self.hub, self.names, self.folder = hub, names, folder
        self.job = Job(folder, hub)
        self.job.policy.unlink()
        write_trail(self.job.workspace / "hostile", records(names))
        log = "\n".join(
            f"{REFUSED}s3:GetObject on resource: arn:aws:s3:::shop/{name} ::error::{name}"
            for name in names
        )
        log = f"export AWS_SECRET_ACCESS_KEY={CARRIED}\nLogin with --password {CARRIED}\n{log}"
        (self.job.workspace / "deploy.log").write_text(
            log, encoding="utf-8", errors="surrogatepass"
        )

    def step(self, event: str = "schedule", **inputs: str) -> Put:
        """Runs the action; reads its log, outputs, summary and files."""
        output, summary = self.job.runner / "output", self.job.runner / "summary"
        for file in (output, summary):
            file.write_text("")
        step_inputs = {
            "policy_file": POLICY_FILE,
            "trails": "hostile",
            "job_logs": "deploy.log",
            "resources": "exact",
            "github_token": self.hub.token,
            "sarif_file": "o/x.sarif",
            "page_file": "o/x.html",
            "cache_dir": str(self.job.workspace / "cache"),
            "last_accessed": "false",
            # The repository knows no run: roles' names reach the outputs as additions only where
            # these are marked.
            "unknown_refs": "mark",
        } | inputs
        environment = self.job.environment(step_inputs) | {"GITHUB_EVENT_NAME": event}
        out, err = io.StringIO(), io.StringIO()
        code = action_main(environment, out, err, lambda: NOW)
        assert err.getvalue() == ""
        put = Put(code, out.getvalue(), read_outputs(output.read_bytes().decode()))
        put.markdown["summary"] = summary.read_text(encoding="utf-8")
        for root in (self.job.runner / "temp" / "leastpriv", self.job.workspace / "o"):
            put.files |= {path.name: path.read_bytes() for path in sorted(root.glob("*"))}
        put.files["cache"] = b"\n".join(cached(self.job.workspace / "cache"))
        return put

    def proposed(self) -> Put:
        """The pull request."""
        (self.job.workspace / "o").mkdir(exist_ok=True)
        put = self.step(mode="pull-request", evidence_branch="leastpriv-evidence")
        number = put.outputs.get("pull-request-number")
        if number:
            pull = self.hub.pull(int(number))
            put.markdown["pull request"] = pull.body
            notes = self.hub.line_comments(int(number))
            put.markdown |= {
                f"line note {note_number}": note.body for note_number, note in enumerate(notes)
            }
            put.lines["title"] = pull.title
            commit = self.hub.world.git.run(
                "log", "-1", "--format=%B", put.outputs["pull-request-head-sha"]
            )
            put.lines["commit message"] = commit.decode()
            memory = (
                self.hub.world.git.run("ls-tree", "-r", "--name-only", "leastpriv-evidence")
                .decode()
                .split("\n")[0]
            )
            put.files["memory"] = self.hub.file(memory, "leastpriv-evidence")
            put.files["committed policy"] = self.hub.file(
                POLICY_FILE, put.outputs["pull-request-branch"]
            )
        return put

    def answered(self) -> Put:
        """The comment that answers commands, and the pull request after it."""
        for name in self.names:
            self.hub.comment_as("kim", 1, f"/leastpriv keep {name}"[:60_000])
        put = self.step(mode="pull-request")
        put.markdown |= {
            f"answer {number}": text
            for number, text in enumerate(self.hub.comments(1))
            if "leastpriv:commands" in text
        }
        return put

    def reviewed(self) -> Put:
        """The comment on a person's pull request that empties the policy."""
        self.hub.commit_as("kim", "kim/policy", {POLICY_FILE: json.dumps(POLICY, indent=2)})
        number = self.hub.open_pull_as("kim", "kim/policy")
        sides = {"base": self.hub.head("main"), "head": self.hub.head("kim/policy")}
        repository = {"full_name": "octo-org/shop"}
        pull = {
            "number": number,
            **{side: {"sha": sha, "repo": repository} for side, sha in sides.items()},
        }
        self.job.event = json.dumps({"pull_request": pull})
        put = self.step(mode="review", event="pull_request")
        put.markdown |= {
            f"review {comment_number}": text
            for comment_number, text in enumerate(self.hub.comments(number))
        }
        return put

    def checked(self) -> Put:
        """The tracking issue."""
        put = self.step(mode="check", drift_report="issue")
        for issue in self.hub.world.issues.values():
            if issue.title.startswith("Drift"):
                put.markdown["tracking issue"], put.lines["issue title"] = issue.body, issue.title
        return put
