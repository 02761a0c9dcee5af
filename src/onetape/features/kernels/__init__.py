"""Columns of single features, computed otherwise than by a loop over `update`, to the same bits.

A loop over `update` takes each bar by itself: the compiler can't work on four at once, and every
bar asks whether its block is full. A kernel does the same additions in the same order, on chunks,
so there is nothing that a feature's version would have to tell. `KERNELS` has them by class, for
instances of exactly that class; a feature without one is computed by the loop.

Importing this package imports Numba.
"""

from onetape.features.kernels.registry import KERNELS

__all__ = ["KERNELS"]
