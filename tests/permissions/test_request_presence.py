"""Which parameters a request has: the little language of the fact tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.models import Call, Outcome
from leastpriv.permissions.request import Presence, Reads, key_in, read_request
from tests.fakes.calls import a_call
from tests.fakes.tables import table


@pytest.mark.parametrize(
    ("parameter", "parameters", "answer"),
    [
        ("versionId", {"versionId": "v"}, True),
        ("versionId", {"VERSIONID": "v"}, True),
        ("versionId", {"a": [{"versionId": "v"}]}, True),
        ("versionId", {"versionId": None}, True),
        ("versionId", {"a": "versionId"}, False),
        ("layers", {"environment": {"variables": {"layers": "x"}}}, False),
        ("locked=true", {"locked": True}, True),
        ("locked=true", {"locked": "TRUE"}, True),
        ("locked=true", {"locked": ["true"]}, True),
        ("locked=true", {"locked": False}, False),
        ("locked=true", {}, False),
        ("acl!=private", {"acl": "public-read"}, True),
        ("acl!=private", {"acl": "private"}, False),
        ("acl!=private", {}, False),
        ("source?versionId", {"source": "/b/k?versionId=3"}, True),
        ("source?versionId", {"source": "/b/k?partNumber=1&versionId=3"}, True),
        ("source?versionId", {"source": "/b/versionId"}, False),
        ("!stackName", {}, True),
        ("!stackName", {"stackName": "a"}, False),
    ],
)
def test_a_parameter_is_there_or_not(
    parameter: str, parameters: dict[str, object], answer: bool
) -> None:
    request = read_request("x", parameters)
    assert Presence(a_call("s3:X", parameters), request).has(parameter) is answer


@pytest.mark.parametrize(
    "call",
    [
        a_call("s3:X", outcome=Outcome.DENIED),
        a_call("s3:X", outcome=Outcome.UNKNOWN),
        a_call("s3:X", error_code="NoSuchKey"),
        a_call("s3:X", parameters_omitted=True),
    ],
)
def test_of_a_request_that_the_record_may_lack_nothing_is_known_to_be_absent(call: Call) -> None:
    """Refused calls are mostly recorded without their parameters."""
    assert not Presence(call, read_request("x", call.parameters)).has("!stackName")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=15,
)
PARAMETERS = sorted({row["parameter"] for row in table("triggers")})


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4), st.sampled_from(PARAMETERS))
def test_a_request_read_for_one_parameter_says_whether_it_is_there(
    parameters: dict[str, object], parameter: str
) -> None:
    call = a_call("s3:X", parameters)
    answer = Presence(call, read_request("x", parameters)).has(parameter)
    request = read_request("x", parameters, Reads([key_in(parameter)]))
    assert answer is Presence(call, request).has(parameter)
