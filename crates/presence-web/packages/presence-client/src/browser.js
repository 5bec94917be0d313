/* What a browser has, and other places may not. */

export function browserId() {
  return stored('localStorage', (storage) => {
    const known = storage.getItem('presence:device');
    if (known) return known;
    const id = `web:browser_${randomId()}`;
    storage.setItem('presence:device', id);
    return id;
  }) ?? `web:browser_${randomId()}`;
}

function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(9))].map((byte) => byte.toString(36).padStart(2, '0')).join('');
}

/** Storage may be forbidden, full or absent; nothing here depends on it. */
export function stored(name, use) {
  try {
    return use(globalThis[name]) ?? null;
  } catch {
    return null;
  }
}

export function listen(target, event, listener, signal) {
  target?.addEventListener?.(event, listener, { signal, passive: true, capture: true });
}
