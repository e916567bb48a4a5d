"""Retrieval metrics of stage 1 and the 5x200 set they are published on.

Images with context are queries against reports, or the other way round; similarity is the inner product of L2-normalised embeddings.
Exact search runs in torch, a block of queries at a time. From `FAISS_FROM` candidates on, an index of the faiss library can take its
place (`backend="faiss"`, exact inner product too), which is faster and needs less memory there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


# 5x200: five CheXpert classes, 200 studies each.
FIVE_CLASSES = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
STUDIES_PER_CLASS = 200
FAISS_FROM = 200_000
QUERY_BLOCK = 1024


def build_class_balanced_set(
    labels: Mapping[str, Mapping[str, float]] | Sequence[Mapping[str, float]],
    *,
    classes: Sequence[str] = FIVE_CLASSES,
    per_class: int = STUDIES_PER_CLASS,
    other_classes: Sequence[str] | None = None,
    seed: int = 0,
) -> dict[str, list]:
    """Picks studies that have exactly one of the classes: the 5x200 set from labels.

    A study belongs to a class when that class is labelled 1 and no other class is 1 or uncertain (-1).

    Args:
        labels (mapping or sequence): study id (or position) -> labels by class, as CheXpert writes them: 1 present, 0 absent,
            -1 uncertain; a missing label counts as absent.
        classes (sequence of `str`): the classes.
        per_class (`int`, defaults to 200): studies a class.
        other_classes (sequence of `str`, *optional*): further labels that must not be present. By default only `classes` exclude each other.
        seed (`int`, defaults to 0): of the draw among the studies that qualify.

    Returns:
        `dict[str, list]`: class -> study ids (or positions).

    Raises:
        `ValueError`: a class has too few studies; the message gives the counts.
    """
    items = labels.items() if isinstance(labels, Mapping) else enumerate(labels)
    checked = tuple(dict.fromkeys([*classes, *(other_classes or ())]))
    found: dict[str, list] = {name: [] for name in classes}
    for key, row in items:
        values = {name: row.get(name) for name in checked}
        stated = [name for name, value in values.items() if value is not None and value == value and value != 0]
        if len(stated) == 1 and stated[0] in found and values[stated[0]] == 1:
            found[stated[0]].append(key)
    short = {name: len(keys) for name, keys in found.items() if len(keys) < per_class}
    if short:
        counts = ", ".join(f"{name} {count}" for name, count in short.items())
        raise ValueError(f"too few studies with exactly one class for {per_class} a class: {counts}")
    generator = np.random.default_rng(seed)
    return {
        name: [keys[i] for i in sorted(generator.choice(len(keys), per_class, replace=False))]
        for name, keys in found.items()
    }


def search(queries: Any, candidates: Any, k: int, *, backend: str = "auto", device: Any = None) -> np.ndarray:
    """Indices of the `k` most similar candidates of each query, best first; int64 of shape `(queries, min(k, candidates))`.

    Args:
        queries, candidates (array or tensor): embeddings `(rows, dim)`; normalised here.
        k (`int`): how many.
        backend (`str`, defaults to `"auto"`): `"torch"`, `"faiss"`, or `"auto"`: faiss from `FAISS_FROM` candidates on where it is
            installed, torch otherwise. Both are exact; equal similarities are ordered by index in torch only.
        device (*optional*): of the torch search.

    Raises:
        `ValueError`: different widths, no candidates, not finite embeddings, an unknown backend.
        `ImportError`: faiss was asked for and is not installed.
    """
    import torch

    queries, candidates = (
        torch.as_tensor(x).detach().to(device or "cpu", torch.float32) for x in (queries, candidates)
    )
    if queries.ndim != 2 or candidates.ndim != 2 or queries.shape[1] != candidates.shape[1]:
        raise ValueError(
            f"queries {tuple(queries.shape)} and candidates {tuple(candidates.shape)} do not fit together"
        )
    if not len(candidates) or k < 1:
        raise ValueError(f"nothing to search: {len(candidates)} candidates, k = {k}")
    for name, rows in (("queries", queries), ("candidates", candidates)):
        if not torch.isfinite(rows).all():
            raise ValueError(f"{name} hold values that are not finite")
    queries, candidates = (torch.nn.functional.normalize(rows, dim=-1) for rows in (queries, candidates))
    k = min(k, len(candidates))
    if backend == "auto":
        backend = "faiss" if len(candidates) >= FAISS_FROM and _faiss(required=False) is not None else "torch"
    if backend == "faiss":
        index = _faiss(required=True).IndexFlatIP(candidates.shape[1])
        index.add(candidates.cpu().numpy())
        return index.search(queries.cpu().numpy(), k)[1].astype(np.int64)
    if backend != "torch":
        raise ValueError(f"backend is 'auto', 'torch' or 'faiss', got {backend!r}")
    blocks = []
    for block in queries.split(QUERY_BLOCK):
        similarity = block @ candidates.T
        top = similarity.topk(k, dim=1)
        # Ties by index, so that the answer does not hang on the machine.
        order = np.lexsort((top.indices.cpu().numpy(), -top.values.cpu().numpy()), axis=1)
        blocks.append(np.take_along_axis(top.indices.cpu().numpy(), order, axis=1))
    return np.concatenate(blocks) if blocks else np.zeros((0, k), np.int64)


def _faiss(required: bool):
    try:
        import faiss
    except ImportError as error:
        if required:
            raise ImportError("the faiss backend needs faiss: pip install 'priorrg-hf[retrieval]'") from error
        return None
    return faiss


def retrieval_scores(
    query_embeddings: Any,
    candidate_embeddings: Any,
    *,
    query_studies: Sequence,
    candidate_studies: Sequence,
    query_classes: Sequence | None = None,
    candidate_classes: Sequence | None = None,
    category_k: Sequence[int] = (5, 10, 100),
    study_k: Sequence[int] = (1, 5, 10),
    recall_k: Sequence[int] = (1, 5, 10),
    backend: str = "auto",
    device: Any = None,
) -> dict[str, float]:
    """Precision and recall at K of one direction.

    Args:
        query_embeddings, candidate_embeddings (array or tensor): `(rows, dim)`.
        query_studies, candidate_studies (sequence): study id of each row; a candidate of the query's study is the one looked for.
        query_classes, candidate_classes (sequence, *optional*): class of each row, for Cat-Precision.
        category_k, study_k, recall_k (sequence of `int`): the K of Cat-Precision, Stu-Precision and Recall.
        backend, device: see [`search`].

    Returns:
        `dict[str, float]`: means over queries of

        - `cat_precision@K`: share of the top K that have the query's class;
        - `stu_precision@K`: share of the top K that belong to the query's study; with one report a study it is at most 1/K;
        - `recall@K`: whether one of the query's study is among the top K (queries without any candidate of their study are left out);
        - `median_rank`: of the first candidate of the query's study among the largest K searched, `inf` when beyond for half of them.

        With fewer than K candidates the top is all of them.
    """
    if len(query_studies) != len(query_embeddings) or len(candidate_studies) != len(candidate_embeddings):
        raise ValueError(
            f"{len(query_studies)} and {len(candidate_studies)} study ids for {len(query_embeddings)} queries and "
            f"{len(candidate_embeddings)} candidates"
        )
    if not len(query_embeddings):
        raise ValueError("no queries to score")
    largest = max([*category_k, *study_k, *recall_k])
    top = search(query_embeddings, candidate_embeddings, largest, backend=backend, device=device)
    same_study = _equal(query_studies, candidate_studies, top)
    scores = {}
    if query_classes is not None and candidate_classes is not None:
        same_class = _equal(query_classes, candidate_classes, top)
        scores.update({f"cat_precision@{k}": float(same_class[:, :k].mean()) for k in category_k})
    scores.update({f"stu_precision@{k}": float(same_study[:, :k].mean()) for k in study_k})
    known = set(candidate_studies)
    findable = np.array([study in known for study in query_studies])
    found = same_study[findable]
    scores.update(
        {f"recall@{k}": float(found[:, :k].any(axis=1).mean()) if len(found) else float("nan") for k in recall_k}
    )
    ranks = np.where(found.any(axis=1), found.argmax(axis=1) + 1.0, np.inf)
    scores["median_rank"] = float(np.median(ranks)) if len(ranks) else float("nan")
    return scores


def _equal(queries: Sequence, candidates: Sequence, top: np.ndarray) -> np.ndarray:
    numbers: dict[Any, int] = {}
    query_numbers = np.array([numbers.setdefault(value, len(numbers)) for value in queries])
    candidate_numbers = np.array([numbers.setdefault(value, len(numbers)) for value in candidates])
    return candidate_numbers[top] == query_numbers[:, None]


def retrieval_both_directions(
    image_embeddings: Any, report_embeddings: Any, *, studies: Sequence, classes: Sequence | None = None, **options
) -> dict[str, float]:
    """[`retrieval_scores`] of images against reports and of reports against images, rows paired by position.

    Several images of one study share its report: of equal study ids the first report is the only candidate.

    Returns:
        `dict[str, float]`: `image_to_report_...` and `report_to_image_...`.
    """
    studies = list(studies)
    positions: dict[Any, int] = {}
    for index, study in enumerate(studies):
        positions.setdefault(study, index)
    first = list(positions.values())
    report_rows = report_embeddings[first]
    report_studies = [studies[index] for index in first]
    report_classes = [classes[index] for index in first] if classes is not None else None
    forward = retrieval_scores(
        image_embeddings, report_rows, query_studies=studies, candidate_studies=report_studies,
        query_classes=classes, candidate_classes=report_classes, **options,
    )  # fmt: skip
    backward = retrieval_scores(
        report_rows, image_embeddings, query_studies=report_studies, candidate_studies=studies,
        query_classes=report_classes, candidate_classes=classes, **options,
    )  # fmt: skip
    return {
        **{f"image_to_report_{name}": value for name, value in forward.items()},
        **{f"report_to_image_{name}": value for name, value in backward.items()},
    }


__all__ = [
    "FIVE_CLASSES",
    "build_class_balanced_set",
    "retrieval_both_directions",
    "retrieval_scores",
    "search",
]
