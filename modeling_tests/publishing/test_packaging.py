"""What wheels and source distributions carry beside the code, asked of the build backend without building."""

from pathlib import Path

import pytest


pytest.importorskip("hatchling", reason="hatchling lists the files (extra `dev`)")

from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder


ROOT = Path(__file__).resolve().parents[2]
# Folder of weights -> what `from_pretrained` needs of it.
WEIGHTS = {
    "vision": ("config.json", "model.safetensors"),
    "decoder": ("config.json", "generation_config.json", "model.safetensors"),
    "tokenizer": ("tokenizer.json", "tokenizer_config.json"),
    "priorrg-phantom-tiny": (
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ),
}


def distributed(builder) -> set[str]:
    return {file.distribution_path for file in builder(str(ROOT)).recurse_included_files()}


@pytest.mark.parametrize(("builder", "prefix"), [(WheelBuilder, ""), (SdistBuilder, "src/")])
def test_weights_and_templates_are_carried_and_no_pickles(builder, prefix):
    files = distributed(builder)
    folder = f"{prefix}priorrg_hf/phantom/weights"
    expected = {f"{folder}/{name}/{file}" for name, files in WEIGHTS.items() for file in files}
    expected.add(f"{prefix}priorrg_hf/evaluation/templates/evaluation_card.md.j2")
    assert expected - files == set()
    assert not [file for file in files if file.endswith((".bin", ".pt", ".pth", ".pkl")) or "checkpoint-" in file]


def test_the_source_distribution_carries_notebooks_documents_and_scripts():
    files = distributed(SdistBuilder)
    notebooks = {f"examples/notebooks/{path.name}" for path in (ROOT / "examples" / "notebooks").glob("*.ipynb")}
    assert len(notebooks) == 4 and notebooks <= files
    # README.md and LICENSE come with the metadata, and are not in this list.
    assert {"docs/data.md", "model_cards/model_card.md.jinja", "scripts/make_phantom_weights.py"} <= files
