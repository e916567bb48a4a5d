"""Model folders for the Hub: with the code that runs them, or without, and with a model card.

A folder "with code" holds the flat files of this package beside the weights, so that `trust_remote_code=True` loads model, processor
and pipeline where the package is not installed. What is written is named file by file: no image, note or log of a training
folder can slip into an upload.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.file_writing import explain_full_disk, replace_file
from .model_card import render_model_card


if TYPE_CHECKING:
    from ..model.modeling_priorrg import PriorRGPreTrainedModel
    from ..model.processing_priorrg import PriorRGProcessor


# The files whose classes the Auto classes and the pipeline look up. What they import from beside them comes along.
ENTRY_FILES = ("configuration_priorrg", "modeling_priorrg", "processing_priorrg", "pipeline_priorrg")

AUTO_MAP = {
    "AutoConfig": "configuration_priorrg.PriorRGConfig",
    "AutoModel": "modeling_priorrg.PriorRGModel",
    "AutoModelForImageTextToText": "modeling_priorrg.PriorRGForReportGeneration",
    "AutoModelForZeroShotImageClassification": "modeling_priorrg.PriorRGForContrastivePretraining",
}
PROCESSOR_AUTO_MAP = {"AutoProcessor": "processing_priorrg.PriorRGProcessor"}
CUSTOM_PIPELINES = {
    "report-generation": {
        "impl": "pipeline_priorrg.PriorRGReportGenerationPipeline",
        "pt": ["AutoModelForImageTextToText"],
        "type": "multimodal",
    }
}

# Everything that may be uploaded, beside the code files.
MODEL_FILES = (
    "README.md",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "model-?????-of-?????.safetensors",
    "model.safetensors.index.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
)

_SIBLING_IMPORT = re.compile(r"^\s*from\s+\.(\w+)\s+import", re.MULTILINE)


def code_files() -> list[Path]:
    """The flat files that a folder with code holds: the entry files and, recursively, the siblings that they import."""
    folder = Path(__file__).parents[1] / "model"
    found: dict[str, Path] = {}
    waiting = list(ENTRY_FILES)
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = folder / f"{name}.py"
            waiting += _SIBLING_IMPORT.findall(found[name].read_text(encoding="utf-8"))
    return list(found.values())


def save_with_code(
    model: "PriorRGPreTrainedModel",
    processor: "PriorRGProcessor",
    folder: str | os.PathLike,
    *,
    card: str | None = None,
    **save_kwargs,
) -> Path:
    """
    Saves model, processor and the code that runs them, so that the folder loads with `trust_remote_code=True` anywhere.

    Neither the classes nor the configuration in memory change: saving the model elsewhere afterwards copies no code.

    Args:
        model ([`PriorRGPreTrainedModel`]): A model of either stage.
        processor ([`PriorRGProcessor`]): Its processor.
        folder (`str` or `os.PathLike`): Made if need be. Other files in it stay as they are.
        card (`str`, *optional*): Text of `README.md`. Default: the one that is there, else [`render_model_card`]'s.
        save_kwargs (*optional*): Arguments of `save_pretrained`, such as `max_shard_size`.

    Returns:
        `Path`: the folder. Its files appear when all of them are complete.

    Raises:
        `ValueError`: the model is a PEFT wrapper, or processor and model do not fit.
    """
    return _save(model, processor, Path(folder), with_code=True, card=card, **save_kwargs)


def push_to_hub(
    model: "PriorRGPreTrainedModel",
    processor: "PriorRGProcessor",
    repo_id: str,
    *,
    with_code: bool = True,
    card: str | None = None,
    evaluation: dict[str, Any] | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    commit_message: str = "Upload PriorRG",
    max_shard_size: int | str = "5GB",
    **card_kwargs,
) -> str:
    """
    Uploads model, processor, model card and, by default, the code that runs them.

    The upload is made from a fresh temporary folder and an allow-list of file names: nothing of a training folder goes along.

    Args:
        model ([`PriorRGPreTrainedModel`]): A model of either stage.
        processor ([`PriorRGProcessor`]): Its processor.
        repo_id (`str`): `owner/name`; made if need be.
        with_code (`bool`, *optional*, defaults to `True`): Whether users without this package can load it.
        card (`str`, *optional*): Text of `README.md`. Default: rendered from `evaluation` and `card_kwargs`.
        evaluation (`dict`, *optional*): Results for the card, see [`render_model_card`].
        private (`bool`, *optional*): Whether a new repository is private.
        token (`str` or `bool`, *optional*): Hub token. Default: the one of `hf auth login`.
        revision (`str`, *optional*): Branch.
        create_pr (`bool`, *optional*, defaults to `False`): Whether to open a pull request instead of committing.
        commit_message (`str`, *optional*): Message of the commit.
        max_shard_size (`int` or `str`, *optional*, defaults to `"5GB"`): Of a weight file.
        card_kwargs (*optional*): Further arguments of [`render_model_card`].

    Returns:
        `str`: Address of the commit or the pull request.
    """
    from huggingface_hub import HfApi

    if card is None:
        card_kwargs = {"model_name": repo_id.rpartition("/")[2], "repo_id": repo_id, **card_kwargs}
        card_kwargs = {"architecture": type(model).__name__, "with_code": with_code, **card_kwargs}
        card = render_model_card(model.config, evaluation=evaluation, **card_kwargs)
    api = HfApi(token=token)
    repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
    with tempfile.TemporaryDirectory() as folder:
        _save(model, processor, Path(folder), with_code=with_code, card=card, max_shard_size=max_shard_size)
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            allow_patterns=upload_patterns(with_code),
            commit_message=commit_message,
            revision=revision,
            create_pr=create_pr,
        )
    return commit.pr_url if commit.pr_url and create_pr else commit.commit_url


def upload_patterns(with_code: bool) -> list[str]:
    """The names of files that may leave this machine."""
    return [*MODEL_FILES, *(path.name for path in code_files() if with_code)]


def load_for_hub(name: str | os.PathLike) -> tuple["PriorRGPreTrainedModel", "PriorRGProcessor"]:
    """
    Model (the head it was saved with) and processor of a folder or Hub id.

    Raises:
        `ValueError`: it holds no PriorRG model, or only an adapter, or is damaged or incomplete.
    """
    from transformers import AutoConfig

    from ..data.model_folders import check_json_files, clear_folder_errors, load_model, load_processor
    from ..model import modeling_priorrg

    name = os.fspath(name)
    if os.path.isfile(os.path.join(name, "adapter_config.json")):
        raise ValueError(
            f"{name} holds a PEFT adapter. Merge it first: PeftModel.from_pretrained(...).merge_and_unload(), then save."
        )
    with clear_folder_errors(name):
        check_json_files(name)
        config = AutoConfig.from_pretrained(name)
        architecture = next(iter(config.architectures or ()), None)
    if config.model_type != "priorrg" or architecture not in modeling_priorrg.__all__:
        raise ValueError(
            f"{name} holds {architecture or 'no model'} of type {config.model_type!r}, not a PriorRG model."
        )
    model = load_model(getattr(modeling_priorrg, architecture), name, dtype="auto")
    return model, load_processor(name)


def _save(model, processor, folder: Path, *, with_code: bool, card: str | None = None, **save_kwargs) -> Path:
    _check(model, processor)
    folder.mkdir(parents=True, exist_ok=True)
    if card is None and not (folder / "README.md").exists():
        card = render_model_card(model.config, architecture=type(model).__name__, with_code=with_code)
    # Beside the target, so that the finished files only need to be renamed.
    with (
        explain_full_disk(folder, "What the folder held before is unchanged."),
        tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as made,
    ):
        staging = Path(made)
        with _without_remote_code_marks(model, processor):
            model.save_pretrained(staging, **save_kwargs)
            processor.save_pretrained(staging)
        # A model or processor that itself was loaded as remote code leaves its files.
        for path in staging.glob("*.py"):
            path.unlink()
        references: dict[str, dict[str, Any]] = {
            "config.json": {"auto_map": AUTO_MAP, "custom_pipelines": CUSTOM_PIPELINES},
            "processor_config.json": {"auto_map": PROCESSOR_AUTO_MAP},
            "tokenizer_config.json": {"auto_map": PROCESSOR_AUTO_MAP},
        }
        for name, entries in references.items():
            _set_references(staging / name, entries if with_code else {})
        for path in code_files() if with_code else ():
            shutil.copyfile(path, staging / path.name)
        if card is not None:
            (staging / "README.md").write_text(card, encoding="utf-8")
        for path in sorted(staging.iterdir()):
            replace_file(path, folder / path.name)
    return folder


def _check(model, processor) -> None:
    if hasattr(model, "peft_config"):
        raise ValueError(
            "The model carries a PEFT adapter. Merge it into the weights first (`merge_and_unload()`), or save the adapter alone "
            "with the model's own `save_pretrained`."
        )
    if getattr(model.config, "model_type", None) != "priorrg":
        raise ValueError(f"{type(model).__name__} is not a PriorRG model.")
    if dict(processor.view_positions) != dict(model.config.view_positions):
        raise ValueError(
            f"The processor's view_positions {processor.view_positions} are not the model's {model.config.view_positions}; the "
            "folder would read views wrongly."
        )
    if len(processor.tokenizer) > model.config.decoder_config.vocab_size:
        raise ValueError(
            f"The tokenizer has {len(processor.tokenizer)} tokens, the model only {model.config.decoder_config.vocab_size}."
        )


@contextmanager
def _without_remote_code_marks(model, processor: Any) -> Iterator[None]:
    """Saves the plain settings, whatever the model was loaded from. (`pipeline()` moreover puts classes, which JSON can't hold, in the
    configuration's `custom_pipelines`; seen in transformers 5.23.)"""
    marks: list[tuple[Any, str, Any]] = []
    for owner in (model.config, processor):
        for name in ("auto_map", "custom_pipelines"):
            if name in vars(owner):
                marks.append((owner, name, vars(owner)[name]))
                delattr(owner, name)
    try:
        yield
    finally:
        for owner, name, value in marks:
            setattr(owner, name, value)


def _set_references(path: Path, entries: dict[str, Any]) -> None:
    """Puts in the references to code, in place of those that a tokenizer loaded as remote code still carries."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content = {key: value for key, value in content.items() if key not in ("auto_map", "custom_pipelines")}
    path.write_text(json.dumps({**content, **entries}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


__all__ = [
    "code_files",
    "load_for_hub",
    "push_to_hub",
    "save_with_code",
    "upload_patterns",
]
