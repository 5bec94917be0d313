/* Who is in the room with what they are doing, and who was. The faces in the bar are `<presence-avatars>`. */

import { ago } from 'presence-client/looks';

import { isInBackground } from '../../packages/presence-elements/src/card.js';
import { $, Rows, avatar, h, icon, kindNames, statusNames } from './dom.js';

const ROWS_MAX = 200;
const LEFT_MAX = 20;
const AGO_EVERY_MS = 30_000;

export function showPeople(presence, channel) {
  const rows = new Rows();
  const gone = new Gone(presence, channel);
  let isKnown = false;
  const show = () => {
    const state = channel.getState();
    const self = presence.self;
    const hidden = self?.shown === 'offline' && state.joined && !state.users.some(({ id }) => id === presence.userId);

    isKnown ||= state.live;
    $('count').textContent = isKnown ? String(state.count) : '…';
    $('count-word').textContent = isKnown && state.count === 1 ? 'person here' : 'people here';
    $('people-mode').textContent = state.mode === 'summary' ? 'The first faces of many' : '';
    $('roster').classList.toggle('stale', !state.live);

    showRoster(rows, state, presence, channel, hidden ? self : null);
    const seen = state.users.find(({ id }) => id === presence.userId);
    if (seen) document.dispatchEvent(new CustomEvent('presence:seen-self', { detail: seen }));
  };
  const stops = [channel.subscribe(show), presence.subscribe(show), gone.watch()];
  show();
  return () => {
    for (const stop of stops) stop();
    $('roster').replaceChildren();
  };
}

/** Whom this page saw leave this room, the last first. */
class Gone {
  #presence;
  #channel;
  #rows = new Rows();
  #people = new Map();

  constructor(presence, channel) {
    this.#presence = presence;
    this.#channel = channel;
    this.#show();
  }

  /** Returns what ends it. */
  watch() {
    const stops = [
      this.#channel.on('leave', (user) => {
        if (user.id === this.#presence.userId) return;
        this.#people.delete(user.id);
        this.#people.set(user.id, { user, at: this.#presence.now() });
        while (this.#people.size > LEFT_MAX) this.#people.delete(this.#people.keys().next().value);
        this.#show();
      }),
      this.#channel.on('join', ({ id }) => this.#people.delete(id) && this.#show()),
    ];
    const clock = setInterval(() => this.#show(), AGO_EVERY_MS);
    return () => {
      for (const stop of stops) stop();
      clearInterval(clock);
      this.#people.clear();
      this.#show();
    };
  }

  #show() {
    $('left').hidden = !this.#people.size;
    const now = this.#presence.now();
    this.#rows.render($('left-list'), [...this.#people.values()].reverse(), {
      key: ({ user }) => user.id,
      parts: ({ user, at }) => [user.name, user.avatar, ago(at, now)],
      make: ({ user, at }) => h('li', {}, card(this.#channel, user, h('div.person', { testid: `left-${user.id}` },
        avatar(user, { status: 'offline' }),
        h('div.about', {}, h('div.line', {}, h('bdi.name', {}, user.name)), h('div.doing', {}, `Left ${ago(at, now)}`))))),
    });
  }
}

/** `content` with a card about `user`, whom it also knows when they have gone. */
function card(channel, user, content) {
  const element = document.createElement('presence-card');
  element.setAttribute('user-id', user.id);
  element.setAttribute('name', user.name);
  element.setAttribute('channel', channel.id);
  element.person = { color: user.color, avatar: user.avatar, metas: user.metas };
  element.append(content);
  return element;
}

function showRoster(rows, { users, count, typing, joined, live, error }, presence, channel, hiddenSelf) {
  const types = new Set(typing);
  const listed = users.slice(0, ROWS_MAX);
  const isYou = ({ id }) => id === presence.userId;
  const items = [
    ...(hiddenSelf ? [{ self: hiddenSelf }] : []),
    // The others in the order they came; you are easier to find at the top.
    ...[...listed.filter(isYou), ...listed.filter((user) => !isYou(user))].map((user) => ({ user, types: types.has(user.id), you: isYou(user) })),
    ...(count > listed.length ? [{ note: `and ${count - listed.length} more` }] : []),
    ...(count === 0 && !hiddenSelf && live && joined ? [{ note: 'Nobody yet' }] : []),
    ...(count === 0 && !live && !error ? [{ note: presence.connection.status === 'closed' ? 'Not connected' : 'Looking who is here…' }] : []),
    ...(error && !joined ? [{ note: 'You cannot see who is here.' }] : []),
  ];
  rows.render($('roster'), items, {
    key: ({ user, self }) => (user ? `user ${user.id}` : self ? 'self' : 'note'),
    parts: (item) => item,
    make: ({ user, types, you, self, note }) => (user ? person(channel, user, types, you) : self ? hiddenRow(self) : h('li.rest', {}, note)),
  });
}

function person(channel, user, types, you) {
  const kinds = [...new Set(user.metas.map(({ device }) => device))];
  const doing = [user.emoji, user.customMessage].filter(Boolean).join(' ');
  const where = isInBackground(user) ? ' · in the background' : '';
  return h('li', { testid: `person-${user.id}`, data: { status: user.status } }, card(channel, user, h('div.person', {},
    avatar(user, { status: user.status }),
    h('div.about', {},
      h('div.line', {},
        h('bdi.name', { testid: 'person-name', title: user.id }, user.name),
        you && h('span.tag', { testid: 'person-you' }, 'you'),
        user.metas.length > 1 && h('span.tag', { testid: 'person-tabs' }, `${user.metas.length} tabs`)),
      types
        ? h('div.doing', { testid: 'person-typing' }, 'typing ', dots())
        : doing
          ? h('div.doing', { testid: 'person-doing', title: doing }, `${doing}${where}`)
          : h('div.doing', { ariaHidden: 'true' }, `${statusNames[user.status]}${where}`),
      h('span.visually-hidden', { testid: 'person-status' }, `${statusNames[user.status]}${where}`)),
    h('div.kinds', {}, kinds.map((kind) => h('span', { title: kindNames[kind] ?? kind }, icon(kind)))))));
}

function hiddenRow(self) {
  return h('li.person.hidden-self', { testid: 'self-row' },
    avatar({ name: '👻' }),
    h('div.about', {},
      h('div.line', {}, h('span.name', {}, 'Only you see this'), h('span.tag', {}, 'invisible')),
      h('div.doing', {}, [self.emoji, self.customMessage].filter(Boolean).join(' ') || 'For others you are not here')));
}

function dots() {
  return h('span.dots', { ariaHidden: 'true' }, h('i'), h('i'), h('i'));
}

