-- :checkhealth hone

local M = {}

---@param command string[]
---@return vim.SystemCompleted?
local function run(command)
  local ok, process = pcall(vim.system, command, { text = true, timeout = 20000 })
  return ok and process:wait() or nil
end

local function check_neovim()
  vim.health.start('Neovim')
  if vim.fn.has('nvim-0.12') == 0 then
    vim.health.error('Neovim 0.12 or newer is needed', 'this is ' .. tostring(vim.version()))
  elseif not require('hone.suggestion').is_supported() then
    vim.health.warn('this Neovim keeps suggestions in another way than 0.12: only accepting a whole one works')
  else
    vim.health.ok('Neovim ' .. tostring(vim.version()))
  end
end

---@param config hone.Config
---@return boolean
local function check_program(config)
  vim.health.start('hone')
  local program, missing = config.cmd[1], require('hone.config').missing(config)
  if missing then
    vim.health.error(missing)
    return false
  end
  vim.health.ok(('%s is %s'):format(program, vim.fn.exepath(program)))
  if vim.fs.basename(program) ~= 'hone' then
    return true
  end
  local version = run({ program, '--version' })
  if not version or version.code ~= 0 then
    vim.health.error(('`%s --version` does not run'):format(program), version and vim.trim(version.stderr) or nil)
    return false
  end
  vim.health.ok(vim.trim(version.stdout))
  local status = run({ program, 'serve', 'status' })
  if status and status.code == 0 then
    vim.health.ok(vim.split(vim.trim(status.stdout), '\n')[1])
  else
    vim.health.info('no daemon runs; the language server starts one when it is needed')
  end
  return true
end

local function check_server()
  vim.health.start('Language server')
  local clients = require('hone.client').clients()
  if #clients == 0 then
    vim.health.info('it does not run; it starts with the first file of a configured type')
  end
  for _, client in ipairs(clients) do
    local buffers = vim.tbl_count(client.attached_buffers)
    vim.health.ok(('client %d: %d %s, positions in %s'):format(client.id, buffers, buffers == 1 and 'buffer' or 'buffers', client.offset_encoding))
  end
  local status = require('hone.status')
  for _, line in ipairs({ status.counts() or 'no answer yet', status.get().complaint }) do
    vim.health.info(line)
  end
  for _, other in ipairs(vim.lsp.get_clients({ method = 'textDocument/inlineCompletion' })) do
    if other.name ~= 'hone' then
      vim.health.warn(('%s makes inline suggestions, too: Neovim shows one of both'):format(other.name))
    end
  end
end

---@param config hone.Config
local function check_keys(config)
  vim.health.start('Keys')
  local names = vim.tbl_keys(config.keys)
  table.sort(names)
  for _, name in ipairs(names) do
    local key = config.keys[name]
    if key then
      local mapping = vim.fn.maparg(key, 'i', false, true)
      if (mapping.desc or ''):find('^Hone') then
        vim.health.ok(('%s: %s'):format(key, name))
      else
        vim.health.warn(('%s is mapped to something else, so that %s has no key'):format(key, name))
      end
    end
  end
end

function M.check()
  check_neovim()
  local config = require('hone').config
  if not config then
    vim.health.start('hone')
    vim.health.error('setup() has not been called', "call require('hone').setup()")
    return
  end
  if check_program(config) then
    check_server()
  end
  check_keys(config)
end

return M
