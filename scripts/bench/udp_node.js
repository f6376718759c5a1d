// SPDX-License-Identifier: MIT
// Beside the udp bench: the same server on node's dgram.
// Alone: node scripts/bench/udp_node.js
"use strict";
const socket = require("dgram").createSocket("udp4");

socket.on("message", (data, peer) => socket.send(data, peer.port, peer.address));
socket.bind(0, "127.0.0.1", () => {
  console.log("listening on udp://127.0.0.1:" + socket.address().port);
});
