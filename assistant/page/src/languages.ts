// File name -> syntax colours. The server decides by itself what it checks; this is only for the eye.

import { javascript } from "@codemirror/lang-javascript";
import { json } from "@codemirror/lang-json";
import { python } from "@codemirror/lang-python";
import { LanguageSupport, StreamLanguage, type StreamParser } from "@codemirror/language";
import { c, cpp, csharp, java } from "@codemirror/legacy-modes/mode/clike";
import { css } from "@codemirror/legacy-modes/mode/css";
import { go } from "@codemirror/legacy-modes/mode/go";
import { lua } from "@codemirror/legacy-modes/mode/lua";
import { ruby } from "@codemirror/legacy-modes/mode/ruby";
import { rust } from "@codemirror/legacy-modes/mode/rust";
import { shell } from "@codemirror/legacy-modes/mode/shell";
import { toml } from "@codemirror/legacy-modes/mode/toml";
import { html } from "@codemirror/legacy-modes/mode/xml";
import { yaml } from "@codemirror/legacy-modes/mode/yaml";

interface Row {
  name: string;
  endings: string;
  load: () => LanguageSupport;
}

function stream<State>(mode: StreamParser<State>): () => LanguageSupport {
  return () => new LanguageSupport(StreamLanguage.define(mode));
}

const ROWS: Row[] = [
  { name: "Python", endings: "py pyi pyw", load: python },
  { name: "JavaScript", endings: "js mjs cjs jsx", load: () => javascript({ jsx: true }) },
  { name: "TypeScript", endings: "ts mts cts", load: () => javascript({ typescript: true }) },
  { name: "TSX", endings: "tsx", load: () => javascript({ typescript: true, jsx: true }) },
  { name: "Go", endings: "go", load: stream(go) },
  { name: "Rust", endings: "rs", load: stream(rust) },
  { name: "Java", endings: "java", load: stream(java) },
  { name: "C", endings: "c h", load: stream(c) },
  { name: "C++", endings: "cpp cc cxx c++ hpp hh hxx h++ inl ipp tpp", load: stream(cpp) },
  { name: "C#", endings: "cs csx", load: stream(csharp) },
  { name: "JSON", endings: "json", load: json },
  { name: "CSS", endings: "css", load: stream(css) },
  { name: "HTML", endings: "html htm", load: stream(html) },
  { name: "Lua", endings: "lua", load: stream(lua) },
  { name: "Ruby", endings: "rb rake gemspec ru", load: stream(ruby) },
  { name: "Shell", endings: "sh bash zsh ksh", load: stream(shell) },
  { name: "TOML", endings: "toml", load: stream(toml) },
  { name: "YAML", endings: "yaml yml", load: stream(yaml) },
];

/** The language of a file by its name's ending; null: shown without colours. */
export function languageOf(filename: string): Row | null {
  const ending = /\.([^./\\]+)$/.exec(filename.trim())?.[1]?.toLowerCase();
  return ROWS.find((row) => ending !== undefined && row.endings.split(" ").includes(ending)) ?? null;
}
