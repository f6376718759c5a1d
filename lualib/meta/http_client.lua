-- SPDX-License-Identifier: MIT
-- For editors: the HTTP client of grun.http, lualib/grun/http/client.lua, and what it uses of
-- runtime/bind/lib_httpc.c. Never loaded.

---@meta grun.http
-- luacheck: no unused

---@class grun.http
local M = {}

---@class grun.http.part
---@field name string
---@field value? string
---@field file? string|file* path or open file, instead of a value
---@field filename? string default: the last part of the path
---@field type? string default for files: application/octet-stream

---@class grun.http.request.options
---@field url string
---@field method? string default "GET"
---@field headers? table<string, string|number|(string|number)[]|false> `false` leaves one of ours
---  out (User-Agent, Accept, Content-Type)
---@field query? table is added to the URL's query; a value can be a list of values
---@field body? string|file*|fun(): string|nil an iterator, and what is no regular file, is sent
---  chunked, unless the headers say its Content-Length. It is called in a thread of its own, which
---  is cancelled if the request ends before; nil ends the body, so what fails has to raise
---@field file? string path of a file that is the body
---@field form? table the body as application/x-www-form-urlencoded
---@field multipart? grun.http.part[] the body as multipart/form-data
---@field json? any the body as JSON, by the module cjson
---@field auth? { user: string, password: string }|true Basic authentication; true: with the user
---  and password of the URL, which do not count otherwise
---@field stream? boolean the response's body is to be read with read() or lines(), perhaps while
---  the request's is still being sent
---@field timeout? number seconds for all of it, with redirects, up to the end of the body
---@field connect_timeout? number seconds for DNS, connect, proxy and TLS together (30)
---@field read_timeout? number seconds that the server may take for the head of the response, each
---  piece of its body, and taking each piece of ours (60). It may be silent until all of ours is
---  sent; once there is a streaming response, only for so long after it took a piece
---@field max_body? integer bytes of the response's body, also once uncompressed (64 MiB; any number
---  with stream)
---@field max_header? integer bytes of the response's header fields (65536, at most 1 MiB)
---@field max_headers? integer number of them (100, at most 1024)
---@field redirects? integer|boolean how many are followed (10); false: none
---@field insecure_redirects? boolean also from https to http
---@field gzip? boolean ask for a compressed body and uncompress it (true)
---@field keep_alive? boolean false: the connection is closed afterwards
---@field expect? boolean asks for "100 Continue" and waits for it, at most a second, before it
---sends the body; a server that refuses is not sent one
---@field proxy? string|false "http://[user:password@]host:port"; "env": by http_proxy, https_proxy
---  and no_proxy
---@field tls? grun.tls.options|grun.tls.context

--- Does a request. Redirects are followed; credentials and cookies are not sent to another origin
--- than that of the URL. The connection goes on to serve other requests when nothing speaks against
--- it; if one that was used before turns out to be closed, an idempotent request is sent once more.
--- Any status is a response. One that comes while the body is still being sent ends that, unless
--- it is one of success (2xx): then the rest is sent while the response is read, here or, with
--- stream = true, by the caller, who gets it as soon as its head is there. Each may depend on the
--- other, line by line. A server that takes nothing has time as long as the caller leaves unread
--- what it sent. When the response is over, its end is told when the rest of the body is sent too;
--- but with stream = true the sending stops when the server is to close the connection then, and
--- when an iterator takes more than a second for a piece. It also stops when the response is closed
--- or fails, or is collected as garbage. An error of the iterator is raised, here or by reading the
--- response.
--- Returns nil, message, code on failure: "timeout", "closed" (the server closed too
--- early; over TLS also "truncated"), "protocol" (it does not speak HTTP), "too_large", "redirect"
--- (too many, or one that is refused), "proxy", "bad_address" (the URL), or what grun.connect
--- gives.
--- Parks.
---@param opts grun.http.request.options
---@return grun.http.client.response|nil, string?, string?
---@async
function M.request(opts) end

--- Does a GET request; see request. Parks.
---@param url string
---@param opts? grun.http.request.options without url and method
---@return grun.http.client.response|nil, string?, string?
---@async
function M.get(url, opts) end

--- Does a POST request; see request. Parks.
---@param url string
---@param opts? grun.http.request.options without url and method
---@return grun.http.client.response|nil, string?, string?
---@async
function M.post(url, opts) end

--- Does a PUT request; see request. Parks.
---@param url string
---@param opts? grun.http.request.options without url and method
---@return grun.http.client.response|nil, string?, string?
---@async
function M.put(url, opts) end

--- Does a PATCH request; see request. Parks.
---@param url string
---@param opts? grun.http.request.options without url and method
---@return grun.http.client.response|nil, string?, string?
---@async
function M.patch(url, opts) end

--- Does a DELETE request; see request. Parks.
---@param url string
---@param opts? grun.http.request.options without url and method
---@return grun.http.client.response|nil, string?, string?
---@async
function M.delete(url, opts) end

--- Does a HEAD request; see request. Parks.
---@param url string
---@param opts? grun.http.request.options without url and method
---@return grun.http.client.response|nil, string?, string?
---@async
function M.head(url, opts) end

--- Closes the idle connections that these functions keep.
function M.close_idle() end

---@class grun.http.session.options: grun.http.request.options
---@field cookies? boolean false: none are kept
---@field max_per_host? integer connections to one host (100); further requests wait for one
---@field max_idle? integer idle ones of them that are kept (16)
---@field idle_timeout? number seconds (30)

--- Makes a session: cookies, connections of its own, and defaults for the options of its requests.
--- Headers of a request are added to the session's.
---@param opts? grun.http.session.options
---@return grun.http.session
function M.session(opts) end

--- Cookies, connections and defaults that belong together.
---@class grun.http.session
---@field cookies? grun.http.cookies
local session = {}

--- Does a request as grun.http.request. Parks.
---@param opts grun.http.request.options
---@return grun.http.client.response|nil, string?, string?
---@async
function session:request(opts) end

--- Does a GET request. Parks.
---@param url string
---@param opts? grun.http.request.options without url and method
---@return grun.http.client.response|nil, string?, string?
---@async
function session:get(url, opts) end

--- Does a POST request. Parks.
---@param url string
---@param opts? grun.http.request.options without url and method
---@return grun.http.client.response|nil, string?, string?
---@async
function session:post(url, opts) end

--- Does a PUT request. Parks.
---@param url string
---@param opts? grun.http.request.options without url and method
---@return grun.http.client.response|nil, string?, string?
---@async
function session:put(url, opts) end

--- Does a PATCH request. Parks.
---@param url string
---@param opts? grun.http.request.options without url and method
---@return grun.http.client.response|nil, string?, string?
---@async
function session:patch(url, opts) end

--- Does a DELETE request. Parks.
---@param url string
---@param opts? grun.http.request.options without url and method
---@return grun.http.client.response|nil, string?, string?
---@async
function session:delete(url, opts) end

--- Does a HEAD request. Parks.
---@param url string
---@param opts? grun.http.request.options without url and method
---@return grun.http.client.response|nil, string?, string?
---@async
function session:head(url, opts) end

--- Closes its idle connections, and those in use when their responses are over.
function session:close() end

-- ---- grun.core.httpc ----

local httpc = {}

--- Makes the head of a request. Without a length the body is to be sent chunked. Returns it and the
--- length that it tells; or nil and what is wrong with it.
---@param method string
---@param target string
---@param host string for Host, unless the fields have one
---@param fields string[] name, value, name, value …
---@param length? integer
---@param keep_alive boolean
---@return string|nil, integer|string|nil
function httpc.head(method, target, host, fields, length, keep_alive) end

--- Makes the line before a chunk.
---@param n integer bytes of the chunk
---@return string
function httpc.chunk(n) end

--- Reads the head of a response; options: read_timeout, until (time by which the whole response
--- must be there), max_header, max_headers. Returns status, reason, headers, whether the connection
--- may go on, the body or nil, the minor version. Or nil, message, code and whether a byte came.
--- Parks.
---@param conn grun.conn
---@param method string of the request
---@param options table
---@return integer|nil, string, table|string, boolean, grun.http.incoming?, integer?
---@async
function httpc.receive(conn, method, options) end

--- Whether the connection is open and nothing came on it, neither bytes nor the end.
---@param conn grun.conn
---@return boolean
function httpc.is_idle(conn) end

--- While a body is being sent: "continue" when "100 Continue" or the like came, which is dropped;
--- "answer" when the final response has begun, or the connection has ended; nil when nothing
--- complete came. Parks.
---@param conn grun.conn
---@param seconds number
---@return "continue"|"answer"|nil
---@async
function httpc.early(conn, seconds) end

--- Waits until reading the connection would not wait. Returns true, or nil when nothing came.
--- Parks.
---@param conn grun.conn
---@param seconds number
---@return true|nil
---@async
function httpc.wait(conn, seconds) end

---@class grun.http.incoming
local incoming = {}

--- The next piece of a body, and whether it is known to be the last one; nil at its end; or nil,
--- message, code. Parks.
---@param max? integer bytes (65536)
---@return string|nil, boolean|string|nil, string?
---@async
function incoming:read(max) end

--- The whole body; or nil, message, code. Parks.
---@param max integer bytes
---@return string|nil, string?, string?
---@async
function incoming:gather(max) end

return M
