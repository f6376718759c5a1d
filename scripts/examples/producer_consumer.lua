-- SPDX-License-Identifier: MIT
-- A producer and a consumer over a queue. put() does not switch to the consumer, which runs when
-- the producer waits or ends. With handoff = true each put() runs a waiting consumer at once,
-- before the producer goes on.
-- Run: ./grun scripts/examples/producer_consumer.lua
-- Prints:
--   -- without handoff
--   put 1
--   put 2
--   put 3
--   got 1
--   got 2
--   got 3
--   closed
--   -- with handoff
--   got 1
--   put 1
--   got 2
--   put 2
--   got 3
--   put 3
--   closed

local function run(queue)
  grun.scope(function(group)
    group:spawn(function()
      for item in queue:items() do
        print("got " .. item)
      end
      print("closed")
    end)
    grun.yield() -- the consumer waits for its first item now
    for i = 1, 3 do
      queue:put(i)
      print("put " .. i)
    end
    queue:close()
  end)
end

print("-- without handoff")
run(grun.queue())
print("-- with handoff")
run(grun.queue({ handoff = true }))
