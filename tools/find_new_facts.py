"""Print sentences of the API models on tags and roles that no hand-made table has, for a person to
read and record.

    python tools/find_new_facts.py

`tags_on_create.tsv` and `roles.tsv` rest on sentences that a person has read. This finds similar
sentences in the installed botocore, so that a new release is reviewed in minutes. It writes
nothing.
"""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore
import botocore.session

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the package of this checkout, not an installed one

from raw_tables import table

from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import facts_of, map_event

_TAGGING = re.compile(r"\b(Tag[A-Z]\w*|AddTags\w*|CreateTags)\b")
_CREATION = re.compile("Create|Put|Register|Run|Start|Import|Request")
_MAY = re.compile(r"permissions?\b|authori[sz]")
_ROLE = re.compile(
    r"\b(name|ARN|Amazon Resource Name)\b[^.]{0,60}\b(IAM|service|execution) role\b", re.IGNORECASE
)


def main() -> int:
    """Print each sentence with its operation."""
    sentences = dict.fromkeys(new_sentences())
    for sentence in sentences:
        print(f"{sentence.kind}: {sentence.operation}: {sentence.text[:300]}")
    print(
        f"botocore {botocore.__version__}: {len(sentences)} sentences to read, which no table has"
    )
    return 0


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of an API model that may be a fact."""

    kind: str
    """`tags` or `role`."""
    operation: str
    """With the parameter, where the sentence is about one."""
    text: str


def new_sentences() -> Iterator[Sentence]:
    """Yield the sentences that no table has."""
    loader = botocore.session.get_session().get_component("data_loader")
    for name in loader.list_available_services("service-2"):
        model = loader.load_service_model(name, "service-2")
        source = model["metadata"].get("signingName") or model["metadata"]["endpointPrefix"]
        for operation, described in model["operations"].items():
            key = map_event(f"{source}.amazonaws.com", operation).operation
            shape = described.get("input", {}).get("shape", "")
            members = model["shapes"].get(shape, {}).get("members", {})
            yield from about_tags(key, described, members)
            yield from about_roles(key, members)


def about_tags(
    key: str, operation: Mapping[str, Any], members: Mapping[str, Any]
) -> Iterator[Sentence]:
    """Yield the sentences of a creating operation on a tagging action and permission."""
    prefix, _, name = key.partition(":")
    tags = [member for parameter, member in members.items() if "tag" in parameter.lower()]
    if not tags or facts_of(key).tags or not _CREATION.match(name):
        return
    for documented in (operation, *tags):
        for text in sentences_of(documented):
            action = _TAGGING.search(text)
            if action and _MAY.search(text) and catalog.action(f"{prefix}:{action[0]}"):
                yield Sentence("tags", key, text)


def about_roles(key: str, members: Mapping[str, Any]) -> Iterator[Sentence]:
    """Yield parameters that are documented as a role, but neither by their name nor by a row of the
    table.
    """
    parameters = {row["parameter"].lower() for row in table("roles") if row["operation"] == key}
    for name, member in members.items():
        if "role" in name.lower() or name.lower() in parameters:
            continue
        texts = filter(_ROLE.search, sentences_of(member))
        text = next(texts, "")
        if text:
            yield Sentence("role", f"{key} {name}", text)


def sentences_of(documented: Mapping[str, Any]) -> list[str]:
    """Return the sentences of a documentation in HTML, without its tags."""
    documentation = documented.get("documentation", "")
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", documentation)).split())
    return re.split(r"(?<=[.!?]) ", text)


if __name__ == "__main__":
    sys.exit(main())
