"""The tokenizer of PriorRG: GPT-2's vocabulary with seven tokens added, and the encoding of user text that can never become one of them."""

import copy
import os

from transformers import AutoTokenizer, GPT2Tokenizer, PreTrainedTokenizerBase


# In this order after the GPT-2 vocabulary, with the ids 50257 to 50263.
SPECIAL_TOKENS = {"pad_token": "[PAD]", "sep_token": "[SEP]", "cls_token": "[CLS]"}
TEMPLATE_TOKENS = ("[INDICATION]", "[HISTORY]", "[Similar Cases]", "[FINDINGS]")
ADDED_TOKENS = (*SPECIAL_TOKENS.values(), *TEMPLATE_TOKENS)


def build_priorrg_tokenizer(source: str | os.PathLike | PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """
    Adds PriorRG's seven tokens to a GPT-2 vocabulary.

    Args:
        source (`str`, `os.PathLike` or `PreTrainedTokenizerBase`):
            A Hub id (`distilbert/distilgpt2`), a folder with a tokenizer or with plain `vocab.json` and `merges.txt`, the path of
            such a `vocab.json`, or a tokenizer (which is copied).

    Returns:
        `PreTrainedTokenizerBase`: `[PAD]`, `[SEP]`, `[CLS]` (special), `[INDICATION]`, `[HISTORY]`, `[Similar Cases]` and `[FINDINGS]`
        follow the vocabulary in this order: ids 50257 to 50263 for GPT-2. A source that has them already is returned as it is.

    Raises:
        `ValueError`: the source has other added tokens in these places, or `<|endoftext|>` does not begin and end its texts.
    """
    if isinstance(source, PreTrainedTokenizerBase):
        tokenizer = copy.deepcopy(source)
    elif os.path.isfile(source):
        merges = os.path.join(os.path.dirname(os.fspath(source)), "merges.txt")
        if not os.path.isfile(merges):
            raise ValueError(f"{os.fspath(source)!r} needs a merges.txt beside it")
        tokenizer = GPT2Tokenizer(vocab=os.fspath(source), merges=merges)
    elif os.path.isdir(source) and not os.path.isfile(os.path.join(source, "tokenizer_config.json")):
        tokenizer = GPT2Tokenizer.from_pretrained(source)
    else:
        tokenizer = AutoTokenizer.from_pretrained(source)

    tokenizer.add_special_tokens(dict(SPECIAL_TOKENS))
    tokenizer.add_tokens(list(TEMPLATE_TOKENS))

    ids = [tokenizer.convert_tokens_to_ids(token) for token in ADDED_TOKENS]
    expected = list(range(tokenizer.vocab_size, tokenizer.vocab_size + len(ADDED_TOKENS)))
    if ids != expected:
        raise ValueError(
            f"the added tokens {ADDED_TOKENS} got the ids {ids} instead of {expected}; start from a plain GPT-2 vocabulary "
            "without added tokens"
        )
    for name in ("bos_token", "eos_token"):
        if getattr(tokenizer, name) != "<|endoftext|>":
            raise ValueError(f"{name} is {getattr(tokenizer, name)!r} and must be '<|endoftext|>'")
    return tokenizer


def template_token_ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise ValueError(f"{type(tokenizer).__name__} has no Rust backend; load it with AutoTokenizer")
    ids = tokenizer.get_added_vocab()
    missing = [token for token in ADDED_TOKENS if token not in ids]
    missing += [name for name in ("bos_token", "eos_token") if getattr(tokenizer, f"{name}_id") is None]
    if missing:
        raise ValueError(f"the tokenizer has no {', '.join(missing)}; add them with build_priorrg_tokenizer(...)")
    return {token: ids[token] for token in ADDED_TOKENS} | {
        "bos": tokenizer.bos_token_id,
        "eos": tokenizer.eos_token_id,
    }


def plain_encoder(tokenizer: PreTrainedTokenizerBase):
    """
    Encodes text with the tokenizer's own model, but without its added tokens: "[SEP]" in user text is the characters it
    consists of. The twin shares the model, so making one costs microseconds, and neither truncation nor padding state of the
    tokenizer is touched (threads may share it).
    """
    backend = tokenizer.backend_tokenizer
    twin = type(backend)(backend.model)
    if backend.normalizer is not None:
        twin.normalizer = backend.normalizer
    if backend.pre_tokenizer is not None:
        twin.pre_tokenizer = backend.pre_tokenizer
    return lambda text: twin.encode(text, add_special_tokens=False).ids


__all__ = [
    "ADDED_TOKENS",
    "SPECIAL_TOKENS",
    "TEMPLATE_TOKENS",
    "build_priorrg_tokenizer",
    "plain_encoder",
    "template_token_ids",
]
