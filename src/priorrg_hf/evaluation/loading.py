"""What a run of reports starts from: the model with its processor, and the example rows of a source."""

import os
from typing import TYPE_CHECKING

import torch


if TYPE_CHECKING:
    from datasets import Dataset

    from ..model.modeling_priorrg import PriorRGForReportGeneration
    from ..model.processing_priorrg import PriorRGProcessor


def load_for_generation(
    model: str | os.PathLike, *, device: str | None = None, dtype: str = "float32"
) -> tuple["PriorRGForReportGeneration", "PriorRGProcessor"]:
    """Model in evaluation mode and processor of a folder or Hub id; on CUDA where there is one and no `device` is named.

    Raises:
        ValueError: the checkpoint has no report decoder, lacks weights or is damaged, `dtype` names no torch type, or there is no such
            device.
    """
    from ..data.model_folders import ModelFolderError, check_device, load_model, load_processor
    from ..model.modeling_priorrg import PriorRGForReportGeneration

    place = check_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise ValueError(f"`dtype` must name a torch type such as float32 or bfloat16, got {dtype!r}.")
    processor = load_processor(model)
    try:
        loaded = load_model(PriorRGForReportGeneration, model, dtype=getattr(torch, dtype))
    except ModelFolderError as error:
        if "decoder.transformer." in str(error):
            raise ModelFolderError(
                f"{model} holds no report decoder (a stage-1 checkpoint?); fine-tune it first: priorrg finetune. ({error})"
            ) from error
        raise
    return loaded.to(place).eval(), processor


def hide_inputs(examples: "Dataset", *, prior: bool = False, context: bool = False) -> "Dataset":
    """The example rows without their priors, or without indication and history."""
    hidden: tuple[str, ...] = ("prior_image", "prior_view_position") if prior else ()
    hidden += ("indication", "history") if context else ()
    return examples.map(lambda row: dict.fromkeys(hidden), features=examples.features) if hidden else examples
