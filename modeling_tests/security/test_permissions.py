"""Promise: nothing that is written is wider open than the umask, or than the file whose place it takes."""

import os
import stat

import pytest
from hub_helpers import tiny_config, tiny_model, tiny_processor
from PIL import Image
from training_helpers import contrastive_trainer, example_rows, processor_and_config, stage_1_model

from priorrg_hf.evaluation.evaluate import evaluate_file
from priorrg_hf.evaluation.generation import generate_reports
from priorrg_hf.phantom import write_phantom_cohort
from priorrg_hf.publishing.hub import save_with_code
from priorrg_hf.training.feature_cache import precompute_features


@pytest.fixture(scope="module")
def model_and_processor(tmp_path_factory):
    processor = tiny_processor(tmp_path_factory.mktemp("p"))
    return tiny_model(tiny_config(processor.tokenizer)), processor


ROWS = [{"example_id": "a", "image": Image.new("L", (30, 30), 9), "findings": "Clear."}]


def generate(folder, model, processor):
    rows = [*ROWS, {**ROWS[0], "example_id": "b", "image": "none.png"}]
    generate_reports(model, processor, rows, folder / "a.jsonl", max_length=6, num_beams=1, progress=False)


def evaluate(folder, model, processor):
    pytest.importorskip("pycocoevalcap.bleu.bleu")
    table = folder.parent / "r.jsonl"
    table.write_text('{"example_id": "1", "prediction": "a b c d", "reference": "a b c d e"}\n' * 1)
    evaluate_file(table, folder, metrics=("bleu",), replicates=5)


def save(folder, model, processor):
    save_with_code(model, processor, folder)


def cohort(folder, model, processor):
    write_phantom_cohort(folder, 16, 0, 32)


def cache(folder, model, processor):
    precompute_features(model, processor, ROWS, folder, progress=False)


def train(folder, model, processor):
    processor, config = processor_and_config(folder.parent / "p")
    contrastive_trainer(
        folder, stage_1_model(config), processor, example_rows(4), max_steps=1, save_strategy="steps", save_steps=1, loss_plot=True
    ).train()  # fmt: skip


@pytest.mark.parametrize("write", [generate, evaluate, save, cohort, cache, train])
def test_new_files_and_folders(model_and_processor, tmp_path, write):
    folder = tmp_path / "out"
    before = os.umask(0o077)
    try:
        write(folder, *model_and_processor)
    finally:
        os.umask(before)
    written = [folder, *folder.rglob("*")]
    assert len(written) > 1
    for path in written:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


@pytest.mark.parametrize("write", [generate, evaluate, save, cache])
def test_narrow_files_stay_narrow_when_they_are_written_again(model_and_processor, tmp_path, write):
    folder = tmp_path / "out"
    write(folder, *model_and_processor)
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        path.chmod(0o600)
    (tmp_path / "p").mkdir(exist_ok=True)
    write(folder, *model_and_processor)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in files} == {path.name: 0o600 for path in files}
