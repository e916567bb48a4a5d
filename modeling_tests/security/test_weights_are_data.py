"""Promise: loading weights never runs code that comes with them."""

import os
import pickle
import shutil
import zipfile

import pytest
import torch
from hub_helpers import tiny_config, tiny_model, tiny_processor, tiny_stage_1
from training_helpers import contrastive_trainer, example_rows, processor_and_config, stage_1_model

from priorrg_hf.evaluation.loading import load_for_generation
from priorrg_hf.evaluation.retrieval import load_stage_1
from priorrg_hf.publishing.conversion import ConversionError, load_published_state_dict
from priorrg_hf.publishing.hub import load_for_hub
from priorrg_hf.training.checkpointing import CheckpointError, write_manifest
from priorrg_hf.training.runs import ModelArguments, build_for_finetuning, build_for_pretraining


class Bomb:
    """Leaves a file where it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


@pytest.fixture
def trap(tmp_path):
    path = tmp_path / "code has run"
    yield path
    assert not path.exists(), "code of the file was run"


def test_the_trap_works(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "x")))
    assert (tmp_path / "x").exists()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    processor = tiny_processor(root / "p")
    for name, model in (
        ("1", tiny_stage_1(tiny_config(processor.tokenizer))),
        ("2", tiny_model(tiny_config(processor.tokenizer))),
    ):
        model.save_pretrained(root / name)
        processor.save_pretrained(root / name)
    return root


WAYS = {
    "generate": ("2", load_for_generation), "push": ("2", load_for_hub), "retrieve": ("1", load_stage_1),
    "pretrain": ("1", lambda folder: build_for_pretraining(ModelArguments(model=str(folder)), [])),
    "finetune": ("2", lambda folder: build_for_finetuning(ModelArguments(model=str(folder)), [])),
}  # fmt: skip


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors", "pytorch_model.bin.index.json"])
@pytest.mark.parametrize("way", WAYS)
def test_model_folders(folders, tmp_path, trap, way, name):
    stage, load = WAYS[way]
    folder = tmp_path / "model"
    shutil.copytree(folders / stage, folder)
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps({"a": Bomb(trap)}))
    with pytest.raises((ValueError, OSError)):
        load(folder)


def test_code_beside_the_weights_is_not_run(folders, tmp_path, trap):
    import json

    folder = tmp_path / "model"
    shutil.copytree(folders / "2", folder)
    content = json.loads((folder / "config.json").read_text())
    content["auto_map"] = {"AutoConfig": "evil.PriorRGConfig", "AutoModelForImageTextToText": "evil.Model"}
    (folder / "config.json").write_text(json.dumps(content))
    (folder / "evil.py").write_text(f"open({str(trap)!r}, 'w')")
    load_for_generation(folder)
    load_for_hub(folder)


@pytest.mark.parametrize("form", ["pickle", "torch", "zip"])
def test_published_checkpoints(tmp_path, trap, form):
    path = tmp_path / "x.ckpt"
    if form == "pickle":
        path.write_bytes(pickle.dumps({"state_dict": Bomb(trap)}))
    elif form == "torch":
        torch.save({"state_dict": {"a": torch.zeros(1)}, "hyper_parameters": Bomb(trap)}, path)
    else:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("archive/data.pkl", pickle.dumps(Bomb(trap)))
    with pytest.raises(ConversionError, match="pickled code"):
        load_published_state_dict(path)


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
@pytest.mark.parametrize("forged", [False, True])
def test_checkpoints_of_a_run(tmp_path, trap, name, forged):
    """Also where the manifest was forged along with the file."""
    processor, config = processor_and_config(tmp_path / "p")
    settings = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1}
    contrastive_trainer(tmp_path / "run", stage_1_model(config), processor, example_rows(4), **settings).train()
    folder = tmp_path / "run" / "checkpoint-1"
    shutil.rmtree(tmp_path / "run" / "checkpoint-2")
    torch.save(Bomb(trap), folder / name)
    if forged:
        write_manifest(folder)
    trainer = contrastive_trainer(tmp_path / "run", stage_1_model(config), processor, example_rows(4), **settings)
    with pytest.raises((CheckpointError, pickle.UnpicklingError, ValueError, OSError)):
        trainer.train(resume_from_checkpoint=True)
