"""A byte-level BPE trained on the texts of a run, and texts as sequences of its tokens."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from turnover.core.losses import UNCOUNTED

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, START = 0, 1  # tokens of no text: behind a sequence, and before it
_TOKENS = ["<pad>", "<bos>"]


def trained(texts: Sequence[str], vocabulary: int) -> "Tokenizer":
    """Train a byte-level BPE of at most `vocabulary` tokens; the same texts give the same one.

    Every digit is a token of its own, so that a number of four digits has four.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    words = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(words)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def sequences(tokenizer: "Tokenizer", texts: Sequence[str], context: int) -> tuple[Tensor, Tensor, int]:
    """Return inputs and targets, and how many texts are cut as they have more than `context` tokens.

    An input is <bos> and the tokens of a text but for the last; its target at each place is the next token, `UNCOUNTED`
    behind the text. Both are as long as the longest text that is not cut.  # int64 [texts, tokens] both
    """
    encoded = [encoding.ids for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)]
    length = min(context, max(map(len, encoded)))
    targets = torch.full((len(encoded), length), UNCOUNTED)
    for row, tokens in zip(targets, encoded, strict=True):
        row[: len(tokens)] = torch.tensor(tokens[:length])
    inputs = targets.roll(1, dims=1)
    inputs[:, 0] = START
    inputs[(inputs == UNCOUNTED) | (targets == UNCOUNTED)] = PAD
    return inputs, targets, sum(len(tokens) > length for tokens in encoded)
