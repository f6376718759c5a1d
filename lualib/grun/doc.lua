-- SPDX-License-Identifier: MIT
-- `grun doc`: the reference, made from the annotations when grun is built.

local HELP = [[
usage: grun doc              the chapters, and what is in each
       grun doc NAME...      a function, an object or a chapter: spawn, grun.connect, conn:read, conn, http
       grun doc -k WORD...   what speaks of all these words
]]

local WIDTH, INDENT, COLUMN = 80, 4, 30
local NEAR = 3 -- letters that may differ in a suggestion
local SUGGESTIONS = 5

local reference -- grun.reference, once it is needed

-- ---- Text ----

-- Appends a text to the lines, wrapped. first: what stands before its first line; indent: columns
-- before the others.
local function wrap(lines, text, first, indent)
  local line, rest = first, (" "):rep(indent)
  local empty = true
  for word in text:gmatch("%S+") do
    if not empty and #line + 1 + #word > WIDTH then
      lines[#lines + 1] = line
      line, empty = rest, true
    end
    line, empty = line .. (empty and "" or " ") .. word, false
  end
  lines[#lines + 1] = (line:gsub("%s+$", ""))
end

local function paragraph(lines, text)
  wrap(lines, text, (" "):rep(INDENT), INDENT)
end

-- Paragraphs with empty lines between them; lines that are indented stay.
local function paragraphs(lines, text)
  local open = ""
  for line in (text .. "\n\n"):gmatch("([^\n]*)\n") do
    if line:find("^%S") then
      open = open .. " " .. line
    else
      if open ~= "" then
        paragraph(lines, open)
      end
      open = ""
      lines[#lines + 1] = line == "" and line or (" "):rep(INDENT) .. line
    end
  end
  while lines[#lines] == "" do
    lines[#lines] = nil
  end
end

local function first_sentence(text)
  return text:match("^(.-%.)%s+%u") or text
end

-- What stands for a text in lists.
local function summary(entry)
  if entry.text then
    return first_sentence(entry.text:gsub("\n+", " "))
  end
  return entry.methods and ("an object, %d methods"):format(#entry.methods) or ""
end

local function short(name)
  return name:gsub("^grun%.", ""):gsub("^.*%.([%w_]+:)", "%1")
end

local function entry_of(name, kind)
  for _, entry in ipairs(reference.entries) do
    if entry.name == name and entry.kind == kind then
      return entry
    end
  end
end

-- ---- One entry ----

local function item_lines(lines, item, indent)
  local gap = item.name and item.type ~= "" and "  " or ""
  local head = (" "):rep(indent) .. (item.name or "") .. gap .. item.type
  if item.optional then
    head = head .. ", optional"
  end
  if item.text then
    wrap(lines, item.text, head .. ": ", indent + 4)
  else
    lines[#lines + 1] = head
  end
end

local function is_options(class)
  return class and not class.methods and class.fields
end

-- The fields of the classes that a type mentions, if these are options or plain records.
local function expand(lines, kind, seen)
  for name in kind:gmatch("grun%.[%w_.]+") do
    local class = entry_of(name, "class")
    if is_options(class) and not seen[name] then
      seen[name] = true
      for _, field in ipairs(class.fields) do
        item_lines(lines, field, 2 * INDENT)
      end
      for parent in (class.parents or ""):gmatch("grun%.[%w_.]+") do
        lines[#lines + 1] = (" "):rep(2 * INDENT) .. "and those of " .. parent
      end
    end
  end
end

local function list_items(lines, title, items, expanded)
  if not items then
    return
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = title
  local seen = {}
  for _, item in ipairs(items) do
    item_lines(lines, item, INDENT)
    if expanded then
      expand(lines, item.type, seen)
    end
  end
end

local function returned(items)
  local types = {}
  for i, item in ipairs(items) do
    if item.text or item.name then
      return nil
    end
    types[i] = item.type
  end
  return table.concat(types, ", ")
end

local function list_returns(lines, items)
  local line = items and returned(items)
  if line then
    lines[#lines + 1] = ""
    lines[#lines + 1] = "Returns"
    paragraph(lines, line)
    local seen = {}
    for _, item in ipairs(items) do
      expand(lines, item.type, seen)
    end
  else
    list_items(lines, "Returns", items, true)
  end
end

local function function_lines(lines, entry)
  lines[#lines + 1] = entry.signature
  lines[#lines + 1] = ""
  paragraph(lines, (entry.text or ""):gsub(" ?Parks%.$", ""))
  if entry.async then
    lines[#lines + 1] = ""
    paragraph(lines, "Parks: other threads run while it waits.")
  end
  list_items(lines, "Parameters", entry.params, true)
  list_returns(lines, entry.returns)
  if entry.examples then
    lines[#lines + 1] = ""
    lines[#lines + 1] = "Examples"
    paragraph(lines, "scripts/examples: " .. table.concat(entry.examples, ", "))
  end
end

local function summary_line(lines, entry, name)
  name = name or entry.kind == "function" and short(entry.signature) or entry.name
  local head = (" "):rep(INDENT) .. name
  if #head > COLUMN - 2 then
    lines[#lines + 1] = head
    head = ""
  end
  wrap(lines, summary(entry), head .. (" "):rep(COLUMN - #head), COLUMN)
end

local function class_lines(lines, entry)
  local parents = entry.parents and (": " .. entry.parents) or ""
  lines[#lines + 1] = entry.name .. parents
  if entry.text then
    lines[#lines + 1] = ""
    paragraph(lines, entry.text)
  end
  list_items(lines, entry.alias and "One of" or "Fields", entry.fields)
  if entry.methods then
    lines[#lines + 1] = ""
    lines[#lines + 1] = "Methods"
    for _, name in ipairs(entry.methods) do
      summary_line(lines, entry_of(name, "function"))
    end
  end
end

local function module_lines(lines, entry)
  lines[#lines + 1] = entry.name
  lines[#lines + 1] = ""
  paragraphs(lines, entry.text)
  lines[#lines + 1] = ""
  lines[#lines + 1] = "Functions"
  for _, other in ipairs(reference.entries) do
    local own = other.name:sub(1, #entry.name + 1) == entry.name .. "."
    if own and other.kind == "function" and not other.name:find(":", 1, true) then
      summary_line(lines, other)
    end
  end
end

local printers = { ["function"] = function_lines, class = class_lines, module = module_lines }

-- ---- Chapters ----

local function chapter_lines(lines, topic)
  lines[#lines + 1] = topic.title
  lines[#lines + 1] = ""
  for _, entry in ipairs(reference.entries) do
    local own = entry.topic == topic.name and not entry.name:find(":", 1, true)
    if own and not is_options(entry) then
      summary_line(lines, entry)
    end
  end
end

local function all_chapters(lines)
  for _, topic in ipairs(reference.topics) do
    local names, seen = {}, {}
    for _, entry in ipairs(reference.entries) do
      local own = entry.topic == topic.name and not entry.name:find(":", 1, true)
      if own and not is_options(entry) and not seen[entry.name] then
        seen[entry.name] = true
        names[#names + 1] = short(entry.name)
      end
    end
    wrap(lines, table.concat(names, " "), ("%-12s"):format(topic.name), 12)
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = "grun doc NAME tells more of a name or chapter; grun doc -k WORD searches."
end

-- ---- Finding ----

-- How well a name is the one that was asked for: 1 exactly, 2 its end; nil: not at all.
local function rank(name, wanted)
  if name == wanted or name == "grun." .. wanted then
    return 1
  end
  local asked = wanted:gsub(":", ".")
  local tail = "." .. name:gsub(":", ".")
  return tail:sub(-#asked - 1) == "." .. asked and 2 or nil
end

local function lookup(wanted)
  local best, found = 3, {}
  for _, entry in ipairs(reference.entries) do
    local r = rank(entry.name, wanted)
    if r and r < best then
      best, found = r, {}
    end
    if r == best then
      found[#found + 1] = entry
    end
  end
  return found, best
end

local function topic_named(name)
  for _, topic in ipairs(reference.topics) do
    if topic.name == name then
      return topic
    end
  end
end

-- Letters to insert, remove or replace.
local function distance(a, b)
  local row = {}
  for j = 0, #b do
    row[j] = j
  end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      diagonal, row[j] = row[j], math.min(row[j] + 1, row[j - 1] + 1, diagonal + cost)
    end
  end
  return row[#b]
end

local function suggestions(wanted)
  local list, seen = {}, {}
  local last = wanted:match("[%w_]+$") or wanted
  for _, entry in ipairs(reference.entries) do
    local tail = entry.name:match("[%w_]+$")
    local d = math.min(distance(last, tail), distance(wanted, short(entry.name)))
    if d <= math.min(NEAR, math.floor(#last / 2)) and not seen[entry.name] then
      seen[entry.name] = true
      local whole = math.min(distance(wanted, entry.name), distance("grun." .. wanted, entry.name))
      list[#list + 1] = { name = entry.name, distance = d * 10 + whole }
    end
  end
  table.sort(list, function(a, b)
    local x, y = a.distance * 100 + #a.name, b.distance * 100 + #b.name
    return x < y or x == y and a.name < b.name
  end)
  local names = {}
  for i = 1, math.min(#list, SUGGESTIONS) do
    names[i] = list[i].name
  end
  return names
end

local function complain(wanted, name)
  local near = suggestions(name)
  io.stderr:write(("grun doc: there is no '%s'; %s\n"):format(wanted,
    #near > 0 and "perhaps " .. table.concat(near, ", ") or "try grun doc -k " .. wanted))
end

-- Returns false when there is nothing of that name.
local function show(lines, wanted)
  local name = wanted:gsub("%(.*%)$", "")
  local topic, found, how = topic_named(name), lookup(name)
  if topic and how ~= 1 then
    chapter_lines(lines, topic)
  elseif how == 1 or #found == 1 then
    for i, entry in ipairs(found) do
      if i > 1 then
        lines[#lines + 1] = ""
      end
      printers[entry.kind](lines, entry)
    end
  elseif #found > 0 then
    lines[#lines + 1] = wanted .. " may be"
    for _, entry in ipairs(found) do
      summary_line(lines, entry, entry.name)
    end
  else
    complain(wanted, name)
    return false
  end
  return true
end

local function show_all(lines, words)
  local ok = true
  for i, word in ipairs(words) do
    if i > 1 then
      lines[#lines + 1] = ""
    end
    ok = show(lines, word) and ok
  end
  return ok
end

-- ---- Words ----

local function text_of(entry)
  local words = { entry.name, entry.text or "" }
  for _, list in ipairs({ entry.params or {}, entry.fields or {}, entry.returns or {} }) do
    for _, item in ipairs(list) do
      words[#words + 1] = (item.name or "") .. " " .. item.type .. " " .. (item.text or "")
    end
  end
  return table.concat(words, "\n"):lower()
end

local function search(lines, words)
  for _, entry in ipairs(reference.entries) do
    local text, all = text_of(entry), true
    for _, word in ipairs(words) do
      all = all and text:find(word:lower(), 1, true) ~= nil
    end
    if all then
      wrap(lines, summary(entry), entry.name .. "  ", INDENT)
    end
  end
  if #lines == 0 then
    io.stderr:write("grun doc: nothing speaks of ", table.concat(words, " and "), "\n")
  end
  return #lines > 0
end

-- ---- The command ----

local function fail(message)
  io.stderr:write("grun doc: ", message, "; see grun doc --help\n")
  os.exit(1)
end

local M = {}

--- Runs `grun doc` with the command line's words from the first one on.
---@param config { words: string[], first: integer }
function M.run(config)
  local words, lines, ok = { unpack(config.words, config.first) }, {}, true
  if words[1] == "--help" then
    io.stdout:write(HELP)
    return
  elseif words[1] and words[1] ~= "-k" and words[1]:find("^%-") then
    fail("unknown option '" .. words[1] .. "'")
  elseif words[1] == "-k" and not words[2] then
    fail("-k: a word is missing")
  end
  reference = require("grun.reference")
  if words[1] == "-k" then
    ok = search(lines, { unpack(words, 2) })
  elseif words[1] then
    ok = show_all(lines, words)
  else
    all_chapters(lines)
  end
  io.stdout:write(table.concat(lines, "\n"), #lines > 0 and "\n" or "")
  if not ok then
    os.exit(1)
  end
end

return M
