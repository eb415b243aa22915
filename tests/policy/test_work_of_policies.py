"""Files that ask for more work than any honest policy are read in seconds, and never crash."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.errors import LeastprivError, PolicyFileError
from leastpriv.policy.compact import merge_statements
from leastpriv.policy.document import Document, parse
from leastpriv.policy.source import TerraformFolder
from tests.hypothesis_profiles import examples

DOCUMENT = """data "aws_iam_policy_document" "d" {
  statement {
    actions   = ["sqs:SendMessage"]
    resources = [local.last]
  }
}
"""
_NO_FOLDER = TerraformFolder()


def read(more: str, folder: TerraformFolder = _NO_FOLDER) -> Document:
    text = (DOCUMENT + more).encode()
    return parse(text, "main.tf", "data.aws_iam_policy_document.d", {}, folder)


def locals_of(first: str, step: Callable[[str], str], count: int = 60) -> str:
    lines = [f"  a0 = {first}"]
    lines += [f"  a{number} = {step(f'local.a{number - 1}')}" for number in range(1, count)]
    return "locals {\n" + "\n".join([*lines, f"  last = local.a{count - 1}"]) + "\n}\n"


@pytest.mark.parametrize(
    "statement",
    [
        lambda number: {"Action": f"sqs:Action{number}", "Resource": "*"},
        lambda number: {"Action": "sqs:SendMessage", "Resource": f"arn:aws:sqs:::q{number}"},
        lambda _: {"Action": "sqs:SendMessage", "Resource": "*"},
    ],
)
def test_thousands_of_statements_are_merged_into_one_in_seconds(
    statement: Callable[[int], dict[str, str]],
) -> None:
    statements = [{"Effect": "Allow", **statement(number)} for number in range(3_000)]
    text = json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2)
    document = parse(text.encode(), "p.json")
    began = time.process_time()
    merged = merge_statements(document)
    assert time.process_time() - began < 10
    assert len(merged.document.statements) == 1
    assert len(merged.sids) == 2_999


@pytest.mark.parametrize(
    ("first", "step"),
    [
        ('"xxxxxxxx"', lambda name: f'"${{{name}}}${{{name}}}"'),
        ('"xxxxxxxx"', lambda name: f'replace({name}, "x", "xx")'),
        ('"xxxxxxxx"', lambda name: f'join("-", [{name}, {name}])'),
        ('"xxxxxxxx"', lambda name: f'format("%s%s", {name}, {name})'),
        ('["x", "x"]', lambda name: f"concat({name}, {name})"),
        ('["x", "x"]', lambda name: f"[{name}, {name}]"),
        ('["x", "x"]', lambda name: f'formatlist("%s%s", {name}, concat({name}))'),
        ('{ a = "x" }', lambda name: f"{{ a = {name}, b = {name} }}"),
        ('{ a = "x" }', lambda name: f'"${{jsonencode({{ a = {name}, b = {name} }})}}"'),
        ('"x"', lambda name: f'var.w ? "${{{name}}}a" : "${{{name}}}b"'),
    ],
)
def test_locals_that_double_are_not_known(first: str, step: Callable[[str], str]) -> None:
    began = time.process_time()
    (statement,) = read(locals_of(first, step)).statements
    assert time.process_time() - began < 20
    assert all(entry.startswith("${") for entry in statement.resources)


def test_a_dynamic_block_of_millions_is_one_unknown_statement() -> None:
    names = ", ".join(f'"a{number}"' for number in range(1500))
    inner = (
        '    dynamic "condition" {\n      for_each = local.l\n      content {\n'
        '        test = "StringEquals"\n        variable = condition.value\n'
        "        values = [statement.value]\n      }\n    }\n"
    )
    text = (
        'data "aws_iam_policy_document" "d" {\n  dynamic "statement" {\n    for_each = local.l\n'
        f'    content {{\n    actions = ["a:b"]\n    resources = ["*"]\n{inner}    }}\n  }}\n}}\n'
        f"locals {{\n  l = [{names}]\n}}\n"
    )
    document = parse(text.encode(), "main.tf", "data.aws_iam_policy_document.d")
    assert len(document.statements) == 1
    assert "too large" in document.statements[0].fixed_reason("")


@pytest.mark.parametrize(
    "more",
    [
        "locals {\n  last = local.l[" + "9" * 5000 + ']\n  l = ["a"]\n}\n',
        "locals {\n  last = " + "[" * 3000 + "]" * 3000 + "\n}\n",
        "locals {\n  last = " + "lower(" * 3000 + '"x"' + ")" * 3000 + "\n}\n",
        "locals {\n  last = " + "+".join("1" for _ in range(5000)) + "\n}\n",
        "a {\n" * 3000 + "}\n" * 3000 + 'locals {\n  last = "*"\n}\n',
        "locals {\n  last = " + "".join(f"var.a{n} ? {n} : " for n in range(2000)) + '"z"\n}\n',
        'module "m" {\n  source = "./"\n  a = module.m.x\n}\nlocals {\n  last = module.m.x\n}\n'
        'output "x" {\n  value = module.m.x\n}\n',
    ],
)
def test_deep_files_and_long_numbers_are_read(more: str) -> None:
    assert len(read(more).statements) == 1


def test_a_chain_of_locals_may_have_any_length() -> None:
    document = read(locals_of('"*"', lambda name: name, 5000))
    assert document.statements[0].resources == ("*",)


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ("locals {\n  last = local.last\n}\n", "local.last -> local.last"),
        (
            "locals {\n  a = local.b\n  b = local.a\n  last = local.a\n}\n",
            "local.a -> local.b -> local.a",
        ),
        (
            'resource "aws_sqs_queue" "a" {\n  name = aws_sqs_queue.b.name\n}\n'
            'resource "aws_sqs_queue" "b" {\n  name = aws_sqs_queue.a.name\n}\n'
            "locals {\n  last = aws_sqs_queue.a.arn\n}\n",
            "aws_sqs_queue.a -> aws_sqs_queue.b -> aws_sqs_queue.a",
        ),
    ],
)
def test_a_cycle_of_references_is_refused_with_its_path(more: str, path: str) -> None:
    with pytest.raises(PolicyFileError, match=f"main.tf: {path} is a cycle of references"):
        read(more)


def test_a_cycle_that_the_policy_does_not_refer_to_does_not_matter() -> None:
    assert read('locals {\n  a = local.b\n  b = local.a\n  last = "*"\n}\n').statements


def test_files_of_a_folder_beyond_the_limit_are_left_out() -> None:
    large = "locals {\n" + "".join(f"  b{number} = 1\n" for number in range(100_000)) + "}\n"
    folder = TerraformFolder({"large.tf": large})
    assert read('locals {\n  last = "*"\n}\n', folder).statements[0].resources == ("*",)


@pytest.mark.parametrize("depth", [10, 14])
def test_functions_of_cloudformation_that_double_are_not_known(depth: int) -> None:
    value: object = "x" * 4096
    for _ in range(depth):
        value = {"Fn::Sub": ["${R}${R}", {"R": value}]}
    statement = {"Effect": "Allow", "Action": "sqs:*", "Resource": value}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    root = json.dumps({"Resources": {"P": policy}}).encode()
    document = parse(root, "t.json", "/Resources/P", {})
    assert document.statements[0].resources


PIECES = (
    "local.a", "local.b", "local.c", "var.x", "aws_sqs_queue.q.arn", "aws_sqs_queue.q",
    "data.aws_iam_policy_document.d.json", "module.m.out", '"text"', "[]", "{}", "1", "null",
    "true", "each.key", "path.module",
)  # fmt: skip
FUNCTIONS = (
    "concat", "merge", "flatten", "compact", "distinct", "toset", "tolist", "join", "format",
    "formatlist", "replace", "lookup", "element", "slice", "coalesce", "coalescelist", "keys",
    "values", "zipmap", "setunion", "setsubtract", "setintersection", "jsonencode", "jsondecode",
    "try", "one", "length", "contains", "split", "templatefile", "file", "upper", "sort", "nope",
)  # fmt: skip


def expression(chance: random.Random, depth: int) -> str:
    if depth == 0:
        return chance.choice(PIECES)
    first_part, second_part, third = (expression(chance, depth - 1) for _ in range(3))
    return chance.choice(
        [
            f"[{first_part}, {second_part}]",
            f"{{ a = {first_part}, (b) = {second_part} }}",
            f'"${{{first_part}}}-${{{second_part}}}"',
            f"{chance.choice(FUNCTIONS)}({first_part}, {second_part}{chance.choice(['', '...'])})",
            f"{chance.choice(FUNCTIONS)}({first_part})",
            f"({first_part} ? {second_part} : {third})",
            f"[for x in {first_part} : x if {second_part}]",
            f"{{ for k, v in {first_part} : k => {second_part} }}",
            f"{first_part}[{second_part}]",
            f"{first_part}[*].arn",
            f"({first_part} == {second_part})",
            f"!{first_part}",
        ]
    )


@given(st.randoms(use_true_random=False))
@examples(400)
def test_any_expressions_are_read_or_refused_in_one_sentence(chance: random.Random) -> None:
    values = "\n".join(f"  {name} = {expression(chance, 3)}" for name in ("a", "b", "c", "last"))
    resources_text = (
        f"locals {{\n{values}\n}}\n"
        f'resource "aws_sqs_queue" "q" {{\n  count = 2\n  name = {expression(chance, 2)}\n}}\n'
        f'module "m" {{\n  source = "./m"\n  x = {expression(chance, 2)}\n}}\n'
        f'variable "x" {{\n  default = {expression(chance, 1)}\n}}\n'
    )
    folder = TerraformFolder(
        {"m/main.tf": 'variable "x" {}\noutput "out" {\n  value = "${var.x}${var.x}"\n}\n'}
    )
    problem = ""
    try:
        assert read(resources_text, folder).statements
    except LeastprivError as error:
        problem = str(error)
    assert len(problem) < 1000
