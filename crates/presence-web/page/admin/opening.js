/* What is open is in the address: it can be sent to somebody, and the way back is the browser's. */

/** Opens the explanation of a person or a room. */
export function open(kind, id) {
  const hash = `#${kind}=${encodeURIComponent(id)}`;
  if (location.hash === hash) dispatchEvent(new HashChangeEvent('hashchange'));
  else location.hash = hash;
}

export function close() {
  history.pushState(null, '', location.pathname);
  dispatchEvent(new HashChangeEvent('hashchange'));
}

/** `{ kind, id }` of what is open, or null. */
export function opened() {
  const [, kind, text] = /^#(user|room)=(.+)$/.exec(location.hash) ?? [];
  try {
    return kind ? { kind, id: decodeURIComponent(text) } : null;
  } catch {
    return null;
  }
}
