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
# # Exploring scores
#
# What the last full reproduction found at laptop scale, read from the tables that are committed under
# `outputs/reference/laptop/`: nothing is trained here. Run it from a checkout.

# %%
import json
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

here = Path.cwd()
root = next(folder for folder in (here, *here.parents) if (folder / "outputs" / "reference").is_dir())
reference = root / "outputs" / "reference" / "laptop"
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"  # told apart by colour-blind readers too

# %% [markdown]
# ## How scores are distributed
#
# MNIST with 20,000 labels replaced by random ones (figure 2 b), three seeds.

# %%
bins = pd.read_csv(reference / "fig2.csv")
figure, axes = plt.subplots(figsize=(6, 3))
for group, colour in (("uncorrupted", BLUE), ("corrupted", ORANGE)):
    mine = bins[(bins["panel"] == "b") & (bins["group"] == group)]
    mean = mine.groupby(["bin_low", "bin_high"])["examples"].mean().reset_index()
    axes.stairs(mean["examples"], [*mean["bin_low"], mean["bin_high"].iloc[-1]], label=group, color=colour)
axes.set(yscale="log", xlabel="memorization score (nats)", ylabel="examples per bin")
axes.legend()
plt.show()

# %% [markdown]
# One label in ten that is replaced by a random class stays what it was: the second peak of the corrupted ones, at 0.
#
# ## The claims
#
# Every committed json holds its claims: effect, 95 % interval over seeds, threshold, verdict.

# %%
rows = []
for path in sorted(reference.glob("fig*.json")):
    for claim in json.loads(path.read_text(encoding="utf-8"))["claims"].values():
        deciding = [each for each in claim["measures"] if each["threshold"] is not None]
        for each in deciding:
            low, high = each["interval"]
            rows.append([claim["id"], claim["verdict"], each["name"], each["effect"], low, high, each["threshold"]])
claims = pd.DataFrame(rows, columns=["claim", "verdict", "measure", "effect", "low", "high", "threshold"])
claims.round(3)

# %%
claims.drop_duplicates("claim").groupby("verdict")["claim"].agg(["count", list])

# %% [markdown]
# ## Which score agrees with memorization?
#
# The ground truth is memorization by a thousand networks (CIFAR-10: 200), of 3,000 examples with 10 % wrong labels. One
# run against the mean of ten, by Spearman correlation.

# %%
table = pd.read_csv(reference / "validate" / "table.csv")
chosen = (table["noise"] == "symmetric") & (table["wrong"] == 300) & (table["augmentation"] == "none")
validated = table[chosen & (table["networks"] == 1)]
agreement = validated.pivot_table(index="estimator", columns=["dataset", "seeds"], values="spearman")
agreement.sort_values(("mnist", 1), ascending=False).round(2)

# %%
figure, panels = plt.subplots(1, 3, figsize=(10, 3), sharey=True)
for panel, dataset in zip(panels, ("mnist", "fashion_mnist", "cifar10"), strict=True):
    mine = validated[(validated["dataset"] == dataset) & (validated["seeds"] == 1)].set_index("estimator")
    for name, colour in (("cumulative_loss", BLUE), ("turnover", ORANGE), ("el2n", GREEN)):
        row = mine.loc[name]
        errors = [[row["spearman"] - row["spearman_low"]], [row["spearman_high"] - row["spearman"]]]
        panel.errorbar(row["cost"], row["spearman"], yerr=errors, fmt="o", color=colour, label=name)
    panel.set(title=dataset, xlabel="cost (trainings)", xscale="log")
panels[0].set_ylabel("Spearman correlation")
panels[0].legend()
figure.tight_layout()

# %% [markdown]
# ## Who finds wrong labels?
#
# Share of the wrong labels among as many highest scores, by how many labels are wrong: of one run, the mean over runs.

# %%
found = table[(table["noise"] == "symmetric") & (table["augmentation"] == "none") & (table["seeds"] == 1)]
figure, panels = plt.subplots(1, 3, figsize=(10, 3), sharey=True)
for panel, dataset in zip(panels, ("mnist", "fashion_mnist", "cifar10"), strict=True):
    for name, colour in (("cumulative_loss", BLUE), ("turnover", ORANGE), ("el2n", GREEN)):
        mine = found[(found["dataset"] == dataset) & (found["estimator"] == name)].sort_values("wrong")
        panel.plot(mine["wrong"] / mine["examples"], mine["precision"], "o-", color=colour, label=name)
    panel.set(title=dataset, xlabel="share of wrong labels", xscale="log", ylim=(0, 1))
panels[0].set_ylabel("share found")
panels[0].legend()
figure.tight_layout()

# %% [markdown]
# ## The examples themselves
#
# The lowest and highest scores of every class of MNIST, by their permanent ids (figure 7).

# %%
gallery = pd.read_csv(reference / "fig7.csv")
highest = gallery[gallery["panel"] == "b"].nlargest(10, "score")
highest[["id", "label", "score", "own_prediction", "flipped_prediction"]]

# %% [markdown]
# Their own sub-networks have learnt the label; the flipped ones, which never trained on them, say something else. Where
# that is so, the label is memorized.
