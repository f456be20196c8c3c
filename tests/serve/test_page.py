"""The page in a real Chromium, before a real server whose model knows the answer; and once with the embedded model."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright
from starlette.types import ASGIApp, Receive, Scope, Send

from assistant.bounds import ServerOptions
from assistant.config import Settings
from assistant.server import create_app
from assistant.service import open_infiller
from assistant.worker import Limits, Worker
from infill.policy import POLICIES
from tests.serve.conftest import Served, listening, serving

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "assistant" / "page"
CHROMIUM = os.environ.get("HONE_CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PREFIX = "def total(items):\n    "
ANSWER = "result = 0\n    for item in items:\n        result += item.price\n    return result"
SUFFIX = "\n\n\nprint(total([]))\n"
PAUSE_S = 0.004
"""For each call of the model: events that come faster than they are read are left out."""
WAIT_MS = 15_000


def missing(what: str) -> None:
    """A missing part is a failure in CI, and a skipped test elsewhere."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        missing(f"{CHROMIUM} is not there: install chromium, or set HONE_CHROMIUM")
    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield one
        one.close()


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Served, str]]:
    with knowing() as served, listening(served.app) as url:
        yield served, url


@contextmanager
def knowing(prefix: str = PREFIX, *, pause_s: Callable[[], float] = lambda: PAUSE_S, **more: Any) -> Iterator[Served]:
    with serving(prefix, ANSWER, on_call=lambda _: time.sleep(pause_s()), **more) as served:
        yield served


@dataclass
class Visit:
    """A page with what it did behind the reader's back."""

    page: Page
    url: str
    requests: list[str] = field(default_factory=list[str])
    said: list[str] = field(default_factory=list[str])

    def open(self) -> None:
        self.page.on("request", self._asked)
        self.page.on("console", self._spoke)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.goto(self.url)
        expect(self.page.locator("#server-text")).to_contain_text("ready")

    def _asked(self, request: Request) -> None:
        self.requests.append(request.url)

    def _spoke(self, message: ConsoleMessage) -> None:
        self.said.append(message.text)

    # What a reader does.

    def write(self, before: str, behind: str = "", name: str = "shop.py") -> None:
        """Replaces the code, and puts the cursor between the two parts. By keyboard."""
        self.page.locator("#filename").fill(name)
        self.page.locator(".cm-content").focus()
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.insert_text(before + behind)
        for _ in behind:
            self.page.keyboard.press("ArrowLeft")

    def run(self) -> None:
        self.page.keyboard.press("ControlOrMeta+Enter")
        expect(self.outcome).to_contain_text("Token by token:", timeout=WAIT_MS)

    @property
    def outcome(self) -> Any:
        return self.page.locator("#outcome")

    @property
    def code(self) -> str:
        """The editor's text, as the page would send it."""
        return str(self.page.locator(".cm-content").evaluate("(node) => node.cmTile.view.state.doc.toString()"))

    def part(self, mode: str, name: str) -> Any:
        return self.page.locator(f"#{mode} [data-part={name}]")

    def facts(self, mode: str) -> dict[str, str]:
        rows = self.page.locator(f"#{mode} .fact").all()
        return {row.get_attribute("data-fact") or "": row.locator("dd").inner_text() for row in rows}

    def snapshots(self, mode: str) -> list[list[dict[str, Any]]]:
        """The cells of every snapshot, by moving the slider."""
        slider = self.part(mode, "slider")
        found = []
        for at in range(int(slider.get_attribute("max") or 0) + 1):
            slider.fill(str(at))
            found.append(self.part(mode, "draft").locator(".cell").evaluate_all(CELLS))
        return found


CELLS = """(cells) => cells.map((cell) => ({
    place: cell.dataset.place, text: cell.textContent.replace("↵", "\\n"), mask: cell.classList.contains("mask"),
    confidence: cell.dataset.confidence, label: cell.getAttribute("aria-label"),
    colour: getComputedStyle(cell).backgroundColor}))"""


@pytest.fixture
def visit(browser: Browser, server: tuple[Served, str]) -> Iterator[Visit]:
    """The page, open and watched: nothing may come from elsewhere, and nothing go wrong in the console."""
    with visiting(browser, server[1]) as one:
        yield one
        assert [url for url in one.requests if not url.startswith(one.url + "/")] == []
        assert one.said == []


@contextmanager
def visiting(browser: Browser, url: str, **context: Any) -> Iterator[Visit]:
    opened = browser.new_context(**({"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"} | context))
    opened.set_default_timeout(WAIT_MS)
    try:
        one = Visit(opened.new_page(), url)
        one.open()
        yield one
    finally:
        opened.close()


def asked(url: str, **body: Any) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.post(f"{url}/v1/hone/complete", json=body, timeout=30).raise_for_status().json()
    return answer


# What the page shows.


def test_a_draft_sharpens_and_every_step_can_be_seen_again(visit: Visit, server: tuple[Served, str]) -> None:
    visit.write(PREFIX, SUFFIX)
    visit.run()
    snapshots = visit.snapshots("diffusion")
    masked = [sum(cell["mask"] for cell in cells) for cells in snapshots]
    assert masked[0] == len(snapshots[0]) > 20, "it starts with nothing but masks"
    assert all(later < earlier for earlier, later in pairwise(masked[:-1]))
    assert masked[-1] == 0
    assert "".join(cell["text"] for cell in snapshots[-1]) == ANSWER
    body = {"text": PREFIX + SUFFIX, "start": len(PREFIX), "filename": "shop.py", "n": 3, "steps": 8}
    result = asked(server[1], **body)
    assert 4 < len(snapshots) <= result["steps"] + 2, "the start, each step that was in time, the answer"
    facts = visit.facts("diffusion")
    assert facts["work"] == f"{result['steps']} steps, {result['passes']} passes"
    assert facts["syntax"] == "valid"
    assert facts["from"] == "canvas: all at once"
    assert facts["policy"] == "the model’s default"
    assert facts["cache"].endswith(f"of {result['context_tokens']} tokens")
    assert facts["confidence"].endswith(f"{result['completions'][0]['tokens']} tokens")
    assert {"context", "draft", "judge", "gate"} <= set(re.findall(r"[a-z]+", facts["time, ms"]))
    assert re.fullmatch(r"[\d.]+ ms", visit.part("diffusion", "time").inner_text())


def test_the_other_pane_writes_token_by_token(visit: Visit) -> None:
    visit.write(PREFIX, SUFFIX)
    visit.run()
    texts = ["".join(cell["text"] for cell in cells) for cells in visit.snapshots("causal")]
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    assert len(texts) > 20
    assert texts[-1] == ANSWER
    facts = visit.facts("causal")
    assert facts["policy"] == "causal"
    assert facts["from"] == "causal head: token by token"
    assert facts["syntax"] == "valid"


def test_tokens_are_coloured_by_confidence(visit: Visit) -> None:
    visit.write(PREFIX, SUFFIX)
    visit.run()
    cells = [cell for cells in visit.snapshots("diffusion") for cell in cells if not cell["mask"]]
    colours: dict[int, set[str]] = {}
    for cell in cells:
        share = float(cell["confidence"])
        told = re.search(r"(\d+) % sure", cell["label"])
        assert told is not None
        assert abs(int(told[1]) - 100 * share) <= 0.51
        colours.setdefault(sum(share >= least for least in (0.3, 0.6, 0.8, 0.95)), set()).add(cell["colour"])
    assert len(colours) >= 2, "confidence falls from left to right"
    assert all(len(of_level) == 1 for of_level in colours.values())
    assert len({next(iter(of_level)) for of_level in colours.values()}) == len(colours)


def test_a_replay_runs_through_the_steps_to_the_answer(browser: Browser, server: tuple[Served, str]) -> None:
    with visiting(browser, server[1], reduced_motion="no-preference") as visit:
        visit.page.locator("#replay").select_option("fast")
        visit.write(PREFIX, SUFFIX)
        visit.run()
        expect(visit.page.locator("#diffusion[data-replaying]")).to_have_count(0)
        visit.part("diffusion", "replay").click()
        expect(visit.page.locator("#diffusion[data-replaying]")).to_have_count(1)
        assert visit.part("diffusion", "draft").locator(".mask").count() > 0
        expect(visit.part("diffusion", "label")).to_have_text("the answer")
        expect(visit.page.locator("#diffusion[data-replaying]")).to_have_count(0)


def test_reduced_motion_means_no_replay_of_its_own(visit: Visit) -> None:
    visit.write(PREFIX, SUFFIX)
    visit.run()
    assert visit.part("diffusion", "label").inner_text() == "the answer"
    assert visit.page.locator("[data-replaying]").count() == 0
    visit.part("diffusion", "slider").fill("0")
    mask = visit.part("diffusion", "draft").locator(".mask").first
    assert mask.evaluate("(node) => getComputedStyle(node).animationName") == "none"


# Taking an answer over.


def test_an_answer_goes_in_as_one_change_and_undo_takes_it_back(visit: Visit) -> None:
    visit.write(PREFIX, SUFFIX)
    visit.run()
    visit.part("diffusion", "accept").click()
    assert visit.code == PREFIX + ANSWER + SUFFIX
    assert visit.page.evaluate("document.activeElement.className").startswith("cm-content")
    expect(visit.outcome).to_contain_text("Inserted")
    visit.part("causal", "accept").click()
    expect(visit.outcome).to_contain_text("changed since this draft")
    assert visit.code == PREFIX + ANSWER + SUFFIX
    visit.page.locator(".cm-content").focus()
    visit.page.keyboard.press("ControlOrMeta+z")
    assert visit.code == PREFIX + SUFFIX
    visit.part("causal", "accept").click()
    visit.page.keyboard.type("#")  # what is typed right behind it is a change of its own
    assert visit.code == PREFIX + ANSWER + "#" + SUFFIX
    visit.page.keyboard.press("ControlOrMeta+z")
    assert visit.code == PREFIX + ANSWER + SUFFIX
    visit.page.keyboard.press("ControlOrMeta+z")
    assert visit.code == PREFIX + SUFFIX


def test_a_selected_block_is_written_anew(visit: Visit) -> None:
    visit.write(PREFIX, "pass" + SUFFIX)
    for _ in "pass":
        visit.page.keyboard.press("Shift+ArrowRight")
    assert visit.page.locator("#hole-text").inner_text() == "block of 4 characters in line 2: will be written anew"
    visit.run()
    visit.part("diffusion", "accept").click()
    assert visit.code == PREFIX + ANSWER + SUFFIX


def test_characters_beyond_the_first_plane_do_not_shift_the_answer(browser: Browser) -> None:
    prefix = "# 🍎🍐 and 𝒳\n" + PREFIX
    with ExitStack() as stack:
        served = stack.enter_context(knowing(prefix))
        visit = stack.enter_context(visiting(browser, stack.enter_context(listening(served.app))))
        visit.write(prefix, "pass" + SUFFIX)
        for _ in "pass":
            visit.page.keyboard.press("Shift+ArrowRight")
        visit.run()
        visit.part("diffusion", "accept").click()
        assert visit.code == prefix + ANSWER + SUFFIX


def test_a_language_without_a_grammar_is_said_to_be_unchecked(visit: Visit) -> None:
    visit.write(PREFIX, SUFFIX, name="shop.unknown")
    assert visit.page.locator("#language").inner_text() == "plain text"
    visit.run()
    assert visit.facts("diffusion")["syntax"].startswith("unchecked")


def test_the_settings_reach_the_server(visit: Visit) -> None:
    visit.write(PREFIX, SUFFIX)
    for name, value in {"steps": "3", "policy": "remask", "lines": "one", "order": "both"}.items():
        visit.page.locator(f"#{name}").select_option(value)
    for name, value in {"tokens": "32", "n": "2", "lengths": "5", "temperature": "0.5", "seed": "7"}.items():
        visit.page.locator(f"#{name}").fill(value)
    sent: list[dict[str, Any]] = []
    visit.page.on("request", lambda request: sent.append(json.loads(request.post_data or "{}")))
    visit.run()
    bodies = {body["policy"]: body for body in sent if "policy" in body}
    assert bodies.keys() == {"remask", "causal"}
    wanted = {"steps": 3, "max_tokens": 32, "n": 2, "lengths": 5, "temperature": 0.5, "seed": 7, "one_line": True}
    for body in bodies.values():
        assert body["text"] == PREFIX + SUFFIX
        assert body["start"] == body["end"] == len(PREFIX)
        assert {key: body[key] for key in wanted} == wanted
    assert visit.facts("diffusion")["policy"] == "remask"
    assert all(len(cells) <= 32 for cells in visit.snapshots("diffusion"))


def test_the_lists_offer_what_the_engine_has(visit: Visit) -> None:
    def values(name: str) -> list[str]:
        return list(visit.page.locator(f"#{name} option").evaluate_all("(all) => all.map((one) => one.value)"))

    assert values("policy") == ["", *POLICIES]
    assert values("steps") == ["", *map(str, range(1, 33))]
    visit.page.locator("#tokens").fill("0")
    visit.page.keyboard.press("ControlOrMeta+Enter")
    assert not any("/v1/" in url for url in visit.requests), "a bad value is not sent"


# By keyboard, for every eye, at every width.


def test_everything_works_by_keyboard(visit: Visit) -> None:
    keys = visit.page.keyboard
    visit.write(PREFIX, SUFFIX)
    visit.run()
    for _ in range(40):
        keys.press("Tab")
        if focused(visit) == "Diffusion: step":
            break
    assert focused(visit) == "Diffusion: step"
    keys.press("ArrowLeft")
    assert visit.part("diffusion", "label").inner_text().startswith("step 8 of 8")
    keys.press("Home")
    assert visit.part("diffusion", "label").inner_text().startswith("start")
    assert visit.part("diffusion", "draft").locator(".mask").count() > 20
    keys.press("End")
    keys.press("Tab")
    assert focused(visit) == "Walk the tokens"
    keys.press("Enter")
    first = focused(visit)
    keys.press("ArrowRight")
    assert first != focused(visit)
    assert visit.part("diffusion", "readout").inner_text() == focused(visit)
    keys.press("Escape")
    assert focused(visit) == "Walk the tokens"
    keys.press("Enter")
    keys.press("Tab")
    assert visit.code == PREFIX + ANSWER + SUFFIX
    assert focused(visit) == "Code"


def test_every_control_is_named_and_can_be_reached(visit: Visit) -> None:
    visit.write(PREFIX, SUFFIX)
    visit.run()
    controls = visit.page.locator("input:visible:enabled, select:visible:enabled, button:visible:enabled, a:visible")
    assert controls.evaluate_all(f"(all) => all.filter((one) => !({NAME})(one)).map((one) => one.outerHTML)") == []
    wanted = set(controls.evaluate_all(f"(all) => all.map({NAME})")) | {"Code"}
    visit.page.locator("body").evaluate("(body) => { document.activeElement.blur(); }")
    reached = set()
    for _ in range(60):
        visit.page.keyboard.press("Tab")
        reached.add(focused(visit))
        ring = visit.page.evaluate("(n => [getComputedStyle(n).outlineStyle, n.tagName])(document.activeElement)")
        assert ring[0] != "none" or ring[1] == "BODY" or focused(visit) == "Code", focused(visit)
    assert wanted <= reached


NAME = """(one) => one.getAttribute('aria-label') || [...(one.labels || [])].map((l) => l.textContent).join(' ')
    || one.textContent.trim()"""


def focused(visit: Visit) -> str:
    return str(visit.page.evaluate(f"({NAME})(document.activeElement)"))


def test_other_answers_are_a_key_away(visit: Visit, server: tuple[Served, str]) -> None:
    body = {"text": PREFIX + SUFFIX, "start": len(PREFIX), "filename": "shop.py", "n": 3, "steps": 8}
    texts = [one["text"] for one in asked(server[1], **body)["completions"]]
    assert len(texts) > 1
    visit.write(PREFIX, SUFFIX)
    visit.run()
    for key, at in (("Alt+]", 1), ("Alt+[", 0), ("Alt+[", len(texts) - 1)):
        visit.page.keyboard.press(key)
        assert visit.part("diffusion", "count").inner_text() == f"{at + 1} of {len(texts)}"
        shown = visit.part("diffusion", "draft").locator(".cell").evaluate_all(CELLS)
        assert "".join(cell["text"] for cell in shown) == texts[at]
    visit.part("diffusion", "accept").click()
    assert visit.code == PREFIX + texts[-1] + SUFFIX


def test_text_stands_out_from_its_ground_in_light_and_dark(visit: Visit) -> None:
    visit.write(PREFIX, SUFFIX)
    visit.run()
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        found = []
        visit.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        ground = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 200) == (scheme == "dark")
        for at in ("0", "4", visit.part("diffusion", "slider").get_attribute("max")):
            visit.part("diffusion", "slider").fill(at)
            found = visit.page.evaluate(CONTRASTS)
            assert [one for one in found if one["ratio"] < 4.5] == []
            assert len(found) > 100
        assert len({one["ratio"] for one in found if "level-" in one["style"]}) >= 5, "the legend has every colour"


CONTRASTS = """() => {
    const paint = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const over = (colours) => {
        paint.clearRect(0, 0, 1, 1);
        for (const colour of colours) { paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1); }
        return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const light = (rgb) => {
        const [r, g, b] = rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const found = [];
    for (const node of document.querySelectorAll("body *")) {
        const text = [...node.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data).join("").trim();
        if (!text || !node.checkVisibility() || node.closest(":disabled, option, template")) continue;
        const grounds = [];
        for (let up = node; up; up = up.parentElement) grounds.unshift(getComputedStyle(up).backgroundColor);
        const ground = over(grounds);
        const colour = over([...grounds, getComputedStyle(node).color]);
        const [low, high] = [light(ground), light(colour)].sort((a, b) => a - b);
        found.push({text: text.slice(0, 30), style: node.className, ratio: (high + 0.05) / (low + 0.05)});
    }
    return found;
}"""


def test_it_fits_its_window(visit: Visit) -> None:
    visit.write(PREFIX, " # " + "long " * 30 + SUFFIX)
    visit.run()
    for width in (1280, 760, 400):
        visit.page.set_viewport_size({"width": width, "height": 800})
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        left = visit.page.locator(".pane").evaluate_all("(all) => all.map((one) => one.getBoundingClientRect().x)")
        assert (left[0] == left[1]) == (width <= 760), "side by side where there is room"


def test_a_long_file_has_its_line_numbers_whole_and_can_be_scrolled_by_keyboard(visit: Visit) -> None:
    scroller = visit.page.locator(".cm-scroller")
    visit.write(PREFIX, SUFFIX)
    expect(scroller).to_have_attribute("tabindex", "-1")
    visit.page.locator(".cm-content").evaluate(OPEN, ["\n" * 12_000 + PREFIX, " # " + "long " * 60 + SUFFIX])
    expect(scroller).to_have_attribute("tabindex", "0")
    visit.run()
    places = visit.page.locator("#diffusion .number").evaluate_all(INSIDE)
    assert len(places) > 3
    assert all(number.startswith("120") and left >= edge for number, left, edge in places), places
    about = visit.page.locator("#" + str(visit.page.locator(".panes").get_attribute("aria-describedby")))
    expect(about).to_contain_text("Both panes fill the same hole with the same weights")


OPEN = """(content, [before, behind]) => {
    const view = content.cmTile.view;
    const changes = {from: 0, to: view.state.doc.length, insert: before + behind};
    view.dispatch({changes, selection: {anchor: before.length}});
    view.focus();
}"""
INSIDE = """(all) => all.map((one) => {
    const text = document.createRange();
    text.selectNodeContents(one);
    return [one.textContent, text.getBoundingClientRect().x, one.parentElement.getBoundingClientRect().x];
})"""


# When something is in the way.


def test_escape_stops_the_run_here_and_at_the_server(browser: Browser) -> None:
    with ExitStack() as stack:
        pauses = [0.15]
        served = stack.enter_context(knowing(pause_s=lambda: pauses[0]))
        visit = stack.enter_context(visiting(browser, stack.enter_context(listening(served.app))))
        visit.write(PREFIX, SUFFIX)
        visit.page.keyboard.press("ControlOrMeta+Enter")
        expect(visit.part("diffusion", "label")).to_contain_text(re.compile("step [2-6]"))
        visit.page.keyboard.press("Escape")
        expect(visit.outcome).to_have_text("Stopped.")
        calls = settled(served.denoiser.calls.total)
        assert (served.worker.load().running, served.worker.load().waiting) == (0, 0)
        assert served.denoiser.calls["denoise"] < 8
        assert visit.part("causal", "note").inner_text() == "Stopped."
        visit.page.keyboard.press("ControlOrMeta+Enter")
        expect(visit.part("diffusion", "label")).to_contain_text(re.compile("step [1-6]"))
        pauses[0] = PAUSE_S
        visit.page.keyboard.press("ControlOrMeta+Enter")
        expect(visit.outcome).to_contain_text("Token by token: an answer", timeout=WAIT_MS)
        assert served.denoiser.calls.total() > calls
        assert "Stopped" not in visit.part("diffusion", "note").inner_text()


def settled(read: Callable[[], int]) -> int:
    """The value once it has not changed for a while."""
    deadline = time.monotonic() + 5
    before = read()
    while time.monotonic() < deadline:
        time.sleep(0.4)
        now = read()
        if now == before:
            return now
        before = now
    raise AssertionError("it did not stop")


def test_a_server_that_is_gone_is_said_to_be_gone(browser: Browser) -> None:
    with ExitStack() as outer:
        served = outer.enter_context(knowing())
        inner = outer.enter_context(ExitStack())
        visit = outer.enter_context(visiting(browser, inner.enter_context(listening(served.app))))
        visit.write(PREFIX, SUFFIX)
        inner.close()
        visit.page.keyboard.press("ControlOrMeta+Enter")
        expect(visit.page.get_by_role("alert")).to_contain_text(
            "Hone does not answer. Start it again with “hone serve”"
        )
        expect(visit.page.locator("#server")).to_have_attribute("data-state", "gone")
        assert visit.code == PREFIX + SUFFIX, "what was written is still there"


def test_a_busy_server_says_when_to_come_again(browser: Browser) -> None:
    with ExitStack() as stack:
        served = stack.enter_context(knowing(limits=Limits(waiting=0)))
        visit = stack.enter_context(visiting(browser, stack.enter_context(listening(served.app))))
        visit.write(PREFIX, SUFFIX)
        visit.page.keyboard.press("ControlOrMeta+Enter")
        expect(visit.page.get_by_role("alert")).to_contain_text(
            re.compile(r"Hone cannot answer now: .* Try again in \d+ s")
        )
        expect(visit.page.locator("#stop")).to_be_disabled()


def test_an_error_of_the_server_is_shown_in_its_words(visit: Visit) -> None:
    visit.page.locator("#policy").evaluate("(list) => { list.append(new Option('no such', 'no_such')); }")
    visit.page.locator("#policy").select_option("no_such")
    visit.page.keyboard.press("ControlOrMeta+Enter")
    expect(visit.page.get_by_role("alert")).to_contain_text("policy must be one of")
    assert any("400" in line for line in visit.said)
    visit.said.clear()  # the browser notes an answer with an error
    visit.page.locator("#policy").select_option("")
    visit.page.keyboard.press("ControlOrMeta+Enter")
    expect(visit.outcome).to_contain_text("Token by token:", timeout=WAIT_MS)
    expect(visit.page.get_by_role("alert")).to_have_count(0)


class Locked:
    """The page of one app and the rest of another, which wants a token."""

    def __init__(self, page: ASGIApp, rest: ASGIApp) -> None:
        self.page, self.rest = page, rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self.page if scope["path"] == "/" or scope["path"].startswith("/page/") else self.rest
        await app(scope, receive, send)


def test_a_token_is_asked_for_and_kept_for_this_tab(browser: Browser) -> None:
    with ExitStack() as stack:
        served = stack.enter_context(knowing())
        closed = create_app(served.worker, ServerOptions(version="1", token="let-me-in"))
        visit = stack.enter_context(visiting(browser, stack.enter_context(listening(Locked(served.app, closed)))))  # type: ignore[arg-type]
        visit.write(PREFIX, SUFFIX)
        visit.page.keyboard.press("ControlOrMeta+Enter")
        expect(visit.page.get_by_role("alert")).to_contain_text("wants a token")
        assert focused(visit) == "Token"
        visit.page.keyboard.type("let-me-out")
        visit.page.keyboard.press("Enter")
        expect(visit.page.get_by_role("alert")).to_contain_text("wants a token")
        visit.page.keyboard.type("let-me-in")
        visit.page.keyboard.press("Enter")
        expect(visit.outcome).to_contain_text("Token by token:", timeout=WAIT_MS)
        visit.page.reload()
        assert visit.page.evaluate("Object.entries(sessionStorage)") == [["hone-token", "let-me-in"]]
        assert visit.page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
        visit.write(PREFIX, SUFFIX)
        visit.run()


# The model that ships, and the files that are served.


@pytest.mark.weights
def test_the_embedded_model_shows_both_ways(browser: Browser) -> None:
    options = ServerOptions(version="1")
    worker = Worker(lambda: open_infiller(Settings()))
    worker.start()
    try:
        with listening(create_app(worker, options), options) as url, visiting(browser, url) as visit:
            visit.page.keyboard.press("ControlOrMeta+Enter")
            expect(visit.outcome).to_contain_text("Token by token:", timeout=60_000)
            assert visit.page.locator("#diffusion").get_attribute("data-state") == "answered"
            assert visit.facts("diffusion")["syntax"] == "valid"
            assert all(len(visit.snapshots(mode)) > 2 for mode in ("diffusion", "causal"))
            before = visit.code
            visit.part("diffusion", "accept").click()
            assert len(visit.code) > len(before)
    finally:
        worker.close()


def test_the_page_that_is_served_is_made_from_its_sources(tmp_path: Path) -> None:
    if not shutil.which("npm"):
        missing("npm is not there: install Node.js 20 or newer")
    copy = tmp_path / "assistant" / "page"
    shutil.copytree(PAGE, copy, ignore=shutil.ignore_patterns("node_modules", "dist"))
    shutil.copytree(ROOT / "assistant" / "examples", tmp_path / "assistant" / "examples")
    if npm(copy, "ci", "--ignore-scripts"):
        missing("npm ci failed: is the package registry reachable?")
    assert npm(copy, "run", "check") == 0
    assert npm(copy, "run", "build") == 0
    made = {path.name: path.read_bytes() for path in (copy / "dist").iterdir()}
    here = {path.name: path.read_bytes() for path in (PAGE / "dist").iterdir()}
    assert made == here, "run `npm ci --ignore-scripts && npm run build` in assistant/page"
    assert len(made["page.js"]) < 800_000


def npm(folder: Path, *arguments: str) -> int:
    return subprocess.run(["npm", *arguments], cwd=folder, check=False, stdout=subprocess.DEVNULL).returncode


def test_the_lock_file_names_no_registry() -> None:
    lock = (PAGE / "package-lock.json").read_text(encoding="utf-8")
    assert "http" not in lock
    assert json.loads(lock)["packages"]["node_modules/@codemirror/view"]["integrity"].startswith("sha512-")
    wanted = json.loads((PAGE / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values()), "exact versions"
