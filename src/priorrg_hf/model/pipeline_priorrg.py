"""The `report-generation` pipeline: studies in, the findings section of their reports out.

What is unusual:

- A study is one dictionary. Its keys are those of the example rows that the rest of the package uses; keys that are no input
  (`study_id`, ...) come back with the report.
- Every error names the row by its number and its ids, because one bad image among thousands must be found again.
- Generation settings go to `model.generate` as they are, on top of the model's own generation configuration.
"""

import difflib
import os
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForImageTextToText
from transformers.pipelines import PIPELINE_REGISTRY, Pipeline


TASK = "report-generation"

# Key of a study -> argument of the processor.
_INPUTS = {
    "image": "images",
    "prior_image": "prior_images",
    "indication": "indication",
    "history": "history",
    "view_position": "view_positions",
    "prior_view_position": "prior_view_positions",
}
# Other names for an input. Taken as extra keys, they would silently cost the report its context.
_MISTAKEN = {"context": "indication", "text": "indication"}
# A table's names of a view -> ours.
_ALIASES = {"view": "view_position", "prior_view": "prior_view_position"}
_IDS = ("example_id", "study_id", "patient_id")


class _NumberedRow:
    """A row and its place in the input."""

    def __init__(self, index: int, row: Any):
        self.index = index
        self.row = row


class _NumberedRows(torch.utils.data.Dataset):
    """A map-style collection whose rows know their number."""

    def __init__(self, rows: Sequence):
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> _NumberedRow:
        return _NumberedRow(index, self.rows[index])


class _Rows(torch.utils.data.Dataset):
    """Makes any map-style collection (`datasets.Dataset` among them) one that `Pipeline` streams."""

    def __init__(self, rows: Sequence):
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]


class PriorRGReportGenerationPipeline(Pipeline):
    r"""
    Writes the findings section of a chest X-ray report. Research use only, not for clinical decisions.

    A study is a dictionary with `image` and, where known, `prior_image`, `indication`, `history`, `view_position` and
    `prior_view_position`; anything else in it (`study_id`, ...) is handed back with the report. A study record of a table, with `images`
    and `prior` nested, is taken as it is: its first frontal image is described, and its prior's image is shown. A bare image (path, URL,
    PIL, array) is a study of which nothing else is known. Images are whatever [`PriorRGProcessor`] opens.

    Takes one study, a list, a generator, a `datasets.Dataset` or a `KeyDataset`. Lists give lists; generators and datasets
    give an iterator, read study by study.

    Args:
        model ([`PriorRGForReportGeneration`]): The model.
        processor ([`PriorRGProcessor`]): The processor of that model.

    Example:

    ```python
    >>> from transformers import pipeline

    >>> write = pipeline("report-generation", model="path/or/hub-id", trust_remote_code=True)
    >>> write({"image": "today.png", "prior_image": "last_year.png", "indication": "cough", "study_id": "s1"}, num_beams=3)
    [{'generated_text': 'the heart size is unchanged ...', 'study_id': 's1'}]
    ```"""

    _load_processor = True
    _load_image_processor = False
    _load_feature_extractor = False
    _load_tokenizer = False
    # The base class would set generation arguments aside and merge them through private methods that differ between releases;
    # left to `_sanitize_parameters`, they reach `generate` unchanged on all of them.
    _pipeline_calls_generate = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if not self.model.can_generate():
            raise ValueError(
                f"{type(self.model).__name__} writes no reports; the {TASK!r} pipeline needs PriorRGForReportGeneration."
            )
        if self.processor is None:
            raise ValueError(f"The {TASK!r} pipeline needs `processor`, the PriorRGProcessor saved with the model.")

    def _sanitize_parameters(
        self,
        generate_kwargs: dict | None = None,
        processor_kwargs: dict | None = None,
        return_tensors: bool | None = None,
        **kwargs,
    ) -> tuple[dict, dict, dict]:
        # A loading option that `pipeline()` leaves among the arguments.
        kwargs.pop("local_files_only", None)
        twice = sorted(set(generate_kwargs or {}) & set(kwargs))
        if twice:
            raise ValueError(f"Given twice, in `generate_kwargs` and directly: {', '.join(twice)}.")
        preprocess = {} if processor_kwargs is None else {"processor_kwargs": processor_kwargs}
        postprocess = {} if return_tensors is None else {"return_tensors": return_tensors}
        return preprocess, {**(generate_kwargs or {}), **kwargs}, postprocess

    def __call__(self, inputs: Any, **kwargs) -> list[dict] | list[list[dict]] | Iterator[list[dict]]:
        """
        Writes reports.

        Args:
            inputs: One study or many, see the class.
            batch_size (`int`, *optional*, defaults to 1): Studies in one forward pass. It does not change the reports.
            num_workers (`int`, *optional*, defaults to 0): Processes that open images.
            generate_kwargs (`dict`, *optional*): Arguments of `model.generate`; they can also be passed directly.
            processor_kwargs (`dict`, *optional*): Arguments of the processor, such as `max_context_length`.
            return_tensors (`bool`, *optional*): Whether to return `generated_token_ids` instead of `generated_text`.

        Returns:
            For a study, a list of one dictionary per returned sequence (`num_return_sequences`, 1 by default) with
            `generated_text` and the study's extra keys. For many studies, a list or an iterator of these.

        Raises:
            `ValueError`: names the row, the field and the remedy.
        """
        if isinstance(inputs, tuple):
            inputs = list(inputs)
        if isinstance(inputs, list) and not inputs:
            return []
        if not isinstance(inputs, (list, types.GeneratorType, torch.utils.data.Dataset)) and not _is_study(inputs):
            if hasattr(inputs, "__getitem__") and hasattr(inputs, "__len__"):
                inputs = _Rows(inputs)
            elif hasattr(inputs, "__iter__"):
                inputs = (row for row in inputs)
        return super().__call__(inputs, **kwargs)

    def get_iterator(self, inputs, *args, **kwargs):
        if hasattr(inputs, "__len__"):
            inputs = _NumberedRows(inputs)
        else:
            inputs = (_NumberedRow(index, row) for index, row in enumerate(inputs))
        return super().get_iterator(inputs, *args, **kwargs)

    def preprocess(self, inputs: Any, processor_kwargs: dict | None = None) -> dict[str, Any]:
        """One study as the tensors of `forward`, with its extra keys under `extra`."""
        index, row = (inputs.index, inputs.row) if isinstance(inputs, _NumberedRow) else (None, inputs)
        study = dict(row) if isinstance(row, Mapping) and not _is_encoded_image(row) else {"image": row}
        name = _row_name(index, study)
        study = _from_record(study, name)
        _check_keys(study, name)
        arguments = {_INPUTS[key]: [study.pop(key)] for key in tuple(study) if key in _INPUTS}
        try:
            tensors = self.processor(**arguments, **(processor_kwargs or {}))
        except ValueError as error:
            # The processor's error, known by its attributes: remote code has each file's classes twice.
            if not hasattr(error, "row"):
                raise
            field = next((key for key, argument in _INPUTS.items() if argument == error.field), error.field)
            reason = re.sub(r"^row \d+, \w+: ", "", str(error))
            raise type(error)(f"{name}, {field}: {reason}", row=index, field=field) from error
        return {**tensors, "extra": [study]}

    def _forward(self, model_inputs: dict[str, Any], **generate_kwargs) -> dict[str, Any]:
        extra = model_inputs.pop("extra")
        dtype = self.model.dtype
        model_inputs = {
            name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in model_inputs.items()
        }
        sequences = self.model.generate(**model_inputs, **generate_kwargs)
        sequences = getattr(sequences, "sequences", sequences)
        # (studies, returned sequences, tokens)
        return {"sequences": sequences.view(len(extra), -1, sequences.shape[-1]), "extra": _flat(extra)}

    def postprocess(self, model_outputs: dict[str, Any], return_tensors: bool = False) -> list[dict[str, Any]]:
        """The reports of one study."""
        sequences = model_outputs["sequences"][0]
        extra = model_outputs["extra"]
        extra = extra[0] if isinstance(extra, list) else extra
        if return_tensors:
            return [{"generated_token_ids": sequence, **extra} for sequence in sequences]
        return [{"generated_text": text, **extra} for text in self.processor.post_process_reports(sequences)]


def _flat(extra: list) -> list[dict]:
    """A batch collects each study's one-entry list."""
    return [item[0] if isinstance(item, list) else item for item in extra]


def _is_encoded_image(value: Mapping) -> bool:
    """The undecoded image of the datasets library, `{"bytes": ..., "path": ...}`."""
    return "image" not in value and bool(value) and set(value) <= {"bytes", "path"}


def _is_study(value: Any) -> bool:
    """Whether a value is one study: a dictionary, or one image in any form."""
    single = (Mapping, str, bytes, bytearray, memoryview, os.PathLike, np.ndarray, torch.Tensor)
    return isinstance(value, single) or hasattr(value, "getexif") or hasattr(value, "read")


def _row_name(index: int | None, study: dict) -> str:
    ids = ", ".join(f"{key} {study[key]!r}" for key in _IDS if study.get(key) is not None)
    name = "study" if index is None else f"row {index}"
    return f"{name} ({ids})" if ids else name


def _from_record(study: dict, name: str) -> dict:
    """A study record of a table (`images` with their `view`, `prior` nested) as the pipeline's own keys. Other studies stay as they are."""
    study = dict(study)
    for alias, key in _ALIASES.items():
        if alias in study:
            value = study.pop(alias)
            if value is not None and study.get(key) not in (None, value):
                raise ValueError(f"{name}, {key}: {study[key]!r}, but {alias} says {value!r}; give one of them.")
            study[key] = value if study.get(key) is None else study[key]
    if "images" in study and "image" not in study:
        images = [
            image if isinstance(image, Mapping) and "image" in image else {"image": image}
            for image in _listed(study.pop("images"))
        ]
        if not images:
            raise ValueError(
                f"{name}, images: there is no current image; a report describes one, so leave the row out."
            )
        chosen = next((image for image in images if _is_frontal(image.get("view"))), images[0])
        study["image"] = chosen["image"]
        if study.get("view_position") is None:
            study["view_position"] = chosen.get("view")
    if "prior" in study and "prior_image" not in study:
        prior = study.pop("prior")
        if isinstance(prior, Mapping) and any(value is not None for value in prior.values()):
            study["prior_image"], study["prior_view_position"] = prior.get("image"), prior.get("view")
        if prior is not None and (
            not isinstance(prior, Mapping) or (study.get("prior_image") is None and any(prior.values()))
        ):
            raise ValueError(
                f"{name}, prior: it names another study ({prior!r}), which only its table can find. Read the table with "
                "priorrg_hf.data.load_studies, or give `prior_image`."
            )
    return study


def _listed(value: Any) -> list:
    return (
        [value]
        if isinstance(value, (str, bytes, os.PathLike, Mapping)) or not hasattr(value, "__iter__")
        else list(value)
    )


def _is_frontal(view: Any) -> bool:
    words = set(re.sub(r"[^A-Z]+", " ", str(view or "").upper()).split())
    return bool(words & {"AP", "PA", "FRONTAL"}) and not words & {"LATERAL", "OBLIQUE"}


def _check_keys(study: dict, name: str) -> None:
    """Refuses a study without an image, and keys that look like a misspelt input."""
    for key in study:
        if key in _INPUTS:
            continue
        meant = _MISTAKEN.get(key) or next(iter(difflib.get_close_matches(str(key), _INPUTS, n=1, cutoff=0.9)), None)
        if meant is not None and meant not in study:
            raise ValueError(f"{name}: unknown key {key!r}; did you mean {meant!r}? Known are {', '.join(_INPUTS)}.")
    if study.get("image") is None:
        raise ValueError(f"{name}, image: there is no current image; a report describes one, so leave the row out.")


def register_report_generation_pipeline() -> None:
    """Makes `pipeline("report-generation")` known to transformers. Does nothing where it is known already."""
    if TASK in PIPELINE_REGISTRY.get_supported_tasks():
        return
    PIPELINE_REGISTRY.register_pipeline(
        TASK,
        pipeline_class=PriorRGReportGenerationPipeline,
        pt_model=AutoModelForImageTextToText,
        type="multimodal",
    )


register_report_generation_pipeline()


__all__ = ["PriorRGReportGenerationPipeline", "register_report_generation_pipeline"]
