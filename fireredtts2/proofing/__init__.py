"""Hearing whether what was spoken says its text."""
