// One run as the reader sees it: the draft in its place, a slider over its steps, and the facts.

import { type Language, language as languageFacet } from "@codemirror/language";
import type { EditorState } from "@codemirror/state";
import { classHighlighter, highlightTree } from "@lezer/highlight";
import type { Completion, Result, Step } from "./api";
import type { Hole } from "./editor";
import { type Cell, type Mode, type Snapshot, answer, level, originText, parts, reasonText, rival, snapshots, written } from "./trace";

const AROUND = 2; // Lines of code shown before and behind the hole.
const HIGHLIGHT_LIMIT = 200_000; // Longer texts are shown without colours: parsing them would be felt.

/** What a run was asked about. */
export interface Place {
  state: EditorState;
  text: string;
  hole: Hole;
}

export interface Chosen {
  completion: Completion;
  place: Place;
}

interface Piece {
  text: string;
  style: string;
}

interface Surroundings {
  before: Piece[][];
  after: Piece[][];
  firstLine: number;
}

export class Pane {
  private place: Place | null = null;
  private steps: Step[] = [];
  private result: Result | null = null;
  private policy: string | null = null;
  private chosen = 0;
  private shown: Snapshot[] = [];
  private at = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private around: Surroundings = { before: [], after: [], firstLine: 1 };

  private readonly draft: HTMLElement;
  private readonly slider: HTMLInputElement;
  private readonly label: HTMLElement;
  private readonly readout: HTMLElement;
  private readonly note: HTMLElement;
  private readonly facts: HTMLElement;
  private readonly count: HTMLElement;
  private readonly buttons: Record<"replay" | "walk" | "previous" | "next" | "accept", HTMLButtonElement>;

  constructor(
    readonly root: HTMLElement,
    readonly mode: Mode,
    private readonly onAccept: (pane: Pane) => void,
    private readonly msPerReplay: () => number,
  ) {
    const find = <T extends HTMLElement>(part: string) => root.querySelector<T>(`[data-part="${part}"]`)!;
    this.draft = find("draft");
    this.slider = find<HTMLInputElement>("slider");
    this.label = find("label");
    this.readout = find("readout");
    this.note = find("note");
    this.facts = find("facts");
    this.count = find("count");
    this.buttons = {
      replay: find("replay"),
      walk: find("walk"),
      previous: find("previous"),
      next: find("next"),
      accept: find("accept"),
    };
    this.slider.addEventListener("input", () => {
      this.stopReplay();
      this.show(Number(this.slider.value));
    });
    this.buttons.replay.addEventListener("click", () => this.replay());
    this.buttons.walk.addEventListener("click", () => this.focusCell(0));
    this.buttons.previous.addEventListener("click", () => this.choose(-1));
    this.buttons.next.addEventListener("click", () => this.choose(1));
    this.buttons.accept.addEventListener("click", () => this.onAccept(this));
    this.draft.addEventListener("keydown", (event) => this.onKey(event));
    for (const kind of ["focusin", "pointerover"]) this.draft.addEventListener(kind, (event) => this.explain(event.target));
    for (const kind of ["focusout", "pointerleave"]) this.draft.addEventListener(kind, () => this.explain(null));
    this.update();
  }

  /** A new run begins: nothing is known of it but its place. */
  begin(place: Place, policy: string | null): void {
    this.stopReplay();
    this.policy = policy;
    this.place = place;
    this.steps = [];
    this.result = null;
    this.chosen = 0;
    this.around = surroundings(place);
    this.root.dataset["state"] = "running";
    this.say("");
    this.refresh(true);
  }

  wait(): void {
    this.root.dataset["state"] = "waiting";
    this.say("Its turn comes next.");
  }

  step(step: Step): void {
    this.root.dataset["state"] = "running";
    this.steps.push(step);
    this.refresh(true);
  }

  finish(result: Result, replay: boolean): void {
    this.result = result;
    this.root.dataset["state"] = result.completions.length ? "answered" : "empty";
    this.say(result.completions.length ? "" : `No answer: ${reasonText(result.reason)}.`);
    this.refresh(true);
    if (replay) this.replay();
  }

  fail(message: string): void {
    this.root.dataset["state"] = "failed";
    this.say(message);
    this.update();
  }

  /** Everything about the last run is forgotten. */
  clear(message: string): void {
    this.stopReplay();
    this.place = this.result = null;
    this.steps = [];
    this.root.dataset["state"] = "idle";
    this.say(message);
    this.refresh(true);
  }

  /** The answer on show, for taking it over. */
  get choice(): Chosen | null {
    const completion = this.result?.completions[this.chosen];
    return completion && this.place ? { completion, place: this.place } : null;
  }

  /** One sentence on how the run ended. */
  get outcome(): string {
    if (!this.result) return "";
    const found = this.result.completions.length;
    const total = Math.round(this.result.timing_ms["total"] ?? 0);
    if (!found) return `no answer in ${total} ms: ${reasonText(this.result.reason)}`;
    return `${found === 1 ? "an answer" : `${found} answers`} in ${total} ms, ${verdictText(this.result.completions[0]!)}`;
  }

  choose(by: number): void {
    const count = this.result?.completions.length ?? 0;
    if (count < 2) return;
    this.stopReplay();
    this.chosen = (this.chosen + by + count) % count;
    this.refresh(true);
  }

  replay(): void {
    this.stopReplay();
    if (this.shown.length < 2) return;
    const pause = Math.min(450, Math.max(40, this.msPerReplay() / this.shown.length));
    const next = (at: number) => {
      this.show(at);
      this.timer = at + 1 < this.shown.length ? setTimeout(() => next(at + 1), pause) : undefined;
      this.root.toggleAttribute("data-replaying", this.timer !== undefined);
    };
    next(0);
  }

  /** Ends a replay at the answer; false when none was going on. */
  skip(): boolean {
    if (this.timer === undefined) return false;
    this.stopReplay();
    this.show(this.shown.length - 1);
    return true;
  }

  private stopReplay(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.root.removeAttribute("data-replaying");
  }

  private say(message: string): void {
    this.note.textContent = message;
  }

  private refresh(toEnd: boolean): void {
    const completion = this.result?.completions[this.chosen];
    this.shown = snapshots(this.steps, this.mode);
    if (completion) this.shown.push(answer(completion, this.steps));
    const most = Math.max(0, ...this.shown.map((snapshot) => lineBreaks(snapshot.cells)));
    this.draft.style.setProperty("--lines", String(this.around.before.length + this.around.after.length - 1 + most));
    this.slider.max = String(Math.max(0, this.shown.length - 1));
    this.update();
    this.show(toEnd ? this.shown.length - 1 : this.at);
  }

  private show(at: number): void {
    this.at = Math.max(0, Math.min(at, this.shown.length - 1));
    const snapshot = this.shown[this.at];
    this.slider.value = String(this.at);
    const label = snapshot ? this.labelOf(snapshot) : "no draft yet";
    this.label.textContent = label;
    this.slider.setAttribute("aria-valuetext", label);
    this.draft.replaceChildren(...(this.place ? this.lines(snapshot?.cells ?? []) : []));
    this.draft.dataset["snapshot"] = snapshot?.label ?? "";
    this.explain(null);
  }

  private labelOf(snapshot: Snapshot): string {
    if (snapshot.label === "answer") return this.fromDraft(snapshot) ? "the answer" : "the answer: from another draft";
    if (snapshot.label === "start") return `start: ${snapshot.cells.length} places, all masked`;
    const [kind] = /^\D+/.exec(snapshot.label) ?? [""];
    const last = this.shown.findLast((other) => other.label.startsWith(kind))!;
    const of = this.result ? ` of ${last.label.slice(kind.length)}` : "";
    const done = this.mode === "diffusion" ? `: ${written(snapshot)} of ${snapshot.cells.length} written` : "";
    return `${snapshot.label}${of}${done}`;
  }

  /** Whether the answer is the draft that was on show: several lengths are drafted at once, and copies weighed too. */
  private fromDraft(snapshot: Snapshot): boolean {
    return snapshot.cells.length > 1 || this.shown.at(-2)?.cells.length === 1;
  }

  private update(): void {
    const { completions = [] } = this.result ?? {};
    const running = this.root.dataset["state"] === "running";
    this.slider.disabled = this.buttons.replay.disabled = this.shown.length < 2;
    this.buttons.walk.disabled = this.shown.length === 0;
    this.buttons.previous.disabled = this.buttons.next.disabled = completions.length < 2;
    this.buttons.accept.disabled = !completions.length;
    this.count.textContent = completions.length ? `${this.chosen + 1} of ${completions.length}` : "none";
    this.root.setAttribute("aria-busy", String(running));
    this.facts.replaceChildren(...(this.result ? this.factRows(this.result) : []));
    const time = this.root.querySelector<HTMLElement>('[data-part="time"]')!;
    time.textContent = this.result ? `${formatMs(this.result.timing_ms["total"] ?? 0)} ms` : "";
  }

  // Drawing.

  private lines(cells: readonly Cell[]): HTMLElement[] {
    const { before, after, firstLine } = this.around;
    const lines: HTMLElement[] = [];
    let code = this.newLine(lines, firstLine);
    const next = () => (code = this.newLine(lines, firstLine + lines.length));
    before.forEach((pieces, i) => {
      if (i) next();
      code.append(...pieces.map(context));
    });
    cells.forEach((cell, place) => {
      const texts = cell.text === null ? [null] : cell.text.split("\n");
      texts.forEach((text, i) => {
        if (i) next();
        const breaks = i + 1 < texts.length;
        if (text !== "" || breaks || texts.length === 1) code.append(drawn(cell, text, place, breaks));
      });
    });
    if (!cells.length && this.place) code.append(emptyHole());
    after.forEach((pieces, i) => {
      if (i) next();
      code.append(...pieces.map(context));
    });
    this.draft.style.setProperty("--digits", String(String(firstLine + lines.length - 1).length));
    return lines;
  }

  private newLine(lines: HTMLElement[], number: number): HTMLElement {
    const code = element("span", "code");
    const line = element("div", "line", element("span", "number", String(number)), code);
    line.firstElementChild!.setAttribute("aria-hidden", "true");
    lines.push(line);
    return code;
  }

  private factRows(result: Result): HTMLElement[] {
    const completion = result.completions[this.chosen];
    const rows: HTMLElement[] = [];
    const row = (name: string, ...value: (HTMLElement | string)[]) => {
      rows.push(element("div", "fact", element("dt", "", name), element("dd", "", ...value)));
      rows.at(-1)!.dataset["fact"] = name;
    };
    if (completion) {
      const verdict = element("span", `verdict ${completion.verdict}`, verdictText(completion));
      row("syntax", verdict);
      row("from", originText(completion.origin));
      const sure = completion.confidence === null ? "not told" : `${percent(completion.confidence)} per token`;
      row("confidence", `${sure}, ${plural(completion.tokens, "token")}`);
    }
    const other = this.mode === "diffusion" ? rival(this.steps) : null;
    row("work", `${plural(result.steps, "step")}, ${plural(result.passes, "pass", "es")}`);
    row("policy", this.policy ?? "the model’s default");
    row("cache", `knew ${result.known_tokens} of ${result.context_tokens} tokens`);
    if (other !== null) row("beside", "weighed against a token-by-token draft: ", element("code", "", shorten(other)));
    row("time, ms", bar(result), partsList(result));
    return rows;
  }

  // Tokens under the pointer and the keys.

  private focusCell(index: number): void {
    this.stopReplay();
    const cells = [...this.draft.querySelectorAll<HTMLElement>(".cell")];
    cells[Math.max(0, Math.min(index, cells.length - 1))]?.focus();
  }

  private onKey(event: KeyboardEvent): void {
    const cells = [...this.draft.querySelectorAll<HTMLElement>(".cell")];
    const at = cells.indexOf(document.activeElement as HTMLElement);
    const to: Record<string, number> = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: cells.length - 1 };
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key in to) this.focusCell(to[event.key]!);
    else if (event.key === "Tab" && !event.shiftKey && this.choice) this.onAccept(this);
    else if (event.key === "Escape") this.buttons.walk.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  private explain(target: EventTarget | null): void {
    const cell = target instanceof Element ? target.closest<HTMLElement>(".cell") : null;
    this.readout.textContent = cell ? cell.getAttribute("aria-label") : HINT;
  }
}

const HINT = "Point at a token to see how sure the model was.";

function drawn(cell: Cell, text: string | null, place: number, breaks: boolean): HTMLElement {
  const mask = text === null;
  const style = mask ? "mask" : cell.confidence === null ? "level-unknown" : `level-${level(cell.confidence)}`;
  const span = element("span", `cell ${style}`, text ?? "");
  if (breaks) span.append(element("span", "break", "↵"));
  span.dataset["place"] = String(place);
  span.tabIndex = -1;
  span.setAttribute("role", "img");
  span.setAttribute("aria-label", describe(cell));
  if (cell.confidence !== null && !mask) span.dataset["confidence"] = cell.confidence.toFixed(4);
  return span;
}

function describe(cell: Cell): string {
  if (cell.text === null) return "masked: not written yet";
  const since = cell.since ? `, since ${cell.since}` : "";
  const sure = cell.confidence === null ? "how sure was not told" : `${percent(cell.confidence)} sure`;
  return `“${cell.text.replaceAll("\n", "↵")}”: ${sure}${since}`;
}

function emptyHole(): HTMLElement {
  const mark = element("span", "hole-mark");
  mark.setAttribute("aria-hidden", "true");
  return mark;
}

function context(piece: Piece): HTMLElement {
  return element("span", piece.style, piece.text);
}

/** The lines around the hole, in colours. */
function surroundings({ state, text, hole }: Place): Surroundings {
  const doc = state.doc;
  const first = doc.line(Math.max(1, doc.lineAt(hole.from).number - AROUND));
  const last = doc.line(Math.min(doc.lines, doc.lineAt(hole.to).number + AROUND));
  const language: Language | null = text.length <= HIGHLIGHT_LIMIT ? state.facet(languageFacet) : null;
  const colours = (part: string, from: number, to: number) =>
    splitLines(language ? coloured(language, part, from, to) : [{ text: part.slice(from, to), style: "" }]);
  // Each side for itself: with the hole between them the text may not parse, and the side behind would lose its colours.
  return {
    before: colours(text.slice(0, hole.from), first.from, hole.from),
    after: colours(text.slice(hole.to), 0, last.to - hole.to),
    firstLine: first.number,
  };
}

function coloured(language: Language, text: string, from: number, to: number): Piece[] {
  const pieces: Piece[] = [];
  let at = from;
  const add = (until: number, style: string) => {
    if (until > at) pieces.push({ text: text.slice(at, until), style });
    at = Math.max(at, until);
  };
  highlightTree(language.parser.parse(text), classHighlighter, (start, end, style) => {
    add(Math.min(start, to), "");
    add(Math.min(end, to), style);
  }, from, to);
  add(to, "");
  return pieces;
}

function splitLines(pieces: readonly Piece[]): Piece[][] {
  const lines: Piece[][] = [[]];
  for (const { text, style } of pieces) {
    text.split("\n").forEach((part, i) => {
      if (i) lines.push([]);
      if (part) lines.at(-1)!.push({ text: part, style });
    });
  }
  return lines;
}

function lineBreaks(cells: readonly Cell[]): number {
  return cells.reduce((sum, cell) => sum + (cell.text?.split("\n").length ?? 1) - 1, 0);
}

function bar(result: Result): HTMLElement {
  const node = element("span", "bar");
  node.setAttribute("aria-hidden", "true");
  parts(result).forEach(([name, ms]) => {
    const part = element("span", "part");
    part.dataset["name"] = name;
    part.style.flexGrow = String(ms);
    part.title = `${name} ${formatMs(ms)} ms`;
    node.append(part);
  });
  return node;
}

function partsList(result: Result): HTMLElement {
  const items = parts(result).map(([name, ms]) => {
    const item = element("span", "key", element("i", ""), `${name} ${formatMs(ms)}`);
    item.dataset["name"] = name;
    return item;
  });
  return element("span", "keys", ...items);
}

function verdictText(completion: Completion): string {
  return completion.verdict === "valid" ? "valid" : "unchecked: no grammar for this language";
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}

function formatMs(ms: number): string {
  return ms < 10 ? ms.toFixed(1) : ms.toFixed(0);
}

function plural(count: number, noun: string, ending = "s"): string {
  return `${count} ${noun}${count === 1 ? "" : ending}`;
}

function shorten(text: string): string {
  const line = text.trim().replace(/\s+/g, " ");
  return line.length > 60 ? `${line.slice(0, 59)}…` : line || "nothing";
}

function element(tag: string, style: string, ...children: (Node | string)[]): HTMLElement {
  const node = document.createElement(tag);
  if (style) node.className = style;
  node.append(...children);
  return node;
}
