"""Points, vectors and the few operations on them that a plotting program needs."""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Vector:
    x: float
    y: float

    def __add__(self, other: "Vector") -> "Vector":
        return Vector(self.x + other.x, self.y + other.y)

    def __sub__(self, other: "Vector") -> "Vector":
        return Vector(self.x - other.x, self.y - other.y)

    def __mul__(self, factor: float) -> "Vector":
        return Vector(self.x * factor, self.y * factor)

    def __neg__(self) -> "Vector":
        return Vector(-self.x, -self.y)

    def dot(self, other: "Vector") -> float:
        return self.x * other.x + self.y * other.y

    @property
    def length(self) -> float:
        return math.hypot(self.x, self.y)

    def rotated(self, angle: float) -> "Vector":
        """This vector turned by an angle in radians, counter-clockwise."""
        <CURSOR>

    def distance(self, other: "Vector") -> float:
        return (self - other).length


def bounding_box(points: Iterable[Vector]) -> tuple[Vector, Vector]:
    points = list(points)
    low = Vector(min(point.x for point in points), min(point.y for point in points))
    high = Vector(max(point.x for point in points), max(point.y for point in points))
    return low, high


def path_length(points: list[Vector]) -> float:
    return sum(first.distance(second) for first, second in zip(points, points[1:]))
