/* What is said, who comes and goes. Nothing is kept: the last fifty lines are all there is. */

import { $, avatar, enumerate, h } from './dom.js';

const LINES_MAX = 50;
const GATHER_MS = 500; // people who come together are one line

export function showConversation(presence, channel) {
  const log = $('chat-log');
  const form = $('chat-form');
  const input = $('chat-input');
  const moved = new Map();
  let gathering;

  const add = (line) => {
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(line);
    while (log.childElementCount > LINES_MAX) log.firstElementChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
  };

  const say = ({ payload, userId }) => {
    const text = typeof payload?.text === 'string' ? payload.text.slice(0, 500) : '';
    if (!text) return;
    const user = channel.getState().users.find(({ id }) => id === userId) ?? { id: userId, name: userId };
    const now = new Date();
    add(h('div', { testid: 'message', data: { user: userId } },
      avatar(user, { small: true }),
      h('div.said', {},
        h('span.by', {}, user.name),
        h('time', { dateTime: now.toISOString() }, now.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })),
        h('div.text', {}, text))));
  };

  const gather = (kind) => (user) => {
    if (user.id === presence.userId) return;
    // Who was gone for a blink has not been gone.
    if (moved.has(user.id) && moved.get(user.id).kind !== kind) moved.delete(user.id);
    else moved.set(user.id, { kind, name: user.name });
    gathering ??= setTimeout(() => {
      gathering = undefined;
      const names = (of) => [...moved.values()].filter((move) => move.kind === of).map(({ name }) => name);
      const [came, went] = [names('join'), names('leave')];
      moved.clear();
      if (came.length) add(note(...enumerate(came), ' joined'));
      if (went.length) add(note(...enumerate(went), ' left'));
    }, GATHER_MS);
  };

  form.onsubmit = (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (!text) return;
    input.value = '';
    channel.broadcast('message', { text }).catch((error) => {
      if (!input.value) input.value = text;
      add(note(`Not sent: ${error.message}`));
    });
  };

  const stops = [
    channel.on('broadcast:message', say),
    channel.on('join', gather('join')),
    channel.on('leave', gather('leave')),
  ];
  return () => {
    for (const stop of stops) stop();
    clearTimeout(gathering);
    log.replaceChildren();
    input.value = '';
  };
}

function note(...words) {
  return h('div.event', { testid: 'event' }, h('span', {}, ...words));
}
