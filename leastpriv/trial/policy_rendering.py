"""The candidate as AWS takes it: a session's policy, managed policies, inline policies of a role (pure)."""

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

NOTHING = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:GetCallerIdentity","Resource":"*"}]}'
"""In place of an empty policy, which IAM refuses: the one action that needs no permission
(https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html, read 2026-11-24)."""

_OUTSIDE_ASCII = re.compile(r"[^\x00-\x7f]")
"""AWS takes characters up to U+00FF in a policy, and any as an escape (`Policy` in the page of AssumeRole)."""


def whole(documents: Sequence[Document]) -> tuple[str, ...]:
    """The documents as JSON policies without white space, one for each version that they have.

    Raises:
        InputError: a part of a policy is known only once its template is rendered.
    """
    found = [each for each in documents if each.statements]
    for document in found:
        _refuse_templates(document)
    ordered = sorted(found, key=lambda document: document.version)
    texts = (_text(list(group)) for _, group in groupby(ordered, key=lambda document: document.version))
    return tuple(map(_escaped, texts)) or (NOTHING,)


def as_session_policy(documents: Sequence[Document]) -> str:
    """The one inline policy of a session, statements joined where it needs the room; empty where it would not fit.

    Raises:
        InputError: as `whole`.
    """
    texts = whole(documents)
    if len(texts) > 1:
        return ""
    limit = quota(PolicyKind.SESSION)
    if len(texts[0]) <= limit:
        return texts[0]
    joined = _escaped(minified(merge_statements(parse(texts[0].encode(), "the candidate"))[0].policy))
    return joined if len(joined) <= limit else ""


def as_inline_policies(documents: Sequence[Document]) -> tuple[str, ...]:
    """The inline policies of a role; none where together they are too large.

    Raises:
        InputError: as `whole`.
    """
    texts = whole(documents)
    return texts if sum(map(len, texts)) <= quota(PolicyKind.INLINE_ROLE) else ()


def as_managed_policies(documents: Sequence[Document]) -> tuple[str, ...]:
    """Managed policies that together say the same; none where they would be too many, or one too large.

    A role takes ten, where AWS has not raised it, and a session ten too
    (https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html, `PolicyArns`, read 2026-11-24).

    Raises:
        InputError: as `whole`.
    """
    packed = [pack(parse(text.encode(), "the candidate")) for text in whole(documents)]
    texts = [_escaped(minified(part.policy)) for each in packed for part in (each.document, *each.further)]
    fits = all(each.fits for each in packed) and all(len(text) <= quota(PolicyKind.MANAGED) for text in texts)
    return tuple(texts) if fits and len(texts) <= max_managed_policies() else ()


def _text(documents: Sequence[Document]) -> str:
    nodes = ",".join(minified(node) for document in documents for node in document.statement_nodes)
    version = f'"Version":{json_string(documents[0].version)},' if documents[0].version else ""
    return f'{{{version}"Statement":[{nodes}]}}'


def _escaped(text: str) -> str:
    return _OUTSIDE_ASCII.sub(lambda character: json.dumps(character[0])[1:-1], text)


def _refuse_templates(document: Document) -> None:
    """What is attached has to be what the file means: a template means it only once it is rendered."""
    if document.source.language == "plain":
        return
    try:
        plain = parse(_text([document]).encode(), document.where)
        is_same = [*map(_lists, plain.statements)] == [*map(_lists, document.statements)]
    except PolicyFileError:
        is_same = False
    if not is_same:
        raise InputError(
            f"{document.where}: a part of this policy is known only once its template is rendered, so that it cannot "
            "be tried; name the rendered JSON policy."
        )


def _lists(statement: Statement) -> tuple[object, ...]:
    entries = (statement.actions, statement.not_actions, statement.resources, statement.not_resources)
    return (*entries, statement.conditions, statement.conditions_readable)
