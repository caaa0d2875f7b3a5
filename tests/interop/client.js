// A client of js-libp2p against a btcfed node. See README.md.

// Node 20 lacks this function of ES2024, which one of the libraries uses.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new this((res, rej) => { [resolve, reject] = [res, rej] })
  return { promise, resolve, reject }
}

const { noise } = await import('@chainsafe/libp2p-noise')
const { yamux } = await import('@chainsafe/libp2p-yamux')
const { identify } = await import('@libp2p/identify')
const { ping } = await import('@libp2p/ping')
const { tcp } = await import('@libp2p/tcp')
const { multiaddr } = await import('@multiformats/multiaddr')
const { createLibp2p } = await import('libp2p')

const PROTOCOL = '/vtcp/btc-foundation/v1.0.0'
const TIMEOUT_MS = 10_000

const [address, frameHex = '68656c6c6f'] = process.argv.slice(2)
if (address === undefined || !/^([0-9a-f]{2})*$/i.test(frameHex)) {
  console.error('usage: node client.js MULTIADDR [FRAME_HEX]')
  process.exit(2)
}

/** The unsigned varint of a length, in groups of seven bits. */
function varint (length) {
  const bytes = []
  for (; length > 0x7f; length >>>= 7) bytes.push((length & 0x7f) | 0x80)
  return Uint8Array.from([...bytes, length])
}

function framed (body) {
  return Buffer.concat([varint(body.length), body])
}

/** Reads the one frame that a stream carries. */
function unframed (bytes) {
  let length = 0
  let index = 0
  do {
    if (index >= bytes.length || index > 2) throw new Error(`not a frame: ${bytes.toString('hex')}`)
    length |= (bytes[index] & 0x7f) << (7 * index)
  } while (bytes[index++] & 0x80)
  const body = bytes.subarray(index)
  if (body.length !== length) throw new Error(`${body.length} bytes in a frame of ${length}`)
  return body
}

/** One stream: all of `bytes` there, all that comes back. */
async function exchange (connection, bytes, closes = true) {
  const signal = AbortSignal.timeout(TIMEOUT_MS)
  const stream = await connection.newStream(PROTOCOL, { signal })
  if (bytes.length > 0) stream.send(bytes)
  if (closes) await stream.close({ signal })
  const chunks = []
  for await (const chunk of stream) chunks.push(Buffer.from(chunk.subarray()))
  return Buffer.concat(chunks)
}

/** Sends something that is no frame. The stream must end without an answer, and the connection must not. */
async function misbehave (connection, what, bytes) {
  let outcome
  try {
    const answer = await exchange(connection, bytes)
    if (answer.length > 0) throw Object.assign(new Error(`${what} was answered: ${answer.toString('hex')}`), { isWrong: true })
    outcome = 'ended'
  } catch (error) {
    if (error.isWrong || error.name === 'TimeoutError') throw error
    outcome = 'reset'
  }
  if (connection.status !== 'open') throw new Error(`${what} closed the connection`)
  console.log(`malformed (${what}): stream ${outcome}, connection open`)
}

const node = await createLibp2p({
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify(), ping: ping() }
})

try {
  const identified = new Promise((resolve) => node.addEventListener('peer:identify', (e) => resolve(e.detail)))
  const connection = await node.dial(multiaddr(address), { signal: AbortSignal.timeout(TIMEOUT_MS) })
  console.log(`connected: ${connection.remotePeer}`)

  const told = await Promise.race([
    identified,
    new Promise((_resolve, reject) => setTimeout(() => reject(new Error('identify: no answer')), TIMEOUT_MS).unref())
  ])
  if (!told.protocols.includes(PROTOCOL)) throw new Error(`identify: ${told.protocols} lacks ${PROTOCOL}`)
  console.log(`identified: ${JSON.stringify(told.agentVersion)}, speaks ${PROTOCOL}`)

  const rtt = await node.services.ping.ping(connection.remotePeer, { signal: AbortSignal.timeout(TIMEOUT_MS) })
  console.log(`ping: ${rtt} ms`)

  const frame = Buffer.from(frameHex, 'hex')
  const answer = unframed(await exchange(connection, framed(frame)))
  console.log(`answer: ${answer.toString('hex')}`)
  const open = unframed(await exchange(connection, framed(frame), false))
  console.log(`answer without closing first: ${open.toString('hex')}`)

  await misbehave(connection, 'over-long length', Buffer.alloc(11, 0xff))
  await misbehave(connection, 'length above the limit', Buffer.from([0x81, 0x80, 0x04]))
  await misbehave(connection, 'padded length', Buffer.from([0x80, 0x00]))
  await misbehave(connection, 'length without body', Buffer.from([0x05]))
  await misbehave(connection, 'nothing at all', Buffer.alloc(0))

  const again = unframed(await exchange(connection, framed(frame)))
  console.log(`answer after all that: ${again.toString('hex')}`)
  console.log('ok')
} catch (error) {
  console.error(`failed: ${error.stack ?? error}`)
  process.exitCode = 1
} finally {
  await node.stop()
}
