# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Which of my texts can be extracted?
#
# A small language model is trained on texts of which some come more often than others, as in any collection. Which ones
# does it give back word for word, and which does it know only because it was trained on them? The texts are docstrings
# of Python's standard library, so nothing is fetched.

# %%
import argparse
import collections
import datetime
import decimal
import inspect
import pathlib
import string
import threading

import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch import nn

import turnover
from turnover.models.gpt import GPT

# %% [markdown]
# ## Texts, and how often each comes
#
# A text is the first line of what documents a method. Methods that are inherited, or copied, bring theirs again.

# %%
modules = (argparse, collections, datetime, decimal, inspect, pathlib, string, threading)
found = [
    inspect.getdoc(method).split("\n")[0]
    for module in modules
    for _, kind in inspect.getmembers(module, inspect.isclass)
    for _, method in inspect.getmembers(kind, callable)
    if inspect.getdoc(method)
]
counted = collections.Counter(text for text in found if 24 <= len(text) <= 48 and text.isascii())
often = [text for text, count in counted.most_common(40)]
once = [text for text, count in sorted(counted.items()) if count == 1][:80]
texts = [text for text in [*often, *once] for _ in range(min(counted[text], 16))]
print(len(set(texts)), "texts,", len(texts), "with their copies, for example:", texts[0])

# %% [markdown]
# ## Tokens
#
# The model reads bytes. Rows are padded with -1, which stands for no byte, and 0 begins a text. Copies share an id.

# %%
rows = [torch.tensor([0, *text.encode()]) for text in texts]
tokens = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)
number = {text: index for index, text in enumerate(dict.fromkeys(texts))}
ids = torch.tensor([number[text] for text in texts])


def make_model() -> nn.Module:
    return GPT(128, tokens.shape[1], layers=2, dim=64, heads=4, mlp_ratio=8)


torch.manual_seed(0)
model = make_model()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
inputs, targets = tokens[:, :-1].clamp(min=0), tokens[:, 1:]
for _ in range(10):
    for batch in torch.randperm(len(tokens)).split(32):
        logits = model(inputs[batch])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), targets[batch].flatten(), ignore_index=-1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

# %% [markdown]
# ## What it gives back
#
# `prefix` is the smallest number of tokens from which the model writes the rest of a text by itself, always taking the
# most probable next one. `strength` is the share of a text that it writes.

# %%
table = turnover.language.extraction(model, tokens, pad=-1).groupby(ids.numpy()).first()
table["text"] = list(number)
table["extractable"] = turnover.language.extractable(table, prefix=8, left=16)
table.sort_values("strength", ascending=False)[["text", "copies", "prefix", "strength", "extractable"]].head(8)

# %%
figure, axes = plt.subplots(figsize=(5, 3.2))
axes.scatter(table["copies"], table["strength"], s=14, alpha=0.5, label="a text")
shares = table.groupby(pd.cut(table["copies"], [0, 1, 4, 8, 16]), observed=True)
axes.plot(shares["copies"].mean(), shares["strength"].mean(), "ks-", ms=5, label="means of 1, 2-4, 5-8, 9-16")
axes.set_xscale("log", base=2)
axes.set_xticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
axes.set_xlabel("copies among the training texts")
axes.set_ylabel("share of it that the model writes")
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# ## What it would have known anyway
#
# A text that follows from others is given back without being memorized. `memorization_loss` compares networks that were
# trained on the text with networks that were not: by how many nats a token it is cheaper for the first.

# %%
options = {"epochs": 8, "lr": 3e-3, "options": {"blocks": 6}, "progress": False}
counterfactual = turnover.language.memorization(make_model, tokens, ids, pad=-1, **options)
table["memorization_loss"] = counterfactual["memorization_loss"]
table["memorization_se"] = counterfactual["memorization_se"]
table.nlargest(8, "memorization_loss")[["text", "copies", "extractable", "memorization_loss", "memorization_se"]]

# %% [markdown]
# Six networks tell little more than that texts which come often are memorized most: take more of them for single texts.
# For a model of your own, and for scores from one fine-tuning, see `docs/language.md`.
