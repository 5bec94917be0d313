/* Who is in the room: the faces in the bar, and the list with what they are doing. */

import { $, Rows, avatar, h, icon, kindNames, statusNames } from './dom.js';

const FACES_MAX = 6;
const ROWS_MAX = 200;

export function showPeople(presence, channel) {
  const rows = new Rows();
  const faces = new Rows();
  const show = () => {
    const state = channel.getState();
    const self = presence.self;
    const hidden = self?.shown === 'offline' && state.joined && !state.users.some(({ id }) => id === presence.userId);

    $('count').textContent = String(state.count);
    $('count-word').textContent = state.count === 1 ? 'person here' : 'people here';
    $('people-mode').textContent = state.mode === 'summary' ? 'The first faces of many' : '';
    for (const list of [$('roster'), $('avatar-stack'), $('cursors')]) list.classList.toggle('stale', !state.live);

    showFaces(faces, state);
    showRoster(rows, state, presence, hidden ? self : null);
    const seen = state.users.find(({ id }) => id === presence.userId);
    if (seen) document.dispatchEvent(new CustomEvent('presence:seen-self', { detail: seen }));
  };
  const stops = [channel.subscribe(show), presence.subscribe(show)];
  show();
  return () => {
    for (const stop of stops) stop();
    $('roster').replaceChildren();
    $('avatar-stack').replaceChildren();
  };
}

function showFaces(faces, { users, count }) {
  const shown = users.slice(0, FACES_MAX);
  const more = count - shown.length;
  faces.render($('avatar-stack'), more > 0 ? [...shown, { id: '+', more }] : shown, {
    key: (user) => (user.more ? '+' : `user ${user.id}`),
    parts: (user) => user.more ?? [user.name, user.color, user.avatar, user.status],
    make: (user) => (user.more
      ? h('li', {}, h('span.more', { testid: 'stack-more', ariaLabel: `and ${user.more} more`, data: user.more > 99 ? { wide: '' } : {} }, `+${user.more}`))
      : h('li', { title: `${user.name} · ${statusNames[user.status]}`, testid: `face-${user.id}` },
        avatar(user, { status: user.status }), h('span.visually-hidden', {}, `${user.name}, ${statusNames[user.status]}`))),
  });
}

function showRoster(rows, { users, count, typing, joined, live }, presence, hiddenSelf) {
  const types = new Set(typing);
  const listed = users.slice(0, ROWS_MAX);
  const isYou = ({ id }) => id === presence.userId;
  const items = [
    ...(hiddenSelf ? [{ self: hiddenSelf }] : []),
    // The others in the order they came; you are easier to find at the top.
    ...[...listed.filter(isYou), ...listed.filter((user) => !isYou(user))].map((user) => ({ user, types: types.has(user.id), you: isYou(user) })),
    ...(count > listed.length ? [{ note: `and ${count - listed.length} more` }] : []),
    ...(count === 0 && !hiddenSelf && live && joined ? [{ note: 'Nobody yet' }] : []),
  ];
  rows.render($('roster'), items, {
    key: ({ user, self }) => (user ? `user ${user.id}` : self ? 'self' : 'note'),
    parts: (item) => item,
    make: ({ user, types, you, self, note }) => (user ? person(user, types, you) : self ? hiddenRow(self) : h('li.rest', {}, note)),
  });
}

function person(user, types, you) {
  const kinds = [...new Set(user.metas.map(({ device }) => device))];
  const doing = [user.emoji, user.customMessage].filter(Boolean).join(' ');
  return h('li.person', { testid: `person-${user.id}`, data: { status: user.status } },
    avatar(user, { status: user.status }),
    h('div.about', {},
      h('div.line', {},
        h('span.name', { testid: 'person-name', title: user.id }, user.name),
        you && h('span.tag', { testid: 'person-you' }, 'you'),
        user.metas.length > 1 && h('span.tag', { testid: 'person-tabs' }, `${user.metas.length} tabs`)),
      types
        ? h('div.doing', { testid: 'person-typing' }, 'typing ', dots())
        : doing
          ? h('div.doing', { testid: 'person-doing', title: doing }, doing)
          : h('div.doing', { ariaHidden: 'true' }, statusNames[user.status]),
      h('span.visually-hidden', {}, statusNames[user.status])),
    h('div.kinds', {}, kinds.map((kind) => h('span', { title: kindNames[kind] ?? kind }, icon(kind)))));
}

function hiddenRow(self) {
  return h('li.person.hidden-self', { testid: 'self-row' },
    avatar({ name: '👻' }),
    h('div.about', {},
      h('div.line', {}, h('span.name', {}, 'Only you see this'), h('span.tag', {}, 'invisible')),
      h('div.doing', {}, [self.emoji, self.customMessage].filter(Boolean).join(' ') || 'For others you are not here')));
}

export function dots() {
  return h('span.dots', { ariaHidden: 'true' }, h('i'), h('i'), h('i'));
}

