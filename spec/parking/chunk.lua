-- SPDX-License-Identifier: MIT
-- The body of every module that acceptance.lua requires, and the file it runs with dofile.
local name = ...
return CHUNKS[name or grun.current()]()
