-- SPDX-License-Identifier: MIT
-- Serves a directory: index pages, listings, ranges, conditions, compression.
-- Run: ./grun scripts/examples/static_site.lua [DIRECTORY [ADDRESS]]

local grun = require("grun")
io.stdout:setvbuf("line")

local dir = arg[1] or "."
local files = grun.http.static(dir, { listing = true, cache_control = "max-age=60" })
local server = assert(grun.server(arg[2] or "http://127.0.0.1:8080", files, { access_log = true }))

print(("serving %s at %s"):format(dir, server:address()))
