-- What goes on, for the statusline and for :Hone status; an event for whoever draws it.

local client = require('hone.client')
local settings = require('hone.config')

local M = {}

---@class hone.Status
---@field state 'none'|'starting'|'off'|'asking'|'ready' 'none': no language server for this buffer
---@field waiting? string what is waited for, as the server says it
---@field latency_ms? number of the newest answer
---@field answers integer requests that were answered
---@field shown integer of them, those with a suggestion
---@field complaint? string why the language server has ended

local asking, answered, shown = 0, 0, 0
local latency ---@type number?
local complaint ---@type string?
local waiting = {} ---@type table<string, string>

--- Told where the state may be another one now.
function M.changed()
  vim.schedule(function()
    vim.api.nvim_exec_autocmds('User', { pattern = 'HoneStatus', modeline = false })
    vim.cmd.redrawstatus()
  end)
end

function M.asked()
  asking = asking + 1
  M.changed()
end

---@param items table[]?
---@param ms number
function M.answered(items, ms)
  asking = math.max(asking - 1, 0)
  if items then
    answered, latency = answered + 1, ms
    shown = shown + (#items > 0 and 1 or 0)
  end
  M.changed()
end

function M.attached()
  complaint = nil
  M.changed()
end

---@param why? string nil where that was wanted
function M.ended(why)
  asking, waiting = 0, {}
  complaint = why
  M.changed()
end

---@param params { token: any, value: { kind: string, title: string?, message: string? } }
function M.progress(params)
  local value = params.value
  waiting[tostring(params.token)] = value.kind ~= 'end' and (value.message or value.title) or nil
  M.changed()
end

---@param buf? integer
---@return hone.Status
function M.get(buf)
  buf = buf or vim.api.nvim_get_current_buf()
  local one = client.clients(buf)[1]
  local state = 'ready'
  if not one then
    state = 'none'
  elseif not one.initialized then
    state = 'starting'
  elseif not require('hone').is_enabled() then
    state = 'off'
  elseif asking > 0 then
    state = 'asking'
  end
  local _, what = next(waiting)
  return {
    state = state, waiting = what, latency_ms = latency, answers = answered, shown = shown, complaint = complaint,
  }
end

--- For the statusline: "" where there is no language server.
---@return string
function M.line()
  local now = M.get()
  if now.state == 'none' then
    return ''
  elseif now.waiting then
    return ('Hone: %s'):format((now.waiting:gsub('%%', '%%%%')))
  elseif now.state == 'off' then
    return 'Hone off'
  elseif now.state ~= 'ready' then
    return 'Hone …'
  end
  return now.latency_ms and ('Hone %.0f ms'):format(now.latency_ms) or 'Hone'
end

--- nil before the first answer.
---@return string?
function M.counts()
  return latency and ('%d %s, %d shown; newest %.0f ms'):format(
    answered, answered == 1 and 'answer' or 'answers', shown, latency
  )
end

---@param config hone.Config
---@return string
local function why_none(config)
  local type = vim.bo.filetype
  if not vim.list_contains(config.filetypes, type) then
    return ('nothing is suggested in files of type "%s"; `filetypes` in setup() has the types'):format(type)
  end
  return settings.missing(config) or complaint or 'no language server for this buffer; :Hone restart starts it'
end

--- For people, in one line.
---@param config hone.Config
---@return string
function M.summary(config)
  local now = M.get()
  if now.state == 'none' then
    return why_none(config)
  elseif now.waiting then
    return 'waiting for: ' .. now.waiting
  end
  local means = {
    starting = 'the language server starts',
    off = 'off; :Hone toggle switches it on',
    asking = 'waiting for an answer',
    ready = 'ready',
  }
  return table.concat({ means[now.state], M.counts() }, '; ')
end

return M
