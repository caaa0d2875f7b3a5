// Starts a node, lets the client talk to it, and stops the node. BTCFED_BIN names the program.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const READY_MS = 20_000
const STOP_MS = 10_000

// A PeerRequest with a hello (version 1, mainnet, no federation, agent "js/1", no record) for up to 256 records.
const REQUEST = '0a140a0f080110011dd9b4bef932046a732f31208002'
// Field 2 of the envelope: a PeerResponse.
const RESPONSE = '12'
// Field 5 of the envelope: an Error.
const ERROR = '2a'

const program = process.env.BTCFED_BIN
if (program === undefined) {
  console.error('BTCFED_BIN names the btcfed program to test')
  process.exit(2)
}

const folder = mkdtempSync(join(tmpdir(), 'btcfed-interop-'))
const args = ['run', '--json', '--state-dir', folder, '--listen', '/ip4/127.0.0.1/tcp/0']
const node = spawn(program, args, { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] })

function within (promise, ms, what) {
  const late = new Promise((_resolve, reject) => setTimeout(() => reject(new Error(`${what}: too late`)), ms).unref())
  return Promise.race([promise, late])
}

/** Runs the client and returns what it printed; fails if it failed. */
function client (address, frame) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['client.js', address, frame], { stdio: ['ignore', 'pipe', 'inherit'] })
    let printed = ''
    child.stdout.on('data', (data) => { printed += data })
    child.on('close', (code) => code === 0 ? resolve(printed) : reject(new Error(`the client failed:\n${printed}`)))
  })
}

async function check (address, name, frame, expected) {
  const printed = await client(address, frame)
  const answers = [...printed.matchAll(/^answer[^:]*: ([0-9a-f]*)$/gm)].map((match) => match[1])
  if (answers.length !== 3 || !answers.every((answer) => answer.startsWith(expected))) {
    throw new Error(`${name}: wrong answers:\n${printed}`)
  }
  console.log(`${name}: ok`)
}

const ended = new Promise((resolve) => node.on('close', resolve))
let failed = 0
try {
  const [line] = await within(createInterface(node.stdout)[Symbol.asyncIterator]().next().then((read) => [read.value]), READY_MS, 'ready')
  const ready = JSON.parse(line)
  const address = `${ready.listen[0]}/p2p/${ready.peer_id}`
  await check(address, 'a well-formed request', REQUEST, RESPONSE)
  await check(address, 'a frame that is no message', 'ffffffff', ERROR)
} catch (error) {
  console.error(`failed: ${error.stack ?? error}`)
  failed = 1
} finally {
  node.kill('SIGTERM')
  const code = await within(ended, STOP_MS, 'stop')
  if (code !== 0) {
    console.error(`the node ended with ${code}`)
    failed = 1
  }
  rmSync(folder, { recursive: true, force: true })
}
console.log(`interop: ${2 - failed} passed, ${failed} failed`)
process.exitCode = failed
