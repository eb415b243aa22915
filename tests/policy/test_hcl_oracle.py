"""Random expressions: the value that Terraform computes is known exactly, or covered by what
remains unknown.

The fast test computes the value with a model of Terraform's functions; the slow one with `terraform
console`, which also checks the model.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from leastpriv.permissions.patterns import matches, with_any_text
from leastpriv.policy.document import Document, parse
from leastpriv.policy.evaluate import Request, evaluate
from tests.end_to_end.seed.tools import ToolMissingError, terraform
from tests.hypothesis_profiles import examples

MODULE = """variable "name" {
  default = "orders"
}

variable "secret" {
  type = string
}

variable "more" {
  type = list(string)
}

locals {
  acts  = ["s3:GetObject", "sqs:*"]
  verbs = { get = "GetObject", put = "PutObject" }
  both  = concat(local.acts, var.more)
}
"""
VARIABLES = {"secret": "hidden", "more": ["lambda:Invoke", "a:B"]}
"""Values that only Terraform is given."""


@dataclass(frozen=True)
class Made:
    """An expression and its value."""

    text: str
    value: object


ACTIONS = ("s3:GetObject", "sqs:*", "a:B", "c:D", "")

texts = st.one_of(
    st.sampled_from(ACTIONS[:-1]).map(lambda text: Made(json.dumps(text), text)),
    st.sampled_from(
        [
            Made("var.name", "orders"),
            Made("var.secret", "hidden"),
            Made('local.verbs["get"]', "GetObject"),
        ]
    ),
)


def text_expressions(inner: st.SearchStrategy[Made]) -> st.SearchStrategy[Made]:
    """Expressions of texts over texts."""
    return st.one_of(
        st.tuples(inner, inner).map(
            lambda p: Made(f'"${{{p[0].text}}}-${{{p[1].text}}}"', f"{p[0].value}-{p[1].value}")
        ),
        st.tuples(inner, inner).map(
            lambda p: Made(
                f'format("%s:%s", {p[0].text}, {p[1].text})', f"{p[0].value}:{p[1].value}"
            )
        ),
        inner.map(lambda each: Made(f"upper({each.text})", str(each.value).upper())),
        inner.map(
            lambda each: Made(f'replace({each.text}, "s", "t")', str(each.value).replace("s", "t"))
        ),
        st.tuples(inner, inner, inner).map(
            lambda p: Made(
                f'({p[0].text} == "orders" ? {p[1].text} : {p[2].text})',
                p[1].value if p[0].value == "orders" else p[2].value,
            )
        ),
    )


some_text = st.recursive(texts, text_expressions, max_leaves=4)


def unique(values: Sequence[str]) -> list[str]:
    """Returns the values without repetitions."""
    return list(dict.fromkeys(values))


def plain_list(items: Sequence[Made]) -> Made:
    """Returns a list that is written out."""
    return Made(f"[{', '.join(node.text for node in items)}]", [node.value for node in items])


lists = st.one_of(
    st.lists(some_text, min_size=1, max_size=3).map(plain_list),
    st.sampled_from(
        [
            Made("local.acts", ["s3:GetObject", "sqs:*"]),
            Made("var.more", VARIABLES["more"]),
            Made("local.both", ["s3:GetObject", "sqs:*", *VARIABLES["more"]]),
            Made("values(local.verbs)", ["GetObject", "PutObject"]),
        ]
    ),
)


def of_list(template: str, compute: Callable[[list[str]], object]) -> Callable[[Made], Made]:
    """Returns a maker of an expression over one list."""
    return lambda each: Made(template.replace("LIST", each.text), compute(list(each.value)))  # type: ignore[call-overload]


def list_expressions(inner: st.SearchStrategy[Made]) -> st.SearchStrategy[Made]:
    """Expressions of lists over lists."""
    pairs = st.tuples(inner, inner)
    single = [
        ("tolist(toset(LIST))", lambda values: sorted(unique(values))),
        ("distinct(LIST)", unique),
        ("reverse(LIST)", lambda values: values[::-1]),
        ("compact(LIST)", lambda values: [value for value in values if value]),
        ('[for each in LIST : "s3:${each}"]', lambda values: [f"s3:{value}" for value in values]),
        (
            '[for each in LIST : each if each != "a:B"]',
            lambda values: [value for value in values if value != "a:B"],
        ),
        ('split(",", join(",", LIST))', lambda values: values),
        ('formatlist("%s*", LIST)', lambda values: [f"{value}*" for value in values]),
        ("[for key, each in LIST : each]", lambda values: values),
        ("[element(LIST, 0)]", lambda values: values[:1]),
        ("[LIST[0]]", lambda values: values[:1]),
        ("sort(LIST)", sorted),
        ("slice(LIST, 0, 1)", lambda values: values[:1]),
        (
            "[for each in LIST : each if each != var.secret]",
            lambda values: [value for value in values if value != "hidden"],
        ),
        ('(var.secret == "x" ? ["a:B"] : LIST)', lambda values: values),
        ('(var.secret == "x" ? [] : var.name == "y" ? ["a:B"] : LIST)', lambda values: values),
        (
            "flatten([for each in LIST : (each == var.secret ? [] : [each])])",
            lambda values: [value for value in values if value != "hidden"],
        ),
        ('lookup({ a = LIST, b = ["a:B"] }, var.secret == "hidden" ? "a" : "b", [])', list),
        ('coalescelist(var.secret == "x" ? ["c:D"] : [], LIST)', lambda values: values),
        (
            'compact(concat([var.secret == "x" ? "c:D" : ""], LIST))',
            lambda values: [value for value in values if value],
        ),
        ('try(LIST, ["c:D"])', lambda values: values),
        (
            'merge({ a = LIST }, var.secret == "x" ? { a = ["c:D"] } : {})["a"]',
            lambda values: values,
        ),
        ('[join("/", LIST)]', lambda values: ["/".join(values)]),
    ]
    return st.one_of(
        *(inner.map(of_list(template, compute)) for template, compute in single),
        pairs.map(lambda p: Made(f"concat({p[0].text}, {p[1].text})", [*p[0].value, *p[1].value])),  # type: ignore[misc]
        pairs.map(
            lambda p: Made(f"flatten([{p[0].text}, {p[1].text}])", [*p[0].value, *p[1].value])
        ),  # type: ignore[misc]
        pairs.map(
            lambda p: Made(
                f"sort(tolist(setunion({p[0].text}, {p[1].text})))",
                sorted({*p[0].value, *p[1].value}),  # type: ignore[misc]
            )
        ),
        pairs.map(
            lambda p: Made(
                f"sort(tolist(setsubtract({p[0].text}, {p[1].text})))",
                sorted({*p[0].value} - {*p[1].value}),  # type: ignore[misc]
            )
        ),
        pairs.map(
            lambda p: Made(
                f"sort(tolist(setintersection({p[0].text}, {p[1].text})))",
                sorted({*p[0].value} & {*p[1].value}),  # type: ignore[misc]
            )
        ),
        pairs.map(
            lambda p: Made(
                f'(var.secret == "hidden" ? {p[0].text} : {p[1].text})',
                p[0].value,
            )
        ),
    )


some_list = st.recursive(lists, list_expressions, max_leaves=5).filter(
    lambda made: bool(made.value)
)


def read(expression: str) -> Document:
    """Reads a policy whose actions are an expression."""
    statement = f'statement {{\n actions = {expression}\n resources = ["*"]\n  }}'
    body = f'data "aws_iam_policy_document" "p" {{\n  {statement}\n}}\n'
    return parse((MODULE + body).encode(), "main.tf", "data.aws_iam_policy_document.p")


def check(expression: str, value: Sequence[str]) -> None:
    """Checks that what is read is the value, or covers it, and that no granted call is called
    denied.
    """
    document = read(expression)
    (statement,) = document.statements
    possible = {bound.text for bound in statement.possible}
    literal_actions = [
        entry for entry in statement.actions if entry not in statement.unknown_actions
    ]
    certain = [entry for entry in literal_actions if entry not in possible]
    assert {*certain} <= {*value}, (expression, certain)
    if not statement.unknown_actions and not possible:
        assert {*literal_actions} == {*value}, expression
    for entry in value:
        assert any(matches(with_any_text(action), entry) for action in statement.actions), (
            expression,
            statement.actions,
        )
        if entry.isascii() and ":" in entry and "*" not in entry:
            assert evaluate(Request(entry, "*", {}), [document]).effect != "implicitDeny", (
                expression
            )


@given(some_list)
def test_an_expression_is_known_exactly_or_covers_its_value(made: Made) -> None:
    assert isinstance(made.value, list)
    check(made.text, made.value)


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Terraform, and the folder of the module."""
    try:
        tools = terraform()
    except ToolMissingError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("console")
    (folder / "main.tf").write_text(MODULE)
    (folder / "only.tfvars").write_text(
        "".join(f"{key} = {json.dumps(value)}\n" for key, value in VARIABLES.items())
    )
    return tools, folder


@pytest.mark.slow
@examples(200)
@given(made=some_list)
def test_terraform_computes_what_is_known_or_covered(module: tuple[Path, Path], made: Made) -> None:
    value = console(*module, made.text)
    # Terraform refuses some types, such as a conditional of a list and a tuple.
    assume(value is not None)
    assert value == made.value
    check(made.text, value or [])


def console(tools: Path, folder: Path, expression: str) -> list[str] | None:
    """Returns the value that Terraform computes; None if it refuses the expression."""
    completed = subprocess.run(
        [str(tools / "program"), "console", "-var-file=only.tfvars"],
        input=f"jsonencode({expression})\n",
        cwd=folder,
        env={"PATH": os.defpath, "HOME": str(folder), "CHECKPOINT_DISABLE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if completed.returncode or '"' not in completed.stdout:
        return None
    quoted_json = completed.stdout[completed.stdout.index('"') : completed.stdout.rindex('"') + 1]
    document = json.loads(json.loads(quoted_json))
    return list(document)
