"""Our own analyses on the platform; they enter by the strangers' door, the entry point.

Nobody imports this room. Its modules import the science only inside of `validate` and `run`.
"""
