"""The rendered cards in the repository are what the script renders, and say what a card must say."""

import runpy
from pathlib import Path

import pytest


ROOT = Path(__file__).resolve().parents[2]
CARDS = runpy.run_path(str(ROOT / "scripts" / "render_model_cards.py"))["CARDS"]


@pytest.mark.parametrize("name", CARDS)
def test_card_is_the_rendered_one(name):
    text = (ROOT / "model_cards" / name).read_text(encoding="utf-8")
    assert text == CARDS[name]()
    assert "Research use only, not for clinical decisions." in text


def test_what_only_the_owner_knows_is_marked():
    text = CARDS["priorrg-mimic-cxr.md"]()
    for asked in ("licence of the weights", "agreement", "SHA-256", "priorrg evaluate"):
        assert any("[owner:" in line and asked in line for line in text.splitlines()), asked
    assert "| bleu_4 | 0.175 |" in text and "not measured on this copy" in text
