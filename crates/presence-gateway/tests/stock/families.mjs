/*
 * The families of clients, each in the same few words: `enter(t, at, user)` connects, enters the room, and returns
 * `users()` who it sees, `names()` as whom, `typists()` who types, `story()` who came and went since, and `type()`,
 * `rename(name)`, `leave()`, `hide()` and `show()`.
 */

import { createCable } from '@anycable/core';
import ActionCable from '@rails/actioncable';
import { Presence, Socket } from 'phoenix';
import Server from 'pusher';
import Pusher from 'pusher-js';

import { BrowserSocket, eventually, native } from './harness.mjs';

const APP = { id: '3', key: 'key-of-3', secret: '7ad3773142a6692b25b8' };

/** The settings of a gateway that all families can talk to. */
export const EVERY_FAMILY = {
  PRESENCE_PUSHER_APP_ID: APP.id,
  PRESENCE_PUSHER_KEY: APP.key,
  PRESENCE_PUSHER_SECRET: APP.secret,
};

// What a browser has and the client of Rails asks for. Coming back to a tab makes it look at its connection at once.
const tabs = new Set();
globalThis.addEventListener = (name, listener) => name === 'visibilitychange' && tabs.add(listener);
globalThis.removeEventListener = (name, listener) => tabs.delete(listener);
globalThis.document = { visibilityState: 'visible' };
ActionCable.adapters.WebSocket = BrowserSocket;
ActionCable.adapters.logger = { log() {} };

/** Lets clients look whether they are still connected that do not by themselves for a while. */
export const comeBackToTheTabs = () => {
  tabs.forEach((listener) => listener());
  // What a browser says when its network is back. Without it, the client of Pusher waits 15 s after an attempt that failed.
  Pusher.Runtime.getNetwork().emit('online');
};

const query = (user) => `user_id=${user}&name=${user}`;

const nativePage = {
  name: 'native',
  async enter(t, at, user) {
    const presence = native(t, at, { userId: user, name: user });
    const channel = presence.channel('room:1');
    const story = [];
    channel.on('join', ({ id }) => story.push(`${id} came`));
    channel.on('leave', ({ id }) => story.push(`${id} went`));
    await channel.join();
    return {
      users: () => channel.getState().users.map(({ id }) => id).sort(),
      names: () => Object.fromEntries(channel.getState().users.map(({ id, name }) => [id, name])),
      typists: () => [...channel.getState().typing],
      story: () => story,
      type: () => channel.typing(),
      rename: (name) => channel.update({ name }),
      leave: () => channel.leave(),
      hide: () => presence.setStatus({ status: 'invisible' }),
      show: () => presence.setStatus({ status: 'online' }),
    };
  },
};

export const phoenixPage = {
  name: 'Phoenix',
  async enter(t, { address }, user) {
    const socket = new Socket(`ws://${address}/socket`, { transport: BrowserSocket, params: { user_id: user, name: user }, rejoinAfterMs: () => 100 });
    t.after(() => socket.disconnect());
    socket.connect();
    const answer = (push) => new Promise((resolve, reject) => {
      push.receive('ok', resolve);
      for (const status of ['error', 'timeout']) push.receive(status, (why) => reject(new Error(`${status}: ${JSON.stringify(why)}`)));
    });
    const channel = socket.channel('room:1');
    const presence = new Presence(channel);
    const story = [];
    presence.onJoin((id, known) => known || story.push(`${id} came`));
    presence.onLeave((id, left) => left.metas.length || story.push(`${id} went`));
    let typists = [];
    channel.on('typing', ({ users }) => { typists = users; });
    await answer(channel.join());
    const me = socket.channel(`presence:${user}`);
    await answer(me.join());
    return {
      users: () => presence.list((id) => id).sort(),
      names: () => Object.fromEntries(presence.list((id, { user: { name } }) => [id, name])),
      typists: () => typists,
      story: () => story,
      type: () => answer(channel.push('typing_start', {})),
      rename: (name) => answer(channel.push('update_meta', { name })),
      tell: (event) => answer(channel.push(event, {})),
      leave: () => answer(channel.leave()),
      hide: () => answer(me.push('set_status', { status: 'invisible' })),
      show: () => answer(me.push('set_status', { status: 'online' })),
    };
  },
};

/** What the messages of a room say, to either client of Action Cable. */
function cableRoom(messages) {
  const words = { user_joined: 'came', user_left: 'went' };
  const last = (type) => messages.filter((it) => it.type === type).at(-1)?.users ?? [];
  return {
    users: () => last('presence_update').map(({ id }) => id).sort(),
    names: () => Object.fromEntries(last('presence_update').map(({ id, name }) => [id, name])),
    typists: () => last('typing'),
    story: () => messages.filter((it) => words[it.action]).map((it) => `${it.user.id} ${words[it.action]}`),
  };
}

const railsPage = {
  name: 'Rails',
  async enter(t, { address }, user) {
    const consumer = ActionCable.createConsumer(`ws://${address}/cable?${query(user)}`);
    t.after(() => consumer.disconnect());
    const subscribe = async (params, messages = []) => {
      let isConnected = false;
      const subscription = consumer.subscriptions.create(params, {
        connected: () => { isConnected = true; },
        received: (message) => messages.push(message),
      });
      await eventually(`${JSON.stringify(params)} is confirmed`, () => isConnected, true);
      return subscription;
    };
    const messages = [];
    const room = await subscribe({ channel: 'PresenceChannel', room_id: 1, events: true }, messages);
    const own = await subscribe({ channel: 'AppearanceChannel' });
    return {
      ...cableRoom(messages),
      type: () => room.perform('typing_start'),
      rename: (name) => room.perform('update', { meta: { name } }),
      leave: () => room.unsubscribe(),
      hide: () => own.perform('set_status', { status: 'invisible' }),
      show: () => own.perform('set_status', { status: 'online' }),
    };
  },
};

const anycablePage = {
  name: 'AnyCable',
  async enter(t, { address }, user) {
    const cable = createCable(`ws://${address}/cable?${query(user)}`, {
      protocol: 'actioncable-v1-ext-json',
      websocketImplementation: BrowserSocket,
      reconnectStrategy: () => 100,
      logLevel: 'error',
    });
    t.after(() => cable.disconnect());
    const room = cable.subscribeTo('PresenceChannel', { room_id: 1, events: true });
    const messages = [];
    room.on('message', (message) => messages.push(message));
    const own = cable.subscribeTo('AppearanceChannel', {});
    await Promise.all([room.ensureSubscribed(), own.ensureSubscribed()]);
    return {
      ...cableRoom(messages),
      type: () => room.perform('typing_start'),
      rename: (name) => room.perform('update', { meta: { name } }),
      leave: () => room.disconnect(),
      hide: () => own.perform('set_status', { status: 'invisible' }),
      show: () => own.perform('set_status', { status: 'online' }),
    };
  },
};

export const pusherPage = {
  name: 'Pusher',
  async enter(t, { address }, user) {
    const [host, port] = address.split(':');
    const server = applicationAt({ address });
    const pusher = new Pusher(APP.key, {
      cluster: '',
      wsHost: host,
      wsPort: port,
      forceTLS: false,
      enabledTransports: ['ws'],
      channelAuthorization: {
        customHandler: ({ socketId, channelName }, callback) =>
          callback(null, server.authorizeChannel(socketId, channelName, { user_id: user, user_info: { name: user } })),
      },
    });
    t.after(() => pusher.disconnect());
    const channel = pusher.subscribe('presence-room;1');
    const story = [];
    channel.bind('pusher:member_added', ({ id }) => story.push(`${id} came`));
    channel.bind('pusher:member_removed', ({ id }) => story.push(`${id} went`));
    const heard = [];
    channel.bind_global((event) => event.startsWith('pusher') || heard.push(event));
    const typists = new Set();
    channel.bind('client-typing', ({ typing }, { user_id: id }) => (typing ? typists.add(id) : typists.delete(id)));
    await eventually(`${user} is subscribed`, () => channel.subscribed, true);
    // Pusher's protocol has no word for a status: a page has its server say that.
    const choose = async (status) => {
      const answer = await fetch(`http://${address}/api/presence/users/${user}/status?user_id=${user}`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ status }),
      });
      if (!answer.ok) throw new Error(await answer.text());
    };
    return {
      users: () => Object.keys(channel.members.members).sort(),
      names: () => Object.fromEntries(Object.entries(channel.members.members).map(([id, { name }]) => [id, name])),
      typists: () => [...typists],
      /** Every event that somebody else told, by its name here. */
      heard: () => heard,
      story: () => story,
      type: () => channel.trigger('client-typing', { typing: true }),
      rename(name) {
        const signed = server.authorizeChannel(pusher.connection.socket_id, channel.name, { user_id: user, user_info: { name } });
        pusher.send_event('pusher:subscribe', { channel: channel.name, ...signed });
      },
      leave: () => pusher.unsubscribe('presence-room;1'),
      hide: () => choose('invisible'),
      show: () => choose('online'),
      /** Of the connection. */
      state: () => pusher.connection.state,
    };
  },
};

/** The server library of the application, which speaks to one gateway. */
export function applicationAt({ address }) {
  const [host, port] = address.split(':');
  return new Server({ appId: APP.id, key: APP.key, secret: APP.secret, host, port, useTLS: false });
}

/** Two pages of each family: eight clients. */
export const EIGHT_PAGES = [nativePage, phoenixPage, railsPage, pusherPage, anycablePage, pusherPage, phoenixPage, nativePage];
/** One page of each family. */
export const FAMILIES = [nativePage, phoenixPage, railsPage, anycablePage, pusherPage];
