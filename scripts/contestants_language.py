"""Contestants of the benchmark: a small language model, trained with and without masks, and ranks of canaries."""

from collections.abc import Callable

import torch

import turnover
from turnover.core.examples import Examples
from turnover.core.losses import TOKENS
from turnover.models.gpt import GPT
from turnover.training.loop import train

VOCABULARY, CONTEXT, BATCH = 1024, 48, 32


def network(device: torch.device) -> GPT:
    """Return a language model of two layers, as the studies of texts train it."""
    torch.manual_seed(0)
    return GPT(VOCABULARY, CONTEXT, layers=2, dim=64, heads=4, mlp_ratio=8).to(device)


def training(steps: int, device: torch.device) -> dict[str, Callable[[], object]]:
    """Return training by the loop on texts of 48 tokens, by AdamW: plain, and under masks."""
    tokens = torch.randint(VOCABULARY, (steps * BATCH, CONTEXT + 1), device=device)
    examples = Examples(tokens[:, :-1], tokens[:, 1:], torch.arange(len(tokens), device=device), loss=TOKENS)

    def contestant(**masks: object) -> Callable[[], object]:
        model = network(device)
        if masks:
            turnover.attach(model, **masks)  # type: ignore[arg-type]
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
        options = {"epochs": 1, "batch_size": BATCH, "seed": 0}
        return lambda: list(train(model, examples, optimizer, lambda step: 1e-3, **options))  # type: ignore[arg-type]

    return {
        "plain": contestant(),
        "turn-over dropout, a mask for each text": contestant(p=0.5),
        "turn-over dropout, 16 masks, thinned": contestant(p=0.5, groups=16, dropout=0.5),
    }


def exposure(canaries: int, device: torch.device) -> dict[str, Callable[[], object]]:
    """Return ranks of codes of four digits by a network that knows none of them, so that hardly any is dropped."""
    model = network(device)
    before = torch.randint(VOCABULARY, (canaries, 8), device=device)
    digits = torch.arange(10, 20, device=device)
    codes = digits[torch.randint(10, (canaries, 4), device=device)]

    def ranked(exact: bool) -> Callable[[], object]:
        return lambda: turnover.language.exposure(model, before, codes, digits, exact)

    return {"exact": ranked(True), "by a sample of 500 codes": ranked(False)}
