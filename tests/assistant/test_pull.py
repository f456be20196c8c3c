"""`hone model pull` against a server that speaks the hub's API, through the hub's own client."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from assistant import checkpoints, hub, modelcommand, pull, store
from assistant.cli import main
from assistant.config import load_settings
from assistant.known import KNOWN
from model.published.registry import FAMILIES, family_of
from tests.assistant.hubserver import TOKEN, Hub, Repo, serving
from tests.published import make

REPO = "lab/Tiny-Diffusion-0.1B"
NAME = "Tiny-Diffusion-0.1B"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a repository with a tiny model, and others that nobody wants."""
    path = make(tmp_path_factory.mktemp("published"), "a2d-qwen2")
    files = {one.name: one.read_bytes() for one in path.iterdir()}
    wanted = {
        "README.md": b"---\nlicense: apache-2.0\n---\n# Tiny\n",
        "LICENSE": b"Do as you like, \x1b[31mred.",
    }
    unwanted = {
        "modeling_tiny.py": b"raise SystemExit('run')",
        "pytorch_model.bin": b"\x80\x04pickle",
        "ar.ckpt": b"\x80\x04pickle",
        ".gitattributes": b"*.bin filter=lfs",
        "original/model.safetensors": b"other",
        "model.fp16.safetensors": b"other",
        "picture.png": b"PNG",
    }
    return files | wanted | unwanted


@pytest.fixture
def models(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HONE_MODELS", str(home / "models"))
    return home / "models"


@pytest.fixture
def server(models: Path, tiny: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with the tiny model on it."""
    monkeypatch.setattr(hub, "WAIT_S", 0.0)
    monkeypatch.setattr(time, "sleep", lambda _: None)  # the client's own waiting
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # read when it is imported; CI says so
    with serving() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        found.repos[REPO] = Repo(dict(tiny))
        yield found


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_model_is_pulled_with_what_is_needed_and_a_record(
    server: Hub, models: Path, tiny: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "pull", REPO]) == 0
    assert capsys.readouterr().out.startswith(f"{NAME} is installed: ")
    wanted = ["LICENSE", "README.md", "config.json", "model.safetensors", "tokenizer.json"]
    assert names(models / NAME) == sorted([*wanted, "hone.json"])
    assert sorted(set(server.fetched)) == sorted(wanted)
    assert all((models / NAME / name).read_bytes() == tiny[name] for name in wanted)
    [one] = store.installed()
    assert (one.record.repo, one.record.revision) == (REPO, server.repos[REPO].commit)
    assert (one.record.licence, one.record.accepted, one.record.family) == ("apache-2.0", None, "a2d-qwen2")
    assert not [trouble for _, trouble in store.verify(one.path, one.record) if trouble]
    assert names(models) == [NAME]
    assert main(["model", "use", NAME]) == 0
    assert load_settings().model == models / NAME
    capsys.readouterr()
    assert main(["model", "info", NAME, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["family"] == "a2d-qwen2"
    assert facts["needs"]["float32"] > facts["needs"]["bfloat16"]


def test_a_pulled_model_answers_by_its_name(server: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "pull", REPO]) == 0
    file = tmp_path / "a.py"
    file.write_text("def area(width, height):\n    return \n", encoding="utf-8")
    words = ["complete", str(file), "--at", "2:12", "--daemon", "never", "--context", "never", "--max-tokens", "4"]
    capsys.readouterr()
    code = main([*words, "--model", NAME, "--dtype", "float32", "--json"])
    shown = capsys.readouterr()
    if code == 0:  # it has learned nothing: what it writes may be worth nothing, and is then not shown
        assert json.loads(shown.out)["file"] == str(file)
    else:
        assert code == 1
        assert "no answer: " in shown.err


def test_the_same_commit_is_not_pulled_twice_and_a_newer_one_takes_its_place(
    server: Hub, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "pull", REPO]) == 0
    server.asked.clear()
    assert main(["model", "pull", REPO]) == 0
    assert f"{NAME} is {REPO} at {server.repos[REPO].commit[:7]} already" in said(capsys)
    assert server.asked == []
    first = server.repos[REPO]
    server.old[first.commit] = first
    server.repos[REPO] = Repo(first.files | {"README.md": b"newer"})
    assert main(["model", "pull", REPO]) == 0
    assert (models / NAME / "README.md").read_bytes() == b"newer"
    assert store.read_record(models / NAME).revision == server.repos[REPO].commit
    assert main(["model", "pull", REPO, "--revision", first.commit]) == 0
    assert store.read_record(models / NAME).revision == first.commit
    assert (models / NAME / "README.md").read_bytes() == first.files["README.md"]
    assert names(models) == [NAME]


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_that_is_cut_is_taken_up_where_it_was(server: Hub, models: Path, reset: bool) -> None:
    size = len(server.repos[REPO].files["model.safetensors"])
    third = size // 3 // 1000 * 1000
    server.cuts, server.reset = [third, third], reset
    assert main(["model", "pull", REPO]) == 0
    ranges = [asked for path, asked in server.asked if path.endswith("model.safetensors")]
    assert len(ranges) == 3
    assert ranges[0] is None
    if not reset:  # of what a reset connection had sent, some may be lost
        assert ranges[1:] == [f"bytes={third}-", f"bytes={2 * third}-"]
    assert not [trouble for _, trouble in store.verify(models / NAME, store.read_record(models / NAME)) if trouble]


def test_a_server_that_does_not_know_ranges_sends_it_all_again(server: Hub, models: Path) -> None:
    server.cuts, server.deaf = [1000], True
    assert main(["model", "pull", REPO]) == 0
    assert (models / NAME / "model.safetensors").read_bytes() == server.repos[REPO].files["model.safetensors"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_pull_that_was_killed_or_stopped_goes_on(server: Hub, models: Path, how: signal.Signals) -> None:
    size = len(server.repos[REPO].files["model.safetensors"])
    server.cuts = [-(size // 2)]
    # Pieces of the client's usual size would hold all of this file.
    code = "import sys, huggingface_hub.constants as c, assistant.cli as m; c.DOWNLOAD_CHUNK_SIZE = 1000; m.main()"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code.replace("m.main()", "sys.exit(m.main())"), "model", "pull", REPO]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        begun = models / f"{NAME}.partial"
        while not any(path.stat().st_size > size // 3 for path in begun.glob("model.safetensors.*")):
            assert process.poll() is None
            server.stall.wait(0.05)
        process.send_signal(how)
        _, complaint = process.communicate()
    server.stall.set()
    assert process.returncode == (130 if how == signal.SIGINT else -how)
    assert "Traceback" not in complaint
    assert names(models) == [f"{NAME}.partial"]
    assert store.installed() == []
    server.asked.clear()
    assert main(["model", "pull", REPO]) == 0
    assert names(models) == [NAME]
    assert "config.json" not in server.fetched, "what was there is not fetched again"
    [begin] = [asked for path, asked in server.asked if path.endswith("model.safetensors")]
    assert int(str(begin).removeprefix("bytes=").removesuffix("-")) > size // 3
    assert not [trouble for _, trouble in store.verify(models / NAME, store.read_record(models / NAME)) if trouble]


@pytest.mark.parametrize("at", ["a file", "the record"])
def test_a_disk_that_is_full_in_the_middle_is_one_sentence_and_what_has_come_is_kept(
    server: Hub, models: Path, at: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    written = Path.write_text

    def write_text(path: Path, *rest: Any, **more: Any) -> int:
        if path.name == "hone.json":
            raise full
        return written(path, *rest, **more)

    def http_get(url: str, stream: Any, **_: Any) -> None:
        stream.write(server.repos[REPO].files[url.rpartition("/")[2]][:500])
        raise full

    with monkeypatch.context() as now:
        if at == "a file":
            now.setattr(hub, "http_get", http_get)
        else:
            now.setattr(Path, "write_text", write_text)
        assert main(["model", "pull", REPO]) == 2
    complaint = said(capsys).splitlines()[-1]
    assert complaint.startswith("hone: ")
    assert "No space left on device" in complaint
    assert store.installed() == []
    assert main(["model", "pull", REPO]) == 0


def test_what_was_begun_is_gone_on_with(server: Hub, models: Path) -> None:
    files = server.repos[REPO].files
    gathered = store.partial(NAME)
    described = next(one for one in server.repos[REPO].described(REPO)["siblings"] if "lfs" in one)
    begun = gathered / f"model.safetensors.{described['lfs']['sha256'][:16]}{hub.BEGUN}"
    begun.write_bytes(files["model.safetensors"][:5000])
    assert main(["model", "pull", REPO]) == 0
    assert (f"{REPO}/model.safetensors", "bytes=5000-") in server.asked
    assert (models / NAME / "model.safetensors").read_bytes() == files["model.safetensors"]


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_wrong_checksum_installs_nothing_and_is_fetched_again(
    server: Hub, models: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.false = {name}
    assert main(["model", "pull", REPO]) == 2
    assert f"{name} of {REPO} does not have the " in said(capsys)
    assert store.installed() == []
    assert not (models / NAME).exists()
    server.false = set()
    assert main(["model", "pull", REPO]) == 0
    assert (models / NAME / name).read_bytes() == server.repos[REPO].files[name]


def test_what_lies_there_with_a_wrong_checksum_is_fetched_again(server: Hub, models: Path) -> None:
    data = server.repos[REPO].files["model.safetensors"]
    (store.partial(NAME) / "model.safetensors").write_bytes(data[:-1] + b"\0")
    assert main(["model", "pull", REPO]) == 0
    assert (models / NAME / "model.safetensors").read_bytes() == data


@pytest.mark.parametrize("licence", ["cc-by-nc-4.0", "other", None])
def test_a_licence_that_is_not_free_must_be_accepted(
    server: Hub, models: Path, licence: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card = {"license_name": "lab-only", "license_link": "LICENSE"} if licence == "other" else {}
    server.repos[REPO].licence, server.repos[REPO].card = licence, card
    named = {"other": "lab-only", None: "none named"}.get(licence, licence)
    assert main(["model", "pull", REPO]) == 2
    shown = said(capsys)
    assert f"licence: {named}" in shown
    assert "Do as you like, [31mred." in shown, "its text is shown, without what moves the cursor"
    assert "There is no terminal to ask in: --accept-licence says yes" in shown
    assert "model.safetensors" not in server.fetched
    monkeypatch.setattr(modelcommand, "_agreed", lambda *_: False)
    assert main(["model", "pull", REPO]) == 1
    assert "model.safetensors" not in server.fetched
    assert names(models) == []


def test_an_accepted_licence_is_written_down_and_not_asked_for_again(
    server: Hub, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.repos[REPO].licence = "cc-by-nc-4.0"
    assert main(["model", "pull", REPO, "--accept-licence"]) == 0
    record = store.read_record(models / NAME)
    assert record.licence == "cc-by-nc-4.0"
    assert record.accepted is not None
    server.repos[REPO].files["README.md"] = b"newer"
    assert main(["model", "pull", REPO]) == 0
    assert store.read_record(models / NAME).accepted == record.accepted
    server.repos[REPO].files["README.md"] = b"another licence"
    server.repos[REPO].licence = "other"
    assert main(["model", "pull", REPO]) == 2
    capsys.readouterr()
    assert main(["model", "info", NAME]) == 0
    assert "cc-by-nc-4.0, accepted on 20" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}, "is none of the known families"),
        ({"model_type": "sedd", "architectures": []}, "SEDD gives scores"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"num_hidden_layers": -1}, "num_hidden_layers"),
    ],
)
def test_a_family_that_is_not_known_is_refused_before_weights_are_asked_for(
    server: Hub, models: Path, change: dict[str, Any], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads(server.repos[REPO].files["config.json"]) | change
    server.repos[REPO].files["config.json"] = json.dumps(config).encode()
    assert main(["model", "pull", REPO]) == 2
    assert sentence in said(capsys)
    assert server.fetched == ["config.json"]
    assert names(models) == []


def test_an_autoregressive_model_is_refused_before_weights_are_asked_for(
    server: Hub, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads(server.repos[REPO].files["config.json"])
    config |= {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}
    server.repos[REPO].files["config.json"] = json.dumps(config).encode()
    assert main(["model", "pull", REPO]) == 2
    assert "has no mask token (<M>): it is no Open-dCoder, or an autoregressive model" in said(capsys)
    assert "model.safetensors" not in server.fetched


@pytest.mark.parametrize(
    "name", ["../x.json", "a/../../x", "/etc/x", "a\\..\\x", "C:x", "a//b", "x\n.json", "x\x1b[2J.json"]
)
def test_names_that_lead_elsewhere_are_refused(
    server: Hub, models: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.repos[REPO].files[name] = b"{}"
    assert main(["model", "pull", REPO]) == 2
    assert "which leads elsewhere: refused" in said(capsys)
    assert server.asked == []
    assert names(models) == []


def test_an_index_leads_nowhere_else(server: Hub, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = server.repos[REPO].files
    files["model-00001-of-00001.safetensors"] = files.pop("model.safetensors")
    files["model.safetensors.index.json"] = json.dumps({"weight_map": {"a": "modeling_tiny.py"}}).encode()
    assert main(["model", "pull", REPO]) == 2
    assert "names 'modeling_tiny.py', which is no safetensors file that is there" in said(capsys)
    index = {"weight_map": {"a": "../../model.safetensors"}}
    files["model.safetensors.index.json"] = json.dumps(index).encode()
    assert main(["model", "pull", REPO]) == 2
    assert "names '../../model.safetensors', which is no safetensors file that is there" in said(capsys)
    files["model.safetensors.index.json"] = b"[]"
    assert main(["model", "pull", REPO]) == 2
    assert "has no weight_map" in said(capsys)
    assert not [name for name in server.fetched if name.endswith(".safetensors")]


def test_shards_are_pulled(server: Hub, models: Path, tiny: dict[str, bytes]) -> None:
    from safetensors.torch import load, save

    files = server.repos[REPO].files
    tensors = sorted(load(files.pop("model.safetensors")).items())
    shards = {f"model-0000{i}-of-00002.safetensors": dict(tensors[i - 1 :: 2]) for i in (1, 2)}
    for shard, held in shards.items():
        files[shard] = save(held)
    where = {name: shard for shard, held in shards.items() for name in held}
    files["model.safetensors.index.json"] = json.dumps({"weight_map": where}).encode()
    files["model-00003-of-00002.safetensors"] = b"nobody's"
    assert main(["model", "pull", REPO]) == 0
    assert [name for name in names(models / NAME) if name.endswith(".safetensors")] == sorted(shards)


def test_tensors_that_an_index_does_not_tell_are_missed_before_weights_are_asked_for(
    server: Hub, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load

    files = server.repos[REPO].files
    where = dict.fromkeys(load(files["model.safetensors"]), "model-1.safetensors")
    files["model-1.safetensors"] = files.pop("model.safetensors")
    for change, sentence in (
        ({"vision.weight": "model-1.safetensors"}, "'vision.weight' (1 in all), which is not known"),
        ({}, "lacks the tensor"),
    ):
        index = where | change if change else dict(list(where.items())[1:])
        files["model.safetensors.index.json"] = json.dumps({"weight_map": index}).encode()
        assert main(["model", "pull", REPO]) == 2
        assert sentence in said(capsys)
    assert "model-1.safetensors" not in server.fetched


def test_what_is_not_what_its_configuration_promises_is_not_installed(
    server: Hub, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads(server.repos[REPO].files["config.json"]) | {"num_hidden_layers": 1}
    server.repos[REPO].files["config.json"] = json.dumps(config).encode()
    assert main(["model", "pull", REPO]) == 2
    assert "which is not known" in said(capsys)
    assert store.installed() == []


def test_without_safetensors_it_is_refused(server: Hub, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del server.repos[REPO].files["model.safetensors"]
    assert main(["model", "pull", REPO]) == 2
    assert "only pytorch_model.bin, which can run code when it is read" in said(capsys)
    assert server.asked == []


def test_too_small_a_disk_and_too_little_memory_are_seen_before(
    server: Hub, models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage("/")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=pull.MARGIN))
        assert main(["model", "pull", REPO]) == 2
    assert "are free there: make room" in said(capsys)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "memory_here", lambda: (2**20, "this machine"))
        assert main(["model", "pull", REPO]) == 2
        assert "--anyway fetches it nevertheless" in said(capsys)
        assert not [name for name in server.fetched if name.endswith(".safetensors")]
        assert main(["model", "pull", REPO, "--anyway"]) == 0
    assert "GiB as int4, and this machine has 0.0 GiB" in said(capsys)


def test_names_do_not_collide(server: Hub, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "pull", REPO]) == 0
    other = f"else/{NAME.upper()}"
    server.repos[other] = Repo(dict(server.repos[REPO].files))
    assert main(["model", "pull", other]) == 2
    assert f"{NAME} is {REPO} already: choose another name" in said(capsys)
    assert main(["model", "pull", other, "--name", "other"]) == 0
    assert names(models) == [NAME, "other"]
    for name in ("../x", "a/b", ".x", "x.partial"):
        assert main(["model", "pull", other, "--name", name]) == 2
        assert "--name must be" in said(capsys)
    assert main(["model", "pull", other, "--name", "embedded"]) == 2
    assert "the name of the model that Hone comes with" in said(capsys)


def test_a_name_that_would_make_another_family_of_it_is_refused(
    server: Hub, models: Path, tiny: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    repo = "lab/tiny-bd3lm"
    server.repos[repo] = Repo(dict(tiny))
    assert main(["model", "pull", repo, "--name", "mine"]) == 2
    assert "would be taken for another family: choose a --name that contains 'bd3lm'" in said(capsys)
    assert main(["model", "pull", repo, "--name", "my-bd3lm"]) == 0
    assert store.read_record(models / "my-bd3lm").family == "a2d-qwen2-bd3lm"


def test_a_tokenizer_of_another_repository_comes_along(
    server: Hub, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = KNOWN["mdlm-owt"]
    path = make(tmp_path, "mdlm")
    files = {one.name: one.read_bytes() for one in path.iterdir()}
    tokenizer = files.pop("tokenizer.json")
    server.repos[known.repo] = Repo(files)
    server.repos[str(known.tokenizer)] = Repo(
        {"tokenizer.json": tokenizer, "model.safetensors": b"gpt2", "vocab.json": b"{}"}
    )
    assert main(["model", "pull", "mdlm-owt"]) == 0
    assert (models / "mdlm-owt" / "tokenizer.json").read_bytes() == tokenizer
    record = store.read_record(models / "mdlm-owt")
    assert record.tokenizer == f"{known.tokenizer}@{server.repos[str(known.tokenizer)].commit}"
    assert names(models / "mdlm-owt") == ["config.json", "hone.json", "model.safetensors", "tokenizer.json"]


def test_what_the_hub_refuses_is_one_clear_sentence(
    server: Hub, models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*words: str) -> str:
        assert main(["model", "pull", *words]) == 2
        shown = said(capsys)
        assert len(shown.splitlines()) <= 2, shown
        return shown

    assert "lab/nothing is not on 127.0.0.1" in refused("lab/nothing")
    assert f"{REPO} has no revision 'v9'" in refused(REPO, "--revision", "v9")
    assert "is no OWNER/REPO, and none of the short names: dreamon-7b" in refused("dreamon")
    assert "is a folder, which needs no pulling" in refused(str(models.parent))
    server.repos[REPO].gated = True
    assert f"{REPO} is gated: accept its terms at {server.url}/{REPO}" in refused(REPO)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    unreached = refused(REPO)
    assert "127.0.0.1:9 cannot be reached" in unreached
    assert "kept" not in unreached, "nothing has come"


def test_a_commit_that_is_there_needs_no_hub(server: Hub, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["model", "pull", REPO]) == 0
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(["model", "pull", REPO, "--revision", server.repos[REPO].commit]) == 0
    assert main(["model", "pull", REPO]) == 2


def test_a_token_opens_what_is_gated_and_goes_to_nobody_else(
    server: Hub, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as storage:
        storage.repos[REPO] = Repo(dict(server.repos[REPO].files))
        server.elsewhere, server.repos[REPO].gated = storage.url, True
        assert main(["model", "pull", REPO]) == 2
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        server.tokens.clear()
        assert main(["model", "pull", REPO]) == 0
        assert set(server.tokens) == {f"Bearer {TOKEN}"}
        assert storage.fetched == ["model.safetensors"]
        assert storage.tokens == [None]


def test_two_pulls_of_one_model_do_not_meet(server: Hub, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pull._alone(NAME):
        assert main(["model", "pull", REPO]) == 2
    assert f"another `hone model pull` is at {NAME}" in said(capsys)


def test_short_names_are_of_known_families_and_repositories() -> None:
    for known in KNOWN.values():
        assert known.family in FAMILIES
        assert store.is_name(known.name)
        assert hub.REPOSITORY.fullmatch(known.repo)
    assert len({known.repo for known in KNOWN.values()}) == len(KNOWN)
    # Where the folder's name tells families apart, the short name does so as the repository's does.
    for known in KNOWN.values():
        if known.family.endswith("bd3lm") or known.family == "diffucoder":
            mark = known.family.rpartition("-")[2]
            assert mark in known.name
            assert mark in known.repo.lower()
    assert family_of({"model_type": "Dream"}, name="diffucoder-7b").name == "diffucoder"


def test_offline_means_that_nothing_is_asked(
    server: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert main(["model", "pull", REPO]) == 2
    assert "HF_HUB_OFFLINE is set" in said(capsys)
