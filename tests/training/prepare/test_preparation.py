"""Whole runs: what comes out, how it is split, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.training.prepare import block, workers
from fireredtts2.training.prepare.options import PrepareOptions
from fireredtts2.training.prepare.preparation import WORK_NAME, prepare
from fireredtts2.training.prepare.splits import assign
from fireredtts2.training.shards import Dataset, Sample
from tests.training.prepare.speech import write_clip

MakeOptions = Callable[..., PrepareOptions]


class CutError(Exception):
    """Stands for whatever ends a process."""


def all_samples(folder: Path) -> dict[str, Sample]:
    dataset = Dataset.open(folder)
    return {one.id: one for name in dataset.splits for one in dataset.split(name)}


def test_what_comes_out(make_options: MakeOptions, tiny_checkpoint: Path) -> None:
    options = make_options()
    told: list[tuple[int, int]] = []
    prepared = prepare(options, on_progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (12, 12)
    dataset = prepared.dataset
    assert dataset.codec_id == CheckpointFolder(tiny_checkpoint).codec_id
    found = all_samples(options.out)
    assert len(found) == 11  # nine clips; of five speakers a conversation of four, and the rest
    clip = found["clip3.wav"]
    assert (clip.language, clip.source) == ("en", "set.jsonl line 4")
    (said,) = clip.segments
    assert (said.speaker, said.voice, said.text) == ("S1", "Speaker 0", "This is number 3.")
    assert said.codes.shape == (4, 14)  # 1.1 s are 13.75 frames
    talk, rest = found["talk#0"], found["talk#1"]
    assert [s.speaker for s in talk.segments] == ["S1", "S2", "S3", "S1", "S4"]
    assert [s.voice for s in talk.segments] == ["Ann", "Bob", "Speaker 1", "Ann", "Dan"]
    assert [(s.speaker, s.voice) for s in rest.segments] == [("S1", "Eve")]
    assert prepared.report["refused"] == {"duplicate": 1, "silence": 1}
    lines = (options.out / "refused.jsonl").read_text().splitlines()
    rows = {row["id"]: row for row in map(json.loads, lines)}
    assert rows["again"]["detail"] == "the same audio as clip2.wav"
    assert rows["soft.wav"]["reason"] == "silence"
    assert not (options.out / WORK_NAME).exists()


def test_codes_are_those_of_the_clip_alone(
    make_options: MakeOptions, tiny_checkpoint: Path
) -> None:
    from fireredtts2.training.prepare.judge import Judge
    from fireredtts2.training.prepare.sources.detect import read_source

    options = make_options()
    prepare(options)
    found = all_samples(options.out)
    folder = CheckpointFolder(tiny_checkpoint)
    codec, judge = workers.load_codec(folder, "cpu"), Judge(options, folder, None)
    for recording in read_source(options.source)[1][:4]:
        (heard,) = judge.recording(recording)
        assert heard.audio is not None
        codes, _ = codec.encode(torch.from_numpy(heard.audio)[None])
        assert torch.equal(codes[0].short(), found[recording.id].segments[0].codes)


def test_other_options_are_refused(
    make_options: MakeOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(make_options())
    with pytest.raises(ValueError, match=r"begun otherwise: validation was 0\.2, is 0\.3\. Go on"):
        prepare(make_options(validation=0.3))
    with pytest.raises(ValueError, match=r"min_seconds was 0\.5, is 0\.6"):
        prepare(make_options(limits={"min_seconds": 0.6}))
    with pytest.raises(ValueError, match=r"otherwise: conversations was True, is False\. Go on"):
        prepare(make_options(conversations=False))
    lines = make_options().source.read_text().replace("number 4", "number four")
    changed = make_options().source.with_name("changed.jsonl")
    changed.write_text(lines)
    with pytest.raises(ValueError, match="the recordings changed"):
        prepare(make_options(source=changed))
    changed.unlink()
    out = tmp_path / "cut"

    def cut_after(num_blocks: int) -> None:
        def make(recordings: Any, judge: Any, codec: Any, path: Path) -> None:
            if path.name >= f"block-{num_blocks:06d}":
                raise CutError
            block.make_block(recordings, judge, codec, path)

        monkeypatch.setattr(workers, "make_block", make)

    monkeypatch.setattr(block, "BLOCK_TURNS", 3)
    for num_blocks, split_by in ((0, "speaker"), (1, "id")):  # the first has made nothing yet
        cut_after(num_blocks)
        with pytest.raises(CutError):
            prepare(make_options(out=out, split_by=split_by))
    with pytest.raises(ValueError, match="split_by was 'id', is 'speaker'"):
        prepare(make_options(out=out, split_by="speaker"))


def test_recordings_edited_in_place_are_noticed(make_options: MakeOptions, tmp_path: Path) -> None:
    for number in range(3):
        write_clip(tmp_path / f"clips/{number}.wav", 1.0, number, text=f"Number {number}.")
    options = make_options(source=tmp_path / "clips")
    prepare(options)
    assert prepare(options).was_there
    clip = tmp_path / "clips/1.wav"
    size = clip.stat().st_size
    write_clip(clip, 1.0, 99)
    assert clip.stat().st_size == size
    with pytest.raises(ValueError, match="begun otherwise: the recordings changed"):
        prepare(options)


def test_a_set_of_an_older_version_says_so(make_options: MakeOptions) -> None:
    options = make_options()
    prepare(options)
    index = options.out / "dataset.json"
    values = json.loads(index.read_text())
    values["prepared"]["recordings"] = "0123456789abcdef"
    index.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"may have changed \(an older version did not look"):
        prepare(options)


def test_odd_files_are_refused_and_the_rest_is_kept(
    make_options: MakeOptions, tmp_path: Path
) -> None:
    rows = []
    for number in range(3):
        clip = write_clip(tmp_path / f"{number}.wav", 1.0, number)
        rows.append({"audio": clip.name, "text": f"Number {number}.", "speaker": "A"})
    write_clip(tmp_path / "cut.wav", 1.0, 7)
    data = (tmp_path / "cut.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(data[: len(data) // 2])
    (tmp_path / "x.raw").write_bytes(bytes(32_000))
    rows += [{**rows[0], "audio": name} for name in ("cut.wav", "x.raw")]
    source = tmp_path / "set.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = prepare(make_options(source=source)).report
    assert (report["samples"], report["refused"]) == (3, {"unreadable": 2})


def test_folders_with_something_else_are_left_alone(
    make_options: MakeOptions, tmp_path: Path
) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="something else in it"):
        prepare(make_options())
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["letter.txt"]


def test_nothing_to_learn_from_says_why(make_options: MakeOptions) -> None:
    with pytest.raises(ValueError, match=r"nothing in it can be learnt from \(too_short: 16"):
        prepare(make_options(limits={"min_seconds": 5}))
    assert not (make_options().out / "dataset.json").exists()
    assert "shorter than allowed" in (make_options().out / "report.html").read_text()
    assert prepare(make_options()).report["samples"] == 11  # with other limits in the same folder


def test_speakers_are_held_out_with_all_they_talk_to(make_options: MakeOptions) -> None:
    from fireredtts2.training.prepare.sources.detect import read_source

    options = make_options(split_by="speaker", validation=0.4)
    recordings = read_source(options.source)[1]
    splits = assign(recordings, options)
    by_speaker: dict[str, set[str]] = {}
    for recording in recordings:
        for turn in recording.turns:
            by_speaker.setdefault(turn.speaker, set()).add(splits[recording.id])
    assert all(len(found) == 1 for found in by_speaker.values())
    assert by_speaker["Speaker 1"] == by_speaker["Ann"] == by_speaker["Eve"]
    assert set(splits.values()) == {"train", "validation"}


def test_splits_stay_as_they_were_when_recordings_come_in(make_options: MakeOptions) -> None:
    from fireredtts2.training.prepare.recordings import Recording

    many = [Recording(f"clip {number}", ()) for number in range(2_000)]
    options = make_options(validation=0.1, test=0.05)
    all_of, some = assign(many, options), assign(many[::2], options)
    assert all(all_of[name] == split for name, split in some.items())
    counts = [list(all_of.values()).count(name) for name in ("validation", "test")]
    assert counts[0] == pytest.approx(200, abs=45)
    assert counts[1] == pytest.approx(100, abs=35)
    odd = [Recording("caf\udce9.wav", ())]  # a file name of other bytes, for `train-codec`
    assert set(assign([*many, *odd], options).values()) == {"train", "validation", "test"}
    few = assign(many[:3], make_options(validation=1e-9))
    assert sorted(few.values()) == ["train", "train", "validation"]
    assert set(assign(many[:1], make_options(validation=0.999)).values()) == {"train"}
