"""Retrieval metrics against a plain loop, the search back ends, and the class-balanced set."""

import numpy as np
import pytest
import torch

from priorrg_hf.metrics.retrieval import (
    FIVE_CLASSES,
    build_class_balanced_set,
    retrieval_both_directions,
    retrieval_scores,
    search,
)


def by_hand(queries, candidates, query_studies, candidate_studies, query_classes, candidate_classes, k):
    category, study, recall = [], [], []
    for i, query in enumerate(queries):
        similarity = [float(query @ c / np.linalg.norm(query) / np.linalg.norm(c)) for c in candidates]
        top = sorted(range(len(candidates)), key=lambda j: -similarity[j])[:k]
        category.append(sum(candidate_classes[j] == query_classes[i] for j in top) / len(top))
        study.append(sum(candidate_studies[j] == query_studies[i] for j in top) / len(top))
        recall.append(any(candidate_studies[j] == query_studies[i] for j in top))
    return np.mean(category), np.mean(study), np.mean(recall)


def test_scores_equal_a_plain_loop():
    generator = np.random.default_rng(1)
    queries, candidates = generator.normal(size=(17, 6)), generator.normal(size=(23, 6))
    query_studies, candidate_studies = list(generator.integers(0, 9, 17)), list(range(9)) + list(range(9)) + [0] * 5
    query_classes, candidate_classes = list(generator.integers(0, 3, 17)), list(generator.integers(0, 3, 23))
    scores = retrieval_scores(
        queries, candidates, query_studies=query_studies, candidate_studies=candidate_studies,
        query_classes=query_classes, candidate_classes=candidate_classes, category_k=(5, 10), study_k=(1, 5), recall_k=(1, 5),
    )  # fmt: skip
    arguments = (queries, candidates, query_studies, candidate_studies, query_classes, candidate_classes)
    for k in (1, 5, 10):
        category, study, recall = by_hand(*arguments, k)
        if k > 1:
            assert scores[f"cat_precision@{k}"] == pytest.approx(category)
        if k < 10:
            assert scores[f"stu_precision@{k}"] == pytest.approx(study)
            assert scores[f"recall@{k}"] == pytest.approx(recall)


def test_perfect_and_shuffled_embeddings():
    embeddings = torch.randn(50, 16, generator=torch.Generator().manual_seed(0))
    studies, classes = list(range(50)), [i % 5 for i in range(50)]
    scores = retrieval_both_directions(embeddings, embeddings, studies=studies, classes=classes)
    assert scores["image_to_report_recall@1"] == scores["report_to_image_stu_precision@1"] == 1.0
    assert scores["image_to_report_median_rank"] == 1.0
    assert scores["image_to_report_stu_precision@5"] == pytest.approx(0.2)
    shuffled = retrieval_both_directions(embeddings, embeddings.roll(7, 0), studies=studies, classes=classes)
    assert shuffled["image_to_report_recall@1"] < 0.1


def test_views_of_a_study_share_its_report():
    images = torch.eye(4)[[0, 0, 2, 2]]
    reports = images
    scores = retrieval_both_directions(images, reports, studies=["a", "a", "b", "b"])
    # Two candidates in all: the reports of a and b.
    assert scores["image_to_report_recall@1"] == 1.0
    assert scores["report_to_image_stu_precision@1"] == 1.0


def test_blocks_and_ties_do_not_change_the_answer(monkeypatch):
    from priorrg_hf.metrics import retrieval

    queries, candidates = torch.randn(9, 4), torch.randn(30, 4)
    whole = search(queries, candidates, 30)
    monkeypatch.setattr(retrieval, "QUERY_BLOCK", 2)
    assert (search(queries, candidates, 30) == whole).all()
    assert search(torch.ones(1, 3), torch.ones(5, 3), 5).tolist() == [[0, 1, 2, 3, 4]]


def test_faiss_agrees_with_torch():
    pytest.importorskip("faiss")
    generator = torch.Generator().manual_seed(0)
    queries, candidates = torch.randn(20, 8, generator=generator), torch.randn(200, 8, generator=generator)
    assert (search(queries, candidates, 10, backend="faiss") == search(queries, candidates, 10, backend="torch")).all()


@pytest.mark.parametrize(
    ("queries", "candidates", "message"),
    [
        (torch.ones(2, 3), torch.ones(2, 4), "do not fit"),
        (torch.ones(2, 3), torch.ones(0, 3), "nothing to search"),
        (torch.full((1, 3), float("nan")), torch.ones(2, 3), "not finite"),
    ],
)
def test_bad_embeddings_are_named(queries, candidates, message):
    with pytest.raises(ValueError, match=message):
        search(queries, candidates, 1)


def test_faiss_missing_is_explained(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match=r"pip install 'priorrg-hf\[retrieval\]'"):
        search(torch.ones(1, 3), torch.ones(2, 3), 1, backend="faiss")


def labels(count=40):
    rows = {}
    for index in range(count):
        row = dict.fromkeys(FIVE_CLASSES, 0.0)
        row[FIVE_CLASSES[index % 5]] = 1.0
        rows[f"s{index}"] = row
    rows["two"] = {FIVE_CLASSES[0]: 1.0, FIVE_CLASSES[1]: 1.0}
    rows["uncertain beside"] = {FIVE_CLASSES[0]: 1.0, FIVE_CLASSES[1]: -1.0}
    rows["uncertain"] = {FIVE_CLASSES[2]: -1.0}
    rows["nothing"] = {FIVE_CLASSES[2]: None}
    return rows


def test_class_balanced_set_takes_studies_of_exactly_one_class():
    chosen = build_class_balanced_set(labels(), per_class=8)
    assert {name: len(keys) for name, keys in chosen.items()} == dict.fromkeys(FIVE_CLASSES, 8)
    flat = [key for keys in chosen.values() for key in keys]
    assert len(set(flat)) == 40 and all(key.startswith("s") for key in flat)
    assert build_class_balanced_set(labels(), per_class=3, seed=1) == build_class_balanced_set(
        labels(), per_class=3, seed=1
    )
    with pytest.raises(ValueError, match="too few studies.*Atelectasis 8"):
        build_class_balanced_set(labels(), per_class=9)
