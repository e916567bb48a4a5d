"""Runs the test suites that transformers runs on its own models.

They are not part of the installed library, so they are taken from an unpacked source distribution of the installed version:

    pip download --no-deps --no-binary transformers "transformers==$(python -c 'import transformers; print(transformers.__version__)')"
    tar xzf transformers-*.tar.gz
    TRANSFORMERS_TESTS=$PWD/transformers-<version> pytest modeling_tests/model/test_transformers_common.py

Parts of `tests/` that a source distribution lacks (generation, exporters) are left out; a git checkout has them all.
"""

import copy
import importlib
import inspect
import os
import sys
import tempfile
import types
import unittest
import unittest.mock
import warnings
from pathlib import Path

import pytest
import torch
import transformers
from hub_helpers import VIEW_POSITIONS, tiny_tokenizer
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from priorrg_hf import (
    PriorRGConfig,
    PriorRGForContrastivePretraining,
    PriorRGForReportGeneration,
    PriorRGModel,
    PriorRGProcessor,
    rad_dino_image_processor,
)


TESTS_ROOT = os.environ.get("TRANSFORMERS_TESTS", "")

if not (Path(TESTS_ROOT) / "tests" / "test_modeling_common.py").is_file():
    pytest.skip(
        "set TRANSFORMERS_TESTS to an unpacked transformers source distribution to run its model tests",
        allow_module_level=True,
    )


def _import_suite(name: str, **attributes):
    """The module of that name, or an empty one with the given attributes where the distribution lacks it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        module = types.ModuleType(name)
        vars(module).update(attributes)
        sys.modules[name] = module
        return module


class _Empty:
    pass


sys.path.insert(0, TESTS_ROOT)
importlib.import_module("tests")
_import_suite("tests.exporters")
_import_suite("tests.exporters.test_export", ExportTesterMixin=_Empty)
_import_suite("tests.generation")
GenerationTesterMixin = _import_suite(
    "tests.generation.test_utils", GenerationTesterMixin=type("GenerationTesterMixin", (), {})
).GenerationTesterMixin
_import_suite("tests.utils")
_import_suite(
    "tests.utils.test_configuration_utils",
    config_common_kwargs={"return_dict": False, "output_hidden_states": True, "architectures": ["PriorRGModel"]},
)
# It loads the library anew from the file `__init__.py` beside it, which a source distribution does not have there.
with unittest.mock.patch("transformers.utils.direct_transformers_import", lambda *args, **kwargs: transformers):
    ConfigTester = importlib.import_module("tests.test_configuration_common").ConfigTester
_import_suite("fetch_hub_objects_for_ci", url_to_local_path=lambda url: url)
ProcessorTesterMixin = importlib.import_module("tests.test_processing_common").ProcessorTesterMixin
common = importlib.import_module("tests.test_modeling_common")
floats_tensor, ids_tensor = common.floats_tensor, common.ids_tensor
ModelTesterMixin = common.ModelTesterMixin


class PriorRGModelTester:
    batch_size = 3
    seq_length = 7
    decoder_seq_length = 5
    image_size = 28
    num_hidden_layers = 2
    hidden_size = 32
    num_attention_heads = 4
    vocab_size = 99
    num_latents = 6
    is_training = True

    def __init__(self, parent, with_reports=None):
        self.parent = parent
        self.with_reports = with_reports
        # Read by the suites: lengths of the sequences that attention maps and hidden states are counted over.
        self.encoder_seq_length = self.num_latents
        self.key_length = self.num_latents

    def get_config(self) -> PriorRGConfig:
        return PriorRGConfig(
            vision_config={
                "image_size": self.image_size,
                "patch_size": 14,
                "hidden_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
            },
            text_config={
                "vocab_size": self.vocab_size,
                "hidden_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "intermediate_size": 37,
                "max_position_embeddings": 64,
            },
            decoder_config={
                "vocab_size": self.vocab_size,
                "n_embd": 32,
                "n_layer": 2,
                "n_head": 4,
                "n_positions": 64,
            },
            hidden_size=self.hidden_size,
            num_latents=self.num_latents,
            perceiver_num_blocks=2,
            perceiver_num_heads=4,
            perceiver_head_dim=8,
            temporal_fusion_num_blocks=2,
            temporal_fusion_num_heads=4,
            # More than the 5 that the suite draws random ids from.
            view_positions={name: index for index, name in enumerate(("PA", "AP", "LATERAL", "LL", "LAO", "unk"))},
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
            sep_token_id=3,
        )

    def prepare_config_and_inputs_for_common(self) -> tuple[PriorRGConfig, dict]:
        config = self.get_config()
        # 0 to 3 have meanings of their own.
        input_ids = ids_tensor([self.batch_size, self.seq_length], self.vocab_size - 4) + 4
        image = [self.batch_size, 3, self.image_size, self.image_size]
        inputs = {
            "input_ids": input_ids,
            "attention_mask": torch.ones_like(input_ids),
            "pixel_values": floats_tensor(image),
            "view_position_ids": torch.tensor([0, 1, 2]),
            "prior_pixel_values": floats_tensor(image),
            "prior_view_position_ids": torch.tensor([2, 1, 0]),
            "prior_mask": torch.tensor([True, False, True]),
        }
        if self.with_reports is not None:
            reports = ids_tensor([self.batch_size, self.decoder_seq_length], self.vocab_size - 4) + 4
            inputs[f"{self.with_reports}_input_ids"] = reports
            inputs[f"{self.with_reports}_attention_mask"] = torch.ones_like(reports)
        return config, inputs


class ConfigTest(unittest.TestCase):
    def setUp(self):
        self.model_tester = PriorRGModelTester(self)
        self.config_tester = ConfigTester(self, config_class=PriorRGConfig, hidden_size=32)

    def test_config(self):
        self.config_tester.run_common_tests()


class ProcessorTest(ProcessorTesterMixin, unittest.TestCase):
    processor_class = PriorRGProcessor

    @classmethod
    def _setup_image_processor(cls):
        return rad_dino_image_processor(28)

    @classmethod
    def _setup_tokenizer(cls):
        return tiny_tokenizer(Path(tempfile.mkdtemp()))

    @staticmethod
    def prepare_processor_dict() -> dict:
        return {"view_positions": VIEW_POSITIONS}


class _CommonTest(ModelTesterMixin):
    _is_composite = True
    with_reports = None
    # Of the comparison of attention implementations, which makes up rows of each; it can't make up a boolean mask.
    additional_model_inputs = ("pixel_values", "view_position_ids", "prior_pixel_values", "prior_view_position_ids")
    # The fusion's and the visual segment's features have the vision encoder's tokens, not those of `get_image_features`.
    skip_test_image_features_output_shape = True
    # Older suites unfreeze everything, and then ask for a gradient of DINOv2's mask token, which no pass without a mask reaches.
    test_all_params_have_gradient = "intentionally_frozen" in inspect.getsource(common)

    def setUp(self):
        self.model_tester = PriorRGModelTester(self, with_reports=self.with_reports)

    def _image_features_prepare_config_and_inputs(self):
        # A study's features need its context as well.
        return self.model_tester.prepare_config_and_inputs_for_common()

    def _image_features_get_expected_num_hidden_states(self, model_tester=None):
        # Two uses of the Perceiver's two blocks, and the latents that it starts from.
        return 5

    def _image_features_get_expected_num_attentions(self, model_tester=None):
        return 4


class _EncoderTest(_CommonTest):
    # The suite reads `encoder_hidden_states` and `encoder_attentions` of every model whose configuration is that of an
    # encoder-decoder. An encoder by itself has `hidden_states` and `attentions`; they are counted below instead.
    has_attentions = True

    def _outputs(self, **kwargs):
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        (model_class,) = self.all_model_classes
        model = model_class._from_config(config, attn_implementation="eager")
        return model(**self._prepare_for_class(inputs, model_class), **kwargs)

    def test_attention_outputs(self):
        if self.all_model_classes != (PriorRGModel,):
            self.skipTest("the contrastive output holds embeddings only")
        attentions = self._outputs(output_attentions=True).attentions
        assert [tuple(maps.shape[1:]) for maps in attentions] == [(4, 6, 7)] * 2 + [(4, 6, 5)] * 4

    def test_hidden_states_output(self):
        if self.all_model_classes != (PriorRGModel,):
            self.skipTest("the contrastive output holds embeddings only")
        hidden_states = self._outputs(output_hidden_states=True).hidden_states
        assert [tuple(states.shape) for states in hidden_states] == [(3, 6, 32)] * 7

    def test_retain_grad_hidden_states_attentions(self):
        if self.all_model_classes != (PriorRGModel,):
            self.skipTest("the contrastive output holds embeddings only")
        outputs = self._outputs(output_hidden_states=True, output_attentions=True)
        states = [outputs.hidden_states[0], outputs.attentions[0]]
        for state in states:
            state.retain_grad()
        outputs[0].flatten()[0].backward()
        assert all(state.grad is not None for state in states)


class PriorRGModelTest(_EncoderTest, unittest.TestCase):
    all_model_classes = (PriorRGModel,)


class PriorRGForContrastivePretrainingTest(_EncoderTest, unittest.TestCase):
    all_model_classes = (PriorRGForContrastivePretraining,)
    with_reports = "report"
    additional_model_inputs = (*_CommonTest.additional_model_inputs, "report_input_ids")

    @unittest.skip("the suite shrinks the vocabulary and clamps `input_ids`, but does not know `report_input_ids`")
    def test_resize_tokens_embeddings(self):
        pass


class PriorRGForReportGenerationTest(_CommonTest, GenerationTesterMixin, unittest.TestCase):
    all_model_classes = (PriorRGForReportGeneration,)
    with_reports = "decoder"
    is_encoder_decoder = True

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        inputs_dict = copy.deepcopy(inputs_dict)
        if return_labels:
            inputs_dict["labels"] = torch.zeros_like(inputs_dict["decoder_input_ids"])
        return inputs_dict

    def _report_outputs(self, **kwargs):
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        model = PriorRGForReportGeneration._from_config(config, attn_implementation="eager")
        return model(**inputs, **kwargs)

    # The suite wants a warning for the old name. Here both are names of the argument: before 5.24 the old one is all there is.
    def test_bc_cache_name_forward(self):
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        model = PriorRGForReportGeneration(config).eval()
        logits = []
        for name in ("cache", "past_key_values"):
            cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                logits.append(model(**inputs, use_cache=True, **{name: cache}).logits)
            assert cache.get_seq_length() == self.model_tester.decoder_seq_length
        assert torch.equal(*logits)

    # The suite expects as many encoder layers as decoder layers, over one length. Ours has three uses of the Perceiver's blocks.
    def test_attention_outputs(self):
        outputs = self._report_outputs(output_attentions=True)
        encoder = [tuple(maps.shape[1:]) for maps in outputs.encoder_attentions]
        assert encoder == [(4, 6, 7)] * 2 + [(4, 6, 5)] * 4
        assert [tuple(maps.shape[1:]) for maps in outputs.decoder_attentions] == [(4, 5, 5)] * 2
        assert [tuple(maps.shape[1:]) for maps in outputs.cross_attentions] == [(4, 5, 18)] * 2

    def test_hidden_states_output(self):
        outputs = self._report_outputs(output_hidden_states=True)
        assert [tuple(states.shape) for states in outputs.encoder_hidden_states] == [(3, 6, 32)] * 7
        assert [tuple(states.shape) for states in outputs.decoder_hidden_states] == [(3, 5, 32)] * 3
