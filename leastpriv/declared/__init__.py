"""Reads what templates and plans need, before any deployment has run.

In: files of CloudFormation, SAM, CDK and Terraform.
Out: needs of basis *declared*, each with its resource in the file.
"""
