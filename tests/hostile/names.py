"""Hostile names of resources: a fixed list, and a generator of any number."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from tests.fakes.markdown import HOSTILE

ATTACKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "workflow commands",
        (
            "::error::x",
            "  ::add-mask::deploy",
            "\u2003::set-output name=policy::x",
            "x\n::stop-commands::owned",
            "x\r::save-state name=a::b",
            "::endgroup::",
            "##[error]x",
            "a ##[set-output name=policy;]x",
            "#\u200b#[add-mask]x",
            "%0A%0D::warning::%25",
            "x,line=1,title=owned::y",
        ),
    ),
    (
        "delimiters of output files",
        (
            "EOF",
            "x\nEOF\npolicy=owned",
            "leastpriv_",
            "x\npolicy<<leastpriv_\nowned\nleastpriv_",
            "name<<EOF",
        ),
    ),
    (
        "mentions and references",
        ("@everyone", "\uff20octo", "GH-12", "octo-org/shop@c0ffee", "/issues/12", "#12, #13"),
    ),
    (
        "Markdown and HTML",
        (
            "`` `x` ``",
            "```\n# x",
            "~~~mermaid",
            "| --- | --- |",
            "[x]: https://evil.example",
            "<javascript:alert(1)>",
            "<script>alert(1)</script>",
            "'\"><svg onload=alert(1)>",
            "</style></script>",
            "<!--",
            "--!>",
            "&#x3c;b&#x3e;",
            "{{7*7}}{% raw %}{0}",
            "***\n---\n===",
        ),
    ),
    (
        "diagrams",
        ('"] --> n9', '"]\n    click n0 "https://evil.example"', "%%{init: {}}%%", "#quot;", "end"),
    ),
    (
        "trailers of commits",
        (
            "x\n\nLeastpriv-Fingerprint: 0",
            "Signed-off-by: Eve",
            "[skip ci]",
            "Closes #1\nCloses #2",
        ),
    ),
    (
        "wildcards and variables",
        (
            "*",
            "?",
            "a*",
            "b?c",
            "${aws:username}",
            "${*}",
            "$${x}",
            "%{if true}",
            "${",
            "$",
            "a${aws:PrincipalTag/x}b",
        ),
    ),
    (
        "paths",
        ("../../etc/passwd", "/etc/passwd", "a/../../b", ".git/config", "~root", "con", "a\\..\\b"),
    ),
    (
        "what cannot be seen",
        (
            "\u202egnp.exe",
            "\u2066a\u2069",
            "a\u200db",
            "\ufeffa",
            "a\u2028b\u2029c",
            "a\x00b\x08\x7f\x9bc",
            "\x1b[2J\x1b]0;owned\x07",
            "\x1b]8;;https://evil.example\x07x\x1b]8;;\x07",
            "\x9d0;owned\x9c",
            "a\ud800b",
            "\U000e0041\U000e0101",
            " ",
        ),
    ),
    (
        "sentences of refusal",
        (
            "y User: a is not authorized to perform: iam:CreateAccessKey on resource: z",
            (
                "y is not authorized to perform: iam:CreateUser on resource: * because no"
                " identity-based policy allows it"
            ),
            (
                'y" because no identity-based policy allows it. User: x is not authorized to'
                ' perform: "'
            ),
            "with an explicit deny",
        ),
    ),
    (
        "markup of terminals",
        ("[bold]x[/bold]", "[link=https://evil.example]x[/link]", ":boom:", "\\[x]"),
    ),
    (
        "length",
        (
            "A" * 262_144,
            "`" * 4_000,
            "@a " * 4_000,
            "\n" * 4_000,
            "[" * 4_000,
            "<" * 4_000,
            "*" * 500,
        ),
    ),
)
FIXED: tuple[str, ...] = tuple(
    dict.fromkeys([*HOSTILE, *(name for _, names in ATTACKS for name in names)])
)

_SIGNS = (
    "`|\\<>@#[](){}*?$%&_!-:;,.~^='\"/"
    " \t\r\n\x00\x1b\x7f\x85\u2028\u202e\u200b\ufe0f\ud800🎉ß\u0301"
)


def generated(count: int, seed: int = 20261126) -> Iterator[str]:
    """The given number of names, always the same: attacks truncated, joined and mixed with special
    characters.
    """
    chance = random.Random(seed)  # noqa: S311 - to be the same each time
    pieces = [name for name in FIXED if len(name) < 100]
    for _ in range(count):
        yield "".join(_piece(chance, pieces) for _ in range(chance.randrange(1, 5)))


def _piece(chance: random.Random, pieces: Sequence[str]) -> str:
    match chance.randrange(4):
        case 0 | 1:
            piece = chance.choice(pieces)
            start = chance.randrange(len(piece) + 1) if chance.random() < 0.3 else 0
            return piece[start:]
        case 2:
            return "".join(chance.choice(_SIGNS) for _ in range(chance.randrange(1, 12)))
        case _:
            return "".join(
                chr(chance.choice((0x20, 0x80, 0x2000, 0xFE00, 0x1F300)) + chance.randrange(0x60))
                for _ in "abc"
            )


def tagged(count: int) -> tuple[list[str], list[str]]:
    """As `generated`, each with a unique tag at its end by which it is found; names and tags."""
    tags = [f"t{number:04}g" for number in range(count)]
    return [name + tag for name, tag in zip(generated(count), tags, strict=True)], tags
