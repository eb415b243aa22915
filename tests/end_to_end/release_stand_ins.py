"""Stands in for `docker` and `gh` in the release workflow: podman and skopeo for one, a file for
the other.

Run as `docker …` or `gh …` by a link of that name. The variables name the base of the build
(STAND_IN_BUILD, JSON) and the file of the releases (STAND_IN_RELEASES).
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

_INSECURE = "--tls-verify=false"


def docker(arguments: list[str]) -> str:
    """Does what a docker command of the workflow asks for; returns its output."""
    match arguments:
        case ["login", *_] | ["buildx", "create", *_]:
            return ""
        case ["build", *options]:
            return _podman("build", *json.loads(os.environ["STAND_IN_BUILD"]), *options)
        case ["buildx", "build", *options]:
            return _build_and_push(options)
        case ["buildx", "imagetools", "create", "--tag", name, *images]:
            _podman("manifest", "create", name)
            for image in images:
                _podman("manifest", "add", _INSECURE, name, image)
            return _podman("manifest", "push", "--all", _INSECURE, name, f"docker://{name}")
        case ["buildx", "imagetools", "inspect", name, "--format", "{{json .Manifest}}"]:
            raw = _run("skopeo", "inspect", "--raw", _INSECURE, f"docker://{name}").encode()
            return json.dumps({"digest": f"sha256:{hashlib.sha256(raw).hexdigest()}"})
        case ["pull", "--quiet", image]:
            return _podman("pull", "--quiet", _INSECURE, image)
        case ["run", *_]:
            return _podman(*arguments)
    raise SystemExit(f"the stand-in for docker does not know {arguments}")


def _build_and_push(options: list[str]) -> str:
    """Builds, pushes by digest, and writes the metadata file."""
    named = dict(
        option.removeprefix("--").split("=", 1)
        for option in options
        if option.startswith("--output=")
    )
    output = named.get("output") or options[options.index("--output") + 1]
    name = dict(part.split("=") for part in output.split(","))["name"]
    build_arguments = [
        f"--build-arg={options[at + 1]}" for at, each in enumerate(options) if each == "--build-arg"
    ]
    local, whole = "localhost/released", "localhost/released-without-labels"
    _podman("build", *json.loads(os.environ["STAND_IN_BUILD"]), "--tag", whole, ".")
    # The cache of podman's builder ignores arguments in labels (buildah 1.39.3): what follows the
    # first argument is built again without it.
    _, argument, end = Path("Dockerfile").read_text(encoding="utf-8").partition("ARG VERSION")
    Path("Dockerfile.labels").write_text(f"FROM {whole}\n{argument}{end}", encoding="utf-8")
    last = ("--no-cache", "--pull=never", "--file=Dockerfile.labels", "--tag", local, ".")
    _podman("build", *build_arguments, *last)
    _podman("push", _INSECURE, "--digestfile", "digest", local, f"docker://{name}:by-digest")
    metadata = {"containerimage.digest": Path("digest").read_text(encoding="utf-8").strip()}
    Path(options[options.index("--metadata-file") + 1]).write_text(
        json.dumps(metadata), encoding="utf-8"
    )
    return ""


def gh(arguments: list[str]) -> str:
    """Keeps a release with its files and notes; a tag of a release has to exist and has one release
    only.
    """
    if arguments == ["auth", "setup-git"]:
        return ""
    if arguments[:2] != ["release", "create"] or "--verify-tag" not in arguments:
        raise SystemExit(f"the stand-in for gh does not know {arguments}")
    tag, files = arguments[2], [each for each in arguments[3:] if each.startswith("release/")]
    files.remove("release/notes.md")
    _run("git", "ls-remote", "--exit-code", "--tags", "origin", f"refs/tags/{tag}")
    store = Path(os.environ["STAND_IN_RELEASES"])
    releases = json.loads(store.read_text(encoding="utf-8")) if store.exists() else {}
    if tag in releases:
        raise SystemExit(f"a release with the tag {tag} exists")
    notes = Path(arguments[arguments.index("--notes-file") + 1]).read_text(encoding="utf-8")
    releases[tag] = {"files": sorted(Path(each).name for each in files), "notes": notes}
    store.write_text(json.dumps(releases), encoding="utf-8")
    return ""


def _podman(*arguments: str) -> str:
    return _run("podman", *arguments)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stdout.write(done.stdout)
        sys.stderr.write(done.stderr)
        raise SystemExit(done.returncode)
    return done.stdout


if __name__ == "__main__":
    sys.stdout.write({"docker": docker, "gh": gh}[Path(sys.argv[0]).name](sys.argv[1:]))
