"""Model cards: the template in `model_cards/`, filled from a configuration and measured results.

A card states what is known and says so where something is not: without results there is no table, without named training data the
card says that they are not named.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from ..model.configuration_priorrg import PriorRGConfig


TEMPLATE_NAME = "model_card.md.jinja"

# Hub tasks have no "report generation"; this is the nearest.
PIPELINE_TAG = "image-text-to-text"
TAGS = ("priorrg", "radiology", "chest-x-ray", "report-generation", "longitudinal", "medical")

# What the published system starts from (vision, text), by shape of the configuration.
PUBLISHED_BACKBONES = ("microsoft/rad-dino", "microsoft/BiomedVLP-CXR-BERT-specialized")

# Metric -> the name under which the Hub knows it, where it does.
_METRIC_TYPES = {"bleu": "bleu", "rouge": "rouge", "meteor": "meteor", "cider": "cider", "bertscore": "bertscore"}


def template_path() -> Path:
    """The card's template: inside the installed package, or in `model_cards/` of a checkout."""
    room = Path(__file__).resolve().parent
    for folder in (room / "model_cards", room.parents[2] / "model_cards"):
        if (folder / TEMPLATE_NAME).is_file():
            return folder / TEMPLATE_NAME
    raise FileNotFoundError(f"{TEMPLATE_NAME} is missing from the installation; reinstall priorrg-hf")


def render_model_card(
    config: "PriorRGConfig",
    *,
    architecture: str | None = None,
    evaluation: dict[str, Any] | None = None,
    model_name: str = "PriorRG",
    repo_id: str | None = None,
    license: str = "other",
    license_name: str | None = "research-use",
    license_link: str | None = None,
    base_models: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    training_data: str | None = None,
    training: str | None = None,
    with_code: bool = True,
) -> str:
    """
    The text of a model card.

    Args:
        config ([`PriorRGConfig`]): The model's configuration.
        architecture (`str`, *optional*): Name of the model's class. Default: as in `config.architectures`, else the report generator.
        evaluation (`dict`, *optional*):
            Measured results: `metrics` (name -> number, or name -> `{"value": ..., "low": ..., "high": ...}` with a confidence
            interval), and where known `dataset` (name), `dataset_id` (Hub id), `split`, `num_examples`, `protocol`. The `evaluation.json`
            of `priorrg evaluate` is one; its own `model_index` is used as it is. A flat dictionary of numbers is taken as the metrics.
        model_name (`str`, *optional*, defaults to `"PriorRG"`): Heading, and name in `model-index`.
        repo_id (`str`, *optional*): What the usage example loads.
        license (`str`, *optional*, defaults to `"other"`):
            Licence of the weights as a Hub identifier. The default, with `license_name`, is the careful one: terms of the training data and
            of the backbones (RAD-DINO is for research) hold for weights made from them.
        license_name, license_link (`str`, *optional*): For `license="other"`.
        base_models (`Sequence[str]`, *optional*): Hub ids. Default: RAD-DINO and CXR-BERT where the configuration has their shapes.
        datasets (`Sequence[str]`, *optional*): Hub ids of the training data.
        training_data (`str`, *optional*): What the model was trained on, in words.
        training (`str`, *optional*): How it was trained, in words.
        with_code (`bool`, *optional*, defaults to `True`): Whether the folder holds the code.

    Returns:
        `str`: Markdown with metadata.

    Raises:
        `ValueError`: a result is no number.
    """
    from huggingface_hub import ModelCard, ModelCardData

    results = _results(evaluation)
    about = {} if evaluation is None or "metrics" not in evaluation else evaluation
    if base_models is None:
        base_models = PUBLISHED_BACKBONES if _has_published_shapes(config) else ()
    architecture = architecture or next(iter(config.architectures or ()), None)
    generates = architecture != "PriorRGForContrastivePretraining"
    data = ModelCardData(
        language="en",
        license=license,
        license_name=license_name if license == "other" else None,
        license_link=license_link if license == "other" else None,
        library_name="transformers",
        pipeline_tag=PIPELINE_TAG if generates else "zero-shot-image-classification",
        tags=[*TAGS, *(["custom_code"] if with_code else [])],
        base_model=list(base_models) or None,
        datasets=list(datasets or ()) or None,
        model_name=model_name,
        eval_results=_eval_results(results, about) or None,
    )
    card = ModelCard.from_template(
        data,
        template_path=os.fspath(template_path()),
        model_name=model_name,
        model=repo_id or "path/to/this/folder",
        config=config,
        segments=list(config.active_memory_segments),
        generates=generates,
        view_names=sorted(config.view_positions, key=lambda name: config.view_positions[name]),
        results=results,
        with_intervals=any(row["low"] is not None for row in results),
        about=about,
        training_data=training_data,
        training=training,
        base_models=list(base_models),
        with_code=with_code,
    )
    return str(card)


def _has_published_shapes(config: "PriorRGConfig") -> bool:
    vision, text = config.vision_config, config.text_config
    return (
        (vision.hidden_size, vision.num_hidden_layers, vision.image_size, vision.patch_size) == (768, 12, 518, 14)
        and (text.hidden_size, text.num_hidden_layers) == (768, 6)
    )  # fmt: skip


def _results(evaluation: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Rows of the results table: name, value and, where known, the interval."""
    if not evaluation:
        return []
    rows = []
    for name, value in evaluation.get("metrics", evaluation).items():
        row = value if isinstance(value, dict) else {"value": value}
        numbers = [row.get(key) for key in ("value", "low", "high") if row.get(key) is not None]
        if row.get("value") is None or any(
            isinstance(number, bool) or not isinstance(number, (int, float)) for number in numbers
        ):
            raise ValueError(f"evaluation: {name} is {value!r}; a result is a number, or a dictionary with `value`.")
        rows.append({"name": name, **{key: row.get(key) for key in ("value", "low", "high")}})
    return rows


def _eval_results(results: list[dict[str, Any]], about: dict[str, Any]) -> list:
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import model_index_to_eval_results

    if about.get("model_index"):
        return model_index_to_eval_results(about["model_index"])[1]
    name = about.get("dataset") or "not named"
    return [
        EvalResult(
            task_type=PIPELINE_TAG,
            task_name="Radiology report generation",
            dataset_type=about.get("dataset_id") or name,
            dataset_name=name,
            dataset_split=about.get("split"),
            metric_type=next(
                (kind for key, kind in _METRIC_TYPES.items() if row["name"].startswith(key)), row["name"]
            ),
            metric_name=row["name"],
            metric_value=row["value"],
        )
        for row in results
    ]


__all__ = ["render_model_card", "template_path"]
