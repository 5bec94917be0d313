/* The rooms to enter, and how many people are in each. */

import { $, h } from './dom.js';
import { somebody } from './who.js';

const demos = [['lobby', 'Lobby'], ['design-review', 'Design review'], ['launch-planning', 'Launch planning'], ['help-desk', 'Help desk']];
const byName = new Map(demos);

/** A room from what somebody wrote: `{ name, title, channel }`. */
export function room(text) {
  const written = text.trim();
  const exact = written.includes(':');
  const name = exact ? written.replace(/^room:/, '') : written.toLowerCase().replace(/\s+/g, '-');
  const safe = name.replace(/[^A-Za-z0-9\-_.:@|+=/~]/g, '').slice(0, 100) || 'lobby';
  return { name: safe, title: byName.get(safe) ?? safe.replaceAll('-', ' ').replace(/^./, (first) => first.toUpperCase()), channel: safe.includes(':') ? safe : `room:${safe}` };
}

export function roomFromAddress() {
  const hash = decode(location.hash.slice(1));
  return room(hash && hash !== 'stage' ? hash : new URLSearchParams(location.search).get('room') ?? 'lobby');
}

/** The list at the side. A choice changes the address, so that back and forward work. */
export function showRooms(presence, me) {
  const rows = new Map();
  const rooms = new Map();
  const listeners = new Set();
  let here;
  // Somebody else needs a token of their own where the gateway asks for one.
  const link = $('second-person');
  presence.on('hello', () => {
    link.hidden = Boolean(me.token);
  });
  /** A link that opens the room as somebody else: a new person for each click. */
  const invite = () => {
    const { userId, name } = somebody();
    link.href = `/?${new URLSearchParams({ user_id: userId, name })}#${encodeURIComponent(here.name)}`;
  };
  link.onclick = () => setTimeout(invite);
  for (const [name] of demos) add(room(name));

  $('room-form').onsubmit = (event) => {
    event.preventDefault();
    const input = $('room-input');
    if (input.value.trim()) go(room(input.value));
    input.value = '';
  };

  function add(room) {
    const number = h('span.number', { testid: `room-count-${room.name}`, data: { count: '' } }, '…');
    const unit = h('span.visually-hidden');
    const button = h('button.room', { type: 'button', testid: `room-${room.name}`, onclick: () => go(room) }, h('span.name', {}, room.title), h('span', {}, number, unit));
    const item = h('li', {}, button);
    $('rooms').append(item);
    rows.set(room.channel, button);
    rooms.set(room.channel, room);
    const channel = presence.channel(room.channel);
    let isKnown = false;
    const show = ({ count, live, error }) => {
      isKnown ||= live;
      const says = error ? 'no access' : isKnown ? String(count) : '…';
      number.textContent = says;
      number.dataset.count = error ? '' : isKnown ? String(count) : '';
      unit.textContent = error || !isKnown ? '' : count === 1 ? ' person' : ' people';
      button.title = error?.message ?? '';
      for (const listener of listeners) listener();
    };
    channel.subscribe(show);
    // A count is enough for a room we only look at; being in it asks for more.
    channel.watch({ mode: 'summary' });
    show(channel.state);
  }

  return {
    go,
    /** A room of the list that we are not in and may see; `undefined` if there is none. */
    another: () => [...rooms.values()].find(({ channel }) => channel !== here.channel && presence.channel(channel).state.live),
    /** Calls `listener` when something is known of a room; returns what stops it. */
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    current(room) {
      if (!rows.has(room.channel)) add(room);
      for (const [channel, button] of rows) {
        if (channel === room.channel) button.setAttribute('aria-current', 'page');
        else button.removeAttribute('aria-current');
      }
      rows.get(room.channel).scrollIntoView({ block: 'nearest', inline: 'nearest' });
      here = room;
      invite();
    },
  };
}

function go(room) {
  location.hash = encodeURIComponent(room.name);
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
