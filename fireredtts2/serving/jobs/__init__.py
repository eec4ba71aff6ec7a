"""Jobs: long scripts that are spoken beside live requests, and survive the server."""
