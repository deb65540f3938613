"""Command-line tools; all go through the same Pipeline as the node."""
