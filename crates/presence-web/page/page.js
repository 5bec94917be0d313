/*
 * The page at "/": a room to look at Presence with. Each part is a file in page/; `presence.js` is all they share.
 *
 * Query: `?user_id=` and `?name=` who you are, `?room=` (or `#room`) where, `?token=` for a gateway with a key.
 * A room `x` is the channel `room:x`; a name with a colon in it is a channel as it stands.
 *
 * For tests, `data-testid`:
 *   connection          [data-state] connecting, online, reconnecting, closed; its text counts down
 *   notice, reconnect   what is wrong with the connection, and the button to try now, or to sign in
 *   sign-in             the dialog for a token: sign-in-why, sign-in-token, sign-in-save
 *   room-title          the name of the room we are in; [data-channel] its channel
 *   room-refused        shown instead of the room when we may not be there; refused-room leads to another, refused-token signs in
 *   count               how many people are here: a number, or "…" before it is known
 *   avatar-stack        <presence-avatars>: a button [data-user] for each face
 *   roster              the list of people: person-<user id> each, with status-dot [data-status], person-name,
 *                       person-doing (emoji and message), person-typing, person-you, person-tabs ("2 tabs"), person-status in words
 *   self-row            yourself while invisible: not in the roster of anybody
 *   left                whom this page saw leave: left-<user id> each
 *   rooms               room-<name> each (room-lobby, room-design-review, room-launch-planning, ...),
 *                       [aria-current] for the one we are in; room-count-<name> its number, or "…"
 *   room-form, room-input   enter another room;   second-person  a link that opens the room as somebody else
 *   board               <presence-cursors>, with [data-session] each; cheers, with cheer each
 *   chat-log            message each ([data-user]), event for who joined and left
 *   chat-form, chat-input, chat-send;   typing  <presence-typing>: "Bob is typing", or empty
 *   quick-status        <presence-status>: your status at once
 *   status-form         status-online, status-away, status-busy, status-emoji, status-message, status-clear
 *                       (never, 30, 1800, 3600, today, custom: then status-custom), status-save, status-reset, status-until,
 *                       status-problem; emoji-open opens emoji-picker; [data-status] what you chose
 *   invisible-switch    checked: you are invisible
 *   devices             device-<device id> each, [data-activity], [data-sessions]; not there before they are known
 *   me                  opens who, with who-name, who-id, who-picture, who-picture-remove, who-token, who-save
 *
 * `window.presence` is the client and `window.room` the channel we are in, for the console.
 */

import { connect } from 'presence-client';
import { use } from 'presence-elements';
import { showBoard } from './page/board.js';
import { showConversation } from './page/conversation.js';
import { showConnection } from './page/connection.js';
import { showDevices } from './page/devices.js';
import { $ } from './page/dom.js';
import { handedOver } from './page/handing-over.js';
import { Identity, showIdentity } from './page/identity.js';
import { showPeople } from './page/people.js';
import { showRefused } from './page/refused.js';
import { roomFromAddress, showRooms } from './page/rooms.js';
import { showSignIn } from './page/sign-in.js';
import { showStatus } from './page/status.js';
import { whoAmI } from './page/who.js';

const me = new Identity(window.early?.who ?? whoAmI());
const presence = connect({ url: '/ws', token: me.token, userId: me.userId, name: me.name, ...handedOver(window.early) });
window.presence = presence;
use(presence);

let leave = () => {};
let stops = [];
let told; // of us, in the room
const rooms = showRooms(presence, me);
const signIn = showSignIn(presence, me);
enter(roomFromAddress());
window.addEventListener('hashchange', () => enter(roomFromAddress()));

showConnection(presence, signIn);
showIdentity(presence, me, stay);
showStatus(presence);
showDevices(presence);
// Until when a status holds is told to nobody; those who look at us here may know it. And whose picture it is, a token says.
presence.on('self', tellChanges);
// A hidden tab is nobody's absence for some minutes; here one sees it at once. A page that ends is hidden as well, and that is not meant.
let isEnding = false;
window.addEventListener('pagehide', () => { isEnding = true; });
window.addEventListener('pageshow', () => { isEnding = false; });
document.addEventListener('visibilitychange', () => isEnding || tellChanges());

function tellChanges() {
  if (JSON.stringify(me.meta(presence.self)) !== told) stay();
}

function enter(room) {
  if (window.room?.id === room.channel) return;
  for (const stop of stops) stop();
  const before = leave;
  leave = () => {};
  const channel = presence.channel(room.channel);
  window.room = channel;
  document.title = `${room.title} · Presence`;
  const title = $('room-title');
  title.textContent = room.title;
  title.dataset.channel = room.channel;
  rooms.current(room);

  stops = [showPeople(presence, channel), showRefused(channel, rooms, signIn), showBoard(presence, channel), showConversation(presence, channel)];
  for (const element of document.querySelectorAll('[data-room]')) element.setAttribute('channel', room.channel);
  stay();
  before();
}

/** In the room, with what is to be known of us there. Whoever enters last says it; so we enter once more before we leave. */
function stay() {
  const before = leave;
  const meta = me.meta(presence.self);
  told = JSON.stringify(meta);
  leave = window.room.enter({ meta });
  before();
}
