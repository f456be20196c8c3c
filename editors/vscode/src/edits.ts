// Edits of code actions on their way: which are confirmed first, which are too old, and what is said where there is none.

import type { WorkspaceEdit as Converted } from "vscode";
import type { CodeAction, WorkspaceEdit } from "vscode-languageclient/node";

export const STALE = "the document has changed since; ask again";

/** The same edit, shown in the preview before it is made. */
export function toBeConfirmed(edit: WorkspaceEdit): WorkspaceEdit {
  const annotations = Object.entries(edit.changeAnnotations ?? {});
  return {
    ...edit,
    changeAnnotations: Object.fromEntries(annotations.map(([id, one]) => [id, { ...one, needsConfirmation: true }])),
  };
}

export function actionToBeConfirmed(action: CodeAction): CodeAction {
  return action.edit === undefined ? action : { ...action, edit: toBeConfirmed(action.edit) };
}

/** Whether every document is still as it was when the edit was made. */
export function isCurrent(edit: WorkspaceEdit, versionOf: (uri: string) => number | undefined): boolean {
  return (edit.documentChanges ?? []).every((change) => {
    if (!("textDocument" in change) || change.textDocument.version === null) return true;
    const version = versionOf(change.textDocument.uri);
    return version === undefined || version === change.textDocument.version;
  });
}

export function isEmpty(edit: Converted | undefined): boolean {
  return edit === undefined || edit.size === 0;
}
