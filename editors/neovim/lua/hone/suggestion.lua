-- The suggestion on the screen: what of it is still to come, accepting it or a part of it, drawing, taking it away.
--
-- Neovim asks, shows and cycles (vim.lsp.inline_completion). It keeps a suggestion while you type on, with the range of
-- the moment it was asked about, and does not compare what you type with it. Here the place it was asked about is
-- remembered, what was typed since is compared, and only what is missing is inserted; at once, so that keys stay in order.

local client = require('hone.client')

local M = {}

local api = vim.api
local OURS = api.nvim_create_namespace('hone')
local NEOVIMS = api.nvim_create_namespace('nvim.lsp.inline_completion')
local GROUP = 'hone.suggestion'
local INVOKED, AUTOMATIC = 1, 2
local BURST_MS = 15

---@class hone.Piece A suggestion at the place it was asked about.
---@field buf integer
---@field row integer 0-based
---@field col integer where it begins, in bytes
---@field before string the line up to there
---@field covered string what stands behind the cursor and is replaced
---@field behind string the rest of the line
---@field text string
---@field item lsp.InlineCompletionItem as the server sent it

---@type table<integer, { pieces: hone.Piece[], by_hand: boolean }> by buffer: the newest answer
local answers = {}
---@type table<integer, integer> by buffer: the step to make once the alternatives are there
local steps = {}
---@type table<integer, string> by buffer: where the last one was taken away
local dismissed = {}

-- What Neovim holds.

--- Neovim's own state for a buffer. Private to it: without it, suggestions are shown and accepted by Neovim alone.
---@param buf integer
---@return table?
local function completor(buf)
  local ok, capability = pcall(require, 'vim.lsp._capability')
  local inline = ok and capability.all and capability.all.inline_completion
  return inline and inline.active and inline.active[buf] or nil
end

---@return boolean
function M.is_supported()
  pcall(require, 'vim.lsp.inline_completion') -- which nothing may have asked for so far
  local ok, capability = pcall(require, 'vim.lsp._capability')
  local inline = ok and capability.all and capability.all.inline_completion
  return inline ~= nil and type(inline.active) == 'table' and vim.is_callable(inline.request) and vim.is_callable(inline.abort)
end

---@param item lsp.InlineCompletionItem
---@param asked hone.Asked
---@return hone.Piece
local function piece_of(item, asked)
  local function byte(position)
    return vim.str_byteindex(asked.line, asked.encoding, position.character, false)
  end
  local from, to = byte(item.range.start), byte(item.range['end'])
  return {
    buf = asked.buf,
    row = asked.row,
    col = from,
    before = asked.line:sub(1, from),
    covered = asked.line:sub(from + 1, to),
    behind = asked.line:sub(to + 1),
    text = (item.insertText:gsub('\r\n', '\n')),
    item = item,
  }
end

--- What of a piece is still to come; nil where something else was typed, or the text around it has changed.
---@param piece hone.Piece
---@return string?
local function remaining(piece)
  local row, col = unpack(api.nvim_win_get_cursor(0))
  row = row - 1
  if row < piece.row or (row == piece.row and col < piece.col) then
    return nil
  end
  local first = api.nvim_buf_get_lines(piece.buf, piece.row, piece.row + 1, false)[1]
  if not first or first:sub(1, piece.col) ~= piece.before then
    return nil
  end
  if api.nvim_get_current_line():sub(col + 1) ~= piece.covered .. piece.behind then
    return nil
  end
  local typed = table.concat(api.nvim_buf_get_text(piece.buf, piece.row, piece.col, row, col, {}), '\n')
  return vim.startswith(piece.text, typed) and piece.text:sub(#typed + 1) or nil
end

---@class hone.Current
---@field piece? hone.Piece nil where another client's suggestion is shown
---@field rest? string what is to come; nil where the suggestion does not fit any more

---@param buf integer
---@return hone.Current? current nil where Neovim holds no suggestion
local function current(buf)
  local held = completor(buf)
  local item = held and held.current
  if not item then
    return nil
  end
  local owner = vim.lsp.get_client_by_id(item.client_id)
  if not owner or owner.name ~= client.NAME then
    return {}
  end
  for _, piece in ipairs((answers[buf] or {}).pieces or {}) do
    if vim.deep_equal(piece.item.command, item.command) then
      local rest = remaining(piece)
      return { piece = piece, rest = rest ~= piece.covered and rest ~= '' and rest or nil }
    end
  end
  return { piece = nil, rest = nil }
end

-- On the screen.

local function abort(buf)
  local held = completor(buf)
  if held then
    held:abort()
  end
  api.nvim_buf_clear_namespace(buf, OURS, 0, -1)
end

--- Behind Neovim's drawing: takes away what does not fit any more, and draws what Neovim cannot: the rest of a suggestion
--- of which lines were typed or accepted.
---@param buf integer
local function tidy(buf)
  if not api.nvim_buf_is_valid(buf) then
    return
  end
  api.nvim_buf_clear_namespace(buf, OURS, 0, -1)
  local now = buf == api.nvim_get_current_buf() and current(buf)
  if not now or not now.piece then
    return
  end
  local row, col = unpack(api.nvim_win_get_cursor(0))
  if not now.rest then
    api.nvim_buf_clear_namespace(buf, NEOVIMS, 0, -1)
  elseif row - 1 ~= now.piece.row then
    api.nvim_buf_clear_namespace(buf, NEOVIMS, 0, -1)
    local lines = vim.tbl_map(function(line)
      return { { line, 'HoneGhost' } }
    end, vim.split(now.rest, '\n'))
    api.nvim_buf_set_extmark(buf, OURS, row - 1, col, {
      virt_text = lines[1],
      virt_lines = vim.list_slice(lines, 2),
      virt_text_pos = now.piece.covered ~= '' and 'overlay' or 'inline',
      hl_mode = 'combine',
    })
  end
end

--- The text and the cursor, as they are.
---@param buf integer
---@return string
local function here(buf)
  return api.nvim_buf_get_changedtick(buf) .. ':' .. table.concat(api.nvim_win_get_cursor(0), ':')
end

--- Neovim waits 200 ms after every key before it asks. The server knows better how long to wait: it knows how long the
--- model takes, and answers what is typed along from memory.
---@param buf integer
local function hasten(buf)
  local held = completor(buf)
  if not held or not vim.is_callable(held.reset_timer) then
    return
  end
  if dismissed[buf] == here(buf) then -- the news of a move from before that
    held:reset_timer()
    return
  end
  dismissed[buf] = nil
  held:reset_timer()
  held.timer = vim.defer_fn(function()
    if completor(buf) == held and vim.startswith(api.nvim_get_mode().mode, 'i') then
      held:request(AUTOMATIC)
    end
  end, BURST_MS)
end

--- After Neovim's own: autocommands run in the order in which they were made.
---@param buf integer
function M.watch(buf)
  if not api.nvim_buf_is_valid(buf) then
    return
  end
  local group = api.nvim_create_augroup(GROUP .. buf, {})
  api.nvim_create_autocmd({ 'CursorMovedI', 'TextChangedI', 'TextChangedP', 'InsertLeave' }, {
    group = group,
    buffer = buf,
    callback = function()
      tidy(buf)
    end,
  })
  api.nvim_create_autocmd({ 'InsertEnter', 'CursorMovedI', 'TextChangedP' }, {
    group = group,
    buffer = buf,
    callback = function()
      hasten(buf)
    end,
  })
  api.nvim_create_autocmd({ 'BufWipeout' }, {
    group = group,
    buffer = buf,
    callback = function()
      answers[buf], steps[buf], dismissed[buf] = nil, nil, nil
      pcall(api.nvim_del_augroup_by_id, group)
    end,
  })
end

--- There are suggestions in this buffer from now on, also for what stands before the cursor already.
---@param buf integer
function M.begin(buf)
  M.watch(buf)
  if buf == api.nvim_get_current_buf() then
    hasten(buf)
  end
end

-- What the server is told, for the user's own statistics.

---@param buf integer
---@param method string
---@param params table
local function tell_server(buf, method, params)
  local owner = client.clients(buf)[1]
  if owner then
    owner:notify(method, params)
  end
end

---@param buf integer
local function report_shown(buf)
  local now = buf == api.nvim_get_current_buf() and current(buf)
  if now and now.piece and now.rest then
    tell_server(buf, 'textDocument/didShowCompletion', { item = now.piece.item })
  end
end

---@param piece hone.Piece
---@param bytes integer how much of its text is there by now
local function report_part(piece, bytes)
  tell_server(piece.buf, 'textDocument/didPartiallyAcceptCompletion', {
    item = piece.item,
    acceptedLength = vim.str_utfindex(piece.text:sub(1, bytes), 'utf-16'),
  })
end

-- What the client tells.

---@param asked hone.Asked
---@param items lsp.InlineCompletionItem[]?
function M.answered(asked, items)
  local pieces = {}
  for _, item in ipairs(items or {}) do
    if type(item.insertText) == 'string' and item.range then
      pieces[#pieces + 1] = piece_of(item, asked)
    end
  end
  answers[asked.buf] = { pieces = pieces, by_hand = asked.by_hand }
end

---@param asked hone.Asked
function M.shown(asked)
  local buf = asked.buf
  if not api.nvim_buf_is_valid(buf) then
    return
  end
  M.watch(buf)
  tidy(buf)
  report_shown(buf)
  local step = steps[buf]
  if step and asked.by_hand then
    steps[buf] = nil
    local count = #(answers[buf] or { pieces = {} }).pieces
    if count > 1 then
      vim.lsp.inline_completion.select({ bufnr = buf, count = step })
      tidy(buf)
      report_shown(buf)
    end
  end
end

-- What keys do. Each says whether there was something to do.

--- The next edits are a step of their own for undo.
local function break_undo()
  vim.cmd('let &g:undolevels = &g:undolevels')
end

---@param buf integer
---@param text string
---@param covered integer how many bytes behind the cursor it replaces
local function insert(buf, text, covered)
  local row, col = unpack(api.nvim_win_get_cursor(0))
  local lines = vim.split(text, '\n')
  break_undo()
  api.nvim_buf_set_text(buf, row - 1, col, row - 1, col + covered, lines)
  api.nvim_win_set_cursor(0, { row + #lines - 1, (#lines == 1 and col or 0) + #lines[#lines] })
  break_undo()
end

---@param rest string
---@return string
local function first_word(rest)
  -- Bytes from 128 on belong to letters of other scripts.
  return rest:match('^%s*[%w_\128-\255]+') or rest:match('^%s*[^%w_%s\128-\255]+') or rest
end

---@param rest string
---@return string
local function first_line(rest)
  return rest:match('^\n*[^\n]+') or rest
end

---@param part? fun(rest: string): string nil: all of it
---@return boolean
local function accept(part)
  local buf = api.nvim_get_current_buf()
  local now = current(buf)
  if not now then
    return false
  end
  if not now.piece then -- of another client: as Neovim does it
    return not part and vim.lsp.inline_completion.get()
  end
  if not now.rest then
    return false
  end
  local text = part and part(now.rest) or now.rest
  if #text < #now.rest then
    insert(buf, text, 0) -- as if it had been typed
    report_part(now.piece, #now.piece.text - #now.rest + #text)
    return true
  end
  abort(buf)
  insert(buf, text, #now.piece.covered)
  local owner = client.clients(buf)[1]
  if owner and now.piece.item.command then
    owner:exec_cmd(now.piece.item.command, { bufnr = buf })
  end
  return true
end

---@return boolean
function M.accept()
  if not M.is_supported() then
    return vim.lsp.inline_completion.get()
  end
  return accept()
end

---@return boolean
function M.accept_word()
  return accept(first_word)
end

---@return boolean
function M.accept_line()
  return accept(first_line)
end

---@param step integer
---@return boolean
local function cycle(step)
  local buf = api.nvim_get_current_buf()
  local now = current(buf)
  if not now then
    return false
  end
  local answer = answers[buf]
  if not now.piece or (answer and #answer.pieces > 1) then
    vim.lsp.inline_completion.select({ count = step })
    tidy(buf)
    report_shown(buf)
  elseif now.rest and answer and not answer.by_hand then
    steps[buf] = step
    completor(buf):request(INVOKED)
  else
    return now.rest ~= nil
  end
  return true
end

---@return boolean
function M.next()
  return cycle(1)
end

---@return boolean
function M.previous()
  return cycle(-1)
end

---@return boolean
function M.dismiss()
  local buf = api.nvim_get_current_buf()
  local now = current(buf)
  if not now or (now.piece and not now.rest) then
    return false
  end
  abort(buf)
  client.forget(buf)
  dismissed[buf] = here(buf)
  return true
end

--- Whether a suggestion is on the screen.
---@return boolean
function M.is_visible()
  local now = current(api.nvim_get_current_buf())
  return now ~= nil and now.rest ~= nil
end

return M
