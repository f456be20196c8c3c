// The language server as a process: started, ended, started again after a crash. One at a time, however many ask for it.

import type { LogOutputChannel } from "vscode";
import {
  CancellationToken,
  CloseAction,
  DidChangeConfigurationNotification,
  ErrorAction,
  type ErrorHandler,
  ExecuteCommandRequest,
  LanguageClient,
  type LanguageClientOptions,
  MessageType,
  type Middleware,
  RevealOutputChannelOn,
  ShowMessageNotification,
  type StaticFeature,
} from "vscode-languageclient/node";
import type { Kind, Target } from "./api.ts";
import { environment, initialOptions, isServed, SCHEMES, type Section, serverOptions } from "./config.ts";
import { actionToBeConfirmed, isCurrent, isEmpty, STALE, toBeConfirmed } from "./edits.ts";
import { watched } from "./inline.ts";
import type { Hone, Missing } from "./python.ts";
import type { Status } from "./status.ts";
import { messageOf, within } from "./work.ts";

const CRASHES = 4;
const CRASHES_MS = 3 * 60_000;
const STOP_MS = 3000;
const START_MS = 30_000;

/** What it needs of the editor. */
export interface Host {
  readonly log: LogOutputChannel;
  readonly status: Status;
  find(): Promise<Hone | Missing>;
  languages(): readonly string[];
  section(): Section;
  confirmsEdits(): boolean;
  versionOf(uri: string): number | undefined;
  tell(kind: Kind, message: string): void;
  tellMissing(missing: Missing): void;
  runs(isRunning: boolean): void;
  /** What the model can do to a block of code; undefined while that is not known. */
  knows(tasks: readonly string[] | undefined): void;
}

export class Server {
  readonly #host: Host;
  #client: LanguageClient | undefined;
  #hone: Hone | undefined;
  #isWanted = false;
  #work: Promise<void> | undefined;
  #crashes: number[] = [];

  constructor(host: Host) {
    this.#host = host;
  }

  /** Where it was found; undefined while it is not. */
  get hone(): Hone | undefined {
    return this.#hone;
  }

  /** Ends it where it runs, and starts it. What is wished for meanwhile is one wish. */
  restart(): Promise<void> {
    this.#isWanted = true;
    this.#work ??= this.#restart();
    return this.#work;
  }

  async stop(): Promise<void> {
    this.#isWanted = false;
    await this.#work;
    await this.#end();
  }

  /** One of the server's actions; the edit comes back as a request of its own. */
  async run(action: string, target: Target, token: CancellationToken): Promise<void> {
    const client = this.#client;
    if (!client?.isRunning()) throw new Error("the language server does not run");
    const params = { command: "hone.run", arguments: [{ action, ...target }] };
    const result: { applied?: boolean; reason?: string } | null = await client.sendRequest(
      ExecuteCommandRequest.type,
      params,
      token,
    );
    // Without a reason, the user has thrown the preview away.
    if (result?.applied === false && result.reason) throw new Error(result.reason);
  }

  async #restart(): Promise<void> {
    try {
      while (this.#isWanted) {
        this.#isWanted = false;
        await this.#end();
        await this.#start();
      }
    } finally {
      this.#work = undefined; // at once: a wish that comes now starts anew
    }
  }

  async #end(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    this.#host.runs(false);
    this.#host.knows(undefined);
    try {
      await client?.dispose(STOP_MS);
    } catch (error) {
      this.#host.log.debug(`it did not end by itself: ${messageOf(error)}`);
    }
  }

  async #start(): Promise<void> {
    const { log, status } = this.#host;
    status.set("starting");
    const found = await this.#host.find();
    if ("why" in found) {
      this.#hone = undefined;
      log.warn(`Hone was not found: ${found.why}`);
      status.set("missing", found.why);
      this.#host.tellMissing(found);
      return;
    }
    this.#hone = found;
    log.info(`${found.program} is Hone ${found.version}`);
    const client = this.#create(found);
    try {
      await within(START_MS, client.start()); // a start that hangs would hold up every later one
    } catch (error) {
      // It has not come up, so there is nothing to end; this ends the process where it still runs.
      await client.dispose().catch(() => undefined);
      const message = `the language server does not start: ${messageOf(error)}`;
      log.error(message);
      status.set("failed", message);
      this.#host.tell("error", `Hone: ${message}`);
      return;
    }
    this.#client = client;
    status.set("ready", `${found.program}, version ${found.version}`);
    this.#host.runs(true);
    void this.#learn(client);
  }

  async #learn(client: LanguageClient): Promise<void> {
    try {
      const tasks: string[] = await client.sendRequest(ExecuteCommandRequest.type, { command: "hone.tasks" });
      if (this.#client === client) this.#host.knows(tasks);
    } catch (error) {
      this.#host.log.debug(`what the model can do is not known: ${messageOf(error)}`);
    }
  }

  #create(hone: Hone): LanguageClient {
    const env = { ...process.env, ...environment(this.#host.section()) };
    const command = { command: hone.program, args: [...hone.args, "lsp"], options: { env } };
    const client: LanguageClient = new LanguageClient(
      "hone",
      "Hone",
      command,
      this.#options(() => client),
    );
    client.registerFeature(wantsTasks);
    client.onNotification("hone/tasks", ({ tasks }: { tasks: string[] }) => {
      if (this.#client === client) this.#host.knows(tasks);
    });
    client.onNotification(ShowMessageNotification.type, ({ type, message }) => {
      const kind = type === MessageType.Error ? "error" : type === MessageType.Warning ? "warning" : "info";
      this.#host.log[kind === "warning" ? "warn" : kind](message);
      if (kind !== "info") this.#host.status.complain(message.replace(/^Hone: /, ""));
      this.#host.tell(kind, message);
    });
    return client;
  }

  #options(client: () => LanguageClient): LanguageClientOptions {
    const languages = this.#host.languages();
    return {
      documentSelector: SCHEMES.flatMap((scheme) => languages.map((language) => ({ scheme, language }))),
      // The server takes all of a notebook, whatever its cells are in.
      notebookDocumentOptions: {
        filterCells: (_, cells) => cells.filter((cell) => isServed(languages, cell.document.languageId)),
      },
      synchronize: { configurationSection: "hone" },
      initializationOptions: () => initialOptions(this.#host.section()),
      initializationFailedHandler: () => false,
      outputChannel: this.#host.log,
      traceOutputChannel: this.#host.log,
      revealOutputChannelOn: RevealOutputChannelOn.Never, // what is to be told is told here
      errorHandler: this.#errorHandler(client),
      middleware: this.#middleware(client),
    };
  }

  #middleware(client: () => LanguageClient): Middleware {
    const { status } = this.#host;
    return {
      provideInlineCompletionItems: watched((suggestions, ms) => status.answered(suggestions, ms)),
      handleWorkDoneProgress: (token, params, next) => {
        if (params.kind === "end") {
          status.wait(token, undefined);
          next(token, params); // only this: VS Code would show the others a second time
        } else if (params.message !== undefined) {
          status.wait(token, params.message);
        }
      },
      sendRequest: async (type, params, token, next) => {
        const result = await next(type, params, token);
        const method = typeof type === "string" ? type : type.method;
        return method === "codeAction/resolve" ? (this.#checked(result as never) as never) : result;
      },
      resolveCodeAction: async (item, token, next) => {
        try {
          const action = await next(item, token);
          if (!token.isCancellationRequested && isEmpty(action?.edit)) throw new Error("there is no edit");
          return action;
        } catch (error) {
          // VS Code would say nothing at all.
          if (!token.isCancellationRequested) this.#host.tell("warning", `Hone: ${reasonOf(error)}`);
          throw error;
        }
      },
      workspace: {
        configuration: (params, token, next) =>
          params.items.every((item) => item.section === "hone")
            ? params.items.map(() => serverOptions(this.#host.section()))
            : next(params, token),
        // It asks for the values.
        didChangeConfiguration: () =>
          client().sendNotification(DidChangeConfigurationNotification.type, { settings: null }),
        handleApplyEdit: (params, next) => {
          if (!isCurrent(params.edit, this.#host.versionOf)) return { applied: false, failureReason: STALE };
          const edit = this.#host.confirmsEdits() ? toBeConfirmed(params.edit) : params.edit;
          return next({ ...params, edit }, CancellationToken.None);
        },
      },
    };
  }

  #checked(action: Parameters<typeof actionToBeConfirmed>[0]): typeof action {
    if (action.edit !== undefined && !isCurrent(action.edit, this.#host.versionOf)) throw new Error(STALE);
    return this.#host.confirmsEdits() ? actionToBeConfirmed(action) : action;
  }

  #errorHandler(client: () => LanguageClient): ErrorHandler {
    return {
      error: (error) => {
        this.#host.log.debug(`the connection: ${error.message}`);
        return { action: ErrorAction.Continue, handled: true };
      },
      // The client never starts it again by itself: there is one way to do that.
      closed: () => {
        if (this.#client === client()) this.#crashed();
        return { action: CloseAction.DoNotRestart, message: "the language server has ended", handled: true };
      },
    };
  }

  #crashed(): void {
    const now = Date.now();
    this.#crashes = [...this.#crashes.filter((at) => now - at < CRASHES_MS), now];
    if (this.#crashes.length > CRASHES) {
      this.#crashes = [];
      this.#host.runs(false);
      const message = `the language server has ended ${CRASHES + 1} times within ${CRASHES_MS / 60_000} minutes`;
      this.#host.status.set("failed", message);
      this.#host.tell("error", `Hone: ${message} and is not started again`);
      return;
    }
    if (this.#crashes.length === 1) {
      this.#host.tell("warning", "Hone: the language server has ended unexpectedly; it is started again");
    }
    void this.restart();
  }
}

/** Told when the model is another one, as after `hone model use`. */
const wantsTasks: StaticFeature = {
  fillClientCapabilities: (capabilities) => {
    capabilities.experimental = { ...capabilities.experimental, honeTasks: true };
  },
  initialize: () => undefined,
  getState: () => ({ kind: "static" }),
  clear: () => undefined,
};

/** The server's refusals of an outdated document arrive as a cancellation. */
function reasonOf(error: unknown): string {
  const message = messageOf(error);
  return /^cancell?ed$/i.test(message) ? STALE : message;
}
