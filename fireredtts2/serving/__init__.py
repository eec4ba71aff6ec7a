"""The HTTP server: OpenAI's speech API, dialogue, voices, health and figures."""
