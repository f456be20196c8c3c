// Where Hone is: a setting, the PATH, the chosen Python environment, the workspace's .venv. Knows nothing of VS Code.

import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, isAbsolute, join } from "node:path";

/** How `hone` is called, behind which its own arguments stand. */
export interface Hone {
  readonly program: string;
  readonly args: readonly string[];
  readonly version: string;
}

/** Why there is none, and what puts it there. */
export interface Missing {
  readonly why: string;
  readonly install: string;
}

export interface Places {
  /** The settings hone.path and hone.python; "" where they are not set. */
  readonly path: string;
  readonly python: string;
  /** Of the workspace. */
  readonly folders: readonly string[];
  /** The interpreter that the user has chosen elsewhere; asked only where it matters, since that may be slow. */
  readonly selected: () => Promise<string | undefined>;
  readonly searchPath: string;
}

const PATIENCE_MS = 30_000;
const isWindows = process.platform === "win32";

/** A setting that does not lead to Hone is not passed over: the user has meant it. */
export async function find(places: Places): Promise<Hone | Missing> {
  if (places.path !== "") {
    return explicit("hone.path", await program(places.path, places));
  }
  if (places.python !== "") {
    return explicit("hone.python", await interpreter(expanded(places.python, places)));
  }
  const looked: string[] = [];
  for (const candidate of await executables("hone", places.searchPath)) {
    const found = await probe(candidate, []);
    if (typeof found !== "string") return found;
    looked.push(found);
  }
  if (looked.length === 0) looked.push("there is no program `hone` in the PATH");
  const selected = await places.selected();
  const environments = places.folders.map((folder) =>
    join(folder, ".venv", isWindows ? "Scripts/python.exe" : "bin/python"),
  );
  for (const python of new Set(selected === undefined ? environments : [selected, ...environments])) {
    if (python !== selected && !(await isExecutable(python))) continue;
    const found = await interpreter(python);
    if (typeof found !== "string") return found;
    looked.push(found);
  }
  const python = selected ?? (isWindows ? "py" : "python3");
  return { why: looked.join("; "), install: `${/\s/.test(python) ? `"${python}"` : python} -m pip install .` };
}

function explicit(setting: string, found: Hone | string): Hone | Missing {
  return typeof found === "string"
    ? { why: `the setting ${setting}: ${found}`, install: "python3 -m pip install ." }
    : found;
}

async function program(path: string, places: Places): Promise<Hone | string> {
  const wanted = expanded(path, places);
  if (!/[\\/]/.test(wanted)) {
    const [first] = await executables(wanted, places.searchPath);
    return first === undefined ? `there is no program ${wanted} in the PATH` : probe(first, []);
  }
  return (await isExecutable(wanted)) ? probe(wanted, []) : `${wanted} is no program`;
}

function expanded(path: string, places: Places): string {
  const [folder] = places.folders;
  const known = folder === undefined ? path : path.replace(/^\$\{workspaceFolder\}/, () => folder);
  return known.replace(/^~(?=[\\/])/, () => homedir());
}

/** Without -P, the folder in which it is started would come first: a project's own package `assistant` would be run. */
async function interpreter(python: string): Promise<Hone | string> {
  const found = await probe(python, ["-P", "-m", "assistant"]);
  return typeof found === "string" ? `${python} has no Hone in its environment` : found;
}

/** What is wrong, where it is not Hone. */
function probe(program: string, args: readonly string[]): Promise<Hone | string> {
  return new Promise((resolve) => {
    // Windows starts .cmd and .bat only through a shell, which would read the path as more than a path.
    const options = { timeout: PATIENCE_MS, windowsHide: true };
    execFile(program, [...args, "--version"], options, (error, stdout) => {
      const version = /^hone (\d\S*)/.exec(stdout)?.[1];
      if (version !== undefined) return resolve({ program, args, version });
      return resolve(error === null ? `${program} is another program` : `${program} does not run`);
    });
  });
}

async function executables(name: string, searchPath: string): Promise<string[]> {
  const files = isWindows ? [`${name}.exe`] : [name];
  const found: string[] = [];
  for (const folder of searchPath.split(delimiter).filter(isAbsolute)) {
    for (const file of files) {
      if (await isExecutable(join(folder, file))) found.push(join(folder, file));
    }
  }
  return [...new Set(found)];
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}
