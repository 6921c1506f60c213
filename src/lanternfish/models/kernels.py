"""Building blocks of the compiled (Numba) integrators: float32 exp, log, counter-based noise.

Every function takes and returns a float32, or a ``Vector`` of them (see ``simd``), without a
branch: LLVM turns a loop over lanes of the first into vector instructions.

    exp x = 2^n e^r,    n = round(x log2 e),  |r| <= ln(2)/2     (e^r by a polynomial of degree 7)
    ln  x = e ln 2 + ln m,    x = m 2^e,  2/3 <= m < 4/3         (ln m by a polynomial of degree 11)

Noise has no state. The number drawn is a hash of a 64-bit key, which belongs to the simulation, and
of a 32-bit counter, which says which number of its stream it is. A simulation therefore draws the
same noise whatever the batch, the lane, the thread or the order in which it runs.

    r_i = hash(key, i),    (z_2c, z_2c+1) = sqrt(-2 ln u) (cos a, sin a)         (Box & Muller 1958)

    key0, key1 = seed_key(np.uint64(seed))                   # once per simulation
    for step in range(steps):
        z = normal(np.uint32(step), key0, key1)              # one standard normal
        z0, z1 = normal_pair(np.uint32(step), key0, key1)    # two, for little more than one

``normal(c, ...)`` is the first of ``normal_pair(c, ...)``. The largest |z| is 5.9, the period 2^31.
The hash is `triple32` of Wellons (https://nullprogram.com/blog/2018/07/31/), keyed between its
rounds; the seed is spread over the key by the finaliser of SplitMix64 (Steele, Lea & Flood 2014).
The polynomials are those of the Cephes library (Moshier) and, for sine and cosine, least-squares
fits.

Nothing here uses fast-math, so these functions give the same bits on every lane and machine.
``FLAGS`` adds it for kernels that do not ask this of themselves. It leaves out re-association:
rounding by adding 1.5 2^23 and subtracting it again, which is four times cheaper than a floor that
passes through int64, would be optimised away by it.
"""

import numpy as np
from numba import njit

from lanternfish.models.simd import (
    exclusive_or,
    fma,
    hash_round,
    high_bits,
    mantissa_exponent,
    maximum,
    minimum,
    sign_from,
    sqrt,
    times_power_of_two,
    wrapping_add,
)

FASTMATH = {"nnan", "ninf", "nsz", "arcp", "contract"}
FLAGS = {"fastmath": FASTMATH, "error_model": "numpy", "nogil": True, "cache": True}
EXACT = {"error_model": "numpy", "nogil": True, "cache": True}

F = np.float32
U = np.uint32

LOG2_E = F(1.4426950408889634)
LN_2_HIGH = F(0.693359375)  # ln 2 in two parts: n LN_2_HIGH is exact for |n| < 2^12
LN_2_LOW = F(-2.12194440e-4)
ROUND = F(12582912.0)  # 1.5 2^23: adding it leaves the nearest integer in the low bits
EXP_MIN = F(-87.0)
EXP_MAX = F(88.0)


@njit(**EXACT, forceinline=True)
def fast_exp(x):
    """exp(x) of a float32, relative error below 2e-7; x is clipped to [-87, 88]."""
    x = minimum(maximum(x, EXP_MIN), EXP_MAX)
    shifted = fma(x, LOG2_E, ROUND)
    n = shifted - ROUND
    r = fma(n, -LN_2_LOW, fma(n, -LN_2_HIGH, x))
    square = r * r
    high = fma(r, F(1.9875691500e-4), F(1.3981999507e-3))
    middle = fma(r, F(8.3334519073e-3), F(4.1665795894e-2))
    low = fma(r, F(1.6666665459e-1), F(5.0000001201e-1))
    p = fma(fma(fma(high, square, middle), square, low), square, r) + F(1.0)
    return times_power_of_two(p, shifted)


@njit(**EXACT, forceinline=True)
def fast_log(x):
    """ln(x) of a positive, normal float32: error below 2e-7, absolute near 1, else relative."""
    mantissa, n = mantissa_exponent(x)
    m = mantissa - F(1.0)
    square = m * m
    high = fma(fma(m, F(7.0376836292e-2), F(-1.1514610310e-1)), m, F(1.1676998740e-1))
    middle = fma(fma(m, F(-1.2420140846e-1), F(1.4249322787e-1)), m, F(-1.6668057665e-1))
    low = fma(fma(m, F(2.0000714765e-1), F(-2.4999993993e-1)), m, F(3.3333331174e-1))
    cube = square * m
    p = fma(fma(high, cube, middle), cube, low)
    p = fma(p, cube, fma(n, LN_2_LOW, square * F(-0.5)))
    return fma(n, LN_2_HIGH, p + m)


@njit(**EXACT)
def seed_key(seed):
    """The 64-bit key of a simulation, as two uint32, from its uint64 seed."""
    z = np.uint64(seed) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return U(z & np.uint64(0xFFFFFFFF)), U(z >> np.uint64(32))


@njit(**EXACT, forceinline=True)
def random_bits(i, key0, key1):
    """Number i (uint32) of the stream of a key: 32 random bits."""
    x = hash_round(wrapping_add(key0, i), U(17), U(0xED5AD4BB))
    x = hash_round(exclusive_or(x, key1), U(11), U(0xAC4C1B51))
    x = hash_round(x, U(15), U(0x31848BAB))
    return hash_round(x, U(14), U(1))


@njit(**EXACT, forceinline=True)
def uniform(i, key0, key1):
    """Number i of a key's stream as a float32, uniform in (0, 1); normals use the same bits."""
    return fma(high_bits(random_bits(i, key0, key1)), F(2.0**-24), F(2.0**-25))


@njit(**EXACT, forceinline=True)
def normal_pair(c, key0, key1):
    """Pair c (uint32) of a key's stream of standard normals, float32; it uses bits 2c and 2c + 1.

    The angle covers half a circle, pi v with |v| < 1/2, and a random sign of the radius the other.
    """
    twice = wrapping_add(c, c)
    first = random_bits(twice, key0, key1)
    second = random_bits(wrapping_add(twice, U(1)), key0, key1)
    u = fma(high_bits(first), F(2.0**-24), F(2.0**-25))
    v = fma(high_bits(second), F(2.0**-24), F(2.0**-25 - 0.5))
    radius = sign_from(sqrt(maximum(fast_log(u) * F(-2.0), F(0.0))), first)
    w = v * v
    sine = fma(w, F(-0.55946248), F(2.54401083))
    sine = fma(fma(sine, w, F(-5.16740681)), w, F(3.14159027))
    cosine = fma(w, F(0.21968962), F(-1.33187667))
    cosine = fma(fma(fma(cosine, w, F(4.05841139)), w, F(-4.93479283)), w, F(1.0))
    return radius * cosine, radius * (sine * v)


@njit(**EXACT, forceinline=True)
def normal(c, key0, key1):
    """Standard normal c (uint32) of a key's stream, float32: the first of ``normal_pair``."""
    return normal_pair(c, key0, key1)[0]
