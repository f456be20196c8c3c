// Every call of VS Code's API, so that the rest can be read, and most of it tested, without VS Code.

import { execFile } from "node:child_process";
import * as vscode from "vscode";
import { environment, isServed, SCHEMES, type Section } from "./config.ts";
import type { Hone, Missing } from "./python.ts";
import type { Drawn } from "./status.ts";
import { messageOf } from "./work.ts";

export type Kind = "error" | "warning" | "info";

export interface Button {
  readonly title: string;
  run(): unknown;
}

/** Of an action: what is selected, else where the cursor is. */
export interface Target {
  readonly uri: string;
  readonly version: number;
  readonly position?: vscode.Position;
  readonly range?: vscode.Range;
}

const SECTION = "hone";

// Telling.

export function createLog(): vscode.LogOutputChannel {
  return vscode.window.createOutputChannel("Hone", { log: true });
}

export function tell(kind: Kind, message: string, ...buttons: readonly Button[]): void {
  const titles = buttons.map((button) => button.title);
  const { showErrorMessage, showWarningMessage, showInformationMessage } = vscode.window;
  const show = { error: showErrorMessage, warning: showWarningMessage, info: showInformationMessage }[kind];
  void show(message, ...titles)
    .then((chosen) => buttons.find((button) => button.title === chosen)?.run())
    // Nobody waits for a button: without this, a setting that cannot be written would say nothing.
    .then(undefined, (error: unknown) => showErrorMessage(`Hone: ${messageOf(error)}`));
}

export interface StatusItem extends vscode.Disposable {
  draw(drawn: Drawn): void;
}

export function createStatusItem(command: string): StatusItem {
  const item = vscode.window.createStatusBarItem("hone.status", vscode.StatusBarAlignment.Right, 100);
  item.name = "Hone";
  item.command = command;
  item.show();
  return {
    draw(drawn) {
      item.text = drawn.text;
      item.tooltip = drawn.tooltip;
      item.backgroundColor = drawn.isWarning ? new vscode.ThemeColor("statusBarItem.warningBackground") : undefined;
    },
    dispose: () => item.dispose(),
  };
}

/** A list to choose from, under what goes on. */
export async function choose(title: string, lines: readonly string[], buttons: readonly Button[]): Promise<void> {
  const told = lines.map((line) => ({ label: line, kind: vscode.QuickPickItemKind.Separator, button: undefined }));
  const items = buttons.map((button) => ({ label: button.title, button }));
  const chosen = await vscode.window.showQuickPick([...told, ...items], { title, placeHolder: "What to do" });
  await chosen?.button?.run();
}

export function withProgress<T>(title: string, work: (token: vscode.CancellationToken) => Promise<T>): Thenable<T> {
  const options = { location: vscode.ProgressLocation.Notification, title, cancellable: true };
  return vscode.window.withProgress(options, (_progress, token) => work(token));
}

export function setContext(key: string, value: unknown): void {
  void run("setContext", key, value);
}

export function run(command: string, ...args: readonly unknown[]): Thenable<unknown> {
  return vscode.commands.executeCommand(command, ...args);
}

export function openSettings(query: string): Thenable<unknown> {
  return run("workbench.action.openSettings", query);
}

/** Whether VS Code itself shows suggestions of anyone. */
export function showsSuggestions(): boolean {
  return vscode.workspace.getConfiguration("editor").get("inlineSuggest.enabled") !== false;
}

// Settings.

export const section: Section = {
  keys: () => Object.keys(vscode.workspace.getConfiguration().get<object>(SECTION) ?? {}),
  get: (key) => vscode.workspace.getConfiguration(SECTION).get(key),
  isSet(key) {
    const found = vscode.workspace.getConfiguration(SECTION).inspect(key);
    return (found?.workspaceFolderValue ?? found?.workspaceValue ?? found?.globalValue) !== undefined;
  },
};

/** Where it is set already, else for the user. */
export async function setSetting(key: string, value: unknown): Promise<void> {
  const settings = vscode.workspace.getConfiguration(SECTION);
  const isOfWorkspace = settings.inspect(key)?.workspaceValue !== undefined;
  const target = isOfWorkspace ? vscode.ConfigurationTarget.Workspace : vscode.ConfigurationTarget.Global;
  await settings.update(key, value, target);
}

/** Told which of the keys changed, if any did. */
export function onSettings(changed: (isChanged: (key: string) => boolean) => void): vscode.Disposable {
  return vscode.workspace.onDidChangeConfiguration((event) => {
    if (event.affectsConfiguration(SECTION)) changed((key) => event.affectsConfiguration(`${SECTION}.${key}`));
  });
}

// The workspace.

export function isTrusted(): boolean {
  return vscode.workspace.isTrusted;
}

export const onTrusted = vscode.workspace.onDidGrantWorkspaceTrust;
export const onOpened: (listener: () => void) => vscode.Disposable = (listener) =>
  vscode.workspace.onDidOpenTextDocument(() => listener());

export function folders(): string[] {
  return (vscode.workspace.workspaceFolders ?? []).map((folder) => folder.uri.fsPath);
}

export function hasDocumentOf(languages: readonly string[]): boolean {
  return vscode.workspace.textDocuments.some(
    ({ uri, languageId }) => SCHEMES.includes(uri.scheme) && isServed(languages, languageId),
  );
}

export function versionOf(uri: string): number | undefined {
  return vscode.workspace.textDocuments.find((one) => one.uri.toString() === uri)?.version;
}

export function target(): Target | undefined {
  const editor = vscode.window.activeTextEditor;
  if (editor === undefined) return undefined;
  const { document, selection } = editor;
  const where = selection.isEmpty ? { position: selection.active } : { range: selection };
  return { uri: document.uri.toString(), version: document.version, ...where };
}

// Other extensions and programs.

interface PythonEnvironments {
  getActiveEnvironmentPath(resource?: vscode.Uri): { path: string };
  resolveEnvironment(path: unknown): Promise<{ executable: { uri?: vscode.Uri } } | undefined>;
  onDidChangeActiveEnvironmentPath: vscode.Event<unknown>;
}

/** The interpreter that the Python extension has chosen, where there is that extension. */
export async function selectedPython(): Promise<string | undefined> {
  const environments = await pythonEnvironments();
  if (environments === undefined) return undefined;
  const active = environments.getActiveEnvironmentPath(vscode.workspace.workspaceFolders?.[0]?.uri);
  const resolved = await environments.resolveEnvironment(active);
  return resolved?.executable.uri?.fsPath;
}

async function pythonEnvironments(): Promise<PythonEnvironments | undefined> {
  const extension = vscode.extensions.getExtension<{ environments?: PythonEnvironments }>("ms-python.python");
  return extension === undefined ? undefined : (await extension.activate())?.environments;
}

/** Called when it has chosen another one. */
export async function onSelectedPython(changed: () => void): Promise<vscode.Disposable[]> {
  const environments = await pythonEnvironments();
  return environments === undefined ? [] : [environments.onDidChangeActiveEnvironmentPath(() => changed())];
}

/** The words of `hone doctor`, whether it is content or not; about the models that the settings name. */
export function doctor(hone: Hone, token: vscode.CancellationToken): Promise<string> {
  const options = { env: { ...process.env, ...environment(section) }, windowsHide: true };
  return new Promise((resolve) => {
    const child = execFile(hone.program, [...hone.args, "doctor"], options, (error, stdout, stderr) =>
      resolve(`${stdout}${stderr}`.trim() || (error?.message ?? "it said nothing")),
    );
    token.onCancellationRequested(() => child.kill());
  });
}

const REPORT = vscode.Uri.parse("hone-report:Hone");

/** Documents that are read only. */
export class Reports implements vscode.TextDocumentContentProvider, vscode.Disposable {
  readonly #changed = new vscode.EventEmitter<vscode.Uri>();
  readonly onDidChange = this.#changed.event;
  // Last: VS Code looks for the event above when it is registered, and never again.
  readonly #registration = vscode.workspace.registerTextDocumentContentProvider(REPORT.scheme, this);
  #text = "";

  provideTextDocumentContent(): string {
    return this.#text;
  }

  async show(text: string): Promise<void> {
    this.#text = text;
    this.#changed.fire(REPORT);
    await vscode.window.showTextDocument(REPORT, { preview: true });
  }

  dispose(): void {
    this.#registration.dispose();
    this.#changed.dispose();
  }
}

export function tellMissing(missing: Missing, restart: () => unknown): void {
  tell(
    "error",
    `Hone was not found: ${missing.why}. In a clone of Hone, run \`${missing.install}\`; or choose its program.`,
    { title: "Copy Command", run: () => vscode.env.clipboard.writeText(missing.install) },
    { title: "Choose Program…", run: chooseProgram },
    { title: "Try Again", run: restart },
  );
}

async function chooseProgram(): Promise<void> {
  const [file] = (await vscode.window.showOpenDialog({ title: "The program hone", canSelectMany: false })) ?? [];
  if (file !== undefined) await setSetting("path", file.fsPath);
}
