// What goes on, and how it is put into the status bar. Knows nothing of VS Code.

export type State =
  | "idle" // until a file of its languages is open
  | "restricted" // the workspace is not trusted
  | "missing" // there is no Hone
  | "starting"
  | "ready"
  | "failed"; // the language server does not run

export interface Drawn {
  readonly text: string;
  readonly tooltip: string;
  readonly isWarning: boolean;
}

const MEANS: Record<State, string> = {
  idle: "starts with the first file of its languages",
  restricted: "off, because this workspace is not trusted",
  missing: "not installed",
  starting: "the language server starts",
  ready: "ready",
  failed: "the language server does not run",
};

export class Status {
  readonly #draw: (drawn: Drawn) => void;
  readonly #now: () => number;
  #state: State = "idle";
  #detail = "";
  #complaint = "";
  #isEnabled = true;
  readonly #waiting = new Map<string | number, string>();
  #waitedUntil = Number.NEGATIVE_INFINITY;
  #latencyMs: number | undefined;
  #answered = 0;
  #suggested = 0;

  constructor(draw: (drawn: Drawn) => void, now = () => performance.now()) {
    this.#draw = draw;
    this.#now = now;
    this.#changed();
  }

  get state(): State {
    return this.#state;
  }

  /** The detail is a sentence: what was found, or what is wrong. */
  set(state: State, detail = ""): void {
    this.#state = state;
    this.#detail = detail;
    this.#waiting.clear();
    if (state !== "ready") this.#complaint = "";
    this.#changed();
  }

  enable(isEnabled: boolean): void {
    this.#isEnabled = isEnabled;
    this.#changed();
  }

  /** Undefined: it is not waited for any more. */
  wait(token: string | number, what: string | undefined): void {
    if (what !== undefined) this.#waiting.set(token, what);
    else if (this.#waiting.delete(token)) this.#waitedUntil = this.#now();
    this.#changed();
  }

  answered(suggestions: number, ms: number): void {
    this.#answered += 1;
    // What waited for the model to be loaded says nothing about the next one.
    if (this.#waiting.size === 0 && this.#now() - ms > this.#waitedUntil) this.#latencyMs = ms;
    if (suggestions > 0) {
      this.#suggested += 1;
      this.#complaint = "";
    }
    this.#changed();
  }

  /** What the server said is wrong, until it has a suggestion again. */
  complain(message: string): void {
    this.#complaint = message;
    this.#changed();
  }

  /** For people, line by line. */
  lines(): string[] {
    const isOff = this.#state === "ready" && !this.#isEnabled;
    const lines = [`Hone: ${isOff ? "suggestions are off (the setting hone.enabled)" : MEANS[this.#state]}`];
    if (this.#detail !== "") lines.push(this.#detail);
    for (const what of this.#waiting.values()) lines.push(`waiting: ${what}`);
    if (this.#latencyMs !== undefined) {
      const newest = `the newest after ${this.#latencyMs.toFixed(0)} ms`;
      lines.push(`${this.#answered} answers, ${this.#suggested} with a suggestion, ${newest}`);
    }
    if (this.#complaint !== "") lines.push(this.#complaint);
    return lines;
  }

  #text(): { text: string; isWarning: boolean } {
    const [what] = this.#waiting.values();
    if (this.#state === "restricted") return { text: "$(shield) Hone off", isWarning: false };
    if (this.#state === "missing" || this.#state === "failed") return { text: "$(warning) Hone", isWarning: true };
    if (this.#state === "starting") return { text: "$(loading~spin) Hone", isWarning: false };
    if (!this.#isEnabled) return { text: "$(circle-slash) Hone off", isWarning: false };
    if (what !== undefined) return { text: `$(loading~spin) Hone: ${what}`, isWarning: false };
    if (this.#complaint !== "") return { text: "$(warning) Hone", isWarning: true };
    const latency = this.#latencyMs === undefined ? "" : ` ${this.#latencyMs.toFixed(0)} ms`;
    return { text: `$(sparkle) Hone${latency}`, isWarning: false };
  }

  #changed(): void {
    this.#draw({ ...this.#text(), tooltip: this.lines().join("\n") });
  }
}
