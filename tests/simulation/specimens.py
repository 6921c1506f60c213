"""Simulators to test with: good ones, and each kind of bad one. Children import NumPy alone."""

import ctypes
import os
import signal
import sys
import time

import numpy as np

BAD_ABOVE = 0.6  # parameter ``a`` above which a bad simulator does its bad thing: 20 % of the prior


def walk(theta, rng):
    steps = rng.normal(theta["a"], 1.0, 20)
    return {"cv": float(np.std(steps) * theta["b"]), "rate": float(np.sum(steps))}


def batch(theta, seeds):
    noise = np.array([np.random.default_rng(s).normal() for s in seeds.tolist()])
    return np.stack([theta[:, 0] + noise, np.sin(theta[:, 1])], axis=1)


def _unless_bad(theta, rng, bad):
    if theta["a"] > BAD_ABOVE:
        return bad()
    return [theta["a"], rng.normal()]


def raises(theta, rng):
    return _unless_bad(theta, rng, lambda: 1 / 0)


def leaves(theta, rng):
    return _unless_bad(theta, rng, lambda: os._exit(3))


def quits(theta, rng):
    return _unless_bad(theta, rng, lambda: sys.exit("enough"))


def segfaults(theta, rng):
    return _unless_bad(theta, rng, lambda: ctypes.string_at(0))


def hangs(theta, rng):
    return _unless_bad(theta, rng, lambda: time.sleep(1000))


def naps(theta, rng):
    time.sleep(0.3)
    return [theta["a"], rng.normal()]


def hangs_in_c(theta, rng):
    """A hang that holds the interpreter's lock and hears no signal that can be blocked."""

    def bad():
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        return ctypes.PyDLL(None).sleep(1000)

    return _unless_bad(theta, rng, bad)


def is_not_a_number(theta, rng):
    return _unless_bad(theta, rng, lambda: [1.0, float("nan")])


def is_infinite(theta, rng):
    return _unless_bad(theta, rng, lambda: [float("inf"), 1.0])


def wrong_shape(theta, rng):
    return _unless_bad(theta, rng, lambda: [1.0, 2.0, 3.0])


def wrong_names(theta, rng):
    return _unless_bad(theta, rng, lambda: {"rate": 1.0, "sv": 2.0})


def returns_nothing(theta, rng):
    return _unless_bad(theta, rng, lambda: None)


def returns_text(theta, rng):
    return _unless_bad(theta, rng, lambda: "fast")


def global_noise(theta, rng):
    import random

    return [np.random.normal(), random.random()]  # noqa: NPY002


def prints(theta, rng):
    print("hello from Python")
    ctypes.CDLL(None).puts(b"hello from C")
    os.system("echo hello from a program")
    return [theta["a"], rng.normal()]


def reads_input(theta, rng):
    return [theta["a"], float(len(sys.stdin.read()))]


def forks(theta, rng):
    """A copy of the process that comes back like the original."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    return [theta["a"], rng.normal()]


def wears_out(theta, rng):
    """Crashes in a process that has run five others: not this simulation's fault."""
    wears_out.runs = getattr(wears_out, "runs", 0) + 1
    if wears_out.runs > 5:
        os._exit(1)
    return [theta["a"], rng.normal()]


def always_raises(theta, rng):
    raise RuntimeError(f"no such mechanism at {theta['a']}")
