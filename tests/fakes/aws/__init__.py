"""Stateful fakes of AWS services over HTTP; requests, answers and errors are validated by
botocore's models.

`server.FakeAws` serves operations, written as functions; only `protocols` knows how requests are
encoded.
"""
