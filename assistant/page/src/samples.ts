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
  lines: "one" | "several";
}

const MARKER = "<CURSOR>";

function sample(title: string, filename: string, marked: string, lines: "one" | "several" = "one"): Sample {
  const hole = marked.indexOf(MARKER);
  return { title, filename, text: marked.replace(MARKER, ""), hole, lines };
}

export const SAMPLES: readonly Sample[] = [
  sample("between brackets", "cache.py", restOfLine.replace(`self.${MARKER}`, `${MARKER})`)),
  sample("the rest of a line", "cache.py", restOfLine),
  sample("a whole line", "ledger.py", wholeLine),
  sample("a body of several lines", "vector.py", body, "several"),
];
