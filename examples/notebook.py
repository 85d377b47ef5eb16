#!/usr/bin/env python3
# %% [markdown]
# What do faulty memory cells cost a network? A notebook as a script: open it in Jupyter or VS Code, or run it whole with
# PYTHONPATH=build/python (after `make python`).

# %%
import os

import numpy as np

import steadfast

here = os.environ.get("STEADFAST_SOURCE_DIR", os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
model = steadfast.load(os.path.join(here, "models", "lenet5-w4a4-as-saq.onnx"))
print(model)
for parameter in model.parameters[:3]:
    print(parameter)

# %% [markdown]
# Images are bytes: yours as arrays, or a data set by name (`dataset="fashion-mnist"`). Here: noise, so that the script
# runs anywhere; labels are what the fault-free network answers, so accuracy is agreement with it.

# %%
images = np.random.default_rng(1).integers(0, 256, (200, 1, 28, 28), dtype=np.uint8)
labels = steadfast.predict(model, images).argmax(axis=1)

# %% One fault, by hand: a fault-injected network is a function.
fault = steadfast.Fault("conv1.weight", 12, 3)
answers = steadfast.predict(model, images, faults=[fault]).argmax(axis=1)
print(f"{fault}: {(answers != labels).sum()} of {len(images)} answers change")

# %% Random faults at several rates, 20 chips each.
campaign = steadfast.inject(model, images=images, labels=labels, rate=[1e-3, 1e-2], trials=20)
print(campaign.to_pandas().groupby("rate").accuracy.describe())

# %% Dead rows of a systolic array's weight buffer.
rows = steadfast.inject(model, images=images, labels=labels, chip=steadfast.Chip("systolic"),
                        fault=steadfast.FaultModel("row"), rate=0.01, trials=10)
print(rows.to_pandas().accuracy.mean())

# %% Which bits matter: every single flip in the first layer.
sweep = steadfast.sweep(model, images=images, labels=labels, layer="conv1")
print(sweep.to_pandas().groupby("bit").accuracy.min())
