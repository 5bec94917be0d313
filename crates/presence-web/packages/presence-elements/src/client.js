/* The client that all elements of a page share. */

import { connect } from 'presence-client';

let shared = null;
/** The one that was made because nobody had said anything else. */
let made = null;
const waiting = new Set();

/** The client of this page; `null` as long as there is none. */
export function client() {
  return shared;
}

/** Uses `presence` for all elements of the page. */
export function use(presence) {
  if (shared === presence) return;
  if (made !== presence) made?.close();
  made = null;
  shared = presence;
  for (const then of [...waiting]) then();
}

/** The client `presence` is not to be used any longer. */
export function drop(presence) {
  if (shared === presence) shared = null;
}

/** Calls `then` whenever the page has another client; returns what stops that. */
export function onClient(then) {
  waiting.add(then);
  return () => waiting.delete(then);
}

/**
 * The client of this page, made if need be: of the gateway that served this file, or else of the page's own site. `null`: a
 * `<presence-connection>` in the page will make it.
 */
export function anyClient() {
  if (shared || document.querySelector('presence-connection')) return shared;
  shared = made = connect({ url: servedBy() });
  return shared;
}

/** Where the gateway is that served this file, if one did. */
export function servedBy() {
  const here = new URL(import.meta.url);
  return here.pathname.endsWith('/presence-elements.js') ? new URL('/ws', here).href : undefined;
}
