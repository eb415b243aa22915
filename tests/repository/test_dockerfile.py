"""The image is pinned, hash-locked, free of build tools, and runs as the runner requires."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from tests.fakes.scripts import load

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LOCK = (ROOT / "requirements.txt").read_text(encoding="utf-8")


def instructions(name: str) -> list[str]:
    """Return the arguments of the instruction `name`, with joined lines."""
    joined = re.sub(r"\\\n\s*", "", DOCKERFILE)
    return re.findall(rf"^{name} (.*)$", joined, re.MULTILINE)


def requirements(text: str) -> dict[str, str]:
    """Return name and version specifier of each requirement line."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)([=<>!~][^ \\\n;]*)", text, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins}


def test_every_stage_uses_one_base_image_pinned_by_digest() -> None:
    first, *later_stages = instructions("FROM")
    assert re.fullmatch(r"python:3\.13-slim@sha256:[0-9a-f]{64} AS base", first)
    assert later_stages == ["base AS build", "scratch"]


def test_the_entry_point_is_python_by_absolute_path_without_a_shell() -> None:
    """A shell drops variables such as INPUT_POLICY-FILE, and the runner replaces the working
    directory; without -I the job's PYTHONPATH would decide what is imported.
    """
    assert instructions("ENTRYPOINT") == ['["/usr/local/bin/python", "-I", "/app/entrypoint.py"]']
    assert instructions("CMD") == []


def test_the_container_runs_as_root_because_the_runner_needs_that() -> None:
    assert instructions("USER") == []


def test_the_last_stage_holds_what_was_collected_and_nothing_else() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.findall(r"^COPY (.*)$", last, re.MULTILINE) == ["--from=build /root-of-image /"]
    assert re.findall(r"^(?:RUN|ADD) ", last, re.MULTILINE) == []


def test_the_image_has_the_models_of_every_service_that_the_code_calls() -> None:
    """A client of a service without models ends the run."""
    collector = load("tools/image_root.py")
    called = set()
    unnamed = set()
    for path in sorted((ROOT / "leastpriv").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr not in {"client", "regions", "get_available_regions"}:
                continue
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant):
                called.add(str(first.value))
            else:
                unnamed.add(str(path.relative_to(ROOT / "leastpriv")))
    assert called == set(collector.AWS_SERVICES)
    # Those pass a service on, or are functions of another meaning.
    assert unnamed == {
        "aws/session.py",
        "evidence/authorization_details.py",
        "init/probes.py",
    }


def test_only_the_command_imports_packages_that_the_image_lacks() -> None:
    """The container starts the step, which imports no module of `leastpriv.cli`."""
    lacking = load("tools/image_root.py").TERMINAL_PACKAGES
    importing = set()
    for path in sorted((ROOT / "leastpriv").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [name.name for name in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.partition(".")[0] in lacking for name in names):
                importing.add(path.relative_to(ROOT / "leastpriv").parts[0])
    assert importing == {"cli"}


def test_files_are_collected_with_their_links_and_libraries(tmp_path: Path) -> None:
    """A link is copied as a link, and its target too; what does not exist is left out."""
    collector = load("tools/image_root.py")
    folder = tmp_path.resolve() / "place"
    folder.mkdir()
    (folder / "real").write_text("text")
    (folder / "link").symlink_to("real")
    (folder / "to-link").symlink_to(folder / "link")
    image = collector.ImageRoot(tmp_path / "root")
    image.take(folder / "to-link")
    image.take(folder / "missing")
    taken = tmp_path / "root" / folder.relative_to("/")
    assert sorted(path.name for path in taken.iterdir()) == ["link", "real", "to-link"]
    assert (taken / "link").readlink() == Path("real")
    assert (taken / "real").read_text() == "text"
    assert (tmp_path / "root/tmp").stat().st_mode & 0o7777 == 0o1777
    image.take(Path(sys.executable).resolve())
    image.take_libraries(folder)
    assert any(path.name.startswith("libc.so") for path in (tmp_path / "root").rglob("libc.so*"))


def test_models_and_packages_that_no_run_needs_are_removed(tmp_path: Path) -> None:
    collector = load("tools/image_root.py")
    site = tmp_path / "lib/python3.13/site-packages"
    for name in (*collector.AWS_SERVICES, *collector.CREDENTIAL_SERVICES, "ec2", "lambda"):
        (site / "botocore/data" / name).mkdir(parents=True)
    (site / "botocore/data/endpoints.json").touch()
    for name in ("rich", "rich-15.0.0.dist-info", "pygments", "pygments-2.1.dist-info", "msgspec"):
        (site / name).mkdir()
    collector.remove_unused_models(tmp_path)
    collector.remove_packages(tmp_path, collector.TERMINAL_PACKAGES)
    names = {path.name for path in (site / "botocore/data").iterdir()}
    assert names == {*collector.AWS_SERVICES, *collector.CREDENTIAL_SERVICES, "endpoints.json"}
    assert {path.name for path in site.iterdir()} == {"botocore", "msgspec"}
    (site / "botocore/data/iam").rmdir()
    with pytest.raises(SystemExit, match="no models of iam"):
        collector.remove_unused_models(tmp_path)


def test_everything_that_a_run_imports_is_compiled_in_the_image() -> None:
    """A step's container is always new: what is not compiled in the image is compiled in each
    run.
    """
    commands = re.findall(
        r"-m compileall -q (.*?)(?= &&|$)", "\n".join(instructions("RUN")), re.MULTILINE
    )
    assert all("--invalidation-mode unchecked-hash" in command for command in commands)
    (installed,) = [command for command in commands if command.endswith("/install")]
    (app_command,) = [command for command in commands if command.endswith("app")]
    (standard,) = [command for command in commands if 'sysconfig.get_path("stdlib")' in command]
    assert "-p /usr/local " in installed
    assert "-p / " in app_command
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
    completed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    library = Path(sysconfig.get_path("stdlib"))
    paths = [Path(word) for word in completed.stdout.split()]
    return {path.relative_to(library).parts[0] for path in paths if path.is_relative_to(library)}


def test_the_labels_say_where_the_image_comes_from() -> None:
    """Labels of the open containers' image specification, read 2026-11; release and revision are
    set by the release.
    """
    (labels,) = instructions("LABEL")
    found_pins = set(re.findall(r"org\.opencontainers\.image\.([a-z]+)=", labels))
    assert found_pins == {
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
    requirements_in = requirements((ROOT / "requirements.in").read_text(encoding="utf-8"))
    assert requirements_in == requirements("\n".join(project["dependencies"]))
    locked = requirements(LOCK)
    assert requirements_in.keys() <= locked.keys()
    for name, lower in requirements_in.items():
        assert numbers(lower.removeprefix(">=")) <= numbers(locked[name].removeprefix("==")), name


def test_the_server_of_tools_has_a_lock_that_agrees_with_the_one_of_the_image() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted_lines = (ROOT / "requirements-mcp.in").read_text(encoding="utf-8").splitlines()
    assert wanted_lines[-1:] == project["optional-dependencies"]["mcp"]
    lock = (ROOT / "requirements-mcp.txt").read_text(encoding="utf-8")
    blocks = re.findall(r"^\S+==\S+(?: \\\n    --hash=sha256:[0-9a-f]{64})+$", lock, re.MULTILINE)
    versions = requirements(lock)
    assert len(blocks) == len(versions)
    locked = requirements(LOCK)
    assert {
        name: version for name, version in versions.items() if version != locked.get(name, version)
    } == {}
    assert "mcp" in versions
    assert "mcp" not in locked


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
