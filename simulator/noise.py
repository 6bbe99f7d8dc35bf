"""Smooth randomness that depends on nothing but a seed and a time."""

import math

MASK = (1 << 64) - 1


def at(seed: int, seconds: float, period: float) -> float:
    """Return a smooth function of time in 0..1 whose bumps are about `period` seconds wide."""
    index = math.floor(seconds / period)
    part = seconds / period - index
    part = part * part * (3 - 2 * part)
    return _lattice(seed, index) * (1 - part) + _lattice(seed, index + 1) * part


def _lattice(seed: int, index: int) -> float:
    """Return the random number that belongs to one lattice point (the mixer of SplitMix64)."""
    mixed = (seed * 0x9E3779B97F4A7C15 + index * 0xD1B54A32D192ED03) & MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
    return (mixed ^ (mixed >> 31)) / 2**64
