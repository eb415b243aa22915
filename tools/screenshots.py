#!/usr/bin/env python3
"""Renew the pictures of the bundled example: the moving one of the pull request, and that of the
page (`page-file`).

    python tools/screenshots.py [--check]

The action runs with the GitHub of the tests; its text is rendered as GitHub renders it, and
Chromium, which must be installed, takes the pictures. The moving one (APNG) shows the pull request
as it opens, its section *Changes*, and the diff with the evidence per line.
`docs/images/SOURCE.tsv` holds the digest of each picture's content: `--check`, which needs no
Chromium, fails if a picture no longer shows the action's output.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from demo import (
    EXAMPLE,
    POLICY_FILE,
    Stage,
    read_outputs,
    run_action,
    set_up,
)
from demo_github import _add_runs, _environment

from tests.fakes.github import FakeGitHub

IMAGES = ROOT / "docs" / "images"
SOURCES = IMAGES / "SOURCE.tsv"
SIZES = {"pull-request": (960, 780), "page": (1180, 1080)}
"""Width and height of each picture, in pixels."""
SCENES = (
    ("pull-request", ""),
    ("pull-request", ".body > :not(details) { display: none }"),
    ("page", "header, .first, .what, .facts { display: none }"),
)
"""The scenes of the moving picture: a page, and a style that hides what a reader has scrolled past.
"""
_SECONDS = 4
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
_STYLE = """
body { margin: 0; padding: 24px; color: #1f2328;
  font: 14px/1.5 "Noto Sans", "DejaVu Sans", sans-serif }
h1 { font-size: 26px; font-weight: 400; margin: 0 0 8px } h1 span { color: #59636e }
.state { display: inline-block; background: #1f883d; color: #fff; border-radius: 2em;
  padding: 4px 12px }
.said { color: #59636e; margin-left: 8px } .said code { background: #ddf4ff; color: #0969da }
.box { border: 1px solid #d1d9e0; border-radius: 6px; margin-top: 20px }
.head { background: #f6f8fa; border-bottom: 1px solid #d1d9e0; padding: 8px 16px;
  border-radius: 6px 6px 0 0 }
.body { padding: 4px 16px 16px }
h2, h3 { border-bottom: 1px solid #d1d9e0b3; padding-bottom: 5px; margin: 20px 0 12px }
h3 { border: 0; font-size: 17px }
table { border-collapse: collapse; margin: 0 0 14px; font-size: 13px }
td:last-child { white-space: nowrap }
th, td { border: 1px solid #d1d9e0; padding: 5px 11px; vertical-align: top }
tr:nth-child(2n) td { background: #f6f8fa }
.alert { border-left: 4px solid #0969da; padding: 8px 16px; margin: 16px 0 } .alert p { margin: 0 }
.kind { color: #0969da; font-weight: 500; margin-bottom: 8px !important }
.tip { border-color: #1a7f37 } .tip .kind { color: #1a7f37 } .important { border-color: #8250df }
.important .kind { color: #8250df }
.warning { border-color: #9a6700 } .warning .kind { color: #9a6700 }
.caution { border-color: #cf222e } .caution .kind { color: #cf222e }
code { background: #818b981f; border-radius: 6px; padding: 2px 5px;
  font: 12px "DejaVu Sans Mono", monospace }
"""


def main(arguments: list[str]) -> int:
    """Write the pictures, or compare; 0, or 1 if a picture is stale or cannot be taken."""
    parser = argparse.ArgumentParser(description="Take the pictures of the README again.")
    parser.add_argument(
        "--check", action="store_true", help="only check whether they show what the action writes"
    )
    check = parser.parse_args(arguments).check
    with tempfile.TemporaryDirectory() as folder:
        pages = shown(Path(folder))
        digests = "".join(f"{name}\t{digest(page)}\n" for name, page in sorted(pages.items()))
        if check:
            return _compare(digests)
        browser = next((found for name in _CHROMIUM if (found := shutil.which(name))), None)
        if browser is None:
            print("Chromium is not installed (Debian: apt-get install chromium)", file=sys.stderr)
            return 1
        IMAGES.mkdir(exist_ok=True)
        scenes = [
            _take(browser, pages[name], style, SIZES["pull-request"], Path(folder))
            for name, style in SCENES
        ]
        (IMAGES / "pull-request.png").write_bytes(animated(scenes))
        (IMAGES / "page.png").write_bytes(
            _take(browser, pages["page"], "", SIZES["page"], Path(folder))
        )
    SOURCES.write_text(digests, encoding="utf-8")
    return 0


def shown(folder: Path) -> dict[str, str]:
    """The two pages in HTML, of one run of the action.

    Raises:
        RuntimeError: the action failed.
    """
    stage = Stage(folder / "demo")
    set_up(stage)
    policy = (EXAMPLE / POLICY_FILE).read_bytes()
    shutil.rmtree(stage.workspace / ".git")
    shutil.rmtree(stage.workspace / "iam")
    with FakeGitHub("acme/orders", files={POLICY_FILE: policy}) as github:
        _add_runs(github, stage)
        if run_action(stage, {**_environment(github), "INPUT_PAGE-FILE": "page.html"}):
            raise RuntimeError(stage.log.read_text(encoding="utf-8"))
        outputs = read_outputs(stage.outputs.read_text(encoding="utf-8"))
        pull = github.pull(int(outputs["pull-request-number"]))
    page = (stage.workspace / "page.html").read_text(encoding="utf-8")
    return {"pull-request": as_github(pull.title, str(pull.body)), "page": page}


def as_github(title: str, body: str) -> str:
    """The page of a pull request, styled like GitHub's."""
    text = _with_alerts(MarkdownIt("commonmark", {"html": True}).enable("table").render(body))
    return (
        f'<!doctype html><meta charset="utf-8"><style>{_STYLE}</style><h1>{html.escape(title)}'
        ' <span>#1</span></h1><span class="state">Open</span><span'
        ' class="said"><b>github-actions</b> bot wants to merge 1 commit into <code>main</code>'
        ' from <code>leastpriv/orders-deploy</code></span><div class="box"><div'
        ' class="head"><b>github-actions</b> bot commented</div><div'
        f' class="body">{text}</div></div>'
    )


def digest(page: str) -> str:
    """SHA-256 of a page's content, without the names of a run's commits and its day."""
    settled = re.sub(r"\b[0-9a-f]{12,64}\b|\d{4}-\d\d-\d\dT[\d:.]+Z", "…", page)
    return hashlib.sha256(settled.encode()).hexdigest()


def _compare(digests: str) -> int:
    if SOURCES.exists() and SOURCES.read_text(encoding="utf-8") == digests:
        return 0
    print("docs/images shows what the action no longer writes: make screenshots", file=sys.stderr)
    return 1


_ALERT = re.compile(
    r"<blockquote>\s*<p>\[!(?P<kind>[A-Z]+)\]\s*(?P<text>.*?)</blockquote>", re.DOTALL
)


def _with_alerts(text: str) -> str:
    """Shows GitHub's alerts as GitHub does: a bar, the kind, and the text."""
    return _ALERT.sub(
        lambda alert: (
            f'<div class="alert {alert["kind"].lower()}">'
            f'<p class="kind">{alert["kind"].capitalize()}</p><p>{alert["text"]}</div>'
        ),
        text,
    )


def _take(browser: str, page: str, style: str, size: tuple[int, int], folder: Path) -> bytes:
    """The picture of a page; with a further style its first fold is open."""
    source, picture = folder / "page.html", folder / "picture.png"
    if style:
        page = (
            re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
            + f"<style>{style}</style>"
        )
        page = page.replace("<details><summary>", "<details open><summary>", 1)
    source.write_text(page, encoding="utf-8")
    width, height = size
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'browser'}",
    ]
    command = [
        browser,
        *options,
        f"--screenshot={picture}",
        f"--window-size={width},{height}",
        source.as_uri(),
    ]
    subprocess.run(
        command,
        check=True,
        capture_output=True,
        timeout=120,
        env={**os.environ, "HOME": str(folder)},
    )
    return picture.read_bytes()


def animated(pictures: Sequence[bytes]) -> bytes:
    """Join PNG pictures of one size and kind into an endless moving PNG ("PNG Third Edition", W3C,
    2025-06-24).

    The first picture is the one that viewers without animation show.
    """
    frames = [list(_chunks(picture)) for picture in pictures]
    width, height = struct.unpack(">II", frames[0][0][1][:8])
    parts = [
        b"\x89PNG\r\n\x1a\n",
        _chunk(b"IHDR", frames[0][0][1]),
        _chunk(b"acTL", struct.pack(">II", len(frames), 0)),
    ]
    number = 0
    for index, frame in enumerate(frames):
        pixels = zlib.compress(
            zlib.decompress(b"".join(data for kind, data in frame if kind == b"IDAT")), 9
        )
        place = struct.pack(">IIIII", number, width, height, 0, 0)
        timing = struct.pack(">HHBB", _SECONDS, 1, 0, 0)
        parts.append(_chunk(b"fcTL", place + timing))
        if index == 0:
            parts.append(_chunk(b"IDAT", pixels))
        else:
            parts.append(_chunk(b"fdAT", struct.pack(">I", number + 1) + pixels))
        number += 1 + (index > 0)
    return b"".join([*parts, _chunk(b"IEND", b"")])


def _chunks(picture: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 8
    while place < len(picture):
        (length,) = struct.unpack(">I", picture[place : place + 4])
        yield picture[place + 4 : place + 8], picture[place + 8 : place + 8 + length]
        place += length + 12


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
