"""What is typed where it is measured how soon a suggestion is seen: the same lines in every editor."""

SHOP = """from dataclasses import dataclass


@dataclass
class Item:
    name: str
    price: float
    count: int = 1


def total(items):
    result = 0
    for item in items:
        result += item.price * item.count
    return result


"""
LINES = [
    "def cheapest(items):\n    return ", "def names(items):\n    return [", "def find(items, name):\n    for item in ",
    "def largest(numbers):\n    best = ", "class Cart:\n    def __init__(self, items):\n        self.",
    "items = [Item(", "import ", "from typing import ", "def add(a, b):\n    return ", "with open(", "print(",
    "def is_empty(items):\n    return len(", "try:\n    total(", "if __name__ == ", "for item in ",
    "assert total([]) == ", "def clear(items):\n    items.", "def count(items):\n    return sum(",
    "def is_free(item):\n    return item.", "def mean(numbers):\n    return ",
]  # fmt: skip
WARM = ["value = ", "other = [", "third = total("]
"""Typed before, since the first one waits for the model."""
