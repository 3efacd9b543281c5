"""Streams of random numbers: one for each purpose, all of them from a run's seed."""

import numpy as np


def stream(seed: int, purpose: str) -> int:
    """A 64-bit seed for a generator. Those of two purposes or of two seeds are independent.

    The purpose is the key that the stream is spawned with, so a new purpose changes no other stream.
    """
    spawned = np.random.SeedSequence(seed, spawn_key=tuple(purpose.encode()))
    return int(spawned.generate_state(1, np.uint64)[0])
