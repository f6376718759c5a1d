// SPDX-License-Identifier: MIT
// Beside the http bench: hello world on node's http.
// Alone: node scripts/bench/http_node.js
"use strict";
const http = require("http");

const HEADERS = { "Content-Type": "text/plain; charset=utf-8", "Content-Length": "12" };
const server = http.createServer((req, res) => {
  res.writeHead(200, HEADERS);
  res.end("hello world\n");
});
server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => {
  console.log("listening on http://127.0.0.1:" + server.address().port);
});
