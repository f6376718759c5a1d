-- SPDX-License-Identifier: MIT
-- Beside the http bench, for runtimes that come without an HTTP server: what they would do at most.
-- Like the raw loop it looks for the empty line that ends each head and answers with a fixed text.
local ANSWER = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n" ..
  "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 12\r\n%s\r\nhello world\n"
local KEEP, KEEP_OLD = ANSWER:format(""), ANSWER:format("Connection: keep-alive\r\n")
local CLOSE = ANSWER:format("Connection: close\r\n")

local M = {}

-- The answer to what has come: answers, what is left of it, and whether the connection ends then.
function M.answer(text)
  if text:sub(-4) == "\r\n\r\n" and not text:find("HTTP/1.0", 1, true) then
    local _, n = text:gsub("\r\n\r\n", "")
    return n == 1 and KEEP or KEEP:rep(n), "", false
  end
  local from, answers, close = 1, {}, false
  while not close do
    local mark = text:find("\r\n\r\n", from, true)
    if not mark then
      break
    end
    local head = text:sub(from, mark)
    local old = head:find(" HTTP/1.0\r", 1, true)
    close = old and not head:lower():find("\nconnection: keep-alive", 1, true)
    answers[#answers + 1] = close and CLOSE or old and KEEP_OLD or KEEP
    from = mark + 4
  end
  return table.concat(answers), text:sub(from), close
end

return M
