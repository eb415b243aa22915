"""Reads, evaluates and edits policy documents.

In: policy files as their authors wrote them: JSON, YAML, Terraform.
Out: decisions about requests, and the file with the smallest edit.
"""
