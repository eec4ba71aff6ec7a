"""The studio: dialogue in a browser, made by the HTTP API of a server, here or elsewhere."""
