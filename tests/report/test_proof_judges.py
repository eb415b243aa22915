from __future__ import annotations

from leastpriv.evidence.aws_findings.models import Declared
from leastpriv.models import Basis
from leastpriv.proposal.models import Judgement, Remark, Weight
from leastpriv.proposal.suggestions import Offer
from leastpriv.report.changes import counterparts, lifecycle_offers, statements
from leastpriv.report.proof import disagreements, judged
from tests.fakes.markdown import read, table_widths

ROLE = "arn:aws:iam::111122223333:role/ci-deploy"
GUIDE = "https://docs.aws.amazon.com/IAM/latest/UserGuide/x.html#pass-role"
HOSTILE = "a|b `x` @everyone <img src=x> [l](http://evil.example) \u202e ::error::x\n# h"
DISAGREES = Remark(
    Weight.DISAGREES, "SIMULATION", "sqs:SendMessage on arn:aws:sqs:::q: allowed, not allowed.", "p.json"
)
ERROR = Remark(Weight.ERROR, "INVALID_ACTION", "The action x does not exist.", "p.json", 7, GUIDE, already=True)


def test_a_disagreement_is_a_warning_that_names_judge_and_reason() -> None:
    text = "\n".join(disagreements([Judgement("SimulateCustomPolicy", 3, (DISAGREES,))]))
    assert text.startswith("> [!CAUTION]")
    assert "`SimulateCustomPolicy`" in text
    assert "`arn:aws:sqs:::q`" in text


def test_without_a_disagreement_there_is_no_warning() -> None:
    assert list(disagreements([Judgement("ValidatePolicy", 1, (ERROR,))])) == []


def test_findings_stand_by_line_with_their_page() -> None:
    text = "\n".join(judged([Judgement("ValidatePolicy", 1, (ERROR,)), Judgement("SimulateCustomPolicy", 14)]))
    assert f"| `p.json:7` | **error** [`INVALID_ACTION`]({GUIDE}) |" in text
    assert "so it is in the committed policy" in text
    assert "`ValidatePolicy` judged 1 policy: 1 remark." in text
    assert "`SimulateCustomPolicy` judged 14 actions on resources: nothing to say." in text


def test_a_paid_judge_counts_its_requests() -> None:
    text = "\n".join(judged([Judgement("CheckAccessNotGranted", 2)]))
    assert "`CheckAccessNotGranted` answered 2 paid requests: nothing to say." in text


def test_a_judge_that_could_not_be_asked_says_why() -> None:
    text = "\n".join(judged([Judgement("ValidatePolicy", 0, failure="AWS refused x.", unasked=("A part was left.",))]))
    assert "could not be asked. AWS refused x." in text
    assert "A part was left." in text


def test_nobody_was_asked_no_section() -> None:
    assert list(judged([])) == []
    assert list(lifecycle_offers([], Declared())) == []


def test_hostile_text_of_a_finding_does_nothing_but_to_be_read() -> None:
    remarks = tuple(
        Remark(weight, HOSTILE, HOSTILE, HOSTILE, 1, "javascript:alert(1)")
        for weight in (Weight.WARNING, Weight.DISAGREES)
    )
    found = [Judgement("ValidatePolicy", 1, remarks, (HOSTILE,), HOSTILE)]
    offers = [Offer(HOSTILE, Basis.SIBLING, HOSTILE, (HOSTILE,))]
    for text in (
        "\n\n".join(judged(found)),
        "\n\n".join(disagreements(found)),
        "\n\n".join(lifecycle_offers(offers, Declared())),
        *counterparts(offers, offers),
    ):
        page = read(text)
        assert page.acts() == []
        assert all(len(widths) == 1 for widths in table_widths(text))


def test_what_is_offered_names_its_reason_and_where_it_may_be_copied_from() -> None:
    queue = "arn:aws:sqs:eu-west-1:111122223333:orders"
    offers = [
        Offer("sqs:DeleteQueue", Basis.SIBLING, "sqs:CreateQueue", (queue,)),
        Offer("sqs:TagQueue", Basis.SIBLING, "sqs:CreateQueue", (queue,)),
        Offer("iam:PassRole", Basis.DECLARED, "AWS::Lambda::Function"),
    ]
    text = "\n".join(lifecycle_offers(offers, Declared(failure="AWS refused cloudformation:DescribeType.")))
    siblings = "\n".join(counterparts((), offers[:2]))
    assert f"| `sqs:CreateQueue` |  | `sqs:DeleteQueue`, `sqs:TagQueue` on `{queue}` |" in siblings
    assert "sqs:DeleteQueue" not in text
    assert "- `iam:PassRole`: declared by `AWS::Lambda::Function` (for a security reviewer)." in text
    assert "`cloudformation:DescribeType`" in text
    assert "statements to copy for those that show a resource here and are not for a security reviewer" in text
    assert statements([*offers, Offer("iam:PassRole", Basis.SIBLING, "x:Y", (ROLE,))]) == [
        {"Effect": "Allow", "Action": ["sqs:DeleteQueue", "sqs:TagQueue"], "Resource": [queue]}
    ]


def test_very_many_offers_are_cut_and_say_so() -> None:
    offers = [Offer(f"sqs:A{number}", Basis.DECLARED, f"sqs:B{number}") for number in range(40)]
    assert "- and 28 more, in `proposal.json`." in "\n".join(lifecycle_offers(offers, Declared()))
    siblings = [Offer(f"sqs:A{number}", Basis.SIBLING, f"sqs:B{number:02}") for number in range(40)]
    assert "| and 20 more, in `proposal.json` | | |" in "\n".join(counterparts(siblings, ()))


def test_counterparts_that_stay_stand_beside_those_that_are_offered() -> None:
    kept = [Offer("sqs:DeleteQueue", Basis.SIBLING, "sqs:CreateQueue")]
    offered = [Offer("iam:DeleteRole", Basis.SIBLING, "iam:CreateRole", (ROLE,))]
    text = "\n".join(counterparts(kept, offered))
    assert text.startswith("### Lifecycle counterparts")
    assert "| `sqs:CreateQueue` | `sqs:DeleteQueue` |  |" in text
    assert f"| `iam:CreateRole` |  | `iam:DeleteRole` † on `{ROLE}` |" in text
    assert list(counterparts((), ())) == []
