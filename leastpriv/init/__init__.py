"""Writes the files that a repository needs to begin.

In: a repository, roles and a table of permissions.
Out: the reader role, the workflow and the config file.
"""
