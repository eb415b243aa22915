"""Denials of S3 that name no action, with an operation, a request or a transfer near them."""

from __future__ import annotations

import pytest

from leastpriv.denials.log_text import clean_log_text
from leastpriv.denials.message import find_denials, read_denial

URL = "https://logs.s3.eu-west-1.amazonaws.com"


@pytest.mark.parametrize(
    ("message", "actions"),
    [
        ("S3 PutObject failed: Access Denied", ("s3:PutObject",)),
        ("GetObject: AccessDenied: Access Denied status code: 403", ("s3:GetObject",)),
        ("(HTTP 403) PutBucketPolicy Access Denied", ("s3:PutBucketPolicy",)),
        ("s3:PutObject failed with 403", ("s3:PutObject",)),
        ("Operation: DeleteObject, Bucket: logs, Error code: AccessDenied", ("s3:DeleteObject",)),
        ("Aws::S3::Errors::AccessDenied (Access Denied)\n  in `put_object'", ("s3:PutObject",)),
        ("Aws::S3::Errors::Forbidden:\nclient.rb:1: in `head_bucket'", ("s3:ListBucket",)),
        (
            "AccessDenied: Access Denied\n  at Request.extractError\n  operation: 'putObjectAcl'",
            ("s3:PutObjectAcl",),
        ),
        ("CopyObject: Access Denied", ("s3:GetObject", "s3:PutObject")),
        (f"PUT {URL}/a/b.txt 403 Forbidden", ("s3:PutObject",)),
        (f"PUT {URL}/a/b.txt\nHTTP/1.1 403 Forbidden", ("s3:PutObject",)),
        (f"HEAD {URL}/a/b.txt : 403", ("s3:GetObject",)),
        (f"HEAD {URL}/ : 403", ("s3:ListBucket",)),
        (f"DELETE {URL}/a/b.txt returned 403 (Forbidden)", ("s3:DeleteObject",)),
        (f"GET {URL}/?list-type=2&prefix=a => 403 Forbidden", ("s3:ListBucket",)),
        ("GET https://s3.amazonaws.com/logs/a.txt => 403 Forbidden", ("s3:GetObject",)),
        ("GET https://s3.us-east-1.amazonaws.com/logs => 403 Forbidden", ("s3:ListBucket",)),
        ("upload failed: ./app.js to s3://logs/app.js Access Denied", ("s3:PutObject",)),
        ("download failed: s3://logs/a.txt to ./a.txt Forbidden", ("s3:GetObject",)),
        (
            "Failed to upload to s3://logs/a: AccessDenied: Access Denied\n\tstatus code: 403",
            ("s3:PutObject",),
        ),
    ],
)
def test_the_action_follows_from_what_is_near_and_the_resource_is_unknown(
    message: str, actions: tuple[str, ...]
) -> None:
    denial = read_denial(message)
    assert denial.actions == actions
    assert (denial.resource, denial.inferred, denial.mendable) == ("", True, True)


@pytest.mark.parametrize(
    "message",
    [
        "Access Denied",
        "ERROR: S3 error: 403 (AccessDenied): Access Denied",
        "GET https://api.github.com/repos/x 403 Forbidden",
        "GET https://sqs.eu-west-1.amazonaws.com/ 403 Forbidden",
        f"GET {URL}/a/b.txt 200 OK",
        f"GET {URL}/a?X-Amz-Signature=0a1b 403 Forbidden",
        f"PUT {URL}/a?acl 403 Forbidden",
        f"POST {URL}/a 403 Forbidden",
        f"curl: GET {URL}/a: (22) The requested URL returned error: 403",
        "S3 PutObject: 200 OK, 1,403 bytes",
        "S3 PutObject took 0.403 s",
        "S3 PutObject latency p99 403 ms",
        "Deleted 403 objects of s3://logs with DeleteObjects",
        'File "s3.py", line 403, in get_object',
        "assert put_object(s3).status == 403 FAILED",
        "PutObject failed with 403",
        f"PUT {URL}/a\napi error AccessDenied: Mfa Authentication must be used for this request",
        "docker push: unauthorized: access denied\nS3 GetObject: 200 OK",
        "HTTP 403 from https://api.github.com/repos; later S3 PutObject succeeded",
        "upload: ./a to s3://logs/a\nnpm ERR! 403 Forbidden - PUT https://registry.npmjs.org/x",
        "upload: ./a to s3://logs/a\nHTTP 403 Forbidden",
        f"HEAD {URL}/a 404 Not Found\nGET https://proxy.golang.org/x 403 Forbidden",
        (
            'Error from server (Forbidden): secrets is forbidden: User "x" cannot list secrets\nS3'
            " PutObject"
        ),
        "AccessDenied: the bucket policy of an admin decides about PutObject here",
        "Access Denied\n\nPutObject logs/a.txt",
        "PutObject https://minio.example.com/logs/a 403 Forbidden",
        "acme.OddException: Access Denied\n at com.amazonaws.services.s3.AmazonS3Client.putObject(",
        f"Access Denied{' .' * 200} PutObject",
    ],
)
def test_without_an_operation_in_reach_there_is_no_action(message: str) -> None:
    assert read_denial(message).actions == ()


@pytest.mark.parametrize(
    "message",
    [
        "S3 PutObject failed with 403 SignatureDoesNotMatch",
        (
            f"GET {URL}/a 403 Forbidden <Code>AccessDenied</Code><Message>Request has"
            " expired</Message>"
        ),
    ],
)
def test_other_causes_are_not_fixed_by_a_grant(message: str) -> None:
    denial = read_denial(message)
    assert not denial.mendable
    assert denial.why


def test_each_answer_has_the_operation_of_its_own_line() -> None:
    denials = find_denials(
        clean_log_text(
            "S3 PutObject a.txt: 403\nS3 GetObject b.txt: 403\nS3 status 403 DeleteObject c"
        )
    )
    assert [found_denial.denial.actions for found_denial in denials] == [
        ("s3:PutObject",),
        ("s3:GetObject",),
        ("s3:DeleteObject",),
    ]
    requests = find_denials(
        clean_log_text(f"PUT {URL}/a\nHTTP/1.1 403 Forbidden\nGET {URL}/b\nHTTP/1.1 200 OK")
    )
    assert [found_denial.denial.actions for found_denial in requests] == [("s3:PutObject",)]


def test_the_sentence_of_aws_takes_precedence_over_an_operation_near_it() -> None:
    sentence = (
        "User: arn:aws:iam::111122223333:user/ci is not authorized to perform: s3:PutObjectTagging"
    )
    denial = read_denial(f"PutObject failed: 403 AccessDenied: {sentence}")
    assert denial.actions == ("s3:PutObjectTagging",)
    assert not denial.inferred
