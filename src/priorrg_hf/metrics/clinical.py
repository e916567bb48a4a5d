"""Clinical scorers through RadEval: CheXbert F1, RadGraph F1, RaTEScore, BERTScore, RadCliQ, GREEN. Thin adapters, no scorer of our own.

`pip install 'priorrg-hf[clinical]'` brings RadEval; each scorer then fetches its own weights from the Hub on first use (GREEN is a model of
7 billion parameters and wants a GPU). Where the Hub can't be reached, `weights` names local folders, or `HF_HUB_OFFLINE=1` with a filled
cache does. What is not available raises `ClinicalScorerError` with the remedy; nothing is replaced by something else.

Known of RadEval 2.2.1 beside transformers 5 and torch 2.13: its RadGraph code imports itself under the name `RadEval` while the package is
called `radeval`; the alias below lets it. CheXbert fails with scikit-learn 1.9, which the extra `clinical` excludes. RaTEScore needs spaCy < 3.8, whose wheels are built for numpy 1: install "numpy<2" for it.
"""

import importlib
import importlib.abc
import importlib.util
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from .statistics import ReportStatistics, check_pairs, joined, mean_statistics, safe_ratio


class ClinicalScorerError(ImportError):
    """A clinical scorer cannot run here: RadEval or weights are missing. The message says what to do."""


@dataclass(frozen=True)
class ClinicalScorer:
    """How a RadEval metric is called and what its keys are called here.

    Args:
        radeval (`str`): name in RadEval's registry.
        corpus (mapping): RadEval's corpus keys -> our names.
        per_report (mapping): RadEval's per-sample keys -> our names; a score that is the mean of its per-sample values appears in both.
        repositories (mapping): Hub repository that the scorer loads -> short name under which `weights` can name a local folder.
    """

    radeval: str
    corpus: Mapping[str, str]
    per_report: Mapping[str, str] = field(default_factory=dict)
    repositories: Mapping[str, str] = field(default_factory=dict)


_CHEXBERT = {"StanfordAIMI/RRG_scorers": "chexbert", "bert-base-uncased": "bert"}
SCORERS: dict[str, ClinicalScorer] = {
    "chexbert": ClinicalScorer(
        "f1chexbert",
        {
            "f1chexbert_all_micro_f1": "chexbert_14_micro_f1",
            "f1chexbert_all_macro_f1": "chexbert_14_macro_f1",
            "f1chexbert_5_micro_f1": "chexbert_5_micro_f1",
            "f1chexbert_5_macro_f1": "chexbert_5_macro_f1",
        },
        {"f1chexbert_sample_acc_all": "chexbert_14_accuracy", "f1chexbert_sample_acc_5": "chexbert_5_accuracy"},
        _CHEXBERT,
    ),
    "radgraph": ClinicalScorer(
        "radgraph",
        {
            "radgraph_simple": "radgraph_simple_f1",
            "radgraph_partial": "radgraph_partial_f1",
            "radgraph_complete": "radgraph_complete_f1",
        },
        {
            "radgraph_simple": "radgraph_simple_f1",
            "radgraph_partial": "radgraph_partial_f1",
            "radgraph_complete": "radgraph_complete_f1",
        },
        {"StanfordAIMI/RRG_scorers": "radgraph"},
    ),
    "ratescore": ClinicalScorer(
        "ratescore",
        {"ratescore": "ratescore"},
        {"ratescore": "ratescore"},
        {"Angelakeke/RaTE-NER-Deberta": "ratescore_ner", "FremyCompany/BioLORD-2023-C": "ratescore_synonyms"},
    ),
    "bertscore": ClinicalScorer(
        "bertscore", {"bertscore": "bertscore"}, {"bertscore": "bertscore"}, {"distilbert-base-uncased": "bertscore"}
    ),
    "radcliq": ClinicalScorer("radcliq", {"radcliq_v1": "radcliq_v1"}, {"radcliq_v1": "radcliq_v1"}, _CHEXBERT),
    "green": ClinicalScorer(
        "green", {"green": "green"}, {"green": "green"}, {"StanfordAIMI/GREEN-radllama2-7b": "green"}
    ),
}
CLINICAL_METRICS = tuple(SCORERS)
# RadCliQ predicts a number of errors: less is better.
LOWER_IS_BETTER = frozenset({"radcliq_v1"})


class _RadEvalAlias(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Lets `import RadEval.x` find `radeval.x`, one module under both names (RadEval 2.2.1 imports itself by the wrong name)."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname == "RadEval" or fullname.startswith("RadEval."):
            return importlib.util.spec_from_loader(fullname, self, is_package=True)
        return None

    def create_module(self, spec):
        return importlib.import_module("radeval" + spec.name[len("RadEval") :])

    def exec_module(self, module) -> None:
        pass


def radeval_version() -> str | None:
    """Version of the installed RadEval, or `None`."""
    try:
        return version("radeval")
    except PackageNotFoundError:
        return None


def _metric_class(name: str) -> type:
    try:
        from radeval.metrics._registry import get_metric_class
    except ImportError as error:
        raise ClinicalScorerError(
            f"{name} is computed by RadEval, which is not installed: pip install 'priorrg-hf[clinical]' ({error})"
        ) from error
    if (
        not any(isinstance(finder, _RadEvalAlias) for finder in sys.meta_path)
        and importlib.util.find_spec("RadEval") is None
    ):
        sys.meta_path.append(_RadEvalAlias())
    with _explained_numpy_mismatch(name):
        try:
            return get_metric_class(SCORERS[name].radeval)
        except ImportError as error:
            raise ClinicalScorerError(
                f"{name} needs a package that is not installed: pip install 'priorrg-hf[clinical]' ({error})"
            ) from error


@contextmanager
def _explained_numpy_mismatch(name: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        if "numpy.dtype size changed" not in str(error):
            raise
        raise ClinicalScorerError(
            f"{name}: spaCy, as medspaCy pins it, is built for numpy 1; pip install 'numpy<2' ({error})"
        ) from error


@contextmanager
def _local_weights(weights: Mapping[str, str] | None) -> Iterator[None]:
    """Within it, the Hub repositories of `weights` are read from local folders, by every loader that RadEval uses."""
    folders = {}
    for scorer in SCORERS.values():
        for repository, short in scorer.repositories.items():
            for key in (repository, short):
                if weights and key in weights:
                    folders[repository] = str(weights[key])
    unknown = set(weights or {}) - {k for s in SCORERS.values() for pair in s.repositories.items() for k in pair}
    if unknown:
        known = sorted({k for s in SCORERS.values() for k in s.repositories})
        raise ValueError(f"weights names {sorted(unknown)}; the scorers load {', '.join(known)}")
    if not folders:
        yield
        return
    import huggingface_hub
    import transformers

    original_download = huggingface_hub.hf_hub_download

    def download(repo_id, filename, *args, **kwargs):
        if repo_id in folders:
            return f"{folders[repo_id]}/{filename}"
        return original_download(repo_id, filename, *args, **kwargs)

    # Some names are aliases of one class: each is redirected once.
    names = ("AutoConfig", "AutoModel", "AutoTokenizer", "BertTokenizer", "AutoModelForTokenClassification", "AutoModelForCausalLM")  # fmt: skip
    loaders = dict.fromkeys(getattr(transformers, name) for name in names)
    originals = {loader: loader.__dict__.get("from_pretrained") for loader in loaders}
    try:
        _replace_download(original_download, download)
        for loader in loaders:
            loader.from_pretrained = classmethod(_redirected(loader.from_pretrained, folders))
        yield
    finally:
        _replace_download(download, original_download)
        for loader, original in originals.items():
            if original is None:
                del loader.from_pretrained
            else:
                loader.from_pretrained = original


def _replace_download(old: Callable, new: Callable) -> None:
    import huggingface_hub

    vars(huggingface_hub)["hf_hub_download"] = new
    for name, module in list(sys.modules.items()):
        if name.lower().startswith("radeval") and getattr(module, "hf_hub_download", None) is old:
            vars(module)["hf_hub_download"] = new


def _redirected(original: Callable, folders: Mapping[str, str]) -> Callable:
    def from_pretrained(cls, name, *args, **kwargs):
        return original(folders.get(str(name), name), *args, **kwargs)

    return from_pretrained


def load_scorer(name: str, *, weights: Mapping[str, str] | None = None, **options) -> Any:
    """The RadEval metric object of a clinical scorer, with its weights loaded.

    Args:
        name (`str`): one of `CLINICAL_METRICS`.
        weights (mapping, *optional*): Hub repository, or its short name in `SCORERS`, -> local folder with the same files.
        **options: for RadEval's metric class.

    Raises:
        `ValueError`: unknown name.
        [`ClinicalScorerError`]: RadEval is not installed, or weights are neither in the cache nor reachable.
    """
    if name not in SCORERS:
        raise ValueError(f"unknown clinical metric {name!r}; there are {', '.join(SCORERS)}")
    try:
        metric_class = _metric_class(name)
        with _local_weights(weights), _explained_numpy_mismatch(name):
            return metric_class(**options)
    except ClinicalScorerError:
        raise
    except Exception as error:
        repositories = ", ".join(SCORERS[name].repositories)
        raise ClinicalScorerError(
            f"{name} could not load its weights ({repositories}): {_first_line(error)}. Connect to the Hub once, or name local folders with "
            f"weights={{...}} (command line: --weights REPOSITORY=FOLDER)."
        ) from error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"


@contextmanager
def _recorded_labels(scorer: Any) -> Iterator[dict[tuple[str, ...], list[list[int]]] | None]:
    """Within it, the 0/1 labels that a CheXbert scorer of RadEval reads are kept by the reports they were read from, and not read twice.

    `None` where the scorer keeps its labeller elsewhere than RadEval 2.2 does.
    """
    labeller: Any = getattr(scorer, "_scorer", None)
    if not callable(getattr(labeller, "get_labels", None)) or not hasattr(labeller, "top5_idx"):
        yield None
        return
    read = labeller.get_labels
    kept: dict[tuple[str, ...], list[list[int]]] = {}

    def get_labels(reports: Sequence[str], *args, **kwargs) -> list[list[int]]:
        key = tuple(reports)
        if key not in kept:
            kept[key] = read(reports, *args, **kwargs)
        return kept[key]

    labeller.get_labels = get_labels
    try:
        yield kept
    finally:
        del labeller.get_labels


def _computed(
    name: str, scorer: Any, references: list[str], predictions: list[str], **mode: bool
) -> Mapping[str, Any]:
    try:
        return scorer.compute(refs=references, hyps=predictions, **mode)
    except Exception as error:
        raise ClinicalScorerError(
            f"{name} failed while scoring {len(references)} reports: {_first_line(error)}. Leave it out, or see whether the installed versions "
            "are those of the extra: pip install 'priorrg-hf[clinical]'"
        ) from error


def chexbert_f1_statistics(
    predicted: Sequence[Sequence[int]], expected: Sequence[Sequence[int]], five: Sequence[int]
) -> ReportStatistics:
    """Summable counts behind CheXbert's F1 over 14 and over 5 labels, micro and macro, from 0/1 labels of shape `(reports, labels)`.

    `five` are the places of the five labels. As in RadEval (scikit-learn) a label that neither side has counts 0 in the macro mean.
    """
    said_of, true_of = np.asarray(predicted, np.float64), np.asarray(expected, np.float64)
    labels = true_of.shape[1]
    groups = {"14": list(range(labels)), "5": list(five)}

    def score(sums: np.ndarray) -> dict[str, np.ndarray]:
        hits, said, true = (sums[..., part * labels : (part + 1) * labels] for part in range(3))
        scores = {}
        for name, places in groups.items():
            hit, total = hits[..., places], said[..., places] + true[..., places]
            micro = safe_ratio(2 * hit.sum(axis=-1), total.sum(axis=-1))
            scores[f"chexbert_{name}_micro_f1"] = np.nan_to_num(micro)
            scores[f"chexbert_{name}_macro_f1"] = np.nan_to_num(safe_ratio(2 * hit, total)).mean(axis=-1)
        return scores

    columns = [f"{what}_{label}" for what in ("hits", "predicted", "expected") for label in range(labels)]
    return ReportStatistics(np.concatenate([said_of * true_of, said_of, true_of], axis=1), score, {}, columns)


def clinical_statistics(
    predictions: Sequence[str],
    references: Sequence[str],
    *,
    metrics: Sequence[str] = ("chexbert", "radgraph"),
    weights: Mapping[str, str] | None = None,
    scorers: Mapping[str, Any] | None = None,
) -> tuple[ReportStatistics | None, dict[str, float]]:
    """Per-report statistics, and by name the corpus scores that come without any (none of RadEval 2.2's).

    Arguments as for [`clinical_scores`]. The statistics are `None` when no scorer gives per-report values. CheXbert's F1 is no mean of
    reports: its statistics are the counts of the labels that the scorer reads. Should they give another F1 than the scorer itself, its
    value stands alone among the corpus scores.
    """
    predictions, references = check_pairs(predictions, references)
    parts, corpus = [], {}
    for name in metrics:
        if name not in SCORERS:
            raise ValueError(f"unknown clinical metric {name!r}; there are {', '.join(SCORERS)}")
        scorer = scorers[name] if scorers and name in scorers else load_scorer(name, weights=weights)
        spec = SCORERS[name]
        with _recorded_labels(scorer) as labels:
            if spec.per_report:
                given = _computed(name, scorer, references, predictions, per_sample=True)
                per_report = {
                    ours: np.asarray(given[theirs], np.float64)
                    for theirs, ours in spec.per_report.items()
                    if theirs in given
                }
                if per_report:
                    parts.append(mean_statistics(per_report))
            only_corpus = {
                theirs: ours for theirs, ours in spec.corpus.items() if ours not in spec.per_report.values()
            }
            if only_corpus:
                # Detailed mode is the one that RadEval does not round to four digits.
                given = _computed(name, scorer, references, predictions, detailed=True)
                values = {ours: float(given[theirs]) for theirs, ours in only_corpus.items() if theirs in given}
                counted = None
                if labels:
                    counted = chexbert_f1_statistics(
                        labels[tuple(predictions)], labels[tuple(references)], scorer._scorer.top5_idx
                    )
                if counted is not None and values and _agree(counted.corpus(), values):
                    parts.append(counted)
                else:
                    corpus.update(values)
    return (joined(parts) if parts else None), corpus


def _agree(counted: Mapping[str, float], values: Mapping[str, float]) -> bool:
    return counted.keys() == values.keys() and all(
        math.isclose(counted[k], v, abs_tol=1e-9) for k, v in values.items()
    )


def clinical_scores(
    predictions: Sequence[str],
    references: Sequence[str],
    *,
    metrics: Sequence[str] = ("chexbert", "radgraph"),
    weights: Mapping[str, str] | None = None,
    scorers: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Clinical scores by name, e.g. `chexbert_14_micro_f1`, `radgraph_partial_f1`, `ratescore`, `bertscore`, `radcliq_v1`, `green`.

    Args:
        predictions, references (`list[str]`): reports in pairs, unprepared.
        metrics (sequence of `str`): some of `CLINICAL_METRICS`.
        weights (mapping, *optional*): Hub repository -> local folder, see [`load_scorer`].
        scorers (mapping, *optional*): scorers that are loaded already, by name, to be used again.

    Raises:
        [`ClinicalScorerError`]: with the remedy, when RadEval or weights are missing.
    """
    statistics, corpus = clinical_statistics(
        predictions, references, metrics=metrics, weights=weights, scorers=scorers
    )
    return {**(statistics.corpus() if statistics is not None else {}), **corpus}


def rcb_scorer(
    *, weights: Mapping[str, str] | None = None
) -> Callable[[Sequence[str], Sequence[str]], dict[str, float]]:
    """A function that gives the clinical half of RCB, `chexbert_14_micro_f1` and `radgraph_partial_f1`, with scorers loaded once.

    Raises:
        [`ClinicalScorerError`]: RadEval or its weights are not available.
    """
    scorers = {name: load_scorer(name, weights=weights) for name in ("chexbert", "radgraph")}

    def score(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        scores = clinical_scores(predictions, references, scorers=scorers)
        return {name: scores[name] for name in ("chexbert_14_micro_f1", "radgraph_partial_f1")}

    return score


def rcb(scores: Mapping[str, float]) -> dict[str, float]:
    """RCB = BLEU-4 + CheXbert-14 micro F1 + RadGraph partial F1, by which the published recipe selects its model.

    Where a clinical score is missing, BLEU-4 + ROUGE-L takes its place, and `rcb_is_fallback` is 1: the two are not comparable.
    """
    clinical = [scores.get(name, math.nan) for name in ("chexbert_14_micro_f1", "radgraph_partial_f1")]
    complete = not any(math.isnan(value) for value in clinical)
    parts = clinical if complete else [scores["rouge_l"]]
    return {"rcb": scores["bleu_4"] + sum(parts), "rcb_is_fallback": float(not complete)}


__all__ = [
    "CLINICAL_METRICS",
    "ClinicalScorerError",
    "chexbert_f1_statistics",
    "clinical_scores",
    "clinical_statistics",
    "load_scorer",
    "radeval_version",
    "rcb",
    "rcb_scorer",
]
