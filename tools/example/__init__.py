"""Records of the bundled example: a CI role that deploys a small CDK app, and other principals of
the account.
"""
