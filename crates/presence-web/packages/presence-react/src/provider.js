/* Which client, and which room: for everything below a provider. */

import { createContext, createElement, useContext, useEffect, useMemo, useRef, useState } from 'react';
import { connect } from 'presence-client';

import { useShared } from './selecting.js';

const Scope = createContext(null);

/** The client and the room of the nearest provider. */
export function useScope() {
  const scope = useContext(Scope);
  if (!scope) throw new Error('there is no <PresenceProvider> around this component');
  return scope;
}

/** The client of the nearest provider. */
export function usePresence() {
  return useScope().presence;
}

/**
 * Makes a client and keeps it connected while it is mounted. With `client` it uses that one; within another provider and with nothing
 * but a `channel` it uses the client of that.
 */
export function PresenceProvider({ client, channel, meta, children, ...options }) {
  const outer = useContext(Scope);
  const isOwn = !client && (!outer || Object.values(options).some((option) => option !== undefined));
  if (!isOwn) return createElement(Within, { presence: client ?? outer.presence, channel, meta }, children);
  const { url, userId, workspace, deviceId, token } = options;
  // Somebody else is another client.
  const key = JSON.stringify([url, userId, workspace, deviceId, typeof token === 'function' ? 'function' : token]);
  return createElement(Own, { key, options, channel, meta }, children);
}

function Own({ options, channel, meta, children }) {
  const latest = useRef(options);
  const make = () => connect({
    ...options,
    // A function that is written in place is another one at every render, and closes over what was known then.
    ...(typeof options.token === 'function' ? { token: () => latest.current.token() } : {}),
    autoConnect: false,
  });
  const [presence, setPresence] = useState(make);
  useEffect(() => {
    latest.current = options;
  });
  useEffect(() => {
    if (closed.has(presence)) {
      setPresence(make());
      return undefined;
    }
    return keep(presence);
  }, [presence]);
  useEffect(() => {
    if (options.name !== undefined) presence.setName(options.name);
  }, [presence, options.name]);
  return createElement(Within, { presence, channel, meta }, children);
}

/** Those that we closed: the gateway did not. */
const closed = new WeakSet();
const closing = new WeakMap();

/** Connects; what it returns closes, unless the client is kept again at once: StrictMode and fast refresh mount twice. */
function keep(presence) {
  clearTimeout(closing.get(presence));
  presence.reconnect();
  return () => {
    closing.set(presence, setTimeout(() => {
      closed.add(presence);
      presence.close();
    }));
  };
}

function Within({ presence, channel, meta, children }) {
  const outer = useContext(Scope);
  const inherited = outer?.presence === presence ? outer : null;
  const id = channel ?? inherited?.channel;
  const shared = useShared(meta ?? (id === inherited?.channel ? inherited?.meta : undefined));
  const value = useMemo(() => ({ presence, channel: id, meta: shared }), [presence, id, shared]);
  return createElement(Scope.Provider, { value }, children);
}
