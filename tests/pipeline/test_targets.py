"""Several targets in one run: one scan, a proposal each, pull requests one by one or by group, the
worst exit code.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.action.test_check import RIGHTS
from tests.action.test_step import Job, Step
from tests.fakes.chains import (
    CI,
    DEPLOY,
    EXEC,
    FILES,
    IMAGES,
    LOOKUP,
    chain_deploys,
    config,
    entry,
    login,
    policy,
)
from tests.fakes.command import CommandResult, leastpriv
from tests.fakes.deploys import FIRST, write_trail
from tests.fakes.github import FakeGitHub
from tests.fakes.github.direct import without_sockets
from tests.fakes.markdown import read
from tests.test_cases import record

CONFIG = ".github/leastpriv.yml"
FORGED = (
    "propose",
    "--config",
    "leastpriv.yml",
    "--trails",
    "forged",
    "--output-dir",
    "out",
    "--when-no-calls",
    "report",
)
TWO = (entry(CI, "iam/ci.json"), entry(DEPLOY, "iam/deploy.json"))
FILES_OF_TWO = {
    "iam/ci.json": policy("sts:AssumeRole", "sqs:CreateQueue"),
    "iam/deploy.json": policy("cloudformation:*", "iam:PassRole"),
}


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records of eight CDK deploys."""
    folder = tmp_path_factory.mktemp("chain") / "trail"
    write_trail(folder, list(chain_deploys()))
    return folder


def put(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two committed policies, as the current one."""
    put(tmp_path, FILES_OF_TWO)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def proposed(trail: Path, text: str, *more: str) -> CommandResult:
    put(Path(), {"leastpriv.yml": text})
    regions = ("--aws-regions", "eu-west-1")
    return leastpriv(
        "propose",
        "--config",
        "leastpriv.yml",
        "--trails",
        str(trail),
        *regions,
        "--output-dir",
        "out",
        *more,
    )


def index() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(Path("out/proposal.json").read_text(encoding="utf-8"))
    return document


@pytest.mark.usefixtures("place")
class TestOnAShell:
    def test_one_scan_serves_all_targets_and_each_has_its_folder(
        self, place: Path, trail: Path
    ) -> None:
        run = proposed(trail, config(TWO, follow=False))
        assert run.code == 0, run.err
        assert len(re.findall("^Read ", run.err, re.MULTILINE)) == 1
        document = index()
        assert [(target["role-arn"], target["folder"]) for target in document["targets"]] == [
            (CI, "ci-deploy"),
            (DEPLOY, DEPLOY.rpartition("/")[2]),
        ]
        assert document["targets"][0]["removed-actions"] == ["sqs:CreateQueue"]
        changed = json.loads((place / "out/ci-deploy/policy.json").read_text())
        assert changed["Statement"][0]["Action"] == ["sts:AssumeRole"]
        assert (
            "| `role/ci/ci-deploy`<br>`iam/ci.json` | 2\u00a0→\u00a0**1** | 1 | 1\u00a0removed<br>1\u00a0narrowed |"
            in run.out
        )

    def test_each_proposal_equals_that_of_a_run_of_one_target(self, trail: Path) -> None:
        proposed(trail, config(TWO))
        for role, file, folder in (
            (CI, "iam/ci.json", "ci-deploy"),
            (DEPLOY, "iam/deploy.json", DEPLOY.split("/")[1]),
        ):
            alone = (
                "--role-arn",
                role,
                "--policy-file",
                file,
                "--trails",
                str(trail),
                "--output-dir",
                "alone",
            )
            assert leastpriv("propose", *alone, "--aws-regions", "eu-west-1").code == 0
            assert (
                Path("alone/policy.json").read_bytes()
                == Path(f"out/{folder}/policy.json").read_bytes()
            )
            one, together = (
                json.loads(Path(f"{folder_of_run}/proposal.json").read_text())
                for folder_of_run in ("alone", f"out/{folder}")
            )
            for key in (
                "changes",
                "held_back",
                "held_back_additions",
                "gaps",
                "evidence",
                "proof",
                "fingerprint",
            ):
                assert one[key] == together[key], key

    def test_dials_of_a_target_are_its_own(self, trail: Path) -> None:
        keeping = (
            entry(CI, "iam/ci.json", keep=["sqs:*", "sts:*"]),
            entry(DEPLOY, "iam/deploy.json", minimum_days=300),
        )
        proposed(trail, config(keeping))
        assert [target["has-changes"] for target in index()["targets"]] == [False, False]

    def test_the_index_has_the_figures_of_each_target_and_the_page_their_table(
        self, place: Path, trail: Path
    ) -> None:
        put(place, {"iam/broken.json": "{"})
        proposed(trail, config((*TWO, entry(EXEC, "iam/broken.json"))), "--page-file", "fleet.html")
        first, _, broken = index()["targets"]
        assert (first["granted"], first["used"], first["granted-after"], first["runs"]) == (
            2,
            1,
            1,
            8,
        )
        assert first["verdict"] in ("Merge", "Rehearse first, then merge")
        assert first["last-run"].startswith("2026-11-05T")
        assert 0 < first["chance"] < 1
        assert {broken[key] for key in ("granted", "used", "verdict", "chance", "last-run")} == {
            None
        }
        page = Path("fleet.html").read_text()
        assert (
            page.index("iam/broken.json")
            < page.index("iam/deploy.json")
            < page.index('<article id="target-1"')
        )

    def test_roles_of_the_chain_without_a_policy_are_named_with_what_they_need(
        self, trail: Path
    ) -> None:
        run = proposed(trail, config(TWO), "--lifecycle", "off")
        assert (
            "- `role/cdk-hnb659fds-cfn-exec-role-111122223333-eu-west-1`, passed to CloudFormation"
            " 8× by" in run.out
        )
        assert (
            "2 actions (16 calls in 8 runs): `lambda:UpdateFunctionCode`, `sqs:CreateQueue`"
            in run.out
        )
        chain = index()["chain"]
        assert chain["roots"] == [CI]
        assert {unwritten["role"] for unwritten in chain["unwritten"]} == {
            FILES,
            IMAGES,
            LOOKUP,
            EXEC,
        }
        assert not Path("out/first-files").exists()

    def test_without_follow_no_further_role_is_read(self, trail: Path) -> None:
        run = proposed(trail, config(TWO, follow=False))
        assert "its needs were not read" in run.out
        assert index()["chain"]["unwritten"] == []

    def test_discover_writes_first_files_and_the_config_that_names_them(
        self, place: Path, trail: Path
    ) -> None:
        run = proposed(trail, "# kept\n" + config(TWO) + "# the end\n", "--discover")
        assert run.code == 0, run.err
        text = Path("out/first-files/leastpriv.yml").read_text()
        assert text.startswith("# kept\n")
        assert text.endswith("# the end\n")
        # With what was written in its place, everything is looked after, and there is nothing left
        # to discover.
        put(place, {"leastpriv.yml": text})
        for file in Path("out/first-files/iam").iterdir():
            (place / "iam" / file.name).write_bytes(file.read_bytes())
        again = proposed(trail, text, "--discover")
        assert again.code == 0
        assert "Without a committed policy" not in again.out
        assert index()["first_files"] == []
        assert {target["role-arn"] for target in index()["targets"]} == {
            CI,
            DEPLOY,
            FILES,
            IMAGES,
            LOOKUP,
            EXEC,
        }
        drafts = [
            target
            for target in index()["targets"]
            if target["role-arn"] in (FILES, IMAGES, LOOKUP, EXEC)
        ]
        assert [draft["has-changes"] for draft in drafts] == [False] * 4

    def test_discover_begins_with_one_role_and_no_config(self, trail: Path) -> None:
        run = leastpriv(
            "propose", "--role-arn", CI, "--policy-file", "iam/ci.json", "--trails", str(trail),
            "--discover", "--output-dir", "out",
        )  # fmt: skip
        assert run.code == 0, run.err
        text = Path("out/first-files/leastpriv.yml").read_text()
        assert text.count("role-arn:") == 6
        assert proposed(trail, text).code == 0

    def test_what_fails_of_one_target_ends_no_other_and_the_worst_code_counts(
        self, place: Path, trail: Path
    ) -> None:
        put(place, {"iam/broken.json": "{"})
        three = (*TWO, entry(EXEC, "iam/broken.json"))
        run = proposed(trail, config(three), "--mode", "check")
        assert run.code == 2
        assert [target["exit-code"] for target in index()["targets"]] == [3, 3, 2]
        assert "iam/broken.json" in run.out
        assert "**Failed**" in run.out
        assert proposed(trail, config(TWO), "--mode", "check").code == 3

    def test_a_pattern_matches_active_roles_that_no_entry_names(self, trail: Path) -> None:
        like = "arn:aws:iam::111122223333:role/cdk-*"
        run = proposed(trail, config((*TWO, entry(like, "iam/{name}.json"))))
        assert run.code == 0, run.err
        assert [target["role-arn"] for target in index()["targets"]] == [
            CI,
            DEPLOY,
            EXEC,
            FILES,
            IMAGES,
            LOOKUP,
        ]
        assert "Without a committed policy" not in run.out

    def test_a_role_of_a_pattern_fails_where_another_target_has_its_file(self, trail: Path) -> None:
        taken = f"iam/{DEPLOY.rpartition('/')[2]}.json"
        like = entry("arn:aws:iam::111122223333:role/cdk-*", "iam/{name}.json")
        run = proposed(trail, config((entry(CI, taken), like), follow=False))
        assert run.code == 2
        assert f"{DEPLOY} would have the policy-file of another target" in run.err
        roles = {target["role-arn"] for target in index()["targets"] if target["exit-code"] == 0}
        assert roles == {CI, EXEC, FILES, IMAGES, LOOKUP}

    def test_a_pattern_without_a_match_is_reported(self, trail: Path) -> None:
        like = entry("arn:aws:iam::111122223333:role/nobody-*", "iam/{name}.json")
        run = proposed(trail, config((*TWO, like)))
        assert run.code == 0
        assert "matches no role that was read" in run.err
        alone = proposed(trail, config((like,)))
        assert alone.out.startswith("# Least privilege: no role\n")
        assert (
            alone.code,
            "No calls by role/nobody-*. Roles and users in this trail: " in alone.err,
        ) == (1, True)
        assert proposed(trail, config((like,)), "--when-no-calls", "report").code == 0

    def test_one_scan_reads_all_accounts_and_counts_what_each_covers(
        self, place: Path, trail: Path
    ) -> None:
        """What one account's trail records says nothing of another's: nothing of a stranger's
        policy goes for it.
        """
        other_account = CI.replace("111122223333", "444455556666").replace("ci-deploy", "other")
        put(place, {"iam/other.json": policy("sqs:CreateQueue")})
        run = proposed(trail, config((*TWO, entry(other_account, "iam/other.json")), follow=False))
        assert len(re.findall("^Read ", run.err, re.MULTILINE)) == 1
        assert index()["targets"][2]["has-changes"] is False

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            (("--role-arn", CI), "which lists targets, and --role-arn is set"),
            (("--branch", "x"), "--branch cannot be combined with --config"),
            (("--mode", "review"), "for one policy file"),
        ],
    )
    def test_an_input_of_one_target_next_to_the_config_is_bad_input(
        self, trail: Path, more: tuple[str, ...], said: str
    ) -> None:
        run = proposed(trail, config(TWO), *more)
        assert (run.code, said in run.err) == (2, True), run.err

    def test_discover_without_an_output_folder_is_bad_input(self, trail: Path) -> None:
        run = leastpriv(
            "propose",
            "--role-arn",
            CI,
            "--policy-file",
            "iam/ci.json",
            "--trails",
            str(trail),
            "--discover",
        )
        assert (run.code, "--output-dir" in run.err) == (2, True)


class TestInAGitRepository:
    @pytest.mark.parametrize(
        "options", [("--role-arn", CI, "--policy-file", "ci.json"), ("--config", "own.yml")]
    )
    def test_first_files_are_proposed_from_the_root_of_the_repository_alone(
        self, place: Path, trail: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
    ) -> None:
        """Their config names files from there, where a job reads it: below it the names would lead
        elsewhere.
        """
        self.git("init", "-q")
        put(place, {"iam/own.yml": config((entry(CI, "ci.json"),))})
        self.git("add", ".")
        self.git("commit", "-qm", "first")
        monkeypatch.chdir(place / "iam")
        run = leastpriv(
            "propose", *options, "--trails", str(trail), "--discover", "--mode", "pull-request"
        )
        assert (run.code, "from the root of the repository" in run.err) == (2, True), run.err
        assert "leastpriv/first-files" not in self.git("branch")

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=Kim", "-c", "user.email=kim@example.com"]
        return subprocess.run(
            ["git", *identity, *arguments], check=True, capture_output=True, text=True
        ).stdout

    def test_a_group_and_first_files_are_a_branch_each(self, place: Path, trail: Path) -> None:
        put(place, {"leastpriv.yml": config(GROUPED, discover=True)})
        self.git("init", "-q", "-b", "main")
        self.git("add", "iam", "leastpriv.yml")
        self.git("commit", "-q", "-m", "Begin")
        regions = ("--aws-regions", "eu-west-1")
        command = (
            "propose",
            "--config",
            "leastpriv.yml",
            "--trails",
            str(trail),
            *regions,
            "--mode",
            "pull-request",
        )
        run = leastpriv(*command)
        assert run.code == 0, run.err
        changed = self.git("diff", "--name-only", "main", "leastpriv/cdk").split()
        assert changed == ["iam/ci.json", "iam/deploy.json"]
        first = self.git("diff", "--name-status", "main", "leastpriv/first-files").splitlines()
        assert [line[0] for line in first] == ["A", "A", "A", "A", "M"]
        assert first[-1].endswith("leastpriv.yml")
        heads = [
            self.git("rev-parse", branch) for branch in ("leastpriv/cdk", "leastpriv/first-files")
        ]
        assert leastpriv(*command).code == 0
        assert heads == [
            self.git("rev-parse", branch) for branch in ("leastpriv/cdk", "leastpriv/first-files")
        ]


class TestHostileEvidence:
    def records(self, names: list[str]) -> list[Mapping[str, Any]]:
        roles = [f"arn:aws:iam::111122223333:role/{name}" for name in names]
        calls = [record(CI, "17650000000", FIRST, login(role)) for role in roles]
        return calls + [
            record(role, "x", FIRST, {"event": "sqs:CreateQueue", "parameters": {"queueName": "q"}})
            for role in roles
        ]

    def test_forged_names_write_no_file_outside_and_no_markup(self, place: Path) -> None:
        names = ["..", ".", ".git", "a@b", "x=y,z", "..@etc", "README.md", "-rf"]
        write_trail(place / "forged", self.records(names))
        put(place, {"leastpriv.yml": config(TWO)})
        before, beside = set(place.rglob("*")), set(place.parent.iterdir())
        run = leastpriv(*FORGED, "--discover")
        assert run.code == 0, run.err
        new_paths = set(place.rglob("*")) - before
        assert all(place / "out" in path.parents or path == place / "out" for path in new_paths)
        assert set(place.parent.iterdir()) == beside
        first_files = {
            path.relative_to(place / "out/first-files").as_posix()
            for path in new_paths
            if place / "out/first-files" in path.parents and path.is_file()
        }
        assert {f"iam/{name}.json" for name in names} <= first_files
        (drawn,) = [text for text in read(run.out).html if text.startswith("flowchart")]
        line = re.compile(r'flowchart LR|    n\d+\(?\["[^"]*"\]\)?|    n\d+ -->\|"[^"]*"\| n\d+')
        assert all(line.fullmatch(drawn_line) for drawn_line in drawn.splitlines())
        assert "@" not in drawn

    def test_names_that_a_pattern_takes_in_make_no_folder_outside(self, place: Path) -> None:
        names = ["..", ".", ".git", "CI", "ci", "deploy"]
        write_trail(place / "forged", self.records(names))
        like = entry("arn:aws:iam::111122223333:role/*", "iam/first/{name}.json")
        put(place, {"leastpriv.yml": config((*TWO, like), follow=False)})
        beside = set(place.parent.iterdir())
        run = leastpriv(*FORGED)
        assert run.code == 0, run.err
        assert set(place.parent.iterdir()) == beside
        folders = [target["folder"] for target in index()["targets"]]
        assert len({folder.lower() for folder in folders}) == len(folders) == 8
        assert {path.name for path in (place / "out").iterdir()} == {*folders, "proposal.json"}
        assert {"_..", "_.", "_.git"} <= set(folders)

    def test_a_huge_fan_out_and_a_long_way_are_bounded(self, place: Path) -> None:
        many = [f"made-up-{number:03}" for number in range(300)]
        roles = [f"arn:aws:iam::111122223333:role/{name}" for name in many]
        logins = [
            record(role, "x", FIRST, login(next_role))
            for role, next_role in zip(roles, [*roles[1:], CI], strict=True)
        ]
        write_trail(place / "forged", [*self.records(many), *logins])
        put(place, {"leastpriv.yml": config(TWO)})
        run = leastpriv(*FORGED, "--discover")
        assert run.code == 0, run.err
        assert len(index()["chain"]["unwritten"]) <= 25
        assert len(list(Path("out/first-files/iam").iterdir())) <= 25
        assert len(re.findall("^Read ", run.err, re.MULTILINE)) <= 6
        assert index()["chain"]["left_out"] > 0

    def test_a_pattern_takes_all_roles_that_match(self, place: Path) -> None:
        write_trail(
            place / "forged", self.records([f"made-up-{number:03}" for number in range(60)])
        )
        like = entry("arn:aws:iam::111122223333:role/made-*", "iam/{name}.json")
        put(place, {"leastpriv.yml": config((*TWO, like), follow=False)})
        run = leastpriv(*FORGED)
        assert run.code == 0
        assert len(index()["targets"]) == 2 + 60


@pytest.fixture
def job(tmp_path: Path, trail: Path) -> Job:
    """A job whose workspace has the config, the policies and the trail."""
    job = Job(tmp_path)
    put(job.workspace, {**FILES_OF_TWO, CONFIG: config(TWO)})
    shutil.copytree(trail, job.workspace / "chain")
    return job


def step(job: Job, **inputs: str) -> Step:
    return job.step(
        config=CONFIG,
        role_arn="",
        policy_file="",
        trails="chain",
        aws_regions="eu-west-1",
        **inputs,
    )


class TestAsAStep:
    def test_outputs_speak_of_all_targets_and_of_each(self, job: Job) -> None:
        run = step(job)
        assert run.code == 0, run.log
        assert run.outputs["has-changes"] == "true"
        assert "sqs:CreateQueue" in json.loads(run.outputs["removed-actions"])
        assert run.outputs["policy"] == ""
        targets = json.loads(run.outputs["targets"])
        assert [(target["role-arn"], target["exit-code"]) for target in targets] == [
            (CI, 0),
            (DEPLOY, 0),
        ]
        assert Path(run.outputs["proposal-file"]).name == "proposal.json"
        assert run.summary.startswith("## iam(2 roles): ")
        assert "```mermaid" in run.summary

    def test_check_is_three(self, job: Job) -> None:
        assert step(job, mode="check").code == 3

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (None, "does not exist"),
            ("targets: [", "is no YAML"),
            ("targets: []", "lists no targets"),
            ("- x", "holds no mapping"),
        ],
    )
    def test_a_config_that_is_none_is_bad_input(
        self, job: Job, text: str | None, said: str
    ) -> None:
        (job.workspace / CONFIG).unlink()
        if text is not None:
            put(job.workspace, {CONFIG: text})
        run = step(job)
        assert run.code == 2
        assert said in run.annotations("error")[0]

    def test_a_config_outside_the_repository_is_bad_input(self, job: Job) -> None:
        run = job.step(config="../x.yml", role_arn="", policy_file="", trails="chain")
        assert (run.code, "leads out of the repository" in run.annotations("error")[0]) == (
            2,
            True,
        )

    def test_a_policy_file_outside_the_repository_is_bad_input(self, job: Job) -> None:
        put(job.workspace, {CONFIG: config((entry(CI, "../ci.json"),))})
        run = step(job)
        assert (run.code, "leads out of the repository" in run.annotations("error")[0]) == (
            2,
            True,
        )


@pytest.fixture
def hub() -> Iterator[FakeGitHub]:
    """The repository on GitHub, with config and policies."""
    files = {**FILES_OF_TWO, CONFIG: config(TWO)}
    with FakeGitHub("octo-org/shop", files=files) as fake, without_sockets(fake):
        fake.add_user("kim", "write")
        yield fake


def pulls(hub: FakeGitHub) -> list[tuple[int, str, str, str]]:
    """Number, head, state and title of every pull request."""
    return [
        (issue.number, pull.head, issue.state, issue.title) for issue, pull in hub.world.pulls()
    ]


def first_files(hub: FakeGitHub) -> list[tuple[int, str]]:
    """Number and title of the open pull requests with first files."""
    return [
        (number, title)
        for number, head, state, title in pulls(hub)
        if (head, state) == ("leastpriv/first-files", "open")
    ]


def on_github(job: Job, hub: FakeGitHub, **inputs: str) -> Step:
    job.github = hub
    return step(job, mode="pull-request", github_token=hub.token, **inputs)


GROUPED = tuple({**entry_of_target, "group": "cdk"} for entry_of_target in TWO)


class TestOnGitHub:
    def test_each_target_has_its_own_pull_request(self, job: Job, hub: FakeGitHub) -> None:
        run = on_github(job, hub)
        assert run.code == 0, run.log
        numbers = run.outputs["pull-request-number"].splitlines()
        assert len(numbers) == 2
        assert run.outputs["pull-request-operation"] == "created"
        assert {head for _, head, _, _ in pulls(hub)} == {
            "leastpriv/ci-deploy",
            f"leastpriv/{DEPLOY.split('/')[1]}",
        }
        assert all("```mermaid" in (hub.pull(int(number)).body or "") for number in numbers)
        again = on_github(job, hub)
        assert (again.code, again.outputs["pull-request-operation"]) == (0, "none")
        assert hub.violations == []

    def test_a_group_shares_one_pull_request_for_its_whole_life(
        self, job: Job, hub: FakeGitHub
    ) -> None:
        hub.commit_as("kim", "main", {CONFIG: config(GROUPED)})
        run = on_github(job, hub)
        assert run.code == 0, run.log
        pull = hub.pull(int(run.outputs["pull-request-number"]))
        assert re.fullmatch(r"iam\(cdk, 2 roles\): \d+ -> \d+ actions, \d+ narrowed", pull.title)
        for name in FILES_OF_TWO:
            assert hub.file(name, "leastpriv/cdk") != hub.file(name, "main")
        assert on_github(job, hub).outputs["pull-request-operation"] == "none"
        merged = {name: hub.file(name, "leastpriv/cdk").decode() for name in FILES_OF_TWO}
        hub.commit_as("kim", "main", {"iam/ci.json": merged["iam/ci.json"]})
        updated = on_github(job, hub)
        assert updated.outputs["pull-request-operation"] == "updated", updated.log
        assert hub.pull(pull.number).title.startswith("iam(cdk, 2 roles): ")
        hub.commit_as("kim", "main", {"iam/deploy.json": merged["iam/deploy.json"]})
        closed = on_github(job, hub)
        assert closed.outputs["pull-request-operation"] == "closed", closed.log
        assert hub.violations == []

    def test_closing_a_groups_pull_request_declines_the_changes_of_each_of_its_targets(
        self, job: Job, hub: FakeGitHub
    ) -> None:
        hub.commit_as("kim", "main", {CONFIG: config(GROUPED)})
        first = on_github(job, hub)
        hub.close_pull(int(first.outputs["pull-request-number"]), "kim")
        second = on_github(job, hub)
        assert (second.code, second.outputs["has-changes"]) == (0, "false"), second.log

    def test_a_groups_branch_that_a_person_worked_on_is_left_alone(
        self, job: Job, hub: FakeGitHub
    ) -> None:
        hub.commit_as("kim", "main", {CONFIG: config(GROUPED)})
        on_github(job, hub)
        hub.commit_as(
            "kim",
            "leastpriv/cdk",
            {"iam/ci.json": policy("sts:AssumeRole", "sqs:CreateQueue", "sqs:TagQueue")},
        )
        hub.commit_as("kim", "main", {"iam/ci.json": policy("sts:AssumeRole", "sqs:*")})
        head = hub.head("leastpriv/cdk")
        assert on_github(job, hub).outputs["pull-request-operation"] == "none"
        assert hub.head("leastpriv/cdk") == head

    def test_what_a_chained_session_did_is_trusted_as_the_run_that_took_it(
        self, job: Job, hub: FakeGitHub
    ) -> None:
        """The session of the CDK names no run; the login that handed out its key does."""
        lacking = {"iam/deploy.json": policy("cloudformation:ExecuteChangeSet", "iam:PassRole")}
        hub.commit_as("kim", "main", lacking)
        hub.commit_as("kim", "feature/x", {"a.txt": "x"})
        for number in range(8):
            hub.add_run(
                17650000000 + number, "feature/x", "push", created_at=f"{FIRST:%Y-%m-%dT%H:%M:%SZ}"
            )
        added = json.loads(on_github(job, hub).outputs["targets"])[1]["added-actions"]
        assert added == []
        for number in range(8):
            hub.add_run(
                17650000000 + number, "main", "push", created_at=f"{FIRST:%Y-%m-%dT%H:%M:%SZ}"
            )
        run = on_github(job, hub)
        assert json.loads(run.outputs["targets"])[1]["added-actions"] == [
            "cloudformation:CreateChangeSet"
        ]
        assert "branch unknown" not in run.summary

    def test_what_fails_for_one_target_leaves_the_others_their_pull_requests(
        self, job: Job, hub: FakeGitHub
    ) -> None:
        hub.commit_as("kim", "main", {"iam/ci.json": "{"})
        run = on_github(job, hub)
        assert run.code == 2
        assert len(run.outputs["pull-request-number"].splitlines()) == 1
        assert [load["exit-code"] for load in json.loads(run.outputs["targets"])] == [2, 0]

    def test_drift_of_each_target_has_its_own_issue(self, job: Job, hub: FakeGitHub) -> None:
        job.github = hub
        token = hub.token_for("github-actions[bot]", RIGHTS)
        run = step(job, mode="check", github_token=token, drift_report="issue")
        assert run.code == 0, run.log
        issues = [issue for issue in hub.world.issues.values() if issue.pull is None]
        assert len(issues) == 2
        assert run.summary.count("### ") > 2

    def test_first_files_come_in_one_pull_request_and_once_declined_stay_away(
        self, job: Job, hub: FakeGitHub
    ) -> None:
        hub.commit_as("kim", "main", {CONFIG: config(TWO, discover=True)})
        run = on_github(job, hub, unknown_refs="mark", lifecycle="off")
        assert run.code == 0, run.log
        ((number, title),) = first_files(hub)
        assert title == "First least-privilege policies for 4 further roles"
        text = hub.file(CONFIG, "leastpriv/first-files").decode()
        assert text.count("role-arn") == 6
        draft = json.loads(hub.file(f"iam/{EXEC.split('/')[1]}.json", "leastpriv/first-files"))
        assert {action for statement in draft["Statement"] for action in statement["Action"]} == {
            "lambda:UpdateFunctionCode",
            "sqs:CreateQueue",
        }
        assert on_github(job, hub, unknown_refs="mark").code == 0
        assert first_files(hub) == [(number, title)]
        hub.close_pull(number, "kim")
        on_github(job, hub, unknown_refs="mark")
        assert first_files(hub) == []
        assert hub.violations == []
