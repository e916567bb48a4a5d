"""Reports over a whole split: in batches, streamed to disk, resumable, one bad study costing nothing but itself.

While a run is under way its rows go to `<output>.partial`, each batch as soon as it is written; the finished file takes its name in one
step, in the order of the examples. Each row says of what it was made, so that a run takes over only what it would write itself (see
`reuse`). Beside the file, `<output>.info.json` says by which model and with which settings the last run wrote, and
`<output>.skipped.jsonl` lists what was left out and why.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ..data.file_writing import explain_full_disk, write_text_whole
from ..data.locking import exclusive
from ..data.model_folders import check_device
from ..data.progress import progress_bar
from ..data.worker_processes import end_with_parent
from ..version import __version__
from .fingerprints import (
    RowFingerprints,
    config_fingerprint,
    model_fingerprint,
    processor_fingerprint,
    settings_fingerprint,
)
from .report_file import ReportRow
from .reuse import (
    CHOICES,
    Earlier,
    OtherReportsError,
    check_output,
    earlier_reports,
    info_path,
    partial_path,
    settle,
    skipped_path,
)


logger = logging.getLogger(__name__)


class BadStudyError(ValueError):
    """A study could not be turned into model inputs, with `strict=True`. The message names it and the reason."""


@dataclass
class GenerationSummary:
    """What a run of [`generate_reports`] did.

    Args:
        output (`Path`): the reports file.
        generated (`int`): reports written by this call.
        resumed (`int`): reports found from an earlier, interrupted call, made of the same.
        rewritten (`int`): of the generated ones, those that replace a report made of something else.
        dropped (`int`): earlier reports of studies that the table does not have, no longer in the file.
        skipped (`dict[str, str]`): example id -> reason, of the studies left out.
        seconds (`float`): wall-clock time of this call.
        info (`dict`): model fingerprint and settings, as in the info file.
    """

    output: Path
    generated: int = 0
    resumed: int = 0
    rewritten: int = 0
    dropped: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    info: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"{self.generated} reports written to {self.output} in {self.seconds:.1f} s"]
        if self.resumed:
            parts.append(f"{self.resumed} were there already")
        if self.rewritten:
            parts.append(f"{self.rewritten} of them in place of reports made of something else")
        if self.dropped:
            parts.append(f"{self.dropped} earlier reports of other studies dropped")
        if self.skipped:
            parts.append(f"{len(self.skipped)} studies skipped, see {skipped_path(self.output)}")
        return ", ".join(parts)


def _has_text(value: str | None) -> bool:
    return bool(value and value.strip())


def processor_inputs(processor, rows: Sequence[Mapping[str, Any]], **processor_kwargs) -> dict[str, Any]:
    """The processor's batch of example rows, without their reports. Rows without a prior image have no prior view either."""
    return dict(
        processor(
            images=[row["image"] for row in rows],
            prior_images=[row.get("prior_image") for row in rows],
            indication=[row.get("indication") for row in rows],
            history=[row.get("history") for row in rows],
            view_positions=[row.get("view_position") for row in rows],
            prior_view_positions=[
                row.get("prior_view_position") if row.get("prior_image") is not None else None for row in rows
            ],
            return_tensors="pt",
            **processor_kwargs,
        )
    )


def collate_readable(processor, rows: Sequence[Mapping[str, Any]], **processor_kwargs):
    """Batch of the readable rows: `(batch or None, readable rows, {example id: reason})`.

    The batch is tried whole; only where that fails, row by row, so that a bad study is found without slowing the good ones.
    """
    try:
        return processor_inputs(processor, rows, **processor_kwargs), list(rows), {}
    except TypeError:
        raise  # a wrong argument of the call, not a study; faults of rows are PriorRGInputError
    except Exception as error:
        first_error = error
    readable, skipped = [], {}
    for row in rows:
        try:
            processor_inputs(processor, [row], **processor_kwargs)
            readable.append(row)
        except Exception as error:
            skipped[example_id_of(row)] = f"{type(error).__name__}: {error}"
    if not skipped:
        raise first_error  # every row alone is fine: no study is at fault
    batch = processor_inputs(processor, readable, **processor_kwargs) if readable else None
    return batch, readable, skipped


class _RowBatches:
    """A map-style data set of batches, so that a DataLoader's workers prepare whole batches."""

    def __init__(self, examples, indices: Sequence[int], batch_size: int, processor, processor_kwargs):
        self.examples, self.indices, self.batch_size = examples, indices, batch_size
        self.processor, self.processor_kwargs = processor, processor_kwargs

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch_size)

    def __getitem__(self, position: int):
        chosen = self.indices[position * self.batch_size : (position + 1) * self.batch_size]
        return _prepared([dict(self.examples[index]) for index in chosen], self.processor, self.processor_kwargs)


def _prepared(rows: Sequence[dict[str, Any]], processor, processor_kwargs):
    fingerprints = RowFingerprints()
    before = {example_id_of(row): fingerprints.of(row) for row in rows}
    batch, readable, skipped = collate_readable(processor, rows, **processor_kwargs)
    for row in readable:
        if fingerprints.of(row) != before[example_id_of(row)]:
            # Nobody knows which of the two was read: a later run is to write this report anew.
            before[example_id_of(row)]["image"] = "changed while it was read"
    # Images have become pixel values: they needn't travel back from a worker.
    return batch, [_without_images(row, before[example_id_of(row)]) for row in readable], skipped


def _without_images(row: Mapping[str, Any], fingerprints: Mapping[str, str | None]) -> dict[str, Any]:
    kept = {key: value for key, value in row.items() if key not in ("image", "prior_image")}
    return {**kept, "has_prior": row.get("prior_image") is not None, "fingerprints": fingerprints}


class _Examples:
    """The rows of a run in batches, without those that are done; remembers the order of their ids in `identifiers`.

    A table (anything with `len` and `[]`) is read by a DataLoader, with worker processes if asked for; any other iterable is
    streamed, so that it may be endless for memory's sake.
    """

    def __init__(self, examples, batch_size: int, processor, processor_kwargs: Mapping[str, Any], num_workers: int):
        self.examples, self.batch_size, self.num_workers = examples, batch_size, num_workers
        self.processor, self.processor_kwargs = processor, dict(processor_kwargs)
        self.is_table = hasattr(examples, "__getitem__") and hasattr(examples, "__len__")
        self.identifiers: dict[str, None] = {}
        if self.is_table:
            names = examples["example_id"] if hasattr(examples, "column_names") else map(example_id_of, examples)
            for name in names:
                self._remember(str(name))

    def __len__(self) -> int:
        return len(self.examples)

    def _remember(self, name: str) -> str:
        if name in self.identifiers:
            raise ValueError(f"example {name!r} is there twice; example ids must be unique")
        self.identifiers[name] = None
        return name

    def judge(self, earlier: Earlier, model: str, progress: bool) -> list[str]:
        """Keeps of a table's earlier reports those made of its rows and by this model; returns the ids that it does not have."""
        if not self.is_table or not earlier.lines:
            return []
        fingerprints = RowFingerprints()
        places = [(index, name) for index, name in enumerate(self.identifiers) if name in earlier.lines]
        for index, name in progress_bar(places, description="comparing", shown=progress):
            earlier.agrees(name, {**fingerprints.of(self.examples[index]), "model": model})
        absent = [name for name in earlier.lines if name not in self.identifiers]
        for name in absent:
            del earlier.lines[name]
        return absent

    def batches(self, earlier: Earlier, model: str, on_stale: Callable[[], None]) -> Iterator:
        """`(batch or None, readable rows without images, {example id: reason})` of each batch.

        `on_stale` is called when a stream turns out to have a row that its earlier report was not made of.
        """
        if self.is_table:
            from torch.utils.data import DataLoader

            indices = [index for index, name in enumerate(self.identifiers) if name not in earlier.lines]
            data = _RowBatches(self.examples, indices, self.batch_size, self.processor, self.processor_kwargs)
            # any object with a length and rows by number is a map-style data set
            yield from DataLoader(
                cast(Any, data), batch_size=None, num_workers=self.num_workers, worker_init_fn=end_with_parent
            )
            return
        rows, fingerprints = [], RowFingerprints()
        for row in self.examples:
            name = self._remember(example_id_of(row))
            if name not in earlier.lines:
                rows.append(dict(row))
            elif not earlier.agrees(name, {**fingerprints.of(row), "model": model}):
                on_stale()
                rows.append(dict(row))
            if len(rows) == self.batch_size:
                yield _prepared(rows, self.processor, self.processor_kwargs)
                rows = []
        if rows:
            yield _prepared(rows, self.processor, self.processor_kwargs)


def example_id_of(row: Mapping[str, Any]) -> str:
    """The row's example id, or its study id where it has none. Raises `ValueError` without both."""
    name = row.get("example_id")
    name = row.get("study_id") if name is None else name
    if name is None:
        raise ValueError("an example has neither example_id nor study_id; give every row an id that is unique")
    return str(name)


def _encodable(text: str) -> str:
    """Halves of surrogate pairs, which no tokenizer takes, are joined or replaced by the sign for what is unknown."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def cut_references(processor, references: Sequence[str | None]) -> list[str | None]:
    """The references as the model's tokenizer cuts them at its report length: what published scores compare with."""
    texts = [_encodable(text) if text is not None else "" for text in references]
    if not texts:
        return []
    cut = processor.post_process_reports(processor.encode_reports(texts, "generation")["labels"])
    return [None if text is None else short for text, short in zip(references, cut, strict=True)]


def generation_info(
    model, processor, generation_kwargs: Mapping[str, Any], processor_kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Which model, which processor and which settings; `fingerprint` stands for all of it."""
    defaults = model.generation_config.to_diff_dict()
    defaults = {
        key: value for key, value in defaults.items() if key not in ("transformers_version", "_from_model_config")
    }
    settings = {
        "model_fingerprint": model_fingerprint(model),
        "model_dtype": str(model.dtype),
        "config_fingerprint": config_fingerprint(model.config),
        "processor_fingerprint": processor_fingerprint(processor),
        "generation": {**defaults, **generation_kwargs},
        "processor": dict(processor_kwargs),
    }
    return {
        **settings,
        "fingerprint": settings_fingerprint(settings),
        "model": getattr(model.config, "_name_or_path", "") or None,
        "priorrg_hf": __version__,
    }


def count_earlier_reports(
    model, processor, examples, output_path: str | os.PathLike, generation_kwargs: Mapping[str, Any]
) -> tuple[int, int, int]:
    """Of the reports that a file holds: how many a run would take over, how many were made of something else or by another model, and
    how many belong to studies that the table does not have. Reads the images of these studies, and writes nothing."""
    source = _Examples(examples, 1, processor, {}, 0)
    earlier = earlier_reports(Path(output_path))
    absent = source.judge(earlier, generation_info(model, processor, generation_kwargs, {})["fingerprint"], False)
    return len(earlier.lines), len(earlier.stale), len(absent)


def generate_reports(
    model,
    processor,
    examples: Iterable[Mapping[str, Any]],
    output_path: str | os.PathLike,
    *,
    batch_size: int = 8,
    strict: bool = False,
    resume: bool = True,
    num_workers: int = 0,
    device: Any = None,
    progress: bool = True,
    on_mismatch: str = "refuse",
    sources: Sequence[str | os.PathLike] = (),
    overwrite: bool = False,
    processor_kwargs: Mapping[str, Any] | None = None,
    **generation_kwargs,
) -> GenerationSummary:
    """Writes a report for every example row, streaming JSON lines to `output_path`.

    Each line has `example_id, study_id, patient_id, prediction, reference` (`null` without findings), `has_prior, has_context,
    view_position`, `reference_cut`, the reference cut at the model's report length, and `fingerprints`, what the report was made of.

    Args:
        model ([`PriorRGForReportGeneration`]): the model; put into evaluation mode for the run.
        processor ([`PriorRGProcessor`]): its processor.
        examples (`datasets.Dataset`, sequence or iterable of rows): see `priorrg_hf.data.as_examples`.
        output_path (`str`): the reports file. Locked while it is written.
        batch_size (`int`, defaults to 8): examples a batch.
        strict (`bool`, defaults to `False`): stop at the first bad study instead of skipping, listing and counting it.
        resume (`bool`, defaults to `True`): go on where an interrupted run stopped; skipped studies are tried again. Every image of
            a report that is there already is read once, to see that it is still the same.
        num_workers (`int`, defaults to 0): processes that prepare batches.
        device (*optional*): moved to first; by default the model stays where it is.
        progress (`bool`, defaults to `True`): show a progress bar.
        on_mismatch (`str`, defaults to `"refuse"`): what to do about reports in the file that were made of other images, priors, views,
            contexts or references, or by another model or other settings, or that belong to studies which the table does not have:
            `"refuse"`, or `"rewrite"` (write them anew; drop those of absent studies).
        sources (sequence of `str`, *optional*): files and folders that are read, never to be written over.
        overwrite (`bool`, defaults to `False`): replace a file that is none of ours.
        processor_kwargs (mapping, *optional*): for the processor's call.
        **generation_kwargs: for `model.generate`, over the model's generation config (beam 3, 100 tokens).

    Returns:
        [`GenerationSummary`].

    Raises:
        `BadStudyError`: with `strict`, naming the study. What was written stays for resuming.
        `OtherReportsError` (a `ValueError`): the file holds other reports, see `on_mismatch`. Nothing was changed.
        `OutputError`, `LockedError`, `DiskFullError` (`OSError`): `output_path` is not ours, is being written by another run, or does not
            fit on the disk.
        `ValueError`: an example id twice, or a device that is not there.
    """
    started = time.perf_counter()
    output = Path(output_path)
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if on_mismatch not in CHOICES:
        raise ValueError(f"on_mismatch is one of {', '.join(CHOICES)}, got {on_mismatch!r}")
    check_output(output, sources, overwrite)
    if device is not None:
        model.to(check_device(device))
    source = _Examples(examples, batch_size, processor, processor_kwargs or {}, num_workers)
    info = generation_info(model, processor, generation_kwargs, processor_kwargs or {})
    summary = GenerationSummary(output, info=info)
    with exclusive(output, "a run that writes reports", folder=False):
        earlier = earlier_reports(output)
        if not resume:
            summary.dropped = sum(source.is_table and name not in source.identifiers for name in earlier.lines)
            earlier = Earlier()
        absent = source.judge(earlier, info["fingerprint"], progress)
        settle(output, earlier, absent, info, on_mismatch)
        summary.dropped += len(absent)
        summary.resumed = len(earlier.lines)
        was_training = model.training
        model.eval()
        try:
            lines = _write_missing(
                model, processor, source, earlier, summary, on_mismatch, strict, progress, generation_kwargs
            )
        finally:
            model.train(was_training)
        kept = f"The reports written so far are in {partial_path(output)}."
        write_text_whole(
            output, "".join(lines[name] for name in source.identifiers if name in lines), kept=kept
        )  # fmt: skip
        partial_path(output).unlink(missing_ok=True)
        _write_skipped(output, summary.skipped)
    summary.seconds = time.perf_counter() - started
    return summary


def _write_missing(
    model, processor, source: _Examples, earlier: Earlier, summary: GenerationSummary, on_mismatch: str, strict: bool,
    progress: bool, generation_kwargs: Mapping[str, Any],
) -> dict[str, str]:  # fmt: skip
    """Writes the reports that are not there yet to the partial file, batch by batch; returns all lines by example id."""
    import torch

    output, lines = summary.output, dict(earlier.lines)
    partial = partial_path(output)
    # A finished file says who may read it; what leads to it must not say otherwise meanwhile.
    write_text_whole(info_path(output), json.dumps(summary.info, indent=2, default=str) + "\n", mode_like=output)
    write_text_whole(partial, "".join(lines.values()), mode_like=output)
    total = len(source) if source.is_table else None
    kept = f"The reports written so far are in {partial}."
    with open(partial, "a", encoding="utf-8") as file, _progress(total, len(lines), progress) as bar:

        def on_stale() -> None:
            if on_mismatch == "refuse":
                settle(output, earlier, (), summary.info, on_mismatch)

        for batch, rows, skipped in source.batches(earlier, summary.info["fingerprint"], on_stale):
            if skipped and strict:
                name, reason = next(iter(skipped.items()))
                raise BadStudyError(
                    f"study {name}: {reason}. Repair or remove it, or run without strict to skip such studies; "
                    f"{len(lines)} reports are kept and a new run goes on from there."
                )
            summary.skipped.update(skipped)
            for name, reason in skipped.items():
                logger.warning("study %s is skipped: %s", name, reason)
            if rows:
                with torch.inference_mode():
                    ids = model.generate(**_to_device(batch, model), **generation_kwargs)
                written = _report_lines(processor, rows, ids, summary.info["fingerprint"])
                with explain_full_disk(partial, kept):
                    file.write("".join(line for _, line in written))
                    file.flush()
                    os.fsync(file.fileno())
                lines.update(written)
                summary.generated += len(rows)
                summary.rewritten += sum(name in earlier.stale for name, _ in written)
            bar.update(len(rows) + len(skipped))
            if summary.skipped:
                bar.set_postfix(skipped=len(summary.skipped))
    if not source.is_table:  # only now is it known which studies a stream has
        absent = [name for name in lines if name not in source.identifiers]
        if absent or earlier.stale:
            settle(output, earlier, absent, summary.info, on_mismatch)
        summary.dropped += len(absent)
        summary.resumed = len(lines) - len(absent) - summary.generated
        for name in earlier.stale:  # one that could not be read this time has no report
            if name in summary.skipped:
                lines.pop(name, None)
    return lines


def _progress(total: int | None, initial: int, shown: bool):
    return progress_bar(total=total, initial=initial, description="reports", shown=shown)


def _to_device(batch: Mapping[str, Any], model) -> dict[str, Any]:
    moved = {}
    for name, value in batch.items():
        dtype = model.dtype if value.is_floating_point() else None
        moved[name] = value.to(model.device, dtype) if dtype is not None else value.to(model.device)
    return moved


def _report_lines(processor, rows, ids, model: str) -> list[tuple[str, str]]:
    predictions = processor.post_process_reports(ids)
    if len(predictions) != len(rows):
        raise ValueError(
            f"{len(predictions)} reports came back for {len(rows)} studies: num_return_sequences must be 1 here"
        )
    references = [row.get("findings") for row in rows]
    lines = []
    for row, prediction, reference, cut in zip(
        rows, predictions, references, cut_references(processor, references), strict=True
    ):
        entry = ReportRow(
            example_id=example_id_of(row),
            prediction=prediction,
            reference=reference,
            study_id=None if row.get("study_id") is None else str(row["study_id"]),
            patient_id=None if row.get("patient_id") is None else str(row["patient_id"]),
            has_prior=row["has_prior"],
            has_context=_has_text(row.get("indication")) or _has_text(row.get("history")),
            view_position=row.get("view_position"),
            reference_cut=cut,
            days_before=row.get("days_before"),
            fingerprints={**row["fingerprints"], "model": model},
        )
        lines.append((entry.example_id, entry.to_json() + "\n"))
    return lines


def _write_skipped(output: Path, skipped: Mapping[str, str]) -> None:
    path = skipped_path(output)
    if skipped:
        rows = [json.dumps({"example_id": name, "skipped": why}, ensure_ascii=False) for name, why in skipped.items()]
        write_text_whole(path, "\n".join(rows) + "\n", mode_like=output)
    else:
        path.unlink(missing_ok=True)


__all__ = [
    "BadStudyError",
    "GenerationSummary",
    "OtherReportsError",
    "collate_readable",
    "count_earlier_reports",
    "cut_references",
    "generate_reports",
    "generation_info",
    "info_path",
    "partial_path",
    "processor_inputs",
    "skipped_path",
]
