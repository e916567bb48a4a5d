"""PriorRG for Hugging Face: chest X-ray report generation from current image, prior image and clinical context.

Importing this package loads neither torch nor transformers: every public name is resolved on first use. The Auto
classes (`AutoConfig`, `AutoModel`, `AutoProcessor`, ...) and the `report-generation` pipeline task are registered as soon as the
part of transformers that holds them is imported.

Research use only, not for clinical decisions.
"""

from typing import TYPE_CHECKING

import lazy_loader

from . import _registration
from .version import __version__


# For type checkers; what runs is the table below, which resolves a name when somebody first asks for it. A test holds the two equal.
if TYPE_CHECKING:
    from .data import (
        Study as Study,
    )
    from .data import (
        as_examples as as_examples,
    )
    from .data import (
        load_studies as load_studies,
    )
    from .model import (
        PriorRGConfig as PriorRGConfig,
    )
    from .model import (
        PriorRGForContrastivePretraining as PriorRGForContrastivePretraining,
    )
    from .model import (
        PriorRGForReportGeneration as PriorRGForReportGeneration,
    )
    from .model import (
        PriorRGInputError as PriorRGInputError,
    )
    from .model import (
        PriorRGModel as PriorRGModel,
    )
    from .model import (
        PriorRGPreTrainedModel as PriorRGPreTrainedModel,
    )
    from .model import (
        PriorRGProcessor as PriorRGProcessor,
    )
    from .model import (
        PriorRGReportGenerationPipeline as PriorRGReportGenerationPipeline,
    )
    from .model import (
        build_priorrg_tokenizer as build_priorrg_tokenizer,
    )
    from .model import (
        load_image as load_image,
    )
    from .model import (
        rad_dino_image_processor as rad_dino_image_processor,
    )
    from .model import (
        read_dicom as read_dicom,
    )
    from .publishing import (
        ExportedReportGenerator as ExportedReportGenerator,
    )
    from .publishing import (
        export_model as export_model,
    )
    from .publishing import (
        push_to_hub as push_to_hub,
    )
    from .publishing import (
        render_model_card as render_model_card,
    )
    from .publishing import (
        save_with_code as save_with_code,
    )
    from .training import (
        ChestXrayAugmentation as ChestXrayAugmentation,
    )
    from .training import (
        FeatureCache as FeatureCache,
    )
    from .training import (
        PriorRGContrastiveTrainer as PriorRGContrastiveTrainer,
    )
    from .training import (
        PriorRGContrastiveTrainingArguments as PriorRGContrastiveTrainingArguments,
    )
    from .training import (
        PriorRGDataCollator as PriorRGDataCollator,
    )
    from .training import (
        PriorRGReportTrainer as PriorRGReportTrainer,
    )
    from .training import (
        PriorRGReportTrainingArguments as PriorRGReportTrainingArguments,
    )
    from .training import (
        ReportMetrics as ReportMetrics,
    )
    from .training import (
        freeze_batch_norm as freeze_batch_norm,
    )
    from .training import (
        lora_config as lora_config,
    )
    from .training import (
        precompute_features as precompute_features,
    )

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "data": [
            "Study",
            "as_examples",
            "load_studies",
        ],
        "model": [
            "PriorRGConfig",
            "PriorRGForContrastivePretraining",
            "PriorRGForReportGeneration",
            "PriorRGInputError",
            "PriorRGModel",
            "PriorRGPreTrainedModel",
            "PriorRGProcessor",
            "PriorRGReportGenerationPipeline",
            "build_priorrg_tokenizer",
            "load_image",
            "rad_dino_image_processor",
            "read_dicom",
        ],
        "publishing": [
            "ExportedReportGenerator",
            "export_model",
            "push_to_hub",
            "render_model_card",
            "save_with_code",
        ],
        "training": [
            "ChestXrayAugmentation",
            "FeatureCache",
            "PriorRGContrastiveTrainer",
            "PriorRGContrastiveTrainingArguments",
            "PriorRGDataCollator",
            "PriorRGReportTrainer",
            "PriorRGReportTrainingArguments",
            "ReportMetrics",
            "freeze_batch_norm",
            "lora_config",
            "precompute_features",
        ],
    },
)
__all__ += ["__version__"]

_registration.install()
