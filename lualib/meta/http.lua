-- SPDX-License-Identifier: MIT
-- For editors: the requests and responses of HTTP servers (runtime/bind/lib_httpd_*.c and
-- lualib/grun/http). Never loaded.

---@meta grun.core.httpd
-- luacheck: no unused

--- A request, as the handler of an HTTP server gets it. Handlers cost what they declare: without
--- parameters no request is made for them, with this one no response.
---@class grun.http.request
---@field method string as sent, such as "GET"
---@field path string of the target, without escapes
---@field raw_path string the same as sent
---@field query table<string, string> parameters of the target; of several with one name the first
---@field query_string string as sent, without "?"
---@field target string the whole, as sent
---@field version string "1.1" or "1.0"
---@field headers table<string, string> names in any case; several values joined by ", "
---@field host string as the client addressed us, with a port if it said one
---@field scheme string "http" or "https"
---@field peer string? address of the client, or what a trusted proxy says
---@field sockname string? our address
---@field content_length number? of the body, if the client said it
---@field conn grun.conn the connection
---@field params table<string, string> what a router found in the path
---@field rest_path string? with a router: what "*name" matched, as sent, with its "/"
---@field [string] any whatever the script wants to remember with it
local req = {}

--- The value of a header field; several are joined by ", ".
---@param name string in any case
---@return string|nil
function req:header(name) end

--- A piece of the body: what is there; with a count so many bytes, fewer only at the end; "a": all,
--- as body(). Returns nil at the end; nil, message, code on failure. Parks.
---@param format? integer|"a"
---@return string|nil, string?, string?
---@async
function req:read(format) end

--- The body, at most `max` bytes (default: the server's max_body). Returns nil, message, code:
--- "too_large", "timeout", "closed", "protocol". A handler that then returns nothing answers with
--- the status of that failure. Parks.
---@param max? integer
---@return string|nil, string?, string?
---@async
function req:body(max) end

--- The media type of the body in lower case, and its parameters; nil without a good Content-Type.
---@return string|nil, table<string, string>?
function req:media_type() end

--- The client's cookies; of several with one name the first.
---@return table<string, string>
function req:cookies() end

--- The value that the body is in JSON (lua-cjson must be installed; null is cjson.null). Returns
--- nil, message, code: "type" (not said to be JSON), "protocol" (it is none), or as body(). A
--- handler that then returns nothing answers with 415, 400 or that failure's status. Parks.
---@param max? integer
---@return any, string?, string?
---@async
function req:json(max) end

--- The form that the body is: name -> text; files of multipart/form-data are
--- { name =, filename =, content_type =, headers =, data = }, or what opts.file(part) returned. Of
--- several with one name the first counts. Returns nil, message, code: "type", "too_large",
--- "protocol", or as body(). A handler that then returns nothing answers with 415, 413, 400. Parks.
---@param opts? grun.http.form.options
---@return table<string, any>|nil, string?, string?
---@async
function req:form(opts) end

--- Goes through the parts of a multipart/form-data body while it arrives, each with name, filename,
--- content_type, headers, read() and body(max); what of one is not read is dropped. The iterator
--- raises when the body fails, and parks.
---@param opts? grun.http.form.options
---@return (fun(): grun.http.part|nil)|nil, string?, string?
function req:multipart(opts) end

--- In a handler of an HTTP server: makes the request's connection a WebSocket. It lives until the
--- handler returns, which closes it with code 1000 (1011 after an error); stopping the server
--- closes it with 1001. A request for something else, or from a page of a foreign origin, is
--- answered here with 400, 403 or 426. Returns nil, message, code then. Parks.
---@param opts? grun.http.websocket.accept_options
---@return grun.http.websocket|nil, string?, string?
---@async
function req:websocket(opts) end

--- The response to it; what a handler returns is sent by itself.
---@class grun.http.response
local res = {}

--- Sets the status and returns the response; without a code returns the status.
---@param code? integer 200 to 599
---@return grun.http.response|integer
function res:status(code) end

--- Adds a header field and returns the response; without a value returns what was set, or nil.
---@param name string
---@param value? string|number
---@return grun.http.response|string|nil
function res:header(name, value) end

--- Sends a piece of the body, and the head before the first one. Parks.
---@param data string
---@return true|nil, string?, string?
---@async
function res:write(data) end

--- Ends the response; `data` is the last piece, or all of the body: a string, a list of strings or
--- an iterator. Parks.
---@param data? string|string[]|fun(): string?
---@return true|nil, string?, string?
---@async
function res:finish(data) end

--- Whether the head has been sent.
---@return boolean
function res:begun() end

--- Sends 101, or 200 for CONNECT, with the fields that were set, and gives the connection away. Set
--- Upgrade (the name of the protocol) and Connection ("Upgrade") before. A client that offers
--- nothing, such as one of HTTP/1.0, or something else than Upgrade says, gets 426 (400 if Upgrade
--- was not set), and you get nil, message, "protocol": the response is over then. Parks.
---@return grun.conn|nil, string?, string?
---@async
function res:upgrade() end

--- Sends the client elsewhere. What may not stand in a URL is escaped. Parks.
---@param location string URL or path
---@param status? 301|302|303|307|308 default 302
---@return true|nil, string?, string?
---@async
function res:redirect(location, status) end

--- Sends a value as JSON (lua-cjson must be installed). Raises for what JSON cannot say. Parks.
---@param value any
---@param status? integer
---@return true|nil, string?, string?
---@async
function res:json(value, status) end

---@class grun.http.cookie
---@field domain? string
---@field path? string default "/"
---@field max_age? integer seconds; 0 deletes the cookie; without it it ends with the browser
---@field secure? boolean
---@field http_only? boolean default true
---@field same_site? "lax"|"strict"|"none" default "lax"; "none" needs secure

--- Sets a cookie and returns the response. Raises for names and values that may not stand in one;
--- nothing is escaped.
---@param name string
---@param value string
---@param opts? grun.http.cookie
---@return grun.http.response
function res:cookie(name, value, opts) end

---@class grun.http.sendfile.options
---@field type? string media type (by the name's end otherwise)
---@field filename? string the browser is to save it under that name
---@field from? integer offset of the part that is sent
---@field length? integer its bytes

--- Sends a file in constant memory: a path or one of Lua's files, all of it or a part. The whole is
--- sent with ETag and Last-Modified, and ranges and conditions of the request count. Returns nil,
--- message, code when there is no such regular file (nothing is sent then) or the client has gone.
--- Parks.
---@param source string|file*
---@param opts? grun.http.sendfile.options
---@return true|nil, string?, string?
---@async
function res:sendfile(source, opts) end
