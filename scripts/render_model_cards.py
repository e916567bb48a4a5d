"""Renders the cards in `model_cards/`: of the packaged phantom model, and of a converted MIMIC-CXR checkpoint with the published figures.

    python scripts/render_model_cards.py

What only the owner of converted weights can know is marked `[owner: ...]` and must be filled in before such a model is published.
"""

from pathlib import Path

from priorrg_hf import PriorRGConfig, render_model_card
from priorrg_hf.data.file_writing import write_text_whole
from priorrg_hf.phantom import phantom_model_folder


FOLDER = Path(__file__).resolve().parents[1] / "model_cards"

# arXiv 2508.05353, MIMIC-CXR test split; references cut at 100 tokens.
PUBLISHED = {
    "metrics": {
        "bleu_1": 0.412, "bleu_2": 0.290, "bleu_3": 0.220, "bleu_4": 0.175, "meteor": 0.189, "rouge_l": 0.324, "cider": 0.407,
        "chexbert_14_micro_precision": 0.541, "chexbert_14_micro_recall": 0.485, "chexbert_14_micro_f1": 0.511,
        "chexbert_14_macro_f1": 0.376, "chexbert_5_micro_f1": 0.562, "bertscore": 0.590, "ratescore": 0.571, "green": 0.361,
    },
    "dataset": "MIMIC-CXR",
    "split": "test",
    "num_examples": 3852,
    "protocol": "These are the figures of the paper (references cut at 100 tokens). They were not measured on this copy of the weights: "
    "[owner: run `priorrg evaluate` on the converted model and give its evaluation.json to `priorrg card --evaluation`].",
}  # fmt: skip


def phantom_card() -> str:
    """The packaged model's own card: written when it was made, with the scores of that run."""
    return (Path(phantom_model_folder()) / "README.md").read_text(encoding="utf-8")


def mimic_card() -> str:
    """A converted stage-2 checkpoint at published sizes."""
    return render_model_card(
        PriorRGConfig(),
        architecture="PriorRGForReportGeneration",
        evaluation=PUBLISHED,
        model_name="PriorRG, MIMIC-CXR",
        repo_id="owner/priorrg-mimic-cxr",
        license="other",
        license_name="[owner: licence of the weights; the terms of MIMIC-CXR and RAD-DINO hold for them]",
        training_data="MIMIC-CXR (credentialed access on PhysioNet). [owner: which release and annotation file; that your agreement lets you "
        "publish weights made from it; who answers questions.]",
        training="The published recipe: stage 1 (alignment), then stage 2 (report generation). [owner: name and SHA-256 of the published "
        "checkpoint file that was converted, version of priorrg_hf, date.]",
    )


CARDS = {"priorrg-phantom-tiny.md": phantom_card, "priorrg-mimic-cxr.md": mimic_card}


def main() -> None:
    for name, render in CARDS.items():
        write_text_whole(FOLDER / name, render())
        print(FOLDER / name)


if __name__ == "__main__":
    main()
