"""The flow in one screen: evidence -> usage -> difference -> proposal -> proof -> report -> pull request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from leastpriv.diff.compare import compare
from leastpriv.diff.json_patch import json_patch
from leastpriv.errors import InputError, LeastprivError, PolicyFileError
from leastpriv.evidence.cloudtrail.trail_files import ReadStatistics, SeenEvents, TrailFolder
from leastpriv.evidence.read import read_evidence
from leastpriv.evidence.usage import Coverage
from leastpriv.policy.document import Document, parse
from leastpriv.proposal.fingerprint import fingerprint
from leastpriv.proposal.proof import prove
from leastpriv.proposal.propose import propose
from leastpriv.pull_request.git import LocalRepository
from leastpriv.pull_request.local import Publication, Published, publish
from leastpriv.report.proposal_json import proposal_json
from leastpriv.report.pull_request_body import body, title
from leastpriv.report.subject import Subject
from leastpriv.settings import Mode, Settings


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where the names in the settings lead."""

    repository: Path
    """Root of the repository, for the mode pull-request."""
    policy_path: str
    """The policy file relative to the repository's root, with `/`."""
    policy_file: Path
    attached: tuple[Path, ...]
    trails: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What one run found and made."""

    subject: Subject
    title: str
    body: str
    published: Published | None

    @property
    def has_changes(self) -> bool:
        """Whether the proposal differs from the committed policy."""
        return bool(self.subject.draft.changes)


Say = Callable[[str], None]


def run(settings: Settings, place: Workplace, now: datetime, say: Say, run_url: str = "") -> Result:
    """Makes a proposal for one role and one policy file, and publishes it in the mode pull-request.

    Raises:
        InputError: an input leads to nothing readable.
        LeastprivError: the proposal fails its own proof, or cannot be published.
    """
    repository = LocalRepository.open(place.repository) if settings.mode is Mode.PULL_REQUEST else None
    base = repository.head_of(settings.base)[1] if repository else ""
    committed = _committed(place, repository, base)
    attached = [parse(_read(path, "also-attached"), str(path)) for path in place.attached]
    seen = SeenEvents()
    sources = [TrailFolder(path, seen=seen) for path in place.trails]
    say(f"Reading {', '.join(str(path) for path in place.trails)} for {settings.principal.arn}")
    found = read_evidence(
        sources,
        settings.window,
        settings.principal,
        lambda calls: say(f"… {calls:,} calls of the role so far"),
    )
    evidence = replace(found[settings.principal.arn], coverage=_coverage([source.statistics for source in sources]))
    files = sum(source.statistics.files for source in sources)
    records = sum(source.statistics.records for source in sources)
    say(f"Read {records:,} records in {files:,} files: {evidence.counts.calls:,} calls in {len(evidence.runs)} runs")
    difference = compare(committed, attached, evidence)
    draft = propose(committed, difference, evidence, settings.options)
    proof = prove(draft, attached, evidence)
    scope = f"{settings.principal.arn} {place.policy_path}"
    subject = Subject(
        principal=settings.principal.arn,
        policy_file=place.policy_path,
        draft=draft,
        difference=difference,
        proof=proof,
        evidence=evidence,
        fingerprint=fingerprint(scope, committed.to_bytes() if committed else None, draft.content),
        attached=tuple(settings.also_attached),
        files=files,
        records=records,
        run_url=run_url,
    )
    _insist(subject)
    name, text = title(subject), body(subject)
    say(name)
    published = _publish(settings, base, subject, name, repository, now) if repository else None
    return Result(subject, name, text, published)


def write_files(result: Result, folder: Path) -> Path:
    """Writes `policy.json`, `proposal.json`, `patch.json` and `pull-request.md`, each whole or not at all.

    Returns the path of `proposal.json`. Raises LeastprivError where the folder cannot be written.
    """
    subject = result.subject
    contents = {
        "pull-request.md": f"# {result.title}\n\n{result.body}".encode(),
        "proposal.json": proposal_json(subject, result.title, result.body).encode(),
    }
    if subject.draft.changes or subject.draft.committed:
        contents["policy.json"] = subject.draft.content
        contents["patch.json"] = json_patch(subject.draft.committed, subject.draft.document).encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            half = folder / f".{name}.part"
            half.write_bytes(content)
            half.replace(folder / name)
    except OSError as error:
        raise LeastprivError(f"The folder {folder} cannot be written: {error.strerror}.") from error
    return folder / "proposal.json"


def _coverage(figures: Sequence[ReadStatistics]) -> Coverage:
    """What all sources together show of anybody."""
    spans: dict[str, tuple[datetime, datetime]] = {}
    for each in figures:
        for region, (first, last) in each.spans.items():
            known = spans.get(region, (first, last))
            spans[region] = (min(known[0], first), max(known[1], last))
    return Coverage(
        regions={region: last - first for region, (first, last) in sorted(spans.items())},
        reads=any(each.kinds["management-read"] for each in figures),
        sources=frozenset(source for each in figures for source in each.sources),
    )


def _committed(place: Workplace, repository: LocalRepository | None, base: str) -> Document | None:
    """The policy in the commit `base` where a branch is made from it, else the file on disk, if there is one."""
    if repository:
        raw = repository.read(base, place.policy_path)
    else:
        raw = _read(place.policy_file, "policy-file") if place.policy_file.exists() else None
    return None if raw is None else _complete(parse(raw, place.policy_path))


def _complete(document: Document) -> Document:
    """A policy that IAM would take: nothing can be proposed for one that nobody can have attached."""
    for statement in document.statements:
        if not (statement.resources or statement.not_resources) or not (statement.actions or statement.not_actions):
            raise PolicyFileError(
                f"{document.where}: the statement on line {statement.line} lacks its Action or its Resource, which IAM "
                "refuses; add it."
            )
    return document


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"The input {name} names {str(path)!r}, which cannot be read: {error.strerror}.") from error


def _insist(subject: Subject) -> None:
    """A proposal that fails its own proof is a defect of the product and never leaves it."""
    proof = subject.proof
    if proof.new_access or proof.broken:
        found: Sequence[str] = [*proof.new_access, *proof.broken]
        raise LeastprivError(
            f"The proposal failed its own proof and was thrown away ({'; '.join(found[:3])}): "
            "please report this as a defect."
        )


def _publish(
    settings: Settings, base: str, subject: Subject, name: str, repository: LocalRepository, now: datetime
) -> Published:
    publication = Publication(
        branch=settings.branch,
        base=settings.base,
        path=subject.policy_file,
        content=subject.draft.content if subject.draft.changes or subject.draft.committed else None,
        title=name,
        body="The pull request's text has the evidence for each change and the replay of the recorded calls.",
        fingerprint=subject.fingerprint,
        expected_base=base,
    )
    return publish(repository, publication, now)
