"""A model of a user's own and a study of it, small enough for tests."""

import textwrap

MODEL = '''
"""x = (a, a b) with noise; no statistics where a < -0.9."""
import numpy as np

import lanternfish as lf


def simulate(theta, seeds):
    noise = [np.random.default_rng(int(seed)).normal(size=2) for seed in seeds]
    x = np.stack([theta[:, 0], theta[:, 0] * theta[:, 1]], axis=1) + 0.1 * np.array(noise)
    x[theta[:, 0] < -0.9] = np.nan
    return x


def traces(theta, seeds):
    time = np.arange(0.0, 100.0)
    return lf.Traces(time, np.sin(time * (1 + theta[:, :1]))[:, None], ("V",))


def build(outputs=2, name="toy"):
    columns = (lf.Column("rate", "Hz"), lf.Column("cv"))
    if outputs != 2:
        raise ValueError(f"Expected outputs of 2; got {outputs}.")
    return lf.Model(
        prior=lf.Prior(a=lf.Uniform(-1, 1, unit="mS/cm2"), b=lf.LogUniform(0.1, 10)),
        simulator=lf.BatchSimulator(simulate, outputs=columns, block=8),
        name=name,
        traces=traces,
        targets={"cell_7": lf.Observation("cell 7, slice 2", rate=0.5, cv=0.4)},
    )


model = build()
number = 3
'''

METHOD = """
[method]
name = "NPE"
simulations = 400
[method.density]
kind = "maf"
layers = 1
width = 8
depth = 1
[method.training]
epochs = 5
"""

STUDY = f"""
model = "my_model.py:model"
target = "cell_7"
seed = 3
check_samples = 60
{METHOD}
"""


def lay_out(folder, model=MODEL, study=STUDY):
    (folder / "my_model.py").write_text(textwrap.dedent(model))
    (folder / "study.toml").write_text(study)
    return folder
