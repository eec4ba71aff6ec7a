"""A checkpoint folder: where its parts lie, what its configs say, what its files hold."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import torch

from fireredtts2.config import CodecConfig, LLMConfig, TextConfig
from fireredtts2.weights import SUFFIXES, StateDict, find_weights, read_state

GenType = Literal["monologue", "dialogue"]

#: The model that comes with the package.
MINI = "mini"
MINI_FOLDER = Path(__file__).parent / "models" / "mini"
LLM_NAMES: Mapping[str, str] = {"monologue": "llm_pretrain", "dialogue": "llm_posttrain"}
#: One model that serves both kinds.
LLM_SHARED_NAME = "llm"
CODEC_NAME = "codec"
TOKENIZER_FOLDERS = ("Qwen2.5-1.5B", "tokenizer")
CODEBOOK_PATTERN = "rvq.quantizers.{}.codebook"
FINGERPRINT_DIGITS = 16


class CheckpointFolder:
    """Resolves the parts of a checkpoint folder (SPEC section 2).

    Args:
        path: the folder, or "mini" for the model inside the package ("./mini" is a folder).

    Raises:
        ValueError: no such folder, or nothing of a checkpoint in it; says what was looked for.

    Example:
        >>> folder = CheckpointFolder("mini")  # doctest: +SKIP
        >>> codec_state = folder.read_codec()  # doctest: +SKIP
    """

    def __init__(self, path: str | Path) -> None:
        self.path = MINI_FOLDER if path == MINI else Path(path).expanduser()
        if not self.path.is_dir():
            what = "a file, not a folder" if self.path.exists() else "no such folder"
            raise ValueError(f"{self.path}: {what}; {_LOOKED_FOR}")
        if not (self.path / "config_llm.json").exists() and self._codec_path is None:
            raise ValueError(f"{self.path}: nothing of a checkpoint in this folder; {_LOOKED_FOR}")

    @cached_property
    def llm_config(self) -> LLMConfig:
        return LLMConfig.from_file(self.path / "config_llm.json")

    @cached_property
    def codec_config(self) -> CodecConfig:
        return CodecConfig.from_file(self.path / "config_codec.json")

    @cached_property
    def text_config(self) -> TextConfig:
        """How text is prepared; a folder without `config_text.json` takes it as typed."""
        path = self.path / "config_text.json"
        return TextConfig.from_file(path) if path.exists() else TextConfig()

    @property
    def pronunciations_path(self) -> Path | None:
        """The pronouncing dictionary that `config_text.json` names."""
        name = self.text_config.phonemes
        return None if name is None else self._require(self.path / name)

    @property
    def tokenizer_path(self) -> Path:
        """The folder of the text tokenizer's files."""
        found = [self.path / name for name in TOKENIZER_FOLDERS if (self.path / name).is_dir()]
        return found[0] if found else self._require(self.path / TOKENIZER_FOLDERS[0])

    @property
    def voices_path(self) -> Path:
        """The folder of the voices that come with the model; it need not exist."""
        return self.path / "voices"

    def llm_path(self, gen_type: GenType) -> Path:
        """The language model's weight file for monologue or dialogue."""
        if gen_type not in get_args(GenType):
            raise ValueError(f"gen_type {gen_type!r}; allowed: {', '.join(get_args(GenType))}")
        names = (LLM_NAMES[gen_type], LLM_SHARED_NAME)
        return find_weights(self.path, names) or self._missing_weights(names, gen_type)

    @property
    def gen_types(self) -> list[GenType]:
        """What the folder has language models for, dialogue first; one file may be for both.

        Raises:
            FileNotFoundError: for nothing.
        """
        found = self._found_gen_types()
        if not found:
            names = (LLM_NAMES["dialogue"], LLM_NAMES["monologue"], LLM_SHARED_NAME)
            self._missing_weights(names, "a language model")
        return found

    def _found_gen_types(self) -> list[GenType]:
        kinds: tuple[GenType, ...] = ("dialogue", "monologue")
        return [
            kind
            for kind in kinds
            if find_weights(self.path, (LLM_NAMES[kind], LLM_SHARED_NAME)) is not None
        ]

    @property
    def codec_path(self) -> Path:
        """The codec's weight file."""
        return self._codec_path or self._missing_weights((CODEC_NAME,), "the codec")

    def read_llm(self, gen_type: GenType) -> StateDict:
        """Reads the language model's tensors."""
        return read_state(self.llm_path(gen_type))

    def read_codec(self) -> StateDict:
        """Reads the codec's tensors."""
        return read_state(self.codec_path)

    @cached_property
    def codec_id(self) -> str:
        """What tells this codec's codes from another's; see `codec_fingerprint`."""
        return codec_fingerprint(self.read_codec())

    @property
    def _codec_path(self) -> Path | None:
        return find_weights(self.path, (CODEC_NAME,))

    def _missing_weights(self, names: tuple[str, ...], what: str) -> Path:
        files = ", ".join(name + suffix for name in names for suffix in SUFFIXES)
        raise FileNotFoundError(
            f"{self.path}: no weights for {what}; looked for {files}. "
            f"`fireredtts2 download {self.path}` fetches what is missing{self._instead(what)}"
        )

    def _instead(self, what: str) -> str:
        """The other language model, where it is that which is missing."""
        there = self._found_gen_types()
        if what not in get_args(GenType) or not there:
            return ""
        return f"; or use the one for {there[0]} that is there: gen_type {there[0]!r}"

    def _require(self, path: Path) -> Path:
        if not path.exists():
            raise FileNotFoundError(
                f"{path}: missing from the checkpoint folder. "
                f"`fireredtts2 download {self.path}` fetches what is missing"
            )
        return path


def codec_fingerprint(state: Mapping[str, torch.Tensor]) -> str:
    """Names what the codes mean: a digest of the codebooks.

    A decoder trained on, or stored in another type, understands the same codes, so only the
    codebooks count.

    Args:
        state: the codec's tensors by key.

    Raises:
        ValueError: the state has no codebooks.
    """
    digest = hashlib.sha256()
    count = 0
    while (codebook := state.get(CODEBOOK_PATTERN.format(count))) is not None:
        values = codebook.detach().to("cpu", torch.float32).contiguous()
        digest.update(repr(tuple(values.shape)).encode())
        digest.update(values.numpy().tobytes())
        count += 1
    if count == 0:
        raise ValueError(f"no codebooks ({CODEBOOK_PATTERN.format(0)}): not a codec's weights")
    return digest.hexdigest()[:FINGERPRINT_DIGITS]


_LOOKED_FOR = (
    "a checkpoint folder holds config_llm.json, config_codec.json, "
    "codec and llm_pretrain, llm_posttrain or llm (.safetensors or .pt), "
    f"{' or '.join(name + '/' for name in TOKENIZER_FOLDERS)}. `fireredtts2 download FOLDER` "
    f"fetches the published one; the name {MINI!r} is the model inside the package"
)
