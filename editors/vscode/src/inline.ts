// Requests for suggestions, watched on their way: how long they took, and nothing for a text that is another one by now.

import type { Middleware } from "vscode-languageclient/node";

type Provide = NonNullable<Middleware["provideInlineCompletionItems"]>;

/** `answered` is told how many suggestions there were; not about requests that were given up. */
export function watched(answered: (suggestions: number, ms: number) => void, now = () => performance.now()): Provide {
  return async (document, position, context, token, next) => {
    const { version } = document;
    const asked = now();
    const found = await next(document, position, context, token);
    if (token.isCancellationRequested || document.version !== version) return [];
    const items = found === null || found === undefined ? [] : Array.isArray(found) ? found : found.items;
    answered(items.length, now() - asked);
    return items;
  };
}
