"""The release workflow from the button to the moved tags, against a registry and a repository on
this machine.

The scripts of `release.yml` run as they are. Stand-ins serve `docker` (podman), `gh`, and the
actions: cosign attests with a local key in place of GitHub's. One platform is built; the index has
it twice.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.end_to_end import release_stand_ins
from tests.end_to_end.containers import ROOT, Engine
from tests.fakes.github import FakeGitHub

pytestmark = pytest.mark.slow

WORKFLOW = YAML(typ="safe", pure=True).load(
    (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")
)
VERSION = "1.2.3"
ATTEST = "actions/attest-build-provenance@"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """A registry on this machine; yields its address."""
    if not (shutil.which("docker-registry") and shutil.which("cosign") and shutil.which("skopeo")):
        pytest.skip(
            "NO RELEASE IS TRIED: install docker-registry, cosign and skopeo (Debian has all three)"
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = tmp_path / "registry.yml"
    storage = {"filesystem": {"rootdirectory": str(tmp_path / "registry")}}
    settings.write_text(
        json.dumps({"version": 0.1, "storage": storage, "http": {"addr": f"127.0.0.1:{port}"}})
    )
    with (tmp_path / "registry.log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(settings)], stdout=log, stderr=log
        )
    try:
        _wait_for(port)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def _wait_for(port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the registry does not start")


@dataclass
class Runner:
    """A runner of the workflow's jobs, each in a new checkout of main."""

    folder: Path
    engine: Engine
    hub: FakeGitHub
    registry: str
    inputs: dict[str, str]
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    """By job: its outputs."""

    @property
    def releases(self) -> dict[str, Any]:
        """What `gh` published, by tag."""
        file = self.folder / "releases.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def job(self, name: str, matrix: Mapping[str, str] = {}, skip: tuple[str, ...] = ()) -> None:
        """Runs the steps of a job; those with a script in `skip` are left out.

        Raises:
            AssertionError: a step fails; the message has its output.
        """
        job, steps = WORKFLOW["jobs"][name], dict[str, dict[str, str]]()
        place = self.folder / f"{name}-{matrix.get('platform', '')}"
        shutil.rmtree(place, ignore_errors=True)
        git("clone", "--quiet", "--no-tags", "--depth=1", f"file://{self.hub.git_dir}", str(place))
        for step in job["steps"]:
            uses, script = step.get("uses", ""), step.get("run", "")
            if script and not any(each in script for each in skip):
                env = {
                    key: self.value(text, steps, matrix)
                    for key, text in step.get("env", {}).items()
                }
                steps[step.get("id", "")] = self.script(
                    self.value(script, steps, matrix), env, place
                )
            elif uses.startswith("actions/download-artifact@"):
                self.artifacts(place / step["with"]["path"])
            elif uses.startswith(ATTEST) and "subject-name" in step["with"]:
                given = {
                    key: self.value(str(text), steps, matrix) for key, text in step["with"].items()
                }
                self.attest(f"{given['subject-name']}@{given['subject-digest']}")
        found = {
            key: self.value(text, steps, matrix) for key, text in job.get("outputs", {}).items()
        }
        self.outputs[name] = {
            **self.outputs.get(name, {}),
            **{key: text for key, text in found.items() if text},
        }

    def value(
        self, text: str, steps: Mapping[str, Mapping[str, str]], matrix: Mapping[str, str]
    ) -> str:
        """Replaces the expressions of a text; one that is not known is an error."""

        def known(found: re.Match[str]) -> str:
            match found[1].split("."):
                case ["inputs", name]:
                    return self.inputs[name]
                case ["github", "token"]:
                    return self.hub.token
                case ["matrix", name]:
                    return matrix[name]
                case ["needs", job, "outputs", name]:
                    return self.outputs[job][name]
                case ["steps", step, "outputs", name]:
                    return steps[step].get(name, "")
            raise AssertionError(f"no value for {found[0]}")

        return re.sub(r"\$\{\{ ([\w.-]+) \}\}", known, text)

    def script(self, text: str, env: Mapping[str, str], place: Path) -> dict[str, str]:
        """Runs a script as a runner does; returns its outputs."""
        output = self.folder / "output"
        output.write_text("")
        sha = git("rev-parse", "HEAD", cwd=place).strip()
        own = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "HOME": str(self.folder),
            "GITHUB_OUTPUT": str(output),
            "GITHUB_REF": "refs/heads/main", "GITHUB_REPOSITORY": "Octo-Org/leastpriv-action",
            "GITHUB_SHA": sha,
            "GITHUB_ACTOR": "kim", "GITHUB_SERVER_URL": "https://github.com",
            "STAND_IN_RELEASES": str(self.folder / "releases.json"),
            "STAND_IN_BUILD": json.dumps(self.engine.build_options()),
        }  # fmt: skip
        command = ["bash", "-e", "-c", text.replace("ghcr.io", self.registry)]
        done = subprocess.run(
            command,
            cwd=place,
            env={**self.engine.environment, **own, **env},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return dict(line.split("=", 1) for line in output.read_text().splitlines())

    def artifacts(self, place: Path) -> None:
        """What the job `check` uploads: its notes, the bill of materials, and the package."""
        checkout = self.folder / "check-"
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        command += ["--wheel-dir", str(place / "dist"), str(checkout)]
        subprocess.run(command, check=True, capture_output=True)
        for name in ("notes.md", "sbom.cdx.json"):
            shutil.copy(checkout / name, place / name)

    def attest(self, image: str) -> None:
        """Signs the provenance of an image with a local key, and keeps it in the registry."""
        predicate = self.folder / "predicate.json"
        predicate.write_text(
            json.dumps({"builder": {"id": "local"}, "buildType": "local", "invocation": {}})
        )
        if not (self.folder / "cosign.key").exists():
            self.cosign("generate-key-pair")
        signing = ("--key", "cosign.key", "--tlog-upload=false", "--yes")
        self.cosign(
            "attest", *signing, "--type=slsaprovenance", "--predicate", str(predicate), image
        )

    def cosign(self, *arguments: str) -> str:
        """Runs cosign in the runner's folder."""
        more = ["--allow-http-registry"] if arguments[0] != "generate-key-pair" else []
        env = {**os.environ, "COSIGN_PASSWORD": "", "HOME": str(self.folder)}
        command = ["cosign", arguments[0], *more, *arguments[1:]]
        done = subprocess.run(
            command, cwd=self.folder, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def git(*arguments: str, cwd: Path = ROOT) -> str:
    command = ["git", "-c", "user.name=Kim", "-c", "user.email=kim@example.com", *arguments]
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


def prepare(hub: FakeGitHub, folder: Path, version: str) -> str:
    """Merges the commit that sets the version; returns it."""
    place = folder / f"prepare-{version}"
    git("clone", "--quiet", "--depth=1", f"file://{hub.git_dir}", str(place))
    changelog = place / "CHANGELOG.md"
    changelog.write_text(
        changelog.read_text().replace(
            "## [Unreleased]\n", "## [Unreleased]\n\n### Added\n\n- It.\n", 1
        )
    )
    subprocess.run([sys.executable, "tools/release.py", "prepare", version], cwd=place, check=True)
    git("commit", "--quiet", "--all", "--message", f"Set version {version}", cwd=place)
    git("push", "--quiet", "origin", "HEAD:main", cwd=place)
    return git("rev-parse", "HEAD", cwd=place).strip()


@pytest.fixture
def runner(tmp_path: Path, engine: Engine, registry: str) -> Iterator[Runner]:
    """A runner, and a repository whose main branch is this commit."""
    (tmp_path / "bin").mkdir()
    for name in ("docker", "gh"):
        stand_in = tmp_path / "bin" / name
        stand_in.write_text(f"#!{sys.executable}\n{Path(release_stand_ins.__file__).read_text()}")
        stand_in.chmod(0o755)
    with FakeGitHub("Octo-Org/leastpriv-action") as hub:
        git("push", "--quiet", "--force", str(hub.git_dir), "HEAD:refs/heads/main")
        yield Runner(tmp_path, engine, hub, registry, {"version": VERSION})


def test_one_button_publishes_an_attested_image_and_moves_the_short_tags(runner: Runner) -> None:
    hub, engine = runner.hub, runner.engine
    main = prepare(hub, runner.folder, VERSION)
    runner.job("check", skip=("make ",))
    for platform in ("amd64", "arm64"):
        runner.job("image", {"platform": platform})
    runner.job("publish")
    runner.job("short-tags")
    image = f"{runner.registry}/octo-org/leastpriv-action"

    def at(revision: str, *arguments: str) -> str:
        return git("--git-dir", str(hub.git_dir), *arguments, revision).strip()

    # The tags hold one commit on top of main, which main does not have; it differs in the image
    # alone.
    released = {at(f"refs/tags/{name}", "rev-parse") for name in ("v1.2.3", "v1.2", "v1")}
    assert len(released) == 1
    [commit] = released
    assert at(f"{commit}^", "rev-parse") == main == at("refs/heads/main", "rev-parse")
    assert at(f"{main}..{commit}", "diff", "--name-only") == "action.yml"
    pinned = re.search(
        rf"image: docker://({re.escape(image)}@sha256:[0-9a-f]{{64}})$",
        at(f"{commit}:action.yml", "show"),
        re.M,
    )
    assert pinned
    # The image behind the pin starts, has the labels of the release, and is attested.
    engine.podman("pull", "--quiet", "--tls-verify=false", pinned[1])
    labels = json.loads(
        engine.podman("image", "inspect", "--format", "{{json .Labels}}", pinned[1])
    )
    assert labels["org.opencontainers.image.version"] == VERSION
    assert labels["org.opencontainers.image.revision"] == main
    ignore = ("--insecure-ignore-tlog=true", "--private-infrastructure=true")
    runner.cosign(
        "verify-attestation", "--key", "cosign.pub", "--type=slsaprovenance", *ignore, pinned[1]
    )
    [(tag, release)] = runner.releases.items()
    wheel = "leastpriv-1.2.3-py3-none-any.whl"
    assert (tag, release["files"]) == ("v1.2.3", [wheel, "sbom.cdx.json"])
    assert "### Added" in release["notes"]
    # The package says the version, and the bill of materials names what the lock installs.
    released_files = runner.folder / "publish-/release"
    with zipfile.ZipFile(released_files / "dist" / wheel) as archive:
        metadata = archive.read("leastpriv-1.2.3.dist-info/METADATA").decode()
    assert "\nVersion: 1.2.3\n" in metadata
    bill = json.loads((released_files / "sbom.cdx.json").read_text())
    assert bill["metadata"]["component"]["version"] == VERSION
    # The action without Docker of the same commit has the same inputs, and needs no image.
    composite = at(f"{commit}:cli/action.yml", "show")
    assert composite == at(f"{main}:cli/action.yml", "show")
    both = [
        YAML(typ="safe", pure=True).load(text)["inputs"]
        for text in (composite, at(f"{commit}:action.yml", "show"))
    ]
    assert both[0] == both[1]

    # The same version again ends before anything is built or tagged.
    with pytest.raises(AssertionError, match="is released already"):
        runner.job("check", skip=("make ",))

    # The next version moves `v1` and leaves `v1.2`.
    runner.inputs["version"] = "1.3.0"
    prepare(hub, runner.folder, "1.3.0")
    runner.job("check", skip=("make ",))
    for platform in ("amd64", "arm64"):
        runner.job("image", {"platform": platform})
    runner.job("publish")
    assert at("refs/tags/v1", "rev-parse") == commit
    runner.job("short-tags")
    assert at("refs/tags/v1", "rev-parse") == at("refs/tags/v1.3.0", "rev-parse") != commit
    assert at("refs/tags/v1.2", "rev-parse") == commit
