"""The image is pinned, hash-locked, free of build tools, and runs as the runner requires."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LOCK = (ROOT / "requirements.txt").read_text(encoding="utf-8")


def instructions(name: str) -> list[str]:
    """Return the arguments of the instruction `name`, with joined lines."""
    joined = re.sub(r"\\\n\s*", "", DOCKERFILE)
    return re.findall(rf"^{name} (.*)$", joined, re.MULTILINE)


def requirements(text: str) -> dict[str, str]:
    """Return name and version specifier of each requirement line."""
    found = re.findall(r"^([A-Za-z0-9._-]+)([=<>!~][^ \\\n;]*)", text, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def test_every_stage_uses_one_base_image_pinned_by_digest() -> None:
    first, *others = instructions("FROM")
    assert re.fullmatch(r"python:3\.13-slim@sha256:[0-9a-f]{64} AS base", first)
    assert others == ["base AS build", "base"]


def test_the_entry_point_is_python_by_absolute_path_without_a_shell() -> None:
    """A shell drops variables such as INPUT_POLICY-FILE, and the runner replaces the working
    directory; without -I the job's PYTHONPATH would decide what is imported.
    """
    assert instructions("ENTRYPOINT") == ['["/usr/local/bin/python", "-I", "/app/entrypoint.py"]']
    assert instructions("CMD") == []


def test_the_container_runs_as_root_because_the_runner_needs_that() -> None:
    assert instructions("USER") == []


def test_the_last_stage_removes_the_package_manager_and_its_installers() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert "pip uninstall" in last
    assert "ensurepip" in last
    assert "pip install" not in last


def test_everything_that_a_run_imports_is_compiled_in_the_image() -> None:
    """A step's container is always new: what is not compiled in the image is compiled in each
    run.
    """
    commands = re.findall(
        r"-m compileall -q (.*?)(?= &&|$)", "\n".join(instructions("RUN")), re.MULTILINE
    )
    assert all("--invalidation-mode unchecked-hash" in each for each in commands)
    (installed,) = [each for each in commands if each.endswith("/install")]
    (own,) = [each for each in commands if each.endswith("app")]
    (standard,) = [each for each in commands if 'sysconfig.get_path("stdlib")' in each]
    assert "-p /usr/local " in installed
    assert "-p / " in own
    left_out = re.search(r'-x "/\((.*?)\)/"', standard)
    assert left_out
    assert (
        not set(left_out[1].split("|")) - {"site-packages", "dist-packages"}
        & imported_standard_packages()
    )


def imported_standard_packages() -> set[str]:
    """Folders of the standard library that a run of the action imports, clients included."""
    script = (
        "import sys; import leastpriv.action.step, leastpriv.pipeline.propose,"
        " leastpriv.evidence.collector\nimport boto3, github\nboto3.client('s3',"
        " region_name='us-east-1'); print(*(getattr(m, '__file__', 0) for m in"
        " sys.modules.values()))"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    library = Path(sysconfig.get_path("stdlib"))
    paths = [Path(each) for each in told.stdout.split()]
    return {path.relative_to(library).parts[0] for path in paths if path.is_relative_to(library)}


def test_the_labels_say_where_the_image_comes_from() -> None:
    """Labels of the open containers' image specification, read 2026-11; release and revision are
    set by the release.
    """
    (labels,) = instructions("LABEL")
    named = set(re.findall(r"org\.opencontainers\.image\.([a-z]+)=", labels))
    assert named == {
        "title",
        "description",
        "licenses",
        "version",
        "revision",
        "source",
        "documentation",
    }


def test_packages_are_installed_from_wheels_with_pinned_hashes() -> None:
    installs = [command for command in instructions("RUN") if "pip install" in command]
    assert len(installs) == 1
    assert "--require-hashes" in installs[0]
    assert "--only-binary :all:" in installs[0]


def test_every_locked_package_has_one_version_and_hashes() -> None:
    blocks = re.findall(r"^\S+==\S+(?: \\\n    --hash=sha256:[0-9a-f]{64})+$", LOCK, re.MULTILINE)
    assert (
        len(blocks)
        == len(requirements(LOCK))
        == len(re.findall(r"^[a-zA-Z]", LOCK, re.MULTILINE))
        > 5
    )


def test_the_lock_names_no_registry() -> None:
    assert "://" not in LOCK
    assert "index" not in LOCK


def test_the_image_installs_what_the_package_depends_on() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = requirements((ROOT / "requirements.in").read_text(encoding="utf-8"))
    assert wanted == requirements("\n".join(project["dependencies"]))
    locked = requirements(LOCK)
    assert wanted.keys() <= locked.keys()
    for name, lower in wanted.items():
        assert numbers(lower.removeprefix(">=")) <= numbers(locked[name].removeprefix("==")), name


def numbers(version: str) -> list[int]:
    """Return the numbers of a version, for comparing."""
    return [int(part) for part in re.findall(r"\d+", version)]


def test_the_build_context_holds_exactly_the_copied_files() -> None:
    copied = {
        source
        for line in instructions("COPY")
        if not line.startswith("--from")
        for source in line.split()[:-1]
    }
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert lines[0] == "*"
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == copied
    assert all((ROOT / source).exists() for source in copied)
