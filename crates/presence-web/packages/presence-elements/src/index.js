/*
 * Presence as custom elements: who is here and what they are doing, in any page. `docs/elements.md` is their manual.
 *
 *     <script type="module" src="http://127.0.0.1:4001/presence-elements.js"></script>
 *     <presence-avatars channel="room:42"></presence-avatars>
 */

import { PresenceCard } from './card.js';
import { PresenceConnection, PresenceStatus } from './people.js';
import { PresenceAvatars, PresenceCursors, PresenceTyping } from './rooms.js';

export { client, use } from './client.js';
export { PresenceAvatars, PresenceCard, PresenceConnection, PresenceCursors, PresenceStatus, PresenceTyping };

const ELEMENTS = {
  'presence-connection': PresenceConnection,
  'presence-avatars': PresenceAvatars,
  'presence-card': PresenceCard,
  'presence-cursors': PresenceCursors,
  'presence-typing': PresenceTyping,
  'presence-status': PresenceStatus,
};

for (const [name, element] of Object.entries(ELEMENTS)) {
  // A page may load this twice.
  if (globalThis.customElements && !customElements.get(name)) customElements.define(name, element);
}
