"""The arrays of a training batch while they are filled: streams, and canvases hung into them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from model.loss import Batch
from model.network import Canvases

CLEAN_WEIGHT = 0.1
"""Loss weight of canvas tokens that are visible and right: learn to keep them, without drowning the rest."""

Ints = npt.NDArray[np.int64]


class Rows:
    """The arrays of one batch while they are filled."""

    def __init__(self, count: int, length: int, width: int) -> None:
        self.width = width
        self.ids, self.targets = (np.zeros((count, length), dtype=np.int64) for _ in range(2))
        self.weights = np.zeros((count, length), dtype=np.float32)
        self.lengths = np.zeros((count, length, 2), dtype=np.int64)
        self.length_weights = np.zeros((count, length, 2), dtype=np.float32)
        self.canvas_ids, self.previous, self.position, self.canvas_targets = (
            np.zeros((count, width), dtype=np.int64) for _ in range(4)
        )
        self.anchor = np.ones((count, width), dtype=np.int64)
        self.segment = np.full((count, width), -1, dtype=np.int64)
        self.canvas_weights = np.zeros((count, width), dtype=np.float32)
        self.wrong, self.edit_weights = (np.zeros((count, width), dtype=np.float32) for _ in range(2))
        self.inserts = np.zeros((count, width), dtype=np.int64)
        self.masked = np.zeros((count, width), dtype=np.bool_)

    def hang(
        self,
        row: int,
        used: int,
        shown: Sequence[int] | Ints,
        glue: Sequence[int] | Ints,
        start: int,
        before: int,
        *,
        segment: int,
    ) -> None:
        """A canvas of the tokens ``shown`` and ``glue``, from place ``used`` on, which sees the stream up to ``start``;
        ``before`` is the stream's last token there."""
        n, width = len(shown), len(shown) + len(glue)
        self.canvas_ids[row, used : used + n] = shown
        self.canvas_ids[row, used + n : used + width] = glue
        self.previous[row, used] = before
        self.previous[row, used + 1 : used + width] = self.canvas_ids[row, used : used + width - 1]
        self.position[row, used : used + width] = start + np.arange(width)
        self.anchor[row, used : used + width] = start
        self.segment[row, used : used + width] = segment

    def batch(self) -> Batch:
        t = torch.from_numpy
        canvases = Canvases(t(self.canvas_ids), t(self.previous), t(self.position), t(self.anchor), t(self.segment))
        return Batch(
            ids=t(self.ids),
            targets=t(self.targets),
            weights=t(self.weights),
            canvases=canvases,
            canvas_targets=t(self.canvas_targets),
            canvas_weights=t(self.canvas_weights),
            lengths=t(self.lengths),
            length_weights=t(self.length_weights),
            wrong=t(self.wrong),
            inserts=t(self.inserts),
            edit_weights=t(self.edit_weights),
            masked=t(self.masked),
        )
