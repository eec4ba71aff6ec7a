"""One router a file: what a client asks becomes calls of the server, and nothing else."""
