"""Reports over a whole split: in batches, streamed to disk, resumable, one bad study costing nothing but itself.

While a run is under way its rows go to `<output>.partial`, each batch as soon as it is written; the finished file takes its name in one
step, in the order of the examples. Beside it, `<output>.info.json` says by which model and with which settings the reports were made,
so that a resumed run cannot mix two of them, and `<output>.skipped.jsonl` lists what was left out and why.
"""

import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.file_writing import write_text_whole
from ..data.progress import progress_bar
from ..version import __version__
from .fingerprints import model_fingerprint, settings_fingerprint
from .report_file import ReportRow


logger = logging.getLogger(__name__)


class BadStudyError(ValueError):
    """A study could not be turned into model inputs, with `strict=True`. The message names it and the reason."""


@dataclass
class GenerationSummary:
    """What a run of [`generate_reports`] did.

    Args:
        output (`Path`): the reports file.
        generated (`int`): reports written by this call.
        resumed (`int`): reports found from an earlier, interrupted call.
        skipped (`dict[str, str]`): example id -> reason, of the studies left out.
        seconds (`float`): wall-clock time of this call.
        info (`dict`): model fingerprint and settings, as in the info file.
    """

    output: Path
    generated: int = 0
    resumed: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    info: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"{self.generated} reports written to {self.output} in {self.seconds:.1f} s"]
        if self.resumed:
            parts.append(f"{self.resumed} were there already")
        if self.skipped:
            parts.append(f"{len(self.skipped)} studies skipped, see {skipped_path(self.output)}")
        return ", ".join(parts)


def partial_path(output: str | os.PathLike) -> Path:
    return Path(f"{os.fspath(output)}.partial")


def info_path(output: str | os.PathLike) -> Path:
    return Path(f"{os.fspath(output)}.info.json")


def skipped_path(output: str | os.PathLike) -> Path:
    return Path(f"{os.fspath(output)}.skipped.jsonl")


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
    batch, readable, skipped = collate_readable(processor, rows, **processor_kwargs)
    # Images have become pixel values: they needn't travel back from a worker.
    return batch, [_without_images(row) for row in readable], skipped


def _without_images(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in row.items() if key not in ("image", "prior_image")}
    return {**kept, "has_prior": row.get("prior_image") is not None}


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

    def batches(self, done: Mapping[str, str]) -> Iterator:
        """`(batch or None, readable rows without images, {example id: reason})` of each batch."""
        if self.is_table:
            from torch.utils.data import DataLoader

            indices = [index for index, name in enumerate(self.identifiers) if name not in done]
            data = _RowBatches(self.examples, indices, self.batch_size, self.processor, self.processor_kwargs)
            yield from DataLoader(data, batch_size=None, num_workers=self.num_workers)
            return
        rows = []
        for row in self.examples:
            if self._remember(example_id_of(row)) not in done:
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


def _load_partial(path: Path) -> dict[str, str]:
    """Lines of an interrupted run by example id. A last line that was cut off by a kill is dropped."""
    lines: dict[str, str] = {}
    if not path.is_file():
        return lines
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            if not line.endswith("\n"):
                break
            try:
                lines[json.loads(line)["example_id"]] = line
            except (json.JSONDecodeError, KeyError, TypeError):
                break
    return lines


def _previous_lines(output: Path, info: Mapping[str, Any], resume: bool) -> dict[str, str]:
    if not resume:
        return {}
    lines = {**_load_partial(output), **_load_partial(partial_path(output))}
    if not lines:
        return {}
    try:
        earlier = json.loads(info_path(output).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        earlier = {}
    if earlier.get("fingerprint") != info["fingerprint"]:
        raise ValueError(
            f"{output} holds reports of another model or of other settings ({info_path(output)}). "
            "Choose another output file, or start over with resume=False (--no-resume)."
        )
    return lines


def cut_references(processor, references: Sequence[str | None]) -> list[str | None]:
    """The references as the model's tokenizer cuts them at its report length: what published scores compare with."""
    texts = [text if text is not None else "" for text in references]
    if not texts:
        return []
    cut = processor.post_process_reports(processor.encode_reports(texts, "generation")["labels"])
    return [None if text is None else short for text, short in zip(references, cut, strict=True)]


def generation_info(
    model, generation_kwargs: Mapping[str, Any], processor_kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Which model and which settings; `fingerprint` stands for all of it."""
    defaults = model.generation_config.to_diff_dict()
    defaults = {
        key: value for key, value in defaults.items() if key not in ("transformers_version", "_from_model_config")
    }
    settings = {
        "model_fingerprint": model_fingerprint(model),
        "model_dtype": str(model.dtype),
        "generation": {**defaults, **generation_kwargs},
        "processor": dict(processor_kwargs),
    }
    return {
        **settings,
        "fingerprint": settings_fingerprint(settings),
        "model": getattr(model.config, "_name_or_path", "") or None,
        "priorrg_hf": __version__,
    }


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
    processor_kwargs: Mapping[str, Any] | None = None,
    **generation_kwargs,
) -> GenerationSummary:
    """Writes a report for every example row, streaming JSON lines to `output_path`.

    Each line has `example_id, study_id, patient_id, prediction, reference` (`null` without findings), `has_prior, has_context,
    view_position`, and `reference_cut`, the reference cut at the model's report length.

    Args:
        model ([`PriorRGForReportGeneration`]): the model; put into evaluation mode for the run.
        processor ([`PriorRGProcessor`]): its processor.
        examples (`datasets.Dataset`, sequence or iterable of rows): see `priorrg_hf.data.as_examples`.
        output_path (`str`): the reports file.
        batch_size (`int`, defaults to 8): examples a batch.
        strict (`bool`, defaults to `False`): stop at the first bad study instead of skipping, listing and counting it.
        resume (`bool`, defaults to `True`): go on where an interrupted run stopped; skipped studies are tried again.
        num_workers (`int`, defaults to 0): processes that prepare batches.
        device (*optional*): moved to first; by default the model stays where it is.
        progress (`bool`, defaults to `True`): show a progress bar.
        processor_kwargs (mapping, *optional*): for the processor's call.
        **generation_kwargs: for `model.generate`, over the model's generation config (beam 3, 100 tokens).

    Returns:
        [`GenerationSummary`].

    Raises:
        `BadStudyError`: with `strict`, naming the study. What was written stays for resuming.
        `ValueError`: an example id twice, or `output_path` holding reports of another model or other settings.
    """
    import torch

    started = time.perf_counter()
    output = Path(output_path)
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if device is not None:
        model.to(device)
    source = _Examples(examples, batch_size, processor, processor_kwargs or {}, num_workers)
    info = generation_info(model, generation_kwargs, processor_kwargs or {})
    summary = GenerationSummary(output, info=info)
    lines = _previous_lines(output, info, resume)
    if source.is_table:
        lines = {name: lines[name] for name in source.identifiers if name in lines}
    summary.resumed = len(lines)
    write_text_whole(info_path(output), json.dumps(summary.info, indent=2, default=str) + "\n")
    partial = partial_path(output)
    write_text_whole(partial, "".join(lines.values()))

    was_training = model.training
    model.eval()
    try:
        total = len(source) if source.is_table else None
        with open(partial, "a", encoding="utf-8") as file, _progress(total, len(lines), progress) as bar:
            for batch, rows, skipped in source.batches(lines):
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
                    for name, line in _report_lines(processor, rows, ids):
                        lines[name] = line
                        file.write(line)
                    file.flush()
                    os.fsync(file.fileno())
                    summary.generated += len(rows)
                bar.update(len(rows) + len(skipped))
                if summary.skipped:
                    bar.set_postfix(skipped=len(summary.skipped))
    finally:
        model.train(was_training)
    write_text_whole(output, "".join(lines[name] for name in source.identifiers if name in lines))
    partial.unlink(missing_ok=True)
    _write_skipped(output, summary.skipped)
    summary.seconds = time.perf_counter() - started
    return summary


def _progress(total: int | None, initial: int, shown: bool):
    return progress_bar(total=total, initial=initial, description="reports", shown=shown)


def _to_device(batch: Mapping[str, Any], model) -> dict[str, Any]:
    moved = {}
    for name, value in batch.items():
        dtype = model.dtype if value.is_floating_point() else None
        moved[name] = value.to(model.device, dtype) if dtype is not None else value.to(model.device)
    return moved


def _report_lines(processor, rows, ids) -> list[tuple[str, str]]:
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
        )
        lines.append((entry.example_id, entry.to_json() + "\n"))
    return lines


def _write_skipped(output: Path, skipped: Mapping[str, str]) -> None:
    path = skipped_path(output)
    if skipped:
        rows = [json.dumps({"example_id": name, "skipped": why}, ensure_ascii=False) for name, why in skipped.items()]
        write_text_whole(path, "\n".join(rows) + "\n")
    else:
        path.unlink(missing_ok=True)


__all__ = [
    "BadStudyError",
    "GenerationSummary",
    "collate_readable",
    "cut_references",
    "generate_reports",
    "generation_info",
    "info_path",
    "partial_path",
    "processor_inputs",
    "skipped_path",
]
