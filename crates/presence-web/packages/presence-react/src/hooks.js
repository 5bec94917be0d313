/* What components ask for. */

import { useCallback, useEffect, useMemo } from 'react';
import { connect } from 'presence-client';

import { perFrame } from './frames.js';
import { useScope } from './provider.js';
import { useSelected, useShared } from './selecting.js';

/** What is shown before there is a connection: on a server, and at the first render of a page. */
const nobody = connect({ WebSocket: null });
const EMPTY_CLIENT = nobody.getState();
const EMPTY_ROOM = nobody.channel('').getState();

const itself = (value) => value;

/** The room called `channel`, or that of the provider: in it while the component is mounted. The object does not change. */
export function useRoom(channel, { meta, mode } = {}) {
  const scope = useScope();
  const id = channel ?? scope.channel;
  if (!id) throw new Error('which room? Give the hook a channel, or the <PresenceProvider> one');
  const room = scope.presence.channel(id);
  const shared = useShared(meta ?? (id === scope.channel ? scope.meta : undefined));
  useEffect(() => room.enter({ meta: shared, mode }), [room, shared, mode]);
  return room;
}

/** What `select` makes of the state of a room. */
export function useRoomState(select = itself, channel) {
  return useSelected(useRoom(channel), select, EMPTY_ROOM);
}

/** What `select` makes of the others in a room: a list of people in the order they came. */
export function useOthers(select = itself, channel) {
  const { presence } = useScope();
  const others = useCallback(({ users }) => select(users.filter(({ id }) => id !== presence.userId)), [presence, select]);
  return useSelected(useRoom(channel), others, EMPTY_ROOM);
}

/** What `select` makes of the truth about yourself; that is `null` before the first connection. */
export function useSelf(select = itself) {
  const self = useCallback((state) => select(state.self), [select]);
  return useSelected(useScope().presence, self, EMPTY_CLIENT);
}

/** How many people are in a room. */
export function useCount(channel) {
  return useRoomState(countOf, channel);
}

/** Who is typing in a room, and what to call at every key. */
export function useTyping(channel) {
  const room = useRoom(channel);
  const users = useSelected(room, typists, EMPTY_ROOM);
  const typing = useCallback((active) => room.typing(active !== false), [room]);
  return useMemo(() => ({ users, typing }), [users, typing]);
}

/** Who points where in a room, told at most once a frame, and what to call when you point. */
export function useCursors(channel) {
  const room = useRoom(channel);
  const cursors = useSelected(perFrame(room), pointers, EMPTY_ROOM);
  const point = useCallback((x, y) => room.cursor(x, y), [room]);
  return useMemo(() => ({ cursors, point }), [cursors, point]);
}

/** What others may see of one person, wherever they are. */
export function useStatus(userId) {
  const user = useScope().presence.user(userId);
  useEffect(() => user.follow(), [user]);
  const empty = useMemo(() => ({ userId, status: null, devices: [] }), [userId]);
  return useSelected(user, itself, empty);
}

/** Where the connection stands. */
export function useConnection() {
  return useSelected(useScope().presence, connectionOf, EMPTY_CLIENT);
}

function countOf({ count }) {
  return count;
}

function connectionOf({ connection }) {
  return connection;
}

/** In a big room not everybody is listed: who is not goes by their id. */
function typists({ typing, users }) {
  return typing.map((id) => users.find((user) => user.id === id) ?? { id, name: id });
}

function pointers({ cursors, users }) {
  const people = new Map(users.map((user) => [user.id, user]));
  return [...cursors.values()].filter(({ visible }) => visible).map((cursor) => {
    const { name = cursor.userId, color } = people.get(cursor.userId) ?? {};
    return { ...cursor, name, color };
  });
}
