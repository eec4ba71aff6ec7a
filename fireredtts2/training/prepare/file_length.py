"""What the bytes of an audio file say of its length, where libsndfile does not tell it all.

libsndfile takes a WAV or Ogg file that was cut for a shorter one, and guesses the length of an MP3
file that does not state it.
"""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

WAV_KINDS = (b"RIFF", b"RF64", b"BW64")
#: Programs that write to a pipe put this or more where a WAV file's size should be: SoX and eSpeak
#: this, others up to 0xFFFFFFFF. RF64 has room for more digits.
STREAMED_BYTES, STREAMED_BYTES_64 = 0x7FFF_F000, 2**62
#: Some programs count a header in: this many bytes may be missing.
SPARE_BYTES = 1_024
OGG_PAGE, OGG_HEADER_BYTES, MAX_OGG_PAGE_BYTES = b"OggS", 27, 65_307
ID3_BYTES, FIRST_FRAME_BYTES = 10, 512
#: A tag's size has seven bits in each of four bytes.
ID3_SHIFTS = (21, 14, 7, 0)


def is_cut(file: BinaryIO) -> bool:
    """Whether a WAV or Ogg file ends before it should.

    Of a WAV file its header promises more; of an Ogg file the last page is not whole. False where
    that cannot be told, and for files of other kinds.

    Args:
        file: can be sought in; stands at its beginning afterwards.
    """
    size = file.seek(0, io.SEEK_END)
    kind = _read(file, 0, 4)
    found = (kind in WAV_KINDS and _is_wav_cut(file, size)) or (
        kind == OGG_PAGE and _is_ogg_cut(file, size)
    )
    file.seek(0)
    return found


def counts_frames(file: BinaryIO) -> bool:
    """Whether an MP3 file states its length, in a header named Xing or Info in its first frame.

    Args:
        file: can be sought in; stands at its beginning afterwards.
    """
    tag = _read(file, 0, ID3_BYTES)
    begin = 0
    if tag[:3] == b"ID3" and len(tag) == ID3_BYTES:
        begin = ID3_BYTES + sum(
            byte << shift for byte, shift in zip(tag[6:], ID3_SHIFTS, strict=True)
        )
    frame = _read(file, begin, FIRST_FRAME_BYTES)
    file.seek(0)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if at < 0 or len(frame) < at + 12:
        return False
    flags, count = struct.unpack_from(">4xII", frame, at)
    return bool(flags & 1 and count)


def _is_wav_cut(file: BinaryIO, size: int) -> bool:
    at, data_64 = 12, 0
    while len(header := _read(file, at, 8)) == 8:
        kind, length = struct.unpack("<4sI", header)
        at += 8
        if kind == b"ds64":
            (data_64,) = struct.unpack("<Q", _read(file, at + 8, 8).ljust(8, b"\0"))
        if kind == b"data":
            is_streamed = length >= STREAMED_BYTES
            if length == 0xFFFF_FFFF and data_64:
                length, is_streamed = data_64, data_64 >= STREAMED_BYTES_64
            return not is_streamed and at + length > size + SPARE_BYTES
        at += length + length % 2
    return False


def _is_ogg_cut(file: BinaryIO, size: int) -> bool:
    # NOTE: that the last page has no flag for the end says nothing: many a live stream has none.
    tail = _read(file, max(0, size - 2 * MAX_OGG_PAGE_BYTES), 2 * MAX_OGG_PAGE_BYTES)
    page = tail[max(0, tail.rfind(OGG_PAGE)) :]
    if page[:4] != OGG_PAGE:
        return False
    if len(page) < OGG_HEADER_BYTES:
        return True
    num_parts = page[OGG_HEADER_BYTES - 1]
    parts = page[OGG_HEADER_BYTES : OGG_HEADER_BYTES + num_parts]
    return len(page) < OGG_HEADER_BYTES + num_parts + sum(parts)


def _read(file: BinaryIO, at: int, num_bytes: int) -> bytes:
    file.seek(at)
    return file.read(num_bytes)
