"""AWS sessions, clients, ARNs, error codes and signals: the only package that imports boto3."""
