"""The page about published models is current."""

from docs.models import PAGE, filled


def test_the_tables_are_current() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert filled(page) == page, "run `python docs/models.py`"
    assert filled(page.replace("`dreamon-7b`", "`dream-on`")) == page
