-- The options: their defaults, their types, and what is said about a bad one. Nothing here talks to the editor.

---@class hone.Keys Each a key of insert mode, or false for none. A key falls through where there is nothing to do.
---@field accept string|false the whole suggestion
---@field accept_word string|false its next word
---@field accept_line string|false its next line
---@field next string|false the next alternative; the first time asks the model for several
---@field previous string|false the previous alternative
---@field dismiss string|false takes the suggestion away until the next key

---@class hone.Config
---@field cmd string[] the language server's command
---@field cmd_env table<string, string> environment variables for it, as { HONE_DEVICE = 'cpu' }
---@field model string a checkpoint's folder or an installed model's name; '' for the server's choice
---@field edit_model string the same for edits: the model of :Hone fix and edit, and of code actions
---@field filetypes string[] where suggestions are made
---@field root_markers string[] files and folders that mark a project; one language server for each project
---@field enabled boolean whether suggestions come while you type; :Hone toggle changes it
---@field keys hone.Keys
---@field server table<string, any> options of the language server, as { maxTokens = 96 }

---@class hone.Options : hone.Config What setup() takes: any part of the configuration.
---@field keys? hone.Keys|false false: no keys at all

local M = {}

---@type hone.Config
M.defaults = {
  cmd = { 'hone', 'lsp' },
  cmd_env = {},
  model = '',
  edit_model = '',
  filetypes = {
    'bash', 'c', 'cpp', 'cs', 'css', 'go', 'html', 'java', 'javascript', 'javascriptreact', 'json', 'lua', 'markdown',
    'php', 'python', 'ruby', 'rust', 'sh', 'toml', 'typescript', 'typescriptreact', 'yaml',
  },
  root_markers = { '.git' },
  enabled = true,
  keys = {
    accept = '<Tab>',
    accept_word = '<M-Right>',
    accept_line = '<M-End>',
    next = '<M-Down>',
    previous = '<M-Up>',
    dismiss = '<M-Left>',
  },
  server = {},
}

--- What is wrong with `given`, as a sentence; nil where nothing is.
---@param given table<string, any>
---@param defaults table<string, any>
---@param path string
---@return string?
local function complaint(given, defaults, path)
  for name, value in pairs(given) do
    local default = defaults[name]
    if default == nil then
      local known = vim.tbl_keys(defaults)
      table.sort(known)
      return ('there is no option %s%s; there are %s'):format(path, name, table.concat(known, ', '))
    end
    local is_key = path == 'keys.'
    if is_key and value ~= false and (type(value) ~= 'string' or value == '') then
      return ('%s%s must be a key such as "<Tab>", or false, not %s'):format(path, name, vim.inspect(value))
    end
    for part in (is_key and value or ''):gmatch('<[^<>]+>') do
      if vim.keycode(part) == part then
        return ('%s%s: %s is no key; :help key-notation lists them'):format(path, name, part)
      end
    end
    if not is_key and type(value) ~= type(default) then
      return ('%s%s must be a %s, not %s'):format(path, name, type(default), vim.inspect(value))
    end
  end
end

---@param given? hone.Options
---@return hone.Config? config nil where an option is bad
---@return string? complaint which one, as a sentence
function M.read(given)
  given = vim.deepcopy(given or {})
  if given.keys == false then
    given.keys = vim.tbl_map(function()
      return false
    end, M.defaults.keys)
  end
  local wrong = complaint(given, M.defaults, '') or complaint(given.keys or {}, M.defaults.keys, 'keys.')
  if wrong then
    return nil, wrong
  end
  if given.cmd and (#given.cmd == 0 or type(given.cmd[1]) ~= 'string') then
    return nil, 'cmd must be a list such as { "hone", "lsp" }, not ' .. vim.inspect(given.cmd)
  end
  if given.cmd and vim.startswith(given.cmd[1], '~') then
    given.cmd[1] = vim.fs.normalize(given.cmd[1]) -- no shell does it
  end
  local keys = vim.tbl_extend('force', M.defaults.keys, given.keys or {})
  return vim.tbl_extend('force', M.defaults, given, { keys = keys })
end

--- Why it cannot be started, where its program is missing.
---@param config hone.Config
---@return string?
function M.missing(config)
  local program = config.cmd[1]
  if vim.fn.executable(program) == 0 then
    return ('%s is not an executable; `pip install` Hone from its clone and put it into the PATH, or name it in setup(): '
      .. "cmd = { '/path/to/hone', 'lsp' }"):format(program)
  end
end

--- What the language server finds in its environment.
---@param config hone.Config
---@return table<string, string>
function M.environment(config)
  local env = vim.deepcopy(config.cmd_env)
  for name, value in pairs({ HONE_MODEL = config.model, HONE_EDIT_MODEL = config.edit_model }) do
    env[name] = value ~= '' and value or env[name]
  end
  return env
end

return M
