-- What users call: setup, the keys, the command, the statusline. Wiring only.

local M = {}

---@type hone.Config? nil before setup()
M.config = nil

local is_enabled = true
local is_restarting = false
local RESTARTS, WITHIN_MS = 3, 5 * 60 * 1000
local restarts = {} ---@type number[] when the language server was started again by itself

---@param message string
---@param level? integer
local function tell(message, level)
  vim.notify('Hone: ' .. message, level or vim.log.levels.WARN)
end

-- Keys.

local function suggestion()
  return require('hone.suggestion')
end

--- Each accepts, or moves on, and says whether there was something to do.
function M.accept()
  return suggestion().accept()
end
function M.accept_word()
  return suggestion().accept_word()
end
function M.accept_line()
  return suggestion().accept_line()
end
function M.next()
  return suggestion().next()
end
function M.previous()
  return suggestion().previous()
end
function M.dismiss()
  return suggestion().dismiss()
end
function M.is_visible()
  return suggestion().is_visible()
end

--- What the key did before: an earlier mapping, or the key itself.
---@param key string
---@param earlier table<string, any> as of maparg(); empty where there was none
local function fall_through(key, earlier)
  local keys, flags = vim.keycode(key), 'in'
  if earlier.callback or (earlier.rhs and earlier.expr == 1) then
    local result
    if earlier.callback then
      result = earlier.callback()
    else
      result = vim.api.nvim_eval(earlier.rhs)
    end
    if earlier.expr ~= 1 or type(result) ~= 'string' then
      return
    end
    keys = earlier.replace_keycodes == 1 and vim.keycode(result) or result
    flags = earlier.noremap == 1 and 'in' or 'im'
  elseif earlier.rhs then
    keys = vim.keycode(earlier.rhs)
    flags = earlier.noremap == 1 and 'in' or 'im'
  end
  vim.api.nvim_feedkeys(keys, flags, false)
end

---@param keys hone.Keys
local function map(keys)
  for name, key in pairs(keys) do
    if key then
      local earlier = vim.fn.maparg(key, 'i', false, true)
      if (earlier.desc or ''):find('^Hone: ') then -- of an earlier setup()
        vim.keymap.del('i', key)
        earlier = vim.fn.maparg(key, 'i', false, true)
      end
      vim.keymap.set('i', key, function()
        if not M[name]() then
          fall_through(key, earlier)
        end
      end, { desc = 'Hone: ' .. name:gsub('_', ' ') })
    end
  end
end

-- Commands.

local run = {}

function run.status()
  vim.api.nvim_echo({ { 'Hone: ' .. require('hone.status').summary(M.config) } }, true, {})
end

function run.toggle()
  M.toggle()
  tell(is_enabled and 'on' or 'off', vim.log.levels.INFO)
end

function run.restart()
  M.restart()
end

function run.log()
  vim.cmd.tabnew(vim.fn.fnameescape(vim.lsp.log.get_filename()))
end

---@param complaint string?
local function done(complaint)
  if complaint then
    tell(complaint)
  end
end

local function act(action)
  return function(call)
    require('hone.client').run(action, call, done)
  end
end
run.fill = act('fillHole')
run.body = act('completeBody')
run.fix = act('fixSyntax')
run.modernise = act('modernise')
run.annotate = act('addAnnotations')

function run.edit(call)
  require('hone.client').choose(call, done)
end

---@return string[]
function M.commands()
  local names = vim.tbl_keys(run)
  table.sort(names)
  return names
end

---@param call { args: string, range: integer, line1: integer, line2: integer } as nvim_create_user_command gives it
function M.command(call)
  local name = call.args == '' and 'status' or call.args
  if not run[name] then
    tell(('there is no :Hone %s; there are %s'):format(name, table.concat(M.commands(), ', ')), vim.log.levels.ERROR)
  elseif not M.config then
    tell("call require('hone').setup() first", vim.log.levels.ERROR)
  else
    run[name](call)
  end
end

---@return boolean
function M.is_enabled()
  return is_enabled
end

--- Suggestions while you type, on or off.
---@param enabled? boolean nil: the other way round
function M.toggle(enabled)
  if enabled == nil then
    enabled = not is_enabled
  end
  if not enabled then
    M.dismiss()
  end
  is_enabled = enabled
  local client = require('hone.client')
  client.enable_suggestions(enabled)
  for _, one in ipairs(client.clients()) do
    for buf in pairs(one.attached_buffers) do
      suggestion().begin(buf)
    end
  end
  require('hone.status').changed()
end

--- Whether the program is there; says so where it is not.
---@return boolean
local function is_there()
  local missing = require('hone.config').missing(M.config)
  if missing then
    tell(missing, vim.log.levels.ERROR)
  end
  return not missing
end

--- Ends the language server and starts it again; several wishes at once are one.
function M.restart()
  if not is_restarting and is_there() then
    is_restarting = true
    require('hone.client').restart(function()
      is_restarting = false
    end)
  end
end

---@return string
function M.statusline()
  return M.config and require('hone.status').line() or ''
end

---@return hone.Status
function M.status()
  return require('hone.status').get()
end

-- The end of the language server.

---@return boolean
local function may_restart()
  local now = vim.uv.now()
  restarts = vim.tbl_filter(function(at)
    return now - at < WITHIN_MS
  end, restarts)
  if #restarts == RESTARTS then
    return false
  end
  restarts[#restarts + 1] = now
  return true
end

---@param why string
local function complain(why)
  require('hone.status').ended(why)
  tell(why)
end

---@type fun(code: integer, signal: integer, was_ready: boolean)
local function ended(code, signal, was_ready)
  local how = signal ~= 0 and ('was killed by signal %d'):format(signal) or ('ended with %d'):format(code)
  if is_restarting or vim.v.exiting ~= vim.NIL or signal == 15 or (was_ready and code == 0 and signal == 0) then
    require('hone.status').ended()
  elseif not was_ready then
    require('hone.client').explain(M.config, function(words)
      complain(('the language server does not start: %s'):format(words ~= '' and words or how .. '; :Hone log shows more'))
    end)
  elseif may_restart() then
    require('hone.status').ended()
    tell(('the language server %s, and is started again; :Hone log may say why'):format(how))
    vim.lsp.enable('hone')
  else
    complain(('the language server %s; :Hone restart starts it again, :Hone log may say why'):format(how))
  end
end

-- Setup.

--- Package managers make what :help needs; a plain clone lacks it.
local function make_help()
  local page = vim.api.nvim_get_runtime_file('doc/hone.txt', false)[1]
  local folder = page and vim.fs.dirname(page)
  if page and vim.fn.getftime(folder .. '/tags') < vim.fn.getftime(page) and vim.fn.filewritable(folder) == 2 then
    pcall(vim.cmd.helptags, vim.fn.fnameescape(folder))
  end
end

--- Ghost text must differ from code where colours are few, too: Neovim's own group has none for such terminals.
local function highlight()
  local hint = vim.api.nvim_get_hl(0, { name = 'ComplHint', link = false })
  if not hint.ctermfg and not hint.cterm then
    local values = vim.tbl_extend('force', hint, { ctermfg = 8 }) --[[@as vim.api.keyset.highlight]]
    vim.api.nvim_set_hl(0, 'ComplHint', values)
  end
  vim.api.nvim_set_hl(0, 'HoneGhost', { default = true, link = 'ComplHint' })
end

--- Starts the language server for files of the configured types, and maps the keys.
---@param options? hone.Options
function M.setup(options)
  if vim.fn.has('nvim-0.12') == 0 then
    return tell('Neovim 0.12 or newer is needed', vim.log.levels.ERROR)
  end
  local config, complaint = require('hone.config').read(options)
  if not config then
    return tell('setup: ' .. complaint, vim.log.levels.ERROR)
  end
  M.config, is_enabled = config, config.enabled
  highlight()
  map(config.keys)
  make_help()
  local group = vim.api.nvim_create_augroup('hone', {})
  vim.api.nvim_create_autocmd('ColorScheme', { group = group, callback = highlight })
  vim.api.nvim_create_autocmd({ 'LspAttach', 'LspDetach' }, {
    group = group,
    callback = function(event)
      require('hone.status').changed()
      local client = vim.lsp.get_client_by_id(event.data.client_id)
      if event.event == 'LspAttach' and client and client.name == 'hone' then
        vim.schedule(function()
          if vim.lsp.buf_is_attached(event.buf, client.id) then
            require('hone.client').attached(client, event.buf)
            require('hone.status').attached()
            suggestion().begin(event.buf)
          end
        end)
      end
    end,
  })
  vim.api.nvim_create_autocmd('LspProgress', {
    group = group,
    callback = function(event)
      local client = vim.lsp.get_client_by_id(event.data.client_id)
      if client and client.name == 'hone' then
        require('hone.status').progress(event.data.params)
      end
    end,
  })
  local status = require('hone.status')
  vim.lsp.config('hone', require('hone.client').config(config, {
    asked = status.asked,
    answered = function(asked, items, ms, is_newest)
      status.answered(is_newest and items or nil, ms)
      if is_newest then
        suggestion().answered(asked, items)
      end
    end,
    shown = function(asked)
      suggestion().shown(asked)
    end,
    ended = ended,
  }))
  if is_there() then
    vim.lsp.enable('hone')
  end
end

return M
