"""A small language model of the form of GPT-2 (Radford et al., 2019): attention and MLP, each behind a layer norm."""

import torch.nn.functional as F
from torch import Tensor, nn


class GPT(nn.Module):
    """Embeddings of tokens and of their places, blocks, and logits by the embeddings of tokens again; no dropout.

    Weights are drawn from N(0, 0.02²), those whose outputs are added to a token's channels from one that is narrower
    by √(2 layers), biases are 0.
    """

    def __init__(self, vocabulary: int, context: int, *, layers: int, dim: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, dim)
        self.places = nn.Embedding(context, dim)
        self.blocks = nn.ModuleList(Block(dim, heads, mlp_ratio * dim) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        for name, parameter in self.named_parameters():
            if name.endswith(("out.weight", "down.weight")):
                nn.init.normal_(parameter, std=0.02 / (2 * layers) ** 0.5)
            elif parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits of the token that follows each place.  # int64 [batch, n] -> [batch, n, vocabulary]"""
        x = self.tokens(tokens) + self.places.weight[: tokens.shape[1]]  # [batch, n, dim]
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.tokens.weight)


class Block(nn.Module):
    """Causal attention, then an MLP, whose hidden units turn-over dropout masks; each is added to its input."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Transform tokens.  # [batch, n, dim] -> [batch, n, dim]"""
        x = x + self.out(self.attention(self.norm1(x)))
        hidden: Tensor = F.gelu(self.up(self.norm2(x)))  # [batch, n, hidden]
        return x + self.down(hidden)

    def attention(self, x: Tensor) -> Tensor:
        """Return for each token a mean of values of the tokens up to it, by heads.  # [batch, n, dim] -> the same"""
        by_head = (
            self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )  # [3, batch, heads, n, dim/heads]
        query, key, value = by_head
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return mixed.transpose(1, 2).flatten(2)
