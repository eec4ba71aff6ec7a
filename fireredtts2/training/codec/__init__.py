"""Trains the codec from sound files: stage one, and stage two."""
