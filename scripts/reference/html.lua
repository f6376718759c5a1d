-- SPDX-License-Identifier: MIT
-- Writes the reference as pages of HTML: an index, and one page for each chapter.

local M = {}

local STYLE = [[
:root { color-scheme: light dark; --back: #fff; --text: #1c1e21; --soft: #5d6570; --line: #d8dde3;
  --code: #f3f5f7; --link: #0b5cad; --mark: #8a4b00; }
@media (prefers-color-scheme: dark) { :root { --back: #15181c; --text: #e2e5e9; --soft: #99a2ad;
  --line: #343b44; --code: #20252b; --link: #74b3f5; --mark: #e5a65c; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
code, h3, .types { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .92em; }
.page { display: grid; grid-template-columns: 15rem minmax(0, 48rem); gap: 2.5rem; max-width: 68rem;
  margin: 0 auto; padding: 1.5rem; }
nav { font-size: .95rem; }
nav ul, .names { list-style: none; margin: 0; padding: 0; }
nav li { margin: .15rem 0; }
nav .here { font-weight: 600; color: var(--text); }
h1 { font-size: 1.7rem; margin: 0 0 1rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 2rem 0 .4rem; padding: .35rem .6rem; background: var(--code);
  border-radius: 4px; overflow-wrap: anywhere; }
h4 { font-size: .85rem; margin: .8rem 0 .2rem; color: var(--soft); font-weight: 600; }
p { margin: .5rem 0; }
dl { margin: 0 0 0 .6rem; }
dt { margin-top: .3rem; overflow-wrap: anywhere; }
dd { margin: 0 0 0 1.5rem; }
.types { color: var(--soft); }
.parks { float: right; font: .8rem system-ui, sans-serif; color: var(--mark); }
.names li { display: inline-block; margin: 0 .9rem .2rem 0; }
pre { background: var(--code); padding: .8rem; border-radius: 4px; overflow-x: auto; }
@media (max-width: 50rem) { .page { display: block; } nav { margin-bottom: 2rem; }
  nav li { display: inline-block; margin-right: .8rem; } }
]]

local HEAD = [[
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%s</title>
<link rel="stylesheet" href="style.css">
</head>
<body>
<div class="page">
]]

local INTRODUCTION = [[
<p>grun runs Lua scripts as green threads over one event loop. <code>grun</code> is a global table in
every script, and what <code>require "grun"</code> returns.</p>
<p>Times are seconds, fractions allowed. A timeout is the last, optional argument: without it there is
no limit, 0 does not wait. What <em>parks</em> lets other threads run meanwhile; it raises when the
calling thread is cancelled or the deadline of a surrounding
<a href="cancel.html#grun.timeout">grun.timeout</a> has passed. Other failures are returned:
<code>nil, message, code</code>.</p>
<p>The same text at the terminal: <code>grun doc NAME</code>, and <code>grun doc -k WORD</code> finds a
word.</p>
]]

-- ---- Text ----

local functions, classes -- name -> entry

local ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

local function escape(text)
  return (text:gsub("[&<>\"]", ESCAPES))
end

local function anchor(entry)
  return (entry.kind == "class" and "class-" or "") .. entry.name
end

local function link(entry, text)
  return ('<a href="%s.html#%s">%s</a>'):format(entry.topic, anchor(entry), text)
end

-- Names of grun in a text that is escaped already. preferred: where they are looked for first.
local function with_links(text, preferred, other)
  return (text:gsub("grun%.[%w_.:]+", function(name)
    local tail = name:match("[.:]+$") or ""
    local bare = name:sub(1, #name - #tail)
    local entry = preferred[bare] or other[bare]
    return entry and link(entry, bare) .. tail
  end))
end

local function prose(text)
  text = with_links(escape(text), functions, classes)
  return (text:gsub("`([^`]+)`", "<code>%1</code>"))
end

local function types(text)
  return '<span class="types">' .. with_links(escape(text), classes, {}) .. "</span>"
end

-- ---- Entries ----

local function items(out, title, list)
  if not list then
    return
  end
  out("<h4>", title, "</h4>\n<dl>\n")
  for _, item in ipairs(list) do
    out("<dt>", item.name and "<code>" .. escape(item.name) .. "</code> " or "",
      item.type ~= "" and types(item.type) or "", item.optional and " optional" or "", "</dt>\n")
    if item.text then
      out("<dd>", prose(item.text), "</dd>\n")
    end
  end
  out("</dl>\n")
end

local function returns(out, list)
  local plain = list ~= nil
  local all = {}
  for i, item in ipairs(list or {}) do
    plain = plain and not item.text
    all[i] = item.type
  end
  if plain then
    out("<h4>Returns</h4>\n<dl><dt>", types(table.concat(all, ", ")), "</dt></dl>\n")
  else
    items(out, "Returns", list)
  end
end

local function write_function(out, entry)
  local text = (entry.text or ""):gsub(" ?Parks%.$", "")
  out('<h3 id="', anchor(entry), '">', entry.async and '<span class="parks">parks</span>' or "",
    escape(entry.signature), "</h3>\n")
  if text ~= "" then
    out("<p>", prose(text), "</p>\n")
  end
  items(out, "Parameters", entry.params)
  returns(out, entry.returns)
  if entry.examples then
    out("<h4>Examples</h4>\n<dl><dt>", table.concat(entry.examples, ", "), "</dt></dl>\n")
  end
end

local function write_class(out, entry)
  out('<h2 id="', anchor(entry), '">', entry.name, "</h2>\n")
  if entry.parents then
    out("<p>With all of ", with_links(entry.parents, classes, {}), ".</p>\n")
  end
  if entry.text then
    out("<p>", prose(entry.text), "</p>\n")
  end
  items(out, entry.alias and "One of" or "Fields", entry.fields)
  for _, name in ipairs(entry.methods or {}) do
    write_function(out, functions[name])
  end
end

-- Lines that are indented, such as tables, keep their form.
local function write_module(out, entry)
  for part in (entry.text .. "\n\n"):gmatch("(.-)\n\n+") do
    if part:find("\n  ") then
      out("<pre>", escape(part), "</pre>\n")
    else
      out("<p>", prose(part), "</p>\n")
    end
  end
end

local writers = { module = write_module, ["function"] = write_function, class = write_class }

-- ---- Pages ----

local function is_method(entry)
  return entry.name:find(":", 1, true) ~= nil
end

local function navigation(out, topics, here)
  out("<nav>\n<ul>\n")
  out('<li><a href="index.html"', here and "" or ' class="here"', ">grun</a></li>\n")
  for _, topic in ipairs(topics) do
    out('<li><a href="', topic.name, '.html"', topic == here and ' class="here"' or "", ">",
      escape(topic.title), "</a></li>\n")
  end
  out("</ul>\n</nav>\n")
end

local function names_of(out, topic, entries)
  out('<ul class="names">\n')
  for _, kind in ipairs({ "function", "class" }) do
    for _, entry in ipairs(entries) do
      if entry.topic == topic.name and entry.kind == kind and not is_method(entry) and
         (kind == "function" or entry.methods) then
        local text = kind == "function" and entry.name or entry.name .. " methods"
        out("<li>", link(entry, text), "</li>\n")
      end
    end
  end
  out("</ul>\n")
end

local function chapter(out, topic, entries)
  out("<h1>", escape(topic.title), "</h1>\n")
  for _, kind in ipairs({ "module", "function", "class" }) do
    for _, entry in ipairs(entries) do
      if entry.topic == topic.name and entry.kind == kind and not is_method(entry) then
        writers[kind](out, entry)
      end
    end
    if kind == "module" then
      names_of(out, topic, entries)
    end
  end
end

local function save(path, write)
  local parts = {}
  write(function(...)
    for i = 1, select("#", ...) do
      parts[#parts + 1] = (select(i, ...))
    end
  end)
  local file = assert(io.open(path, "wb"))
  assert(file:write(table.concat(parts)))
  assert(file:close())
end

local function page(path, title, topics, here, write)
  save(path, function(out)
    out(HEAD:format(escape(title)))
    navigation(out, topics, here)
    out("<main>\n")
    write(out)
    out("</main>\n</div>\n</body>\n</html>\n")
  end)
end

--- Writes the pages into a directory, whose name ends in a slash.
function M.write(dir, topics, entries)
  functions, classes = {}, {}
  for _, entry in ipairs(entries) do
    local known = entry.kind == "class" and classes or functions
    known[entry.name] = entry.kind ~= "module" and entry or nil
  end
  save(dir .. "style.css", function(out)
    out(STYLE)
  end)
  page(dir .. "index.html", "grun", topics, nil, function(out)
    out("<h1>grun</h1>\n", INTRODUCTION)
    for _, topic in ipairs(topics) do
      out('<h2><a href="', topic.name, '.html">', escape(topic.title), "</a></h2>\n")
      names_of(out, topic, entries)
    end
  end)
  for _, topic in ipairs(topics) do
    page(dir .. topic.name .. ".html", topic.title .. " — grun", topics, topic, function(out)
      chapter(out, topic, entries)
    end)
  end
end

return M
