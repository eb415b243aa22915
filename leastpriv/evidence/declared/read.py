"""Reads the templates and plans that the inputs name, each by its form."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path, PurePath

from leastpriv.errors import InputError
from leastpriv.evidence.declared.models import UNKNOWN, Declaration, Place, Stack, tool_calls
from leastpriv.evidence.declared.template import read_template
from leastpriv.models import Need

ReadFile = Callable[[str], bytes | None]
"""Content of a file by its path as the user writes it; None where there is none."""
_SAM_CONFIG = "samconfig.toml"
_STATE = ".terraform/terraform.tfstate"


def read_declarations(
    templates: Iterable[str], plans: Iterable[str], role: str, place: Place, root: Path
) -> tuple[Declaration, ...]:
    """Reads templates (`[STACK=]FILE`, or a folder `cdk.out`) and plans below a folder.

    Raises:
        InputError: one cannot be read, or is none.
    """

    def on_disk(path: str) -> bytes | None:
        file = root / path
        return file.read_bytes() if file.is_file() else None

    found: list[Declaration] = []
    for name in templates:
        if (root / name).is_dir():
            found.extend(_assembly(root, name, role, place))
        else:
            found.append(read_stack(name, on_disk, place))
    return (*found, *(_plan(name, on_disk, role, place) for name in plans))


def read_stack(name: str, read: ReadFile, place: Place) -> Declaration:
    """Reads one template, `[STACK=]FILE`, with what `samconfig.toml` in its folder says of the stack.

    Raises:
        InputError: it cannot be read, or is no template.
    """
    stack_name, path = split_stack(name)
    raw = read(path)
    if raw is None:
        raise InputError(f"The input templates names {path!r}, which is no file.")
    folder = PurePath(path).parent
    stack = Stack(stack_name or UNKNOWN)
    is_sam = b"AWS::Serverless" in raw
    config = read((folder / _SAM_CONFIG).as_posix())
    if config is not None:
        from leastpriv.evidence.declared.sam import deployed_as

        configured = deployed_as(config)
        stack = replace(configured, name=stack_name or configured.name)
    made = read_template(raw, path, stack, place, lambda nested: read((folder / nested).as_posix()))
    because = f"the deployment of {path}"
    steps = ("deploy", "summary", "delete", *(("transform",) if is_sam else ()))
    calls = [need for step in steps for need in tool_calls(step, because, place, stack=stack.name)]
    later: tuple[Need, ...] = ()
    if is_sam or stack.bucket:
        from leastpriv.evidence.declared.sam import MANAGED_BUCKET

        names = {"bucket": stack.bucket or MANAGED_BUCKET, "object": f"{stack.prefix}{UNKNOWN}", "stack": stack.name}
        calls += tool_calls("publish", because, place, **names)
        calls += () if stack.bucket else tool_calls("managed", because, place)
        later = tuple(tool_calls("withdraw", because, place, **names)) if is_sam else ()
    plan_calls = tuple(tool_calls("diff", because, place, stack=stack.name))
    return replace(made, calls=tuple(calls), later_calls=later, plan_calls=plan_calls)


def split_stack(name: str) -> tuple[str, str]:
    """Splits `STACK=FILE`; the name is empty where only the file is given."""
    stack, separator, path = name.partition("=")
    return (stack, path) if separator else ("", name)


def _assembly(root: Path, name: str, role: str, place: Place) -> tuple[Declaration, ...]:
    from leastpriv.evidence.declared.cdk import MANIFEST, read_assembly

    if not (root / name / MANIFEST).is_file():
        raise InputError(f"The input templates names the folder {name!r}, which has no {MANIFEST}: run `cdk synth`.")
    return read_assembly(root / name, name, role, place)


def _plan(name: str, read: ReadFile, role: str, place: Place) -> Declaration:
    from leastpriv.evidence.declared.plan import backend_calls, read_plan

    raw = read(name)
    if raw is None:
        raise InputError(f"The input plans names {name!r}, which is no file.")
    made = read_plan(raw, name, role)
    state = read((PurePath(name).parent / _STATE).as_posix())
    if state is None:
        return made
    calls, plan_calls = backend_calls(state, place), backend_calls(state, place, applies=False)
    return replace(made, calls=(*made.calls, *calls), plan_calls=(*made.plan_calls, *plan_calls))
