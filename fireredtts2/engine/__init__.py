"""Requests in, audio chunks out: one frame loop for everything that speaks."""
