"""Asks AWS; the only package that imports boto3.

In: credentials and requests.
Out: AWS's answers as values, and errors with their remedy.
"""
