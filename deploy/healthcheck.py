"""Whether the server of this container lives: exit status 0, else 1 with the reason."""

import os
import sys
import urllib.request

DEFAULT_PORT = "7860"
TIMEOUT_S = 4


def main() -> int:
    port = os.environ.get("FIREREDTTS2_PORT") or os.environ.get("PORT") or DEFAULT_PORT
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=TIMEOUT_S):
            return 0
    except (OSError, ValueError) as error:
        print(f"port {port}: {error}", file=sys.stderr)  # noqa: T201
        return 1


if __name__ == "__main__":
    sys.exit(main())
