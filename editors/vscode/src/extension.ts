// Wiring only.

import { commands, type ExtensionContext } from "vscode";
import * as api from "./api.ts";
import { Server } from "./client.ts";
import { AT_START, readConfig } from "./config.ts";
import { find } from "./python.ts";
import { Status } from "./status.ts";
import { messageOf } from "./work.ts";

let server: Server | undefined;

export function activate(context: ExtensionContext): void {
  const log = api.createLog();
  const item = api.createStatusItem("hone.status");
  const reports = new api.Reports();
  const status = new Status((drawn) => item.draw(drawn));
  const config = () => readConfig(api.section);
  const showLog = { title: "Show Log", run: () => log.show() };
  const restart = { title: "Restart", run: () => wake(true) };
  let isWatching = false;
  const trust = { title: "Manage Workspace Trust", run: () => api.run("workbench.trust.manage") };

  const one = new Server({
    log,
    status,
    section: () => api.section,
    languages: () => config().languages,
    confirmsEdits: () => config().confirmEdits,
    find: () => {
      const { path, python } = config();
      const selected = () =>
        api.selectedPython().catch((error) => {
          log.warn(`the Python extension: ${messageOf(error)}`);
          return undefined;
        });
      const searchPath = process.env.PATH ?? "";
      return find({ path, python, folders: api.folders(), selected, searchPath });
    },
    versionOf: api.versionOf,
    tell: (kind, message) => api.tell(kind, message, showLog, ...(kind === "error" ? [restart] : [])),
    tellMissing: (missing) => {
      api.tellMissing(missing, restart.run);
      watchPython();
    },
    runs: (isRunning) => api.setContext("hone.running", isRunning),
    // What rules do, too, is always offered; what is not known is offered, and refused with the reason.
    knows: (tasks) => {
      for (const task of ["modernise", "annotate"]) {
        api.setContext(`hone.without.${task}`, tasks !== undefined && !tasks.includes(task));
      }
    },
  });
  server = one;

  /** Starts the server where there is something to do for it. */
  function wake(isWished = false): void {
    if (!api.isTrusted()) {
      status.set("restricted", "Hone would start a program that this workspace can name, and hand its files to it.");
      if (isWished) api.tell("info", "Hone is off, because this workspace is not trusted.", trust);
    } else if (isWished || (isAsleep() && api.hasDocumentOf(config().languages))) {
      void one.restart();
    }
  }

  function isAsleep(): boolean {
    return status.state === "idle" || status.state === "restricted";
  }

  /** Another environment may have Hone in it. Not before it is missing: asking starts the Python extension. */
  function watchPython(): void {
    if (isWatching) return;
    isWatching = true;
    api
      .onSelectedPython(() => status.state === "missing" && wake(true))
      .then((subscription) => context.subscriptions.push(...subscription))
      .catch((error) => log.warn(`the Python extension: ${messageOf(error)}`));
  }

  async function act(action: string, title: string): Promise<void> {
    const target = api.target();
    if (target === undefined) return api.tell("info", "Hone: there is no editor with the cursor in it");
    await api.withProgress(`Hone: ${title}`, async (token) => {
      try {
        await one.run(action, target, token);
      } catch (error) {
        if (!token.isCancellationRequested) api.tell("warning", `Hone: ${messageOf(error)}`);
      }
    });
  }

  async function toggle(): Promise<void> {
    const { enabled } = config();
    if (enabled) await api.run("editor.action.inlineSuggest.hide");
    await api.setSetting("enabled", !enabled);
  }

  async function doctor(): Promise<void> {
    const { hone } = one;
    if (hone === undefined) return wake(true);
    const report = await api.withProgress("Hone: checking the installation", (token) => api.doctor(hone, token));
    await reports.show([...status.lines(), "", report, ""].join("\n"));
  }

  async function showStatus(): Promise<void> {
    const lines = status.lines();
    if (!api.showsSuggestions()) lines.push("VS Code's setting editor.inlineSuggest.enabled is off");
    const settings = { title: "Settings", run: () => api.openSettings("hone.") };
    const isRestricted = status.state === "restricted";
    const toggling = { title: config().enabled ? "Turn Suggestions Off" : "Turn Suggestions On", run: toggle };
    const checking = { title: "Check Installation", run: doctor };
    const buttons = isRestricted ? [trust, showLog] : [toggling, checking, restart, showLog, settings];
    await api.choose("Hone", lines, buttons);
  }

  const actions: Record<string, () => unknown> = {
    "hone.trigger": () => api.run("editor.action.inlineSuggest.trigger"),
    "hone.fillHole": () => act("fillHole", "filling the hole"),
    "hone.completeBody": () => act("completeBody", "writing the body"),
    "hone.fixSyntax": () => act("fixSyntax", "fixing the syntax error"),
    "hone.fixBlock": () => act("fixBlock", "fixing the block"),
    "hone.modernise": () => act("modernise", "modernising"),
    "hone.addAnnotations": () => act("addAnnotations", "adding annotations"),
    "hone.renameHere": () => act("renameHere", "renaming"),
    "hone.toggle": toggle,
    "hone.status": showStatus,
    "hone.doctor": doctor,
    "hone.restart": restart.run,
    "hone.showLog": showLog.run,
  };
  for (const [name, run] of Object.entries(actions)) {
    context.subscriptions.push(commands.registerCommand(name, run));
  }
  context.subscriptions.push(
    log,
    item,
    reports,
    api.onTrusted(() => wake()),
    api.onOpened(() => wake()),
    api.onSettings((isChanged) => {
      status.enable(config().enabled);
      if (AT_START.some(isChanged) && !isAsleep()) void one.restart();
      else wake();
    }),
  );
  status.enable(config().enabled);
  wake();
}

export function deactivate(): Promise<void> | undefined {
  return server?.stop();
}
