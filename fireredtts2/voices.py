"""Voices: a speaker's codes and transcript in one small file, and the library of them."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from fireredtts2.atomic_file import atomic_path
from fireredtts2.weights import check_readable, write_state

VOICES_ENV = "FIREREDTTS2_VOICES"
SUFFIX = ".safetensors"
FORMAT = "fireredtts2-voice"
VERSION = 1
ADAPTER_PREFIX = "adapter."
NAME_PATTERN = re.compile(r"[\w-][\w.-]{0,63}")
NAME_RULE = "a voice's name is 1 to 64 letters, digits, _ - . and does not begin with a dot"


@dataclass(frozen=True, eq=False)
class Voice:
    """A voice prompt, ready for use: nothing is encoded again.

    Attributes:
        name: letters, digits, `_`, `-`, `.`.
        codes: (Q, T) int64, 12.5 frames a second.
        text: what is said in it.
        language: ISO 639-1.
        codec_id: fingerprint of the codec that the codes belong to; "" if not known.
        source_samples: how many samples at 16 kHz it was made from; 0 if not known.
        spectrum: (num_mels,) float32, the clip's average spectrum (`RedCodec.spectrum`), for a
            codec with an equaliser; None for a voice that is decoded as it is.
        adapter: tensors by name that adapt the decoder to this voice (`VoiceAdapter`), of numbers
            that float16 holds; None for none.
        decoder_id: names the decoder that the adapter was learnt for; "" without one.
    """

    name: str
    codes: torch.Tensor
    text: str
    language: str = "en"
    codec_id: str = ""
    source_samples: int = 0
    spectrum: torch.Tensor | None = None
    adapter: Mapping[str, torch.Tensor] | None = None
    decoder_id: str = ""

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.codes.ndim != 2 or 0 in self.codes.shape or self.codes.is_floating_point():
            shape = f"{tuple(self.codes.shape)} {self.codes.dtype}"
            raise ValueError(f"voice {self.name!r}: codes must be (Q, T) integers, not {shape}")
        if self.codes.min() < 0 or self.codes.max() > torch.iinfo(torch.int16).max:
            raise ValueError(f"voice {self.name!r}: codes out of range 0 to 32767")
        if not self.text.strip():
            raise ValueError(f"voice {self.name!r}: needs the transcript of its clip")
        if self.spectrum is not None:
            check_spectrum(self.spectrum, self.name)
        if self.adapter is not None:
            check_adapter(self.adapter, self.name)

    def save(self, path: str | Path) -> None:
        """Writes the voice file, whole or not at all."""
        metadata = {
            "format": FORMAT,
            "version": str(VERSION),
            "name": self.name,
            "text": self.text,
            "language": self.language,
            "codec_id": self.codec_id,
            "source_samples": str(self.source_samples),
            "decoder_id": self.decoder_id,
        }
        with atomic_path(path) as temporary:
            tensors = {"codes": self.codes.to("cpu", torch.int16).contiguous()}
            if self.spectrum is not None:
                tensors["spectrum"] = self.spectrum.to("cpu", torch.float32).contiguous()
            for name, tensor in (self.adapter or {}).items():
                tensors[ADAPTER_PREFIX + name] = tensor.to("cpu", torch.float16).contiguous()
            write_state(temporary, tensors, metadata)

    @classmethod
    def load(cls, path: str | Path) -> Voice:
        """Reads a voice file.

        Raises:
            FileNotFoundError: no such file.
            PermissionError: it may not be read.
            ValueError: damaged, not a voice, or of a later version.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such voice file")
        check_readable(path)
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: a damaged voice file ({error}); make it again") from None
        if metadata.get("format") != FORMAT or "codes" not in tensors:
            raise ValueError(f"{path}: not a voice file; `fireredtts2 voices add` makes one")
        return _from_metadata(metadata, tensors, path)


class VoiceLibrary:
    """Voices by name, from several folders.

    Args:
        folders: searched in order; new voices go to the first, the user's own.
        codec_id: fingerprint of the codec in use; a voice of another codec is refused.

    Example:
        >>> library = VoiceLibrary([user_voices_path(), "models/mini/voices"])  # doctest: +SKIP
        >>> library.get("anna").text  # doctest: +SKIP
    """

    def __init__(self, folders: Sequence[str | Path], codec_id: str = "") -> None:
        if not folders:
            raise ValueError("a voice library needs at least one folder")
        self.folders = [Path(folder) for folder in folders]
        self.codec_id = codec_id

    def get(self, name: str) -> Voice:
        """Loads a voice.

        Raises:
            ValueError: unknown name (lists those there are), damaged file, or another codec's.
        """
        voice = Voice.load(self.path(name))
        if self.codec_id and voice.codec_id and voice.codec_id != self.codec_id:
            raise ValueError(
                f"voice {name!r} was made with another codec ({voice.codec_id}, in use: "
                f"{self.codec_id}); make it again from its clip: `fireredtts2 voices add`"
            )
        return voice

    def path(self, name: str) -> Path:
        """The file of a voice.

        Raises:
            ValueError: unknown name; lists those that there are.
        """
        check_name(name)
        found = next((path for path in self._candidates(name) if path.is_file()), None)
        if found is None:
            raise ValueError(f"no voice {name!r}; {self._known(name)}")
        return found

    def add(self, voice: Voice, overwrite: bool = False) -> Path:
        """Saves a voice in the first folder and says where.

        Raises:
            ValueError: the name is taken, and `overwrite` is not set.
        """
        path = next(iter(self._candidates(voice.name)))
        if voice.name in self.list() and not overwrite:
            raise ValueError(f"voice {voice.name!r} is there already; overwrite it or rename yours")
        path.parent.mkdir(parents=True, exist_ok=True)
        voice.save(path)
        return path

    def remove(self, name: str) -> None:
        """Deletes a voice of the first folder.

        Raises:
            ValueError: unknown name, or a voice that came with the model.
        """
        path = self.path(name)
        if path.parent != self.folders[0]:
            raise ValueError(f"voice {name!r} came with the model ({path}) and cannot be removed")
        path.unlink()

    def _candidates(self, name: str) -> Sequence[Path]:
        return [folder / (name + SUFFIX) for folder in self.folders]

    def _known(self, name: str) -> str:
        known = self.list()
        near = difflib.get_close_matches(name, known, n=3)
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        return f"{meant}known voices: {', '.join(known) or 'none'}"

    def list(self) -> list[str]:
        """The names of all voices, sorted."""
        files = [path for folder in self.folders for path in folder.glob("*" + SUFFIX)]
        names = {path.name.removesuffix(SUFFIX) for path in files}
        return sorted(name for name in names if NAME_PATTERN.fullmatch(name))


def user_voices_path() -> Path:
    """The folder of the user's own voices: FIREREDTTS2_VOICES, or below the user's data folder."""
    if named := os.environ.get(VOICES_ENV):
        return Path(named).expanduser()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "fireredtts2" / "voices"


def check_name(name: str) -> None:
    """Raises ValueError unless `name` can be a voice's name; it can hold no path."""
    if not NAME_PATTERN.fullmatch(name):
        raise ValueError(f"voice name {name!r}: {NAME_RULE}")


def check_spectrum(spectrum: torch.Tensor, name: str) -> None:
    """Raises ValueError unless a voice's average spectrum is a row of finite numbers."""
    is_row = spectrum.ndim == 1 and spectrum.numel() > 1 and spectrum.is_floating_point()
    if not (is_row and spectrum.isfinite().all()):
        shape = f"{tuple(spectrum.shape)} {spectrum.dtype}"
        raise ValueError(f"voice {name!r}: a spectrum is (num_mels,) finite numbers, not {shape}")


def check_adapter(adapter: Mapping[str, torch.Tensor], name: str) -> None:
    """Raises ValueError unless a voice's adapter is some tensors of finite numbers."""
    good = [t.is_floating_point() and bool(t.isfinite().all()) for t in adapter.values()]
    if not good or not all(good):
        raise ValueError(f"voice {name!r}: an adapter is tensors of finite numbers; make it again")


def _from_metadata(metadata: dict[str, str], tensors: dict[str, torch.Tensor], path: Path) -> Voice:
    codes = tensors["codes"]
    adapter = {
        key.removeprefix(ADAPTER_PREFIX): tensor.float()
        for key, tensor in tensors.items()
        if key.startswith(ADAPTER_PREFIX)
    }
    try:
        version = int(metadata["version"])
        if version > VERSION:
            raise ValueError(f"version {version}, this program reads up to {VERSION}: upgrade it")
        return Voice(
            name=metadata["name"],
            codes=codes if codes.is_floating_point() else codes.to(torch.int64),
            text=metadata["text"],
            language=metadata["language"],
            codec_id=metadata["codec_id"],
            source_samples=int(metadata["source_samples"]),
            spectrum=tensors.get("spectrum"),
            adapter=adapter or None,
            decoder_id=metadata.get("decoder_id", ""),
        )
    except KeyError as error:
        raise ValueError(f"{path}: a voice file without {error}; make it again") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
