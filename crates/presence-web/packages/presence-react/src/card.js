/* A card about one person, beside whatever shows them. */

import { createElement as h, useEffect, useId, useState } from 'react';

import { StatusDot, styled } from './components.js';
import { ago, statusNames } from 'presence-client/looks';
import { useStatus } from './hooks.js';
import { usePresence } from './provider.js';

/** `children` with a card about `userId`, which is shown while they are pointed at or have the focus. Escape closes it. */
export function HoverCard({ userId, name = userId, children, ...rest }) {
  const [open, setOpen] = useState(false);
  const card = useId();
  useEffect(() => {
    if (!open) return undefined;
    const close = ({ key }) => key === 'Escape' && setOpen(false);
    document.addEventListener('keydown', close);
    return () => document.removeEventListener('keydown', close);
  }, [open]);
  return h('span', styled('person', {
    tabIndex: 0, ...rest, 'aria-describedby': open ? card : undefined,
    onPointerEnter: () => setOpen(true), onPointerLeave: () => setOpen(false), onFocus: () => setOpen(true), onBlur: () => setOpen(false),
  }, { position: 'relative', display: 'inline-block' }), children, open && h(Card, { id: card, userId, name }));
}

/** It follows the person only while it is open. */
function Card({ id, userId, name }) {
  const presence = usePresence();
  const { status, emoji, customMessage, lastSeen, devices } = useStatus(userId);
  const seen = status === 'offline' && lastSeen !== undefined ? `, last seen ${ago(lastSeen, presence.now())}` : '';
  const doing = [emoji, customMessage].filter(Boolean).join(' ');
  return h('span', { id, role: 'tooltip', className: 'presence-card', style: look },
    h('strong', null, name),
    h('span', null, h(StatusDot, { userId, 'aria-hidden': true, style: { marginRight: 6 } }), status ? `${statusNames[status]}${seen}` : '…'),
    doing && h('span', null, doing),
    devices?.length > 0 && h('span', null, devices.join(', ')));
}

const look = {
  position: 'absolute', top: '100%', left: 0, zIndex: 20, display: 'grid', gap: 4, width: 'max-content', maxWidth: 280, padding: '10px 12px',
  borderRadius: 8, background: 'var(--presence-card, #fff)', color: 'var(--presence-card-ink, #111827)', boxShadow: '0 4px 16px rgb(0 0 0 / 25%)',
};
