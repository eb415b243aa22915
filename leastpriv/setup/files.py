"""The files of `leastpriv init`, and writing them: all or none, and never over a file without saying so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from leastpriv.errors import InputError, LeastprivError
from leastpriv.setup.cloudformation import template
from leastpriv.setup.grants import grants_of, parameters_of
from leastpriv.setup.target import Target
from leastpriv.setup.terraform import configuration
from leastpriv.setup.workflow import PATH, workflow

CLOUDFORMATION = "leastpriv-reader.yaml"
TERRAFORM = "leastpriv-reader.tf"


def files(sources: Sequence[str], target: Target) -> dict[str, str]:
    """Content by path.

    Raises:
        InputError: there is no such source.
    """
    grants = grants_of(sources)
    parameters = parameters_of(grants, target.values)
    return {
        CLOUDFORMATION: template(grants, parameters, sources, target.audience),
        TERRAFORM: configuration(grants, parameters, sources, target.audience),
        PATH: workflow(target, sources),
    }


def deploy_command(sources: Sequence[str], target: Target) -> str:
    """How the template is deployed on a shell: every value that it has no default for, the ids, and the branch.

    Without the ids a repository made since 2026-07-15 could not take the role, so that the line asks GitHub for them.
    """
    parameters = parameters_of(grants_of(sources), target.values)
    given = [f"{each.name}={each.name.upper()}" for each in parameters if each.default is None]
    repository = "/".join(target.values.get(name) or name.upper() for name in ("RepositoryOwner", "RepositoryName"))
    ids = [
        f'{name}="$(gh api repos/{repository} --jq {field})"'
        for name, field in (("RepositoryOwnerId", ".owner.id"), ("RepositoryId", ".id"))
    ]
    branch = next(each.default for each in parameters if each.name == "Branch")
    return (
        f"aws cloudformation deploy --stack-name leastpriv-reader --template-file {CLOUDFORMATION} --capabilities "
        f"CAPABILITY_NAMED_IAM --parameter-overrides {' '.join([*given, *ids, f'Branch={branch}'])}"
    )


def write(found: Mapping[str, str], folder: Path, say: Callable[[str], None], *, overwrite: bool = False) -> None:
    """Writes the files below a folder and says what became of each.

    Raises:
        InputError: files with other content are there, and `overwrite` is not set; then none is written.
        LeastprivError: one cannot be written.
    """
    try:
        there = {name: (folder / name).read_bytes() for name in found if (folder / name).exists()}
        other = [name for name, content in there.items() if content != found[name].encode()]
        if other and not overwrite:
            are = "is" if len(other) == 1 else "are"
            raise InputError(
                f"In {folder} {', '.join(other)} {are} there already, with other content: nothing was written. Set "
                "--overwrite, or another --output-dir."
            )
        for name, content in found.items():
            path = folder / name
            if name in there and name not in other:
                say(f"Unchanged {path}")
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8", newline="\n")
            say(f"{'Overwrote' if name in there else 'Wrote'} {path}")
    except OSError as error:
        raise LeastprivError(f"{error.filename or folder} cannot be written: {error.strerror}.") from error
