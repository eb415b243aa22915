"""Finds a policy in the text of a file: JSON, YAML, or text within a string of either.

Where a policy stands: a file, and a pointer into it; and what to say where the pointer leads nowhere.
"""

from __future__ import annotations

from contextlib import suppress

from leastpriv.errors import NoPolicyError, PolicyFileError
from leastpriv.policy.embedded_json import open_shell
from leastpriv.policy.source import Format, Source, choices, find, is_hcl, kind_name, names, policies_in, rendered
from leastpriv.policy.syntax_tree import Node, line_of, read, value_of
from leastpriv.policy.template_functions import Language
from leastpriv.policy.yaml_reader import read_yaml

_WRAPPERS = ("", "/PolicyVersion/Document", "/Policy", "/PolicyDocument")
"""Where the policy stands in a policy file and in the output of `aws iam get-policy-version`,
`get-role-policy` and their like, which people commit as it is."""

_YAML_NAMES = (".yaml", ".yml", ".template")
_TERRAFORM_NAMES = (".tf.json", ".tofu.json")


def locate(text: str, where: str, pointer: str) -> Source:
    """Find the policy at `pointer`, without one at the top of the file or where the AWS command line puts it.

    Raises PolicyFileError where the file cannot be read or has no policy there; it names those that it has.
    """
    if is_hcl(where):
        from leastpriv.policy.hcl import read_hcl

        return read_hcl(text, where, pointer)
    form, root = _read(text, where)
    terraform = where.lower().endswith(_TERRAFORM_NAMES)
    found, policy = (pointer, find(root, pointer, where)) if pointer else _unwrapped(root, where)
    functions = form == "yaml" or found not in _WRAPPERS
    language: Language = "terraform" if terraform else "cloudformation" if functions else "plain"
    source = Source(form, found, text, policy, language, text, kind=_resource_type(root, found, where))
    if terraform and "/aws_iam_policy_document/" in found:
        return _data_source(source, where)
    return _opened(source, root, where)


def _resource_type(root: Node, pointer: str, where: str) -> str:
    parts = pointer.split("/")
    if parts[:2] != ["", "Resources"] or len(parts) < 3:
        return ""
    kind = find(root, "/".join(parts[:3]), where).get("Type")
    return kind.text if kind else ""


def _read(text: str, where: str) -> tuple[Format, Node]:
    if not where.lower().endswith(_YAML_NAMES):
        return "json", read(text, where)
    if text.removeprefix("\ufeff").lstrip().startswith("{"):
        with suppress(PolicyFileError):
            return "json", read(text, where)
    return "yaml", read_yaml(text, where)


def _unwrapped(root: Node, where: str) -> tuple[str, Node]:
    for pointer in _WRAPPERS:
        with suppress(PolicyFileError):
            node = find(root, pointer, where)
            if node.get_any_case("Statement"):
                return pointer, node
    inside = choices(where, policies_in(root))
    raise NoPolicyError(
        f"{where}: no policy, an object with Statement, stands at the top or at {', '.join(_WRAPPERS[1:])}; "
        + (f"name one inside the file by its pointer: {inside}." if inside else "name the JSON file of an IAM policy.")
    )


def _opened(source: Source, root: Node, where: str) -> Source:
    """The source itself where its node is a policy; where it is a string, the policy in it."""
    node = source.policy
    if node.get_any_case("Statement"):
        return source
    sub = node.get("Fn::Sub") if node.kind == "object" and len(node.members) == 1 else None
    text = sub if sub and source.language == "cloudformation" else node
    if text.kind != "string" or not text.text.lstrip().startswith(("{", "${")):
        raise NoPolicyError(_no_policy(source, root, where))
    opened = open_shell(source.text, text)
    if opened is None:
        raise PolicyFileError(
            f"{where}: {source.place(text.start)}: the policy is a string of a form that cannot be edited in place; "
            "write it as an object, in quotes on one line, or as a block with |."
        )
    inner, shell = opened
    try:
        policy = read(inner, where)
    except PolicyFileError as error:
        raise PolicyFileError(_no_json(source, inner, where)) from error
    language: Language = "sub" if text is sub else "terraform" if source.language == "terraform" else "plain"
    found = Source(source.format, source.pointer, inner, policy, language, source.outer, shell, source.kind)
    if not policy.get_any_case("Statement"):
        raise NoPolicyError(_no_policy(found, root, where))
    return found


def _data_source(source: Source, where: str) -> Source:
    """A Terraform data source in JSON: read like one in HCL."""
    from leastpriv.policy.hcl import as_policy

    statements = source.policy.get("statement")
    nodes = () if statements is None else statements.items if statements.kind == "array" else (statements,)
    text = as_policy(value_of(source.policy), where, source.pointer)
    return rendered(text, where, source.pointer, tuple(line_of(source.text, node.start) for node in nodes))


def _no_policy(source: Source, root: Node, where: str) -> str:
    node = source.policy
    keys = [member.key for member in node.members]
    what = f"an object without Statement, only {names(keys)}" if keys else f"a {kind_name(node)}, no policy"
    inside = choices(where, policies_in(root)) if source.shell is None else ""
    advice = f"the file has {inside}" if inside else "correct the pointer"
    return f"{where}: there is no policy at {source.pointer}: it is {what}; {advice}."


def _no_json(source: Source, inner: str, where: str) -> str:
    if source.language == "terraform" and inner.strip().startswith("${"):
        return (
            f"{where}: {source.pointer} is the expression {inner.strip()[:60]}; name what it leads to, such as "
            f"{where}#/data/aws_iam_policy_document/NAME."
        )
    return f"{where}: the string at {source.pointer} is not JSON; correct the pointer."
