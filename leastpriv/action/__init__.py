"""The action as a step of a GitHub Actions job."""
