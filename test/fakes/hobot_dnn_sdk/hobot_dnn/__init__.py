"""Fake of the binding of RDK boards."""
