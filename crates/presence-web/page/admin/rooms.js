/* The biggest rooms, and the busiest ones. */

import { $, Rows, h } from '../page/html.js';
import { open } from './opening.js';
import { count, number } from './words.js';

const rows = new Rows();
let latest = { by_size: [], by_rate: [] };
let isAlone = false;

const order = () => document.querySelector('input[name=order]:checked').value;

function show() {
  const rooms = latest[order()];
  $('rooms-note').hidden = !isAlone;
  $('rooms-none').textContent = isAlone ? 'Nobody is in a room on this gateway.' : 'Nobody is in a room.';
  $('rooms-none').hidden = rooms.length > 0;
  $('rooms-scroll').hidden = rooms.length === 0;
  rows.render($('rooms'), rooms, {
    key: (room) => room.channel_id,
    parts: (room) => room,
    make: (room) => h('tr', { testid: `room-${room.channel_id}` },
      h('td', {}, h('button.link', { type: 'button', onclick: () => open('room', room.channel_id) }, room.channel_id)),
      h('td.number', {}, count(room.people)),
      h('td.number', {}, room.watchers === null ? '–' : count(room.watchers)),
      h('td.number', {}, number(room.events_per_second))),
  });
}

/** While Redis is away the gateway knows of its own people only, and of others as they were. */
export function showRooms(rooms, store) {
  latest = rooms;
  isAlone = store === 'away';
  show();
}

for (const input of document.querySelectorAll('input[name=order]')) input.onchange = show;
