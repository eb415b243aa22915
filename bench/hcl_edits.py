"""Policies in HCL: read, and edited at random, with Terraform itself as the judge.

    python -m bench.hcl_edits [FOLDER] [--edits 1000] [--seed 1]

FOLDER holds `.tf` files of public repositories, `OWNER__REPOSITORY__PATH.tf`, which are only read
and edited; without it the policies are made here. Each edited file must be clean for `terraform
fmt`, keep the bytes of every statement that the edit does not touch, and render, in a real
`terraform plan`, the policy that the editor meant: the edit of the policy as JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leastpriv.errors import LeastprivError, PolicyFileError
from leastpriv.policy.document import Document, Statement, parse
from leastpriv.policy.edit import (
    AppendActions,
    AppendStatement,
    DropStatement,
    Edit,
    ReplaceActions,
    ReplaceNotAction,
    ReplaceResources,
    apply_edits,
    can_add_entries,
    can_add_statements,
)
from leastpriv.policy.hcl_syntax import read_blocks
from leastpriv.policy.source import TerraformFolder
from leastpriv.policy.syntax_tree import json_value
from tests.end_to_end.seed.tools import terraform

VALUES = {"AWS::Partition": "aws", "AWS::AccountId": "111122223333"}
_ACTIONS = [
    f"{service}:{name}"
    for service in ("s3", "sqs", "ec2")
    for name in ("Get*", "List*", "PutItem", "*", "A")
]
_RESOURCES = (
    "*",
    "arn:aws:s3:::acme-assets",
    "arn:aws:s3:::acme-assets/*",
    "arn:aws:sqs:*:*:orders",
    "arn:aws:s3:::${*}",
)
_RESOURCES_WITH_POLICY = (
    "aws_iam_policy",
    "aws_iam_role_policy",
    "aws_iam_user_policy",
    "aws_iam_group_policy",
)
_PROVIDER = """terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "3.39.0"
    }
  }
}

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "x"
  secret_key                  = "x"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
  skip_get_ec2_platforms      = true
  skip_region_validation      = true
}
"""


class Maker:
    """Makes policies of every form, with lists, comments and references as people write them."""

    def __init__(self, choose: random.Random) -> None:
        self.choose = choose

    def file(self) -> tuple[str, str]:
        """Returns a file and the address of its policy."""
        form = self.choose.choice(
            (self.data_source, self.data_source, self.jsonencode, self.heredoc)
        )
        body, address = form()
        lists = (
            f"locals {{\n  more = {self.listed(self.actions())}\n}}\n\n"
            if "local.more" in body
            else ""
        )
        bucket = 'resource "aws_s3_bucket" "assets" {\n  bucket = "acme-assets"\n}\n\n'
        prefix = 'variable "prefix" {\n  default = "acme"\n}\n\n'
        parts = [lists, bucket, prefix, body]
        self.choose.shuffle(parts)
        return "".join(parts), address

    def actions(self) -> list[str]:
        """Returns some actions."""
        actions = self.choose.sample(_ACTIONS, self.choose.randint(1, 5))
        return sorted(actions) if self.choose.random() < 0.5 else actions

    def resources(self) -> list[str]:
        """Returns some resources as HCL."""
        expressions = [
            '"*"',
            '"arn:aws:s3:::acme-assets"',
            "aws_s3_bucket.assets.arn",
            '"${aws_s3_bucket.assets.arn}/*"',
        ]
        expressions += [
            '"arn:aws:s3:::${var.prefix}-logs/*"',
            '"arn:aws:sqs:eu-west-1:111122223333:*"',
        ]
        return self.choose.sample(expressions, self.choose.randint(1, 3))

    def listed(self, entries: Sequence[str], *, quoted: bool = True) -> str:
        """Writes a list."""
        texts = [f'"{entry}"' for entry in entries] if quoted else list(entries)
        if self.choose.random() < 0.4:
            return f"[{', '.join(texts)}]"
        lines: list[str] = []
        comma = "," if self.choose.random() < 0.7 else ""
        for number, text in enumerate(texts):
            if self.choose.random() < 0.2:
                lines.append(self.choose.choice(["# first, then", "// see above", "# a, b"]))
            end = "," if number + 1 < len(texts) else comma
            comment = self.choose.choice(["", "", "", " # why", " // so, yes"])
            lines.append(f"{text}{end}{comment}")
        return "[\n" + "\n".join(lines) + "\n]"

    def list_expression(self) -> str:
        """Writes a list of actions, also as an expression."""
        kind = self.choose.random()
        if kind < 0.7:
            return self.listed(self.actions())
        if kind < 0.85:
            return f"concat({self.listed(self.actions())}, local.more)"
        return f"concat({self.listed(self.actions())}, {self.listed(self.actions())})"

    def data_source(self) -> tuple[str, str]:
        """Writes a data source."""
        has_local_list = False
        blocks: list[str] = []
        for number in range(self.choose.randint(1, 4)):
            actions = self.list_expression()
            if "local.more" in actions and has_local_list:
                actions = self.listed(self.actions())
            has_local_list = has_local_list or "local.more" in actions
            lines = [f'sid = "S{number}"'] if self.choose.random() < 0.5 else []
            lines += [self.choose.choice(['effect = "Allow"', ""])]
            lines += [
                f"actions = {actions}" if self.choose.random() < 0.9 else 'not_actions = ["iam:*"]'
            ]
            lines += [self.choose.choice(["", "# what it reads"])]
            lines += [f"resources = {self.listed(self.resources(), quoted=False)}"]
            if self.choose.random() < 0.3:
                lines += [
                    'condition {\ntest = "StringEquals"\nvariable = "aws:RequestedRegion"\nvalues ='
                    ' ["eu-west-1"]\n}'
                ]
            blocks.append("statement {\n" + "\n".join(line for line in lines if line) + "\n}\n")
        gap = self.choose.choice(["", "\n", "\n# the next one\n"])
        return (
            f'data "aws_iam_policy_document" "p" {{\n{gap.join(blocks)}}}\n\n',
            "data.aws_iam_policy_document.p",
        )

    def statement(self, number: int, colon: str, *, quoted: bool) -> str:
        """Writes an object."""
        comma = self.choose.choice([",", ""]) if not quoted else ","
        actions, resources = self.actions(), self.resources()
        texts = {
            "Sid": f'"S{number}"',
            "Effect": '"Allow"',
            "Action": (
                self.listed(actions)
                if len(actions) > 1 or self.choose.random() < 0.5
                else f'"{actions[0]}"'
            ),
            "Resource": (
                self.listed(resources, quoted=False) if len(resources) > 1 else resources[0]
            ),
        }
        lines = [
            f'"{key}"{colon}{text}' if quoted else f"{key}{colon}{text}"
            for key, text in texts.items()
        ]
        return "{\n" + f"{comma}\n".join(lines) + "\n}"

    def jsonencode(self) -> tuple[str, str]:
        """Writes an object in a resource."""
        quoted = self.choose.random() < 0.3
        statements = [
            self.statement(number, " = ", quoted=quoted)
            for number in range(self.choose.randint(1, 3))
        ]
        body = f'Version = "2012-10-17"\nStatement = [{", ".join(statements)}]'
        if len(statements) > 1 and self.choose.random() < 0.6:
            body = 'Version = "2012-10-17"\nStatement = [\n' + ",\n".join(statements) + ",\n]"
        text = (
            'resource "aws_iam_policy" "p" {\nname = "p"\npolicy ='
            f" jsonencode({{\n{body}\n}})\n}}\n\n"
        )
        return text, "aws_iam_policy.p.policy"

    def heredoc(self) -> tuple[str, str]:
        """Writes JSON in a heredoc."""
        statements = []
        for number in range(self.choose.randint(1, 3)):
            resources = [
                self.choose.choice(
                    ["*", "${aws_s3_bucket.assets.arn}/*", "arn:aws:s3:::${var.prefix}-logs"]
                )
            ]
            statement = {
                "Sid": f"S{number}",
                "Effect": "Allow",
                "Action": self.actions(),
                "Resource": resources,
            }
            statements.append(statement)
        indent = self.choose.choice([2, 4, None])
        text = json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=indent)
        mark = self.choose.choice(["<<EOF", "<<-POLICY"])
        body = "\n".join(("    " if "-" in mark else "") + line for line in text.split("\n"))
        end = mark.lstrip("<-")
        return (
            f'resource "aws_iam_policy" "p" {{\nname = "p"\npolicy = {mark}\n{body}\n{end}\n}}\n\n',
            "aws_iam_policy.p.policy",
        )


@dataclass(frozen=True, slots=True)
class EditedFile:
    """A policy file before and after its edits, and the policy that they mean."""

    before: Document
    after: Document
    edits: Sequence[Edit]
    meant: Any


def edits_of(document: Document, choose: random.Random) -> list[Edit]:
    """Draws one to three edits that the file can take."""
    edits: list[Edit] = []
    indexes = [statement.index for statement in document.statements]
    choose.shuffle(indexes)
    for index in indexes[: choose.randint(1, 2)]:
        edits += _statement_edit(document, document.statements[index], choose)
    dropped = {edit.statement for edit in edits if isinstance(edit, DropStatement)}
    if len(dropped) == len(document.statements):
        edits = [edit for edit in edits if not isinstance(edit, DropStatement)]
    if can_add_statements(document) and (not edits or choose.random() < 0.3):
        actions = choose.sample(
            ["zz:New", "s3:GetObjectAcl", "lambda:InvokeFunction"], choose.randint(1, 3)
        )
        resources = choose.sample(_RESOURCES, choose.randint(1, 2))
        edits.append(
            AppendStatement(
                {"Sid": "Added", "Effect": "Allow", "Action": actions, "Resource": resources}
            )
        )
    return edits


def _statement_edit(document: Document, statement: Statement, choose: random.Random) -> list[Edit]:
    kind, index = choose.randint(0, 4), statement.index
    free = [entry for entry in statement.actions if not statement.fixed_reason(entry)]
    new = tuple(
        choose.sample(
            ["s3:GetObjectAcl", "aa:First", "zz:Last", "sqs:SendMessage"], choose.randint(1, 3)
        )
    )
    if kind == 0 and not statement.fixed_reason(""):
        return [DropStatement(index)]
    if statement.not_actions and not statement.fixed_reason(""):
        return [ReplaceNotAction(index, new)]
    if kind == 1 and can_add_entries(document, index, "Action") and statement.actions:
        return [AppendActions(index, new)]
    if kind == 2 and can_add_entries(document, index, "Resource") and statement.resources:
        return [
            ReplaceResources(index, frozenset(), choose.choice([_RESOURCES[1:2], _RESOURCES[2:4]]))
        ]
    if free:
        gone = frozenset(choose.sample(free, choose.randint(1, len(free))))
        keeps_one = len(document.statements) > 1 or len(gone) < len(statement.actions)
        insert = (
            ((choose.choice(sorted(gone)), new),) if choose.random() < 0.6 or not keeps_one else ()
        )
        return [ReplaceActions(index, gone, insert)]
    return []


def untouched(edited: EditedFile) -> bool:
    """Whether each statement that no edit names has the bytes that it had, and so has the text
    around the policy.
    """
    edited_statements = {
        edit.statement for edit in edited.edits if not isinstance(edit, AppendStatement)
    }
    texts = [
        edited.before.text[node.start : node.end]
        for index, node in enumerate(edited.before.statement_nodes)
        if index not in edited_statements and not node.fixed
    ]
    text_after = re.sub(r"[ \t]+", " ", edited.after.text)
    return all(re.sub(r"[ \t]+", " ", text) in text_after for text in texts)


def meaning(policy: Any) -> Any:
    """The statements of a policy with lists in order, as texts."""
    # Terraform writes null for a data source without statements.
    statements_or_one = policy["Statement"] or []
    statements = statements_or_one if isinstance(statements_or_one, list) else [statements_or_one]
    return sorted(
        json.dumps(_sorted({k: v for k, v in statement.items() if v != ""}), sort_keys=True)
        for statement in statements
    )


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(each) for key, each in value.items()}
    values = value if isinstance(value, list) else [value]
    return sorted({str(each) for each in values})


def rendered(files: Sequence[tuple[str, str]], folder: Path) -> list[Any]:
    """Renders policies by one `terraform plan`; each file is a module of its own.

    A bucket's ARN is known only after it is made, so that each module gets it as a local value.
    """
    calls, outputs = [_PROVIDER], []
    for number, (text, address) in enumerate(files):
        module = folder / f"m{number}"
        module.mkdir()
        source = f"{address}.json" if address.startswith("data.") else address
        text = text.replace("aws_s3_bucket.assets.arn", "local.arn_of_assets")
        local_and_output = (
            'locals {\n  arn_of_assets = "arn:aws:s3:::acme-assets"\n}\n\noutput "p" {\n  value'
            f" = {source}\n}}\n"
        )
        (module / "main.tf").write_text(text + local_and_output)
        outputs.append(f"m{number}")
        calls.append(f'module "m{number}" {{\n  source = "./m{number}"\n}}\n')
        calls.append(f'output "m{number}" {{\n  value = module.m{number}.p\n}}\n')
    (folder / "main.tf").write_text("\n".join(calls))
    for command in (
        ("init", "-input=false"),
        ("plan", "-input=false", "-refresh=false", "-out=plan.bin"),
    ):
        run(command, folder)
    plan_as_json = run(("show", "-json", "plan.bin"), folder)
    # The program, a build of 2021, writes its pipe's name first.
    plan, _ = json.JSONDecoder().raw_decode(plan_as_json[plan_as_json.index("{") :])
    values = plan["planned_values"]["outputs"]
    return [json.loads(values[name]["value"]) for name in outputs]


def run(command: Sequence[str], folder: Path) -> str:
    """Runs Terraform; its output, or the reason why it failed."""
    tools = terraform()
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "TF_CLI_CONFIG_FILE": str(tools / "terraform.rc"),
    }
    completed = subprocess.run(
        [str(tools / "program"), *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if completed.returncode:
        raise LeastprivError(
            f"terraform {command[0]}: {(completed.stderr or completed.stdout)[-1500:]}"
        )
    return completed.stdout


def formatted(texts: Sequence[str], folder: Path) -> list[str]:
    """Returns the files as `terraform fmt` writes them."""
    for number, text in enumerate(texts):
        (folder / f"f{number}.tf").write_bytes(text.encode())
    run(("fmt", "-list=false", "."), folder)
    return [(folder / f"f{number}.tf").read_bytes().decode() for number in range(len(texts))]


def policies_of(text: str) -> Iterator[str]:
    """Yields the addresses of the policies of a file."""
    for block in read_blocks(text).blocks:
        labels = block.labels
        if labels[:2] == ("data", "aws_iam_policy_document"):
            yield ".".join(labels)
        elif labels[0] == "resource" and labels[1:2] and labels[1] in _RESOURCES_WITH_POLICY:
            yield f"{'.'.join(labels[1:])}.policy"


def public_files(folder: Path, counts: Counter[str]) -> Iterator[tuple[str, str]]:
    """Yields the policies of public files that can be read; counts them."""
    for path in sorted(folder.glob("*.tf")):
        text = path.read_text()
        counts["files"] += 1
        for address in policies_of(text):
            try:
                parse(text.encode(), "main.tf", address, VALUES)
            except PolicyFileError as error:
                kind = (
                    "trust or resource policies"
                    if "has a principal" in str(error)
                    else "unreadable"
                )
                counts[kind] += 1
                if kind == "unreadable":
                    print(f"{path.name}: {error}", file=sys.stderr)
            else:
                counts["policies read"] += 1
                yield text, address


def main() -> None:
    """Runs the bench."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--edits", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    choose, counts = random.Random(options.seed), Counter[str]()  # noqa: S311 - no secrets
    maker = Maker(choose)
    public = list(public_files(options.folder, counts)) if options.folder else []
    sources = [choose.choice(public) if public else maker.file() for _ in range(options.edits)]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "before").mkdir()
        (root / "after").mkdir()
        clean = formatted([text for text, _ in sources], root / "before")
        edited_files: list[EditedFile] = []
        for (_, address), text in zip(sources, clean, strict=True):
            before = parse(text.encode(), "main.tf", address, VALUES, TerraformFolder())
            edits = edits_of(before, choose)
            try:
                after = apply_edits(before, edits)
            except LeastprivError as error:
                counts["refused"] += 1
                print(f"{address}: {error}\n{edits}\n{text}", file=sys.stderr)
                continue
            meant = json_value(apply_edits(before.as_json(), edits).policy)
            edited_files.append(EditedFile(before, after, edits, meant))
        counts["edits"] = len(edited_files)
        again = formatted([edited.after.text for edited in edited_files], root / "after")
        for edited, text in zip(edited_files, again, strict=True):
            counts["not clean for terraform fmt"] += text != edited.after.text
            counts["other bytes changed"] += not untouched(edited)
            if text != edited.after.text:
                print(
                    f"NOT CLEAN {edited.edits}\n{edited.after.text}\n---\n{text}", file=sys.stderr
                )
        if not public:
            compare(edited_files, root, counts)
    for name, number in counts.items():
        print(f"{number:6} {name}")


def compare(edited_files: Sequence[EditedFile], root: Path, counts: Counter[str]) -> None:
    """Compares what Terraform renders with what the editor meant."""
    for start in range(0, len(edited_files), 100):
        part = edited_files[start : start + 100]
        folder = root / f"plan{start}"
        folder.mkdir()
        policies = rendered([(edited.after.text, edited.after.pointer) for edited in part], folder)
        for edited, policy in zip(part, policies, strict=True):
            expected = known(edited.meant)
            is_as_meant = meaning(policy) == meaning(expected)
            counts["rendered as meant"] += is_as_meant
            if not is_as_meant:
                print(
                    f"NOT AS MEANT {edited.edits}\n{edited.after.text}\n{meaning(policy)}\n"
                    f"{meaning(expected)}",
                    file=sys.stderr,
                )


def known(value: Any) -> Any:
    """The policy with Terraform's escapes undone: all values of these policies are known."""
    return json.loads(json.dumps(value).replace("$${", "${"))


if __name__ == "__main__":
    main()
