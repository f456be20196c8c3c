import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { test } from "node:test";
import { environment, isServed, type Section, serverOptions } from "../src/config.ts";
import { isCurrent, toBeConfirmed } from "../src/edits.ts";
import { find } from "../src/python.ts";
import { type Drawn, Status } from "../src/status.ts";
import { within } from "../src/work.ts";

function folder(): Promise<string> {
  return mkdtemp(join(tmpdir(), "hone-"));
}

/** A program that prints something for the arguments it is given, and fails for others. */
async function program(path: string, args: string, prints: string): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `#!/bin/sh\n[ "$*" = "${args}" ] && echo "${prints}" && exit 0\nexit 1\n`);
  await chmod(path, 0o755);
  return path;
}

const nowhere = { path: "", python: "", folders: [], searchPath: "", selected: async () => undefined };
const module = "-P -m assistant --version";

test("a setting comes first, and is not passed over", async () => {
  const here = await folder();
  const other = await program(join(here, "bin", "hone"), "--version", "hone 2.0");
  const path = await program(join(here, "mine"), "--version", "hone 1.0");
  const places = { ...nowhere, searchPath: join(here, "bin"), folders: [here] };
  assert.deepEqual(await find({ ...places, path }), { program: path, args: [], version: "1.0" });
  const relative = await find({ ...places, path: "$" + "{workspaceFolder}/mine" });
  assert.equal("program" in relative && relative.program, path);
  assert.equal(((await find({ ...places, path: "hone" })) as { program: string }).program, other);
  for (const bad of [join(here, "gone"), here, "no-such-hone"]) {
    const missing = await find({ ...places, path: bad });
    assert.ok(
      "why" in missing && missing.why.includes("hone.path") && missing.why.includes(bad),
      JSON.stringify(missing),
    );
  }
  const python = await program(join(here, "python"), module, "hone 3.0");
  assert.deepEqual(await find({ ...places, python }), {
    program: python,
    args: ["-P", "-m", "assistant"],
    version: "3.0",
  });
  assert.match(((await find({ ...places, python: other })) as { why: string }).why, /hone\.python: .* has no Hone/);
});

test("then the PATH, the chosen environment, the workspace's .venv", async () => {
  const here = await folder();
  const venv = await program(join(here, "work", ".venv", "bin", "python"), module, "hone 4.0");
  let places = {
    ...nowhere,
    searchPath: ["relative", join(here, "bin")].join(delimiter),
    folders: [join(here, "work")],
  };
  assert.equal(((await find(places)) as { program: string }).program, venv);
  const chosen = await program(join(here, "chosen", "python"), module, "hone 5.0");
  places = { ...places, selected: async () => chosen as never };
  assert.equal(((await find(places)) as { program: string }).program, chosen);
  const stranger = await program(join(here, "bin", "hone"), "--version", "honey 1.0");
  assert.equal(((await find(places)) as { program: string }).program, chosen);
  await program(stranger, "--version", "hone 6.0");
  assert.equal(((await find(places)) as { program: string }).program, stranger);
});

test("where there is none, the words say where it was looked for and how to get it", async () => {
  const here = await folder();
  const stranger = await program(join(here, "bin", "hone"), "--version", "honey 1.0");
  const chosen = await program(join(here, "my env", "python"), "nothing", "");
  const missing = await find({ ...nowhere, searchPath: join(here, "bin"), selected: async () => chosen as never });
  assert.deepEqual(missing, {
    why: `${stranger} is another program; ${chosen} has no Hone in its environment`,
    install: `"${chosen}" -m pip install .`,
  });
});

test("the server gets what was set, and nothing of the extension's own", () => {
  const values: Record<string, unknown> = {
    path: "x",
    trace: { server: "messages" },
    enabled: true,
    maxTokens: "many",
    new: 1,
  };
  const section: Section = {
    keys: () => Object.keys(values),
    get: (key) => values[key],
    isSet: (key) => key !== "enabled",
  };
  assert.deepEqual(serverOptions(section), { maxTokens: "many", new: 1 });
});

test("models that are named are the server's environment, and not its options", () => {
  const values: Record<string, unknown> = { model: " ~/tiny ", editModel: "", budgetMs: 9 };
  const section: Section = {
    keys: () => Object.keys(values),
    get: (key) => values[key],
    isSet: () => true,
  };
  assert.deepEqual(environment(section), { HONE_MODEL: "~/tiny" });
  assert.deepEqual(serverOptions(section), { budgetMs: 9 });
  values.editModel = "edits";
  values.model = 3;
  assert.deepEqual(environment(section), { HONE_EDIT_MODEL: "edits" });
});

test("a language is served that is named, or where all are", () => {
  assert.deepEqual(
    ["python", "sql"].map((one) => isServed(["python"], one)),
    [true, false],
  );
  assert.ok(isServed(["*"], "sql"));
});

test("an edit is confirmed, and is too old for another version", () => {
  const change = { textDocument: { uri: "file:///a", version: 3 }, edits: [] };
  const edit = { documentChanges: [change], changeAnnotations: { a: { label: "A" } } };
  assert.deepEqual(toBeConfirmed(edit).changeAnnotations, { a: { label: "A", needsConfirmation: true } });
  assert.ok(isCurrent(edit, () => 3));
  assert.ok(!isCurrent(edit, () => 4));
  assert.ok(isCurrent(edit, () => undefined));
});

test("the status bar", () => {
  const drawn: Drawn[] = [];
  let now = 1000;
  const status = new Status(
    (one) => drawn.push(one),
    () => now,
  );
  const text = () => drawn.at(-1)?.text;
  status.set("starting");
  assert.equal(text(), "$(loading~spin) Hone");
  status.set("ready", "version 1");
  status.wait(1, "waiting for the daemon");
  assert.equal(text(), "$(loading~spin) Hone: waiting for the daemon");
  status.wait(1, undefined);
  assert.equal(text(), "$(sparkle) Hone");
  now = 1010;
  status.answered(0, 900);
  assert.equal(text(), "$(sparkle) Hone", "it has waited for the daemon");
  now = 2000;
  status.answered(0, 12.4);
  status.answered(1, 7.6);
  assert.equal(text(), "$(sparkle) Hone 8 ms");
  assert.deepEqual(status.lines(), [
    "Hone: ready",
    "version 1",
    "3 answers, 1 with a suggestion, the newest after 8 ms",
  ]);
  status.complain("no daemon runs");
  assert.equal(text(), "$(warning) Hone");
  status.answered(0, 1);
  assert.equal(text(), "$(warning) Hone", "an empty answer proves nothing");
  status.answered(1, 1);
  assert.equal(text(), "$(sparkle) Hone 1 ms");
  status.enable(false);
  assert.equal(text(), "$(circle-slash) Hone off");
  status.set("failed", "it ended");
  assert.ok(drawn.at(-1)?.isWarning);
});

test("what takes too long is given up, and what fails says why", async () => {
  assert.equal(await within(1000, Promise.resolve(3)), 3);
  await assert.rejects(within(1000, Promise.reject(new Error("broken"))), /broken/);
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error("too late to be told")), 60));
  await assert.rejects(within(20, late), /there is no answer within 0.02 s/);
  await new Promise((resolve) => setTimeout(resolve, 80)); // its end is no unhandled rejection
});
