-- SPDX-License-Identifier: MIT
-- Rows about the memory of idle connections.

local loads = require("scripts.bench.lib.loads")

--- Makes the row. `server`: grun's; `protocol`: of README's lines; `at_most`: KiB of a connection,
--- and of one that was idle for long.
---@param row table name, title, how, subjects (but grun), server, protocol, at_most, yardstick
---@return table
return function(row)
  local protocol = row.protocol
  table.insert(row.subjects, 1, { "grun", row.server, environment = "GRUN_HIBERNATE_AFTER=off" })
  table.insert(row.subjects, 2, { "grun", row.server, as = "grun, for long", options = 5,
    environment = "GRUN_HIBERNATE_AFTER=1" })
  return {
    name = row.name,
    title = protocol .. ": " .. row.title .. ", of 15,000",
    how = row.how .. "; growth of the server's resident memory, divided by the connections. For " ..
      "long: idle for 5 s, where threads hibernate after 1 s instead of 10",
    rounds = 1,
    missing = loads.too_few_descriptors,
    measure = loads.idle(protocol:lower()),
    subjects = row.subjects,
    figures = { { "rss_kib", "a connection" }, { "pss_kib", "of it not shared" } },
    goals = {
      { "rss_kib", at_most = row.at_most[1] },
      { "rss_kib", at_most = row.at_most[2], subject = "grun, for long" },
    },
    readme = {
      { "rss_kib", "idle " .. protocol .. " connection and its thread, of 15,000",
        yardstick = row.yardstick },
      { "rss_kib", "the same, idle for long", subject = "grun, for long",
        yardstick = row.yardstick },
    },
    chart = "rss_kib",
  }
end
