"""The small weights that the package carries: backbones and one trained report model, all made from phantoms.

They exist so that examples, tests and the demo run offline in seconds. They know drawings, not patients. `scripts/make_phantom_weights.py`
made them and says how.
"""

from pathlib import Path
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from transformers import Dinov2Model, PreTrainedTokenizerBase

    from ..model.modeling_priorrg import PriorRGForReportGeneration
    from ..model.processing_priorrg import PriorRGProcessor


WEIGHTS_FOLDER = Path(__file__).parent / "weights"


def _folder(name: str) -> str:
    folder = WEIGHTS_FOLDER / name
    if not (folder / ("tokenizer.json" if name == "tokenizer" else "config.json")).is_file():
        raise FileNotFoundError(
            f"{folder} is not there: this installation lacks the package's weights. Reinstall priorrg-hf, or make them with "
            "scripts/make_phantom_weights.py of the source repository."
        )
    return str(folder)


def phantom_vision_folder() -> str:
    """Folder of the small DINOv2-shaped vision encoder (112 x 112 pixels, patches of 14), for `from_pretrained`."""
    return _folder("vision")


def phantom_decoder_folder() -> str:
    """Folder of the small GPT-2-shaped language model of phantom reports, for `from_pretrained_backbones(decoder=...)`."""
    return _folder("decoder")


def phantom_tokenizer_folder() -> str:
    """Folder of the small byte-level BPE tokenizer with PriorRG's seven tokens."""
    return _folder("tokenizer")


def phantom_model_folder() -> str:
    """Folder of `priorrg-phantom-tiny`, a trained report generator with processor, generation config and model card."""
    return _folder("priorrg-phantom-tiny")


def load_phantom_vision() -> "Dinov2Model":
    """The vision encoder in 32 bits."""
    import torch
    from transformers import Dinov2Model

    return Dinov2Model.from_pretrained(phantom_vision_folder(), dtype=torch.float32).eval()


def load_phantom_tokenizer() -> "PreTrainedTokenizerBase":
    """The tokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(phantom_tokenizer_folder())


def load_phantom_model() -> "tuple[PriorRGForReportGeneration, PriorRGProcessor]":
    """The report generator in 32 bits and in evaluation mode, and its processor."""
    import torch

    from ..model.modeling_priorrg import PriorRGForReportGeneration
    from ..model.processing_priorrg import PriorRGProcessor

    folder = phantom_model_folder()
    model = PriorRGForReportGeneration.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), PriorRGProcessor.from_pretrained(folder)


def pretrained_digest() -> str:
    """One SHA-256 over the backbones and the tokenizer: what is trained from others differs."""
    import hashlib

    digest = hashlib.sha256()
    for folder in (phantom_vision_folder(), phantom_decoder_folder(), phantom_tokenizer_folder()):
        for path in sorted(Path(folder).iterdir()):
            if path.is_file():
                digest.update(f"{path.name}:{hashlib.sha256(path.read_bytes()).hexdigest()}".encode())
    return digest.hexdigest()


__all__ = [
    "load_phantom_model",
    "load_phantom_tokenizer",
    "load_phantom_vision",
    "phantom_decoder_folder",
    "phantom_model_folder",
    "phantom_tokenizer_folder",
    "phantom_vision_folder",
]
