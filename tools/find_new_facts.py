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
_MAY = re.compile(r"permissions?\b|authori[sz]")
_ROLE = re.compile(
    r"\b(name|ARN|Amazon Resource Name)\b[^.]{0,60}\b(IAM|service|execution) role\b", re.IGNORECASE
)


def main() -> int:
    """Print each sentence with its operation."""
    found = dict.fromkeys(facts())
    for kind, operation, text in found:
        print(f"{kind}: {operation}: {text[:300]}")
    print(f"botocore {botocore.__version__}: {len(found)} sentences to read, which no table has")
    return 0


def facts() -> Iterator[tuple[str, str, str]]:
    """Kind, operation (and parameter) and sentence of each."""
    loader = botocore.session.get_session().get_component("data_loader")
    for name in loader.list_available_services("service-2"):
        model = loader.load_service_model(name, "service-2")
        source = model["metadata"].get("signingName") or model["metadata"]["endpointPrefix"]
        for operation, described in model["operations"].items():
            key = map_event(f"{source}.amazonaws.com", operation).operation
            members = (
                model["shapes"]
                .get(described.get("input", {}).get("shape", ""), {})
                .get("members", {})
            )
            yield from about_tags(key, described, members)
            yield from about_roles(key, members)


def about_tags(
    key: str, operation: Mapping[str, Any], members: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    """Sentences of a creating operation on a tagging action and permission."""
    tags = {name: member for name, member in members.items() if "tag" in name.lower()}
    if (
        not tags
        or facts_of(key).tags
        or not re.match("Create|Put|Register|Run|Start|Import|Request", key.partition(":")[2])
    ):
        return
    texts = [
        operation.get("documentation", ""),
        *(member.get("documentation", "") for member in tags.values()),
    ]
    for sentence in (each for text in texts for each in sentences(text)):
        named = _TAGGING.search(sentence)
        if (
            named
            and _MAY.search(sentence)
            and catalog.action(f"{key.partition(':')[0]}:{named[0]}")
        ):
            yield "tags", key, sentence


def about_roles(key: str, members: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Parameters that are documented as a role, but neither by their name nor by a row of the
    table.
    """
    known = {row["parameter"].lower() for row in table("roles") if row["operation"] == key}
    for name, member in members.items():
        is_told = "role" in name.lower() or name.lower() in known
        found = next(
            (each for each in sentences(member.get("documentation", "")) if _ROLE.search(each)), ""
        )
        if found and not is_told:
            yield "role", f"{key} {name}", found


def sentences(documentation: str) -> list[str]:
    """The sentences of a text in HTML, without its tags."""
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", documentation)).split())
    return re.split(r"(?<=[.!?]) ", text)


if __name__ == "__main__":
    sys.exit(main())
