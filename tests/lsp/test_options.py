from pathlib import Path

import pytest

from lsp.options import OPTIONS, Options, read_options, table

ROOT = Path(__file__).resolve().parents[2]
BAD = [
    ("enabled", "yes"), ("budgetMs", 5), ("budgetMs", True), ("budgetMs", float("nan")), ("debounceMs", "0"),
    ("maxTokens", 1.5), ("maxTokens", float("inf")), ("alternatives", 17), ("ahead", None.__class__), ("ahead", 1),
    ("completion", "yes"), ("completion", ["on"]), ("exclude", "*.py"), ("exclude", [1]), ("exclude", {"a": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), BAD)
def test_a_bad_value_is_told_and_replaced(key: str, value: object) -> None:
    options, (complaint,) = read_options(("initializationOptions", {key: value}))
    assert options == Options()
    assert complaint.startswith(f"initializationOptions.{key} must be ")
    assert "is used instead" in complaint


@pytest.mark.parametrize("source", [None, {}, [], {"hone": {}}])
def test_nothing_is_fine(source: object) -> None:
    assert read_options(("settings", source)) == (Options(), [])


def test_later_sources_win_and_editors_may_wrap_them() -> None:
    options, complaints = read_options(
        ("initializationOptions", {"maxTokens": 8, "ahead": False, "exclude": {}}),
        ("settings", {"hone": {"maxTokens": 9.0, "exclude": ["*.gen.py"]}}),
    )
    assert complaints == []
    assert options == Options(max_tokens=9, ahead=False, exclude=("*.gen.py",))
    assert isinstance(options.max_tokens, int)


@pytest.mark.parametrize("source", [3, "x", ["x"], {"hone": 3}])
def test_what_is_no_object_is_told(source: object) -> None:
    options, complaints = read_options(("settings", source))
    assert options == Options()
    assert len(complaints) == 1


def test_the_table_in_the_documentation_is_current() -> None:
    page = (ROOT / "docs/lsp.md").read_text(encoding="utf-8")
    assert table() in page, "paste the output of: python -c 'from lsp.options import table; print(table())'"
    assert all(f"`{option.key}`" in page for option in OPTIONS)
