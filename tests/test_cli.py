"""The command line: what it writes, what it says, how it ends."""

import json
import os
import re
import shutil
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from fireredtts2.audio import read_audio
from fireredtts2.cli.errors import CommandError, ExitCode, judge, one_line
from fireredtts2.cli.examples import EXAMPLES
from fireredtts2.cli.progress import clock
from fireredtts2.config import OUTPUT_RATE_HZ, OUTPUT_SAMPLES_PER_FRAME
from fireredtts2.engine.model_runner import FramesUnderWay
from fireredtts2.training.codec.voice_adaptation import Adaptation
from fireredtts2.voices import Voice
from tests import tiny
from tests.shell import FRAMES_PER_TURN, Shell

pytest_plugins = ("tests.speaking",)
TURN_SAMPLES = FRAMES_PER_TURN * OUTPUT_SAMPLES_PER_FRAME
SCRIPT = "[S1] Are you there?\n[S2] I am.\n[S1] Good.\n"
DOCS = Path(__file__).resolve().parents[1] / "docs" / "cli.md"
PLAYER = """#!/bin/sh
for last; do :; done
if [ "$last" = - ]; then cat > "$PLAYED"; else cat "$last" > "$PLAYED"; fi
"""


@pytest.fixture
def script(shell: Shell) -> Path:
    path = shell.folder / "script.txt"
    path.write_text(SCRIPT, encoding="utf-8")
    return path


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a player, the only one on this machine, puts what it plays."""
    programs = tmp_path / "programs"
    programs.mkdir()
    _program(programs / "ffplay", PLAYER)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("PLAYED", str(tmp_path / "played.wav"))
    return tmp_path / "played.wav"


def _program(path: Path, source: str) -> None:
    path.write_text(source)
    path.chmod(0o755)


def samples(path: Path) -> np.ndarray:
    return read_audio(path, OUTPUT_RATE_HZ).numpy()


def leftovers(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*.part*")]


# --- Examples -------------------------------------------------------------------------------


@pytest.fixture
def everything(
    script: Path,
    voiced_checkpoint: Path,
    shell: Shell,
    quick_adaptation: Adaptation,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A folder with all that the examples name."""
    folder = shell.folder
    (folder / "script.md").write_text("# A talk\n\n[S1] Are you there?\n\n[S2] I am.\n")
    turns = [{"speaker": "S1", "text": "Are you there?"}, {"speaker": "S2", "text": "I am."}]
    (folder / "script.json").write_text(json.dumps({"turns": turns}))
    noise = 0.1 * np.random.default_rng(0).standard_normal(16_000)
    soundfile.write(folder / "clip.wav", noise, 16_000)
    (folder / "clip.txt").write_text("What is said in the clip.")

    def fetch(target: Path, *_: object, **__: object) -> Path:
        shutil.copytree(voiced_checkpoint, target, dirs_exist_ok=True)
        return target

    monkeypatch.setattr("fireredtts2.download.download", fetch)

    # A server would not end.
    def start(load, *_: object, mount=None) -> None:
        app = load()
        if mount is not None:
            mount(app, "http://127.0.0.1:1")

    monkeypatch.setattr("fireredtts2.serving.run.serve", start)
    monkeypatch.setenv("FIREREDTTS2_STUDIO", str(folder / "works"))
    return folder


def prepare(shell: Shell, example: str) -> None:
    """What must have been done before an example."""
    if "convert" in example:
        assert shell.line("fireredtts2 download FireRedTTS2").code == 0
    if "remove anna" in example:
        assert shell.line('fireredtts2 voices add anna clip.wav --text "Said."').code == 0


@pytest.mark.parametrize("example", [line for lines in EXAMPLES.values() for line in lines])
def test_examples_of_the_help_work(
    shell: Shell, everything: Path, played: Path, example: str
) -> None:
    prepare(shell, example)
    result = shell.line(example)
    assert result.code == 0, result.errors
    for name in re.findall(r"(?:-o|>|--srt|--vtt) (\w+\.\w+)", example):
        path = everything / name
        if name.endswith((".srt", ".vtt")):
            assert "-->" in path.read_text()
        else:
            assert samples(path).size > TURN_SAMPLES // 2
    if "--play" in example:
        assert samples(played).size >= TURN_SAMPLES
    assert leftovers(everything) == []


@pytest.mark.parametrize("command", EXAMPLES)
def test_help_shows_its_examples(shell: Shell, command: str) -> None:
    if command == "evaluate":
        return  # its help is that of the evaluation
    result = shell(*command.split(), "--help")
    assert result.code == 0
    for example in EXAMPLES[command]:
        assert example in result.text


def test_every_option_is_documented(shell: Shell) -> None:
    documented = DOCS.read_text(encoding="utf-8")
    commands = [[], *(command.split() for command in EXAMPLES if command != "evaluate")]
    for command in commands:
        page = shell(*command, "--help").text
        for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page)) - {"--help"}:
            assert f"`{option}" in documented or f" {option}" in documented, (command, option)


def test_every_exit_code_is_documented() -> None:
    documented = DOCS.read_text(encoding="utf-8")
    for code in ExitCode:
        assert f"| {code.value} |" in documented


# --- Files ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "magic"),
    [("a.wav", b"RIFF"), ("a.flac", b"fLaC"), ("a.opus", b"OggS"), ("a.mp3", None)],
)
def test_the_extension_chooses_the_format(shell: Shell, name: str, magic: bytes | None) -> None:
    result = shell("say", "Hello.", "-o", name, "--seed", "1")
    assert result.code == 0, result.errors
    path = shell.folder / name
    assert abs(samples(path).size - TURN_SAMPLES) < OUTPUT_RATE_HZ // 5
    if magic is not None:
        assert path.read_bytes().startswith(magic)


def test_format_overrules_the_extension(shell: Shell) -> None:
    assert shell("say", "Hello.", "-o", "a.bin", "--format", "flac").code == 0
    assert (shell.folder / "a.bin").read_bytes().startswith(b"fLaC")


def test_summary_says_where_and_how_long(shell: Shell) -> None:
    result = shell("say", "Hello.", "-o", "a.wav")
    assert str(shell.folder / "a.wav") in result.errors
    assert f"{TURN_SAMPLES / OUTPUT_RATE_HZ:.1f} s of speech, 1 turn" in result.errors
    assert result.output == b""


def test_quiet_says_nothing(shell: Shell) -> None:
    result = shell("say", "Hello.", "-o", "a.wav", "--quiet")
    assert (result.code, result.output, result.errors) == (0, b"", "")


def test_the_same_seed_writes_the_same_file(shell: Shell) -> None:
    for name, seed in (("a.wav", "1"), ("b.wav", "1"), ("c.wav", "2")):
        assert shell("say", "Hello.", "-o", name, "--seed", seed).code == 0
    first, again, other = ((shell.folder / f"{name}.wav").read_bytes() for name in "abc")
    assert first == again
    assert first != other


def test_options_reach_the_model(shell: Shell) -> None:
    cold = ("--temperature", "0", "--topk", "1")
    for name, more in (("a", ()), ("b", cold), ("c", ("--voice", "af_heart"))):
        assert shell("say", "Hello.", "-o", f"{name}.wav", "--seed", "1", *more).code == 0
    files = {(shell.folder / f"{name}.wav").read_bytes() for name in "abc"}
    assert len(files) == 3


# --- Pipes ----------------------------------------------------------------------------------


def test_standard_output_whole_and_streamed_are_the_same_samples(shell: Shell) -> None:
    whole = shell("say", "-", "-o", "-", "--seed", "1", stdin=b"Hello there.")
    streamed = shell("say", "-", "--stream", "--seed", "1", stdin=b"Hello there.")
    assert whole.code == streamed.code == 0
    assert whole.output[:4] == streamed.output[:4] == b"RIFF"
    assert struct.unpack("<I", whole.output[40:44])[0] == 2 * TURN_SAMPLES
    assert whole.output[44:] == streamed.output[44:]
    assert len(whole.output) == 44 + 2 * TURN_SAMPLES


def test_a_stream_is_heard_before_it_is_done(shell: Shell, script: Path) -> None:
    from fireredtts2.cli import sinks

    pieces: list[int] = []
    real = sinks.AudioStreamWriter.write

    def write(self: object, audio: torch.Tensor) -> None:
        pieces.append(audio.shape[0])
        real(self, audio)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sinks.AudioStreamWriter, "write", write)
        result = shell("dialogue", "script.txt", "--stream", "-o", "-")
    assert result.code == 0
    assert pieces[0] < 2 * OUTPUT_SAMPLES_PER_FRAME
    assert sum(pieces) == 3 * TURN_SAMPLES


def test_play(shell: Shell, played: Path) -> None:
    assert shell("say", "Hello.", "--play", "-o", "a.wav", "--seed", "1").code == 0
    assert np.array_equal(samples(played), samples(shell.folder / "a.wav"))


def test_play_while_it_is_made(shell: Shell, played: Path) -> None:
    assert shell("say", "Hello.", "--play", "--stream", "-o", "a.wav", "--seed", "1").code == 0
    assert np.array_equal(samples(played), samples(shell.folder / "a.wav"))


def test_no_player(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    result = shell("say", "Hello.", "--play")
    assert result.code == ExitCode.IO
    for name in ("ffplay", "aplay", "paplay", "afplay", "-o"):
        assert name in result.errors


@pytest.mark.parametrize("more", [(), ("--stream",)])
def test_a_player_that_fails(shell: Shell, played: Path, more: tuple[str, ...]) -> None:
    program = played.parent / "programs" / "ffplay"
    _program(program, "#!/bin/sh\necho 'no sound card' >&2\nexit 3\n")
    result = shell("say", "Hello.", "--play", *more)
    assert result.code == ExitCode.IO
    assert "ffplay ended with status 3: no sound card" in result.errors


def test_a_reader_that_goes_away() -> None:
    code, message = judge(BrokenPipeError())
    assert code == ExitCode.IO
    assert "went away" in message


# --- Tracks, turns, subtitles ---------------------------------------------------------------


def test_tracks_are_the_mix_taken_apart(shell: Shell, script: Path) -> None:
    result = shell("dialogue", "script.txt", "-o", "mix.wav", "--stems", "tracks", "--seed", "1")
    assert result.code == 0, result.errors
    mix = samples(shell.folder / "mix.wav")
    tracks = [samples(shell.folder / "tracks" / f"{speaker}.wav") for speaker in ("S1", "S2")]
    assert mix.size == 3 * TURN_SAMPLES
    assert np.array_equal(tracks[0] + tracks[1], mix)
    assert not tracks[1][:TURN_SAMPLES].any()
    assert not tracks[0][TURN_SAMPLES : 2 * TURN_SAMPLES].any()


def test_turn_files_are_the_mix_cut_up(shell: Shell, script: Path) -> None:
    result = shell("dialogue", "script.txt", "-o", "mix.wav", "--turns", "turns", "--seed", "1")
    assert result.code == 0, result.errors
    files = sorted((shell.folder / "turns").iterdir())
    assert [file.name for file in files] == ["001_S1.wav", "002_S2.wav", "003_S1.wav"]
    joined = np.concatenate([samples(file) for file in files])
    assert np.array_equal(joined, samples(shell.folder / "mix.wav"))


def test_subtitles(shell: Shell, script: Path) -> None:
    result = shell("dialogue", "script.txt", "-o", "a.wav", "--srt", "a.srt", "--vtt", "a.vtt")
    assert result.code == 0, result.errors
    assert (shell.folder / "a.srt").read_text().count("-->") == 3
    vtt = (shell.folder / "a.vtt").read_text()
    assert vtt.startswith("WEBVTT")
    assert "<v S2>I am." in vtt


def test_a_script_may_name_its_speakers_and_voices(shell: Shell) -> None:
    named = {
        "voices": {"Anna": "af_heart"},
        "turns": [
            {"speaker": "Anna", "text": "Are you there?"},
            {"speaker": "Ben", "text": "I am.", "pause_s": 0.5},
        ],
    }
    (shell.folder / "named.json").write_text(json.dumps(named))
    seeded = ("--vtt", "a.vtt", "--seed", "1")
    result = shell("dialogue", "named.json", "-o", "a.wav", "--turns", "turns", *seeded)
    assert result.code == 0, result.errors
    vtt = (shell.folder / "a.vtt").read_text()
    assert "<v Anna>Are you there?" in vtt
    assert "<v Ben>I am." in vtt
    assert samples(shell.folder / "a.wav").size == 2 * TURN_SAMPLES + OUTPUT_RATE_HZ // 2
    overruled = ("--voice", "S1=am_michael", "--turns", "others")
    assert shell("dialogue", "named.json", "-o", "b.wav", *overruled, *seeded).code == 0
    turns = [samples(shell.folder / name / "001_S1.wav") for name in ("turns", "others")]
    assert not np.array_equal(*turns)
    by_name = ("--voice", "anna=am_michael", "--turns", "named")
    assert shell("dialogue", "named.json", "-o", "c.wav", *by_name, *seeded).code == 0
    assert np.array_equal(turns[1], samples(shell.folder / "named" / "001_S1.wav"))


@pytest.mark.parametrize(
    ("voice", "message"),
    [
        ("S4=af_heart", "no such speaker; the script has S1, S2"),
        ("S1=other_codec.safetensors", "make it again from its clip with `fireredtts2 voices add`"),
        ("Zoe=af_heart", "no such speaker; the script has S1, S2"),
        ("af_heart", "write SPEAKER=VOICE"),
    ],
)
def test_voices_that_do_not_fit(shell: Shell, script: Path, voice: str, message: str) -> None:
    codes = torch.zeros(tiny.NUM_CODEBOOKS, 12, dtype=torch.long)
    Voice("other", codes, "Said.", codec_id="0" * 16).save("other_codec.safetensors")
    result = shell("dialogue", "script.txt", "-o", "a.wav", "--voice", voice)
    assert result.code == ExitCode.USAGE
    assert message in result.errors


def test_help_says_what_becomes_of_a_voice_for_nobody(shell: Shell) -> None:
    page = " ".join(re.findall(r"[\w=-]+", shell("dialogue", "--help").text))
    assert "A speaker that the script does not have is an error" in page


def test_names_that_differ_in_case_only(shell: Shell) -> None:
    """Case counts where it must, and only there."""
    (shell.folder / "two.txt").write_text("anna: Are you there?\nAnna: I am.\n")
    for voice in ("anna", "S1", "Anna", "S2"):
        given = ("--voice", f"{voice}=af_heart", "--seed", "1", "-o", f"{voice}_.wav")
        assert shell("dialogue", "two.txt", *given).code == 0
    first, one, second, two = (samples(Path(f"{n}_.wav")) for n in ("anna", "S1", "Anna", "S2"))
    assert np.array_equal(first, one)
    assert np.array_equal(second, two)
    assert not np.array_equal(first, second)
    either = shell("dialogue", "two.txt", "--voice", "ANNA=af_heart", "-o", "a.wav")
    assert either.code == ExitCode.USAGE
    assert "no such speaker; the script has S1 (anna), S2 (Anna)" in either.errors


def interrupt_in(turn: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle of this turn, from 1."""
    real = tiny.ScriptedRunner.launch
    limit = (turn - 1) * (FRAMES_PER_TURN + 1) + 3
    calls = 0

    def launch(self: tiny.ScriptedRunner, slots: list[int]) -> FramesUnderWay:
        nonlocal calls
        calls += 1
        if calls == limit:
            raise KeyboardInterrupt
        return real(self, slots)

    monkeypatch.setattr(tiny.ScriptedRunner, "launch", launch)


def test_ctrl_c_keeps_finished_turns_and_nothing_half(
    shell: Shell, script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shell.folder / "mix.wav").write_bytes(b"an older file")
    interrupt_in(3, monkeypatch)
    result = shell(
        *("dialogue", "script.txt", "-o", "mix.wav", "--stems", "tracks"),
        *("--turns", "turns", "--srt", "a.srt"),
    )
    assert result.code == ExitCode.INTERRUPTED
    assert result.errors == "fireredtts2: stopped\n"
    turns = sorted(path.name for path in (shell.folder / "turns").iterdir())
    assert turns == ["001_S1.wav", "002_S2.wav"]
    assert samples(shell.folder / "turns" / "002_S2.wav").size == TURN_SAMPLES
    assert (shell.folder / "mix.wav").read_bytes() == b"an older file"
    assert list((shell.folder / "tracks").iterdir()) == []
    assert not (shell.folder / "a.srt").exists()
    assert leftovers(shell.folder) == []


# --- Errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("say", "Hello."), ExitCode.USAGE, "-o FILE"),
        (("say", "Hello.", "-o", "a.xyz"), ExitCode.USAGE, ".flac"),
        (("say", "Hello.", "-o", "a.wav", "--format", "wma"), ExitCode.USAGE, "opus"),
        (("say", "Hello.", "-o", "a.wav", "--stream"), ExitCode.USAGE, "--play"),
        (("say", "   ", "-o", "a.wav"), ExitCode.USAGE, ""),
        (("say", "?!...", "-o", "a.wav"), ExitCode.USAGE, ""),
        (("say", "Hi.", "-o", "a.wav", "--srt", "nowhere/a.srt"), ExitCode.IO, "nowhere"),
        (("say", "Hi.", "-o", "a.wav", "--vtt", "."), ExitCode.IO, "a folder"),
        (("say", "Hi.", "-o", "a.wav", "--voice", "af_hart"), ExitCode.USAGE, "af_heart"),
        (("say", "Hi.", "-o", "a.wav", "--voice", "x.safetensors"), ExitCode.USAGE, "no such"),
        (("say", "Hi.", "-o", "a.wav", "--temperature", "-1"), ExitCode.USAGE, "temperature"),
        (("say", "Hi.", "-o", "a.wav", "--takes", "0"), ExitCode.USAGE, "takes"),
        (("say", "Hi.", "-o", "a.wav", "--turn-limit", "0.01"), ExitCode.USAGE, "at least 0.08"),
        (("say", "Hi.", "-o", "a.wav", "--turn-limit", "nan"), ExitCode.USAGE, "--turn-limit nan"),
        (
            ("say", "Hi.", "-o", "a.wav", "--turn-limit", "999"),
            ExitCode.USAGE,
            "lower --turn-limit",
        ),
        (("say", "Hi.", "-o", "a.wav", "--device", "tpu"), ExitCode.USAGE, "cpu"),
        (("say", "Hi.", "-o", "a.wav", "--device", "cuda:99"), ExitCode.USAGE, "cpu"),
        (("say", "Hi.", "-o", "a.wav", "--dtype", "int4"), ExitCode.USAGE, "bfloat16"),
        (("dialogue", "nothing.txt", "-o", "a.wav"), ExitCode.USAGE, "nothing.txt"),
        (("dialogue", "script.txt", "-o", "a.wav", "--voice", "anna"), ExitCode.USAGE, "S1="),
        (("dialogue", "script.txt", "-o", "a.wav", "--voice", "S9=anna"), ExitCode.USAGE, "S9"),
        (("voices", "show", "nobody"), ExitCode.USAGE, "am_michael"),
        (("voices", "remove", "af_heart"), ExitCode.USAGE, "came with the model"),
        (("voices", "add", "anna", "no.wav", "--text", "Hi."), ExitCode.USAGE, "no.wav"),
        (("voices", "add", "anna", "script.txt"), ExitCode.USAGE, "--text"),
        (("voices", "add", "anna", "script.txt", "--text", "Hi."), ExitCode.USAGE, "not audio"),
        (("voices", "add", "../anna", "script.txt", "--text", "Hi."), ExitCode.USAGE, "name"),
        (("convert", "mini", "new", "--dtype", "int4"), ExitCode.USAGE, "bfloat16"),
        (("say", "Hello.", "-o", "a.wav", "--model", "nowhere"), ExitCode.MODEL, "nowhere"),
        (("say", "Hello.", "-o", "a.wav", "--model", "."), ExitCode.MODEL, "config_llm.json"),
        (("voices", "list", "--model", "nowhere"), ExitCode.MODEL, "nowhere"),
        (("convert", "nowhere", "new"), ExitCode.MODEL, "nowhere"),
        (("say", "Hello.", "-o", "no/folder/a.wav"), ExitCode.IO, "no/folder"),
        (("say", "Hello.", "-o", "."), ExitCode.IO, "folder"),
    ],
)
def test_errors_are_one_line_and_a_code(
    shell: Shell, script: Path, arguments: tuple[str, ...], code: ExitCode, words: str
) -> None:
    result = shell(*arguments)
    assert result.code == code, result.errors
    assert result.errors.startswith("fireredtts2: ")
    assert result.errors.count("\n") == 1
    assert words in result.errors
    assert result.output == b""
    assert sorted(path.name for path in shell.folder.iterdir()) == ["script.txt"]


def test_wrong_usage_ends_with_2(shell: Shell) -> None:
    assert shell("say").code == ExitCode.USAGE
    assert shell("sing", "Hello.").code == ExitCode.USAGE
    assert shell("say", "Hi.", "--seed", "many").code == ExitCode.USAGE


@pytest.mark.parametrize("script", ["Hello.", "[S10] Hello.", "[S1]", ""])
def test_bad_scripts(shell: Shell, script: str) -> None:
    result = shell("dialogue", "-", "-o", "a.wav", stdin=script.encode())
    assert result.code == ExitCode.USAGE
    assert result.errors.count("\n") == 1


def test_standard_input_that_is_not_text(shell: Shell) -> None:
    result = shell("say", "-", "-o", "a.wav", stdin=b"\xff\xfe\x00")
    assert result.code == ExitCode.USAGE
    assert "UTF-8" in result.errors


def test_audio_is_not_written_to_a_terminal(shell: Shell) -> None:
    shell.output_terminal = True
    result = shell("say", "Hello.", "-o", "-")
    assert result.code == ExitCode.USAGE
    assert "terminal" in result.errors


def test_a_terminal_under_another_name_is_refused_too(shell: Shell) -> None:
    leader, follower = os.openpty()
    try:
        result = shell("say", "Hello.", "-o", os.ttyname(follower))
    finally:
        os.close(leader)
        os.close(follower)
    assert result.code == ExitCode.USAGE
    assert "is a terminal: give a file, or a pipe" in result.errors


@pytest.mark.parametrize("name", ["llm.safetensors", "codec.safetensors", "config_llm.json"])
def test_a_damaged_checkpoint(shell: Shell, voiced_checkpoint: Path, name: str) -> None:
    shutil.copytree(voiced_checkpoint, shell.folder / "damaged")
    path = shell.folder / "damaged" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    result = shell("say", "Hello.", "-o", "a.wav", "--model", "damaged")
    assert result.code == ExitCode.MODEL
    assert name in result.errors
    assert result.errors.count("\n") == 1


FAILED = ("dialogue", "script.txt", "--turn-limit", "0.8")
INTO_TURNS = ("-o", "a.wav", "--turns", "turns")
SENT = ("--stream", "-o", "-")


@pytest.mark.parametrize(
    ("num_finished", "outputs", "kept"),
    [
        (0, ("-o", "a.wav"), "nothing was written"),
        (1, ("-o", "a.wav"), "nothing was written (--turns FOLDER keeps finished turns)"),
        (0, INTO_TURNS, "nothing was written"),
        (1, INTO_TURNS, "1 finished turn is in turns, nothing else was written"),
        (2, INTO_TURNS, "2 finished turns are in turns, nothing else was written"),
        (0, SENT, "no turn was finished before it"),
        (1, SENT, "1 finished turn went to standard output"),
        (
            2,
            (*SENT, "--turns", "turns"),
            "2 finished turns went to standard output and are in turns",
        ),
    ],
)
def test_a_turn_that_does_not_end(
    shell: Shell,
    script: Path,
    turn_lengths: list[int | None],
    num_finished: int,
    outputs: tuple[str, ...],
    kept: str,
) -> None:
    turn_lengths[:] = [FRAMES_PER_TURN] * num_finished
    result = shell(*FAILED, *outputs)
    assert result.code == ExitCode.SPEECH
    assert f"turn {num_finished + 1} (" in result.errors
    assert f"; {kept}; to go on, try another --seed, or --on-runaway cut\n" in result.errors
    assert "`" not in result.errors, "nothing that only a program can follow"
    assert not (shell.folder / "a.wav").exists()
    if "--turns" in outputs:
        assert len(list((shell.folder / "turns").iterdir())) == num_finished


def test_a_turn_that_fails_where_cutting_was_allowed(
    shell: Shell, script: Path, turn_lengths: list[int | None]
) -> None:
    turn_lengths[:] = [FRAMES_PER_TURN, 0, 0, 0]
    result = shell(*FAILED, "--on-runaway", "cut", "-o", "a.wav")
    assert result.code == ExitCode.SPEECH
    assert result.errors.endswith("; to go on, try another --seed\n")


def test_another_seed_is_not_advised_where_the_machine_failed(
    shell: Shell, script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> torch.Tensor:
        raise RuntimeError("the card fell off the bus")

    monkeypatch.setattr(tiny.ScriptedRunner, "launch", fail)
    result = shell("dialogue", "script.txt", "-o", "a.wav")
    assert result.code == ExitCode.SPEECH
    assert "fell off the bus" in result.errors
    assert result.errors.endswith("; nothing was written\n")


@pytest.mark.parametrize("more", [(), ("--stream",)])
def test_a_pipe_has_what_was_finished(
    shell: Shell, script: Path, turn_lengths: list[int | None], more: tuple[str, ...]
) -> None:
    path = shell.folder / "pipe"
    os.mkfifo(path)
    heard: list[bytes] = []
    reader = threading.Thread(target=lambda: heard.append(path.read_bytes()))
    reader.start()
    turn_lengths[:] = [FRAMES_PER_TURN]
    result = shell(*FAILED, "-o", "pipe", *more)
    reader.join(10)
    assert "; 1 finished turn went to pipe; to go on" in result.errors
    assert len(heard[0]) > 2 * TURN_SAMPLES


def test_a_turn_that_is_cut(shell: Shell, turn_lengths: list[int | None]) -> None:
    turn_lengths.clear()
    limits = ("--turn-limit", "0.8", "--on-runaway")
    for mode in ("cut", "accept"):
        result = shell("say", "Hello.", "-o", "a.wav", *limits, mode)
        assert result.code == 0, result.errors
        # Whoever accepts the limit has asked for it.
        assert ("turn 1 did not end and was cut" in result.errors) == (mode == "cut")
        # A limit that follows from the text does not move with the option.
        assert "--turn-limit" not in result.errors
        assert samples(shell.folder / "a.wav").size == 10 * OUTPUT_SAMPLES_PER_FRAME


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("format", ["wav", "flac", "mp3", "opus"])
def test_a_full_disk(shell: Shell, format: str) -> None:
    result = shell("say", "Hello.", "-o", "/dev/full", "--format", format)
    assert result.code == ExitCode.IO
    assert "No space" in result.errors or "no space" in result.errors


def test_debug_shows_where(shell: Shell) -> None:
    result = shell("--debug", "say", "Hello.")
    assert result.code == ExitCode.USAGE
    assert "Traceback" in result.errors
    assert "Traceback" not in shell("say", "Hello.").errors


def test_a_fault_of_the_program_says_so() -> None:
    code, message = judge(KeyError("x"))
    assert code == ExitCode.FAULT
    assert "--debug" in message


def test_messages_have_one_line() -> None:
    assert one_line(ValueError("one\n  two")) == "one two"
    assert one_line(FileNotFoundError(2, "No such file or directory", "a.txt")) == (
        "a.txt: no such file or directory"
    )
    assert judge(CommandError(ExitCode.MODEL, "x")) == (ExitCode.MODEL, "x")


# --- Progress -------------------------------------------------------------------------------


def test_the_bar_tells_turn_and_time_left(shell: Shell, script: Path) -> None:
    shell.error_terminal = True
    result = shell("dialogue", "script.txt", "-o", "a.wav")
    assert "turn 3 of 3" in result.errors
    assert "left" in result.errors
    shell.error_terminal = False
    assert "turn 3 of 3" not in shell("dialogue", "script.txt", "-o", "a.wav").errors


def test_clock() -> None:
    assert clock(0.4) == "0:00"
    assert clock(61) == "1:01"


# --- Voices, checkpoints --------------------------------------------------------------------


def test_voices_come_and_go(shell: Shell, everything: Path) -> None:
    added = shell("voices", "add", "anna", "clip.wav", "--text", "Said.", "--language", "de")
    assert added.code == 0, added.errors
    listed = json.loads(shell("voices", "list", "--json").text)
    assert {voice["name"]: voice["from"] for voice in listed} == {
        "anna": "yours", "af_heart": "model", "am_michael": "model"
    }  # fmt: skip
    shown = json.loads(shell("voices", "show", "anna", "--json").text)
    assert (shown["text"], shown["language"], shown["seconds"]) == ("Said.", "de", 1.04)
    assert "anna" in shell("voices", "list").text
    again = shell("voices", "add", "anna", "clip.wav", "--text", "Other.")
    assert again.code == ExitCode.USAGE
    assert "--overwrite" in again.errors
    assert shell("say", "Hello.", "--voice", "anna", "-o", "a.wav").code == 0
    assert shell("say", "Hello.", "--voice", shown["file"], "-o", "b.wav").code == 0
    assert shell("voices", "remove", "anna").code == 0
    assert "anna" not in shell("voices", "list").text


def test_a_voice_may_be_adapted_to(
    shell: Shell,
    everything: Path,
    quick_adaptation: Adaptation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(3)
    add = ("voices", "add", "anna", "clip.wav", "--text", "Said.")
    assert shell(*add).code == 0
    assert torch.get_num_threads() == 1  # several wait for each other beside other work
    assert not json.loads(shell("voices", "show", "anna", "--json").text)["adapted"]
    assert shell("say", "Hello.", "--voice", "anna", "--seed", "1", "-o", "a.wav").code == 0
    added = shell(*add, "--adapt", "--overwrite")
    assert added.code == 0, added.errors
    assert json.loads(shell("voices", "show", "anna", "--json").text)["adapted"]
    assert shell("say", "Hello.", "--voice", "anna", "--seed", "1", "-o", "b.wav").code == 0
    assert (everything / "a.wav").read_bytes() != (everything / "b.wav").read_bytes()
    assert shell(*add, "--adapt", "--overwrite", "--quiet").errors == ""


def test_a_voice_may_be_adapted_to_by_more_recordings(
    shell: Shell, everything: Path, quick_adaptation: Adaptation
) -> None:
    (everything / "anna").mkdir()
    for name in ("one.wav", "two.wav"):
        noise = 0.1 * np.random.default_rng(len(name)).standard_normal(16_000)
        soundfile.write(everything / "anna" / name, noise, 16_000)
    (everything / "anna" / "one.txt").write_text("A text is not needed, and not in the way.")
    add = ("voices", "add", "anna", "clip.wav", "--text", "Said.", "--overwrite")
    learnt = []
    for more in (("--more", "anna"), ("--more", "anna/one.wav", "--more", "clip.wav"), ()):
        added = shell(*add, "--adapt", *more)
        assert added.code == 0, added.errors
        path = json.loads(shell("voices", "show", "anna", "--json").text)["file"]
        learnt.append(Voice.load(path).adapter["bias"])
    assert not torch.equal(learnt[0], learnt[1])
    assert not torch.equal(learnt[1], learnt[2])
    (everything / "empty").mkdir()
    for more, message in (
        ("empty", "empty: no recording; known are .aac"),
        ("gone.wav", "gone.wav"),
    ):
        refused = shell(*add, "--adapt", "--more", more)
        assert refused.code == ExitCode.USAGE
        assert message in refused.errors
    refused = shell(*add, "--more", "anna")
    assert refused.code == ExitCode.USAGE
    assert "--more is what --adapt learns from" in refused.errors


def test_a_voice_is_made_without_a_language_model(
    shell: Shell, everything: Path, voiced_checkpoint: Path
) -> None:
    shutil.copytree(voiced_checkpoint, shell.folder / "codec_only")
    for path in (shell.folder / "codec_only").glob("llm*"):
        path.unlink()
    add = ("voices", "add", "anna", "clip.wav", "--text", "Said.", "--model", "codec_only")
    assert shell(*add).code == 0


@pytest.mark.parametrize("name", ["pipe", "to.player", "x.wav"])
def test_a_named_pipe_gets_a_stream_of_wav(shell: Shell, name: str) -> None:
    path = shell.folder / name
    os.mkfifo(path)
    heard: list[bytes] = []
    reader = threading.Thread(target=lambda: heard.append(path.read_bytes()))
    reader.start()
    result = shell("say", "Hello.", "-o", name, "--stream")
    if result.code:
        path.write_bytes(b"")  # lets the reader go
    reader.join(10)
    assert result.code == 0, result.errors
    assert heard[0][:4] == b"RIFF"


def test_a_converted_checkpoint_says_the_same(shell: Shell) -> None:
    assert shell("convert", "mini", "new").code == 0
    for name, model in (("a.wav", "mini"), ("b.wav", "new")):
        assert shell("say", "Hello.", "-o", name, "--seed", "1", "--model", model).code == 0
    assert (shell.folder / "a.wav").read_bytes() == (shell.folder / "b.wav").read_bytes()
    taken = shell("convert", "mini", "new")
    assert taken.code == ExitCode.USAGE
    assert "already there" in taken.errors


def test_version(shell: Shell) -> None:
    result = shell("--version")
    assert result.code == 0
    assert re.fullmatch(r"fireredtts2 \d+\.\d+\.\d+\S*\n", result.text)
