"""The run: recordings in, a data set out; cut at any moment and run again, the result is the same.

1. The recordings are listed, and the plan (what decides the result) is kept in `.prepare/`.
2. Blocks of recordings are judged and encoded, each into a file of its own in `.prepare/`.
3. When all are there, shards are written of them in the order of the source, then the report, and
   last the index, which makes the folder a data set. Then `.prepare/` goes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fireredtts2.atomic_file import atomic_path
from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.config import FRAME_RATE_HZ
from fireredtts2.training.prepare import workers
from fireredtts2.training.prepare.block import (
    Judged,
    block_path,
    has_blocks,
    plan_blocks,
    read_block,
)
from fireredtts2.training.prepare.judge import MakeListener
from fireredtts2.training.prepare.options import PrepareOptions
from fireredtts2.training.prepare.plan import check_same, make_plan
from fireredtts2.training.prepare.recordings import Recording
from fireredtts2.training.prepare.report import Report
from fireredtts2.training.prepare.samples import Duplicates, samples
from fireredtts2.training.prepare.sources.detect import read_source
from fireredtts2.training.prepare.splits import assign
from fireredtts2.training.shards import (
    INDEX_NAME,
    Dataset,
    DatasetInfo,
    ShardWriter,
    write_index,
)

WORK_NAME, PLAN_NAME = ".prepare", "plan.json"
#: Key of the plan in the index.
PREPARED = "prepared"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Prepared:
    """A finished data set.

    Attributes:
        dataset: as it can be read.
        report: as `report.json` has it.
        was_there: whether it had been finished before.
    """

    dataset: Dataset
    report: dict[str, Any]
    was_there: bool = False


def prepare(
    options: PrepareOptions,
    make_listener: MakeListener | None = None,
    on_progress: Progress | None = None,
) -> Prepared:
    """Makes a data set of recordings.

    Args:
        options: what is wanted.
        make_listener: makes a recogniser that compares what it hears with the texts; it must be
            picklable where there are several workers.
        on_progress: told how many recordings are done, and of how many.

    Returns:
        The data set, and the report on it.

    Raises:
        ValueError: a source that is not right, a folder with something else in it, options other
            than those it was begun with, or nothing that could be learnt from.
        OSError: a file cannot be written; the same call goes on afterwards.
    """
    return _Preparation(options, make_listener, on_progress or (lambda done, total: None)).run()


class _Preparation:
    def __init__(
        self, options: PrepareOptions, make_listener: MakeListener | None, on_progress: Progress
    ) -> None:
        self.options, self.make_listener, self.on_progress = options, make_listener, on_progress
        self.folder = CheckpointFolder(options.model)
        self.out, self.work = options.out, options.out / WORK_NAME
        self.layout, self.recordings = read_source(
            options.source,
            options.layout,
            options.speaker,
            options.language,
            options.conversations,
        )
        self.plan = make_plan(options, self.folder, self.layout, self.recordings)

    def run(self) -> Prepared:
        if self._is_finished():
            shutil.rmtree(self.work, ignore_errors=True)
            report = json.loads((self.out / Report.JSON_NAME).read_text("utf-8"))
            return Prepared(Dataset.open(self.out), report, was_there=True)
        self._begin()
        self._make_blocks()
        prepared = self._assemble()
        shutil.rmtree(self.work, ignore_errors=True)
        return prepared

    def _is_finished(self) -> bool:
        """Whether the folder is the data set that is wanted."""
        if not (self.out / INDEX_NAME).exists():
            return False
        before = Dataset.open(self.out).values.get(PREPARED)
        if before is None:
            raise ValueError(
                f"{self.out}: holds a data set that was not made by `prepare`; choose another "
                "folder"
            )
        check_same(self.out, before, self.plan)
        return True

    def _begin(self) -> None:
        """Keeps the plan, or compares it with that of the run that is gone on with.

        One that nothing was made by yet, as where a package was missing, binds nobody.
        """
        path, own = self.work / PLAN_NAME, (WORK_NAME, *Report.NAMES)
        if path.exists() and has_blocks(self.work):
            check_same(self.out, json.loads(path.read_text("utf-8")), self.plan)
        elif self.out.exists() and any(p.name not in own for p in self.out.iterdir()):
            raise ValueError(f"{self.out}: there is something else in it; choose another folder")
        self.work.mkdir(parents=True, exist_ok=True)
        for left in (*self.out.glob(".*.part*"), *self.work.glob(".*.part*")):
            left.unlink()  # of a process that was killed while it wrote
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(self.plan, indent=1), "utf-8")

    def _make_blocks(self) -> None:
        blocks = plan_blocks(self.recordings)
        paths = [block_path(self.work, number) for number in range(len(blocks))]
        todo = [n for n, path in enumerate(paths) if not path.exists()]
        done = len(self.recordings) - sum(len(blocks[n]) for n in todo)
        self.on_progress(done, len(self.recordings))

        def told(count: int) -> None:
            nonlocal done
            done += count
            self.on_progress(done, len(self.recordings))

        jobs = [([self.recordings[place] for place in blocks[n]], paths[n]) for n in todo]
        if jobs:
            workers.run(jobs, self.options, self.make_listener, told)

    def _judged(self) -> Iterator[tuple[Recording, Judged]]:
        """Every recording in order, duplicates refused."""
        duplicates = Duplicates()
        for number, block in enumerate(plan_blocks(self.recordings)):
            for place, judged in zip(block, read_block(block_path(self.work, number)), strict=True):
                recording = self.recordings[place]
                yield recording, duplicates.without(recording, judged)

    def _assemble(self) -> Prepared:
        splits = assign(self._kept(), self.options)
        report = Report(self.options.out, self.layout)
        writers: dict[str, ShardWriter] = {}
        written: dict[str, frozenset[str]] = {}  # by an earlier run, cut in this place
        for recording, judged in self._judged():
            made = list(samples(recording, judged, self.options.limits.max_rows))
            split = splits.get(recording.id, "")
            report.add(recording, judged.verdicts, made, split)
            for sample in made:
                if split not in writers:
                    writers[split] = ShardWriter(self.out, split, self.options.shard_samples)
                    written[split] = frozenset(writers[split].written)
                if sample.id not in written[split]:
                    writers[split].add(sample)
        for writer in writers.values():
            writer.flush()
        report.write()
        if not writers:
            shutil.rmtree(self.work)  # so that other limits can be tried in the same folder
            raise ValueError(
                f"{self.options.source}: nothing in it can be learnt from ({report.summary()}); "
                f"{self.out / Report.PAGE_NAME} has the reasons"
            )
        config = self.folder.codec_config.rvq
        info = DatasetInfo(
            self.folder.codec_id, config.num_quantizers, config.codebook_size, FRAME_RATE_HZ
        )
        return Prepared(write_index(self.out, info, **{PREPARED: self.plan}), report.values())

    def _kept(self) -> Sequence[Recording]:
        """The recordings of which something is kept: the others must not be held out."""
        return [
            recording
            for recording, judged in self._judged()
            if any(codes is not None for codes in judged.codes)
        ]
