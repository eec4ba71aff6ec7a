"""Layouts of recordings on disk: one reader each."""
