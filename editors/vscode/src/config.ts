// The settings: which are the extension's own, and which of the rest go to the language server. Knows nothing of VS Code.

/** The settings of one section, as VS Code keeps them. */
export interface Section {
  keys(): readonly string[];
  get(key: string): unknown;
  /** Whether the user, the workspace or the folder has said something about it. */
  isSet(key: string): boolean;
}

/** Not the server's: it would report them as unknown. */
const OWN = new Set(["path", "python", "model", "editModel", "languages", "confirmEdits", "trace"]);
/** What the server reads only at its start, and what decides how and for what it is started. */
export const AT_START = ["path", "python", "model", "editModel", "languages", "completion"] as const;

/** Of the documents that are served: files, new ones, and cells of notebooks. */
export const SCHEMES: readonly string[] = ["file", "untitled", "vscode-notebook-cell"];

export function isServed(languages: readonly string[], language: string): boolean {
  return languages.includes(language) || languages.includes("*");
}

/** Only what was set, bad values and unknown names too: the server reports them, and knows its own defaults. */
export function serverOptions(section: Section): Record<string, unknown> {
  const keys = section.keys().filter((key) => !OWN.has(key) && section.isSet(key));
  return Object.fromEntries(keys.map((key) => [key, section.get(key)]));
}

/** Those of which the server wants to know before it can ask. */
export function initialOptions(section: Section): Record<string, unknown> {
  const value = section.get("completion");
  return value === "on" || value === "off" ? { completion: value } : {};
}

/** What the server finds in its environment: these it reads where every command does. */
export function environment(section: Section): Record<string, string> {
  const named = { HONE_MODEL: text(section.get("model")), HONE_EDIT_MODEL: text(section.get("editModel")) };
  return Object.fromEntries(Object.entries(named).filter(([, value]) => value !== ""));
}

export interface Config {
  readonly path: string;
  readonly python: string;
  readonly languages: readonly string[];
  readonly confirmEdits: boolean;
  readonly enabled: boolean;
}

export function readConfig(section: Section): Config {
  const languages = section.get("languages");
  return {
    path: text(section.get("path")),
    python: text(section.get("python")),
    languages: Array.isArray(languages) ? languages.filter((one) => typeof one === "string") : [],
    confirmEdits: section.get("confirmEdits") === true,
    enabled: section.get("enabled") !== false,
  };
}

function text(value: unknown): string {
  return typeof value === "string" ? value.trim() : "";
}
