"""Stateful stand-ins of AWS services over HTTP; requests, answers and errors are held to botocore's models.

`server.FakeAws` serves operations, written as functions; `protocols` is the only place that knows how they travel.
"""
