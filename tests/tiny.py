"""A tiny seeded model in a real checkpoint's layout, and turns that end when a test says so."""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from fireredtts2.codec.codec import RedCodec
from fireredtts2.config import CodecConfig, LLMConfig, TransformerConfig
from fireredtts2.engine.codec_runner import CodecRunner
from fireredtts2.engine.engine import Engine
from fireredtts2.engine.model_runner import FramesUnderWay, ModelRunner
from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.llm.prompt import Rows
from fireredtts2.llm.sampling import SamplingParams
from fireredtts2.narration.layout import Layout
from fireredtts2.proofing.ctc_aligner import CtcAligner

NUM_CODEBOOKS = 4
CODEBOOK_SIZE = 16
AUDIO_VOCAB = 19  # three ids more than there are codes, as in the published model
TEXT_VOCAB = 256
CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,;:!?'-"


def llm_config(max_seq_len: int = 4_096) -> LLMConfig:
    return LLMConfig(
        backbone_flavor="tiny-backbone",
        decoder_flavor="tiny-decoder",
        text_vocab_size=TEXT_VOCAB,
        audio_vocab_size=AUDIO_VOCAB,
        audio_num_codebooks=NUM_CODEBOOKS,
        decoder_loss_weight=0.6,
        flavors={
            "tiny-backbone": TransformerConfig(2, 4, 2, 32, 48, max_seq_len),
            "tiny-decoder": TransformerConfig(1, 2, 1, 16, 24),
        },
    )


def codec_config(
    causal: bool = True,
    harmonic_source: bool = False,
    noise_source: bool = False,
    equalizer: float = 0.0,
    prompt_frames: int | None = None,
) -> CodecConfig:
    return CodecConfig.from_dict(
        {
            "ssl": {"embed_dim": 16, "num_layers": 1, "num_heads": 2, "num_mels": 16},
            "ssl_adaptor": {
                "in_dim": 16, "embed_dim": 16, "out_dim": 16, "num_layers": 1, "num_heads": 2
            },
            "acoustic_encoder": {
                "embed_dim": 16, "num_layers": 1, "num_heads": 2, "num_mels": 16
            },
            "downsample": {"embed_dim": 32},
            "rvq": {
                "input_dim": 32, "rvq_dim": 16, "output_dim": 32,
                "num_quantizers": NUM_CODEBOOKS, "codebook_size": CODEBOOK_SIZE, "codebook_dim": 4,
            },
            "upsample": {"embed_dim": 32},
            "semantic_decoder": {
                "in_dim": 32, "embed_dim": 16, "out_dim": 16, "num_layers": 1, "num_heads": 2
            },
            "acoustic_decoder": {
                "embed_dim": 32, "num_layers": 1, "num_heads": 2, "causal": causal,
                "harmonic_source": harmonic_source,
                "noise_source": noise_source,
                "equalizer": equalizer,
                "prompt_frames": prompt_frames,
            },
        }
    )  # fmt: skip


def llm(seed: int = 0, max_seq_len: int = 4_096) -> DualTransformer:
    model = DualTransformer(llm_config(max_seq_len))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.endswith("scale"):
                parameter.normal_(std=0.3, generator=generator)
    return model.eval()


def codec(
    seed: int = 0,
    causal: bool = True,
    harmonic_source: bool = False,
    noise_source: bool = False,
    equalizer: float = 0.0,
    prompt_frames: int | None = None,
) -> RedCodec:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = codec_config(causal, harmonic_source, noise_source, equalizer, prompt_frames)
        return RedCodec(config).eval()


class LetterTokenizer:
    """Letters to numbers, for tests that need no tokenizer's files."""

    def encode_segment_text(self, tag: str, text: str) -> list[int]:
        return [ord(character) % TEXT_VOCAB for character in f"{tag}{text}"]


LAYOUT = Layout(LetterTokenizer(), NUM_CODEBOOKS, AUDIO_VOCAB)

#: What `scripted_engine` does where the caller does not say; a test may set it.
RUNS_AHEAD = False


class ScriptedRunner(ModelRunner):
    """The real model, whose turns end when the test says so.

    Attributes:
        lengths: frames of the next turns; None never ends. Without more of them nothing ends.
    """

    def __init__(self, model: DualTransformer, num_slots: int, max_rows: int) -> None:
        super().__init__(model, num_slots, max_rows, CODEBOOK_SIZE)
        self.lengths: deque[int | None] = deque()
        self.num_started = 0
        self._left: list[int | None] = [None] * num_slots

    def begin(
        self,
        slot: int,
        num_kept: int,
        last_row: Rows,
        sampling: SamplingParams,
        seed: int,
        adapter: str = "",
    ) -> None:
        super().begin(slot, num_kept, last_row, sampling, seed, adapter)
        self._left[slot] = self.lengths.popleft() if self.lengths else None
        self.num_started += 1

    def launch(self, slots: Sequence[int]) -> FramesUnderWay:
        frames = super().launch(slots).codes()
        for frame, slot in zip(frames, slots, strict=True):
            left = self._left[slot]
            if left == 0:
                frame.zero_()
                continue
            if not frame.any():
                frame[0] = 1  # the model itself drew an end: only the script may
            if left is not None:
                self._left[slot] = left - 1
        return FramesUnderWay(frames, range(len(slots)))


def scripted_engine(
    lengths: Sequence[int | None] = (),
    num_slots: int = 1,
    max_rows: int = 600,
    causal: bool = True,
    max_waiting: int = 1_000,
    runs_ahead: bool | None = None,
    equalizer: float = 0.0,
    prompt_frames: int | None = None,
) -> Engine:
    runner = ScriptedRunner(llm(), num_slots, max_rows)
    runner.lengths.extend(lengths)
    sounds = codec(causal=causal, equalizer=equalizer, prompt_frames=prompt_frames)
    codec_runner = CodecRunner(sounds, num_slots)
    ahead = RUNS_AHEAD if runs_ahead is None else runs_ahead
    return Engine(runner, codec_runner, max_waiting, ahead)


def script_turns(engine: Engine, *lengths: int | None) -> ScriptedRunner:
    """Makes a loaded engine's turns end as scripted."""
    old = engine.model_runner
    runner = ScriptedRunner(old.model, old.num_slots, old.max_rows)
    runner.lengths.extend(lengths)
    engine.model_runner = runner
    return runner


def write_checkpoint(
    folder: Path, seed: int = 0, equalizer: float = 0.0, prompt_frames: int | None = None
) -> Path:
    """A whole checkpoint folder, as small as can be."""
    sounds = codec(seed, equalizer=equalizer, prompt_frames=prompt_frames)
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "config_llm.json", {"llm_models": dataclasses.asdict(llm_config())})
    _write_json(folder / "config_codec.json", {"codec": dataclasses.asdict(sounds.config)})
    save_file(llm(seed).state_dict(), folder / "llm.safetensors")
    save_file(sounds.state_dict(), folder / "codec.safetensors")
    vocab = {character: index for index, character in enumerate(CHARACTERS)}
    tokenizer = Tokenizer(models.WordLevel({**vocab, "[UNK]": len(vocab)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    (folder / "tokenizer").mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer" / "tokenizer.json"))
    return folder


def write_listener(folder: Path) -> Path:
    """Gives a checkpoint folder a listener, of random weights, that wants two takes."""
    asked = {"text": {"proof_takes": 2, "proof_clearness": -1.0}}
    (folder / "config_text.json").write_text(json.dumps(asked))
    save_file(CtcAligner(16).state_dict(), folder / "listener.safetensors")
    return folder


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
