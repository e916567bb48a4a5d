"""A tiny model with its processor, and a way to run Python where this package can't be imported."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import pre_tokenizers
from transformers import set_seed

from priorrg_hf import (
    PriorRGConfig,
    PriorRGForContrastivePretraining,
    PriorRGForReportGeneration,
    PriorRGProcessor,
)
from priorrg_hf.model.processing_priorrg import rad_dino_image_processor
from priorrg_hf.model.tokenization_priorrg import build_priorrg_tokenizer


SOURCE = Path(__file__).resolve().parents[1] / "src"

VIEW_POSITIONS = {"PA": 0, "AP": 1, "LATERAL": 2, "unk": 3}


def tiny_tokenizer(folder: Path):
    """Byte-level BPE without merges: 256 bytes and `<|endoftext|>`, then PriorRG's seven tokens."""
    vocab = {symbol: index for index, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocab["<|endoftext|>"] = len(vocab)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    return build_priorrg_tokenizer(folder)


def tiny_processor(folder: Path, size: int = 28) -> PriorRGProcessor:
    return PriorRGProcessor(
        rad_dino_image_processor(size),
        tiny_tokenizer(folder / "tokenizer_source"),
        view_positions=VIEW_POSITIONS,
        max_report_length=40,
        max_context_length=60,
        max_alignment_context_length=40,
    )


def enable_checkpointing(model, *args) -> None:
    """Recomputation in the backward pass, under its name in the installed transformers (new in 5.24)."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable(*args)


def tiny_config(tokenizer, size: int = 28, **kwargs) -> PriorRGConfig:
    settings = {
        "vision_config": {
            "image_size": size,
            "patch_size": 14,
            "hidden_size": 32,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
        },
        "text_config": {
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "max_position_embeddings": 64,
        },
        "decoder_config": {
            "vocab_size": len(tokenizer),
            "n_embd": 32,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 64,
        },
        "hidden_size": 32,
        "num_latents": 6,
        "perceiver_num_blocks": 2,
        "perceiver_num_heads": 2,
        "perceiver_head_dim": 8,
        "temporal_fusion_num_blocks": 2,
        "temporal_fusion_num_heads": 2,
        "view_positions": VIEW_POSITIONS,
        # Wide enough that random weights tell studies apart.
        "initializer_range": 0.2,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "sep_token_id": tokenizer.sep_token_id,
    }
    for part in ("vision_config", "text_config", "decoder_config"):
        settings[part]["initializer_range"] = 0.2
    return PriorRGConfig(**{**settings, **kwargs})


def tiny_model(config: PriorRGConfig, model_class=PriorRGForReportGeneration):
    set_seed(0)
    model = model_class(config).eval()
    if model.can_generate():
        model.generation_config.max_length = 20
    return model


def tiny_stage_1(config: PriorRGConfig) -> PriorRGForContrastivePretraining:
    return tiny_model(config, PriorRGForContrastivePretraining)


def image(seed: int, width: int = 40, height: int = 36) -> Image.Image:
    """Noise; no image of a patient."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8))


def studies() -> list[dict]:
    """Four studies: with and without a prior, with and without context, contexts of different lengths."""
    return [
        {"study_id": "s0", "image": image(0), "indication": "cough", "view_position": "PA"},
        {
            "study_id": "s1",
            "image": image(1),
            "prior_image": image(11),
            "indication": "shortness of breath",
            "history": "smoker",
            "view_position": "AP",
            "prior_view_position": "PA",
        },
        {"study_id": "s2", "image": image(2), "prior_image": None, "indication": None, "history": None},
        {"study_id": "s3", "image": image(3), "prior_image": image(13), "history": "pacemaker since last year"},
    ]


def inputs_of(processor: PriorRGProcessor, rows: list[dict], **kwargs) -> dict[str, torch.Tensor]:
    keys = {
        "images": "image",
        "prior_images": "prior_image",
        "indication": "indication",
        "history": "history",
        "view_positions": "view_position",
        "prior_view_positions": "prior_view_position",
    }
    return processor(**{name: [row.get(key) for row in rows] for name, key in keys.items()}, **kwargs)


def run_without_package(script: str, folder: Path, timeout: int = 240) -> subprocess.CompletedProcess:
    """Runs a script in an isolated interpreter that can't import priorrg_hf, offline and with an empty cache."""
    blocker = """
        import importlib.abc, sys
        class Absent(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] == "priorrg_hf":
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        sys.meta_path.insert(0, Absent())
        assert not any(name.startswith("priorrg_hf") for name in sys.modules)
    """
    path = folder / "script.py"
    path.write_text(textwrap.dedent(blocker) + textwrap.dedent(script), encoding="utf-8")
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(folder),
        "HF_HOME": str(folder / "hf_home"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, "-I", str(path)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
