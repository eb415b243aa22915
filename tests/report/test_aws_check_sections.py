from __future__ import annotations

from leastpriv.evidence.models import DeclaredNeeds
from leastpriv.models import Basis
from leastpriv.proposal.models import CheckFinding, CheckResult, Severity
from leastpriv.proposal.suggestions import SuggestedAction
from leastpriv.report.changes import statements_to_copy, suggested_actions_section
from leastpriv.report.proof import checks_section, disagreements
from tests.fakes.markdown import read, table_widths

ROLE = "arn:aws:iam::111122223333:role/ci-deploy"
GUIDE = "https://docs.aws.amazon.com/IAM/latest/UserGuide/x.html#pass-role"
HOSTILE = "a|b `x` @everyone <img src=x> [l](http://evil.example) \u202e ::error::x\n# h"
DISAGREES = CheckFinding(
    Severity.DISAGREES,
    "SIMULATION",
    "sqs:SendMessage on arn:aws:sqs:::q: allowed, not allowed.",
    "p.json",
)
ERROR = CheckFinding(
    Severity.ERROR,
    "INVALID_ACTION",
    "The action x does not exist.",
    "p.json",
    7,
    GUIDE,
    in_committed_policy=True,
)


def test_a_disagreement_is_a_warning_with_operation_and_reason() -> None:
    text = "\n".join(disagreements([CheckResult("SimulateCustomPolicy", 3, (DISAGREES,))]))
    assert text.startswith("> [!CAUTION]")
    assert "`SimulateCustomPolicy`" in text
    assert "`arn:aws:sqs:::q`" in text


def test_without_a_disagreement_there_is_no_warning() -> None:
    assert list(disagreements([CheckResult("ValidatePolicy", 1, (ERROR,))])) == []


def test_findings_are_listed_by_line_with_their_page() -> None:
    text = "\n".join(
        checks_section(
            [CheckResult("ValidatePolicy", 1, (ERROR,)), CheckResult("SimulateCustomPolicy", 14)]
        )
    )
    assert f"| `p.json:7` | **error** [`INVALID_ACTION`]({GUIDE}) |" in text
    assert "so it is in the committed policy" in text
    assert "`ValidatePolicy` judged 1 policy: 1 remark." in text
    assert "`SimulateCustomPolicy` judged 14 actions on resources: no remark." in text


def test_a_paid_check_counts_its_requests() -> None:
    text = "\n".join(checks_section([CheckResult("CheckAccessNotGranted", 2)]))
    assert "`CheckAccessNotGranted` answered 2 paid requests: no remark." in text


def test_a_check_that_did_not_run_says_why() -> None:
    text = "\n".join(
        checks_section(
            [
                CheckResult(
                    "ValidatePolicy",
                    0,
                    failure="AWS denied x.",
                    skipped_sources=("A part was left.",),
                )
            ]
        )
    )
    assert "could not run. AWS denied x." in text
    assert "A part was left." in text


def test_without_a_check_there_is_no_section() -> None:
    assert list(checks_section([])) == []
    assert list(suggested_actions_section([], DeclaredNeeds())) == []


def test_hostile_text_of_a_finding_is_inert() -> None:
    remarks = tuple(
        CheckFinding(weight, HOSTILE, HOSTILE, HOSTILE, 1, "javascript:alert(1)")
        for weight in (Severity.WARNING, Severity.DISAGREES)
    )
    checks = [CheckResult("ValidatePolicy", 1, remarks, (HOSTILE,), HOSTILE)]
    offers = [SuggestedAction(HOSTILE, Basis.LIFECYCLE, HOSTILE, (HOSTILE,))]
    for text in (
        "\n\n".join(checks_section(checks)),
        "\n\n".join(disagreements(checks)),
        "\n\n".join(suggested_actions_section(offers, DeclaredNeeds())),
    ):
        page = read(text)
        assert page.acts() == []
        assert all(len(widths) == 1 for widths in table_widths(text))


def test_suggested_actions_have_a_reason_and_statements_to_copy() -> None:
    queue = "arn:aws:sqs:eu-west-1:111122223333:orders"
    offers = [
        SuggestedAction("sqs:DeleteQueue", Basis.LIFECYCLE, "sqs:CreateQueue", (queue,)),
        SuggestedAction("sqs:TagQueue", Basis.LIFECYCLE, "sqs:CreateQueue", (queue,)),
        SuggestedAction("iam:PassRole", Basis.DECLARED, "AWS::Lambda::Function"),
    ]
    text = "\n".join(suggested_actions_section(offers, DeclaredNeeds(unread=("Acme::Mail::Box",))))
    assert "- `sqs:DeleteQueue`, `sqs:TagQueue`: counterpart of `sqs:CreateQueue`." in text
    assert "- `iam:PassRole`: declared by `AWS::Lambda::Function`, for a security review." in text
    assert "No table lists what `Acme::Mail::Box` of the templates and plans need." in text
    assert "`proposal.json` has statements to copy" in text
    assert statements_to_copy(
        [*offers, SuggestedAction("iam:PassRole", Basis.LIFECYCLE, "x:Y", (ROLE,))]
    ) == [{"Effect": "Allow", "Action": ["sqs:DeleteQueue", "sqs:TagQueue"], "Resource": [queue]}]


def test_very_many_suggestions_are_truncated_visibly() -> None:
    offers = [
        SuggestedAction(f"sqs:A{number}", Basis.DECLARED, f"sqs:B{number}") for number in range(40)
    ]
    assert "- and 38 more." in "\n".join(suggested_actions_section(offers, DeclaredNeeds()))
