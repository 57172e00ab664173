"""Runnable examples; each is a package with its own README."""
