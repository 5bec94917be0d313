// Hooks and components in a page, with StrictMode, rendered on a server, and while much is going on.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

import { Socket, frame, member, settle } from './stage.mjs';

const { StrictMode, act, createElement: h } = await import('react');
const { createRoot, hydrateRoot } = await import('react-dom/client');
const { renderToString } = await import('react-dom/server');
const {
  AvatarStack, Cursors, HoverCard, PresenceProvider, StatusDot, StatusPicker, TypingLine, useConnection, useCount, useCursors, useOthers, useRoom, useSelf,
  useStatus, useTyping,
} = await import('presence-react');

const gateway = { url: 'ws://gateway/ws', userId: 'ann', deviceId: 'web:t', WebSocket: Socket, channel: 'room:1' };
const within = (props, ...children) => h(PresenceProvider, { ...gateway, ...props }, ...children);

/** Puts `element` on a page of its own. */
async function shows(element, options) {
  const place = document.createElement('div');
  document.body.append(place);
  const root = createRoot(place, options);
  const renders = async (next) => act(async () => {
    root.render(next);
    await settle();
  });
  await renders(element);
  return { place, renders, gone: () => act(async () => { root.unmount(); await settle(); }) };
}

/** Something that the gateway says. */
const says = (then) => act(async () => { then(Socket.latest); await settle(); });

/** A component that shows what `use` gives, and counts how often it is rendered. */
function counted(use) {
  const Shown = () => {
    Shown.renders += 1;
    const value = use();
    Shown.values.push(value);
    return h('i', null, JSON.stringify(value) ?? '');
  };
  return Object.assign(Shown, { renders: 0, values: [] });
}

/** What React complains about. */
const complaints = [];

beforeEach(() => {
  Socket.reset();
  complaints.length = 0;
  mock.method(console, 'error', (...words) => complaints.push(words.join(' ')));
});

afterEach(() => {
  mock.restoreAll();
  assert.deepEqual(complaints, [], 'what React complained about');
});

test('a room is shown, and left when its component goes', async () => {
  const Count = counted(() => useCount());
  const { place, gone } = await shows(within({ meta: { role: 'editor' } }, h(Count)));
  assert.equal(place.textContent, '3');
  await gone();
  assert.deepEqual(Socket.told, ['join room:1 {"role":"editor"}', 'leave room:1', 'leave']);
  assert.equal(Socket.latest.closed, 1000, 'the provider closes the client that it made');
});

test('StrictMode mounts twice and joins once', async () => {
  const Count = counted(() => useCount());
  const { place, gone } = await shows(h(StrictMode, null, within({}, h(Count), h(Count))));
  assert.equal(place.textContent, '33');
  assert.equal(Socket.all.length, 1);
  assert.deepEqual(Socket.told, ['join room:1 {}']);
  await gone();
  assert.equal(Socket.all.length, 1);
  assert.equal(Socket.latest.closed, 1000);
});

test('two components in one room leave when both are gone', async () => {
  const [First, Second] = [counted(() => useCount()), counted(() => useOthers())];
  const client = await clientOf();
  const { renders, gone } = await shows(h(PresenceProvider, { client, channel: 'room:1' }, h(First), h(Second)));
  await renders(h(PresenceProvider, { client, channel: 'room:1' }, h(Second)));
  await renders(h(PresenceProvider, { client, channel: 'room:1' }, h(First)));
  assert.deepEqual(Socket.told, ['join room:1 {}']);
  await renders(h(PresenceProvider, { client, channel: 'room:1' }));
  assert.deepEqual(Socket.told, ['join room:1 {}', 'leave room:1']);
  await gone();
  assert.equal(Socket.latest.closed, null, 'a client that was given stays open');
  client.close();
});

test('a component that goes during its join leaves no ghost', async () => {
  const client = await clientOf();
  const Count = counted(() => useCount());
  Socket.silent.add('join');
  const { gone } = await shows(h(PresenceProvider, { client, channel: 'room:1' }, h(Count)));
  assert.deepEqual(Socket.told, ['join room:1 {}']);
  await gone();
  assert.deepEqual(Socket.told, ['join room:1 {}', 'leave room:1']);
  client.close();
});

test('a component that goes before there is a connection was never there', async () => {
  Socket.silent.add('hello');
  const client = await clientOf();
  const { gone } = await shows(h(PresenceProvider, { client, channel: 'room:1' }, h(counted(() => useCount()))));
  await gone();
  Socket.latest.hello();
  await settle();
  assert.deepEqual(Socket.told, []);
  client.close();
});

test('while 50 cursors move a count is not rendered, and cursors once a frame', async () => {
  Socket.others = Array.from({ length: 50 }, (_, at) => member(`user-${at}`));
  const Count = counted(() => useCount());
  const Names = counted(() => useOthers((others) => others.map(({ name }) => name)));
  const Pointers = counted(() => useCursors().cursors.length);
  const { gone } = await shows(within({}, h(Count), h(Names), h(Pointers)));
  const before = [Count.renders, Names.renders, Pointers.renders];
  let frames = 0;
  for (let tick = 0; tick < 200; tick += 1) {
    await act(async () => {
      const cursors = Socket.others.map(({ id }) => ({ session: `s-${id}`, user_id: id, x: tick / 200, y: 0.5, visible: true }));
      Socket.latest.says({ type: 'presence:cursors', channel: 'room:1', cursors, gone: [] });
      if (tick % 4 === 3) {
        frame();
        frames += 1;
      }
    });
  }
  assert.deepEqual([Count.renders, Names.renders], before.slice(0, 2), 'not once more');
  assert.ok(Pointers.renders - before[2] <= frames, `${Pointers.renders - before[2]} times in ${frames} frames`);
  assert.equal(Pointers.values.at(-1), 50);
  await gone();
});

test('a selector that makes a new object every time renders only when something in it is new', async () => {
  const Statuses = counted(() => useOthers((others) => others.map(({ id, status }) => ({ id, status }))));
  const { gone } = await shows(within({}, h(Statuses)));
  const [before, last] = [Statuses.renders, Statuses.values.at(-1)];
  await says((socket) => socket.updated('room:1', member('bob', { custom_message: 'Lunch' })));
  assert.equal(Statuses.renders, before, 'a message is not selected');
  await says((socket) => socket.updated('room:1', member('bob', { status: 'away' })));
  assert.equal(Statuses.renders, before + 1);
  const next = Statuses.values.at(-1);
  assert.deepEqual(next[0], { id: 'bob', status: 'away' });
  assert.equal(next[1], last[1], 'eve is the same object');
  await gone();
});

test('a meta that is written in place is told once', async () => {
  const In = ({ role }) => {
    useRoom('room:1', { meta: { role } });
    return null;
  };
  const { renders, gone } = await shows(within({}, h(In, { role: 'editor' })));
  await renders(within({}, h(In, { role: 'editor' })));
  assert.deepEqual(Socket.told, ['join room:1 {"role":"editor"}']);
  await renders(within({}, h(In, { role: 'viewer' })));
  assert.deepEqual(Socket.told, ['join room:1 {"role":"editor"}', 'update room:1 {"role":"viewer"}']);
  await gone();
});

test('who signs in as somebody else is somebody else', async () => {
  const Self = counted(() => useOthers((others) => others.map(({ id }) => id)));
  const { renders, gone } = await shows(within({ userId: 'ann' }, h(Self)));
  await renders(within({ userId: 'bob' }, h(Self)));
  assert.deepEqual(Socket.all.map(({ user, closed }) => [user, closed]), [['ann', 1000], ['bob', null]]);
  assert.deepEqual(Self.values.at(-1), ['eve']);
  await gone();
});

test('a room within a room uses the same connection', async () => {
  const Count = counted(() => useCount());
  const { gone } = await shows(within({}, h(Count), h(PresenceProvider, { channel: 'room:2' }, h(Count))));
  assert.equal(Socket.all.length, 1);
  assert.deepEqual(Socket.told, ['join room:1 {}', 'join room:2 {}']);
  await gone();
});

test('what a server renders is taken over without a complaint, and becomes what is there', async () => {
  const All = () => {
    const count = useCount();
    const { status } = useConnection();
    return h('main', null, h('b', null, count), ` ${status} `, h(AvatarStack), h(TypingLine), h(StatusDot, { userId: 'bob' }), h(StatusPicker),
      h(HoverCard, { userId: 'bob' }, 'Bob'), h(Cursors, null, 'a board'), String(useSelf()?.status ?? 'nobody'));
  };
  const html = renderToString(h(StrictMode, null, within({}, h(All))));
  assert.match(html, /<b>0<\/b>/);
  assert.match(html, /connecting/);
  assert.deepEqual(Socket.all, [], 'nothing connects while a server renders');

  const place = document.createElement('div');
  document.body.append(place);
  place.innerHTML = html;
  const recovered = [];
  let root;
  await act(async () => {
    root = hydrateRoot(place, h(StrictMode, null, within({}, h(All))), { onRecoverableError: (error) => recovered.push(error.message) });
    await settle();
  });
  assert.deepEqual(recovered, []);
  assert.equal(place.querySelector('b').textContent, '3');
  assert.equal(Socket.all.length, 1);
  await act(async () => { root.unmount(); await settle(); });
});

test('who types is said in words, and keys are sent at their pace', async () => {
  const Field = () => {
    const { typing } = useTyping();
    return h('input', { onInput: typing, onBlur: () => typing(false) });
  };
  const { place, gone } = await shows(within({}, h(Field), h(TypingLine)));
  const line = place.querySelector('.presence-typing');
  assert.equal(line.getAttribute('role'), 'status', 'it is read out');
  for (const [users, words] of [[['bob'], 'bob is typing'], [['bob', 'eve'], 'bob and eve are typing'], [['a', 'b', 'c', 'd'], '4 people are typing'], [[], '']]) {
    await says((socket) => socket.says({ type: 'presence:typing', channel: 'room:1', users }));
    assert.equal(line.textContent, words);
  }
  await act(async () => {
    for (let key = 0; key < 5; key += 1) place.querySelector('input').dispatchEvent(new window.Event('input', { bubbles: true }));
  });
  assert.deepEqual(Socket.latest.heard.filter(({ type }) => type === 'presence:typing').map(({ typing }) => typing), [true]);
  await gone();
});

test('one person is followed by whoever shows them, and no longer', async () => {
  const Status = counted(() => useStatus('bob').status);
  const { renders, gone } = await shows(within({}, h(Status), h(StatusDot, { userId: 'bob' })));
  assert.deepEqual(Socket.told, ['watch bob']);
  await says((socket) => socket.says({ type: 'presence:status', epoch: 'e', version: 1, user_id: 'bob', status: 'busy', devices: ['web'] }));
  assert.equal(Status.values.at(-1), 'busy');
  await renders(within({}, h(StatusDot, { userId: 'bob' })));
  assert.equal(document.querySelector('.presence-dot[data-status="busy"]')?.getAttribute('aria-label'), 'Busy');
  assert.equal(Socket.latest.heard.filter(({ type }) => type === 'presence:unwatch').length, 0);
  await renders(within({}));
  assert.equal(Socket.latest.heard.filter(({ type }) => type === 'presence:unwatch').length, 1);
  await gone();
});

test('a card opens for the pointer and for the keyboard, and Escape closes it', async () => {
  const { place, gone } = await shows(within({}, h(HoverCard, { userId: 'bob', name: 'Bob' }, 'B')));
  const person = place.querySelector('.presence-person');
  await act(async () => { person.focus(); await settle(); });
  await says((socket) => socket.says({ type: 'presence:status', epoch: 'e', version: 1, user_id: 'bob', status: 'offline', last_seen: Date.now() - 3.5 * 60_000, devices: [] }));
  const card = place.querySelector('[role=tooltip]');
  assert.equal(person.getAttribute('aria-describedby'), card.id);
  assert.match(card.textContent, /^BobOffline, last seen 3 min ago$/);
  await act(async () => { document.dispatchEvent(new window.KeyboardEvent('keydown', { key: 'Escape' })); await settle(); });
  assert.equal(place.querySelector('[role=tooltip]'), null);
  await gone();
});

test('faces are counted beyond those that are shown', async () => {
  Socket.others = Array.from({ length: 8 }, (_, at) => member(`user-${at}`, { name: `User ${at}` }));
  const { place, gone } = await shows(within({}, h(AvatarStack, { max: 3 })));
  assert.deepEqual([...place.querySelectorAll('li')].map((face) => face.textContent), ['U0', 'U1', 'U2', '+6']);
  assert.equal(place.querySelector('[role=img]').getAttribute('aria-label'), 'User 0, Online');
  await gone();
});

test('a hook without a room or a provider says what is missing', () => {
  const Count = () => useCount();
  assert.throws(() => renderToString(h(Count)), /there is no <PresenceProvider>/);
  assert.throws(() => renderToString(within({ channel: undefined }, h(Count))), /which room\?/);
});

test('200 mounts leave nothing behind', async () => {
  const { setFlagsFromString } = await import('node:v8');
  const { runInNewContext } = await import('node:vm');
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc');
  const made = [];
  class Counted extends Socket {
    constructor(url) {
      super(url);
      made.push(new WeakRef(this));
    }
  }
  for (let mount = 0; mount < 200; mount += 1) {
    const { place, gone } = await shows(within({ WebSocket: Counted }, h(AvatarStack), h(TypingLine)));
    await gone();
    place.remove();
  }
  Socket.reset();
  let left;
  for (let round = 0; round < 50; round += 1) {
    await settle();
    collect();
    left = made.filter((socket) => socket.deref()).length;
    if (left <= 5) break;
  }
  assert.equal(made.length, 200);
  assert.ok(left <= 5, `${left} of 200 connections are still held`);
});

/** A client that an app made itself. */
async function clientOf() {
  const { connect } = await import('presence-client');
  const client = connect({ url: gateway.url, userId: 'ann', deviceId: 'web:t', WebSocket: Socket });
  await settle();
  return client;
}
