/* What a browser has, and other places may not. */

/** The id of this browser: the same for each of its pages, where it can be kept. It tells a person's own devices apart. */
export function browserId() {
  const id = `web:browser_${Math.random().toString(36).slice(2)}`;
  return stored('localStorage', (storage) => {
    const known = storage.getItem('presence:device');
    if (known) return known;
    storage.setItem('presence:device', id);
    return id;
  }) ?? id;
}

/** Storage may be forbidden, full or absent; nothing here depends on it. */
export function stored(name, use) {
  try {
    return use(globalThis[name]) ?? null;
  } catch {
    return null;
  }
}

/** Calls `listener` at each `event` of the page, until `signal` says so. */
export function listen(signal, event, listener) {
  globalThis.window?.addEventListener?.(event, listener, { signal, passive: true, capture: true });
}
