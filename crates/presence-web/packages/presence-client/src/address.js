/* Where the gateway is, and whether there is anything to reach it from. */

const HERE = '/ws';

/** Whether there is something to connect with, and from: where pages are rendered on a server there is not. */
export function canConnect({ WebSocket, url = HERE }) {
  if (WebSocket !== undefined) return WebSocket !== null;
  return Boolean(globalThis.WebSocket && (globalThis.location || URL.canParse(url)));
}

/** The address of a socket, with those of `params` that are known in its query. */
export function address(url = HERE, params) {
  const full = new URL(url, globalThis.location?.href);
  full.protocol = full.protocol.replace('http', 'ws');
  for (const [key, value] of Object.entries(params)) {
    if (value) full.searchParams.set(key, value);
  }
  return full.href;
}
