-- SPDX-License-Identifier: MIT
-- A REST interface to a list of notes that are kept in memory: routes with parameters, middleware,
-- JSON (lua-cjson must be installed).
-- Run: ./grun scripts/examples/rest_api.lua [ADDRESS]     then:
--   curl -d '{"text":"buy milk"}' -H 'Content-Type: application/json' http://127.0.0.1:8080/notes
--   curl http://127.0.0.1:8080/notes/1

local grun = require("grun")
io.stdout:setvbuf("line")

local notes, last_id = {}, 0
local router = grun.http.router()

-- Around all routes below: says how long each took.
router:use(function(req, res, next)
  local started = grun.now()
  res:header("X-Handled-By", "rest_api.lua")
  local function done(...)
    print(("%s %s %.1f ms"):format(req.method, req.target, (grun.now() - started) * 1000))
    return ...
  end
  return done(next(req, res))
end)

-- The note of the request's path, or the answer that there is none.
local function find(req, res)
  local note = notes[tonumber(req.params.id)]
  if not note then
    res:json({ error = "no such note" }, 404)
  end
  return note
end

-- The text that the client sends, or the answer that it is wrong.
local function read_text(req, res)
  local body = req:json()
  if type(body) ~= "table" or type(body.text) ~= "string" then
    res:json({ error = 'expected {"text": "..."}' }, 400)
    return nil
  end
  return body.text
end

router:get("/notes", function(_, res)
  local list = {}
  for id = 1, last_id do
    list[#list + 1] = notes[id]
  end
  -- lua-cjson cannot tell an empty list from an empty object, so there is none then.
  res:json({ count = #list, notes = list[1] and list or nil })
end)

router:post("/notes", function(req, res)
  local text = read_text(req, res)
  if text then
    last_id = last_id + 1
    notes[last_id] = { id = last_id, text = text }
    res:header("Location", "/notes/" .. last_id)
    res:json(notes[last_id], 201)
  end
end)

router:get("/notes/:id", function(req, res)
  local note = find(req, res)
  if note then
    res:json(note)
  end
end)

router:put("/notes/:id", function(req, res)
  local note = find(req, res)
  local text = note and read_text(req, res)
  if text then
    note.text = text
    res:json(note)
  end
end)

router:delete("/notes/:id", function(req, res)
  local note = find(req, res)
  if note then
    notes[note.id] = nil
    return 204
  end
end)

local server = assert(grun.server(arg[1] or "http://127.0.0.1:8080", router, { gzip = true }))
print("serving " .. server:address())
