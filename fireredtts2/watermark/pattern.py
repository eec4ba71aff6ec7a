"""What a key means: which cells of time and frequency are raised, and which bit each tells."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from fireredtts2.config import OUTPUT_RATE_HZ

#: Frames of the analysis: 40 ms, half overlapped; a bin is 25 Hz wide.
FRAME_SAMPLES = 960
HOP_SAMPLES = FRAME_SAMPLES // 2
#: A cell lasts 20 ms, and a pair of them 40: what is raised in one is lowered in the other. Longer
#: ones change more by themselves than they gain.
CELL_HOPS = 1
PAIR_SAMPLES = 2 * CELL_HOPS * HOP_SAMPLES
PAIRS = 32  # then the pattern begins anew: 1.28 s
LOWEST_HZ, HIGHEST_HZ = 200, 6_000
BAND_BINS = 4  # 100 Hz
PAYLOAD_BITS, CHECK_BITS = 16, 8
NUM_BITS = PAYLOAD_BITS + CHECK_BITS
CRC_POLYNOMIAL = 0x07  # x^8 + x^2 + x + 1
SYNC = -1  # cells that tell no bit, but that there is a mark, and where it begins
SYNC_SHARE = 1 / 3
MIN_KEY_CHARACTERS = 8


@dataclass(frozen=True)
class WatermarkKey:
    """A secret, and the number that marks carry.

    Attributes:
        secret: at least 8 characters; who has it can find marks, and make them.
        payload: 0 to 65535, as a customer's or a model's number.

    Raises:
        ValueError: too short a secret, or another payload.
    """

    secret: str = field(repr=False)
    payload: int = 0

    def __post_init__(self) -> None:
        if len(self.secret) < MIN_KEY_CHARACTERS:
            raise ValueError(
                f"a watermark's key of {len(self.secret)} characters; at least "
                f"{MIN_KEY_CHARACTERS} are needed"
            )
        if not 0 <= self.payload < 2**PAYLOAD_BITS:
            raise ValueError(f"payload {self.payload}: allowed are 0 to {2**PAYLOAD_BITS - 1}")

    @cached_property
    def signs(self) -> np.ndarray:
        """(PAIRS, bands) of -1 and 1: which cell of each pair is raised, before any bit."""
        return self._random.choice(np.array([-1, 1], np.int8), (PAIRS, num_bands()))

    @cached_property
    def bits(self) -> np.ndarray:
        """(PAIRS, bands): the number of the bit that a pair tells, or SYNC."""
        _ = self.signs  # drawn first, always
        num_cells = PAIRS * num_bands()
        num_sync = round(num_cells * SYNC_SHARE)
        told = np.arange(num_cells - num_sync) % NUM_BITS
        cells = np.concatenate([np.full(num_sync, SYNC), told])
        return self._random.permutation(cells).reshape(PAIRS, -1)

    @cached_property
    def pattern(self) -> np.ndarray:
        """(PAIRS, bands) of -1 and 1, with the payload in it."""
        values = 2 * np.array(bits_of(self.payload), np.int8) - 1
        told = np.where(self.bits == SYNC, 1, values[self.bits])
        return self.signs * told.astype(np.int8)

    @cached_property
    def _random(self) -> np.random.Generator:
        seed = hashlib.blake2b(self.secret.encode(), digest_size=16, person=b"fireredtts2mark")
        return np.random.Generator(np.random.PCG64(int.from_bytes(seed.digest(), "big")))


def band_edges() -> np.ndarray:
    """(bands + 1,) bins where bands begin and end."""
    bin_hz = OUTPUT_RATE_HZ / FRAME_SAMPLES
    return np.arange(round(LOWEST_HZ / bin_hz), round(HIGHEST_HZ / bin_hz) + 1, BAND_BINS)


def num_bands() -> int:
    """Bands that are marked."""
    return len(band_edges()) - 1


def bits_of(payload: int) -> list[int]:
    """Payload and check, the highest bit first."""
    word = payload << CHECK_BITS | crc8(payload)
    return [word >> place & 1 for place in reversed(range(NUM_BITS))]


def payload_of(bits: list[int]) -> int | None:
    """The payload; None where the check fails."""
    word = 0
    for bit in bits:
        word = word << 1 | bit
    payload, check = word >> CHECK_BITS, word & (2**CHECK_BITS - 1)
    return payload if crc8(payload) == check else None


def crc8(payload: int) -> int:
    """A cyclic redundancy check of two bytes, that of none being other than 0."""
    register = 0xFF
    for byte in payload.to_bytes(2, "big"):
        register ^= byte
        for _ in range(8):
            register = (register << 1 ^ CRC_POLYNOMIAL if register & 0x80 else register << 1) & 0xFF
    return register
