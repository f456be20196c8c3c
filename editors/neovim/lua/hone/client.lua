-- The language server as a client of Neovim: its configuration, its restart, the requests of :Hone fill, fix and so on.
-- Requests for suggestions are watched on their way: what they were asked about is needed when they are accepted.

local edits = require('hone.edit')
local settings = require('hone.config')

local M = {}

M.NAME = 'hone'
M.INLINE = 'textDocument/inlineCompletion'
local LONGEST_STOP_MS = 3000
local NO_SERVER = 'no language server runs for this buffer; :checkhealth hone says why'

---@type table<integer, hone.Asked> by buffer: the newest request
local newest = {}

---@type table<integer, true> by client: it has answered
local ready = {}

---@class hone.Asked What a request for suggestions was about, as it was then.
---@field buf integer
---@field row integer
---@field line string
---@field by_hand boolean
---@field encoding string

---@class hone.Listener
---@field asked fun(asked: hone.Asked)
---@field answered fun(asked: hone.Asked, items: table[]?, ms: number, is_newest: boolean) items: nil where it failed
---@field shown fun(asked: hone.Asked) the editor has seen the answer
---@field ended fun(code: integer, signal: integer, was_ready: boolean) was_ready: it had answered

---@param rpc vim.lsp.rpc.PublicClient
---@param listener hone.Listener
local function watch(rpc, listener)
  local request = rpc.request
  rpc.request = function(method, params, callback, ...)
    if method ~= M.INLINE then
      return request(method, params, callback, ...)
    end
    local buf = vim.uri_to_bufnr(params.textDocument.uri)
    local row = params.position.line
    local asked = {
      buf = buf,
      row = row,
      line = vim.api.nvim_buf_get_lines(buf, row, row + 1, false)[1] or '',
      by_hand = params.context.triggerKind == 1,
      encoding = (M.clients(buf)[1] or {}).offset_encoding or 'utf-8',
    }
    local started = vim.uv.hrtime()
    newest[buf] = asked
    listener.asked(asked)
    return request(method, params, function(err, result)
      local function deliver()
        local items = not err and result and (result.items or result) or nil
        local is_newest = newest[buf] == asked
        listener.answered(asked, items, (vim.uv.hrtime() - started) / 1e6, is_newest)
        if not is_newest then
          return -- the server answers a superseded request with nothing, which would take the ghost text away
        end
        newest[buf] = nil
        callback(err, result)
        vim.schedule(function()
          listener.shown(asked)
        end)
      end
      if vim.in_fast_event() then
        vim.schedule(deliver)
      else
        deliver()
      end
    end, ...)
  end
  return rpc
end

---@return lsp.ClientCapabilities
local function capabilities()
  local all = vim.lsp.protocol.make_client_capabilities()
  -- Neovim can, and does not say so: edits then carry the version that they are for, and may be asked about.
  all.workspace.workspaceEdit.documentChanges = true
  -- What Neovim resolves it applies by itself, asking without showing the change. As commands, actions send their edits to
  -- our handler, whoever has chosen them: gra, vim.lsp.buf.code_action() or :Hone edit.
  all.textDocument.codeAction.resolveSupport = { properties = { 'command' } }
  return all
end

---@param config hone.Config
---@param listener hone.Listener
---@return vim.lsp.Config
function M.config(config, listener)
  return {
    cmd = function(dispatchers)
      return watch(vim.lsp.rpc.start(config.cmd, dispatchers, { env = settings.environment(config) }), listener)
    end,
    filetypes = config.filetypes,
    root_markers = config.root_markers,
    init_options = next(config.server) and config.server or nil,
    capabilities = capabilities(),
    handlers = { ['workspace/applyEdit'] = edits.handler },
    on_init = function(client)
      ready[client.id] = true
    end,
    on_exit = function(code, signal, id)
      local was_ready = ready[id] or false
      ready[id] = nil
      vim.schedule(function()
        vim.schedule(function() -- Neovim knows by now that it is gone
          listener.ended(code, signal, was_ready)
        end)
      end)
    end,
  }
end

---@param buf? integer
---@return vim.lsp.Client[]
function M.clients(buf)
  return vim.lsp.get_clients({ name = M.NAME, bufnr = buf })
end

--- What is being asked about this buffer is not wanted any more.
---@param buf integer
function M.forget(buf)
  newest[buf] = nil
end

--- Neovim switches off only what its marks say is on: a mark of the buffer, which is set here, and one of the client.
---@param client vim.lsp.Client
---@param buf integer
function M.attached(client, buf)
  vim.lsp.inline_completion.enable(true, { client_id = client.id })
  vim.lsp.inline_completion.enable(true, { bufnr = buf })
  vim.lsp.inline_completion.enable(require('hone').is_enabled(), { client_id = client.id })
end

---@param enabled boolean
function M.enable_suggestions(enabled)
  for _, client in ipairs(M.clients()) do
    vim.lsp.inline_completion.enable(enabled, { client_id = client.id })
  end
end

--- Ends every language server and starts them again for their buffers.
---@param done fun()
function M.restart(done)
  local clients = M.clients()
  vim.lsp.enable(M.NAME, false)
  for _, client in ipairs(clients) do
    client:stop()
  end
  local deadline = vim.uv.now() + LONGEST_STOP_MS
  local function start()
    local is_late = vim.uv.now() > deadline
    for _, client in ipairs(clients) do
      if not client:is_stopped() then
        if not is_late then
          vim.defer_fn(start, 20)
          return
        end
        client:stop(true)
      end
    end
    vim.lsp.enable(M.NAME, true)
    done()
  end
  start()
end

--- Why the language server does not start: the last line of its complaint, which Neovim keeps in a log alone.
---@param config hone.Config
---@param done fun(words: string) "" where it says nothing
function M.explain(config, done)
  local options = { env = settings.environment(config), stdin = '', text = true, timeout = 10000 }
  vim.system(config.cmd, options, vim.schedule_wrap(function(ended)
    done((vim.trim(ended.stderr):match('[^\n]*$'):gsub('^hone: ', '')))
  end))
end

---@param client vim.lsp.Client
---@param buf integer
---@param command { command: string, arguments: any[]? }
---@param done fun(complaint: string?)
local function execute(client, buf, command, done)
  local params = { command = command.command, arguments = command.arguments }
  client:request('workspace/executeCommand', params, function(err, result)
    if err then
      return done(err.message)
    end
    local reason = result and not result.applied and result.reason
    done(type(reason) == 'string' and reason or nil) -- without a reason the user said no
  end, buf)
end

--- Runs one of the server's actions at the cursor, or over the lines or the selection of a command.
---@param action string
---@param call { range: integer, line1: integer, line2: integer }
---@param done fun(complaint: string?)
function M.run(action, call, done)
  local buf = vim.api.nvim_get_current_buf()
  local client = M.clients(buf)[1]
  if not client then
    return done(NO_SERVER)
  end
  local argument = {
    action = action,
    uri = vim.uri_from_bufnr(buf),
    version = vim.lsp.util.buf_versions[buf],
  }
  if call.range > 0 then
    argument.range = M.range(buf, call, client.offset_encoding)
  else
    argument.position = vim.lsp.util.make_position_params(0, client.offset_encoding).position
  end
  execute(client, buf, { command = 'hone.run', arguments = { argument } }, done)
end

--- Lets the user choose among what the server offers at the cursor, or over the lines or the selection of a command.
---@param call { range: integer, line1: integer, line2: integer }
---@param done fun(complaint: string?)
function M.choose(call, done)
  local buf = vim.api.nvim_get_current_buf()
  local client = M.clients(buf)[1]
  if not client then
    return done(NO_SERVER)
  end
  local params = vim.lsp.util.make_range_params(0, client.offset_encoding) --[[@as lsp.CodeActionParams]]
  if call.range > 0 then
    params.range = M.range(buf, call, client.offset_encoding)
  end
  local found = vim.diagnostic.get(buf, { lnum = params.range.start.line })
  params.context = { diagnostics = vim.lsp.diagnostic.from(found), triggerKind = 1 }
  client:request('textDocument/codeAction', params, function(err, offers)
    if err or not offers or #offers == 0 then
      return done(err and err.message or 'there is nothing to edit here: no hole, no empty body, no error')
    end
    vim.ui.select(offers, {
      prompt = 'Hone:',
      kind = 'hone',
      format_item = function(offer)
        return offer.title
      end,
    }, function(offer)
      if offer then
        execute(client, buf, offer.command, done)
      end
    end)
  end, buf)
end

--- The selection where the command's lines are its lines, else the lines.
---@param buf integer
---@param call { line1: integer, line2: integer }
---@param encoding string
---@return lsp.Range
function M.range(buf, call, encoding)
  local from, to = vim.api.nvim_buf_get_mark(buf, '<'), vim.api.nvim_buf_get_mark(buf, '>')
  local is_selection = from[1] == call.line1 and to[1] == call.line2 and vim.fn.visualmode() == 'v'
  local first, last = is_selection and from[2] or 0, nil
  local line = vim.api.nvim_buf_get_lines(buf, call.line2 - 1, call.line2, false)[1] or ''
  if is_selection and to[2] < #line then
    last = to[2] + 1 + vim.str_utf_end(line, to[2] + 1)
  else
    last = #line
  end
  local function position(row, text, col)
    return { line = row, character = vim.str_utfindex(text, encoding, col, false) }
  end
  local top = vim.api.nvim_buf_get_lines(buf, call.line1 - 1, call.line1, false)[1] or ''
  if not is_selection then
    first = #top:match('^%s*')
  end
  return { start = position(call.line1 - 1, top, first), ['end'] = position(call.line2 - 1, line, last) }
end

return M
