// The page: puts editor, settings and the two panes together.

import { Api, ApiError, randomName, type Wanted } from "./api";
import { Editor } from "./editor";
import { toPoints, toUnits } from "./offsets";
import { Pane, type Place } from "./pane";
import { SAMPLES } from "./samples";
import type { Mode } from "./trace";

const POLICIES = ["confidence", "entropy", "topk_margin", "maskgit", "random", "remask", "verify"];
const MOST_STEPS = 32;
const FIRST_STEPS = "8"; // The model's default is chosen for speed: there would be little to watch.
const HEALTH_EVERY_MS = 15_000;
const MAC = /Mac|iPhone|iPad/.test(navigator.platform);

const get = <T extends HTMLElement = HTMLElement>(id: string) => document.getElementById(id) as T;
const input = (id: string) => get<HTMLInputElement>(id);
const chosen = (id: string) => get<HTMLSelectElement>(id).value;

const api = new Api();
const still = matchMedia("(prefers-reduced-motion: reduce)");

fill("steps", [["", "model’s default"], ...range(MOST_STEPS).map((n): [string, string] => [String(n), String(n)])]);
fill("policy", [["", "model’s default"], ...POLICIES.map((name): [string, string] => [name, name.replaceAll("_", " ")])]);
fill("sample", SAMPLES.map(({ title }, i): [string, string] => [String(i), title]));
get<HTMLSelectElement>("steps").value = FIRST_STEPS;
get<HTMLSelectElement>("replay").value = "3000";
if (MAC) for (const key of document.querySelectorAll(".mod")) key.textContent = "⌘";
get("run-key").textContent = MAC ? "⌘ ↵" : "Ctrl ↵";

const editor = new Editor(get("editor"), () => (get("hole-text").textContent = editor.describe()));
const panes: Record<Mode, Pane> = {
  diffusion: newPane("diffusion", "Diffusion", "All places at once, sharper with each step."),
  causal: newPane("causal", "Token by token", "The same weights, autoregressive: one after the other."),
};
openSample(0);

// Runs.

interface Run {
  stop: AbortController;
  requests: Set<string>;
}
let running: Run | null = null;

async function run(): Promise<void> {
  const form = get<HTMLFormElement>("settings");
  if (!form.reportValidity()) return;
  stop();
  const current: Run = { stop: new AbortController(), requests: new Set() };
  running = current;
  get<HTMLButtonElement>("stop").disabled = false;
  alert(null);
  get("outcome").textContent = "Running…";
  const place: Place = { state: editor.view.state, text: editor.text, hole: editor.hole };
  const order = chosen("order");
  const modes: Mode[] = order === "causal" ? ["causal", "diffusion"] : ["diffusion", "causal"];
  for (const mode of modes) panes[mode].begin(place, mode === "causal" ? "causal" : chosen("policy") || null);
  try {
    if (order === "both") {
      await Promise.all(modes.map((mode) => runOne(current, panes[mode], place)));
    } else {
      panes[modes[1]!].wait();
      for (const mode of modes) await runOne(current, panes[mode], place);
    }
    get("outcome").textContent = `Diffusion: ${panes.diffusion.outcome}. Token by token: ${panes.causal.outcome}.`;
    server("ready");
  } catch (error) {
    if (current.stop.signal.aborted) return; // The one who stopped it has said so.
    current.stop.abort();
    failed(error);
  } finally {
    if (running === current) {
      running = null;
      get<HTMLButtonElement>("stop").disabled = true;
    }
  }
}

async function runOne(current: Run, pane: Pane, place: Place): Promise<void> {
  const wanted = request(pane.mode, place);
  current.requests.add(wanted.request);
  try {
    const result = await api.complete(wanted, current.stop.signal, (step) => {
      if (!current.stop.signal.aborted) pane.step(step);
    });
    if (!current.stop.signal.aborted) {
      pane.finish(result, !still.matches && chosen("replay") !== "0");
      if (result.model) get("server").dataset["model"] = result.model;
    }
  } finally {
    current.requests.delete(wanted.request);
  }
}

function request(mode: Mode, { text, hole }: Place): Wanted {
  const lines = chosen("lines");
  return {
    text,
    start: toPoints(text, hole.from),
    end: toPoints(text, hole.to),
    filename: input("filename").value.trim(),
    n: Number(input("n").value),
    max_tokens: Number(input("tokens").value),
    steps: Number(chosen("steps")) || null,
    policy: mode === "causal" ? "causal" : chosen("policy") || null,
    lengths: Number(input("lengths").value) || null,
    temperature: Number(input("temperature").value),
    seed: Number(input("seed").value),
    one_line: lines === "" ? null : lines === "one",
    document: `page:${mode}`,
    request: randomName(),
  };
}

/** Ends the run that is going on, at the server too; false when there is none. */
function stop(): boolean {
  if (!running) return false;
  const { stop, requests } = running;
  running = null;
  for (const name of requests) void api.cancel(name);
  stop.abort();
  get<HTMLButtonElement>("stop").disabled = true;
  for (const pane of Object.values(panes)) {
    if (["running", "waiting"].includes(pane.root.dataset["state"] ?? "")) pane.fail("Stopped.");
  }
  get("outcome").textContent = "Stopped.";
  return true;
}

function failed(error: unknown): void {
  const message = error instanceof ApiError ? error.message : `Something went wrong in the page: ${String(error)}`;
  for (const pane of Object.values(panes)) {
    if (["running", "waiting"].includes(pane.root.dataset["state"] ?? "")) pane.fail("No answer.");
  }
  get("outcome").textContent = "";
  const trouble = error instanceof ApiError ? error.trouble : "refused";
  if (trouble === "gone") server("gone");
  alert(message, trouble === "token");
}

function accept(pane: Pane): void {
  const { completion, place } = pane.choice ?? {};
  if (!completion || !place) return;
  pane.skip();
  if (!editor.document.eq(place.state.doc)) {
    get("outcome").textContent = "The code has changed since this draft. Undo the change, or run again.";
    return;
  }
  const hole = { from: toUnits(place.text, completion.start), to: toUnits(place.text, completion.end) };
  editor.insert(hole, completion.text);
  get("outcome").textContent = `Inserted. ${MAC ? "⌘" : "Ctrl"} Z takes it back.`;
}

// The page around it.

function newPane(mode: Mode, title: string, subtitle: string): Pane {
  const copy = get<HTMLTemplateElement>("pane").content.cloneNode(true) as DocumentFragment;
  const root = copy.firstElementChild as HTMLElement;
  root.id = mode;
  root.dataset["state"] = "idle";
  const heading = root.querySelector("h2")!;
  heading.id = `${mode}-title`;
  heading.textContent = title;
  root.setAttribute("aria-labelledby", heading.id);
  root.querySelector('[data-part="subtitle"]')!.textContent = subtitle;
  root.querySelector('[data-part="slider"]')!.setAttribute("aria-label", `${title}: step`);
  root.querySelector('[data-part="draft"]')!.setAttribute("aria-label", `${title}: draft`);
  document.querySelector(".panes")!.append(copy);
  const pane = new Pane(root, mode, accept, () => Number(chosen("replay")) || 3000);
  pane.clear("Press Run to see a draft here.");
  return pane;
}

function openSample(index: number): void {
  const sample = SAMPLES[index];
  if (!sample) return;
  stop();
  input("filename").value = sample.filename;
  get<HTMLSelectElement>("lines").value = sample.lines;
  nameChanged();
  editor.open(sample.text, sample.hole);
}

function nameChanged(): void {
  get("language").textContent = editor.setLanguage(input("filename").value);
}

function alert(message: string | null, token = false): void {
  get("alert").hidden = message === null;
  get("alert-text").textContent = message;
  get("token-form").hidden = !token;
  if (token) input("token").focus();
}

function server(state: "ready" | "gone"): void {
  const node = get("server");
  node.dataset["state"] = state;
  const model = node.dataset["model"];
  get("server-text").textContent = state === "gone" ? "no answer from the server" : model ? `ready · ${model}` : "ready";
}

async function lookForServer(): Promise<void> {
  if (document.visibilityState === "visible") server((await api.alive()) ? "ready" : "gone");
}

function fill(id: string, options: [value: string, text: string][]): void {
  get<HTMLSelectElement>(id).append(...options.map(([value, text]) => new Option(text, value)));
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i + 1);
}

get("settings").addEventListener("submit", (event) => {
  event.preventDefault();
  void run();
});
get("stop").addEventListener("click", () => stop());
get("sample").addEventListener("change", () => openSample(Number(chosen("sample"))));
input("filename").addEventListener("input", nameChanged);
get("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  api.token = input("token").value.trim();
  input("token").value = "";
  void run();
});

document.addEventListener("keydown", (event) => {
  const run_ = event.key === "Enter" && (event.ctrlKey || event.metaKey);
  const bracket = event.altKey && !event.ctrlKey && /^Bracket(Left|Right)$/.exec(event.code);
  if (run_) {
    void run();
  } else if (event.key === "Escape") {
    if (!stop() && !Object.values(panes).map((pane) => pane.skip()).includes(true)) return;
  } else if (bracket) {
    const pane = panes.causal.root.contains(document.activeElement) ? panes.causal : panes.diffusion;
    pane.choose(bracket[1] === "Left" ? -1 : 1);
  } else {
    return;
  }
  event.preventDefault();
});

document.addEventListener("visibilitychange", () => void lookForServer());
setInterval(() => void lookForServer(), HEALTH_EVERY_MS);
void lookForServer();
