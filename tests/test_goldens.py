"""The demo writes the proposal, pull-request text, SARIF file and page that `tests/golden`
holds.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import goldens

FROZEN = Path(__file__).parent / "golden" / "demo"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("goldens")
    goldens.write(folder, ["demo"])
    return folder / "demo"


def test_the_demo_writes_exactly_the_frozen_files(written: Path) -> None:
    assert {path.name for path in written.iterdir()} == {path.name for path in FROZEN.iterdir()}


@pytest.mark.parametrize(
    "name", ["leastpriv.sarif", "page.html", "proposal.json", "pull-request.md"]
)
def test_the_demo_writes_each_frozen_file_byte_for_byte(written: Path, name: str) -> None:
    remedy = f"{name} of the demo differs: if that is intended, `make goldens WRITE=1` renews it"
    assert (written / name).read_bytes() == (FROZEN / name).read_bytes(), remedy


def test_a_golden_names_no_folder_version_or_catalogue_of_its_machine(tmp_path: Path) -> None:
    text = f"{tmp_path}/a {goldens.__version__} {goldens.catalog.version()} 1{goldens.__version__}"
    assert goldens.stable(text, tmp_path) == f"FOLDER/a VERSION CATALOGUE 1{goldens.__version__}"


def test_the_body_of_the_demo_is_decidable_in_a_minute() -> None:
    """At most 450 words come before the first fold, and one instruction begins them."""
    body = (FROZEN / "pull-request.md").read_text(encoding="utf-8").partition("\n\n")[2]
    first = body.partition("<details>")[0]
    assert first.startswith("> [!WARNING]\n> **Rehearse first, then merge.** ")
    assert len(first.split()) <= 450
