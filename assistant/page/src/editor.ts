// The editor: CodeMirror with its selection drawn as the hole.

import { defaultKeymap, history, historyKeymap, isolateHistory } from "@codemirror/commands";
import { bracketMatching, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { Compartment, EditorState, type Extension, type Text } from "@codemirror/state";
import {
  Decoration,
  type DecorationSet,
  EditorView,
  drawSelection,
  highlightActiveLine,
  highlightSpecialChars,
  keymap,
  lineNumbers,
  WidgetType,
} from "@codemirror/view";
import { classHighlighter } from "@lezer/highlight";
import { languageOf } from "./languages";

export interface Hole {
  from: number;
  to: number;
}

class HoleMark extends WidgetType {
  override eq(): boolean {
    return true;
  }

  toDOM(): HTMLElement {
    const mark = document.createElement("span");
    mark.className = "hole-mark";
    mark.setAttribute("aria-hidden", "true");
    return mark;
  }
}

const MARK = Decoration.widget({ widget: new HoleMark(), side: 1 });
const BLOCK = Decoration.mark({ class: "hole-block" });

function drawHole(state: EditorState): DecorationSet {
  const { from, to } = state.selection.main;
  return Decoration.set(from === to ? MARK.range(from) : BLOCK.range(from, to));
}

/** What can be scrolled can be reached by Tab, and the arrow keys then scroll it; what cannot is no stop on the way. */
function reachable(area: HTMLElement): void {
  area.tabIndex = area.scrollWidth > area.clientWidth || area.scrollHeight > area.clientHeight ? 0 : -1;
}

export class Editor {
  readonly view: EditorView;
  private readonly language = new Compartment();

  constructor(parent: HTMLElement, onChange: () => void) {
    const extensions: Extension[] = [
      lineNumbers(),
      highlightSpecialChars(),
      history(),
      drawSelection(),
      indentOnInput(),
      indentUnit.of("    "),
      EditorState.tabSize.of(4),
      bracketMatching(),
      highlightActiveLine(),
      syntaxHighlighting(classHighlighter),
      this.language.of([]),
      EditorView.decorations.compute(["selection", "doc"], drawHole),
      EditorView.contentAttributes.of({ "aria-label": "Code", "aria-describedby": "hole-text", spellcheck: "false" }),
      EditorView.updateListener.of((update) => {
        if (update.docChanged || update.selectionSet) onChange();
        if (update.geometryChanged) reachable(update.view.scrollDOM);
      }),
      // Tab is left alone: it moves on to the next control.
      keymap.of([...defaultKeymap.filter((binding) => binding.key !== "Mod-Enter"), ...historyKeymap]),
    ];
    this.view = new EditorView({ parent, state: EditorState.create({ extensions }) });
    this.view.scrollDOM.setAttribute("role", "group");
    this.view.scrollDOM.setAttribute("aria-label", "Code, to be scrolled");
  }

  get text(): string {
    return this.view.state.doc.toString();
  }

  get document(): Text {
    return this.view.state.doc;
  }

  get hole(): Hole {
    const { from, to } = this.view.state.selection.main;
    return { from, to };
  }

  /** Where the hole is, for people. */
  describe(): string {
    const { from, to } = this.hole;
    const line = this.document.lineAt(from);
    if (from === to) return `hole at line ${line.number}, column ${from - line.from + 1}`;
    const last = this.document.lineAt(to).number;
    const where = line.number === last ? `in line ${last}` : `in lines ${line.number} to ${last}`;
    return `block of ${to - from} characters ${where}: will be written anew`;
  }

  open(text: string, hole: number): void {
    this.view.dispatch({
      changes: { from: 0, to: this.document.length, insert: text },
      selection: { anchor: hole },
      annotations: isolateHistory.of("full"),
    });
    requestAnimationFrame(() => this.showHole()); // The first time, nothing has a size yet.
  }

  private showHole(): void {
    this.view.dispatch({ effects: EditorView.scrollIntoView(this.hole.from, { y: "center" }) });
  }

  setLanguage(filename: string): string {
    const row = languageOf(filename);
    this.view.dispatch({ effects: this.language.reconfigure(row ? row.load() : []) });
    return row ? row.name : "plain text";
  }

  /** Writes an answer into the hole: one change, one undo. */
  insert(hole: Hole, text: string): void {
    const state = this.view.state;
    const insert = state.toText(text);
    this.view.dispatch({
      changes: { ...hole, insert },
      selection: { anchor: hole.from + insert.length },
      scrollIntoView: true,
      userEvent: "input.complete",
      annotations: isolateHistory.of("full"),
    });
    this.view.focus();
  }
}
