-- SPDX-License-Identifier: MIT
-- For wrk: 30 header fields in each request (wrk sends Host itself).
for i = 1, 29 do
  wrk.headers["X-Field-" .. i] = "the value of field number " .. i
end
