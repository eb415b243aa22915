"""Access to branches, pull requests, issues and workflow runs of one repository by GitHub's API."""
