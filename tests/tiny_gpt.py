"""A small causal transformer, and texts for it, for tests of token sequences."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VOCABULARY, LENGTH = 19, 9


class Block(nn.Module):
    """Causal attention and a hidden layer, each added to what comes in."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unsqueeze(1) for part in self.qkv(self.first(x)).chunk(3, dim=2))  # one head
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v, is_causal=True)[:, 0])
        return x + self.down(F.gelu(self.up(self.second(x))))


class TinyGPT(nn.Module):
    """Logits of the next token at every position.  # int64 [n, tokens] -> [n, tokens, vocabulary]"""

    def __init__(self, vocabulary: int = VOCABULARY, dim: int = 16, hidden: int = 32, context: int = 24) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(vocabulary, dim), nn.Embedding(context, dim)
        self.blocks = nn.ModuleList(Block(dim, hidden) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.token(tokens) + self.position.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x))
        return logits


def gpt(seed: int = 0, sharp: float = 3.0, **sizes: int) -> TinyGPT:
    """A network in float64 whose logits differ by several nats."""
    torch.manual_seed(seed)
    model = TinyGPT(**sizes).double().eval()
    for parameter in model.parameters():
        parameter.data *= sharp if parameter.dim() > 1 else 1.0
    return model


def texts(n: int, pad: int = -1, *, seed: int = 0, length: int = LENGTH, shortest: int = 2) -> Tensor:
    """Random texts of different lengths that begin with token 1, padded on the right.  # int64 [n, length]"""
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(2, VOCABULARY, (n, length), generator=draw)
    tokens[:, 0] = 1
    lengths = torch.randint(shortest, length + 1, (n, 1), generator=draw)
    return tokens.where(torch.arange(length) < lengths, pad)


def shifted(tokens: Tensor, pad: int = -1) -> tuple[Tensor, Tensor]:
    """Inputs, and the next token of each position, -100 where there is none."""
    y = torch.full_like(tokens, -100)
    y[:, :-1] = tokens[:, 1:].where(tokens[:, 1:] != pad, -100)
    return tokens.where(tokens != pad, 0), y
