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
# # Your own model and data
#
# `turnover.memorization` wants inputs `x` and class numbers `y`, tensors or arrays, and a function that makes a
# network. Here they come from a CSV file, from a folder of images and from a Hugging Face `datasets` object. The data
# are small real ones that come with scikit-learn, written to disk first so that they can be read as yours would be.

# %%
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from PIL import Image
from sklearn.datasets import load_breast_cancer, load_digits
from torch import nn

import turnover

folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## A table: CSV
#
# 569 tumours with 30 measurements each. Write, then read as any other file: columns to floats of mean 0 and variance 1,
# classes to numbers from 0.

# %%
load_breast_cancer(as_frame=True).frame.to_csv(folder / "tumours.csv", index=False)

frame = pd.read_csv(folder / "tumours.csv")
labels, classes = pd.factorize(frame["target"], sort=True)
numbers = frame.drop(columns="target")
x = ((numbers - numbers.mean()) / numbers.std()).to_numpy(dtype=np.float32)


def make_mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(x.shape[1], 256), nn.GELU(), nn.Linear(256, len(classes)))


table = turnover.memorization(make_mlp, x, labels, epochs=30, lr=0.05, batch_size=32, seeds=2, progress=False)
frame.loc[table.nlargest(5, "score").index].join(table[["score", "flipped_prediction"]]).iloc[:, -3:]

# %% [markdown]
# Rows keep their number as id, so scores join the table they came from.
#
# ## A folder of images
#
# One sub-folder a class, as most image data lie. The file names are kept, to find the suspects again.

# %%
digits = load_digits()
for number, (image, label) in enumerate(zip(digits.images[:1500], digits.target[:1500], strict=True)):
    path = folder / "digits" / str(label) / f"{number:04d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((image * 15).astype(np.uint8)).save(path)

paths = sorted((folder / "digits").glob("*/*.png"))
names = sorted({path.parent.name for path in paths})
images = torch.stack([torch.from_numpy(np.asarray(Image.open(path), dtype=np.float32)) for path in paths])
images = ((images - images.mean()) / images.std()).unsqueeze(1)  # [n, channels, height, width]
targets = torch.tensor([names.index(path.parent.name) for path in paths])


class Net(nn.Module):
    """Any network will do; activations are found whether they are modules or calls."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 32, 3, padding=1)
        self.hidden = nn.Sequential(nn.Linear(32 * 16, 256), nn.ReLU())
        self.logits = nn.Linear(256, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool2d(torch.relu(self.conv(x)), 2)
        return self.logits(self.hidden(x.flatten(1)))


options = {"epochs": 20, "lr": 0.05, "batch_size": 32, "seeds": 1, "progress": False}
table = turnover.memorization(Net, images, targets, layers=["hidden"], **options)
table["file"] = [path.relative_to(folder).as_posix() for path in paths]
print(table.attrs["leakage"]["message"])
table.nlargest(5, "score")[["file", "score", "flipped_prediction"]]

# %% [markdown]
# `layers=["hidden"]` masks what runs inside that module alone. Without it the convolution is masked too, and a warning
# says that the masks tell something of the labels: then mask less. (A call such as `torch.relu` in `forward` runs
# inside the network itself; give it a module of its own to name it.)
#
# ## A Hugging Face datasets object
#
# `with_format("torch")` makes columns tensors. This one is made in memory; `datasets.load_dataset` gives the same kind.

# %%
rows = Dataset.from_dict({"pixels": digits.data[:600].tolist(), "label": digits.target[:600].tolist()})
rows = rows.with_format("torch")
pixels, label = rows["pixels"][:], rows["label"][:]
pixels = (pixels - pixels.mean()) / pixels.std()


def make_wide() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 10))


table = turnover.memorization(make_wide, pixels, label, epochs=20, lr=0.1, batch_size=32, seeds=1, progress=False)
suspects = rows.select(table.nlargest(5, "score").index)
suspects["label"][:]

# %% [markdown]
# ## Your own training loop
#
# With your own optimizer, schedule or loss, attach turn-over dropout and train inside `turnover.own`; the ids are
# the positions of the examples in the data set.

# %%
model = turnover.attach(make_wide(), p=0.5, seed=0)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
ids = torch.arange(len(pixels))
for _ in range(20):
    for batch in torch.randperm(len(ids)).split(32):
        with turnover.own(model, ids[batch]):
            loss = nn.functional.cross_entropy(model(pixels[batch]), label[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

scores = turnover.score(model, pixels, label, ids)
scores.nlargest(3, "score")
