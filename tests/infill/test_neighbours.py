"""Texts from other files: held-out packages as folders, and what a source of such texts is worth."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from infill.engine import Infiller
from infill.evaluate import main
from infill.judge import FILE, SIGNS, Calibration
from infill.neighbours import ALL, NONE, Tried, ask, gain, worth
from infill.tasks import Source, Task
from infill.workspaces import Elsewhere, Workspaces
from model.checkpoint import save_model
from model.config import ModelConfig
from model.network import Network
from model.tokenizer import Tokenizer
from tests.fakes import ScriptedDenoiser

LINE = "index = self.lookup(index, default)"
FILES = [
    Source("pack", "pack/one.py", f"def first(self, index):\n    {LINE}\n    return index\n"),
    Source("pack", "pack/deep/two.py", f"def second(self, index):\n    {LINE}\n    return True\n"),
    Source("other", "other/three.py", "x = 1\n"),
]
START = FILES[0].text.index(LINE) + len("index = self")
TASK = Task("rest", "pack", "pack/one.py", FILES[0].text, START, FILES[0].text.index("\n    return"))


class Neighbour:
    """Finds one whole file beside the task's; or the task's own, which it must not."""

    def __init__(self, path: str = "pack/deep/two.py") -> None:
        self.path = path
        self.asked: list[tuple[str, str, tuple[str, ...]]] = []

    def __call__(self, root: Path, path: str, text: str, at: int, sources: Sequence[str]) -> list[tuple[str, str]]:
        self.asked.append((path, text[:at], tuple(sources)))
        assert text == TASK.prefix + TASK.suffix, "the answer is not in what is asked about"
        return [(self.path, (root / self.path).read_text())] if "near" in sources else []


def elsewhere(find: Neighbour) -> Elsewhere:
    return Elsewhere(("near", "far"), ("near",), find)


def test_a_package_is_a_folder_for_a_while() -> None:
    find = Neighbour()
    with Workspaces(FILES, elsewhere(find)) as workspaces:
        root = workspaces.root("pack")
        assert sorted(p.relative_to(root).as_posix() for p in root.rglob("*.py")) == ["pack/deep/two.py", "pack/one.py"]
        assert workspaces.texts(TASK) == (FILES[1].text,)
        assert workspaces.texts(TASK, ["far"]) == ()
        assert [sources for _, _, sources in find.asked] == [("near",), ("far",)]
        assert find.asked[0][:2] == ("pack/one.py", TASK.prefix)
    assert not root.exists()
    with Workspaces(FILES, None) as nobody:
        assert nobody.texts(TASK) == ()


def test_the_file_itself_is_refused() -> None:
    with Workspaces(FILES, elsewhere(Neighbour("pack/one.py"))) as workspaces:
        with pytest.raises(ValueError, match="may hold the answer"):
            workspaces.texts(TASK)
        assert workspaces.texts(TASK, ["far"]) == ()


def test_every_source_answers_the_same_task() -> None:
    """The model knows nothing of the line; the neighbour has it."""
    denoiser = ScriptedDenoiser(TASK.prefix, "wrong", sharp=0.5)
    infiller = Infiller(denoiser, calibration=Calibration(copies=0, others=4, other_gain=9.0))
    with Workspaces(FILES, elsewhere(Neighbour())) as workspaces:
        tried = list(ask(infiller, TASK, workspaces, elsewhere(Neighbour()), one_line=True))
    assert [one.source for one in tried] == [NONE, "near", "far", ALL]
    assert [one.exact for one in tried] == [False, True, False, True]
    assert [one.changed for one in tried] == [False, True, False, True]
    assert [one.texts for one in tried] == [0, 1, 0, 1]
    rows = {row.source: row for row in worth(tried)}
    assert rows["near"].exact_gain.value == 1.0
    assert rows["far"].exact_gain.value == rows[NONE].exact_gain.value == 0.0
    assert rows["near"].found == 1.0
    assert rows["near"].characters == len(FILES[1].text)


def tried(file: str, source: str, *, exact: bool) -> Tried:
    return Tried(source, "rest", file, file, exact, float(exact), 1.0, 0.0, 1, 9, changed=exact)


def test_an_interval_knows_that_holes_of_a_file_are_alike() -> None:
    apart = gain([(f"f{i}", float(i % 2)) for i in range(100)])
    alike = gain([(f"f{i % 2}", float(i % 2)) for i in range(100)])
    assert apart.value == alike.value == 0.5
    assert 0.35 < apart.low < 0.5 < apart.high < 0.65
    assert (alike.low, alike.high) == (0.0, 1.0)
    assert gain([("f", 0.0)]).low == 0.0
    rows = [tried("a", NONE, exact=False), tried("a", "x", exact=True), tried("b", NONE, exact=True)]
    assert {row.source: row.n for row in worth(rows)} == {NONE: 2, "x": 1}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tokenizer = Tokenizer.train([file.text for file in FILES], vocab_size=340)
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, d_model=32, n_layers=1, n_heads=1, d_ff=32, context=96, max_hole=16
    )
    network = Network(config)
    save_model(folder, network, tokenizer)
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for file in FILES:
        path = tmp_path / "code" / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text)
    return tmp_path / "code"


class Beside:
    """Finds every other file of the package."""

    def __call__(self, root: Path, path: str, text: str, at: int, sources: Sequence[str]) -> list[tuple[str, str]]:
        files = [file.relative_to(root).as_posix() for file in sorted(root.rglob("*.py"))]
        return [(file, (root / file).read_text()) for file in files if file != path] if sources else []


def test_context_calibration_and_quiet_from_the_command_line(
    model: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    around = Elsewhere(("beside",), ("beside",), Beside())
    arguments = ["--model", str(model), "--source", str(source), "--n", "8", "--device", "cpu", "--json"]
    assert main([*arguments, "--quiet"], around) == 2
    assert "hone eval --calibrate" in capsys.readouterr().err
    Calibration(alpha=0.3, other_base=4.0).save(model)

    assert main([*arguments, "--calibrate", "--chances"], around) == 0
    written = json.loads((model / FILE).read_text())
    assert json.loads(capsys.readouterr().out)["chosen"]["calibration"] == written
    assert written["alpha"] == 0.3, "the judge's numbers stay"
    assert written["other_base"] == 4.0
    assert set(written["chance"]) == set(SIGNS), "copies from the files beside are right at times"

    assert main([*arguments, "--quiet"], around) == 0
    groups = json.loads(capsys.readouterr().out)["groups"]
    modes = ("one line", "as the text says", "in a hurry")
    assert groups["all"]["requests"] == sum(groups[f"all, {mode}"]["requests"] for mode in modes)
    assert groups["all"]["quiet"][0]["kept"] == 1.0
    assert groups["all"]["reliability"]

    assert main([*arguments, "--context"], around) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["source"] for row in rows} == {NONE, "beside", ALL}
    found = {row["source"]: row for row in rows if row["kind"] == "rest"}
    assert found["beside"]["exact"] > found[NONE]["exact"], "other files have the same line"


def test_context_needs_somebody_who_looks(model: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--context", "--model", str(model), "--source", str(source)]) == 2
    assert "needs somebody" in capsys.readouterr().err
    assert main(["--context", "--quiet"]) == 2
    assert "one at a time" in capsys.readouterr().err
    assert main(["--chances"]) == 2
    assert "give both" in capsys.readouterr().err
