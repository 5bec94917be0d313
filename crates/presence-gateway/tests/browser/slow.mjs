/* A network that is far away: what is said arrives late, and not much at a time. */

import { once } from 'node:events';
import { connect, createServer } from 'node:net';

const CHUNK_BYTES = 4_096;

/** Leads to `address`. Each way takes `delay` ms, and `bytesPerSecond` of all connections together. */
export async function openSlowNetwork(address, { delay, bytesPerSecond }) {
  const [host, port] = address.split(':');
  const sockets = new Set();
  /** How many bytes have come from `address`. */
  let bytesDown = 0;
  /** When each way is free again. */
  const free = { up: 0, down: 0 };
  const carry = (from, to, way) => {
    // What was sent is delivered in order, each piece when its time has come.
    let last = Promise.resolve();
    const later = (deliver, bytes) => {
      const now = performance.now();
      free[way] = Math.max(free[way], now) + (bytes / bytesPerSecond) * 1_000;
      const due = free[way] + delay;
      last = last.then(() => new Promise((resolve) => {
        setTimeout(resolve, due - performance.now());
      })).then(deliver);
    };
    from.on('data', (data) => {
      if (way === 'down') bytesDown += data.length;
      for (let at = 0; at < data.length; at += CHUNK_BYTES) {
        const piece = data.subarray(at, at + CHUNK_BYTES);
        later(() => to.writable && to.write(piece), piece.length);
      }
    });
    from.on('end', () => later(() => to.end(), 0));
    from.on('error', () => to.destroy());
    from.on('close', () => sockets.delete(from));
  };
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ host, port, allowHalfOpen: true });
    for (const socket of [near, far]) sockets.add(socket);
    carry(near, far, 'up');
    carry(far, near, 'down');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: `127.0.0.1:${server.address().port}`,
    get bytesDown() {
      return bytesDown;
    },
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
