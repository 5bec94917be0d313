/*
 * The browser client of Presence: who is here, right now, and what are they doing?
 *
 *     import { connect } from 'presence-client';
 *
 *     const presence = connect({ token: async () => (await fetch('/presence-token')).text() });
 *     const room = presence.channel('room:42');
 *     room.on('join', (user) => console.log(`${user.name} is here`));
 *     room.subscribe(() => render(room.getState()));     // { count, users, typing, cursors, ... }
 *     const leave = room.enter({ meta: { role: 'editor' } });
 *     input.oninput = () => room.typing();               // at every key: it paces itself
 *
 * `docs/browser.md` is its manual, `docs/protocol.md` what it speaks, `index.d.ts` its types.
 */

import { Presence } from './presence.js';

export { colorsOf, palette, shadesOf } from './colors.js';
export { afterClose, backoff } from './ending.js';
export { PresenceError } from './errors.js';
export { Pace, TypingPace } from './pace.js';
export { Picture } from './picture.js';
export { Presence } from './presence.js';
export { same } from './wire.js';

/**
 * Connect, and stay connected until `close()`.
 * @param {import('presence-client').Options} [options]
 * @returns {Presence}
 */
export function connect(options = {}) {
  return new Presence(options);
}
