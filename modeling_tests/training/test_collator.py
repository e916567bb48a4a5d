"""Example rows to batches: keys, dropout of inputs, augmentation without mirroring, unreadable studies."""

import pytest
import torch
from torch.utils.data import DataLoader
from training_helpers import example_rows, processor_and_config

from priorrg_hf import ChestXrayAugmentation, PriorRGDataCollator
from priorrg_hf.training.data_collator import BATCH_METADATA, UnreadableStudyError
from priorrg_hf.training.samplers import LengthBucketSampler, text_lengths


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    return processor_and_config(tmp_path_factory.mktemp("processor"))[0]


def same(first, second):
    return all(torch.equal(first[key], second[key]) for key in first if key != BATCH_METADATA)


def test_keys_of_both_tasks(processor):
    rows = example_rows(4)
    shared = {
        "input_ids",
        "attention_mask",
        "pixel_values",
        "view_position_ids",
        "prior_pixel_values",
        "prior_view_position_ids",
        "prior_mask",
        BATCH_METADATA,
    }
    alignment = PriorRGDataCollator(processor, "alignment")(rows)
    assert alignment.keys() == shared | {"report_input_ids", "report_attention_mask", "study_ids"}
    generation = PriorRGDataCollator(processor, "generation")(rows)
    assert generation.keys() == shared | {"labels", "decoder_input_ids", "decoder_attention_mask"}
    assert generation["prior_mask"].tolist() == [False, True, False, True]
    assert generation[BATCH_METADATA]["has_context"] == [False, True, True, False]


def test_studies_are_the_same_only_with_the_same_patient(processor):
    rows = example_rows(3)
    rows[1].update(study_id=rows[0]["study_id"], patient_id=rows[0]["patient_id"])
    rows[2].update(study_id=rows[0]["study_id"], patient_id="someone else")
    ids = PriorRGDataCollator(processor, "alignment")(rows)["study_ids"]
    assert ids[0] == ids[1] != ids[2]


def test_dropout_of_prior_and_context(processor):
    rows = example_rows(6, priors="all")
    collator = PriorRGDataCollator(processor, "generation", prior_dropout=1.0, context_dropout=1.0)
    batch = collator(rows)
    assert not batch["prior_mask"].any() and not any(batch[BATCH_METADATA]["has_context"])
    assert (batch["prior_pixel_values"] == 0).all()
    assert rows[0]["prior_image"] is not None, "the caller's rows must stay as they are"
    assert collator.for_evaluation()(rows)["prior_mask"].all()

    half = PriorRGDataCollator(processor, "generation", prior_dropout=0.5)
    kept = 0
    for epoch in range(20):
        half.set_epoch(epoch)
        kept += int(half(rows)["prior_mask"].sum())
    assert 35 < kept < 85  # of 120


def test_randomness_depends_on_seed_epoch_and_example_only(processor):
    rows = example_rows(4, priors="all")
    settings = {"augmentation": ChestXrayAugmentation(), "prior_dropout": 0.5}
    collator = PriorRGDataCollator(processor, "generation", seed=1, **settings)
    first = collator(rows)
    torch.rand(7)
    assert same(first, collator(rows))
    assert torch.equal(first["pixel_values"][2], collator([rows[2]])["pixel_values"][0]), "depends on its batch"
    assert not same(first, PriorRGDataCollator(processor, "generation", seed=2, **settings)(rows))
    collator.set_epoch(1)
    assert not torch.equal(first["pixel_values"], collator(rows)["pixel_values"])


def test_persistent_workers_see_the_epoch(processor):
    rows = example_rows(2)
    collator = PriorRGDataCollator(processor, "generation", augmentation=ChestXrayAugmentation())
    loader = DataLoader(rows, batch_size=2, collate_fn=collator, num_workers=1, persistent_workers=True)
    for epoch in (0, 1):
        collator.set_epoch(epoch)
        from_worker = next(iter(loader))
        assert same(from_worker, collator(rows))


def test_augmentation_never_mirrors():
    augmentation = ChestXrayAugmentation()
    left_bright = torch.full((3, 56, 56), -1.0)
    left_bright[:, :, :20] = 1.0
    for seed in range(200):
        generator = torch.Generator().manual_seed(seed)
        assert torch.linalg.det(augmentation.matrix(generator)[:, :2]) > 0
        changed = augmentation(left_bright, torch.Generator().manual_seed(seed))
        assert changed.shape == left_bright.shape and changed.isfinite().all()
        assert changed[:, :, :18].mean() > changed[:, :, -18:].mean() + 1
    assert not torch.equal(changed, left_bright)
    with pytest.raises(ValueError, match="mirror"):
        ChestXrayAugmentation(scale=1.5)


def test_unreadable_study_is_named_and_its_report_masked(processor, tmp_path):
    rows = example_rows(4)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG and then nothing")
    rows[0]["image"] = str(broken)
    rows[1]["prior_image"] = str(tmp_path / "missing.png")

    batch = PriorRGDataCollator(processor, "generation")(rows)
    assert sorted(batch[BATCH_METADATA]["skipped"]) == ["example-0", "example-1"]
    assert "missing.png" in batch[BATCH_METADATA]["skipped"]["example-1"]
    assert len(batch["input_ids"]) == 4
    assert (batch["labels"][:2] == -100).all() and (batch["labels"][2:] != -100).any(dim=1).all()

    alignment = PriorRGDataCollator(processor, "alignment")(rows)
    assert len(alignment["study_ids"].unique()) == 2, "the copies belong to the studies that they are copies of"

    with pytest.raises(UnreadableStudyError, match="example-0.*Repair or remove"):
        PriorRGDataCollator(processor, "generation", bad_study="raise")(rows)


def test_batch_without_any_readable_study(processor, tmp_path):
    rows = example_rows(2)
    for row in rows:
        row["image"] = str(tmp_path / "nowhere.png")
    with pytest.raises(UnreadableStudyError, match="is the image root right"):
        PriorRGDataCollator(processor, "generation")(rows)
    alone = PriorRGDataCollator(processor, "generation")(rows[:1])
    assert (alone["labels"] == -100).all() and list(alone[BATCH_METADATA]["skipped"]) == ["example-0"]


def test_mistake_in_the_call_is_not_blamed_on_a_study(processor):
    with pytest.raises(KeyError):
        PriorRGDataCollator(processor, "generation")([{"example_id": "a", "study_id": "a"}])


def test_corrupt_image_in_a_worker_process(processor, tmp_path):
    rows = example_rows(4, image_folder=tmp_path)
    (tmp_path / "current-2.png").write_bytes(b"")
    loader = DataLoader(rows, batch_size=2, collate_fn=PriorRGDataCollator(processor, "generation"), num_workers=2)
    batches = list(loader)
    assert [list(batch[BATCH_METADATA]["skipped"]) for batch in batches] == [[], ["example-2"]]
    strict = PriorRGDataCollator(processor, "generation", bad_study="raise")
    with pytest.raises(UnreadableStudyError, match="example-2"):
        list(DataLoader(rows, batch_size=2, collate_fn=strict, num_workers=2))


def test_length_buckets():
    rows = [{"findings": "x" * (i % 97), "indication": None, "history": "y"} for i in range(1000)]
    lengths = text_lengths(rows)
    assert lengths[:3] == [1, 2, 3]
    sampler = LengthBucketSampler(lengths, batch_size=8, seed=3)
    order = list(sampler)
    assert sorted(order) == list(range(1000)) and order == list(sampler)

    def padding(indices):
        batches = [[lengths[i] for i in indices[k : k + 8]] for k in range(0, len(indices), 8)]
        return sum(max(batch) * len(batch) - sum(batch) for batch in batches)

    shuffled = torch.randperm(1000, generator=torch.Generator().manual_seed(0)).tolist()
    assert padding(order) < 0.2 * padding(shuffled)
    assert lengths[order[0]] == max(lengths), "the longest batch comes first"
    sampler.set_epoch(1)
    assert list(sampler) != order
