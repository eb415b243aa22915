"""Real policies of public repositories are read, written back unchanged, and edited only on the
necessary lines.

Skipped without the policies, which are not part of the repository. See `shared_folder`.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from leastpriv.errors import PolicyFileError
from leastpriv.policy.document import Document, Statement, parse
from leastpriv.policy.edit import AppendStatement, DropStatement, Edit, ReplaceActions, apply_edits
from tests.hypothesis_profiles import sampled

REFUSED = {
    "eksctl-io__eksctl___pkg__automode__assets__eks-auto-mode-policy-document.json": (
        "",
        "has a principal",
    ),
    "jijae92__IAMLeastPrivilegeGenerator___tests__negative__iam_star.json": (
        "/Resources/WildPolicy/Properties/PolicyDocument",
        "the Effect of this statement is neither",
    ),
}
"""Files of the corpus without a policy that IAM accepts -> location, and the error."""

ADDED = {
    "Sid": "Added",
    "Effect": "Allow",
    "Action": ["a:B", "c:D"],
    "Resource": ["arn:aws:a:::b", "arn:aws:a:::c"],
}


@dataclass(frozen=True)
class CorpusFile:
    """A file of the corpus, and the pointers to its policies."""

    name: str
    content: bytes
    pointers: tuple[str, ...]


@pytest.fixture(scope="module")
def files(shared_folder: Path) -> list[CorpusFile]:
    folder = shared_folder / "corpus" / "policies"
    entries = json.loads((folder / "MANIFEST.json").read_text())
    return [
        CorpusFile(
            name=entry["file"],
            content=(folder / entry["file"]).read_bytes(),
            pointers=tuple(entry["policy_paths"]),
        )
        for entry in entries
        if entry["file"] not in REFUSED
    ]


@pytest.fixture(scope="module")
def documents(files: list[CorpusFile]) -> list[Document]:
    return [parse(file.content, file.name, pointer) for file in files for pointer in file.pointers]


WRITTEN = {
    "as they are": lambda text: text,
    "with a byte order mark": lambda text: "\ufeff" + text.removeprefix("\ufeff"),
    "with other line ends": lambda text: text.replace("\r\n", "\n").replace("\n", "\r\n"),
    "without a final line end": lambda text: text.rstrip(),
    "indented by tabs": lambda text: json.dumps(
        json.loads(text.removeprefix("\ufeff")), indent="\t"
    ),
    "on one line": lambda text: json.dumps(json.loads(text.removeprefix("\ufeff"))),
    "without white space": lambda text: json.dumps(
        json.loads(text.removeprefix("\ufeff")), separators=(",", ":")
    ),
}
"""Ways to write the same file."""


@pytest.fixture(scope="module", params=WRITTEN)
def written(request: pytest.FixtureRequest, documents: list[Document]) -> list[Document]:
    """The corpus as it is, and samples of it that are written in another way."""
    rewrite: Callable[[str], str] = WRITTEN[request.param]
    turn = list(WRITTEN).index(request.param)
    return [
        parse(rewrite(document.raw.decode()).encode(), document.where, document.pointer)
        for document in (sampled(documents, turn) if turn else documents)
    ]


def test_all_policies_are_read_except_those_that_iam_rejects(
    documents: list[Document], shared_folder: Path
) -> None:
    assert len(documents) >= 142
    assert sum(len(document.statements) for document in documents) > 600
    for name, (pointer, reason) in REFUSED.items():
        with pytest.raises(PolicyFileError, match=reason):
            parse((shared_folder / "corpus" / "policies" / name).read_bytes(), name, pointer)


def test_policies_at_the_top_and_in_cli_output_need_no_pointer(
    files: list[CorpusFile],
) -> None:
    alone = [file for file in files if file.pointers[0].count("/") < 3]
    assert len(alone) > 130
    for file in alone:
        assert parse(file.content, file.name).pointer == file.pointers[0]


def test_every_policy_is_written_back_unchanged_by_an_empty_edit(written: list[Document]) -> None:
    for document in written:
        assert apply_edits(document, []).to_bytes() == document.to_bytes() == document.text.encode()


@dataclass(frozen=True)
class LineDiff:
    """1-based lines of the old file that a diff removes, and the new ones."""

    removed: list[int]
    added: list[str]


def changed(before: Document, after: Document) -> LineDiff:
    old_lines = before.text.splitlines()
    new_lines = after.text.splitlines()
    diff = LineDiff([], [])
    matcher = difflib.SequenceMatcher(None, old_lines, new_lines, autojunk=False)
    for tag, start, end, first, last in matcher.get_opcodes():
        if tag != "equal":
            diff.removed.extend(range(start + 1, end + 1))
            diff.added.extend(new_lines[first:last])
    return diff


def lines_of(document: Document, statement: Statement) -> range:
    """1-based lines of a statement."""
    node = document.statement_nodes[statement.index]
    return range(statement.line, document.text.count("\n", 0, node.end) + 2)


@dataclass(frozen=True)
class Removal:
    """The removal of one of several actions of a statement."""

    statement: Statement
    action: str

    @property
    def edit(self) -> Edit:
        return ReplaceActions(self.statement.index, frozenset({self.action}))

    @property
    def remaining(self) -> tuple[str, ...]:
        return tuple(action for action in self.statement.actions if action != self.action)


def ends_and_a_sample(statements: Sequence[Statement]) -> list[Statement]:
    """The first and the last statement, and a sample of those between, which have the same
    neighbours.
    """
    return [*statements[:1], *sampled(statements[1:-1]), *statements[1:][-1:]]


def removals(document: Document) -> Iterator[Removal]:
    """The removals of the first and of the last action of statements with several."""
    for statement in ends_and_a_sample(document.statements):
        if len({*statement.actions}) > 1:
            for action in {statement.actions[0], statement.actions[-1]}:
                yield Removal(statement, action)


def test_removing_an_action_changes_only_lines_of_its_statement_and_no_other_value(
    written: list[Document],
) -> None:
    tried = 0
    for document in written:
        for removal in removals(document):
            statement = removal.statement
            after = apply_edits(document, [removal.edit])
            diff = changed(document, after)
            assert {*diff.removed} <= {*lines_of(document, statement)}
            # The line of the action, and the one before if that now ends the list.
            assert len(diff.added) <= 1 + (statement.actions[-1] not in removal.remaining)
            assert after.statements[statement.index].actions == removal.remaining
            assert others(document, statement.index) == others(after, statement.index)
            tried += 1
    assert tried > len(sampled(range(300)))


def others(document: Document, index: int) -> list[object]:
    """The text of all statements but one."""
    nodes = document.statement_nodes
    return [
        document.text[node.start : node.end] for number, node in enumerate(nodes) if number != index
    ]


def test_dropping_a_statement_changes_only_its_lines_and_the_comma_before(
    written: list[Document],
) -> None:
    for document in written:
        for statement in ends_and_a_sample(document.statements[1:]):
            after = apply_edits(document, [DropStatement(statement.index)])
            above = lines_of(document, document.statements[statement.index - 1]).stop - 2
            below = lines_of(document, statement).stop - 1
            old_lines, new_lines = document.text.splitlines(), after.text.splitlines()
            # The comma of the statement before may be removed; of two blank lines one is kept.
            assert new_lines[:above] == old_lines[:above]
            assert list(filter(str.strip, new_lines[above + 1 :])) == list(
                filter(str.strip, old_lines[below:])
            )
            assert others(document, statement.index) == others(after, -1)


def test_adding_a_statement_changes_only_the_end_of_the_last_one(written: list[Document]) -> None:
    for document in written:
        after = apply_edits(document, [AppendStatement(ADDED)])
        removed_lines = changed(document, after).removed
        last = lines_of(document, document.statements[-1])
        single = document.policy.get_any_case("Statement").kind == "object"  # type: ignore[union-attr]
        assert len(removed_lines) <= 1 + single
        assert {*removed_lines} <= {last.start, last.stop - 1}
        assert others(document, -1) == others(after, len(document.statements))
        assert after.statements[-1].actions == ("a:B", "c:D")


def test_carriage_returns_and_byte_order_marks_are_kept(written: list[Document]) -> None:
    for document in written:
        after = apply_edits(document, [AppendStatement(ADDED)])
        assert ("\r" in after.text) == ("\r" in document.text)
        assert after.text.count("\r\n") in (0, after.text.count("\n"))
        assert after.text.startswith("\ufeff") == document.text.startswith("\ufeff")
        assert after.text.endswith("\n") == document.text.endswith("\n")
