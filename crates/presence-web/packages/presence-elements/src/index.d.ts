/** The types of `presence-elements`. Importing it defines the elements; `docs/elements.md` is their manual. */

import type { Presence } from 'presence-client';

/** The client that all elements of the page share; `null` as long as there is none. */
export function client(): Presence | null;

/** Uses a client of your own for all elements of the page. */
export function use(presence: Presence): void;

/** `<presence-avatars channel="room:42" max="5">`: the faces of who is here. */
export class PresenceAvatars extends HTMLElement {}
/** `<presence-cursors channel="room:42">…</presence-cursors>`: an area in which everybody sees where the others point. */
export class PresenceCursors extends HTMLElement {}
/** `<presence-typing channel="room:42" for="message">`: who types. Keys in the field whose id is in `for` say that you do. */
export class PresenceTyping extends HTMLElement {}
/** `<presence-status user-id="bob">`: somebody's status. Without `user-id` it chooses your own. */
export class PresenceStatus extends HTMLElement {}
/** `<presence-connection url="…" token-url="/presence-token">`: who you are, and where the gateway is. */
export class PresenceConnection extends HTMLElement {
  /** The client of the page, once this element has begun. */
  readonly client: Presence | null;
}

declare global {
  interface HTMLElementTagNameMap {
    'presence-avatars': PresenceAvatars;
    'presence-cursors': PresenceCursors;
    'presence-typing': PresenceTyping;
    'presence-status': PresenceStatus;
    'presence-connection': PresenceConnection;
  }
}
