"""Strict JSON with text offsets."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.errors import PolicyFileError
from leastpriv.policy.syntax_tree import Node, json_string, minified, position, read_json

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


def value_of(node: Node) -> object:
    """Rebuilds the Python value from the nodes."""
    if node.kind == "object":
        return {member.key: value_of(member.value) for member in node.members}
    if node.kind == "array":
        return [value_of(item_node) for item_node in node.items]
    return node.text if node.kind == "string" else json.loads(node.text)


def every_node(node: Node) -> list[Node]:
    """Returns the node and all its descendants."""
    below = [member.value for member in node.members] + list(node.items)
    return [node] + [node_below for child in below for node_below in every_node(child)]


@given(values, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_every_node_has_its_value_and_text(
    value: object, indent: int | str, ascii_only: bool
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    root = read_json(text, "p.json")
    assert value_of(root) == value
    for node in every_node(root):
        assert json.loads(text[node.start : node.end]) == value_of(node)
    for node in every_node(root):
        for member in node.members:
            assert json.loads(text[member.start : member.key_end]) == member.key


@given(values)
def test_minified_text_equals_compact_json(value: object) -> None:
    text = json.dumps(value, indent=3)
    assert minified(read_json(text, "p.json")) == json.dumps(
        value, separators=(",", ":"), ensure_ascii=False
    )


@given(st.text(alphabet='{}[]",:\\u0123 \t\ntruefalsn-.eE+*', max_size=20))
def test_exactly_the_texts_that_are_not_strict_json_are_rejected(text: str) -> None:
    def refuse(_: str) -> object:
        raise ValueError

    def unique(pairs: list[tuple[str, object]]) -> object:
        if len(dict(pairs)) < len(pairs):
            raise ValueError
        return dict(pairs)

    try:
        expected = json.loads(text, parse_constant=refuse, object_pairs_hook=unique)
    except ValueError:
        with pytest.raises(PolicyFileError, match=r"^p\.json: line \d+, column \d+: "):
            read_json(text, "p.json")
    else:
        assert value_of(read_json(text, "p.json")) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"a": 1,\n "b": 2,\n "a": 3}',
            'p.json: line 3, column 2: the key "a" appears twice in one object; keep one.',
        ),
        (
            '{"a": 1\n "b": 2}',
            "p.json: line 2, column 2: a comma or } is missing here; correct the JSON.",
        ),
        ("[1, 2", "p.json: line 1, column 6: a comma or ] is missing here; correct the JSON."),
        (
            "{'a': 1}",
            "p.json: line 1, column 2: a key in double quotes is missing here; correct the JSON.",
        ),
        ('{"a" 1}', "p.json: line 1, column 6: a colon is missing here; correct the JSON."),
        (
            "{} x",
            "p.json: line 1, column 4: there is text after the end of the JSON value; remove it.",
        ),
    ],
)
def test_an_error_names_line_and_column(text: str, message: str) -> None:
    with pytest.raises(PolicyFileError) as caught:
        read_json(text, "p.json")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "text", ["[1,]", '{"a": 1,}', "NaN", "// x\n{}", '"\t"', '"\\x"', "01", '"\\ud8"', "", "\x00"]
)
def test_lenient_json_is_rejected(text: str) -> None:
    with pytest.raises(PolicyFileError):
        read_json(text, "p.json")


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deep_nesting_is_an_error(opening: str) -> None:
    with pytest.raises(PolicyFileError, match="64 levels"):
        read_json(opening * 100_000, "p.json")


def test_a_byte_order_mark_is_skipped_and_counts_as_an_offset() -> None:
    assert read_json("\ufeff{}", "p.json").start == 1


def test_positions_are_one_based() -> None:
    assert position("ab\ncd", 4) == "line 2, column 2"
    assert position("ab", 0) == "line 1, column 1"


@given(st.text())
def test_a_quoted_text_reads_back_and_is_encodable(text: str) -> None:
    assert json.loads(json_string(text).encode()) == text
    assert json.loads(json_string(text + "\ud800").encode()) == text + "\ud800"


@given(st.text())
def test_a_quoted_text_has_only_characters_that_iam_accepts(text: str) -> None:
    """Botocore's model of IAM, policyDocumentType: tab, line ends and U+0020 to U+00FF."""
    assert all(" " <= char <= "\u00ff" and char.isprintable() for char in json_string(text))


def test_names_of_latin_letters_are_written_as_they_are() -> None:
    assert json_string("arn:aws:s3:::b/caf\u00e9") == '"arn:aws:s3:::b/caf\u00e9"'
    assert json_string("arn:aws:s3:::b/\u4e2d\u202e") == '"arn:aws:s3:::b/\\u4e2d\\u202e"'
