"""``hone context``, and what ``hone complete`` sends along."""

import json
from pathlib import Path
from typing import Any

import pytest

from assistant import cli
from assistant.cli import main
from assistant.config import Settings
from assistant.service import Assistant, open_infiller
from assistant.types import Completion, CompletionRequest, CompletionResult
from assistant.workspace.index import folder
from tests.published import make

MAIN = "from shop import price_of\n\n\ndef total(basket):\n    price_of(basket)\n    return \n"
SHOP = 'def price_of(article: str) -> float:\n    """What an article costs."""\n    return 1.0\n'


@pytest.fixture
def project(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (root / ".git").mkdir()
    (root / ".gitignore").write_text("ignored.py\n")
    (root / ".env").write_text("KEY=canary\n")
    (root / "ignored.py").write_text("def price_of(canary): pass\n")
    (root / "shop.py").write_text(SHOP)
    (root / "main.py").write_text(MAIN)
    monkeypatch.chdir(root)
    return root


def as_object(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["context", *arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_it_shows_what_the_model_would_see(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = as_object(capsys, "main.py", "--at", "6:12", "--source", "definitions")
    assert found["prefix"] + found["suffix"] == MAIN
    assert found["prefix"].endswith("return ")
    assert found["workspace"] == str(project)
    assert {"path": "shop.py", "source": "definitions", "text": SHOP.strip()} in found["snippets"]
    assert {"path": "ignored.py", "reason": "ignored by .gitignore"} in found["kept_out"]
    assert {"path": ".env", "reason": "matches '.env' of the built-in list"} in found["kept_out"]
    assert 0 < found["tokens"] <= found["context"]
    assert "canary" not in json.dumps(found)


def test_a_long_file_is_shown_as_it_is_cut(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "main.py").write_text("".join(f"value_{number} = {number}\n" for number in range(500)) + MAIN)
    found = as_object(capsys, "main.py", "--at", "506:12")
    assert found["prefix"].endswith("return ")
    assert "value_499" in found["prefix"]
    assert "value_0 " not in found["prefix"]
    assert found["tokens"] <= found["context"]


@pytest.mark.parametrize("family", ["dreamon", "a2d-qwen2"])
def test_a_published_model_is_shown_what_its_engine_reads(
    project: Path, tmp_path: Path, family: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make(tmp_path, family)
    long = "".join(f"value_{number} = {number}\n" for number in range(500))
    (project / "main.py").write_text(long + MAIN + long)
    found = as_object(capsys, "main.py", "--at", "506:12", "--model", str(model))
    text = (project / "main.py").read_text()
    at = len(long) + MAIN.index("return ") + len("return ")
    assert text[:at].endswith(found["prefix"])
    assert text[at:].startswith(found["suffix"])
    assert "value_0 " not in found["prefix"]
    assert found["tokens"] <= found["context"]
    assistant = Assistant(lambda: open_infiller(Settings(model=model, dtype="float32")))
    answer = assistant.complete(CompletionRequest(text, at, language="python", budget_ms=1, steps=1))
    assert answer.context_tokens == found["tokens"]


def test_it_is_readable(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["context", "main.py", "--at", "6:12", "--source", "definitions"]) == 0
    said = capsys.readouterr().out
    for part in (
        "main.py:6:12",
        "definitions  shop.py",
        "    def price_of(article",
        "return ▏",
        "ignored by .gitignore",
    ):
        assert part in said, part
    assert said.index("definitions  shop.py") < said.index("return ▏") < said.index("ignored by")


def test_only_the_sources_that_are_wanted(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = as_object(capsys, "main.py", "--at", "6:12", "--source", "imports")
    assert {one["source"] for one in found["snippets"]} == {"imports"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([".env", "--at", "1:1"], ".env never enters a prompt: matches '.env' of the built-in list"),
        (["ignored.py", "--at", "1:1"], "ignored by .gitignore"),
        (["main.py", "--at", "1:1", "--exclude", "main.*"], "'main.*' of the option exclude"),
        (["none.py", "--at", "1:1"], "none.py does not exist"),
        (["main.py", "--at", "99:1"], "line 99 is outside"),
        (["main.py", "--at", "1:1", "--source", "everything"], "--source must be one of"),
        (["main.py"], "hone context FILE --at"),
        (["-", "--at", "1:1"], "not stdin"),
        (["main.py", "--at", "1:1", "--model", "."], "is no model folder"),
    ],
)
def test_errors_are_one_line(
    project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert main(["context", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err
    assert said.err.count("\n") == 1
    assert "canary" not in said.err


def test_a_file_in_no_workspace(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "main.py").write_text(MAIN)
    found = as_object(capsys, str(root / "main.py"), "--at", "6:12")
    assert found["workspace"] is None
    assert found["snippets"] == []
    assert not folder().exists()


def test_the_index_can_be_removed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    as_object(capsys, "main.py", "--at", "6:12")
    assert main(["context", "--forget", str(project)]) == 0
    assert list(folder().iterdir()) == []
    assert main(["context", "--forget", str(project)]) == 1


class Asked:
    """Stands in for whoever answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests: list[CompletionRequest] = []
        monkeypatch.setattr(cli, "_answer", self.answer)

    def answer(self, request: CompletionRequest, settings: Any, *, watch: bool) -> CompletionResult:
        self.requests.append(request)
        found = Completion("1", request.start, request.start, 0.9, 0.9, "valid", 1, "canvas")
        return CompletionResult((found,), 1, 1)


def test_complete_sends_along_what_helps(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    (project / "shop.py").write_text(SHOP + MAIN)  # what is alike in a file that counts as open
    assert main(["complete", "main.py", "--at", "6:12"]) == 0
    assert main(["complete", "main.py", "--at", "6:12", "--context", "never"]) == 0
    with_context, without = asked.requests
    assert any("def price_of(article" in one.text for one in with_context.extra)
    assert without.extra == ()
    assert "canary" not in repr(asked.requests)


@pytest.mark.parametrize("more", [[], ["--context", "never"]])
def test_complete_refuses_what_the_gate_keeps_out(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    asked = Asked(monkeypatch)
    assert main(["complete", ".env", "--at", "1:1", *more]) == 2
    assert "never enters a prompt" in capsys.readouterr().err
    assert asked.requests == []


def test_the_users_globs_come_from_the_settings_too(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HONE_EXCLUDE", "shop.*,*.gen.py")
    found = as_object(capsys, "main.py", "--at", "6:12")
    assert found["snippets"] == []
    assert {"path": "shop.py", "reason": "matches 'shop.*' of the option exclude"} in found["kept_out"]
