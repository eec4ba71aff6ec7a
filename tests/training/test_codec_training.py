"""One step of each codec stage on noise, and the pieces they stand on."""

import copy
import json

import numpy as np
import pytest
import torch

from fireredtts2.proofing.ctc_aligner import SOUNDS
from fireredtts2.training import train_codec, train_decoder
from fireredtts2.training.bad_steps import TrainingDivergedError
from fireredtts2.training.codebook import start_from_data, update_averages
from fireredtts2.training.codec.quantization import start_codebooks, uses_of, with_dropout
from fireredtts2.training.codec_data import UNKNOWN_SOUND, CodecBatch, CodecData
from fireredtts2.training.corpus import is_held_out
from fireredtts2.training.discriminators import Discriminators
from fireredtts2.training.spectral_losses import MultiResolutionMelLoss, energy_distance
from fireredtts2.training.train_codec import CodecTrainConfig, StageOne, train
from fireredtts2.training.train_decoder import DecoderTrainConfig, StageTwo
from tests import tiny
from tests.training.test_pitch import voice

CROP_FRAMES = 6


def noise_batch(seed: int = 0) -> CodecBatch:
    generator = torch.Generator().manual_seed(seed)
    return CodecBatch(
        mel=torch.randn(2, 16, 600, generator=generator),
        semantic=torch.randn(2, 300, 16, generator=generator),
        live=torch.tensor([75, 40]),
        start=torch.tensor([0, 20]),
        audio=torch.randn(2, CROP_FRAMES * 1920, generator=generator) * 0.1,
        sounds=torch.randint(1 + len(SOUNDS), (2, 4 * CROP_FRAMES), generator=generator),
    )


def stage_one(**changes: object) -> StageOne:
    torch.manual_seed(0)
    config = CodecTrainConfig(crop_frames=CROP_FRAMES, warmup_steps=1, **changes)
    return StageOne(tiny.codec().train(), config)


def test_stage_one_learns_the_batch_it_sees():
    stage = stage_one()
    first = stage.step(noise_batch())
    for _ in range(15):
        last = stage.step(noise_batch())
    assert last["mel"] < 0.9 * first["mel"]
    assert last["commitment"] == 0


def test_naming_sounds_is_learnt_and_teaches_the_encoder():
    stage = stage_one(sounds_weight=2.0, learning_rate=3e-3)
    batch = noise_batch()
    stage.losses(batch)[0]["sounds"].backward()
    assert any(p.grad is not None for p in stage.codec.acoustic_encoder.parameters())
    first = stage.step(batch)["sounds"]
    for _ in range(40):
        last = stage.step(batch)["sounds"]
    assert last < 0.8 * first
    assert "sounds" not in stage_one().step(batch)


def test_sounds_that_are_not_known_are_not_asked_for():
    stage, sounds = stage_one(sounds_weight=1.0), noise_batch().sounds
    features = torch.randn(*sounds.shape, stage.codec.config.upsample.embed_dim)
    even, odd, none = (sounds.clone() for _ in range(3))
    even[:, 1::2] = odd[:, ::2] = none[:] = UNKNOWN_SOUND
    losses = [stage._sounds_loss(features, one).item() for one in (sounds, even, odd, none)]
    assert losses[0] == pytest.approx((losses[1] + losses[2]) / 2, rel=1e-4)
    assert losses[3] == 0


def test_decoders_learn_alone_at_first():
    stage = stage_one(alone_steps=2, sounds_weight=1.0)
    stage.start_quantizing([noise_batch(n) for n in range(3)])
    before = {name: value.clone() for name, value in stage.codec.state_dict().items()}

    def moved() -> set[str]:
        now = stage.codec.state_dict()
        return {name for name, value in before.items() if not torch.equal(now[name], value)}

    stage.step(noise_batch())
    stage.step(noise_batch())
    decoders = ("rvq.output_proj.", "upsample.", "semantic_decoder.")
    assert moved()
    assert all(name.startswith(decoders) for name in moved())
    stage.step(noise_batch())
    assert {"rvq.quantizers.0.codebook", "rvq.input_proj.bias"} <= moved()
    assert any(name.startswith("acoustic_encoder.") for name in moved())


def test_a_codec_that_has_codebooks_keeps_them():
    first = stage_one()
    assert not first.quantizing
    first.start_quantizing([noise_batch(n) for n in range(3)])
    assert StageOne(first.codec, first.config).quantizing


def test_what_ships_is_an_average_that_soon_forgets_where_it_began():
    stage = stage_one(learning_rate=0.0)
    stage.start_quantizing([noise_batch(n) for n in range(3)])
    began = copy.deepcopy(stage.codec.state_dict())
    assert all_equal(weights_of(stage.average), list(began.values()))
    with torch.no_grad():
        stage.codec.rvq.input_proj.bias.add_(0.01)
    for _ in range(5):
        stage.step(noise_batch())
    gone = (stage.average.rvq.input_proj.bias - began["rvq.input_proj.bias"]) / 0.01
    assert float(gone.min()) > 0.99
    level = stage.average.rvq.levels[0]
    assert not torch.equal(level.codebook, began["rvq.quantizers.0.codebook"])
    torch.testing.assert_close(level.codebook * level.cluster_size[:, None], level.embed_avg)


def test_a_state_of_an_earlier_version_is_named():
    stage = stage_one()
    state = stage.state()
    del state["average"]
    with pytest.raises(ValueError, match="begun by an earlier version"):
        stage.load(state)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"few_codebooks": 5, "few_share": 0.1}, "few_codebooks: 5 given; allowed: 1 to 4"),
        ({"few_share": 0.1}, "few_codebooks: 0 given"),
        ({"few_codebooks": 2, "few_share": 0.9}, "together 1.1; allowed: at most 1"),
        ({"dropout_share": -0.2, "few_share": 0.6}, "dropout_share: -0.2 given; allowed: 0 to 1"),
        ({"ends_share": 1.5}, "ends_share: 1.5 given"),
        ({"sounds_weight": -1.0}, "sounds_weight: -1 given; allowed: 0 or more"),
        ({"semantic_weight": float("nan")}, "semantic_weight: nan given"),
        ({"alone_steps": 4000}, "alone_steps: 4000 given; allowed: 0 or more, and fewer than"),
    ],
)
def test_settings_of_stage_one_that_do_not_fit_are_named(values: dict, message: str):
    with pytest.raises(ValueError, match=message):
        stage_one(**values)


def test_rows_use_few_codebooks_as_often_as_they_shall():
    rvq = tiny.codec().rvq
    latents = torch.randn(1, rvq.config.input_dim, 2).expand(4000, -1, -1)
    made = with_dropout(rvq, latents, 0.2, torch.Generator().manual_seed(0), 2, 0.6).values
    by_count = torch.stack([rvq(latents[0:1], torch.tensor([n])).values[0] for n in range(1, 5)])
    used = (made[:, None] - by_count).abs().sum((2, 3)).argmin(1)
    shares = torch.bincount(used, minlength=4) / len(used)
    assert shares.tolist() == pytest.approx([0.05, 0.65, 0.05, 0.25], abs=0.03)


def test_quantized_steps_move_every_trained_part():
    stage = stage_one()
    stage.start_quantizing([noise_batch(n) for n in range(3)])
    before = {name: p.clone() for name, p in stage.codec.named_parameters()}
    books = [q.codebook.clone() for q in stage.codec.rvq.quantizers]
    stage.step(noise_batch())
    assert stage.step(noise_batch())["commitment"] > 0
    still = {name for name, p in stage.codec.named_parameters() if torch.equal(p, before[name])}
    parts = ("ssl.", "acoustic_decoder.")
    frozen = {name for name in before if name.startswith(parts) or "embed_positions" in name}
    assert still == frozen
    assert not any(
        torch.equal(q.codebook, old)
        for q, old in zip(stage.codec.rvq.quantizers, books, strict=True)
    )


def weights_of(*modules: torch.nn.Module) -> list[torch.Tensor]:
    return [v.clone() for module in modules for v in module.state_dict().values()]


def all_equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(map(torch.equal, one, other))


def test_a_step_of_stage_one_that_is_not_finite_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(train_codec, "MAX_BAD_STEPS", 3)
    stage = stage_one()
    stage.start_quantizing([noise_batch(n) for n in range(3)])
    stage.step(noise_batch())
    before = weights_of(stage.codec, stage.average, stage.decoder)
    bad = noise_batch()
    bad.mel[0, 0, 0] = float("inf")
    for _ in range(2):
        stage.step(bad)
    assert all_equal(weights_of(stage.codec, stage.average, stage.decoder), before)
    stage.step(noise_batch())
    assert not all_equal(weights_of(stage.average), weights_of(stage.codec))
    assert not all_equal(weights_of(stage.codec, stage.average, stage.decoder), before)
    stage.step(bad)
    stage.step(bad)
    with pytest.raises(TrainingDivergedError, match="3 steps in a row"):
        stage.step(bad)


def test_codebooks_start_from_data():
    rvq = tiny.codec().rvq
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(4000, 16, generator=generator) * torch.linspace(3, 0.1, 16)
    left = start_from_data(rvq, latents, generator)
    assert left == sorted(left, reverse=True)
    assert left[-1] < 0.4
    residual = latents.T[None]
    for quantizer in rvq.quantizers:
        code = quantizer.nearest(quantizer.in_project(residual))
        residual = residual - quantizer.lookup(code)
    total = (latents - latents.mean(0)).square().sum()
    assert float(residual.square().sum() / total) == pytest.approx(left[-1], rel=1e-3)


def test_dead_entries_restart_and_live_ones_follow_their_points():
    quantizer = tiny.codec().rvq.quantizers[0]
    quantizer.cluster_size.fill_(4.0)
    quantizer.embed_avg.copy_(quantizer.codebook * 4.0)
    quantizer.cluster_size[5] = 0.0
    points = torch.full((64, 4), 7.0)
    before = quantizer.codebook.clone()
    restarted = update_averages(quantizer, points, torch.zeros(64, dtype=torch.long))
    assert restarted == 1
    assert torch.allclose(quantizer.codebook[5], points[0])
    assert (quantizer.codebook[0] - 7).abs().sum() < (before[0] - 7).abs().sum()
    assert torch.allclose(quantizer.codebook[1], before[1], atol=1e-5)


def test_codebooks_learn_from_the_entries_that_points_take_in_use():
    rvq = tiny.codec().rvq
    latents = torch.randn(2, rvq.config.input_dim, 30, generator=torch.Generator().manual_seed(0))
    start_codebooks(rvq, [(latents.mT, torch.tensor([30, 30]))], torch.Generator().manual_seed(0))
    uses = uses_of(rvq, latents, torch.tensor([30, 20]))
    codes = rvq.encode(latents)
    for level, (points, taken) in enumerate(uses):
        assert points.shape == (50, rvq.config.codebook_dim)
        assert torch.equal(taken, torch.cat([codes[0, level], codes[1, level, :20]]))
        assert torch.equal(taken, rvq.levels[level].nearest(points.T[None])[0])


def test_dropped_levels_add_nothing_to_the_commitment():
    rvq = tiny.codec().rvq
    latents = torch.randn(2, rvq.config.input_dim, 9)
    one, two = (float(rvq(latents, torch.tensor([n, n])).commitment) for n in (1, 2))
    mixed = float(rvq(latents, torch.tensor([1, 2])).commitment)
    halves = zip(latents, (1, 2), strict=True)
    rows = [float(rvq(row[None], torch.tensor([n])).commitment) for row, n in halves]
    assert one < two
    assert mixed == pytest.approx(sum(rows) / 2)


def test_spectral_losses_are_zero_for_equal_audio_only():
    loss = MultiResolutionMelLoss(linear_windows=(512, 2048))
    audio = torch.randn(1, 9600, generator=torch.Generator().manual_seed(0))
    assert loss(audio, audio, loud=True) == (0, 0, 0)
    found = loss(audio * 2, audio, loud=True)
    assert found.mel == pytest.approx(np.log(2), rel=0.02)
    assert found.linear == pytest.approx(np.log(2), rel=0.02)
    assert found.loud == pytest.approx(1, rel=0.02)
    assert loss(audio * 2, audio).loud == 0  # where it is not asked for


def test_magnitudes_weigh_what_is_loud():
    """Half of a vowel's level matters, of what is 40 dB below it hardly; logarithms see no odds."""
    loss = MultiResolutionMelLoss()
    vowel, rest = (
        level * torch.randn(1, 9600, generator=torch.Generator().manual_seed(seed))
        for level, seed in ((0.3, 0), (0.003, 1))
    )
    real = torch.cat([vowel, rest], 1)
    hurt, same = (
        loss(torch.cat([gain * vowel, other * rest], 1), real, loud=True)
        for gain, other in ((0.5, 1.0), (1.0, 0.5))
    )
    assert hurt.mel == pytest.approx(same.mel.item(), rel=0.15)
    assert hurt.loud > 20 * same.loud


def test_takes_are_rewarded_for_differing_in_magnitudes_too():
    real = torch.randn(1, 4800, generator=torch.Generator().manual_seed(0))
    loss = MultiResolutionMelLoss()
    other = torch.randn(2, 4800, generator=torch.Generator().manual_seed(1))
    alike = loss(other[:1].repeat(2, 1), real, loud=True).loud
    assert 0 < loss(other, real, loud=True).loud < 0.7 * alike


def test_the_linear_loss_sees_a_comb_that_mel_bands_do_not():
    """Lines 100 Hz apart above 6 kHz, against a smooth spectrum of the same energy."""
    loss = MultiResolutionMelLoss(((2048, 40),), linear_windows=(2048,))
    time = torch.arange(24_000) / 24_000
    tones = torch.arange(6_000, 11_000, 100.0)[:, None]
    shifts = torch.rand(50, 1, generator=torch.Generator().manual_seed(0)) * 6.28
    comb = torch.sin(6.28318 * tones * time + shifts).sum(0, keepdim=True)
    noise = torch.randn(3, 24_000, generator=torch.Generator().manual_seed(1))
    spectra = torch.fft.rfft(noise[:2])
    spectra[:, :6_000] = spectra[:, 11_000:] = 0
    smooth = torch.fft.irfft(spectra)
    floor = 0.2 * noise[2:]
    smooth = smooth * comb.std() / smooth.std(-1, keepdim=True) + floor
    found = loss(comb + floor, smooth[:1])
    least = loss(smooth[1:], smooth[:1])
    assert found.mel - least.mel < 0.1
    assert found.linear - least.linear > 0.3


@pytest.mark.parametrize(("harmonic", "takes"), [(False, 1), (True, 1), (True, 2)])
def test_stage_two_trains_the_decoder_alone(harmonic: bool, takes: int):
    torch.manual_seed(0)
    config = DecoderTrainConfig(
        codebooks=(tiny.NUM_CODEBOOKS,),
        adversarial_frames=4,
        adversarial_from_step=1,
        warmup_steps=1,
        total_steps=10,
        takes=takes,
    )
    codec = tiny.codec(harmonic_source=harmonic, noise_source=takes > 1)
    stage = StageTwo(codec, config)
    codes = torch.randint(tiny.CODEBOOK_SIZE, (2, tiny.NUM_CODEBOOKS, 6))
    audio = voice(torch.full((6 * 1920,), 150.0)).repeat(2, 1) + 0.01 * torch.randn(2, 6 * 1920)
    before = {name: p.clone() for name, p in stage.codec.named_parameters()}
    judges = [p.clone() for p in stage.discriminators.parameters()]
    spectral = {"mel", "linear"} | ({"excitation"} if harmonic else set())
    assert set(stage.step(codes, audio)) == spectral
    assert set(stage.step(codes, audio)) == spectral | {"adversarial", "matching", "judged"}
    moved = {name for name, p in stage.codec.named_parameters() if not torch.equal(p, before[name])}
    parts = ("rvq.output_proj", "upsample", "acoustic_decoder")
    assert moved == {name for name in before if name.startswith(parts)}
    assert not any(
        torch.equal(p, old)
        for p, old in zip(stage.discriminators.parameters(), judges, strict=True)
    )


def test_of_a_prompt_only_what_it_changes_is_learnt():
    """A prompt is heard, no sound is asked of it, and it reaches the layers that attend to it."""
    codes, audio = sound_and_codes()
    prompt = codes.flip(0, 2)[:, :, :3]
    stage, other = stage_two(takes=1), stage_two(takes=1)
    made = stage.made(torch.cat([prompt, codes], 2), audio, 1)
    assert made.audio.shape == audio.shape
    unprompted = other.made(codes, audio, 1)
    assert unprompted.audio.shape == audio.shape
    assert (made.audio - unprompted.audio).abs().max() > 1e-3
    losses = [stage.step(torch.cat([prompt, codes], 2), audio) for _ in range(12)]
    assert losses[-1]["mel"] < losses[0]["mel"]


def stage_two(**changes: object) -> StageTwo:
    torch.manual_seed(0)
    values = {"adversarial_from_step": 99, "warmup_steps": 1, "total_steps": 10, "takes": 2}
    config = DecoderTrainConfig(**{**values, "codebooks": (2, 4), **changes})
    return StageTwo(tiny.codec(noise_source=True), config)


def sound_and_codes() -> tuple[torch.Tensor, torch.Tensor]:
    """Codes (2, Q, 6) and audio (2, 11520)."""
    generator = torch.Generator().manual_seed(0)
    shape = (2, tiny.NUM_CODEBOOKS, 6)
    codes = torch.randint(tiny.CODEBOOK_SIZE, shape, generator=generator)
    return codes, 0.1 * torch.randn(2, 6 * 1920, generator=generator)


def test_a_step_of_stage_two_that_is_not_finite_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(train_decoder, "MAX_BAD_STEPS", 2)
    stage = stage_two(adversarial_from_step=0, adversarial_frames=2, adversarial_windows=1)
    codes, audio = sound_and_codes()
    stage.step(codes, audio)
    before = weights_of(stage.codec, stage.average, stage.discriminators)
    stage.step(codes, audio * float("nan"))
    assert all_equal(weights_of(stage.codec, stage.average, stage.discriminators), before)
    stage.step(codes, audio)
    assert not all_equal(weights_of(stage.average), before)
    stage.step(codes, audio * float("nan"))
    with pytest.raises(TrainingDivergedError, match="2 steps in a row"):
        stage.step(codes, audio * float("nan"))


def test_a_resumed_stage_two_equals_one_that_was_not_cut():
    codes, audio = sound_and_codes()
    first, whole = stage_two(), stage_two()
    for _ in range(3):
        whole.step(codes, audio)
    first.step(codes, audio)
    cut = stage_two(seed=7)
    cut.load(copy.deepcopy(first.state()))
    for _ in range(2):
        cut.step(codes, audio)
    assert all_equal(weights_of(whole.codec, whole.average), weights_of(cut.codec, cut.average))
    earlier = first.state()
    del earlier["random"]
    stage_two().load(earlier)  # states of an earlier version had none


def test_the_average_soon_forgets_where_it_began():
    stage = stage_two(learning_rate=0.0)
    began = stage.parameters[0].clone()
    with torch.no_grad():
        stage.parameters[0].add_(0.01)
    for _ in range(5):
        stage.step(*sound_and_codes())
    kept = next(p for p in stage.average.rvq.output_proj.parameters())
    assert float(((kept - began) / 0.01).min()) > 0.99


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"codebooks": (2, 9)}, r"codebooks: \(2, 9\) given; allowed: some of 1 to 4"),
        ({"takes": 3}, "takes: 3 given; allowed: 1 or 2"),
        ({"prompt_share": 1.5}, "prompt_share: 1.5 given; allowed: 0 to 1"),
        ({"adversarial_frames": 20, "adversarial_from_step": 1}, "at most 12"),
    ],
)
def test_settings_of_stage_two_that_do_not_fit_are_named(values: dict, message: str):
    with pytest.raises(ValueError, match=message):
        stage_two(**values)


def test_discriminators_learn_to_tell_noise_from_a_tone():
    torch.manual_seed(0)
    judges = Discriminators()
    optimizer = torch.optim.Adam(judges.parameters(), 2e-3)
    tone = torch.sin(torch.arange(4800) * 0.1)[None]
    noise = torch.randn(1, 4800) * 0.3
    first = judges.loss(noise, tone).item()
    for _ in range(12):
        optimizer.zero_grad()
        loss = judges.loss(noise, tone)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.7 * first


@pytest.fixture
def work(tmp_path):
    """A prepared folder of two clips, one of them held out."""
    rng = np.random.default_rng(0)
    samples = (rng.standard_normal(24_000 * 5) * 3000).astype(np.int16)
    samples.tofile(tmp_path / "audio_24k.i16")
    rows = [
        {"id": 7, "offset": 0, "samples": 60_000, "shard": "shard_000.tar"},
        {"id": 100, "offset": 60_000, "samples": 60_000, "shard": "shard_000.tar"},
    ]
    (tmp_path / "index.jsonl").write_text("\n".join(map(json.dumps, rows)))
    np.savez(
        tmp_path / "features_000.npz",
        clip=np.array([7, 100]),
        chunk=np.array([0, 0]),
        semantic=rng.standard_normal((2, 300, 16)).astype(np.float16),
        mel=rng.standard_normal((2, 16, 600)).astype(np.float16),
    )
    return tmp_path


def test_crops_carry_their_own_part_of_the_features(work):
    data = CodecData(work, CROP_FRAMES)
    whole = next(data.batches(1, seed=0))
    data.whole = False
    crop = next(data.batches(1, seed=0))
    first = int(whole.start)
    assert torch.equal(crop.audio, whole.audio)
    assert torch.equal(crop.mel, whole.mel[:, :, 8 * first : 8 * (first + CROP_FRAMES)])
    assert torch.equal(crop.semantic, whole.semantic[:, 4 * first : 4 * (first + CROP_FRAMES)])
    assert crop.start.tolist() == [0]
    assert crop.live.tolist() == [CROP_FRAMES]


def test_sounds_are_those_of_the_crop(work):
    classes = np.arange(125, dtype=np.int16)  # 2.5 s
    data = CodecData(work, CROP_FRAMES, sounds={7: classes})
    batch = next(data.batches(1, seed=0))
    first = 4 * int(batch.start)
    wanted = np.full(4 * CROP_FRAMES, UNKNOWN_SOUND)
    part = classes[first : first + 4 * CROP_FRAMES]
    wanted[: len(part)] = part
    assert batch.sounds[0].tolist() == wanted.tolist()
    row = (*data.items[0][:2], 7, 1)  # of the second chunk nothing is known
    data.clips[7]["samples"], data.samples = 200_000, np.zeros(300_000, np.int16)
    assert data.batch([row], np.random.default_rng(0)).sounds.unique().tolist() == [UNKNOWN_SOUND]
    second = data.batch([data.items[0]], np.random.default_rng(0))
    data.sounds = {}
    nothing = data.batch([data.items[0]], np.random.default_rng(0))
    assert torch.equal(nothing.start, second.start)
    assert nothing.sounds.unique().tolist() == [UNKNOWN_SOUND]


def test_sounds_do_not_reach_into_the_next_chunk(work):
    data = CodecData(work, 70, sounds={7: np.arange(700, dtype=np.int16)})
    data.clips[7]["samples"], data.samples = 10 * 24_000, np.zeros(300_000, np.int16)
    (row,) = data.items
    for seed in range(6):
        batch = data.batch([row], np.random.default_rng(seed))
        first = 4 * int(batch.start)
        assert batch.sounds[0].tolist() == list(range(first, first + 280))
    data.crop_frames = 80
    batch = data.batch([row], np.random.default_rng(0))
    assert batch.sounds[0].tolist() == [*range(300), *[UNKNOWN_SOUND] * 20]


def test_crops_lie_at_the_ends_as_often_as_they_shall(work):
    data = CodecData(work, CROP_FRAMES, ends_share=0.5)
    rng = np.random.default_rng(0)
    starts = np.array([int(data.batch([data.items[0]], rng).start) for _ in range(400)])
    last = 32 - CROP_FRAMES
    assert np.mean(starts == 0) == pytest.approx(0.25 + 0.5 / (last + 1), abs=0.06)
    assert np.mean(starts == last) == pytest.approx(0.25 + 0.5 / (last + 1), abs=0.06)
    assert starts.min() == 0
    assert starts.max() == last


def test_naming_sounds_needs_sounds(work, tmp_path):
    config = CodecTrainConfig(chunks_per_step=1, crop_frames=CROP_FRAMES, sounds_weight=1.0)
    with pytest.raises(ValueError, match="sounds_weight: 1 given, but no clip's sounds are"):
        train(tiny.codec(), work, config, tmp_path / "codec.pt")


def test_data_keeps_held_out_clips_apart(work):
    assert is_held_out(100)
    assert is_held_out(1203)
    assert not is_held_out(7)
    data = CodecData(work, CROP_FRAMES)
    assert [item[2] for item in data.items] == [7]
    batch = next(data.batches(1, seed=0))
    assert batch.audio.shape == (1, CROP_FRAMES * 1920)
    assert batch.live.tolist() == [32]
    begin = int(batch.start) * 1920
    sound = data.samples[begin : begin + CROP_FRAMES * 1920] / 32768
    assert np.allclose(batch.audio[0].numpy(), sound, atol=1e-6)


def test_fewer_chunks_than_in_a_batch_are_named(work):
    with pytest.raises(ValueError, match="batches of 2 chunks need as many; there are 1"):
        next(CodecData(work, CROP_FRAMES).batches(2, seed=0))


def test_a_cut_run_goes_on_where_it_stood(work, tmp_path, monkeypatch: pytest.MonkeyPatch):
    widths, steps = set(), []
    start, step = StageOne.start_quantizing, StageOne.step

    def watched_start(stage: StageOne, batches: list[CodecBatch]) -> None:
        widths.update(batch.mel.shape[2] for batch in batches)
        start(stage, batches)

    def watched_step(stage: StageOne, batch: CodecBatch) -> dict[str, float]:
        steps.append(stage.step_count)
        return step(stage, batch)

    monkeypatch.setattr(StageOne, "start_quantizing", watched_start)
    monkeypatch.setattr(StageOne, "step", watched_step)
    config = {"chunks_per_step": 1, "crop_frames": CROP_FRAMES, "quantize_after_steps": 2}
    out = tmp_path / "codec.pt"
    torch.manual_seed(0)
    train(tiny.codec().train(), work, CodecTrainConfig(**config, total_steps=2), out)
    assert torch.load(out, weights_only=True)["step"] == 2
    train(tiny.codec(seed=5).train(), work, CodecTrainConfig(**config, total_steps=3), out)
    state = torch.load(out, weights_only=True)
    assert state["step"] == 3
    assert state["quantizing"]
    assert steps == [0, 1, 2]
    assert widths == {8 * CROP_FRAMES}  # crops, as everything before saw


def test_a_resumed_stage_one_equals_one_that_was_not_cut():
    def stage_of(cut: bool) -> StageOne:
        stage = stage_one(sounds_weight=1.0)
        stage.start_quantizing([noise_batch(n) for n in range(3)])
        for number in range(3):
            if cut and number == 1:
                torch.manual_seed(number)  # another process
                state, stage = (
                    copy.deepcopy(stage.state()),
                    StageOne(tiny.codec(seed=5).train(), stage.config),
                )
                stage.load(state)
            for quantizer in stage.codec.rvq.quantizers:
                quantizer.cluster_size[:4] = 0  # they die, as they do in a long run
            stage.step(noise_batch(number))
        return stage

    whole, cut = (stage_of(is_cut) for is_cut in (False, True))
    assert all_equal(
        *(weights_of(one.codec, one.average, one.decoder, one.namer) for one in (whole, cut))
    )


def test_the_energy_distance_prefers_takes_as_varied_as_what_is_real():
    """L1 alone prefers a sound that is always the same: the median of what is real."""
    loss = MultiResolutionMelLoss(((512, 40),), linear_windows=(512,))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(24, 12_000, generator=generator)
    real, takes = noise[:8], noise[8:]
    spectrum = torch.stft(real, 512, 128, window=torch.hann_window(512), return_complex=True)
    median = spectrum.abs().median()
    phases = torch.polar(torch.ones_like(spectrum.abs()), torch.angle(spectrum))
    # Magnitudes of no variance at all cannot be had in a sound; nearly so in one of few iterations.
    smooth = real
    for _ in range(20):
        smooth = torch.istft(median * phases, 512, 128, window=torch.hann_window(512))
        again = torch.stft(smooth, 512, 128, window=torch.hann_window(512), return_complex=True)
        phases = torch.polar(torch.ones_like(again.abs()), torch.angle(again))
    size = smooth.shape[1]
    smooth = smooth.roll(1, 0)
    same = torch.cat([smooth, smooth])
    real, takes = real[:, :size], takes[:, :size]
    assert loss(same, real.repeat(2, 1))[1] < loss(takes, real.repeat(2, 1))[1]
    for drawn, dull in zip(loss(takes, real, True), loss(same, real, True), strict=True):
        assert drawn < dull


def test_the_energy_distance_of_one_take_is_the_distance():
    made, real = torch.randn(2, 2, 6_000, generator=torch.Generator().manual_seed(0)).unbind()
    assert energy_distance(made, real) == (made - real).abs().mean()


def test_the_energy_distance_of_two_takes_is_the_formula():
    made = torch.tensor([[1.0], [4.0], [3.0], [8.0]])  # two takes of two clips
    real = torch.tensor([[0.0], [5.0]])
    to_real, between = (1 + 1 + 3 + 3) / 4, (2 + 4) / 2
    assert energy_distance(made, real) == to_real - between / 2
