"""A tiny BERT with random weights and the words of some texts, as a folder that transformers reads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch


def tiny_bert(folder: Path, texts: Iterable[str], width: int = 16, dropout: float = 0.0) -> str:
    """The folder, with config, weights and tokenizer. Every word is a token, but for "playing": "play", "##ing"."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = sorted({word.strip(".,!").lower() for text in texts for word in text.split()} - {"", "playing"})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ",", "play", "##ing", *words]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(vocabulary)) + "\n")
    BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=True).save_pretrained(folder)
    torch.manual_seed(11)
    config = BertConfig(
        vocab_size=len(dict.fromkeys(vocabulary)),
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * width,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        max_position_embeddings=64,
        # large enough that the states of different words differ
        initializer_range=0.3,
    )
    BertModel(config).save_pretrained(folder)
    return str(folder)
