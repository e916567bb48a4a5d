"""The cache of frozen vision features: equal to images, never stale, never damaged unnoticed."""

import json

import pytest
import torch
from training_helpers import (
    contrastive_trainer,
    example_rows,
    gradients_of_step,
    largest_difference,
    processor_and_config,
    report_trainer,
    stage_1_model,
    stage_2_model,
)

from priorrg_hf.training.feature_cache import FeatureCache, FeatureCacheError, precompute_features


@pytest.fixture
def setting(tmp_path):
    processor, config = processor_and_config(tmp_path)
    rows = example_rows(6, image_folder=tmp_path / "images")
    return processor, config, rows, tmp_path


def loss_and_gradients(make_trainer, make_model, setting, cache=None):
    processor, config, rows, tmp_path = setting
    trainer = make_trainer(
        tmp_path / "run", make_model(config), processor, rows, feature_cache=None if cache is None else str(cache)
    )
    batch = trainer.data_collator(rows[:4])
    assert ("pixel_values" in batch) == (cache is None)
    trainer.model.eval()
    with torch.no_grad():
        loss = trainer.compute_loss(trainer.model, trainer._prepare_inputs(dict(batch)))
    return float(loss), gradients_of_step(trainer, [rows[:4]])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 1e-3)])
def test_training_from_the_cache_equals_training_from_images(setting, dtype, tolerance):
    processor, config, rows, tmp_path = setting
    for stage, make_trainer, make_model, layers in (
        ("stage1", contrastive_trainer, stage_1_model, "last"),
        ("stage2", report_trainer, stage_2_model, "all"),
    ):
        cache = tmp_path / f"{stage}-{dtype}"
        facts = precompute_features(
            make_model(config), processor, rows, cache, layers=layers, dtype=dtype, batch_size=4, progress=False
        )
        assert facts["images"] == facts["computed"] == 9
        expected_loss, expected = loss_and_gradients(make_trainer, make_model, setting)
        loss, gradients = loss_and_gradients(make_trainer, make_model, setting, cache)
        assert abs(loss - expected_loss) <= tolerance * abs(expected_loss)
        if dtype == "float32":
            assert largest_difference(expected, gradients) < 1e-5


def test_the_trainer_fills_the_cache_when_asked(setting):
    processor, config, rows, tmp_path = setting
    cache = tmp_path / "filled"
    with pytest.raises(FeatureCacheError):
        contrastive_trainer(tmp_path / "run", stage_1_model(config), processor, rows, feature_cache=str(cache))
    settings = {"feature_cache": str(cache), "fill_feature_cache": True}
    contrastive_trainer(tmp_path / "run", stage_1_model(config), processor, rows[:4], rows[4:], **settings)
    keys = len(FeatureCache.open(cache, stage_1_model(config), processor))
    assert keys == precompute_features(stage_1_model(config), processor, rows, cache, progress=False)["images"]
    # The second stage adds the layers it needs.
    trainer = report_trainer(tmp_path / "run", stage_2_model(config), processor, rows, **settings)
    assert "vision_hidden_states" in trainer.data_collator(rows[:2])
    with pytest.raises(ValueError, match="fill_feature_cache needs feature_cache"):
        contrastive_trainer(tmp_path / "run", stage_1_model(config), processor, rows, fill_feature_cache=True)


def test_another_encoder_or_preprocessing_is_refused(setting):
    processor, config, rows, tmp_path = setting
    model = stage_1_model(config)
    precompute_features(model, processor, rows, tmp_path / "cache", progress=False)
    FeatureCache.open(tmp_path / "cache", model, processor)

    changed = stage_1_model(config)
    with torch.no_grad():
        changed.model.vision_model.layernorm.bias[0] += 1e-3
    with pytest.raises(FeatureCacheError, match="another vision encoder"):
        FeatureCache.open(tmp_path / "cache", changed, processor)

    processor.image_processor.image_mean = [0.5] * 3
    with pytest.raises(FeatureCacheError, match="other image preprocessing"):
        FeatureCache.open(tmp_path / "cache", model, processor)


def test_last_layer_cache_is_refused_where_layers_are_fused(setting):
    processor, config, rows, tmp_path = setting
    model = stage_2_model(config)
    precompute_features(model, processor, rows, tmp_path / "cache", progress=False)
    with pytest.raises(FeatureCacheError, match="--layers all"):
        FeatureCache.open(tmp_path / "cache", model, processor)
    # Adding the layers later keeps what is there.
    facts = precompute_features(model, processor, rows, tmp_path / "cache", layers="all", progress=False)
    assert facts["computed"] == 6
    assert FeatureCache.open(tmp_path / "cache", model, processor).verify() == 9 + 6


def test_a_changed_image_is_not_served_old_features(setting):
    processor, config, rows, tmp_path = setting
    model = stage_1_model(config)
    precompute_features(model, processor, rows, tmp_path / "cache", progress=False)
    trainer = contrastive_trainer(tmp_path / "run", model, processor, rows, feature_cache=str(tmp_path / "cache"))
    trainer.data_collator(rows[:2])
    from PIL import Image

    Image.open(rows[0]["image"]).rotate(90, expand=True).save(rows[0]["image"])
    with pytest.raises(FeatureCacheError, match="no features of .*current-0.png"):
        trainer.data_collator(rows[:2])


def test_a_damaged_shard_is_noticed(setting):
    processor, config, rows, tmp_path = setting
    model = stage_1_model(config)
    precompute_features(model, processor, rows, tmp_path / "cache", progress=False)
    shard = next((tmp_path / "cache").glob("*.safetensors"))
    content = bytearray(shard.read_bytes())
    content[-5] ^= 0x40
    shard.write_bytes(content)
    cache = FeatureCache.open(tmp_path / "cache", model, processor)
    with pytest.raises(FeatureCacheError, match="damaged"):
        cache.verify()
    shard.write_bytes(content[:-100])
    with pytest.raises(FeatureCacheError, match="another size"):
        FeatureCache.open(tmp_path / "cache", model, processor)


def test_an_interrupted_run_goes_on_and_bad_images_are_named(setting):
    processor, config, rows, tmp_path = setting
    model = stage_1_model(config)
    folder = tmp_path / "cache"
    with open(rows[3]["image"], "wb") as file:
        file.write(b"no image at all")
    first = precompute_features(model, processor, rows[:3], folder, shard_bytes=1, batch_size=2, progress=False)
    assert first["computed"] == 4
    (folder / "features-00099.safetensors").write_bytes(b"a shard without its list")
    second = precompute_features(model, processor, rows, folder, shard_bytes=1, batch_size=2, progress=False)
    assert second["computed"] == 4 and len(second["unreadable"]) == 1
    assert not (folder / "features-00099.safetensors").exists()

    trainer = contrastive_trainer(tmp_path / "run", model, processor, rows, feature_cache=str(folder))
    batch = trainer.data_collator(rows[2:5])
    assert list(batch["batch_metadata"]["skipped"]) == ["example-3"]
    assert batch["vision_last_hidden_state"].shape[0] == 3


def test_manifest_names_no_patient(setting):
    processor, config, rows, tmp_path = setting
    precompute_features(stage_1_model(config), processor, rows, tmp_path / "cache", progress=False)
    manifest = json.loads((tmp_path / "cache" / "manifest.json").read_text())
    assert "patient" not in json.dumps(manifest)
    assert manifest["dtype"] == "bfloat16" and manifest["layers"] == "last"
