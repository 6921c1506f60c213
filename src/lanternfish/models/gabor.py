"""A Gabor receptive field, seen through the spikes that white noise evokes.

    z_t ~ Poisson(dt exp(h . v_t + b)),    v_t ~ N(0, I) of 41 x 41 pixels, 12,000 frames of 25 ms,
    h   = g exp(-(x'^2 + r^2 y'^2) / (2 sigma^2)) cos(2 pi f x' + phi) / sqrt(V / (4 dA)),
    x'  = (x - x_0) cos psi + (y - y_0) sin psi,    y' = -(x - x_0) sin psi + (y - y_0) cos psi,
    sigma = sqrt(2 ln 2) / (2 pi f) (2^w + 1) / (2^w - 1),
    V   = 4 pi sigma^2 / r (1/2 + e^(-(2 pi f sigma)^2) cos 2 phi),

on pixels from -1 to 1 either way. The parameters are those in which the prior is normal: logs of
gain g, frequency f, aspect ratio r and width w, logits of phase phi in (0, pi), angle psi in
(0, 2 pi) and place x_0, y_0 in (-1, 1); and the bias b.

Statistics: the spike-triggered average less the average of all frames, as an image, and the number
of spikes; without spikes there is none. Only what the cell sees is drawn: along h the projections
of all frames, and across it the sum with the weights c_t = z_t / sum z - 1 / T that the statistic
takes,

    sum_t c_t v_t = h/|h| sum_t c_t p_t + sqrt(sum_t c_t^2) (I - h h^T / |h|^2) xi,

which has the law of the statistic exactly and costs 14,000 random numbers instead of 20 million.

Reference: Gonçalves et al. (2020), eLife 9:e56261, "Gabor receptive field", as its published code
reads: with dt in the rate and the filter divided by its volume.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array

from lanternfish.core import Column, Image, JaxSimulator, Model, Normal, Prior

PIXELS = 41
FRAMES = 12_000
DT = 0.025  # s
TOO_FAST = 1e5  # spikes a frame: beyond this a simulation is invalid

# mean and standard deviation of each parameter
LAWS = {
    "bias": (-0.57, float(np.sqrt(1.63)), "$b$"),
    "log_gain": (0.0, 0.5, r"$\ln g$"),
    "logit_phase": (0.0, 1.9, r"$\mathrm{logit}\,\varphi/\pi$"),
    "log_frequency": (0.0, 0.5, r"$\ln f$"),
    "logit_angle": (0.0, 1.78, r"$\mathrm{logit}\,\psi/2\pi$"),
    "log_ratio": (0.0, 0.5, r"$\ln r$"),
    "log_width": (0.0, 0.5, r"$\ln w$"),
    "logit_x": (0.0, 1.78, r"$\mathrm{logit}\,(x_0+1)/2$"),
    "logit_y": (0.0, 1.78, r"$\mathrm{logit}\,(y_0+1)/2$"),
}
prior = Prior(**{name: Normal(mean, sd, label=label) for name, (mean, sd, label) in LAWS.items()})

# The cell of the paper's figure 3: gain 0.64, frequency 1.8, ratio 0.8, width 2.7; 299 spikes.
CELL = {
    "bias": -0.202179976727683,
    "gain": 0.635893036174612,
    "phase": 0.001,
    "frequency": 1.8,
    "angle": 0.7 + np.pi / 3,
    "ratio": 0.8,
    "width": 2.7,
    "x": 0.3,
    "y": 0.4,
}


def transformed(cell=None) -> dict[str, float]:
    """The parameters of a cell given by bias, gain, phase, frequency, angle, ratio, width, x, y.

    >>> round(transformed(CELL)["log_frequency"], 4)
    0.5878
    """
    cell = CELL if cell is None else cell

    def logit(share: float) -> float:
        return float(np.log(share / (1 - share)))

    return {
        "bias": cell["bias"],
        "log_gain": float(np.log(cell["gain"])),
        "logit_phase": logit(cell["phase"] / np.pi),
        "log_frequency": float(np.log(cell["frequency"])),
        "logit_angle": logit(cell["angle"] / (2 * np.pi)),
        "log_ratio": float(np.log(cell["ratio"])),
        "log_width": float(np.log(cell["width"])),
        "logit_x": logit((cell["x"] + 1) / 2),
        "logit_y": logit((cell["y"] + 1) / 2),
    }


def receptive_field(theta, pixels: int = PIXELS) -> Array:
    """The filter h, shape (pixels, pixels), rows along y."""
    gain, frequency = jnp.exp(theta["log_gain"]), jnp.exp(theta["log_frequency"])
    ratio, width = jnp.exp(theta["log_ratio"]), jnp.exp(theta["log_width"])
    phase = jnp.pi * jax.nn.sigmoid(theta["logit_phase"])
    angle = 2 * jnp.pi * jax.nn.sigmoid(theta["logit_angle"])
    x0, y0 = (2 * jax.nn.sigmoid(theta[name]) - 1 for name in ("logit_x", "logit_y"))
    power = 2.0**width
    sigma = jnp.sqrt(2 * jnp.log(2.0)) / (2 * jnp.pi * frequency) * (power + 1) / (power - 1)
    line = jnp.linspace(-1.0, 1.0, pixels)
    x, y = jnp.meshgrid(line, line)
    along = (x - x0) * jnp.cos(angle) + (y - y0) * jnp.sin(angle)
    across = -(x - x0) * jnp.sin(angle) + (y - y0) * jnp.cos(angle)
    envelope = jnp.exp(-(along**2 + (ratio * across) ** 2) / (2 * sigma**2))
    wave = jnp.cos(2 * jnp.pi * frequency * along + phase)
    damped = jnp.exp(-((2 * jnp.pi * frequency * sigma) ** 2)) * jnp.cos(2 * phase)
    volume = 4 * jnp.pi * sigma**2 / ratio * (0.5 + damped)
    area = (2.0 / (pixels - 1)) ** 2
    return gain * envelope * wave / jnp.sqrt(volume / (4 * area))


def simulate(theta, key, *, pixels: int = PIXELS, frames: int = FRAMES) -> dict[str, Array]:
    """Spike-triggered average (pixels, pixels) and number of spikes of one cell."""
    field = receptive_field(theta, pixels)
    size = jnp.sqrt(jnp.sum(field**2))
    line = field / jnp.maximum(size, 1e-12)
    along, across, counts = jr.split(key, 3)
    projection = jr.normal(along, (frames,))
    rate = DT * jnp.exp(size * projection + theta["bias"])
    spikes = jr.poisson(counts, jnp.minimum(rate, TOO_FAST)).astype(field.dtype)
    total = jnp.sum(spikes)
    weight = spikes / jnp.maximum(total, 1.0) - 1.0 / frames
    noise = jr.normal(across, field.shape)
    noise = noise - line * jnp.sum(line * noise)
    average = line * jnp.sum(weight * projection) + jnp.sqrt(jnp.sum(weight**2)) * noise
    known = (total > 0) & (jnp.max(rate) <= TOO_FAST)
    return {"sta": jnp.where(known, average, jnp.nan), "spikes": jnp.where(known, total, jnp.nan)}


def gabor(pixels: int = PIXELS, frames: int = FRAMES) -> Model:
    """The cell as a model of nine parameters, an image and a number.

    NPE learns from the image through a convolutional embedding by itself.

    Args:
        pixels: of the image, either way.
        frames: of 25 ms.

    Raises:
        ValueError: if an option does not fit.
    """
    if pixels < 4 or frames < 2:
        raise ValueError(f"Expected 4 pixels and 2 frames or more; got {pixels} and {frames}.")
    outputs = (
        Image("sta", (int(pixels), int(pixels)), label="spike-triggered average"),
        Column("spikes", "", "spikes"),
    )
    run = partial(simulate, pixels=int(pixels), frames=int(frames))
    return Model(
        prior=prior,
        simulator=JaxSimulator(run, outputs, lanes=64),
        name="gabor",
        about="A Gabor receptive field in white noise, from its spike-triggered average and its "
        "number of spikes (Gonçalves et al. 2020, eLife 9:e56261).",
    )
