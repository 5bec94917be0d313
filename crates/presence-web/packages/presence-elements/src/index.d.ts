/** The types of `presence-elements`. Importing it defines the elements; `docs/elements.md` is their manual. */

import type { Member, Presence } from 'presence-client';

/** The client that all elements of the page share; `null` as long as there is none. */
export function client(): Presence | null;

/** Uses a client of your own for all elements of the page. */
export function use(presence: Presence): void;

/** `<presence-avatars channel="room:42" max="5">`: the faces of who is here, each with a card. */
export class PresenceAvatars extends HTMLElement {}
/** `<presence-card user-id="bob" name="Bob" channel="room:42">…</presence-card>`: what is in it, with a card about somebody. It enters no room. */
export class PresenceCard extends HTMLElement {
  /** What is known of somebody who is not in the room any longer. */
  person: Partial<Member> | null;
}
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
    'presence-card': PresenceCard;
    'presence-cursors': PresenceCursors;
    'presence-typing': PresenceTyping;
    'presence-status': PresenceStatus;
    'presence-connection': PresenceConnection;
  }
}
