"""The tagged action names its image by digest, and version, changelog and tag agree."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from datetime import date
from pathlib import Path
from types import ModuleType

import pytest
from ruamel.yaml import YAML

from tests.fakes.scripts import load

ROOT = Path(__file__).parents[2]
IMAGE = "ghcr.io/org/leastpriv-action@sha256:" + "0123456789abcdef" * 4
PACKAGE = '__version__ = "1.2.3"\n'


@pytest.fixture(scope="module")
def release() -> ModuleType:
    return load("tools/release.py")


def test_the_released_action_differs_only_in_the_image(release: ModuleType) -> None:
    before = (ROOT / "action.yml").read_text(encoding="utf-8")
    after = release.pinned(before, IMAGE)
    yaml = YAML(typ="safe", pure=True)
    assert yaml.load(after)["runs"] == {"using": "docker", "image": f"docker://{IMAGE}"}
    assert {**yaml.load(after), "runs": None} == {**yaml.load(before), "runs": None}
    assert sum(a != b for a, b in zip(before.splitlines(), after.splitlines(), strict=True)) == 1


@pytest.mark.parametrize(
    "image", ["ghcr.io/org/leastpriv-action:v1", "leastpriv", IMAGE[:-1], f"{IMAGE}\n  x: y"]
)
def test_an_image_without_digest_is_an_error(release: ModuleType, image: str) -> None:
    with pytest.raises(ValueError, match="not an image by digest"):
        release.pinned("  image: Dockerfile\n", image)


def test_an_action_that_is_pinned_already_is_an_error(release: ModuleType) -> None:
    with pytest.raises(ValueError, match="does not say"):
        release.pinned(f"  image: docker://{IMAGE}\n", IMAGE)


def test_the_notes_are_the_section_of_the_version(release: ModuleType) -> None:
    entry = "### Added\n\n- It.\n"
    changelog = (
        f"# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-12-01\n\n{entry}\n## [1.2.2] -"
        " 2026-11-30\n\n- Old.\n"
    )
    assert release.notes("1.2.3", PACKAGE, changelog) == entry


@pytest.mark.parametrize(
    ("version", "changelog", "said"),
    [
        ("1.2.4", "## [1.2.4] - 2026-12-01\n\n- It.\n", "does not say version 1.2.4"),
        ("1.2.3", "## [Unreleased]\n\n- It.\n", "no section"),
        ("1.2.3", "## [1.2.3] - 2026-12-01\n\n## [1.2.2] - 2026-11-30\n\n- Old.\n", "no section"),
    ],
)
def test_a_version_that_package_or_changelog_lack_is_an_error(
    release: ModuleType, version: str, changelog: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        release.notes(version, PACKAGE, changelog)


def test_a_prepared_release_has_its_notes_and_leaves_an_empty_section(release: ModuleType) -> None:
    changelog = (
        "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- It.\n\n## [1.2.2] - 2026-11-30\n\n-"
        " Old.\n"
    )
    package, changed = release.prepared(
        "1.2.3", '__version__ = "1.2.2"\n', changelog, date(2026, 12, 1)
    )
    assert release.notes("1.2.3", package, changed) == "### Added\n\n- It.\n"
    assert "## [Unreleased]\n\n## [1.2.3] - 2026-12-01\n" in changed
    with pytest.raises(ValueError, match="no changes"):
        release.prepared("1.2.4", package, changed, date(2026, 12, 2))
    with pytest.raises(ValueError, match="is no version"):
        release.prepared("v1.2.4", package, changelog, date(2026, 12, 2))


def test_the_changelog_has_the_form_that_a_release_parses() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert all(
        re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", heading) for heading in headings[1:]
    )
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) <= {
        "Added",
        "Changed",
        "Deprecated",
        "Removed",
        "Fixed",
        "Security",
    }


def test_the_package_has_a_description_on_the_index() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"Homepage", "Documentation", "Changelog", "Issues", "Security"} <= set(project["urls"])
    assert "readme" in project["dynamic"]
    assert "Typing :: Typed" in project["classifiers"]
    assert (ROOT / "leastpriv/py.typed").exists()


def test_the_page_on_the_index_has_no_link_to_a_file_of_the_repository() -> None:
    hooks = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]
    page = hooks["metadata"]["hooks"]["fancy-pypi-readme"]
    assert page["fragments"] == [{"path": "README.md"}]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for change in page["substitutions"]:
        text = re.sub(change["pattern"], change["replacement"], text)
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 20
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    assert "](https://raw.githubusercontent.com/org/leastpriv-action/main/docs/images/" in text


def test_the_bill_of_materials_names_every_locked_package(release: ModuleType) -> None:
    lock = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    bill = json.loads(release.bill_of_materials("1.2.3", lock))
    assert bill["metadata"]["component"]["purl"] == "pkg:pypi/leastpriv@1.2.3"
    components = [
        f"{component['name']}=={component['version']}" for component in bill["components"]
    ]
    assert components == re.findall(r"^(\S+==\S+)", lock, re.MULTILINE)
    references = [
        reference
        for component in bill["components"]
        for reference in component["externalReferences"]
    ]
    hashes = [digest["content"] for reference in references for digest in reference["hashes"]]
    assert hashes == re.findall(r"--hash=sha256:(\w+)", lock)
    assert all(reference["hashes"] for reference in references)


@pytest.mark.slow
def test_the_built_package_is_complete_and_its_page_renders(tmp_path: Path) -> None:
    """Source and wheel hold every data file, `py.typed` and the licence, and twine reports
    nothing.
    """
    try:
        subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
        subprocess.run(
            [tmp_path / "venv/bin/pip", "install", "--quiet", "build", "twine"],
            check=True,
            capture_output=True,
        )
    except subprocess.CalledProcessError:
        pytest.skip("build and twine cannot be installed: is a package index reachable?")
    command = [tmp_path / "venv/bin/python", "-m", "build", "--outdir", tmp_path / "dist", ROOT]
    subprocess.run(command, check=True, capture_output=True)
    files = sorted((tmp_path / "dist").iterdir())
    checked = subprocess.run(
        [tmp_path / "venv/bin/twine", "check", "--strict", *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout
    wheel = next(path for path in files if path.suffix == ".whl")
    expected_lines = {
        str(path.relative_to(ROOT)) for path in (ROOT / "leastpriv").rglob("*") if path.is_file()
    }
    expected_lines = {name for name in expected_lines if "__pycache__" not in name}
    assert expected_lines <= set(zipfile.ZipFile(wheel).namelist())
    sdist = next(path for path in files if path.suffix == ".gz")
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert expected_lines | {"LICENSE", "README.md", "pyproject.toml"} <= inside
