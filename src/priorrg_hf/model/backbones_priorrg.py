"""Pretrained weights of the backbones, as their own repositories hold them, for new PriorRG models."""

from typing import Any

from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertModel
from transformers.models.gpt2.modeling_gpt2 import GPT2LMHeadModel


def load_bert(name: str, num_layers: int) -> BertModel:
    """Plain BERT weights from a repository whose own model type may be a relative of BERT (CXR-BERT's is)."""
    settings, _ = BertConfig.get_config_dict(name)
    known = {field: settings[field] for field in BertConfig().to_dict() if field in settings}
    known.pop("model_type", None)
    bert_config = BertConfig(**known)
    if bert_config.num_hidden_layers < num_layers:
        raise ValueError(
            f"`text`={name!r} has {bert_config.num_hidden_layers} layers, but `text_config.num_hidden_layers` asks for "
            f"{num_layers}."
        )
    bert_config.num_hidden_layers = num_layers
    # annotated as the model alone, which it is without `output_loading_info`
    loaded: Any = BertModel.from_pretrained(
        name, config=bert_config, add_pooling_layer=False, output_loading_info=True
    )
    model, report = loaded
    if report["missing_keys"]:
        raise ValueError(f"`text`={name!r} is no BERT checkpoint: it lacks {sorted(report['missing_keys'])[:5]}.")
    return model


def copy_decoder(source: GPT2LMHeadModel, target: GPT2LMHeadModel):
    """Copies a GPT-2 without cross-attention into a decoder with it, and with a larger vocabulary."""
    state = source.state_dict()
    state.pop("lm_head.weight")
    embeddings = target.transformer.wte.weight.data
    rows = min(source.config.vocab_size, target.config.vocab_size)
    # New tokens start at the mean of the known ones (Hewitt, 2021), where they disturb the softmax least.
    embeddings.copy_(state["transformer.wte.weight"][:rows].mean(dim=0).expand_as(embeddings))
    embeddings[:rows] = state["transformer.wte.weight"][:rows]
    state["transformer.wte.weight"] = embeddings
    unexpected = target.load_state_dict(state, strict=False).unexpected_keys
    if unexpected:
        raise ValueError(f"The decoder checkpoint holds weights that GPT-2 does not have: {unexpected[:5]}.")
