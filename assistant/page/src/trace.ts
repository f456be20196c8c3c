// What a run looked like, step by step: from the server's events to snapshots that a pane can draw. Pure functions.

import type { Completion, Result, Step } from "./api";

export interface Cell {
  /** null: still masked. */
  text: string | null;
  /** null: the server did not tell. */
  confidence: number | null;
  /** Label of the snapshot in which it got this text; "" where that is not known. */
  since: string;
}

export interface Snapshot {
  label: string;
  cells: Cell[];
}

export type Mode = "diffusion" | "causal";

const PHASES: Record<string, string> = { draft: "step", repair: "repair step", causal: "token" };

/** The drafts that a pane shows. In a diffusion run the causal head's own draft is a rival, not a step: it is left out
 * where the canvas has something to show. */
export function snapshots(steps: readonly Step[], mode: Mode): Snapshot[] {
  const canvas = steps.filter((step) => step.phase !== "causal");
  const shown = mode === "diffusion" && canvas.length ? canvas : steps;
  const found: Snapshot[] = [];
  const first = shown[0];
  if (first && first.phase !== "causal") {
    found.push({ label: "start", cells: first.tokens.map(() => ({ text: null, confidence: 0, since: "" })) });
  }
  for (const step of shown) {
    const label = `${PHASES[step.phase] ?? step.phase} ${step.index}`;
    const before = found.at(-1)?.cells ?? [];
    const cells = step.tokens.map((text, place) => {
      const old = before[place];
      const stays = text !== null && old?.text === text && before.length <= step.tokens.length;
      return { text, confidence: sureness(step, place), since: text === null ? "" : stays ? old.since : label };
    });
    found.push({ label, cells });
  }
  return found;
}

/** The rival's text in a diffusion run: what the causal head drafted beside the canvas. */
export function rival(steps: readonly Step[]): string | null {
  const last = steps.filter((step) => step.phase === "causal").at(-1);
  return last && steps.some((step) => step.phase !== "causal") ? join(last.tokens) : null;
}

/** The answer, with the tokens of the draft it came from where it is one; else as one piece with its own confidence. */
export function answer(completion: Completion, steps: readonly Step[]): Snapshot {
  const own = (step: Step) => (step.phase === "causal") === (completion.origin === "causal");
  const drafts = [...steps].reverse().sort((a, b) => Number(own(b)) - Number(own(a)));
  const added = completion.origin === "closed" ? CLOSERS : 0;
  // The causal head's drafts leave out the end of a word that the engine has completed before them.
  for (let head = 0; head <= completion.text.length / 2; head++) {
    for (const step of drafts) {
      const cells = beginning(step, completion.text.slice(head), added);
      if (!cells) continue;
      if (head) cells.unshift({ text: completion.text.slice(0, head), confidence: null, since: "" });
      return { label: "answer", cells };
    }
  }
  return { label: "answer", cells: [{ text: completion.text, confidence: completion.confidence, since: "" }] };
}

const CLOSERS = 8; // Most characters that closing what a draft left open adds to it.

/** The tokens of a draft that make up `text`, which is its beginning or the whole and at most `added` characters more;
 * null where it is neither. */
function beginning(step: Step, text: string, added: number): Cell[] | null {
  const cells: Cell[] = [];
  let rest = text;
  for (const [place, token] of step.tokens.entries()) {
    if (!rest) break;
    if (!token) return null;
    const shared = rest.startsWith(token) ? token : token.startsWith(rest) ? rest : null;
    if (shared === null) return null;
    cells.push({ text: shared, confidence: sureness(step, place), since: "" });
    rest = rest.slice(shared.length);
  }
  if (rest.length > added || !cells.length) return null;
  if (rest) cells.push({ text: rest, confidence: null, since: "" });
  return cells;
}

/** The causal head's tokens come with 1 throughout where their probability was not kept: that is not sureness. */
function sureness(step: Step, place: number): number | null {
  const told = step.phase !== "causal" || step.confidence.some((value) => value < 1);
  return told ? (step.confidence[place] ?? null) : null;
}

export function written(snapshot: Snapshot): number {
  return snapshot.cells.filter((cell) => cell.text !== null).length;
}

export function join(tokens: readonly (string | null)[]): string {
  return tokens.map((token) => token ?? "").join("");
}

/** Least confidence of each level, surest first; the stylesheet has the colours. */
export const LEVELS = [0.95, 0.8, 0.6, 0.3, 0] as const;

export function level(confidence: number): number {
  return LEVELS.length - 1 - LEVELS.findIndex((least) => confidence >= least);
}

const ORIGINS: Record<string, string> = {
  canvas: "canvas: all at once",
  repair: "canvas, mended to parse",
  closed: "a draft, brackets closed",
  trimmed: "a draft, cut to parse",
  copy: "a copy from this file",
  causal: "causal head: token by token",
  word: "the rest of the word",
};

export function originText(origin: string): string {
  return ORIGINS[origin] ?? origin;
}

const REASONS: Record<string, string> = {
  syntax: "no draft would have left valid code",
  empty: "the model has nothing to add here",
  cancelled: "it was stopped",
  superseded: "a newer request took its place",
  budget: "the time was up",
  confidence: "no draft was sure enough",
  repetition: "the drafts only repeated what is there",
};

export function reasonText(reason: string | null): string {
  return reason === null ? "no reason given" : (REASONS[reason] ?? reason);
}

/** Milliseconds by part, in the order of the work, with what no part claims. */
export function parts(result: Result): [string, number][] {
  const { total = 0, ...rest } = result.timing_ms;
  const known = Object.entries(rest).filter(([name, ms]) => ms >= 0.05 && name !== "load");
  const other = total - known.reduce((sum, [, ms]) => sum + ms, 0);
  return other >= 0.5 ? [...known, ["other", other]] : known;
}
