"""How long after a language model's first word its speech is heard, over the WebSocket.

    fireredtts2 serve --no-studio &
    python -m benchmarks.first_words [--server http://127.0.0.1:7860] [--rounds 5]

Words are sent as a language model writes them, and for comparison the whole text is asked for
once it has been written.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import time

import httpx
import websockets

log = logging.getLogger("benchmarks.first_words")
WORDS_PER_S = 15.0  # what larger language models write, about
VOICE = "af_heart"
TEXT = (
    "That is a good question, and the answer is a little longer than you may think. "
    "The bridge was built in three parts, because the river changed its course every spring. "
    "When the last part was finished, nobody in the town could remember the first one."
)


async def while_it_is_written(address: str, seed: int) -> float:
    """Seconds from the first word to the first sound."""
    url = address.replace("http", "ws", 1) + "/v1/audio/speech/stream"
    async with websockets.connect(url) as socket:
        config = {"type": "session.config", "voice": VOICE, "seed": seed}
        await socket.send(json.dumps(config))
        while json.loads(await socket.recv())["type"] != "context.created":
            pass
        began = time.perf_counter()

        async def write() -> None:
            for word in TEXT.split():
                await socket.send(json.dumps({"type": "input.text", "text": word + " "}))
                await asyncio.sleep(1 / WORDS_PER_S)
            await socket.send(json.dumps({"type": "input.done"}))

        writing = asyncio.create_task(write())
        try:
            async for message in socket:
                if isinstance(message, bytes):
                    return time.perf_counter() - began
        finally:
            writing.cancel()
    raise RuntimeError("the connection ended before anything was heard")


def once_it_is_written(address: str, seed: int) -> float:
    """Seconds from the first word, with all of them written first, to the first sound."""
    began = time.perf_counter()
    time.sleep(len(TEXT.split()) / WORDS_PER_S)
    asked = {"input": TEXT, "voice": VOICE, "response_format": "pcm", "seed": seed}
    with httpx.stream("POST", f"{address}/v1/audio/speech", json=asked, timeout=60) as response:
        response.raise_for_status()
        next(response.iter_bytes())
        return time.perf_counter() - began


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", default="http://127.0.0.1:7860")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    streamed, whole = [], []
    for seed in range(asked.rounds + 1):  # in turns, so that both meet the same noise
        streamed.append(asyncio.run(while_it_is_written(asked.server, seed)))
        whole.append(once_it_is_written(asked.server, seed))
    for name, times in (("while it is written", streamed), ("once it is written", whole)):
        later = times[1:]  # the first call warms things up
        log.info("%s: first sound after %.2f s (%.2f to %.2f); first call %.2f s", name,
                 statistics.median(later), min(later), max(later), times[0])  # fmt: skip
    ratio = statistics.median(whole[1:]) / statistics.median(streamed[1:])
    log.info("%d words at %g a second: heard %.1f times sooner",
             len(TEXT.split()), WORDS_PER_S, ratio)  # fmt: skip


if __name__ == "__main__":
    main()
