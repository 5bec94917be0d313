/*
 * The page at "/": a room to look at Presence with. Each part is a file in page/; `presence.js` is all they share.
 *
 * Query: `?user_id=` and `?name=` who you are, `?room=` (or `#room`) where, `?token=` for a gateway with a key.
 * A room `x` is the channel `room:x`; a name with a colon in it is a channel as it stands.
 *
 * For tests, `data-testid`:
 *   connection          [data-state] connecting, online, reconnecting, closed; its text counts down
 *   notice, reconnect   what is wrong with the connection, and the button to try now
 *   room-title          the name of the room we are in; [data-channel] its channel
 *   count               how many people are here: a number and nothing else
 *   avatar-stack        faces; face-<user id> each; stack-more is "+N"
 *   roster              the list of people: person-<user id> each, with status-dot [data-status], person-name,
 *                       person-doing (emoji and message), person-typing, person-you, person-tabs ("2 tabs")
 *   self-row            yourself while invisible: not in the roster of anybody
 *   rooms               room-<name> each (room-lobby, room-design-review, room-launch-planning, ...),
 *                       [aria-current] for the one we are in; room-count-<name> its number
 *   room-form, room-input   enter another room;   second-person  a link that opens the room as somebody else
 *   board               the shared area; cursors; cursor-<session> each [data-user]; cheer each reaction
 *   chat-log            message each ([data-user]), event for who joined and left
 *   chat-form, chat-input, chat-send;   typing  "Bob is typing", or empty
 *   status-form         status-online, status-away, status-busy, status-emoji, status-message, status-clear
 *                       (never, 30, 1800, 3600, today), status-save, status-reset, status-until, status-problem;
 *                       [data-status] what you chose
 *   invisible-switch    checked: you are invisible
 *   devices             device-<device id> each, [data-activity], [data-sessions]
 *   me                  opens who, with who-name, who-id, who-save
 *
 * `window.presence` is the client and `window.room` the channel we are in, for the console.
 */

import { connect } from './presence.js';
import { showBoard } from './page/board.js';
import { showConversation } from './page/conversation.js';
import { showConnection } from './page/connection.js';
import { showDevices } from './page/devices.js';
import { identity, showIdentity } from './page/identity.js';
import { showPeople } from './page/people.js';
import { roomFromAddress, showRooms } from './page/rooms.js';
import { showStatus } from './page/status.js';

const me = identity();
const presence = connect({ url: '/ws', token: me.token, userId: me.userId, name: me.name });
window.presence = presence;

showConnection(presence);
showIdentity(presence, me);
showStatus(presence);
showDevices(presence);

let leaveRoom = () => {};
const rooms = showRooms(presence, me, enter);
enter(roomFromAddress());
window.addEventListener('hashchange', () => enter(roomFromAddress()));

function enter(room) {
  if (window.room?.id === room.channel) return;
  leaveRoom();
  const channel = presence.channel(room.channel);
  window.room = channel;
  document.title = `${room.title} · Presence`;
  const title = document.getElementById('room-title');
  title.textContent = room.title;
  title.dataset.channel = room.channel;
  rooms.current(room);

  const stops = [showPeople(presence, channel), showBoard(presence, channel), showConversation(presence, channel)];
  channel.join();
  leaveRoom = () => {
    channel.leave();
    for (const stop of stops) stop();
  };
}
