// Code to begin with: the files of `hone demo`, each with a marker where its hole is, and one more hole in the first.

import restOfLine from "../../examples/1_rest_of_line.py";
import wholeLine from "../../examples/2_whole_line.py";
import body from "../../examples/3_multi_line_body.py";

export interface Sample {
  title: string;
  filename: string;
  text: string;
  hole: number;
  /** The setting "Lines" that fits. */
  lines: "" | "one" | "several";
}

const MARKER = "<CURSOR>";

function sample(title: string, filename: string, marked: string, lines: Sample["lines"]): Sample {
  const hole = marked.indexOf(MARKER);
  return { title, filename, text: marked.replace(MARKER, ""), hole, lines };
}

/** The file with its hole filled, and another one: the first line of `next`. */
function moved(marked: string, filling: string, next: string): string {
  const line = next.slice(0, next.indexOf("\n"));
  return marked.replace(`self.${MARKER}`, `self.${filling}`).replace(next, next.replace(line, MARKER));
}

export const SAMPLES: readonly Sample[] = [
  sample("the rest of a signature", "cache.py", moved(restOfLine, "_entries)", "self) -> None:\n        self._entries.clear"), ""),
  sample("the rest of a line", "cache.py", restOfLine, "one"),
  sample("a whole line", "ledger.py", wholeLine, "one"),
  sample("a body of several lines", "vector.py", body, "several"),
];
