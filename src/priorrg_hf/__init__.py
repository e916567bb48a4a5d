"""PriorRG for Hugging Face: chest X-ray report generation from current image, prior image and clinical context.

Importing this package loads neither torch nor transformers: every public name is resolved on first use. The Auto
classes (`AutoConfig`, `AutoModel`, `AutoProcessor`, ...) and the `report-generation` pipeline task are registered as soon as the
part of transformers that holds them is imported.

Research use only, not for clinical decisions.
"""

import importlib

from . import _registration
from .version import __version__


# public name -> the module that defines it
_EXPORTS = {
    "PriorRGConfig": "configuration_priorrg",
    "PriorRGPreTrainedModel": "modeling_priorrg",
    "PriorRGModel": "modeling_priorrg",
    "PriorRGForContrastivePretraining": "modeling_priorrg",
    "PriorRGForReportGeneration": "modeling_priorrg",
    "PriorRGProcessor": "processing_priorrg",
    "PriorRGInputError": "processing_priorrg",
    "build_priorrg_tokenizer": "processing_priorrg",
    "rad_dino_image_processor": "processing_priorrg",
    "load_image": "image_loading_priorrg",
    "read_dicom": "dicom_priorrg",
    "Study": "data",
    "load_studies": "data",
    "as_examples": "data",
    "PriorRGReportGenerationPipeline": "pipeline_priorrg",
    "PriorRGContrastiveTrainer": "trainer_priorrg",
    "PriorRGReportTrainer": "trainer_priorrg",
    "PriorRGContrastiveTrainingArguments": "training_args_priorrg",
    "PriorRGReportTrainingArguments": "training_args_priorrg",
    "PriorRGDataCollator": "data_collator_priorrg",
    "ChestXrayAugmentation": "image_augmentation",
    "FeatureCache": "feature_cache",
    "precompute_features": "feature_cache",
    "ReportMetrics": "report_metrics",
    "save_with_code": "hub",
    "push_to_hub": "hub",
    "render_model_card": "model_card",
    "lora_config": "peft_utils",
    "freeze_batch_norm": "peft_utils",
    "export_model": "export",
    "ExportedReportGenerator": "export",
}

__all__ = ["__version__", *_EXPORTS]


def __getattr__(name: str):
    if name in _EXPORTS:
        value = getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))


_registration.install()
