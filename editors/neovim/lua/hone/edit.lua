-- Edits of the language server on their way into the buffer: refused where they are too old, asked about, made.
-- Neovim by itself tells of each in two lines, behind which it waits for a key, and asks without showing the change.

local M = {}

local STALE = 'the document has changed since; ask again'
local SHOWN = 12 -- lines of a change that is asked about

---@param buf integer
---@param edits lsp.TextEdit[]
---@param encoding 'utf-8'|'utf-16'|'utf-32'
---@return string[] lines that go and come
local function preview(buf, edits, encoding)
  local old = vim.api.nvim_buf_get_lines(buf, 0, -1, false)
  local scratch = vim.api.nvim_create_buf(false, true)
  vim.api.nvim_buf_set_lines(scratch, 0, -1, false, old)
  vim.lsp.util.apply_text_edits(edits, scratch, encoding)
  local new = vim.api.nvim_buf_get_lines(scratch, 0, -1, false)
  vim.api.nvim_buf_delete(scratch, { force = true })
  local diff = vim.text.diff(table.concat(old, '\n') .. '\n', table.concat(new, '\n') .. '\n', { ctxlen = 0 }) --[[@as string]]
  local lines = vim.tbl_filter(function(line)
    return line:find('^[-+]') ~= nil
  end, vim.split(diff, '\n'))
  if #lines > SHOWN then
    local more = #lines - SHOWN + 1
    lines = vim.list_slice(lines, 1, SHOWN - 1)
    lines[SHOWN] = ('and %d more lines'):format(more)
  end
  return lines
end

--- Takes the annotations off an edit; what they say is asked is returned, each once.
---@param edit lsp.WorkspaceEdit
---@param change lsp.TextDocumentEdit
---@return string[]
local function questions(edit, change)
  local found, known = {}, {} ---@type string[], table<string, true>
  for _, one in ipairs(change.edits) do
    local id = one.annotationId ---@type string?
    local annotation = id and (edit.changeAnnotations or {})[id]
    if id and annotation and annotation.needsConfirmation and not known[id] then
      known[id] = true
      found[#found + 1] = annotation.label .. (annotation.description and ': ' .. annotation.description or '')
    end
    one.annotationId = nil
  end
  return found
end

--- Whether the edit was made; where it was not, why, or nothing where the user said no.
---@param edit lsp.WorkspaceEdit
---@param encoding 'utf-8'|'utf-16'|'utf-32'
---@return boolean, string?
function M.apply(edit, encoding)
  local message = {} ---@type string[]
  for _, change in ipairs(edit.documentChanges or {}) do
    ---@cast change lsp.TextDocumentEdit
    local buf, version = vim.uri_to_bufnr(change.textDocument.uri), change.textDocument.version
    if type(version) == 'number' and vim.lsp.util.buf_versions[buf] > version then
      return false, STALE
    end
    local asked = questions(edit, change)
    if #asked > 0 then
      vim.list_extend(message, asked)
      vim.list_extend(message, preview(buf, change.edits, encoding))
    end
  end
  edit.changeAnnotations = nil
  if #message > 0 then
    message[#message + 1] = 'Apply?'
    if vim.fn.confirm(table.concat(message, '\n'), '&Yes\n&No', 1, 'Question') ~= 1 then
      return false
    end
  end
  vim.lsp.util.apply_workspace_edit(edit, encoding)
  return true
end

--- Of the request `workspace/applyEdit`.
---@param params lsp.ApplyWorkspaceEditParams
---@param context lsp.HandlerContext
---@return lsp.ApplyWorkspaceEditResult
function M.handler(_, params, context)
  local client = assert(vim.lsp.get_client_by_id(context.client_id))
  local done, applied, why = pcall(M.apply, params.edit, client.offset_encoding)
  return { applied = done and applied == true, failureReason = not done and tostring(applied) or why }
end

return M
