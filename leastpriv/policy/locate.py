"""Finds a policy in the text of a file: JSON, YAML, or a string of either that contains JSON."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from msgspec.structs import replace

from leastpriv.errors import NoPolicyError, PolicyFileError
from leastpriv.policy.source import (
    Format,
    PolicySource,
    TerraformFolder,
    describe_kind,
    follow_pointer,
    format_names,
    is_hcl,
    is_statement_list,
    open_embedded_json,
    policy_addresses,
)
from leastpriv.policy.syntax_tree import Member, Node, decoded, read_json
from leastpriv.policy.template_functions import Language, language_of

_WRAPPERS = ("", "/PolicyVersion/Document", "/Policy", "/PolicyDocument")
"""Pointers to the policy in a policy file and in the output of `aws iam get-policy-version`,
`get-role-policy` and similar commands, which people commit unchanged."""

_RESOURCE_WRAPPERS = (
    *_WRAPPERS,
    "/ResourcePolicy",
    "/Attributes/Policy",
    "/Role/AssumeRolePolicyDocument",
    "/AssumeRolePolicyDocument",
    "/policy",
    "/policyText",
    "/Policy/Content",
    "/Content",
)
"""The same in the output of the commands that read a policy of a bucket, key, queue, topic, secret,
function, repository or role, or a policy of an organization."""
_ARNS = ("/ARN", "/Role/Arn", "/Arn", "/Attributes/QueueArn", "/Attributes/TopicArn")
"""Pointers to the ARN of the resource in that output."""
_VERSION = "2012-10-17"
"""Version of the policy that the Serverless Framework makes of its statements."""

_YAML_NAMES = (".yaml", ".yml", ".template")
_TERRAFORM_NAMES = (".tf.json", ".tofu.json")


def locate(
    text: str,
    where: str,
    pointer: str,
    folder: TerraformFolder,
    parameters: Mapping[str, str],
) -> PolicySource:
    """Finds the policy at `pointer`; empty searches the top of the file and the keys of the AWS
    CLI's output.

    `folder` and `parameters` give the values of Terraform's expressions.

    Raises PolicyFileError if the file cannot be read or has no policy there; the message lists the
    policies of the file.
    """
    if is_hcl(where):
        from leastpriv.policy.hcl import read_hcl

        return read_hcl(text, where, pointer, folder, parameters)
    form, root = _parse(text, where)
    terraform = where.lower().endswith(_TERRAFORM_NAMES)
    if pointer:
        policy_pointer, policy = pointer, _policy_at(root, pointer, where)
    else:
        policy_pointer, policy = _policy_in_wrapper(root, where)
    has_functions = form == "yaml" or policy_pointer not in _WRAPPERS
    language: Language = "cloudformation" if has_functions else language_of(text)
    if terraform:
        language = "terraform"
    source = PolicySource(
        format=form,
        pointer=policy_pointer,
        text=text,
        policy=policy,
        language=language,
        outer=text,
        resource_type=_resource_type(root, policy_pointer, where),
        root=root,
    )
    if terraform and "/aws_iam_policy_document/" in policy_pointer:
        from leastpriv.policy.hcl import render_data_source

        return render_data_source(replace(source, folder=folder), where, parameters)
    return _embedded_policy(source, root, where)


def outer_policy_pointer(raw: bytes, where: str) -> str:
    """Returns the pointer to the policy in a file that holds the output of an AWS command; empty
    where the whole file is the policy, or is no JSON.
    """
    if is_hcl(where) or where.lower().endswith(_YAML_NAMES):
        return ""
    root = read_json(decoded(raw, where), where)
    for pointer in _RESOURCE_WRAPPERS:
        with suppress(PolicyFileError):
            node = follow_pointer(root, pointer, where)
            if node.get_any_case("Statement") or (node.kind == "string" and pointer):
                return pointer
    return ""


def named_resource(raw: bytes, where: str) -> str:
    """Returns the ARN of the resource whose policy the output of an AWS command holds; empty where
    it names none.
    """
    if is_hcl(where) or where.lower().endswith(_YAML_NAMES):
        return ""
    root = read_json(decoded(raw, where), where)
    if root.get_any_case("Statement"):
        return ""
    for pointer in _ARNS:
        with suppress(PolicyFileError):
            node = follow_pointer(root, pointer, where)
            if node.kind == "string":
                return node.text
    return ""


def _policy_at(root: Node, pointer: str, where: str) -> Node:
    """The value at a pointer; a list of statements is the policy that has them, as the Serverless
    Framework writes it.
    """
    node = follow_pointer(root, pointer, where)
    if not is_statement_list(node):
        return node
    outer_pointer, _, _ = pointer.rpartition("/")
    outer_members = follow_pointer(root, outer_pointer, where).members
    list_member = next((member for member in outer_members if member.value is node), None)
    if list_member is None:
        return node
    # The file has no such object: it takes the place of the member with the list.
    start = list_member.start
    version = Node("string", start, start, text=_VERSION)
    members = (
        Member("Version", start, start, version),
        Member("Statement", start, list_member.key_end, node),
    )
    return Node("object", start, node.end, members=members, block=node.block)


def _resource_type(root: Node, pointer: str, where: str) -> str:
    parts = pointer.split("/")
    if parts[:2] != ["", "Resources"] or len(parts) < 3:
        return ""
    kind = follow_pointer(root, "/".join(parts[:3]), where).get("Type")
    return kind.text if kind else ""


def _parse(text: str, where: str) -> tuple[Format, Node]:
    if not where.lower().endswith(_YAML_NAMES):
        return "json", read_json(text, where)
    if text.removeprefix("\ufeff").lstrip().startswith("{"):
        with suppress(PolicyFileError):
            return "json", read_json(text, where)
    from leastpriv.policy.syntax_tree import read_yaml

    return "yaml", read_yaml(text, where)


def _policy_in_wrapper(root: Node, where: str) -> tuple[str, Node]:
    policies: dict[str, Node] = {}
    for pointer in _WRAPPERS:
        with suppress(PolicyFileError):
            node = follow_pointer(root, pointer, where)
            is_text = pointer and node.kind == "string" and '"Statement"' in node.text
            if is_text or node.get_any_case("Statement"):
                policies[pointer] = node
    if len(policies) > 1:
        pointers = ", ".join(pointer or "the top" for pointer in policies)
        raise PolicyFileError(
            f"{where}: it has {len(policies)} policies, at {pointers}; name one by its pointer."
        )
    for pointer, node in policies.items():
        if node.kind != "string":
            return pointer, node
    inside = policy_addresses(root, where)
    advice = "name the JSON file of an IAM policy."
    if inside:
        advice = f"name one inside the file by its pointer: {inside}."
    raise NoPolicyError(
        f"{where}: no policy (an object with Statement) is at the top or at"
        f" {', '.join(_WRAPPERS[1:])}; {advice}"
    )


def _embedded_policy(source: PolicySource, root: Node, where: str) -> PolicySource:
    """Returns the source if its node is a policy, or the source of the policy inside its string."""
    node = source.policy
    if node.get_any_case("Statement"):
        return source
    sub = node.get("Fn::Sub") if node.kind == "object" and len(node.members) == 1 else None
    is_sub = sub is not None and source.language == "cloudformation"
    text = sub if sub and is_sub else node
    if text.kind != "string" or not text.text.lstrip().startswith(("{", "${")):
        raise NoPolicyError(_no_policy(source, root, where))
    embedded_json = open_embedded_json(source.text, text)
    if embedded_json is None:
        problem = (
            f"{source.position(text.start)}: the policy is a string of a form that cannot be edited"
            " in place"
        )
        advice = "write it as an object, in quotes on one line, or as a block with |"
        raise PolicyFileError(f"{where}: {problem}; {advice}.")
    inner, embedded = embedded_json
    try:
        policy = read_json(inner, where)
    except PolicyFileError as error:
        raise PolicyFileError(f"{where}: {_no_json(source, inner, where)}.") from error
    language: Language = "terraform" if source.language == "terraform" else language_of(inner)
    if is_sub:
        language = "sub"
    inner_source = replace(source, text=inner, policy=policy, language=language, embedded=embedded)
    if not policy.get_any_case("Statement"):
        raise NoPolicyError(_no_policy(inner_source, root, where))
    return inner_source


def _no_json(source: PolicySource, inner: str, where: str) -> str:
    """Returns why a string is no policy, and what to name instead."""
    expression = inner.strip()
    if source.language != "terraform" or not expression.startswith("${"):
        return f"the string at {source.pointer} is not JSON; correct the pointer"
    target = f"{where}#/data/aws_iam_policy_document/NAME"
    return (
        f"{source.pointer} is the expression {expression[:60]}; name what it leads to, such as"
        f" {target}"
    )


def _no_policy(source: PolicySource, root: Node, where: str) -> str:
    node = source.policy
    keys = [member.key for member in node.members]
    what = f"a {describe_kind(node)}, no policy"
    if keys:
        what = f"an object without Statement, only {format_names(keys)}"
    inside = policy_addresses(root, where) if source.embedded is None else ""
    advice = f"the file has {inside}" if inside else "correct the pointer"
    return f"{where}: there is no policy at {source.pointer}: it is {what}; {advice}."
