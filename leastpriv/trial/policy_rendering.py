"""Renders the candidate as a session policy, as managed policies or as inline policies of a role."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import groupby

from leastpriv.errors import InputError, PolicyFileError
from leastpriv.policy.compact import merge_statements
from leastpriv.policy.document import Document, Statement, parse
from leastpriv.policy.size import PolicyKind, max_managed_policies, pack, quota
from leastpriv.policy.syntax_tree import json_string, minified

EMPTY_POLICY = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:GetCallerIdentity","Resource":"*"}]}'
)
"""Replaces an empty policy, which IAM rejects: the one action that needs no permission
(https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html, read 2026-11-24)."""

_OUTSIDE_ASCII = re.compile(r"[^\x00-\x7f]")
"""AWS accepts characters up to U+00FF in a policy, and any as an escape (`Policy` in the page of AssumeRole)."""


def render_documents(documents: Sequence[Document]) -> tuple[str, ...]:
    """Returns the documents as JSON policies without white space, one per policy version.

    Raises InputError where a part of a policy is known only once its template is rendered.
    """
    nonempty = [each for each in documents if each.statements]
    for document in nonempty:
        _check_no_templates(document)
    ordered = sorted(nonempty, key=lambda document: document.version)
    texts = (_text(list(group)) for _, group in groupby(ordered, key=lambda document: document.version))
    return tuple(map(_escaped, texts)) or (EMPTY_POLICY,)


def as_session_policy(documents: Sequence[Document]) -> str:
    """Returns the inline policy of a session, with merged statements if it is too long; empty if it does not fit.

    Raises InputError as `render_documents`.
    """
    texts = render_documents(documents)
    if len(texts) > 1:
        return ""
    limit = quota(PolicyKind.SESSION)
    if len(texts[0]) <= limit:
        return texts[0]
    joined = _escaped(minified(merge_statements(parse(texts[0].encode(), "the candidate"))[0].policy))
    return joined if len(joined) <= limit else ""


def as_inline_policies(documents: Sequence[Document]) -> tuple[str, ...]:
    """Returns the inline policies of a role; empty if together they are too large.

    Raises InputError as `render_documents`.
    """
    texts = render_documents(documents)
    return texts if sum(map(len, texts)) <= quota(PolicyKind.INLINE_ROLE) else ()


def as_managed_policies(documents: Sequence[Document]) -> tuple[str, ...]:
    """Returns managed policies that together allow the same; empty if they are too many, or one is too large.

    A role takes ten, unless AWS raised the quota, and so does a session
    (https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html, `PolicyArns`, read 2026-11-24).
    Raises InputError as `render_documents`.
    """
    packed = [pack(parse(text.encode(), "the candidate")) for text in render_documents(documents)]
    texts = [_escaped(minified(part.policy)) for policies in packed for part in (policies.document, *policies.further)]
    fits = all(policies.fits for policies in packed) and all(len(text) <= quota(PolicyKind.MANAGED) for text in texts)
    return tuple(texts) if fits and len(texts) <= max_managed_policies() else ()


def _text(documents: Sequence[Document]) -> str:
    nodes = ",".join(minified(node) for document in documents for node in document.statement_nodes)
    version = f'"Version":{json_string(documents[0].version)},' if documents[0].version else ""
    return f'{{{version}"Statement":[{nodes}]}}'


def _escaped(text: str) -> str:
    return _OUTSIDE_ASCII.sub(lambda character: json.dumps(character[0])[1:-1], text)


def _check_no_templates(document: Document) -> None:
    """Raises InputError if the document means what it says only once its template is rendered."""
    if document.source.language == "plain":
        return
    try:
        plain = parse(_text([document]).encode(), document.where)
        is_same = [*map(_comparable, plain.statements)] == [*map(_comparable, document.statements)]
    except PolicyFileError:
        is_same = False
    if not is_same:
        raise InputError(
            f"{document.where}: a part of this policy is known only once its template is rendered, so that it cannot "
            "be tried; name the rendered JSON policy."
        )


def _comparable(statement: Statement) -> tuple[object, ...]:
    entries = (statement.actions, statement.not_actions, statement.resources, statement.not_resources)
    return (*entries, statement.conditions, statement.conditions_readable)
