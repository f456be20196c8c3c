"""Next edits in a real Neovim: a client of our own that sends what sidekick.nvim sends, when it sends it.

Its name has "copilot" in it, as such clients look for one; it sends ``textDocument/didFocus``, asks with
``textDocument/copilotInlineEdit`` 100 ms after insert mode was left or the text has changed, gives up a request when
the next one begins, takes only edits of the version that is there, and runs their command when they are applied.
"""

from tests.editors.conftest import START_S, Answering, Neovim, Start, until

CLIENT = """
vim.lsp.config('my-copilot', { cmd = { 'hone', 'lsp' }, filetypes = { 'python' } })
vim.lsp.enable('my-copilot')
edits, asked, commands = {}, 0, {}
local pending, timer
local function client()
  return vim.iter(vim.lsp.get_clients({ bufnr = 0 })):find(function(one) return one.name:find('copilot') end)
end
local function give_up()
  if pending then
    client():cancel_request(pending)
    pending = nil
  end
  edits = {}
end
function current()
  return vim.tbl_filter(function(edit)
    return edit.textDocument.version == vim.lsp.util.buf_versions[vim.uri_to_bufnr(edit.textDocument.uri)]
  end, edits)
end
local function ask()
  local one = client()
  if not one then return end
  give_up()
  local params = vim.lsp.util.make_position_params(0, one.offset_encoding)
  params.textDocument.version = vim.lsp.util.buf_versions[vim.api.nvim_get_current_buf()]
  params.context = { triggerKind = 2 }
  asked = asked + 1
  local _, id = one:request('textDocument/copilotInlineEdit', params, function(err, result)
    pending = nil
    failed = err
    edits = result and result.edits or {}
  end)
  pending = id
end
vim.api.nvim_create_autocmd({ 'InsertLeave', 'TextChanged', 'User' }, {
  callback = function()
    if timer then timer:stop() end
    timer = vim.defer_fn(ask, 100)
  end,
})
vim.api.nvim_create_autocmd({ 'InsertEnter', 'TextChangedI' }, { callback = give_up })
vim.api.nvim_create_autocmd('LspAttach', {
  callback = function(event)
    vim.lsp.get_client_by_id(event.data.client_id)
      :notify('textDocument/didFocus', { textDocument = { uri = vim.uri_from_bufnr(event.buf) } })
  end,
})
vim.keymap.set('n', '<Tab>', function()
  local edit, one = current()[1], client()
  if not edit then return end
  local row, col = edit.range.start.line + 1, edit.range.start.character
  if not vim.deep_equal(vim.api.nvim_win_get_cursor(0), { row, col }) then
    return vim.api.nvim_win_set_cursor(0, { row, col })
  end
  local all = current()
  give_up()
  vim.lsp.util.apply_text_edits(
    vim.tbl_map(function(each) return { range = each.range, newText = each.text } end, all),
    vim.api.nvim_get_current_buf(), one.offset_encoding)
  for _, each in ipairs(all) do
    table.insert(commands, each.command.command)
    one:exec_cmd(each.command, { bufnr = 0 })
  end
  vim.api.nvim_exec_autocmds('User', { pattern = 'EditDone' })
end)
"""
TEXT = "def area(width, height):  # ä𝄞\n    # width of it\n    size = width * height\n    return size + width\n"


def open_(start: Start, answering: Answering, text: str = TEXT) -> Neovim:
    answering()
    editor = start(text, CLIENT, wait=False)
    until(lambda: editor.lua("return #vim.lsp.get_clients({ bufnr = 0 })"), "the server", lambda n: n == 1, START_S)
    return editor


def test_after_a_rename_the_uses_follow_one_by_one(start: Start, answering: Answering) -> None:
    editor = open_(start, answering)
    editor.type("fwcwbreadth<Esc>")
    (edit,) = until(lambda: editor.lua("return current()"), "the next edit")
    assert edit["text"].count("breadth") >= 1
    assert edit["range"]["start"]["line"] == 2
    editor.type("<Tab>")
    until(lambda: editor.lua("return vim.api.nvim_win_get_cursor(0)"), "the jump", lambda at: at[0] == 3)
    assert editor.lines[2] == "    size = width * height", "only jumped"
    editor.type("<Tab>")
    editor.wait_for_line(2, "    size = breadth * height")
    until(
        lambda: editor.lua("return current()"),
        "the one behind it",
        lambda edits: edits and edits[0]["range"]["start"]["line"] == 3,
    )
    editor.type("<Tab>")
    editor.type("<Tab>")
    editor.wait_for_line(3, "    return size + breadth")
    assert editor.lines[1] == "    # width of it", "comments are not code"
    until(lambda: editor.lua("return current()"), "the end", lambda edits: not edits)
    assert len(editor.lua("return commands")) == 2
    assert editor.lua("return failed == nil")
    assert editor.messages == ""


def follow(editor: Neovim, line: int, text: str) -> None:
    """Jumps to the next edit, which is on that line, and makes it."""
    until(
        lambda: editor.lua("return current()"),
        "the next edit",
        lambda edits: edits and edits[0]["range"]["start"]["line"] == line,
    )
    editor.type("<Tab>")
    until(lambda: editor.lua("return vim.api.nvim_win_get_cursor(0)"), "the jump", lambda at: at[0] == line + 1)
    editor.type("<Tab>")
    editor.wait_for_line(line, text)


def test_after_a_parameter_is_gone_its_arguments_go_one_by_one(start: Start, answering: Answering) -> None:
    calls = "a = area(1, '𝄞', 'm')\nb = area(1, height=2, unit='m')\n"
    text = f"def area(width, height, unit):  # ä𝄞\n    return width, unit\n\n\n{calls}"
    editor = open_(start, answering, text)
    editor.type("f,dt,")
    editor.wait_for_line(0, "def area(width, unit):  # ä𝄞")
    follow(editor, 4, "a = area(1, 'm')")
    follow(editor, 5, "b = area(1, unit='m')")
    until(lambda: editor.lua("return current()"), "the end", lambda edits: not edits)
    assert len(editor.lua("return commands")) == 2
    assert editor.lua("return failed == nil")
    assert editor.save() == text.replace(", height", "", 1).replace("'𝄞', ", "").replace("height=2, ", "")


def test_after_a_parameter_is_new_a_call_passes_what_is_called_so(start: Start, answering: Answering) -> None:
    text = "def area(width):\n    return width\n\n\ndef size(width, unit):\n    return area(width)\n"
    editor = open_(start, answering, text)
    editor.type("f)i, unit<Esc>")
    editor.wait_for_line(0, "def area(width, unit):")
    follow(editor, 5, "    return area(width, unit)")
    editor.type("u")
    editor.wait_for_line(5, "    return area(width)")


def test_what_was_typed_meanwhile_is_not_overwritten(start: Start, answering: Answering) -> None:
    editor = open_(start, answering)
    editor.type("fwcwbreadth<Esc>")
    until(lambda: editor.lua("return current()"), "the next edit")
    editor.type("jjdd")
    editor.type("<Tab><Tab>")
    until(
        lambda: editor.lua("return current()"),
        "the edit after it",
        lambda edits: edits and edits[0]["range"]["start"]["line"] == 2,
    )
    assert editor.lines == ["def area(breadth, height):  # ä𝄞", "    # width of it", "    return size + width"]
