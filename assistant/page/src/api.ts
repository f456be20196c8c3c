// Hone's HTTP API as the page uses it. Knows nothing of the document.

import { serverEvents } from "./events";

export interface Wanted {
  text: string;
  start: number;
  end: number;
  filename: string;
  n: number;
  max_tokens: number;
  steps: number | null;
  policy: string | null;
  lengths: number | null;
  temperature: number;
  seed: number;
  one_line: boolean | null;
  document: string;
  request: string;
}

export interface Step {
  index: number;
  phase: string;
  tokens: (string | null)[];
  confidence: number[];
}

export interface Completion {
  text: string;
  start: number;
  end: number;
  score: number | null;
  confidence: number | null;
  verdict: "valid" | "unchecked";
  tokens: number;
  origin: string;
}

export interface Result {
  completions: Completion[];
  steps: number;
  passes: number;
  timing_ms: Record<string, number>;
  reason: string | null;
  context_tokens: number;
  known_tokens: number;
  model: string;
}

export type Trouble = "gone" | "token" | "busy" | "refused";

/** Why there is no result, in a sentence for the reader. */
export class ApiError extends Error {
  constructor(
    readonly trouble: Trouble,
    message: string,
  ) {
    super(message);
  }
}

const GONE = "Hone does not answer. Start it again with “hone serve”, then press Run.";

export class Api {
  private readonly client = `page-${randomName()}`;

  /** The token lives as long as the tab. */
  get token(): string {
    return sessionStorage.getItem("hone-token") ?? "";
  }

  set token(value: string) {
    sessionStorage.setItem("hone-token", value);
  }

  /** Asks for completions; `onStep` is told each draft on the way. Throws ApiError, or AbortError when `signal` says so. */
  async complete(wanted: Wanted, signal: AbortSignal, onStep: (step: Step) => void): Promise<Result> {
    const response = await this.send("v1/hone/complete", { ...wanted, stream: true }, signal);
    try {
      for await (const event of serverEvents(response.body!)) {
        const data: unknown = JSON.parse(event.data);
        if (event.name === "step") onStep(data as Step);
        else if (event.name === "result") return data as Result;
        else if (event.name === "error") throw new ApiError("refused", messageIn(data) ?? "The request failed.");
      }
    } catch (error) {
      if (error instanceof ApiError || signal.aborted) throw error;
      throw new ApiError("gone", GONE);
    }
    throw new ApiError("gone", "The connection ended before the answer. Press Run to ask again.");
  }

  async cancel(request: string): Promise<void> {
    await this.send("v1/hone/cancel", { request }).catch(() => undefined); // The connection is closed as well.
  }

  async alive(): Promise<boolean> {
    try {
      await fetch("health", { headers: this.headers(), cache: "no-store" });
      return true; // Any answer is a sign of life; a missing token shows when it matters.
    } catch {
      return false;
    }
  }

  private async send(path: string, body: object, signal?: AbortSignal): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(path, {
        method: "POST",
        headers: { ...this.headers(), "content-type": "application/json" },
        body: JSON.stringify(body),
        ...(signal && { signal }),
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ApiError("gone", GONE);
    }
    if (response.ok) return response;
    const said = messageIn(await response.json().catch(() => null));
    if (response.status === 401) throw new ApiError("token", "This server wants a token.");
    if (response.status === 503) {
      const wait = response.headers.get("retry-after");
      throw new ApiError("busy", `Hone cannot answer now: ${said ?? "it is busy"}. Try again in ${wait ?? "1"} s.`);
    }
    throw new ApiError("refused", said ?? `The server answered with status ${response.status}.`);
  }

  private headers(): Record<string, string> {
    const token = this.token;
    return { "x-hone-client": this.client, ...(token && { authorization: `Bearer ${token}` }) };
  }
}

/** A name that no other tab has; crypto.randomUUID needs HTTPS beyond loopback. */
export function randomName(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(3)), (n) => n.toString(36)).join("");
}

function messageIn(data: unknown): string | null {
  const error = (data as { error?: { message?: unknown } } | null)?.error;
  return typeof error?.message === "string" ? error.message : null;
}
