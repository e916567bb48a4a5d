"""Model folders that are damaged, incomplete or malicious end in one clear error, and so do devices that are not there.

For the commands and the trainers.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch


class ModelFolderError(ValueError):
    """A model folder (or Hub id) that cannot be used; the message names it, the cause and the remedy."""


def check_device(device: str | torch.device) -> torch.device:
    """The device, if there is such a one here. Raises `ValueError` that names those there are."""
    try:
        device = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device {device!r} is not known ({str(error).splitlines()[0]}); use cpu, cuda or cuda:0"
        ) from None
    if device.type in ("cpu", "meta"):
        return device
    module = getattr(torch, device.type, None)
    available = getattr(module, "is_available", lambda: False)()
    count = getattr(module, "device_count", lambda: 1)() if available else 0
    if not available or (device.index or 0) >= count:
        here = [f"{device.type}:{index}" for index in range(count)] or ["cpu"]
        raise ValueError(
            f"device {str(device)!r} was asked for, but torch finds {count or 'no'} {device.type} device{'s' * (count != 1)} here. "
            f"Use {' or '.join(here)}, or leave it out."
        )
    return device


@contextlib.contextmanager
def clear_folder_errors(name: str | os.PathLike) -> Iterator[None]:
    """Turns what libraries raise at damaged or malicious files into [`ModelFolderError`]. Errors of the network stay as they are."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    try:
        yield
    except ModelFolderError:
        raise
    except SafetensorError as error:
        raise ModelFolderError(
            f"{os.fspath(name)}: the weights cannot be read ({error}). The file is cut off or no safetensors file; copy or download "
            "it again."
        ) from error
    except StrictDataclassError as error:
        words = " ".join(str(error).split())[:500]
        raise ModelFolderError(f"{os.fspath(name)}: config.json is not valid ({words}).") from error
    except (
        AttributeError,
        KeyError,
        IndexError,
        TypeError,
        RuntimeError,
        AssertionError,
        RecursionError,
        MemoryError,
    ) as error:
        if isinstance(error, RuntimeError) and "out of memory" in str(error).lower():
            raise
        raise ModelFolderError(
            f"{os.fspath(name)}: its files are no model of this package, or are damaged ({type(error).__name__}: "
            f"{str(error)[:500]}). Copy or download the folder again."
        ) from error
    except ValueError as error:
        if os.fspath(name) in str(error):
            raise
        raise ModelFolderError(f"{os.fspath(name)}: {error}") from error
    except Exception as error:  # the tokenizers library raises bare `Exception` for a tokenizer.json that is none
        if type(error) is not Exception:
            raise
        raise ModelFolderError(
            f"{os.fspath(name)}: its tokenizer cannot be read ({str(error)[:500]}). Copy or download the folder again."
        ) from error


def check_json_files(name: str | os.PathLike) -> None:
    """Raises [`ModelFolderError`] when a JSON file of a local model folder is no object, before libraries trip over it."""
    import json
    from pathlib import Path

    folder = Path(name)
    if not folder.is_dir():
        return
    for path in sorted(folder.glob("*.json")):
        if path.name in ("vocab.json", "tokenizer.json") or path.stem.endswith(("config", "index")):
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
            except (ValueError, RecursionError) as error:
                raise ModelFolderError(f"{path} is not JSON ({error}); copy or download it again.") from None
            if not isinstance(content, dict):
                raise ModelFolderError(f"{path} must hold a JSON object, got a {type(content).__name__}.")


def load_processor(name: str | os.PathLike):
    """[`PriorRGProcessor`] of a folder or Hub id. Raises [`ModelFolderError`]."""
    from ..model.processing_priorrg import PriorRGProcessor

    with clear_folder_errors(name):
        check_json_files(name)
        return PriorRGProcessor.from_pretrained(name)


def load_model(model_class, name: str | os.PathLike, *, may_be_new: tuple[str, ...] = (), **kwargs: Any):
    """A model with all its weights, from safetensors alone.

    Args:
        model_class: with `from_pretrained`.
        name (`str`): folder or Hub id.
        may_be_new (`tuple[str, ...]`): beginnings of parameters that the folder need not have; all others must be there.
        **kwargs: for `from_pretrained`.

    Raises:
        [`ModelFolderError`]: files are damaged, weights are missing or of another shape.
    """
    with clear_folder_errors(name):
        check_json_files(name)
        model, report = model_class.from_pretrained(name, use_safetensors=True, output_loading_info=True, **kwargs)
    missing = sorted(key for key in map(str, report["missing_keys"]) if not key.startswith(may_be_new))
    if missing or report.get("mismatched_keys"):
        some = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise ModelFolderError(
            f"{os.fspath(name)} lacks weights of {model_class.__name__}: {some or report['mismatched_keys']}. They are not made up; is it "
            "the folder of another kind of model, or an incomplete copy?"
        )
    return model


__all__ = [
    "ModelFolderError",
    "check_device",
    "check_json_files",
    "clear_folder_errors",
    "load_model",
    "load_processor",
]
