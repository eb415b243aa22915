"""The records of the bundled example: a CI role that deploys a small CDK app, and the account around it."""
