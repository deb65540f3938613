"""Fake of the binding of RDK X5 from the Python package index."""
