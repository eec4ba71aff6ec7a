"""The public face, over a tiny random checkpoint whose turns end as scripted."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file

import fireredtts2
from fireredtts2 import FireRedTTS2, FireRedTTS2_Stream, Segment, SpeechError, Turn, Voice
from fireredtts2.config import OUTPUT_SAMPLES_PER_FRAME
from fireredtts2.engine.device import available_devices, resolve_device, resolve_dtype
from fireredtts2.llm.sampling import SamplingParams
from fireredtts2.narration.lead import Lead
from fireredtts2.proofing.ctc_aligner import CtcAligner
from fireredtts2.proofing.listener import Listener
from fireredtts2.script import ScriptTurn
from fireredtts2.speech import collect
from tests.tiny import (
    CODEBOOK_SIZE,
    NUM_CODEBOOKS,
    ScriptedRunner,
    script_turns,
    write_checkpoint,
    write_listener,
)

SCRIPT = ["[S1]Hello there.", "[S2]Hi, how are you?"]
FRAME = OUTPUT_SAMPLES_PER_FRAME

Scripted = Callable[..., FireRedTTS2]


@pytest.fixture(scope="module")
def loaded(tiny_checkpoint: Path) -> FireRedTTS2:
    return FireRedTTS2(tiny_checkpoint, device="cpu")


@pytest.fixture(scope="module")
def loaded_stream(tiny_checkpoint: Path) -> FireRedTTS2_Stream:
    return FireRedTTS2_Stream(str(tiny_checkpoint), "monologue", "cpu")


@pytest.fixture
def tts(loaded: FireRedTTS2) -> Scripted:
    """The model, with a fresh cache, whose turns have these lengths."""

    def scripted(*lengths: int | None) -> FireRedTTS2:
        loaded.studio.engine.scheduler.slots[0].keys.clear()
        script_turns(loaded.studio.engine, *lengths)
        return loaded

    return scripted


@pytest.fixture
def stream(loaded_stream: FireRedTTS2_Stream) -> Callable[..., FireRedTTS2_Stream]:
    def scripted(*lengths: int | None) -> FireRedTTS2_Stream:
        loaded_stream.studio.engine.scheduler.slots[0].keys.clear()
        script_turns(loaded_stream.studio.engine, *lengths)
        return loaded_stream

    return scripted


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of noise that stands for a voice: stereo, 22.05 kHz."""
    path = tmp_path_factory.mktemp("clips") / "voice.wav"
    noise = np.random.default_rng(0).normal(0, 0.1, (44_100, 2))
    soundfile.write(path, noise.astype(np.float32), 22_050)
    return path


def voice(name: str, seed: int) -> Voice:
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, CODEBOOK_SIZE, (NUM_CODEBOOKS, 20), generator=generator)
    return Voice(name, codes, f"I am {name}.")


# --- The package ------------------------------------------------------------------------------


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, fireredtts2; print([m for m in ('torch', 'numpy', 'av') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_there():
    from fireredtts2 import fireredtts2 as module

    published = ["FireRedTTS2", "FireRedTTS2_Stream", "clean_text", "split_text"]
    for name in [*published, "process_text_list"]:
        assert getattr(fireredtts2, name) is getattr(module, name)
    assert set(fireredtts2.__all__) == set(module.__all__) <= set(dir(fireredtts2))
    with pytest.raises(AttributeError, match="no attribute 'speak'"):
        _ = fireredtts2.speak


# --- The published calls ----------------------------------------------------------------------


def test_generate_dialogue_with_random_voices(tts: Scripted):
    audio = tts(5, 7).generate_dialogue(SCRIPT, temperature=0.9, topk=30)
    assert (audio.dtype, audio.shape) == (torch.float32, (1, 12 * FRAME))
    assert audio.abs().max() > 0


def test_generate_dialogue_clones(tts: Scripted, clip: Path):
    model = tts(5, 7)
    audio = model.generate_dialogue(
        text_list=SCRIPT,
        prompt_wav_list=[str(clip), clip],
        prompt_text_list=["[S1]First prompt.", "[S2]Second prompt."],
        seed=3,
    )
    assert audio.shape == (1, 12 * FRAME)
    runner = model.studio.engine.model_runner
    # Both prompts: two seconds are 25 frames; their texts; and the second's preceding end row.
    assert runner.num_prefilled_rows > 2 * 25 + len("First prompt.") + len("Second prompt.")


def test_generate_monologue_random(tts: Scripted):
    assert tts(6).generate_monologue("Hello there.").shape == (1, 6 * FRAME)


def test_generate_monologue_cloned_leaves_two_frames_unspoken(tts: Scripted, clip: Path):
    model = tts(12, 30)
    audio = model.generate_monologue("Hello there.", prompt_wav=clip, prompt_text="A prompt.")
    assert audio.shape == (1, 28 * FRAME), "twelve frames are too few: a second attempt"
    # TAG, start, prompt without its last character, comma, text, end; 25 prompt frames less two;
    # all but the last row, twice.
    rows = 1 + 1 + len("A prompt") + 1 + len("Hello there.") + 1 + 23
    # The only block is the last one, which is read anew for every attempt.
    assert model.studio.engine.model_runner.num_prefilled_rows == 2 * (rows - 1)


def test_generate_monologue_stops_at_400_frames(tts: Scripted):
    audio = tts().generate_monologue("Hello.", max_attempts=1)
    assert audio.shape == (1, 400 * FRAME)


def test_generate_monologue_joins_pieces(tts: Scripted):
    text = "This is one sentence of a longer text. " * 20
    audio = tts(20, 30, 30, 30).generate_monologue(text)
    assert audio.shape == (1, (20 + 28) * FRAME), "800 bytes are two pieces; the second continues"


def test_generate_after_a_context(tts: Scripted):
    context = [
        Segment("[S1]", "Hello there.", torch.randn(16_000) * 0.1),
        Segment("S2", "Hi.", torch.randn(1, 24_000) * 0.1, sample_rate=24_000),
    ]
    audio = tts(9).generate("How are you?", "[S1]", context, 2_000, 0.9, 30)
    assert audio.shape == (1, 9 * FRAME)
    audio = tts().generate("How are you?", "[S1]", context, max_audio_length_ms=800)
    assert audio.shape == (1, 10 * FRAME), "the wanted length"


def test_generate_single_continues_a_prompt(tts: Scripted):
    prompt = Segment("S1", "What was said, and what comes.", torch.randn(16_000) * 0.1)
    assert tts(30).generate_single([prompt], 0.9, 30).shape == (1, 28 * FRAME)
    assert tts(30).generate_single([Segment("S1", "All is new.")]).shape == (1, 30 * FRAME)


def test_streams_of_the_published_calls_are_the_same_samples(
    tts: Scripted, stream: Callable[..., FireRedTTS2_Stream], clip: Path
):
    calls = {
        "generate_dialogue": (SCRIPT,),
        "generate_monologue": ("Hello there.", clip, "A prompt."),
        "generate": ("How are you?", "S1", [], 2_000),
        "generate_single": ([Segment("S1", "All is new.")],),
    }
    for name, arguments in calls.items():
        whole = getattr(tts(25, 21), name)(*arguments, seed=4)
        chunks = list(getattr(stream(25, 21), name)(*arguments, seed=4))
        assert len(chunks) > 1
        assert all(chunk.ndim == 2 and chunk.shape[0] == 1 for chunk in chunks)
        torch.testing.assert_close(torch.cat(chunks, dim=1), whole, atol=1e-5, rtol=0, msg=name)


# --- The better names -------------------------------------------------------------------------


def test_dialogue_in_voices(tts: Scripted):
    cast = {"S1": voice("anna", 1), "[S2]": voice("bert", 2), "S3": voice("carl", 3)}
    speech = tts(5, 7).dialogue(SCRIPT, voices=cast, seed=1)
    assert speech.sample_rate == 24_000
    assert speech.seed == 1
    assert [(turn.speaker, turn.text) for turn in speech.turns] == [
        ("S1", "Hello there."),
        ("S2", "Hi, how are you?"),
    ]
    assert [turn.codes.shape for turn in speech.turns] == [(NUM_CODEBOOKS, 5), (NUM_CODEBOOKS, 7)]
    other = tts(5, 7).dialogue(SCRIPT, voices={**cast, "S1": voice("dora", 4)}, seed=1)
    assert not torch.equal(speech.audio, other.audio)


def test_drawn_seed_repeats_the_clip(tts: Scripted):
    speech = tts(5, 7).dialogue(SCRIPT)
    again = tts(5, 7).dialogue(SCRIPT, seed=speech.seed)
    assert torch.equal(speech.audio, again.audio)


def test_stream_dialogue_is_the_whole_dialogue(tts: Scripted):
    cast = {"S1": voice("anna", 1)}
    whole = tts(5, 7).dialogue(SCRIPT, cast, seed=1)
    for hold_turns in (False, True):
        chunks = list(tts(5, 7).stream_dialogue(SCRIPT, cast, seed=1, hold_turns=hold_turns))
        assert torch.equal(torch.cat([chunk.audio for chunk in chunks]), whole.audio)
        turns = [chunk.turn for chunk in chunks if chunk.turn is not None]
        assert [turn.text for turn in turns] == ["Hello there.", "Hi, how are you?"]


def test_say_and_its_stream(tts: Scripted):
    whole = tts(8).say("Hello there.", voice("anna", 1), seed=2)
    chunks = list(tts(8).stream_say("Hello there.", voice("anna", 1), seed=2))
    assert torch.equal(torch.cat([chunk.audio for chunk in chunks]), whole.audio)
    assert whole.duration_s == pytest.approx(0.64)
    again = tts(8).stream_monologue("Hello there.", voice("anna", 1), seed=2)
    assert torch.equal(torch.cat([chunk.audio for chunk in again]), whole.audio)


def test_second_clip_in_a_voice_reads_only_its_text(tts: Scripted):
    model = tts(8, 8)
    runner = model.studio.engine.model_runner
    model.say("Hello there.", voice("anna", 1))
    before = runner.num_prefilled_rows
    model.say("Good bye.", voice("anna", 1))
    assert runner.num_prefilled_rows - before < 20


def test_stream_is_generate_as_a_stream(tts: Scripted):
    earlier = tts(5).dialogue(SCRIPT[:1], seed=1).turns
    whole = tts(6).generate("And you?", "S2", earlier, seed=2)
    chunks = list(tts(6).stream("And you?", "S2", earlier, seed=2))
    assert torch.equal(torch.cat([chunk.audio for chunk in chunks])[None], whole)


def test_long_turns_are_one_turn(tts: Scripted):
    text = "This is one sentence of a longer turn. " * 15
    model = tts(*[5] * 20)
    speech = model.dialogue([f"[S1]{text}", "[S2]I see."], seed=1)
    assert [turn.speaker for turn in speech.turns] == ["S1", "S2"]
    assert speech.turns[0].codes.shape[1] >= 10
    assert speech.turns[0].text == text.strip()


def test_reencoded_context_changes_later_turns_only(tts: Scripted):
    kept = tts(9, 9).dialogue(SCRIPT, seed=1)
    again = tts(9, 9).dialogue(SCRIPT, seed=1, reencode_context=True)
    assert torch.equal(kept.turns[0].codes, again.turns[0].codes)
    assert not torch.equal(kept.turns[1].codes, again.turns[1].codes)


def test_sampling_of_both_transformers_reaches_them(tts: Scripted):
    greedy = {"temperature": 0.0, "depth_temperature": 0.0}
    one, two = (tts(9, 9).dialogue(SCRIPT, seed=seed, **greedy) for seed in (1, 2))
    assert torch.equal(one.audio, two.audio)
    drawn = tts(9, 9).dialogue(SCRIPT, seed=1, temperature=0.0, depth_temperature=2.0)
    first = drawn.turns[0].codes[:, 0]
    assert first[0] == one.turns[0].codes[0, 0]
    assert not torch.equal(first, one.turns[0].codes[:, 0])


def with_sampling(folder: Path, sampling: dict) -> Path:
    path = write_checkpoint(folder) / "config_llm.json"
    values = json.loads(path.read_text())
    values["llm_models"]["sampling"] = sampling
    path.write_text(json.dumps(values))
    return folder


def test_a_checkpoint_names_its_own_sampling(tmp_path: Path):
    folder = with_sampling(tmp_path / "cool", {"temperature": 0.5, "depth_topk": 3})
    options = FireRedTTS2(folder, device="cpu").studio.options
    assert options({"seed": 1}).sampling == SamplingParams(0.5, depth_topk=3)
    assert options({"temperature": 0.9, "topk": None}).sampling == SamplingParams(depth_topk=3)


@pytest.mark.parametrize(
    ("sampling", "message"),
    [({"temperature": -1.0}, "temperature -1.0"), ({"heat": 1.0}, "'heat'")],
)
def test_a_checkpoint_with_a_bad_sampling(tmp_path: Path, sampling: dict, message: str):
    folder = with_sampling(tmp_path / "bad", sampling)
    with pytest.raises(ValueError, match=f"llm_models.sampling .*{message}"):
        FireRedTTS2(folder, device="cpu")


def test_speech_is_saved(tts: Scripted, tmp_path: Path):
    speech = tts(5).say("Hello there.")
    audio, rate_hz = soundfile.read(speech.save(tmp_path / "hello.wav"))
    assert (len(audio), rate_hz) == (5 * FRAME, 24_000)


def test_failed_turn_leaves_the_finished_ones(tts: Scripted):
    kept: list[Turn] = []
    with pytest.raises(SpeechError, match="turn 2") as caught:
        tts(5, 0, 0, 0).dialogue(SCRIPT, on_turn=kept.append)
    assert [turn.text for turn in caught.value.turns] == ["Hello there."]
    assert kept[0].audio.shape[0] == 5 * FRAME


def test_a_failed_stream_holds_no_turns_twice(tts: Scripted):
    seen = []
    with pytest.raises(SpeechError, match="turn 2") as caught:
        seen.extend(tts(5, 0, 0, 0).stream_dialogue(SCRIPT))
    assert caught.value.turns == []


def test_progress_is_reported(tts: Scripted):
    seen = []
    tts(5, 7).dialogue(SCRIPT, on_progress=seen.append)
    assert seen[0].turn_index == 0
    assert seen[-1].turn_index == seen[-1].num_turns == 2


def test_make_voice_keep_it_and_speak_with_it(
    tts: Scripted, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    model = tts(5, 5)
    made = model.make_voice("anna", clip, "What is said in the clip.")
    assert made.codes.shape == (NUM_CODEBOOKS, 25)
    monkeypatch.setattr(model.voices, "folders", [tmp_path])
    model.voices.add(made)
    speech = model.say("Hello there.", "anna", seed=1)
    assert torch.equal(speech.audio, tts(5).say("Hello there.", made, seed=1).audio)
    with pytest.raises(ValueError, match=r"no voice 'ana'.*anna"):
        model.say("Hello there.", "ana")


def spoken_in_every_way(tts: FireRedTTS2, made: Voice, clip: Path) -> list[Turn]:
    """Turns in the voice of a clip: alone, in a dialogue, after the clip as a segment before."""
    sound = torch.from_numpy(soundfile.read(clip, dtype="float32")[0].T)
    before = Segment("S1", "What is said.", sound, soundfile.info(clip).samplerate)
    spoken = [
        *tts.say("Hello.", made, seed=1).turns,
        *tts.dialogue(SCRIPT, voices={"S1": made, "S2": made}, seed=1).turns,
        *collect(tts.stream("Go on.", "S1", [before], seed=1)).turns,
    ]
    assert len(spoken) == 4
    return spoken


def test_a_voice_is_equalized_where_the_codec_can(tmp_path: Path, clip: Path):
    """In every way to give one."""
    folder = write_checkpoint(tmp_path / "equalized", equalizer=1.0)
    tts = FireRedTTS2(folder, device="cpu", gen_type="dialogue")
    made = tts.make_voice("anna", clip, "What is said.")
    assert made.spectrum is not None
    gains = tts.codec.equalization(made.spectrum, made.codes)
    assert gains is not None

    script_turns(tts.studio.engine, *[5] * 4)
    for turn in spoken_in_every_way(tts, made, clip):
        equalized = tts.codec.decode(turn.codes[None], gains[None])[0]
        assert (turn.audio - equalized).abs().max() < 1e-5
        assert (turn.audio - tts.codec.decode(turn.codes[None])[0]).abs().max() > 1e-3


def test_an_equalised_voice_is_looked_at_once(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = write_checkpoint(tmp_path / "equalized", equalizer=1.0)
    prompter = FireRedTTS2(folder, device="cpu").studio.prompter
    voices = [prompter.make_voice("anna", clip, text) for text in ("One.", "Two.")]
    other = Voice("other", voices[0].codes.flip(1), "Three.", spectrum=voices[0].spectrum)
    decode, decoded = prompter.codec.decode, []

    def noted(*args, **more):
        decoded.append(args)
        return decode(*args, **more)

    monkeypatch.setattr(prompter.codec, "decode", noted)
    first, again, third = (prompter.from_voice("S1", one).timbre for one in (*voices, other))
    assert len(decoded) == 2
    assert first is again
    assert first is not None
    assert third is not None
    assert not torch.equal(first.gains, third.gains)


@pytest.mark.parametrize("equalizer", [0.0, 1.0])
def test_a_voices_clip_is_heard_before_each_turn_where_the_codec_wants_it(
    tmp_path: Path, clip: Path, equalizer: float
):
    """In every way to give a voice; a random voice hears what it said first."""
    folder = write_checkpoint(tmp_path / "prompted", equalizer=equalizer, prompt_frames=4)
    tts = FireRedTTS2(folder, device="cpu", gen_type="dialogue")
    made = tts.make_voice("anna", clip, "What is said.")
    gains = None
    if equalizer:
        assert made.spectrum is not None
        gains = tts.codec.equalization(made.spectrum, made.codes)[None]
    script_turns(tts.studio.engine, *[5] * 9)
    for turn in spoken_in_every_way(tts, made, clip):
        expected = tts.codec.decode(turn.codes[None], gains, made.codes[None, :, -4:])[0]
        assert (turn.audio - expected).abs().max() < 1e-5
    first, other, second = tts.dialogue(["[S1]Hello.", "[S2]Hm?", "[S1]Hello."], seed=1).turns
    for turn, heard in ((first, None), (other, None), (second, first.codes[None, :, -4:])):
        expected = tts.codec.decode(turn.codes[None], prompt=heard)[0]
        assert (turn.audio - expected).abs().max() < 1e-5


@pytest.mark.parametrize("reencode", [False, True])
def test_a_random_voice_is_heard_in_as_many_codebooks_as_are_spoken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reencode: bool
):
    folder = write_checkpoint(tmp_path / "prompted", prompt_frames=4)
    tts = FireRedTTS2(folder, device="cpu", gen_type="dialogue")
    # The language model makes fewer than the codec has.
    fewer = dataclasses.replace(tts.studio.prompter, num_codebooks=NUM_CODEBOOKS - 1)
    monkeypatch.setattr(tts.studio, "prompter", fewer)
    asked = []
    monkeypatch.setattr(tts.codec, "timbre", lambda codes, spectrum: asked.append(codes))
    script_turns(tts.studio.engine, *[5] * 3)
    tts.dialogue(["[S1]Hello.", "[S1]Hello."], seed=1, reencode_context=reencode)
    assert [tuple(codes.shape) for codes in asked] == [(NUM_CODEBOOKS - 1, 5)]


@pytest.fixture
def listening(tmp_path: Path) -> FireRedTTS2:
    return FireRedTTS2(write_listener(write_checkpoint(tmp_path / "listening")), device="cpu")


def test_a_checkpoint_may_have_a_listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = write_checkpoint(tmp_path / "listened")
    asked = {"text": {"proof_takes": 2, "proof_clearness": -1.0}}
    (folder / "config_text.json").write_text(json.dumps(asked))
    with pytest.raises(ValueError, match=r"listener\.safetensors: no such file.*asks for 2 takes"):
        FireRedTTS2(folder, device="cpu")
    save_file(CtcAligner(16).state_dict(), folder / "listener.safetensors")
    tts = FireRedTTS2(folder, device="cpu")
    script_turns(tts.studio.engine, *[5, 6, 7])
    clearness = iter([-3.0, -0.5])
    monkeypatch.setattr(Listener, "clearness", lambda self, audio, units: next(clearness))
    assert len(tts.say("Hello.", seed=1).audio) == 6 * FRAME
    assert len(tts.say("Hello.", seed=1, takes=1).audio) == 7 * FRAME


def test_a_stream_with_a_seed_is_not_judged_unless_takes_are_given(listening: FireRedTTS2):
    """What is spoken again depends on the time, and who gives a seed wants the same again."""
    options = listening.studio.options
    assert options({"seed": 1}).takes == 2
    assert options({}, hold=False).takes == 2
    assert options({"seed": None}, hold=False).takes == 2
    assert options({"seed": 1}, hold=False).takes == 1
    assert options({"seed": 1, "takes": 3}, hold=False).takes == 3


def test_streams_hear_themselves_while_there_is_time(
    listening: FireRedTTS2, monkeypatch: pytest.MonkeyPatch
):
    script_turns(listening.studio.engine, *[5, 6, 7])
    clearness = iter([-3.0, -0.5])
    monkeypatch.setattr(Listener, "clearness", lambda self, audio, units: next(clearness))
    script = [ScriptTurn("S1", "Hello."), ScriptTurn("S2", "Yes?", pause_s=60.0)]
    turns = collect(listening.stream_dialogue(script)).turns
    assert [turn.codes.shape[1] for turn in turns] == [5, 7]


def test_what_is_heard_too_fast_leaves_no_time(
    listening: FireRedTTS2, monkeypatch: pytest.MonkeyPatch
):
    script_turns(listening.studio.engine, *[5, 6])
    monkeypatch.setattr(Listener, "clearness", lambda *_: pytest.fail("no time for that"))
    script = [ScriptTurn("S1", "Hello."), ScriptTurn("S2", "Yes?", pause_s=60.0)]
    turns = collect(listening.stream_dialogue(script, lead=Lead(speed=100.0))).turns
    assert [turn.codes.shape[1] for turn in turns] == [5, 6]


# --- Bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        [],
        ["Hello."],
        ["[S10]Hello."],
        ["[S5]Hello."],
        ["[S1]"],
        ["[S1]Fine.", "[S2]  "],
        [7],
        ["[S1]Fine.", "[S2]Not [S1]so."],
        ["[S1]Fine.", "[S2]Not <|text_end|> so."],
    ],
)
def test_bad_scripts(tts: Scripted, script: list):
    with pytest.raises(ValueError, match=r"\S"):
        tts(5, 5).dialogue(script)
    with pytest.raises(ValueError, match=r"\S"):
        tts(5, 5).stream_dialogue(script)  # at once, not when it is read


def test_one_string_is_no_script(tts: Scripted):
    with pytest.raises(ValueError, match="one string was given"):
        tts(5).dialogue("[S1]Hello.")


def test_a_turn_too_long_for_the_window_is_found_before_the_first_is_spoken(tts: Scripted):
    model = tts(5, 5)
    rows = model.studio.engine.model_runner.max_rows
    limit_ms = (rows - 60) * 80.0
    with pytest.raises(ValueError, match=r"rows of the context window"):
        model.stream_dialogue([*SCRIPT, "[S1]" + "word " * 20], turn_limit_ms=limit_ms)
    assert model.studio.engine.model_runner.num_prefilled_rows == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.say(None), "a text is a string, not NoneType"),
        (lambda m: m.say(["Hello."]), "a text is a string, not list"),
        (lambda m: m.say("Hello.", 5), "a voice is a name or a Voice"),
        (lambda m: m.dialogue(SCRIPT, ["anna"]), "voices are given by speaker"),
        (lambda m: m.dialogue(SCRIPT, {1: "anna"}), "a speaker is one of S1"),
        (lambda m: m.say("Hello.", temperature="0.9"), "temperature '0.9'"),
        (lambda m: m.say("Hello.", depth_temperature=True), "depth_temperature True"),
        (lambda m: m.say("Hello.", topk="20"), "topk '20'"),
        (lambda m: m.say("Hello.", topk=99_999), "topk 99999: this model has"),
        (lambda m: m.say("Hello.", depth_topk=99_999), "depth_topk 99999: this model has"),
        (lambda m: m.say("Hello.", turn_limit_ms="5000"), "turn_limit_ms '5000'"),
        (lambda m: m.say("Hello.", max_attempts=1.5), "max_attempts 1.5"),
        (lambda m: m.generate("Hello.", 1, []), "a speaker is one of S1"),
        (lambda m: m.generate_monologue("Hello.", torch.zeros(9), "Hi."), "not Tensor"),
        (lambda m: m.generate_dialogue(SCRIPT, "a.wav", "[S1]Hi."), "are lists"),
        (lambda m: m.generate_dialogue(SCRIPT, ["a.wav"], [None]), "no speaker tag before 'None'"),
        (lambda m: m.make_voice("anna", "a.wav", None), "needs the transcript"),
    ],
)
def test_arguments_of_the_wrong_type(tts: Scripted, call, message: str):
    with pytest.raises(ValueError, match=message):
        call(tts(5, 5))


@pytest.mark.parametrize("text", ["", "   ", "?!...", "\n"])
def test_nothing_to_say(tts: Scripted, text: str):
    with pytest.raises(ValueError, match=r"\S"):
        tts(5).say(text)


def test_prompts_and_transcripts_must_pair(tts: Scripted, clip: Path):
    model = tts(5, 5)
    with pytest.raises(ValueError, match="1 prompt clips and 0 prompt texts"):
        model.generate_dialogue(SCRIPT, prompt_wav_list=[clip])
    with pytest.raises(ValueError, match="0 prompt clips and 1 prompt texts"):
        model.generate_dialogue(SCRIPT, prompt_text_list=["[S1]Hello."])
    with pytest.raises(ValueError, match="without prompt_text"):
        model.generate_monologue("Hello.", prompt_wav=clip)
    with pytest.raises(ValueError, match="without prompt_wav"):
        model.generate_monologue("Hello.", prompt_text="Hello.")
    with pytest.raises(ValueError, match=r"no speaker tag before 'Hello\.'"):
        model.generate_dialogue(SCRIPT, [clip], ["Hello."])
    with pytest.raises(ValueError, match="needs the transcript"):
        model.make_voice("anna", clip, " ")
    with pytest.raises(ValueError, match="voice 'anna': the transcript cannot be read: nothing"):
        model.make_voice("anna", clip, "...")
    with pytest.raises(ValueError, match=r"voice 'anna': .* speaker tag, \[S1\]"):
        model.make_voice("anna", clip, "[S1]Hello.")


@pytest.mark.parametrize(("seconds", "gain", "message"), [(2, 0.0, "silence"), (70, 0.1, "40 s")])
def test_prompts_are_checked(
    tts: Scripted, tmp_path: Path, seconds: int, gain: float, message: str
):
    path = tmp_path / "prompt.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, gain, seconds * 16_000), 16_000)
    with pytest.raises(ValueError, match=message):
        tts(5).generate_monologue("Hello.", path, "A prompt.")


def test_voices_that_do_not_fit(tts: Scripted):
    model = tts(5)
    few = Voice("few", torch.ones(2, 20, dtype=torch.long), "Two codebooks.")
    with pytest.raises(ValueError, match="has 2 codebooks; this model needs 4"):
        model.say("Hello.", few)
    other = Voice("other", torch.ones(4, 20, dtype=torch.long), "Hello.", codec_id="0123")
    with pytest.raises(ValueError, match="another codec"):
        model.say("Hello.", other)
    strange = Voice("strange", torch.full((4, 20), 19), "Unknown codes.")
    with pytest.raises(ValueError, match="codes from 19 to 19; this model knows 0 to 18"):
        model.say("Hello.", strange)
    with pytest.raises(ValueError, match="unknown speaker 'S9'; allowed: S1"):
        model.dialogue(SCRIPT, {"S9": voice("anna", 1)})


def test_of_a_segment_in_stereo_the_first_channel_counts(tts: Scripted):
    left = 0.1 * torch.randn(16_000, generator=torch.Generator().manual_seed(0))
    stereo = torch.stack([left, torch.zeros(16_000)])
    from_segment = tts().studio.prompter.from_segment
    one, two = (from_segment(Segment("S1", "Hi.", audio, 16_000)) for audio in (left, stereo))
    assert torch.equal(one.codes, two.codes)
    with pytest.raises(ValueError, match=r"shape \(1, 1, 16000\)"):
        from_segment(Segment("S1", "Hi.", left[None, None], 16_000))


def test_a_tokenizer_with_more_tokens_than_the_model(tmp_path: Path):
    path = write_checkpoint(tmp_path / "small") / "tokenizer" / "tokenizer.json"
    values = json.loads(path.read_text())
    values["model"]["vocab"] |= {f"<{n}>": n for n in range(100, 400)}
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match="of which the language model knows 256"):
        FireRedTTS2(tmp_path / "small", device="cpu")


def test_segments_must_be_whole(tts: Scripted):
    with pytest.raises(ValueError, match="needs its text and its audio"):
        tts(5).generate("Hello.", "S1", [Segment("S1", "No audio.")])
    with pytest.raises(ValueError, match="last segment"):
        tts(5).generate_single([])
    with pytest.raises(ValueError, match="unknown speaker"):
        tts(5).generate("Hello.", "Anna", [])


def test_checkpoint_must_be_there(tmp_path: Path, tiny_checkpoint: Path):
    with pytest.raises(ValueError, match="no such folder"):
        FireRedTTS2(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="gen_type 'song'"):
        FireRedTTS2(tiny_checkpoint, "song")  # type: ignore[arg-type]


# --- Devices ----------------------------------------------------------------------------------


def test_bfloat16_speaks(tiny_checkpoint: Path):
    model = FireRedTTS2(tiny_checkpoint, "dialogue", "cpu", use_bf16=True)
    assert model.studio.engine.model_runner.model.dtype == torch.bfloat16
    assert next(model.codec.parameters()).dtype == torch.float32
    runner: ScriptedRunner = script_turns(model.studio.engine, 5)
    assert model.say("Hello there.").duration_s == pytest.approx(0.4)
    assert runner.num_started == 1


def test_devices_are_named_when_one_is_missing():
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type == available_devices()[0]
    with pytest.raises(ValueError, match="unknown device 'gpu'; this machine has: auto"):
        resolve_device("gpu")
    missing = "mps" if "mps" not in available_devices() else "cuda:99"
    with pytest.raises(ValueError, match=f"device '{missing}' is not there; this machine has"):
        resolve_device(missing)


def test_several_devices_make_what_one_makes(tiny_checkpoint: Path):
    limits = {"turn_limit_ms": 640, "on_runaway": "accept", "seed": 3}
    expected = FireRedTTS2(tiny_checkpoint, device="cpu").dialogue(SCRIPT, **limits)
    model = FireRedTTS2(tiny_checkpoint, device="cpu,cpu")
    try:
        made = model.dialogue(SCRIPT, **limits)
    finally:
        model.studio.engine.close()
    torch.testing.assert_close(made.audio, expected.audio, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="unknown device 'tpu'"):
        FireRedTTS2(tiny_checkpoint, device="cpu,tpu")


def test_as_many_slots_as_fit(tiny_checkpoint: Path):
    model = FireRedTTS2(tiny_checkpoint, device="cpu", num_slots="auto")
    assert len(model.studio.engine.scheduler.slots) > 1
    with pytest.raises(ValueError, match=r"slots of .* rows take"):
        FireRedTTS2(tiny_checkpoint, device="cpu", num_slots=10_000_000)


def test_types_by_name():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert resolve_dtype("auto", False, "auto", cpu) == "float32"
    assert resolve_dtype("auto", False, "auto", cuda) == "bfloat16"
    assert resolve_dtype("auto", False, "cuda", cuda) == "float32", "as in the published program"
    assert resolve_dtype("auto", True, "cuda", cuda) == "bfloat16"
    assert resolve_dtype("bfloat16", False, "cpu", cpu) == "bfloat16"
    assert resolve_dtype("int8", False, "cpu", cpu) == "int8"
    with pytest.raises(ValueError, match="contradict"):
        resolve_dtype("float32", True, "cpu", cpu)
    assert resolve_dtype("fp8", False, "cuda", cuda) == "fp8"
    with pytest.raises(ValueError, match="'fp8' is not for cpu"):
        resolve_dtype("fp8", False, "cpu", cpu)
    with pytest.raises(
        ValueError, match="dtype 'int4'; allowed: auto, float32, bfloat16, int8, fp8"
    ):
        resolve_dtype("int4", False, "cpu", cpu)  # type: ignore[arg-type]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
def test_a_gpu_makes_the_codes_of_the_cpu(tts: Scripted, tiny_checkpoint: Path):
    greedy = {"temperature": 0.0, "depth_temperature": 0.0, "seed": 1}
    expected = tts(9, 9).dialogue(SCRIPT, **greedy)
    model = FireRedTTS2(tiny_checkpoint, device="cuda", dtype="float32")
    script_turns(model.studio.engine, 9, 9)
    speech = model.dialogue(SCRIPT, **greedy)
    torch.testing.assert_close(speech.audio, expected.audio, atol=1e-3, rtol=0)
    assert FireRedTTS2(tiny_checkpoint).studio.engine.model_runner.model.device.type == "cuda"


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
def test_a_gpu_encodes_as_the_cpu_does(tiny_checkpoint: Path):
    audio = 0.1 * torch.randn(1, 48_000, generator=torch.Generator().manual_seed(0))
    expected, _ = FireRedTTS2(tiny_checkpoint).codec.encode(audio)
    codes, _ = FireRedTTS2(tiny_checkpoint, device="cuda").codec.encode(audio.cuda())
    assert torch.equal(codes.cpu(), expected)
