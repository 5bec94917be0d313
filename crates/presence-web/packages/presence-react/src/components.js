/* Ready to show: who is here, who types, who points where. Classes and variables are theirs to be styled by. */

import { createElement as h, useCallback } from 'react';

import { initials, paint, says, statusNames } from 'presence-client/looks';
import { useConnection, useCursors, useRoomState, useSelf, useStatus, useTyping } from './hooks.js';
import { usePresence } from './provider.js';

const GREY = '#4b5563';

/** The faces of who is here: `max` of them, and how many more there are. */
export function AvatarStack({ channel, max = 5, size = 32, ...rest }) {
  const select = useCallback(({ users, count }) => ({ users: users.slice(0, max), more: count - Math.min(max, users.length) }), [max]);
  const { users, more } = useRoomState(select, channel);
  return h('ul', styled('avatars', { 'aria-label': 'People here', ...rest }, styles.stack),
    users.map((user) => h('li', { key: user.id, style: styles.place }, h(Avatar, { user, size }))),
    more > 0 && h('li', { key: '+', style: styles.place },
      h('span', { className: 'presence-more', style: { ...styles.face, ...sized(size) } }, `+${more}`)));
}

/** One face: a picture, or initials on the person's colour. */
export function Avatar({ user, size = 32, ...rest }) {
  const { name, color = GREY, avatar, status } = user;
  const label = status ? `${name}, ${statusNames[status]}` : name;
  const look = { ...styles.face, ...sized(size), ...paint(color), opacity: status === 'offline' ? 0.5 : 1 };
  return h('span', styled('avatar', { role: 'img', 'aria-label': label, title: label, ...rest }, look),
    avatar ? h('img', { src: avatar, alt: '', referrerPolicy: 'no-referrer', style: styles.picture }) : initials(name));
}

/** An area in which everybody sees where the others point. */
export function Cursors({ channel, children, ...rest }) {
  const { cursors, point } = useCursors(channel);
  const move = (event) => {
    rest.onPointerMove?.(event);
    const area = event.currentTarget.getBoundingClientRect();
    point((event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height);
  };
  const leave = (event) => {
    rest.onPointerLeave?.(event);
    point(null);
  };
  return h('div', styled('cursors', { ...rest, onPointerMove: move, onPointerLeave: leave }, styles.area),
    children,
    cursors.map(({ session, x, y, name, color = GREY }) => h('span', {
      key: session, 'aria-hidden': true, className: 'presence-cursor',
      style: { ...styles.cursor, left: `${inside(x)}%`, top: `${inside(y)}%` },
    },
    h('svg', { width: 14, height: 18 }, h('path', { d: 'M1 1v14l4-4 3 6 2-1-3-6h6z', style: { fill: paint(color).background }, stroke: '#fff' })),
    h('span', { className: 'presence-cursor-name', style: { ...styles.label, ...paint(color) } }, name))));
}

/** "Bob is typing", or nothing. It is read out. */
export function TypingLine({ channel, ...rest }) {
  const { users } = useTyping(channel);
  return h('p', styled('typing', { role: 'status', ...rest }, styles.line), says(users.map(({ name }) => name)));
}

/** What one person's status is, as a dot with a name. */
export function StatusDot({ userId, size = 10, ...rest }) {
  const { status } = useStatus(userId);
  const label = statusNames[status ?? 'offline'];
  const look = { ...styles.dot, ...sized(size), ...dots[status ?? 'offline'] };
  return h('span', styled('dot', { role: 'img', 'aria-label': label, title: label, 'data-status': status ?? 'offline', ...rest }, look));
}

/** Chooses your own status. */
export function StatusPicker(rest) {
  const presence = usePresence();
  const chosen = useSelf(statusOf);
  const { status } = useConnection();
  return h('select', styled('picker', {
    'aria-label': 'Your status', disabled: status !== 'online', ...rest, value: chosen,
    onChange: (event) => {
      rest.onChange?.(event);
      void presence.setStatus({ status: event.target.value });
    },
  }), ['online', 'away', 'busy', 'invisible'].map((value) => h('option', { key: value, value }, statusNames[value])));
}

/** The props of an element of ours: a class of that name beside those that were given, and a look that a style may replace. */
export function styled(name, { className = '', style, ...rest }, look) {
  return { ...rest, className: `presence-${name} ${className}`, style: { ...look, ...style } };
}

const statusOf = (self) => (self && self.status !== 'offline' ? self.status : 'online');
const inside = (part) => Math.min(1, Math.max(0, part)) * 100;
const sized = (size) => ({ width: size, height: size, fontSize: size * 0.4 });

const dots = {
  online: { background: 'var(--presence-online, #15803d)' },
  away: { background: 'var(--presence-away, #b45309)', clipPath: 'polygon(50% 0, 100% 100%, 0 100%)', borderRadius: 0 },
  busy: { background: 'var(--presence-busy, #b91c1c)', borderRadius: 1 },
  offline: { border: '2px solid var(--presence-offline, #6b7280)' },
};

const styles = {
  stack: { display: 'inline-flex', listStyle: 'none', margin: 0, padding: '0 0 0 4px' },
  place: { marginLeft: -4 },
  face: {
    display: 'inline-flex', alignItems: 'center', justifyContent: 'center', boxSizing: 'border-box', borderRadius: '50%', overflow: 'hidden',
    border: '2px solid var(--presence-ring, #fff)', background: GREY, color: '#fff', fontWeight: 600, lineHeight: 1, userSelect: 'none',
  },
  picture: { width: '100%', height: '100%', objectFit: 'cover' },
  area: { position: 'relative' },
  line: { minHeight: '1.5em', margin: 0 },
  cursor: { position: 'absolute', pointerEvents: 'none', zIndex: 10 },
  label: { position: 'absolute', left: 12, top: 14, padding: '1px 6px', borderRadius: 6, fontSize: 12, whiteSpace: 'nowrap' },
  dot: { display: 'inline-block', boxSizing: 'border-box', borderRadius: '50%' },
};
