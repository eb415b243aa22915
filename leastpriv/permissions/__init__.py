"""Maps calls to the permissions that AWS authorizes in them.

In: recorded calls, and the fact tables of `data/`.
Out: needs: actions, resources and conditions.
"""
