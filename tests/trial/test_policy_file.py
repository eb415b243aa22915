"""The policy file keeps its text, and a change in between is not overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leastpriv.aws.arns import parse_principal
from leastpriv.errors import InputError, LeastprivError
from leastpriv.policy.document import Document, parse
from leastpriv.policy.source import Location
from leastpriv.trial.policy_file import open_attached, open_policy
from leastpriv.trial.strategies import render_documents

ROLE = parse_principal("arn:aws:iam::111122223333:role/deploy")
TEXT = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject",'
    ' "Resource": "*"}]}\n'
)
OTHER = TEXT.replace("GetObject", "PutObject")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    policy_file = tmp_path / "policy.json"
    policy_file.write_text(TEXT)
    return policy_file


def extended() -> Document:
    return parse(OTHER.encode(), "p.json")


def test_the_extended_policy_replaces_the_file_with_its_mode(path: Path) -> None:
    path.chmod(0o640)
    file = open_policy(Location(str(path), ""), ROLE)
    assert file.save(extended()) == path
    assert (path.read_text(), path.stat().st_mode & 0o777) == (OTHER, 0o640)
    assert [written_path.name for written_path in path.parent.iterdir()] == ["policy.json"]


@pytest.mark.parametrize("change", ["saved", "removed"])
def test_a_file_that_changed_in_between_is_left_alone(path: Path, change: str) -> None:
    file = open_policy(Location(str(path), ""), ROLE)
    path.write_text("theirs") if change == "saved" else path.unlink()
    written_file = file.save(extended())
    assert (written_file.name, written_file.read_text()) == ("policy.json.trial", OTHER)
    assert not path.exists() if change == "removed" else path.read_text() == "theirs"


def test_the_result_of_an_earlier_trial_is_not_overwritten(path: Path) -> None:
    files = [open_policy(Location(str(path), ""), ROLE) for _ in range(3)]
    path.write_text("theirs")
    names = [file.save(extended()).name for file in files]
    assert names == ["policy.json.trial", "policy.json.trial-2", "policy.json.trial-3"]


def test_each_round_saves_to_the_same_file(path: Path) -> None:
    file = open_policy(Location(str(path), ""), ROLE)
    rounds = [parse(OTHER.replace("Put", verb).encode(), "p.json") for verb in ("Put", "Head")]
    assert [file.save(document) for document in rounds] == [path, path]
    assert path.read_bytes() == rounds[1].to_bytes()
    path.write_text("theirs")
    later = [file.save(document).name for document in rounds]
    assert later == ["policy.json.trial", "policy.json.trial"]
    assert path.read_text() == "theirs"


def test_a_folder_that_is_no_more_is_an_error_sentence(path: Path) -> None:
    file = open_policy(Location(str(path), ""), ROLE)
    path.unlink()
    path.parent.rmdir()
    path.parent.touch()
    with pytest.raises(LeastprivError, match="cannot be written"):
        file.save(extended())


def test_a_symbolic_link_is_kept(path: Path) -> None:
    link = path.with_name("link.json")
    link.symlink_to(path.name)
    open_policy(Location(str(link), ""), ROLE).save(extended())
    assert (link.is_symlink(), path.read_text()) == (True, OTHER)


def test_without_a_file_the_trial_begins_with_an_empty_policy_and_creates_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "new.json"
    file = open_policy(Location(str(path), ""), ROLE)
    assert (file.raw, file.document.statements) == (None, ())
    file.save(extended())
    assert path.read_text() == OTHER


def test_further_files_of_the_policy_are_attached_like_those_named(path: Path) -> None:
    for name in ("policy-2.json", "policy-3.json", "policy-5.json", "base.json"):
        path.with_name(name).write_text(
            json.dumps({"Version": "2012-10-17", "Id": name, "Statement": []})
        )
    documents = open_attached(Location(str(path), ""), (str(path.with_name("base.json")),), ROLE)
    assert [json.loads(document.raw)["Id"] for document in documents] == [
        "base.json",
        "policy-2.json",
        "policy-3.json",
    ]


def test_a_file_of_such_a_name_without_a_policy_is_ignored(path: Path) -> None:
    path.with_name("policy-2.json").write_text('{"some": "data"}')
    assert open_attached(Location(str(path), ""), (), ROLE) == ()


def test_a_new_policy_is_not_created_in_hcl(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist; create that first"):
        open_policy(Location(str(tmp_path / "new.tf"), ""), ROLE)


@pytest.mark.parametrize(
    ("name", "pointer"), [("no-folder/policy.json", ""), ("none.json", "/Policy"), (".", "")]
)
def test_a_policy_that_cannot_be_opened_is_bad_input(
    tmp_path: Path, name: str, pointer: str
) -> None:
    with pytest.raises(InputError, match="policy-file"):
        open_policy(Location(str(tmp_path / name), pointer), ROLE)


def test_a_template_is_of_the_region_of_the_trial(tmp_path: Path) -> None:
    path = tmp_path / "template.yaml"
    path.write_text(
        "Resources:\n  P:\n    Type: AWS::IAM::Policy\n    Properties:\n      PolicyDocument:\n"
        '        Version: "2012-10-17"\n        Statement:\n          - Effect: Allow\n'
        "            Action: sqs:SendMessage\n"
        "            Resource: !Sub 'arn:aws:sqs:${AWS::Region}:${AWS::AccountId}:orders'\n"
    )
    location = Location(str(path), "/Resources/P/Properties/PolicyDocument")
    file = open_policy(location, ROLE, "eu-west-1")
    (text,) = render_documents([file.document])
    assert '"Resource":"arn:aws:sqs:eu-west-1:111122223333:orders"' in text
    with pytest.raises(InputError, match="once its template is rendered"):
        render_documents([open_policy(location, ROLE).document])
