// SPDX-License-Identifier: MIT
// Beside the benches of threads: async functions in node. A yield is an await of null, which goes round its queue of
// jobs and not through its loop. Prints NAME_ns=... for each name (all without one); `memory N`, `timers N`.
// Alone: node scripts/bench/threads_node.js [NAME...]
"use strict";
const fs = require("fs");

async function spin(n) {
  for (let i = 0; i < n; i++) await null;
}

async function empty() {
  await null;
}

const RATES = {
  yield: [4e6, (n) => Promise.all([spin(n / 2), spin(n / 2)])],
  spawn: [1e6, async (n) => {
    for (let i = 0; i < n / 100; i++) {
      for (let j = 0; j < 100; j++) empty();
      await null;
    }
  }],
};

function cpu_ns() {
  const used = process.cpuUsage();
  return (used.user + used.system) * 1e3;
}

function resident() {
  return Number(/VmRSS:\s*(\d+)/.exec(fs.readFileSync("/proc/self/status", "utf8"))[1]);
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function memory(n) {
  const before = resident(), sleepers = [];
  const sleeper = async () => { await sleep(3600e3); };
  for (let i = 0; i < n; i++) sleepers.push(sleeper());
  await sleep(200);
  global.gc?.();
  console.log(`rss_kib=${((resident() - before) / sleepers.length).toFixed(3)}`);
  process.exit(0);
}

async function timers(n) {
  const late = [], sleepers = [], start = cpu_ns();
  const sleeper = async (ms) => {
    const due = performance.now() + ms;
    await sleep(ms);
    late.push(performance.now() - due);
  };
  for (let i = 0; i < n; i++) {
    sleepers.push(sleeper(Math.random() * 2000));
    if (i % 1000 === 999) await new Promise(setImmediate);
  }
  await Promise.all(sleepers);
  const each = (cpu_ns() - start) / n;
  late.sort((a, b) => a - b);
  console.log(`timer_ns=${each.toFixed(1)} p99_ms=${late[Math.floor(n * 0.99)].toFixed(3)}`);
}

async function main() {
  const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(RATES);
  if (names[0] === "memory") return memory(Number(names[1]));
  if (names[0] === "timers") return timers(Number(names[1]));
  for (const name of names) {
    const [n, run] = RATES[name];
    await run(n / 10);
    const start = cpu_ns();
    await run(n);
    console.log(`${name}_ns=${((cpu_ns() - start) / n).toFixed(3)}`);
  }
}

main();
