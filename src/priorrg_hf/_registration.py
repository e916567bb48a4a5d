"""Makes PriorRG known to the Auto classes and the pipeline registry, without importing them or torch.

`import priorrg_hf` must stay fast and torch-free, yet `AutoModel.from_pretrained(folder)` has to work after it. So each
entry waits for the transformers module that owns the mapping: it is made at once where that module is loaded, and otherwise
right after somebody imports it. The entries are names, resolved through the lazy attributes of this package on first use,
exactly as transformers treats its own models. (The public `AutoModel.register` takes classes: importing ours while transformers is
still importing itself would be circular.) The mappings' private fields are touched in this file only; checked on 5.18 to 5.24.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType


MODEL_TYPE = "priorrg"
CONFIG_NAME = "PriorRGConfig"


def _register_config(module: ModuleType) -> None:
    module.CONFIG_MAPPING_NAMES[MODEL_TYPE] = CONFIG_NAME
    module.CONFIG_MAPPING._modules[MODEL_TYPE] = sys.modules[__package__]


def _add_to(mapping, class_name: str) -> None:
    mapping._model_mapping[MODEL_TYPE] = class_name
    mapping._reverse_config_mapping[CONFIG_NAME] = MODEL_TYPE
    mapping._modules[MODEL_TYPE] = sys.modules[__package__]


def _register_models(module: ModuleType) -> None:
    _add_to(module.MODEL_MAPPING, "PriorRGModel")
    _add_to(module.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, "PriorRGForReportGeneration")
    _add_to(module.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING, "PriorRGForContrastivePretraining")


def _register_processor(module: ModuleType) -> None:
    # By class: AutoProcessor looks names up in transformers' own model folders only. No import of ours passes through this
    # module, so nothing here is circular.
    from .model.configuration_priorrg import PriorRGConfig
    from .model.processing_priorrg import PriorRGProcessor

    module.AutoProcessor.register(PriorRGConfig, PriorRGProcessor, exist_ok=True)


def _register_pipeline(module: ModuleType) -> None:
    # The pipeline module imports transformers.pipelines itself; when that import is the one under way, it registers at its end.
    if f"{__package__}.model.pipeline_priorrg" not in sys.modules:
        from .model.pipeline_priorrg import register_report_generation_pipeline

        register_report_generation_pipeline()


_REGISTRATIONS: dict[str, Callable[[ModuleType], None]] = {
    "transformers.models.auto.configuration_auto": _register_config,
    "transformers.models.auto.modeling_auto": _register_models,
    "transformers.models.auto.processing_auto": _register_processor,
    "transformers.pipelines": _register_pipeline,
}


class _RegisteringLoader(importlib.abc.Loader):
    """Runs the module's own loader, then the registration that waited for it."""

    def __init__(self, loader: importlib.abc.Loader, register: Callable[[ModuleType], None]):
        self.loader = loader
        self.register = register

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        # The module keeps its original loader, so that inspect and pickle see nothing unusual.
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        self.register(module)


class _RegistrationFinder(importlib.abc.MetaPathFinder):
    """Wraps the loader of the modules in `waiting` once, and leaves every other import alone."""

    def __init__(self, waiting: dict[str, Callable[[ModuleType], None]]):
        self.waiting = waiting

    def find_spec(self, fullname, path=None, target=None):
        register = self.waiting.pop(fullname, None)
        if register is None:
            return None
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _RegisteringLoader(spec.loader, register)
        return spec


def install() -> None:
    """Registers with the transformers modules that are loaded, and arranges it for those that are not yet."""
    waiting = {}
    for name, register in _REGISTRATIONS.items():
        if name in sys.modules:
            register(sys.modules[name])
        else:
            waiting[name] = register
    if waiting:
        sys.meta_path.insert(0, _RegistrationFinder(waiting))
