// SPDX-License-Identifier: MIT
// Beside the tls bench: the same server on node's tls.
// Alone: node scripts/bench/tls_node.js CERT KEY
"use strict";
const fs = require("fs");
const tls = require("tls");

const options = {
  cert: fs.readFileSync(process.argv[2]),
  key: fs.readFileSync(process.argv[3]),
  noDelay: true,
};
const server = tls.createServer(options, (conn) => {
  conn.on("data", (data) => conn.write(data));
  conn.on("error", () => conn.destroy());
});
server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => {
  console.log("listening on tls://127.0.0.1:" + server.address().port);
});
