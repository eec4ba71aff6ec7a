"""Slots decoded together sound as each does alone, whenever they come and go."""

import pytest
import torch

from fireredtts2.codec.timbre import Timbre
from fireredtts2.config import OUTPUT_SAMPLES_PER_FRAME
from fireredtts2.engine import codec_runner
from fireredtts2.engine.codec_runner import CodecRunner
from tests.codec.test_voice_adapter import adapter
from tests.tiny import CODEBOOK_SIZE, NUM_CODEBOOKS, codec

NUM_SLOTS = 4


def clip(num_frames: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(CODEBOOK_SIZE, (NUM_CODEBOOKS, num_frames), generator=generator)


def streamed(
    runner: CodecRunner, clips: dict[int, torch.Tensor], plan: list[tuple[list[int], int]]
) -> dict[int, torch.Tensor]:
    """Decodes clips by a plan of (slots, frames each); every slot starts when it first comes."""
    audio: dict[int, list[torch.Tensor]] = {}
    done = dict.fromkeys(clips, 0)
    for slots, frames in plan:
        for slot in slots:
            if slot not in audio:
                runner.start(slot, clips[slot].shape[1])
                audio[slot] = []
        codes = torch.stack([clips[slot][:, done[slot] : done[slot] + frames] for slot in slots])
        for slot, chunk in zip(slots, runner.decode(slots, codes), strict=True):
            audio[slot].append(chunk)
            done[slot] += frames
    for slot in audio:
        assert done[slot] == clips[slot].shape[1]
        audio[slot].append(runner.finish(slot))
    return {slot: torch.cat(chunks) for slot, chunks in audio.items()}


PLANS = {
    "all at once": [([0, 1, 2, 3], 5)],
    "one after the other": [([0], 5), ([1], 5), ([2], 5), ([3], 5)],
    "gaps": [([0, 2], 1), ([1, 3], 2), ([0, 3], 3), ([0, 2], 1), ([1, 2], 3)],
    "neighbours": [([1, 2], 1), ([1, 2, 3], 1), ([0, 1, 2, 3], 3), ([3, 0], 1), ([0], 1)],
    "out of order": [([3, 1], 2), ([1, 3], 3), ([2, 0], 5)],
}


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("plan", PLANS)
def test_together_is_alone(plan: str, causal: bool):
    model = codec(causal=causal)
    lengths = {slot: sum(n for slots, n in PLANS[plan] if slot in slots) for slot in range(4)}
    clips = {slot: clip(length, slot) for slot, length in lengths.items()}
    made = streamed(CodecRunner(model, NUM_SLOTS), clips, PLANS[plan])
    for slot, audio in made.items():
        expected = model.decode(clips[slot][None])[0]
        assert audio.shape[0] == lengths[slot] * OUTPUT_SAMPLES_PER_FRAME
        torch.testing.assert_close(audio, expected, atol=1e-5, rtol=0)


def test_a_slot_starts_anew_and_makes_room_while_another_goes_on(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(codec_runner, "GROWTH_FRAMES", 4)
    model = codec()
    runner = CodecRunner(model, NUM_SLOTS)
    long, first, second = clip(8, 0), clip(3, 1), clip(11, 2)
    runner.start(0, 8)
    parts = [runner.decode([0], long[None, :, :3])[0]]
    made = streamed(runner, {2: first}, [([2], 3)])[2]
    torch.testing.assert_close(made, model.decode(first[None])[0], atol=1e-5, rtol=0)
    made = streamed(runner, {2: second}, [([2], 11)])[2]  # more than there was room for
    torch.testing.assert_close(made, model.decode(second[None])[0], atol=1e-5, rtol=0)
    parts += [runner.decode([0], long[None, :, 3:])[0], runner.finish(0)]
    torch.testing.assert_close(torch.cat(parts), model.decode(long[None])[0], atol=1e-5, rtol=0)


def test_nothing_decoded_has_no_end():
    runner = CodecRunner(codec(), NUM_SLOTS)
    runner.start(1, 5)
    assert runner.finish(1).numel() == 0


@pytest.mark.parametrize("causal", [True, False])
def test_slots_speak_with_adapters_of_their_own(causal: bool):
    model = codec(causal=causal)
    own = [adapter(model, seed) for seed in (1, 2)]
    ahead = clip(4, 9) if causal else None
    timbres = [Timbre(None, ahead, own[0]), Timbre(None, None, own[1]), Timbre(), Timbre()]
    runner = CodecRunner(model, NUM_SLOTS)
    for turn in range(2):  # in the second the slots have changed places
        chosen = [timbres[(slot + turn) % NUM_SLOTS] for slot in range(NUM_SLOTS)]
        clips = torch.stack([clip(6, 10 * turn + slot) for slot in range(NUM_SLOTS)])
        for slot, timbre in enumerate(chosen):
            runner.start(slot, 6, timbre)
        parts = [runner.decode(range(NUM_SLOTS), clips[..., at : at + 3]) for at in (0, 3)]
        for slot, timbre in enumerate(chosen):
            made = torch.cat([part[slot] for part in parts] + [runner.finish(slot)])
            rows = None if timbre.adapter is None else timbre.adapter.rows(1)
            prompt = None if timbre.prompt is None else timbre.prompt[None]
            expected = model.decode(clips[slot][None], prompt=prompt, adapter=rows)[0]
            torch.testing.assert_close(made, expected, atol=1e-5, rtol=0)


def test_a_prompt_is_heard_anew_with_another_adapter():
    model, ahead, own = codec(), clip(4, 9), clip(6, 1)
    adapters = [None, adapter(model, 1), adapter(model, 2), None]
    runner = CodecRunner(model, NUM_SLOTS)
    for changed in adapters:
        runner.start(0, 6, Timbre(None, ahead, changed))
        made = torch.cat([runner.decode([0], own[None])[0], runner.finish(0)])
        rows = None if changed is None else changed.rows(1)
        expected = model.decode(own[None], prompt=ahead[None], adapter=rows)[0]
        torch.testing.assert_close(made, expected, atol=1e-5, rtol=0)
