"""The promise of one reader: nothing outside the repository is read, whatever names it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leastpriv.declared.declarations import read_declarations, read_stack
from leastpriv.declared.files import OutsideError, RepositoryFiles, files_on_disk
from leastpriv.declared.models import Declaration, Place
from leastpriv.errors import InputError
from leastpriv.pipeline.infrastructure import RepositoryVersion

PLACE = Place("aws", "111122223333", "eu-west-1")
ROLE = "arn:aws:iam::111122223333:role/ci-deploy"
QUEUE = "Resources:\n  Orders: {Type: AWS::SQS::Queue, Properties: {QueueName: secret}}\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout next to a folder of others."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "t.yaml").write_text(QUEUE)
    (tmp_path / "checkout" / "app").mkdir(parents=True)
    return tmp_path / "checkout"


def nesting(url: str) -> str:
    return (
        "Resources:\n  Inner:\n    Type: AWS::CloudFormation::Stack\n"
        f"    Properties: {{TemplateURL: '{url}'}}\n"
    )


def read(checkout: Path, name: str = "app/t.yaml") -> Declaration:
    [declaration] = read_declarations([name], [], ROLE, PLACE, checkout)
    return declaration


@pytest.mark.parametrize(
    "url",
    [
        "../../outside/t.yaml", "../../../../../../../proc/self/environ", "/proc/self/environ",
        "x/../../../outside/t.yaml", "link.yaml", "folder/t.yaml", ".git/config", "../.GIT/config",
    ],
)  # fmt: skip
def test_no_nested_template_is_read_outside(checkout: Path, url: str) -> None:
    (checkout / "app" / "t.yaml").write_text(nesting(url))
    (checkout / "app" / "link.yaml").symlink_to("../../outside/t.yaml")
    (checkout / "app" / "folder").symlink_to("../../outside")
    (checkout / ".git").mkdir()
    (checkout / ".git" / "config").write_text(QUEUE)
    declaration = read(checkout)
    assert [resource.kind.name for resource in declaration.resources] == [
        "AWS::CloudFormation::Stack"
    ]
    [reason] = declaration.unknown.values()
    assert "is not read" in reason


@pytest.mark.parametrize("url", ["inner.yaml", "../infra/inner.yaml", "link.yaml"])
def test_a_nested_template_of_the_repository_is_read(checkout: Path, url: str) -> None:
    (checkout / "infra").mkdir()
    for folder in ("app", "infra"):
        (checkout / folder / "inner.yaml").write_text(QUEUE)
    (checkout / "app" / "link.yaml").symlink_to("../infra/inner.yaml")
    (checkout / "app" / "t.yaml").write_text(nesting(url))
    declaration = read(checkout)
    assert "Inner.Orders" in declaration.by_address
    assert not declaration.unknown


def test_a_nested_template_is_named_from_the_folder_of_the_one_that_nests_it(
    checkout: Path,
) -> None:
    (checkout / "app" / "t.yaml").write_text(nesting("inner/a.yaml"))
    (checkout / "app" / "inner").mkdir()
    (checkout / "app" / "inner" / "a.yaml").write_text(nesting("b.yaml"))
    (checkout / "app" / "inner" / "b.yaml").write_text(QUEUE)
    assert "Inner.Inner.Orders" in read(checkout).by_address


def test_a_template_that_a_person_names_elsewhere_reads_its_own_folder_alone(
    checkout: Path,
) -> None:
    for url, is_read in (("inner.yaml", True), ("../outside/t.yaml", False)):
        (checkout / "inner.yaml").write_text(QUEUE)
        (checkout / "t.yaml").write_text(nesting(url))
        [declaration] = read_declarations(
            [str(checkout / "t.yaml")], [], ROLE, PLACE, checkout.parent / "outside"
        )
        assert ("Inner.Orders" in declaration.by_address) is is_read


@pytest.mark.parametrize("name", ["samconfig.toml", ".terraform/terraform.tfstate", "t.yaml"])
def test_a_link_that_leads_out_is_bad_input(checkout: Path, name: str) -> None:
    secret = checkout.parent / "outside" / "secret"
    secret.write_text("[default]")
    (checkout / "app" / ".terraform").mkdir()
    if name != "t.yaml":
        (checkout / "app" / "t.yaml").write_text(QUEUE)
    (checkout / "app" / "plan.json").write_text('{"resource_changes": []}')
    (checkout / "app" / name).symlink_to(secret)
    with pytest.raises(InputError, match="leads out of the repository"):
        read_declarations(["app/t.yaml"], ["app/plan.json"], ROLE, PLACE, checkout)


@pytest.mark.parametrize("directory", ["../../outside", "/etc", ".", "link"])
def test_an_assembly_names_no_folder_outside_or_around_it(checkout: Path, directory: str) -> None:
    out = checkout / "cdk.out"
    out.mkdir()
    (out / "link").symlink_to("../../outside")
    (checkout.parent / "outside" / "manifest.json").write_text('{"artifacts": {}}')
    inner = {"type": "cdk:cloud-assembly", "properties": {"directoryName": directory}}
    (out / "manifest.json").write_text(json.dumps({"artifacts": {"inner": inner}}))
    with pytest.raises(InputError, match=r"is not read|inside itself"):
        read_declarations(["cdk.out"], [], ROLE, PLACE, checkout)


@pytest.mark.parametrize("file", ["../../outside/t.yaml", "/proc/self/environ", "link.yaml"])
@pytest.mark.parametrize("field", ["templateFile", "file"])
def test_an_assembly_names_no_file_outside(checkout: Path, file: str, field: str) -> None:
    out = checkout / "cdk.out"
    out.mkdir()
    (out / "link.yaml").symlink_to("../../outside/t.yaml")
    (out / "own.yaml").write_text(QUEUE)
    template = file if field == "templateFile" else "own.yaml"
    artifacts = {
        "assets": {"type": "cdk:asset-manifest", "properties": {"file": file}},
        "Shop": {
            "type": "aws:cloudformation:stack",
            "properties": {"templateFile": template},
            "dependencies": ["assets"] if field == "file" else [],
        },
    }
    (out / "manifest.json").write_text(json.dumps({"artifacts": artifacts}))
    with pytest.raises(InputError, match="is not read"):
        read_declarations(["cdk.out"], [], ROLE, PLACE, checkout)


def test_a_path_of_a_commit_has_no_folder_above_the_root() -> None:
    asked_paths = []

    def of_commit(path: str) -> bytes | None:
        asked_paths.append(path)
        return nesting("../../t.yaml").encode() if path == "app/t.yaml" else None

    declaration = read_stack("app/t.yaml", of_commit, PLACE)
    assert all(".." not in asked_path for asked_path in asked_paths)
    assert "is outside the repository" in declaration.unknown["AWS::CloudFormation::Stack Inner"]


def test_a_terraform_file_reads_no_link_that_leads_out(checkout: Path) -> None:
    (checkout / "app" / "role.tf").write_text("")
    (checkout / "app" / "policy.json").symlink_to("../../outside/t.yaml")
    folder = RepositoryVersion.on_disk(checkout).folder("app/role.tf")
    with pytest.raises(OutsideError):
        folder.files["policy.json"]


def test_what_is_no_regular_file_is_missing(checkout: Path) -> None:
    on_disk = files_on_disk(checkout)
    assert on_disk("app") is None
    assert on_disk("none/a.yaml") is None
    assert on_disk("a\0b") is None
    assert RepositoryFiles.around("app/t.yaml", on_disk).read("none") is None


@pytest.mark.parametrize("link", ["config", "folder/config"])
def test_no_link_leads_to_a_file_of_git(checkout: Path, link: str) -> None:
    """The configuration of a checkout may have its token."""
    (checkout / ".git").mkdir()
    (checkout / ".git" / "config").write_text(QUEUE)
    (checkout / "folder").symlink_to(".git")
    (checkout / "config").symlink_to(".git/config")
    with pytest.raises(OutsideError, match="file of git itself"):
        files_on_disk(checkout)(link)
