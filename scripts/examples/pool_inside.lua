-- SPDX-License-Identifier: MIT
-- A pool whose members give it more work: a walk through a tree of directories that are looked at
-- at most three at a time. A member must not wait for a place in its own full pool, because all
-- could do so; apply_async() puts the work in line instead and never waits. join() returns when
-- neither a member nor work in line is left.
-- Run: ./grun scripts/examples/pool_inside.lua
-- Prints:
--   /
--   /bin
--   /etc
--   /data
--   /etc/ssl
--   /data/ada
--   /data/bob
--   /data/ada/src
--   8 directories, at most 3 at once

local tree = {
  ["/"] = { "/bin", "/etc", "/data" },
  ["/etc"] = { "/etc/ssl" },
  ["/data"] = { "/data/ada", "/data/bob" },
  ["/data/ada"] = { "/data/ada/src" },
}

local pool = grun.pool(3)
local seen, most = 0, 0

local function visit(directory)
  seen, most = seen + 1, math.max(most, pool:count())
  print(directory)
  grun.sleep(0.01) -- as if it came over the network
  for _, child in ipairs(tree[directory] or {}) do
    pool:apply_async(visit, child)
  end
end

pool:spawn(visit, "/")
pool:join()
print(("%d directories, at most %d at once"):format(seen, most))
