"""The promises of the reader of AWS's service reference: one answer from archive, folder and
address.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from types import ModuleType
from urllib.error import URLError

import pytest

from tests.fakes.scripts import load

DOCUMENT = {
    "Name": "orders",
    "Version": "v1.4",
    "Actions": [
        {
            "Name": "CreateOrder",
            "ActionConditionKeys": ["aws:TagKeys"],
            "Annotations": {
                "Properties": {"IsList": False, "IsWrite": True, "IsTaggingOnly": False}
            },
            "Resources": [{"Name": "order"}],
            "SupportedBy": {
                "IAM Access Analyzer Policy Generation": True,
                "IAM Action Last Accessed": False,
            },
        }
    ],
    "Operations": [
        {
            "Name": "CreateOrder",
            "SDK": [{"Name": "orders", "Method": "create_order", "Package": "Boto3"}],
            "AuthorizedActions": [
                {"Name": "CreateOrder", "Service": "orders"},
                {
                    "Name": "PassRole",
                    "Service": "iam",
                    "Context": {"iam:PassedToService": ["orders.amazonaws.com"]},
                },
            ],
        },
        {"Name": "ListOrders", "SDK": []},
    ],
    "Resources": [{"Name": "order", "ARNFormats": ["arn:${Partition}:orders:::order/${Id}"]}],
    "ConditionKeys": [{"Name": "aws:TagKeys", "Types": ["ArrayOfString"]}],
}


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    return load("tools/service_reference.py")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "aws"
    folder.mkdir()
    (folder / "orders.json").write_text(json.dumps(DOCUMENT), encoding="utf-8")
    index = [{"service": "orders", "url": "https://example.com/v1/orders/orders.json"}]
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def test_archive_folder_and_address_give_the_same_services(
    reference: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = folder.parent / "reference-2026-01-01.tar.xz"
    with tarfile.open(archive, "w:xz") as writer:
        writer.add(folder, "aws")
    answers = {
        "https://example.com/": (folder / "index.json").read_bytes(),
        "https://example.com/v1/orders/orders.json": (folder / "orders.json").read_bytes(),
    }
    monkeypatch.setattr(reference, "_download", answers.__getitem__)
    loaded = [
        reference.load(reference_source)
        for reference_source in (str(archive), str(folder), "https://example.com/")
    ]
    assert loaded[0].services == loaded[1].services == loaded[2].services
    assert [loaded_reference.source for loaded_reference in loaded] == [
        "reference-2026-01-01.tar.xz",
        "aws",
        "https://example.com/",
    ]


def test_an_action_has_both_of_the_flags_of_aws(reference: ModuleType, folder: Path) -> None:
    action = reference.load(str(folder)).actions["orders:createorder"]
    assert (action.records_management_event, action.tracks_last_access) == (True, False)
    assert (action.access, action.condition_keys) == ({"write"}, ("aws:TagKeys",))


def test_an_operation_names_its_authorized_actions_and_an_action_its_carriers(
    reference: ModuleType, folder: Path
) -> None:
    loaded = reference.load(str(folder))
    operation = loaded.operations["orders:CreateOrder"]
    assert operation.actions == ("orders:CreateOrder", "iam:PassRole")
    assert operation.authorized[1].passed_to == ("orders.amazonaws.com",)
    assert loaded.carriers["iam:passrole"] == (operation,)
    assert loaded.operations["orders:ListOrders"].actions == ()


def test_a_folder_without_the_reference_is_an_error(reference: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no file"):
        reference.load(str(tmp_path))


def test_aws_publishes_the_carriers_of_a_permission_without_an_event(
    reference: ModuleType, shared_folder: Path
) -> None:
    archive = next((shared_folder / "data" / "aws-service-reference").glob("*.tar.xz"))
    loaded = reference.load(str(archive))
    names = [carrier.name for carrier in loaded.carriers["s3:bypassgovernanceretention"]]
    assert names == ["s3:DeleteObject", "s3:DeleteObjects", "s3:PutObjectRetention"]
    assert len(loaded.operations) > 17_000


def test_without_an_answer_from_aws_the_tables_of_the_last_copy_are_kept(
    reference: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(address: str) -> bytes:
        raise URLError(f"no route to {address}")

    monkeypatch.setattr(reference, "_download", refuse)
    assert reference.load_or_keep("https://example.com/") is None
    assert "the tables of the last copy are kept" in capsys.readouterr().out


def test_a_newer_copy_is_compared_with_the_catalogue(
    reference: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
    names = {**DOCUMENT, "Name": "sqs", "Resources": [{"Name": "message-queue"}]}
    (folder / "sqs.json").write_text(json.dumps(names), encoding="utf-8")
    differences = [*load("tools/compile_event_map.py").unlike_catalog(reference.load(str(folder)))]
    assert [difference.partition(":")[0] for difference in differences] == [
        "unknown  orders",
        "unknown  sqs",
        "unknown  sqs",
    ]
    assert differences[1:] == [
        "unknown  sqs: actions that the catalogue lacks: CreateOrder",
        "unknown  sqs: resource types that the catalogue lacks: message-queue",
    ]
