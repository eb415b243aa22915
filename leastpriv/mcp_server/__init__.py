"""The commands of the shell as tools of an agent or editor, over the Model Context Protocol."""
