"""Shards come back as they were written; what is damaged says so; a cut writer goes on."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fireredtts2.training.shards import (
    Dataset,
    DatasetInfo,
    Sample,
    Segment,
    ShardWriter,
    write_index,
)

INFO = DatasetInfo("codec", 3, 16, 12.5)


def sample(number: int, *lengths: int) -> Sample:
    generator = torch.Generator().manual_seed(number)
    segments = tuple(
        Segment(
            f"S{place % 2 + 1}",
            f"Text {number}, {place}: déjà vu.",
            torch.randint(16, (3, length), generator=generator),
            f"voice {number % 3}" if number % 2 else None,
        )
        for place, length in enumerate(lengths)
    )
    return Sample(f"id {number}", segments, "en", "somewhere")


def write(folder: Path, samples: list[Sample], shard_samples: int = 3) -> Dataset:
    with ShardWriter(folder, "train", shard_samples) as writer:
        for one in samples:
            writer.add(one)
    return write_index(folder, INFO, note="kept")


def same(one: Sample, other: Sample) -> bool:
    heads = [(s.id, s.language, s.source, len(s.segments)) for s in (one, other)]
    pairs = list(zip(one.segments, other.segments, strict=True))
    return heads[0] == heads[1] and all(
        (a.speaker, a.text, a.voice) == (b.speaker, b.text, b.voice)
        and torch.equal(a.codes.long(), b.codes.long())
        for a, b in pairs
    )


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=9),
    st.integers(1, 4),
)
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[list[int]], shard_samples: int
):
    samples = [sample(number, *each) for number, each in enumerate(lengths)]
    dataset = write(tmp_path_factory.mktemp("set"), samples, shard_samples)
    split = dataset.split("train")
    assert len(split) == len(samples)
    assert all(same(a, b) for a, b in zip(samples, split, strict=True))
    assert same(split[-1], samples[-1])
    assert len(split[1:]) == len(samples) - 1
    assert split.num_frames == sum(map(sum, lengths))
    assert dataset.values["note"] == "kept"
    assert dataset.values["seconds"] == pytest.approx(split.num_frames / 12.5, abs=0.01)


def test_a_cut_writer_goes_on_after_the_last_whole_shard(tmp_path: Path):
    samples = [sample(number, 2) for number in range(8)]
    writer = ShardWriter(tmp_path, "train", 3)
    for one in samples[:5]:
        writer.add(one)  # and then the process dies: three are whole
    again = ShardWriter(tmp_path, "train", 3)
    assert again.written == {"id 0", "id 1", "id 2"}
    for one in samples:
        if one.id not in again.written:
            again.add(one)
    again.flush()
    split = write_index(tmp_path, INFO).split("train")
    assert [one.id for one in split] == [one.id for one in samples]


def test_a_shard_that_was_removed_is_written_again_in_its_place(tmp_path: Path):
    samples = [sample(number, 2) for number in range(8)]
    write(tmp_path, samples, 2)
    for number in (1, 2):
        (tmp_path / f"train-0000{number}.safetensors").unlink()
    writer = ShardWriter(tmp_path, "train", 2)
    for one in samples:
        if one.id not in writer.written:
            writer.add(one)
    split = write_index(tmp_path, INFO).split("train")
    assert [one.id for one in split] == [one.id for one in samples]


def test_splits_lie_side_by_side(tmp_path: Path):
    for name, number in (("train", 1), ("validation", 2)):
        with ShardWriter(tmp_path, name) as writer:
            writer.add(sample(number, 4))
    dataset = write_index(tmp_path, INFO)
    assert set(dataset.splits) == {"train", "validation"}
    assert dataset.split("validation")[0].id == "id 2"
    with pytest.raises(ValueError, match="no split 'test'; there are: train, validation"):
        dataset.split("test")
    with pytest.raises(IndexError):
        _ = dataset.split("train")[1]


def test_bad_samples_are_refused(tmp_path: Path):
    writer = ShardWriter(tmp_path, "train")
    with pytest.raises(ValueError, match="no segments"):
        writer.add(Sample("empty", ()))
    with pytest.raises(ValueError, match=r"codes of shapes \[\(3, 0\)\]"):
        writer.add(Sample("no frames", (Segment("S1", "Hm.", torch.zeros(3, 0)),)))
    writer.add(sample(1, 2))
    with pytest.raises(ValueError, match="'id 1' is there already"):
        writer.add(sample(1, 2))


def test_what_is_damaged_says_so(tmp_path: Path):
    with pytest.raises(ValueError, match=r"no data set.*write_index"):
        Dataset.open(tmp_path)
    dataset = write(tmp_path, [sample(1, 4)])
    path = tmp_path / dataset.splits["train"][0]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="damaged shard"):
        dataset.split("train")
    path.unlink()
    with pytest.raises(ValueError, match="damaged shard, or none"):
        dataset.split("train")
    index = tmp_path / "dataset.json"
    values = json.loads(index.read_text())
    index.write_text(json.dumps(values | {"version": 2}))
    with pytest.raises(ValueError, match=r"not a data set that is known here.*version 2"):
        Dataset.open(tmp_path)
    index.write_text("[]")
    with pytest.raises(ValueError, match="not a data set"):
        Dataset.open(tmp_path)
