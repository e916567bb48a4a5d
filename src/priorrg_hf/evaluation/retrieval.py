"""Retrieval evaluation of stage-1 models: embeddings in batches, stored, scored in both directions with and without prior and context."""

import dataclasses
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.file_writing import write_bytes_whole, write_text_whole
from ..data.locking import claimed
from ..data.model_folders import check_device, load_model, load_processor
from ..data.worker_processes import end_with_parent
from ..metrics.retrieval import FIVE_CLASSES, build_class_balanced_set, retrieval_both_directions
from ..training.feature_cache import ImageKeys
from .conditions import CONDITIONS, ChangedExamples
from .evaluate import check_unique, load_evaluation_data
from .fingerprints import (
    config_fingerprint,
    model_fingerprint,
    processor_fingerprint,
    settings_fingerprint,
    text_fingerprint,
)
from .generation import BadStudyError, collate_readable


logger = logging.getLogger(__name__)

RETRIEVAL_FILES = ("retrieval.json", "retrieval.md", "embeddings_*.safetensors")


@dataclasses.dataclass
class RetrievalResult:
    """`result` as in `retrieval.json`, `table` in Markdown, `folder` with the files."""

    result: dict[str, Any]
    table: str
    folder: Path


def embed_studies(
    model,
    processor,
    examples,
    *,
    batch_size: int = 16,
    num_workers: int = 0,
    strict: bool = False,
    progress: bool = True,
    description: str = "images",
) -> tuple[np.ndarray, list[str], dict[str, str]]:
    """Image-with-context embeddings of stage 1: `(embeddings (readable, dim) float32, example ids, skipped with reasons)`.

    Raises:
        `BadStudyError`: with `strict`, at the first study that cannot be read.
        `ValueError`: none can be read.
    """
    import torch
    from torch.utils.data import DataLoader, Dataset

    from ..data.progress import progress_bar

    class Batches(Dataset):
        def __len__(self):
            return -(-len(examples) // batch_size)

        def __getitem__(self, position):
            rows = [
                dict(examples[i])
                for i in range(position * batch_size, min(len(examples), (position + 1) * batch_size))
            ]
            batch, readable, skipped = collate_readable(processor, rows, report_task="alignment")
            return batch, [str(row["example_id"]) for row in readable], skipped

    embeddings, identifiers = [], []
    skipped: dict[str, str] = {}
    loader: DataLoader = DataLoader(
        Batches(), batch_size=None, num_workers=num_workers, worker_init_fn=end_with_parent
    )
    for batch, names, bad in progress_bar(loader, description=description, unit="batches", shown=progress):
        skipped.update(bad)
        for name, reason in bad.items():
            if strict:
                raise BadStudyError(
                    f"study {name}: {reason}. Repair or remove it, or run without strict to leave such studies out."
                )
            logger.warning("study %s is left out: %s", name, reason)
        if batch is not None:
            with torch.inference_mode():
                moved = {name: value.to(model.device) for name, value in batch.items()}
                features = model.get_image_features(**moved).pooler_output
            embeddings.append(features.float().cpu().numpy())
            identifiers += names
    if not embeddings:
        raise ValueError(f"no study could be read: {next(iter(skipped.items()), 'there are none')}")
    return np.concatenate(embeddings), identifiers, skipped


def embed_reports(
    model, processor, reports: Sequence[str], *, batch_size: int = 64, progress: bool = True
) -> np.ndarray:
    """Report embeddings of stage 1, `(reports, dim)` float32."""
    import torch

    from ..data.progress import progress_bar

    embeddings = []
    for start in progress_bar(
        range(0, len(reports), batch_size), description="reports", unit="batches", shown=progress
    ):
        tokens = processor.encode_reports(list(reports[start : start + batch_size]), "alignment").to(model.device)
        with torch.inference_mode():
            features = model.get_text_features(tokens["report_input_ids"], tokens["report_attention_mask"])
        embeddings.append(features.pooler_output.float().cpu().numpy())
    return np.concatenate(embeddings)


def _image_key(keys: ImageKeys, source: Any) -> str:
    """Key by content; a file that cannot be read, and will be skipped, stands under its path."""
    try:
        return keys.key(source)
    except (OSError, ValueError):
        return str(source.get("path") if isinstance(source, Mapping) else source)


def _stored(
    path: Path, key: str, compute: Callable, complete: bool = False
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays, and studies left out with reasons, from a safetensors file if it was made for `key`; computed and stored otherwise.

    With `complete` a file that leaves studies out is not taken: they are tried again.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.numpy import load_file, save

    if path.is_file():
        try:
            with safe_open(path, "numpy") as file:
                metadata = file.metadata() or {}
                skipped = json.loads(metadata.get("skipped", "{}"))
                if metadata.get("key") == key and not (complete and skipped):
                    return load_file(path), skipped
        except (SafetensorError, ValueError) as error:
            logger.warning("%s is damaged (%s) and computed anew", path, error)
    arrays, skipped = compute()
    write_bytes_whole(path, save(arrays, metadata={"key": key, "skipped": json.dumps(skipped)}))
    return arrays, skipped


def load_stage_1(model: str | os.PathLike, *, device: str | None = None, dtype: str = "float32"):
    """Contrastive model in evaluation mode and its processor. Raises `ValueError` for weights without the stage-1 head."""
    import torch

    from ..data.model_folders import ModelFolderError
    from ..model.modeling_priorrg import PriorRGForContrastivePretraining

    place = check_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise ValueError(f"`dtype` must name a torch type such as float32 or bfloat16, got {dtype!r}.")
    processor = load_processor(model)
    try:
        loaded = load_model(PriorRGForContrastivePretraining, model, dtype=getattr(torch, dtype))
    except ModelFolderError as error:
        if "logit_scale" in str(error):
            raise ModelFolderError(
                f"{model} is no stage-1 model: it has no logit scale. Retrieval is measured on the output of priorrg pretrain."
            ) from error
        raise
    return loaded.to(place).eval(), processor


def retrieval_of_examples(
    model,
    processor,
    examples,
    output_dir: str | os.PathLike,
    *,
    classes: Sequence[str] | None = None,
    conditions: Sequence[str] = tuple(CONDITIONS),
    backend: str = "auto",
    batch_size: int = 16,
    num_workers: int = 0,
    strict: bool = False,
    progress: bool = True,
    sources: Sequence[str | os.PathLike] = (),
    overwrite: bool = False,
) -> RetrievalResult:
    """Scores example rows with findings under each condition; see [`run_retrieval`].

    Args:
        examples (`Dataset`): rows of `as_examples`, all with findings.
        classes (sequence, *optional*): class of each row, for Cat-Precision.
        conditions (sequence of `str`): some of `CONDITIONS`.
        strict (`bool`, defaults to `False`): stop at the first study that cannot be read. Otherwise it is left out of every condition,
            so that all are scored on the same studies, and listed in `result["skipped"]`, also when embeddings come from file.
        sources, overwrite: what is never written over, and whether files of others in the folder are.

    Raises:
        `ValueError`: a study without findings, an id twice; `BadStudyError`, one of them: an unreadable one, with `strict`.
        `OutputError`, `LockedError`: the folder holds such files of others, or another run is writing there.
    """
    check_unique(examples["example_id"], "retrieval")
    with claimed(output_dir, "retrieval", RETRIEVAL_FILES, "priorrg retrieve", sources=sources, overwrite=overwrite):
        return _score_retrieval(
            model, processor, examples, Path(output_dir), classes, conditions, backend, strict, progress,
            {"batch_size": batch_size, "num_workers": num_workers},
        )  # fmt: skip


def _score_retrieval(
    model, processor, examples, folder: Path, classes, conditions, backend: str, strict: bool, progress: bool, batches
) -> RetrievalResult:
    names = [str(name) for name in examples["example_id"]]
    studies = [
        f"{patient}/{study}" for patient, study in zip(examples["patient_id"], examples["study_id"], strict=True)
    ]
    reports = list(examples["findings"])
    missing = [name for name, report in zip(names, reports, strict=True) if not report]
    if missing:
        raise ValueError(f"{len(missing)} studies have no findings to retrieve, e.g. {missing[0]!r}")
    place = {name: index for index, name in enumerate(names)}
    base = {
        "model": model_fingerprint(model),
        "config": config_fingerprint(model.config),
        "preprocessing": processor_fingerprint(processor),
        "data": text_fingerprint([*names, *reports, *examples["indication"], *examples["history"]]),
    }
    text = _stored(
        folder / "embeddings_reports.safetensors", settings_fingerprint(base),
        lambda: ({"reports": embed_reports(model, processor, reports, progress=progress)}, {}),
    )[0]["reports"]  # fmt: skip
    keys = ImageKeys()
    base["images"] = text_fingerprint(
        None if source is None else _image_key(keys, source)
        for name in ("image", "prior_image")
        for source in examples[name]
    )
    base["views"] = text_fingerprint(
        view for name in ("view_position", "prior_view_position") for view in examples[name]
    )
    skipped: dict[str, str] = {}
    embedded: dict[str, dict[str, np.ndarray]] = {}
    for condition in conditions:
        changed = ChangedExamples(examples, CONDITIONS[condition])

        def compute(changed=changed, condition=condition):
            images, identifiers, bad = embed_studies(
                model, processor, changed, strict=strict, progress=progress, description=condition, **batches
            )  # fmt: skip
            return {"images": images, "rows": np.array([place[name] for name in identifiers], dtype=np.int64)}, bad

        key = settings_fingerprint({**base, "condition": condition})
        embedded[condition], bad = _stored(
            folder / f"embeddings_{condition.replace(' ', '_')}.safetensors", key, compute, complete=strict
        )
        skipped.update(bad)
    # A prior that cannot be read is no obstacle where priors are hidden; yet conditions are compared on the same studies.
    common = [index for index, name in enumerate(names) if name not in skipped]
    if not common:
        raise ValueError(f"no study can be read under every condition, e.g. {next(iter(skipped.items()))}")
    result: dict[str, Any] = {
        "n": len(common),
        "conditions": {},
        "fingerprints": base,
        "backend": backend,
        "skipped": skipped,
    }
    for condition, arrays in embedded.items():
        row_of = {int(row): position for position, row in enumerate(arrays["rows"])}
        result["conditions"][condition] = retrieval_both_directions(
            arrays["images"][[row_of[index] for index in common]], text[common], studies=[studies[i] for i in common],
            classes=[classes[i] for i in common] if classes is not None else None, backend=backend,
        )  # fmt: skip
    table = render_retrieval(result)
    finite = {c: {k: v if np.isfinite(v) else None for k, v in s.items()} for c, s in result["conditions"].items()}
    write_text_whole(folder / "retrieval.json", json.dumps({**result, "conditions": finite}, indent=2) + "\n")
    write_text_whole(folder / "retrieval.md", table)
    return RetrievalResult(result, table, folder)


def render_retrieval(result: Mapping[str, Any]) -> str:
    """The table in Markdown: conditions in columns."""
    conditions = list(result["conditions"])
    lines = [f"# Retrieval, {result['n']} studies", "", "Research use only, not for clinical decisions.", ""]
    if result["skipped"]:
        lines += [f"{len(result['skipped'])} studies could not be read and are left out; see `retrieval.json`.", ""]
    lines += ["| score | " + " | ".join(conditions) + " |", "|---" * (len(conditions) + 1) + "|"]
    for score in result["conditions"][conditions[0]]:
        lines.append(f"| {score} | " + " | ".join(f"{result['conditions'][c][score]:.3f}" for c in conditions) + " |")
    lines += ["", "Stu-Precision@K is at most 1/K where a study has one report."]
    return "\n".join(lines) + "\n"


def run_retrieval(
    model: str | os.PathLike,
    data: str | os.PathLike,
    output_dir: str | os.PathLike,
    *,
    per_class: int | None = None,
    classes: Sequence[str] | None = None,
    split: str | None = "test",
    views: str | None = None,
    limit: int | None = None,
    reading: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str | None = None,
    dtype: str = "float32",
    strict: bool = False,
    **options,
) -> RetrievalResult:
    """Loads a stage-1 model and studies and scores retrieval; writes `retrieval.json`, `retrieval.md` and the embeddings.

    Args:
        model (`str`): stage-1 folder or Hub id.
        data and the arguments of `load_evaluation_data`: studies; those without findings are left out.
        per_class (`int`, *optional*): builds a class-balanced set from the studies' labels, see `build_class_balanced_set`; published: 200.
        classes (sequence of `str`, *optional*): label names; by default the five CheXpert classes.
        seed (`int`): of the draw of that set.
        **options: see [`retrieval_of_examples`]; `strict` also stops at what the source cannot read.
    """
    studies = load_evaluation_data(
        data, split=split, views=views, limit=limit, reading=reading,
        require_findings=True, strict=strict,
    )  # fmt: skip
    examples, row_classes = studies.examples, None
    if per_class is not None:
        if not studies.labels:
            raise ValueError(f"{data} has no labels: the balanced set is built from them")
        available = set(examples["study_id"])
        labels = {study: values for study, values in studies.labels.items() if study in available}
        chosen = build_class_balanced_set(labels, classes=classes or FIVE_CLASSES, per_class=per_class, seed=seed)
        class_of = {study: name for name, members in chosen.items() for study in members}
        taken: set[str] = set()
        indices = []
        for index, study in enumerate(examples["study_id"]):
            if study in class_of and study not in taken:  # one image a study
                taken.add(study)
                indices.append(index)
        examples = examples.select(indices)
        row_classes = [class_of[study] for study in examples["study_id"]]
    loaded, processor = load_stage_1(model, device=device, dtype=dtype)
    return retrieval_of_examples(
        loaded, processor, examples, output_dir, classes=row_classes, strict=strict, sources=(data, model), **options
    )


__all__ = ["RetrievalResult", "embed_reports", "embed_studies", "retrieval_of_examples", "run_retrieval"]
