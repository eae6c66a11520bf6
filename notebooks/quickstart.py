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
# # Quickstart: digits, scores, wrong labels
#
# In three minutes from a data set to the examples whose labels look wrong. The data are the 1,797 handwritten digits of
# 8 x 8 pixels that come with scikit-learn (`pip install '.[experiments,notebooks]'`); nothing is fetched.

# %%
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from torch import nn

import turnover

# %% [markdown]
# ## Data, with wrong labels of our making
#
# Inputs and class numbers are all that is needed. To see whether wrong labels are found, 5 % of them get another class.

# %%
digits = load_digits()
x = torch.tensor(digits.images, dtype=torch.float32)
x = (x - x.mean()) / x.std()
y = torch.tensor(digits.target)

generator = torch.Generator().manual_seed(0)
wrong = torch.randperm(len(y), generator=generator)[:90]
y[wrong] = (y[wrong] + torch.randint(1, 10, (90,), generator=generator)) % 10
is_wrong = np.isin(np.arange(len(y)), wrong)

# %% [markdown]
# ## Scores
#
# `estimator="blocks"` trains 44 narrow networks, each on a random half of the examples, which costs about as much as
# two trainings of a network of the usual width. So half of them have never seen an example $z$ and half have:
#
# $$\text{memorization}(z) = P(\text{right} \mid \text{trained on } z) - P(\text{right} \mid \text{not trained on } z)$$
#
# `score` ranks the examples: by how clearly the networks that have not seen them say another class.


# %%
def make_model() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


table = turnover.memorization(make_model, x, y, epochs=40, lr=0.1, estimator="blocks", progress=False)
table.nlargest(5, "score")[["score", "memorization", "memorization_se", "label", "prediction", "probability"]]

# %% [markdown]
# ## Wrong labels score high
#
# Over each image its label and, behind the arrow, what the networks say that never trained on it. Most of the highest
# scores are wrong labels of our making; what is left are digits that are hard to read.

# %%
table["corrupted"] = is_wrong
turnover.plot(table, digits.images)

# %%
suspects = table.nlargest(90, "score")
found = suspects["corrupted"].mean()
auroc = roc_auc_score(is_wrong, table["score"])
print(f"of the 90 highest scores {found:.0%} have a wrong label; AUROC {auroc:.3f}")

# %% [markdown]
# ## More than a rank: turn-over dropout
#
# One network with turn-over dropout has two sub-networks for every example: one that trains on it and one that never
# does. Their losses and predictions can be had at any time of one training. The verdict says whether to trust them.


# %%
def make_wide() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 10))


halves = turnover.memorization(make_wide, x, y, epochs=30, lr=0.1, batch_size=64, seeds=2, progress=False)
print(halves.attrs["leakage"]["message"])
print(f"rank correlation with the scores above: {halves['score'].corr(table['score'], method='spearman'):.2f}")
halves.nlargest(5, "score")

# %% [markdown]
# Where to go on: `own_model_and_data` for data and networks of your own, `anatomy` for how it works, `exploring_scores`
# for what was found on MNIST, Fashion-MNIST and CIFAR-10.
