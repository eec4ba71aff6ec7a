"""Speech in both directions of time: conversations that last, texts that come in pieces."""
