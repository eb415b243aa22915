"""The door to GitHub: branches, pull requests and workflow runs of one repository, by API only."""
