-- The command and the <Plug> mappings; nothing starts before setup() is called.
if vim.g.loaded_hone then
  return
end
vim.g.loaded_hone = true

vim.api.nvim_create_user_command('Hone', function(call)
  require('hone').command(call)
end, {
  nargs = '?',
  range = true,
  desc = 'Hone: status, toggle, restart, log, fill, body, fix, modernise, annotate, edit',
  complete = function(typed)
    return vim.tbl_filter(function(name)
      return vim.startswith(name, typed)
    end, require('hone').commands())
  end,
})

for _, name in ipairs({ 'accept', 'accept_word', 'accept_line', 'next', 'previous', 'dismiss' }) do
  vim.keymap.set('i', ('<Plug>(hone-%s)'):format((name:gsub('_', '-'))), function()
    require('hone')[name]()
  end, { desc = 'Hone: ' .. name:gsub('_', ' ') })
end
