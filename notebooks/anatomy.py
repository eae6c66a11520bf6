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
# # Anatomy of turn-over dropout
#
# Masks, sub-networks, score and influence, taken apart by hand: each equation beside a few lines that compute it, held
# against what the library gives. Equation numbers are those of Liu, Lin and Jaggi (2021).

# %%
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

import turnover

torch.manual_seed(0)
digits = load_digits()
x = torch.tensor(digits.images, dtype=torch.float32).flatten(1).div(16)
y = torch.tensor(digits.target)
ids = torch.arange(len(x))

# %% [markdown]
# ## Masks
#
# The own mask $m(z) \in \{0, 1\}^{units}$ of an example is a hash of (seed, layer, id, unit) compared with $p$. Nothing
# is drawn, so it is the same whenever and wherever it is asked for; the flipped mask is $1 - m(z)$.

# %%
masks = turnover.mask(ids, units=256, layer=0, seed=0, p=0.5)
again = turnover.mask(ids.flip(0), units=256, layer=0, seed=0, p=0.5).flip(0)
assert torch.equal(masks, again)

figure, axes = plt.subplots(figsize=(8, 2.4))
axes.imshow(masks[:40], cmap="gray_r", aspect="auto", interpolation="nearest")
axes.set(xlabel="hidden unit", ylabel="example id", title="own masks of 40 examples (black: trained by it)")
print(f"share of units that an example trains: {masks.float().mean():.4f}")

# %% [markdown]
# Two examples share a quarter of the units: each trains half, independently of the other. So the units that $z$ never
# trains are trained by everybody else.

# %%
shared = (masks[0] & masks[1]).float().mean()
print(f"examples 0 and 1 both train {shared:.2f} of the units")

# %% [markdown]
# ## Sub-networks
#
# `attach` leaves the network as it is. Inside `own` its hidden activations are multiplied by $m(z) / p$, inside
# `flipped` by $(1 - m(z)) / (1 - p)$. By hand:

# %%
model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
first, _, last = model
turnover.attach(model, p=0.5, seed=0)


def by_hand(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return last(F.relu(first(x)) * mask / 0.5)


with turnover.own(model, ids), torch.no_grad():
    own_logits = model(x)
with turnover.flipped(model, ids), torch.no_grad():
    flipped_logits = model(x)
assert torch.allclose(own_logits, by_hand(x, masks), atol=1e-5)
assert torch.allclose(flipped_logits, by_hand(x, ~masks), atol=1e-5)

# %% [markdown]
# ## What an example never trains
#
# The gradient of an example's loss is exactly 0 in every weight of its flipped units: coming in, and going out.

# %%
with turnover.own(model, ids[:1]):
    F.cross_entropy(model(x[:1]), y[:1]).backward()
flipped = ~masks[0]
print("gradient into flipped units:", float(first.weight.grad[flipped].abs().max()))
print("gradient out of flipped units:", float(last.weight.grad[:, flipped].abs().max()))
print("gradient into own units:", float(first.weight.grad[~flipped].abs().max()))
assert not first.weight.grad[flipped].any()
assert not last.weight.grad[:, flipped].any()

# %% [markdown]
# (The bias of the output has no mask: it is trained by every example.)
#
# ## Training
#
# Each example trains its own sub-network; any loop will do. One image in twenty gets a wrong label first.

# %%
wrong = torch.randperm(len(y))[:90]
y[wrong] = (y[wrong] + 1) % 10
optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
for _ in range(40):
    for batch in torch.randperm(len(x)).split(64):
        with turnover.own(model, ids[batch]):
            loss = F.cross_entropy(model(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

# %% [markdown]
# ## Memorization score (equation 6)
#
# $$\text{score}(z) = \ell(\theta^{1 - m(z)}, z) - \ell(\theta^{m(z)}, z)$$

# %%
with torch.no_grad():
    flipped_loss = F.cross_entropy(by_hand(x, ~masks), y, reduction="none")
    own_loss = F.cross_entropy(by_hand(x, masks), y, reduction="none")
scores = flipped_loss - own_loss

table = turnover.score(model, x, y, ids)
assert torch.allclose(scores, torch.tensor(table["score"].to_numpy()), atol=1e-3)
is_wrong = torch.isin(ids, wrong)
print(f"mean score of wrong labels {scores[is_wrong].mean():.2f} nats, of right ones {scores[~is_wrong].mean():.2f}")

# %%
figure, axes = plt.subplots(figsize=(4.5, 4))
for chosen, name, colour in ((~is_wrong, "right labels", "#0072b2"), (is_wrong, "wrong labels", "#d55e00")):
    axes.scatter(own_loss[chosen], flipped_loss[chosen], s=6, label=name, color=colour)
axes.axline((1, 1), slope=1, color="gray", linewidth=1)
axes.set(xlabel="own loss (nats)", ylabel="flipped loss (nats)", title="above the line: memorized")
axes.legend()
plt.show()

# %% [markdown]
# ## Influence (equation 5)
#
# The same two sub-networks of $z_i$ on another example $z_t$: what training on $z_i$ did for $z_t$.
#
# $$I(z_i, z_t) = \ell(\theta^{1 - m(z_i)}, z_t) - \ell(\theta^{m(z_i)}, z_t)$$

# %%
influences = turnover.influence(model, x[:20], y[:20], ids)  # [20, 1797]
target, source = 3, 100
with torch.no_grad():
    one, label = x[target : target + 1], y[target : target + 1]
    without = F.cross_entropy(by_hand(one, ~masks[source : source + 1]), label)
    with_it = F.cross_entropy(by_hand(one, masks[source : source + 1]), label)
assert torch.allclose(influences[target, source], without - with_it, atol=1e-4)
assert torch.allclose(influences[target, target], scores[target], atol=1e-3)  # on itself: its memorization score
print(f"of example {source} on example {target}: {influences[target, source]:.3f} nats")

# %% [markdown]
# ## And off again
#
# The plain network with the same weights: the full network, which new data are given to.

# %%
turnover.detach(model)
with torch.no_grad():
    accuracy = (model(x).argmax(1) == torch.tensor(digits.target)).float().mean()
print(f"full network, true labels: accuracy {accuracy:.3f}")
