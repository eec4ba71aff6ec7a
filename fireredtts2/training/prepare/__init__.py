"""Recordings and their texts to a data set that can be learnt from; see docs/data.md."""
