"""One short coroutine per method of the protocol: the message taken apart, the work, the answer put together.

A request about suggestions is always answered with a list, an empty one where there is nothing or something went wrong:
an error would leave an old suggestion on the screen. Why there is nothing is said once.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from assistant.errors import BusyError, HoneError
from assistant.types import Caller, CompletionRequest, CompletionResult, EditRequest, EditResult
from lsp.actions import ACTIONS, Action, Edit, Place
from lsp.convert import code_points
from lsp.documents import Document
from lsp.notebook import Whole
from lsp.protocol import CONTENT_MODIFIED, FAILED, INVALID_PARAMS, LARGEST, asked_about, log, work_token
from lsp.session import Session
from lsp.suggest import Question, Suggestion, label, sendable
from lsp.window import WHOLE, Window
from lsp.work import START_S, Work

ACCEPTED = "hone.accepted"
RUN = "hone.run"
TASKS = "hone.tasks"
LONE_RETURN = re.compile(r"\r(?!\n)")
"""A line's end for editors and Python, and none for parsers: what is edited by lines would be another line."""


# Suggestions.


async def inline_completion(session: Session, params: types.InlineCompletionParams) -> types.InlineCompletionList:
    document = asked_about.get()
    if document is None:
        return types.InlineCompletionList([])
    by_hand = params.context.trigger_kind == types.InlineCompletionTriggerKind.Invoked
    selected = params.context.selected_completion_info
    if selected is None:
        at = document.offset(params.position)
        found = await _suggest(session, Question(document, at, document.text, by_hand))
        return _inline(session, document, found)
    start, end = sorted((document.offset(selected.range.start), document.offset(selected.range.end)))
    text = document.text[:start] + selected.text + document.text[end:]
    cursor = start + len(selected.text)
    found = await _suggest(session, Question(document, cursor, text, by_hand, fit=False))
    beside = [Suggestion(selected.text + one.text, start, end) for one in found if one.start == one.end]
    return _inline(session, document, tuple(beside), selected.range)


def _inline(
    session: Session, document: Document, found: tuple[Suggestion, ...], where: types.Range | None = None
) -> types.InlineCompletionList:
    names = [session.offer(document, one.text, one.start) for one in found]
    if names:
        session.show(names[0])
    return types.InlineCompletionList(
        [
            types.InlineCompletionItem(
                insert_text=one.text,
                range=where or document.range(one.start, one.end),
                command=_accepted(name),
            )
            for name, one in zip(names, found, strict=True)
        ]
    )


async def _suggest(session: Session, question: Question) -> tuple[Suggestion, ...]:
    try:
        with session.busy():
            return await session.suggester.suggest(question)
    except BusyError as error:
        session.note(str(error))
    except HoneError as error:
        session.trouble = str(error)
        session.tell(str(error))
    except Exception:  # noqa: BLE001 (the edge: the request is answered all the same)
        log.exception("a suggestion failed")
        session.tell("a suggestion failed; the server's log (its standard error) says why")
    return ()


def _accepted(name: str) -> types.Command:
    return types.Command("Hone: suggestion accepted", ACCEPTED, arguments=[name])


async def completion(session: Session, params: types.CompletionParams) -> types.CompletionList:
    """The same answers as entries of a menu, for editors without inline completion."""
    document = asked_about.get()
    if document is None:
        return types.CompletionList(is_incomplete=True, items=[])
    at = document.offset(params.position)
    context = params.context
    by_hand = context is not None and context.trigger_kind == types.CompletionTriggerKind.Invoked
    found = await _suggest(session, Question(document, at, document.text, by_hand, channel="menu"))
    items = [_menu_item(session, document, one, rank) for rank, one in enumerate(found)]
    return types.CompletionList(is_incomplete=True, items=items)


def _menu_item(session: Session, document: Document, found: Suggestion, rank: int) -> types.CompletionItem:
    # Menus are filtered by the word before the cursor, so the entry takes that in.
    start = found.start
    while start > 0 and (document.text[start - 1].isalnum() or document.text[start - 1] == "_"):
        start -= 1
    text = document.text[start : found.start] + found.text
    name = session.offer(document, text, start)
    session.show(name)
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return types.CompletionItem(
        label=first if len(first) <= 60 else first[:59] + "…",
        kind=types.CompletionItemKind.Text,
        detail="Hone",
        documentation=text,
        sort_text=f"\u0001{rank}",
        filter_text=text.split("\n", 1)[0] or first,
        insert_text_format=types.InsertTextFormat.PlainText,
        insert_text_mode=types.InsertTextMode.AsIs,
        text_edit=types.TextEdit(document.range(start, found.end), text),
        command=_accepted(name),
    )


def accepted(session: Session, *arguments: Any) -> None:
    """The command that editors run when a suggestion was accepted."""
    if not session.accept(arguments[0] if arguments else None):
        log.info("an acceptance of an unknown suggestion")


def shown(session: Session, params: object) -> None:
    """``textDocument/didShowCompletion`` and ``textDocument/didShowInlineEdit``: ``{item}`` as it was sent."""
    session.show(_name_of(params), told=True)


def partially_accepted(session: Session, params: object) -> None:
    """``textDocument/didPartiallyAcceptCompletion``: ``{item, acceptedLength}``, in UTF-16 units of the item's text."""
    length = params.get("acceptedLength") if isinstance(params, Mapping) else None
    name = _name_of(params)
    offer = session.shown.get(name) if isinstance(name, str) else None
    if offer is not None and isinstance(length, int):
        session.accept_part(name, code_points(offer.text, length, "utf-16"))


def focused(session: Session, _: object) -> None:
    """``textDocument/didFocus``: who sends it knows the messages of Copilot's server."""
    session.speaks_beyond()


def _name_of(params: object) -> object:
    """The suggestion's name, which its command carries."""
    item = params.get("item") if isinstance(params, Mapping) else None
    command = item.get("command") if isinstance(item, Mapping) else None
    arguments = command.get("arguments") if isinstance(command, Mapping) else None
    return arguments[0] if isinstance(arguments, list) and arguments else None


# The next edit.


async def inline_edit(session: Session, params: object) -> dict[str, Any]:
    """``textDocument/copilotInlineEdit``, as clients of Copilot's server send it: ``{textDocument: {uri, version},
    position}``. One edit, the next one; clients ask again once it is accepted.
    """
    nothing: dict[str, Any] = {"edits": []}
    document = asked_about.get()
    session.speaks_beyond()
    if document is None or not session.options.enabled or not session.options.next_edit:
        return nothing
    cursor = 0
    where = params.get("position") if isinstance(params, Mapping) else None
    if isinstance(where, Mapping) and all(isinstance(where.get(one), int) for one in ("line", "character")):
        cursor = document.offset(_position(where))
    found = await session.next_edits(document, cursor)
    if not found or not session.documents.is_current(document):
        session.statistics.count("edit_quiet", document.language_id)
        return nothing
    one = found[0]
    name = session.offer(document, one.text, one.start, kind="edit_")
    session.show(name)
    where = document.range(one.start, one.end)
    edit = {
        "text": one.text,
        "range": {
            "start": {"line": where.start.line, "character": where.start.character},
            "end": {"line": where.end.line, "character": where.end.character},
        },
        "textDocument": {"uri": document.uri, "version": document.version},
        "command": {"title": "Hone: edit accepted", "command": ACCEPTED, "arguments": [name]},
    }
    return {"edits": [edit]}


# Code actions.


async def code_action(session: Session, params: types.CodeActionParams) -> list[types.CodeAction]:
    document = asked_about.get()
    if document is None or not session.options.enabled or session.context.denied(document) is not None:
        return []
    if LONE_RETURN.search(document.text):
        return []
    session.context.diagnosed(document, params.context.diagnostics)
    start, end = sorted((document.offset(params.range.start), document.offset(params.range.end)))
    wrong = tuple(
        (document.offset(one.range.start), document.offset(one.range.end)) for one in params.context.diagnostics[:16]
    )
    starting = await _waited(session) if params.context.trigger_kind == types.CodeActionTriggerKind.Invoked else None
    wanted = [action for action in ACTIONS if _is_wanted(action.kind, params.context.only)]
    places = {
        is_local: _scope(session, document, start, end, is_local=is_local).place(session, start, end, wrong=wrong)
        for is_local in {action.is_local for action in wanted}
    }
    fitting = await session.think(lambda: [one for one in wanted if one.applies(places[one.is_local])])
    if starting is not None and not fitting:
        raise _refused(str(starting))
    return [_offer(session, action, document, (start, end), params.context.diagnostics) for action in fitting]


async def _waited(session: Session) -> HoneError | None:
    """For a daemon that starts, where the user asks by hand: what can be offered depends on it."""
    try:
        await session.known_tasks(START_S)
    except HoneError as error:
        return error
    return None


def _is_wanted(kind: str, only: Any) -> bool:
    """Kinds are a tree: who asks for ``refactor`` also gets ``refactor.rewrite``."""
    return only is None or any(one in ("", kind) or kind.startswith(f"{one}.") for one in only)


@dataclass(frozen=True, eq=False)
class _Scope:
    """What of a document, or around it, an action looks at."""

    whole: Whole
    window: Window

    @property
    def shift(self) -> int:
        """From places in the document to those in what is looked at."""
        return self.whole.start - self.window.head

    def place(
        self,
        session: Session,
        start: int,
        end: int,
        *,
        wrong: tuple[tuple[int, int], ...] = (),
        given: Mapping[str, Any] | None = None,
    ) -> Place:
        """For places in the document."""
        document, shift, text = self.whole.own, self.shift, self.window.of(self.whole.text)
        inside = [(first + shift, last + shift) for first, last in wrong]
        return Place(
            text,
            start + shift,
            end + shift,
            document.filename or "",
            document.language or "",
            session.edits_of(self.whole) if self.window == WHOLE else (),
            tuple((first, last) for first, last in inside if first >= 0 and last <= len(text)),
            given or {},
            session.tasks or (),
        )

    def document_of(self, edit: Edit) -> tuple[Document, Edit] | None:
        """Whose an edit of what is looked at is, and the edit in it; None where it is not one document's."""
        start, end = edit.start + self.window.head, edit.end + self.window.head
        found = self.whole.locate(start, end)
        if found is None:
            return None
        document, at = found
        return document, replace(edit, start=start - at, end=end - at)


def _scope(session: Session, document: Document, start: int, end: int, *, is_local: bool) -> _Scope:
    """A notebook's cell between the others; of a large document the part around the place, where that is enough."""
    whole, size = session.context.whole(document), len(document.text)
    window = session.windows.around(document.key, size, start) if is_local else WHOLE
    alone = whole.text is document.text
    return _Scope(whole, window if alone and window.holds(size, start, end) else WHOLE)


def _offer(
    session: Session,
    action: Action,
    document: Document,
    selected: tuple[int, int],
    diagnostics: Sequence[types.Diagnostic],
) -> types.CodeAction:
    start, end = selected
    data = {
        "action": action.name,
        "uri": document.uri,
        "version": document.version,
        "start": start,
        "end": end,
    }
    support = _action_support(session)
    tags = None
    if action.is_generated and support is not None and support.tag_support is not None:
        known = types.CodeActionTag.LlmGenerated in support.tag_support.value_set
        tags = [types.CodeActionTag.LlmGenerated] if known else None
    offer = types.CodeAction(action.title, kind=action.kind, tags=tags)
    if action.kind == types.CodeActionKind.QuickFix and diagnostics:
        offer.diagnostics = diagnostics
    resolves = support is not None and support.resolve_support is not None
    if resolves and support is not None and "edit" in support.resolve_support.properties:  # type: ignore[union-attr]
        offer.data = data
    else:
        offer.command = types.Command(action.title, RUN, arguments=[data])
    return offer


def _action_support(session: Session) -> types.CodeActionClientCapabilities | None:
    documents = session.client_capabilities.text_document
    return None if documents is None else documents.code_action


async def resolve_code_action(session: Session, params: types.CodeAction) -> types.CodeAction:
    """The edit of an action that was chosen."""
    params.edit = await _edit(session, _chosen(session, params.data))
    return params


async def run_action(session: Session, *arguments: Any) -> dict[str, Any]:
    """The same as a command, for a key: ``{action, uri, range or position, version?}``, and whatever else an action
    wants to be given.
    """
    with session.protocol.stoppable():
        chosen = _chosen(session, arguments[0] if arguments else None)
        edit = await _edit(session, chosen, work_token.get())
    answer = await session.workspace_apply_edit_async(types.ApplyWorkspaceEditParams(edit, label=chosen.action.title))
    if not isinstance(answer, types.ApplyWorkspaceEditResult):
        raise _refused("the editor does not say whether it has applied the edit")
    return {"applied": answer.applied, "reason": answer.failure_reason}


async def known_tasks(session: Session, *_: Any) -> list[str]:
    """The command that asks what the model can do to a block, for editors that offer commands; it waits for a daemon
    that starts.
    """
    try:
        return list(await session.known_tasks())
    except HoneError as error:
        raise _refused(str(error)) from error


@dataclass(frozen=True)
class _Chosen:
    action: Action
    scope: _Scope
    place: Place
    """In the scope."""

    @property
    def document(self) -> Document:
        return self.scope.whole.own


def _chosen(session: Session, data: object) -> _Chosen:
    if not isinstance(data, Mapping):
        raise _unreadable("the action has no data; ask for the code actions again")
    action = next((one for one in ACTIONS if one.name == data.get("action")), None)
    if action is None:
        known = ", ".join(one.name for one in ACTIONS)
        raise _unreadable(f"there is no action {data.get('action')!r}; there are {known}")
    document = session.documents.get(str(data.get("uri")))
    if document is None:
        raise _refused("the document is not open")
    if data.get("version") not in (None, document.version):
        raise _stale()
    if (reason := session.context.denied(document)) is not None:
        raise _refused(reason)
    if LONE_RETURN.search(document.text):
        raise _refused("the document has carriage returns alone for line ends; give it others first")
    start, end = _place_of(document, data)
    scope = _scope(session, document, start, end, is_local=action.is_local)
    return _Chosen(action, scope, scope.place(session, start, end, given=data))


def _place_of(document: Document, data: Mapping[Any, Any]) -> tuple[int, int]:
    start, end = data.get("start"), data.get("end")
    if not isinstance(start, int) or not isinstance(end, int):
        where = data.get("range")
        ends = [where.get("start"), where.get("end")] if isinstance(where, Mapping) else [data.get("position")] * 2
        start, end = (document.offset(_position(one)) for one in ends)
    start, end = sorted(min(max(one, 0), len(document.text)) for one in (start, end))
    return start, end


def _position(value: object) -> types.Position:
    if isinstance(value, Mapping):
        line, character = value.get("line"), value.get("character")
        if isinstance(line, int) and isinstance(character, int):
            return types.Position(*(min(max(one, 0), LARGEST) for one in (line, character)))
    raise _unreadable("the command needs a range or a position: {line, character}")


async def _edit(session: Session, chosen: _Chosen, token: str | int | None = None) -> types.WorkspaceEdit:
    document, action = chosen.document, chosen.action

    async def ask(request: CompletionRequest) -> CompletionResult:
        values = {key: value for key, value in vars(request).items() if key != "text"}
        window = chosen.scope.window
        text = request.text if window == WHOLE else window.back(document.text, request.text)
        values["extra"] = await session.context.snippets(document, text, request.start + window.head)
        return await session.complete(
            CompletionRequest(sendable(request.text), **values), Caller(document=label(document, "action"))
        )

    async def edit(request: EditRequest) -> EditResult:
        return await session.edit(
            replace(request, text=sendable(request.text)), Caller(document=label(document, "action"))
        )

    try:
        async with Work(session, action.title, ask, edit, token) as work:
            edits = await action.run(chosen.place, work)
    except HoneError as error:
        raise _refused(str(error)) from error
    placed = _placed(chosen, tuple(sorted(edits, key=lambda one: (one.start, one.end))))
    if not all(session.documents.is_current(one) for one in (document, *placed)):
        raise _stale()
    session.statistics.count(f"action_{action.name}", document.language_id)
    return _workspace_edit(session, action, placed)


def _placed(chosen: _Chosen, edits: tuple[Edit, ...]) -> dict[Document, list[Edit]]:
    """Each edit in the document it belongs to: a rename goes on in other cells, what a model may write does not."""
    placed: dict[Document, list[Edit]] = {}
    for one in edits:
        found = chosen.scope.document_of(one)
        if found is None or (chosen.action.is_generated and found[0] is not chosen.document):
            raise _refused("what would be changed is not in its cell alone")
        document, edit = found
        if document.text[edit.start : edit.end] != chosen.place.text[one.start : one.end]:
            raise _refused("there is a command of IPython in what would be changed")
        placed.setdefault(document, []).append(edit)
    return placed


def _workspace_edit(session: Session, action: Action, placed: Mapping[Document, list[Edit]]) -> types.WorkspaceEdit:
    edits = [one for some in placed.values() for one in some]
    workspace = session.client_capabilities.workspace
    support = None if workspace is None else workspace.workspace_edit
    plain = {
        document: [types.TextEdit(document.range(one.start, one.end), one.text) for one in some]
        for document, some in placed.items()
    }
    if support is None or not support.document_changes:
        return types.WorkspaceEdit(changes={document.uri: some for document, some in plain.items()})
    if support.change_annotation_support is None:
        changes = [types.TextDocumentEdit(_version(document), some) for document, some in plain.items()]
        return types.WorkspaceEdit(document_changes=changes)
    is_quick = len(edits) == 1 and edits[0].by_rule  # undo is enough
    # VS Code's preview takes all cells of a notebook for one, and draws what becomes of it wrong.
    asks = action.needs_confirmation and not is_quick and len(placed) == 1
    default = "written by the model" if action.is_generated else "found by rule"
    reasons = {why: f"{action.name}.{number}" for number, why in enumerate(dict.fromkeys(one.why for one in edits))}
    names = {why: action.name if len(reasons) == 1 else name for why, name in reasons.items()}
    noted = [
        types.TextDocumentEdit(
            _version(document),
            [
                types.AnnotatedTextEdit(names[one.why], edit.range, edit.new_text)
                for one, edit in zip(some, plain[document], strict=True)
            ],
        )
        for document, some in placed.items()
    ]
    annotations = {
        name: types.ChangeAnnotation(action.title, needs_confirmation=asks, description=why or default)
        for why, name in names.items()
    }
    return types.WorkspaceEdit(document_changes=noted, change_annotations=annotations)


def _version(document: Document) -> types.OptionalVersionedTextDocumentIdentifier:
    return types.OptionalVersionedTextDocumentIdentifier(uri=document.uri, version=document.version)


def _refused(message: str) -> JsonRpcException:
    return JsonRpcException(message, FAILED)


def _unreadable(message: str) -> JsonRpcException:
    return JsonRpcException(message, INVALID_PARAMS)


def _stale() -> JsonRpcException:
    return JsonRpcException("the document has changed since; ask again", CONTENT_MODIFIED)
