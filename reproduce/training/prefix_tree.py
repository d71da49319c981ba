"""The tree that the rows of a batch form where they begin alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PrefixTree:
    """The tree of all beginnings of some rows of tokens: a node for each distinct beginning.

    Nodes of a path, the distinct rows, are numbered in the order of its tokens; those that two rows share belong to
    the path that comes first.
    """

    tokens: NDArray[np.int64]
    """Last token of each node, (nodes,)."""
    depth: NDArray[np.int64]
    """Tokens before it, (nodes,)."""
    parent: NDArray[np.int64]
    """Node of the beginning without its last token, (nodes,); 0 where there is none."""
    path: NDArray[np.int64]
    """Nodes of each path, (paths, longest); 0 behind its end."""
    owner: NDArray[np.int64]
    """Path that each node belongs to, (nodes,)."""
    node_of: NDArray[np.int64]
    """Node of each token of each row, (rows, longest); 0 behind its end."""


def prefix_tree(rows: list[NDArray[np.int64]]) -> PrefixTree:
    """The tree of rows of at least one token each."""
    lengths = np.array([len(row) for row in rows])
    padded = np.full((len(rows), int(lengths.max())), -1, dtype=np.int64)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = np.concatenate(rows)
    order = np.lexsort(padded.T[::-1])
    ordered, within = padded[order], np.arange(padded.shape[1]) < lengths[order, None]
    # In lexicographic order a row shares its longest known beginning with the row before it.
    differs = np.ones(ordered.shape, dtype=bool)
    differs[1:] = np.logical_or.accumulate(ordered[1:] != ordered[:-1], axis=1)
    new = differs & within
    node = np.where(new, np.cumsum(new).reshape(new.shape) - 1, 0)
    # Nodes are numbered row by row, so the latest node of a column is the largest so far.
    node = np.where(within, np.maximum.accumulate(node, axis=0), 0)
    line, depth = np.nonzero(new)
    owns = new.any(axis=1)
    node_of = np.empty_like(node)
    node_of[order] = node
    return PrefixTree(
        tokens=ordered[line, depth],
        depth=depth,
        parent=np.where(depth > 0, node[line, np.maximum(depth - 1, 0)], 0),
        path=node[owns],
        owner=(np.cumsum(owns) - 1)[line],
        node_of=node_of,
    )
