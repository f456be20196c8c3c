"""The assistant in this process: a request in, completions out. Everything it knows about models is how to open one."""

import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import torch

from assistant.config import Settings
from assistant.cuts import known_cuts
from assistant.edits import applied
from assistant.errors import CannotEditError, ModelError, PositionError, RequestError
from assistant.models import ANNOTATE, CANNOT_EDIT, CANNOT_FOLLOW, main_folder, untrained
from assistant.parts import SMALL, Part, joined, parted
from assistant.types import (
    TASKS,
    Completion,
    CompletionRequest,
    CompletionResult,
    Draft,
    EditRequest,
    EditResult,
    ModelInfo,
    OnDraft,
    ShouldStop,
    TextEdit,
)
from infill.annotate import TASKS as ANNOTATIONS
from infill.annotate import Annotator
from infill.batcher import together
from infill.contexts import LIMIT_BYTES
from infill.edit import Edit, EditCalibration, EditOptions, Editor, EditPrompt
from infill.engine import Infiller
from infill.inplace import InPlace, in_place
from infill.instruct import Instructor, InstructPrompt
from infill.judge import Calibration
from infill.languages import resolve
from infill.passes import drive
from infill.syntax import Before
from infill.types import Candidate, InfillOptions, OnStep, Prompt, Step
from model.checkpoint import CheckpointError, load_denoiser
from model.damage.kinds import KINDS, group_of, instruction
from model.damage.types import GROUPS
from model.denoiser import NetworkDenoiser
from model.published.denoiser import Published
from model.published.kind import is_published
from model.published.load import open_published
from model.published.quantized import count_parameters
from model.tokenizer import Tokenizer


class Assistant:
    """A ``Completer``. A model is opened by the first request for it, and once."""

    def __init__(
        self, open_infiller: Callable[[], Infiller], open_editor: Callable[[], Infiller] | None = None
    ) -> None:
        """``open_editor``: opens the model that does edits, where that is another one."""
        self._open, self._open_editor = open_infiller, open_editor
        self._infiller: Infiller | None = None
        self._editor: Infiller | None = None

    def complete(
        self, request: CompletionRequest, *, should_stop: ShouldStop | None = None, on_step: OnDraft | None = None
    ) -> CompletionResult:
        """Fill the hole ``request.text[start:end]``.

        Raises:
            PositionError: the hole is not inside the text.
            RequestError: an option with a value that it cannot have, named.
            ModelError: the model cannot be opened.
        """
        started = time.perf_counter()
        request, options = checked(request)
        infiller = self.open()
        opened = 1000 * (time.perf_counter() - started)
        with torch.inference_mode():
            work = completing(infiller, request, options, should_stop=should_stop, on_step=on_step)
            result = drive(work, infiller.denoiser)
        return replace(result, timing_ms=result.timing_ms | {"load": opened})

    def edit(self, request: EditRequest, *, should_stop: ShouldStop | None = None) -> EditResult:
        """Do the task to all blocks, side by side.

        Raises:
            PositionError: a block is not inside the text.
            RequestError: an unknown task, or a model that cannot edit or follow.
            ModelError: the model cannot be opened.
        """
        request = checked_edit(request)
        infiller = self.open_editor()
        if request.instruction is not None and not follows(infiller):
            infiller = self.open()
        started = time.perf_counter()
        parts = [Part(request)]
        if len(request.text) > SMALL:
            parts = parted(request, known_cuts(request.text, request.language, request.filename))
        with torch.inference_mode():
            works = [
                editing(infiller, part.request, block, should_stop=should_stop)
                for part in parts
                for block in range(len(part.request.blocks))
            ]
            found = together(works, infiller.denoiser)
        return edited(parts, found, 1000 * (time.perf_counter() - started))

    def open(self) -> Infiller:
        """Open the model if it is not open yet: what the first request would otherwise wait for.

        Raises:
            ModelError: the model cannot be opened.
        """
        if self._infiller is None:
            self._infiller = self._open()
        return self._infiller

    def open_editor(self) -> Infiller:
        """Open the model that does edits if it is not open yet.

        Raises:
            ModelError: it cannot be opened.
        """
        if self._open_editor is None:
            return self.open()
        if self._editor is None:
            self._editor = self._open_editor()
        return self._editor


def checked(request: CompletionRequest) -> tuple[CompletionRequest, InfillOptions]:
    """The request as the engine takes it, and its options.

    Raises:
        PositionError: the hole is not inside the text.
        RequestError: an option with a value that it cannot have, named.
    """
    request = _settled(request)
    return request, _options(request)


async def completing(
    infiller: Infiller,
    request: CompletionRequest,
    options: InfillOptions,
    *,
    should_stop: ShouldStop | None = None,
    on_step: OnDraft | None = None,
) -> CompletionResult:
    """A ``checked`` request, a forward pass at a time: for ``drive`` or a ``Batcher``, in inference mode.

    Raises:
        RequestError: the engine cannot do what the request asks for.
    """
    watch = _watcher(infiller.denoiser.tokenizer, on_step) if on_step else None
    try:
        infill = await infiller.begin(_prompt(request), options, should_stop=should_stop, on_step=watch)
    except ValueError as error:
        raise RequestError(str(error)) from error
    completions = tuple(_completion(candidate, request) for candidate in infill.candidates)
    return CompletionResult(
        completions,
        infill.steps,
        infill.passes,
        infill.timing_ms,
        infill.reason,
        infill.context_tokens,
        infill.known_tokens,
    )


def checked_edit(request: EditRequest) -> EditRequest:
    """The request as the editor takes it.

    Raises:
        PositionError: a block is not inside the text, or overlaps another.
        RequestError: an unknown task, named with those that there are; an instruction without a word, or beside a task.
    """
    if request.instruction is not None:
        if request.task:
            raise RequestError("task and instruction are two ways to say what is to be done: choose one")
        if not request.instruction.strip():
            raise RequestError("instruction must say what is to be done")
    elif request.task not in GROUPS and request.task not in KINDS:
        known = f"{', '.join(GROUPS)}, or a kind that docs/edits.md lists"
        raise RequestError(f"task {request.task!r} is unknown: choose one of {known}")
    end = 0
    for start, stop in request.blocks:
        if not end <= start <= stop <= len(request.text):
            raise PositionError(
                f"the block {start}..{stop} is not inside of the text, which has offsets 0 to {len(request.text)}, or "
                "not behind the block before it"
            )
        end = stop
    if not request.blocks:
        raise RequestError("blocks must be one or more (start, end)")
    return replace(request, language=resolve(request.language, request.filename, request.text))


def editing(
    infiller: Infiller, request: EditRequest, block: int, *, should_stop: ShouldStop | None = None
) -> Coroutine[Any, Any, Edit]:
    """One block of a ``checked_edit``, a forward pass at a time: for ``drive`` or a ``Batcher``, in inference mode. A
    model that follows instructions is told a task in words.

    Raises:
        CannotEditError: the model was not trained to edit, or not for this task, or follows no instructions.
    """
    start, end = request.blocks[block]
    published = infiller.denoiser
    if isinstance(published, Published) and follows(infiller):
        words = instruction(request.task) if request.instruction is None else request.instruction
        asked = InstructPrompt(request.text, start, end, words, request.language)
        return Instructor(published).begin(asked, budget_ms=request.budget_ms, should_stop=should_stop)
    if request.instruction is not None:
        raise CannotEditError(CANNOT_FOLLOW)
    prompt = EditPrompt(request.text, start, end, request.task, request.language, request.filename)
    annotator = Annotator(infiller)
    if request.task in ANNOTATIONS and annotator.able:
        return annotator.begin(prompt, budget_ms=request.budget_ms, should_stop=should_stop)
    editor = Editor(infiller.denoiser, calibration=infiller.edits)
    if not editor.able:
        raise CannotEditError(CANNOT_EDIT)
    known = infiller.edits.tasks
    if group_of(request.task) not in known:
        raise CannotEditError(untrained(known, request.task))
    return editor.begin(prompt, EditOptions(budget_ms=request.budget_ms), should_stop=should_stop)


def follows(infiller: Infiller) -> bool:
    """Whether instructions in free words can be put to the model."""
    return isinstance(infiller.denoiser, Published) and infiller.denoiser.family.chat is not None


def edited(parts: Sequence[Part], found: Sequence[Edit], ms: float) -> EditResult:
    """The edits of all blocks as one result."""
    rest = iter(found)
    results = [_held(part.request, list(islice(rest, len(part.request.blocks)))) for part in parts]
    return replace(joined(parts, results), ms=ms)


def _held(request: EditRequest, found: Sequence[Edit]) -> EditResult:
    """Those of a block hold alone; where all do not hold together, blocks that gain least are left as they are."""
    blocks = [
        [TextEdit(one.start, one.end, one.new, index, one.gain) for one in edit.changes]
        for index, edit in enumerate(found)
    ]
    reasons = [edit.reason for edit in found]
    order = sorted((index for index, edits in enumerate(blocks) if edits), key=lambda i: -blocks[i][0].gain)

    def with_first(count: int) -> str:
        return applied(request.text, (one for index in order[:count] for one in blocks[index]))

    for dropped in order[Before(request.text, request.language).held(len(order), with_first) :]:
        blocks[dropped], reasons[dropped] = [], "syntax"
    edits = sorted((one for edits in blocks for one in edits), key=lambda one: one.start)
    passes, tokens = sum(one.passes for one in found), sum(one.tokens for one in found)
    return EditResult(tuple(edits), tuple(reasons), passes, tokens)


def open_infiller(settings: Settings, *, cache_bytes: int = LIMIT_BYTES) -> Infiller:
    """The engine over the checkpoint that the settings name: the one place where the assistant touches ``model``.

    Raises:
        ModelError: no such checkpoint, a damaged one, or a device that is not there.
    """
    folder = main_folder(settings)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    try:
        if is_published(folder):
            published = open_published(
                folder, device=settings.device, dtype=settings.dtype or "auto", quantize=settings.quantize
            )
            return Infiller(published, calibration=in_place(folder), cache_bytes=cache_bytes, requests=InPlace)
        denoiser = load_denoiser(folder, device=settings.device, dtype=settings.dtype or "auto")
        return Infiller(
            denoiser,
            calibration=Calibration.load(folder),
            cache_bytes=cache_bytes,
            edits=EditCalibration.load(folder),
        )
    except (CheckpointError, ValueError) as error:
        raise ModelError(f"{error}; `hone doctor` tells more") from error


def describe(infiller: Infiller, name: str) -> ModelInfo:
    """What there is to know of an open model."""
    denoiser = infiller.denoiser
    known = denoiser if isinstance(denoiser, NetworkDenoiser | Published) else None
    parameters = count_parameters(known.network) if known else 0
    return ModelInfo(
        name=name,
        parameters=parameters,
        context=denoiser.context,
        max_hole=denoiser.max_hole,
        vocabulary=denoiser.tokenizer.vocab_size,
        device=str(denoiser.device),
        dtype=str(known.dtype).removeprefix("torch.") if known else "float32",
        loaded=True,
        tasks=_tasks(infiller),
        instruct_model=name if follows(infiller) else None,
    )


def _tasks(infiller: Infiller) -> tuple[str, ...]:
    if follows(infiller):
        return TASKS
    known = {ANNOTATE} if Annotator(infiller).able else set[str]()
    known.update(infiller.edits.tasks if infiller.denoiser.inserts > 0 else ())
    return tuple(task for task in TASKS if task in known)


def _settled(request: CompletionRequest) -> CompletionRequest:
    """The request with its hole checked, and moved off the two places that are one character to everybody else."""
    text, start = request.text, request.start
    end = start if request.end is None else request.end
    if not 0 <= start <= end <= len(text):
        raise PositionError(f"the hole {start}..{end} is outside of the text, which has offsets 0 to {len(text)}")
    if text.startswith("\ufeff"):
        start, end = max(start, 1), max(end, 1)
    if text[start:end].strip("\r\n") and text[end - 1] == "\n":
        end -= 1  # whole lines were selected: the last one's end is no part of what is written anew
    if text[start - 1 : start + 1] == "\r\n":
        start -= 1
    if text[end - 1 : end + 1] == "\r\n":
        end = max(end - 1, start)
    language = resolve(request.language, request.filename, text)
    return replace(request, start=start, end=end, language=language)


def _prompt(request: CompletionRequest) -> Prompt:
    extra = tuple(snippet.text for snippet in request.extra)
    return Prompt(request.text[: request.start], request.text[request.end :], request.language, request.filename, extra)


def _options(request: CompletionRequest) -> InfillOptions:
    try:
        return InfillOptions(
            n=request.n,
            max_tokens=request.max_tokens,
            steps=request.steps,
            policy=request.policy,
            lengths=request.lengths,
            temperature=request.temperature,
            top_p=request.top_p,
            seed=request.seed,
            budget_ms=request.budget_ms,
            one_line=request.one_line,
            stop=request.stop,
        )
    except ValueError as error:
        raise RequestError(str(error)) from error


def _completion(candidate: Candidate, request: CompletionRequest) -> Completion:
    return Completion(
        text=candidate.text,
        start=request.start,
        end=request.start if request.end is None else request.end,
        score=candidate.score,
        confidence=candidate.confidence,
        verdict=candidate.verdict,
        tokens=candidate.tokens,
        origin=candidate.origin,
        chance=candidate.chance,
        stopped_by=candidate.stopped_by,
    )


def _watcher(tokenizer: Tokenizer, on_draft: OnDraft) -> OnStep:
    def watch(step: Step) -> None:
        tokens = tuple(None if token == tokenizer.mask else tokenizer.decode([token]) for token in step.ids)
        on_draft(Draft(step.index, step.phase, tokens, step.confidence))

    return watch
