// SPDX-License-Identifier: MIT
// Beside the echo bench: the same server on node's net.
// Alone: node scripts/bench/echo_node.js
"use strict";
const net = require("net");

const server = net.createServer({ noDelay: true }, (conn) => {
  conn.on("data", (data) => conn.write(data));
  conn.on("error", () => conn.destroy());
});
server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => {
  console.log("listening on tcp://127.0.0.1:" + server.address().port);
});
