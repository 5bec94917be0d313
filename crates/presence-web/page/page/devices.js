/* Where else you are: only you are told. */

import { $, Rows, h, icon, kindNames } from './dom.js';

const activities = { active: 'Active', idle: 'Idle', hidden: 'In the background' };

export function showDevices(presence) {
  const rows = new Rows();
  const show = () => {
    const isKnown = Boolean(presence.self) && presence.connection.status !== 'closed';
    $('devices-card').hidden = !isKnown;
    if (!isKnown) return;
    // A tab that is hidden is shown as such before the gateway has heard of it.
    const devices = presence.self.devices.map((device) => (
      device.id === presence.deviceId && device.sessions === 1 && document.hidden ? { ...device, activity: 'hidden' } : device));
    rows.render($('devices'), devices, {
      key: ({ id }) => id,
      parts: (device) => device,
      make: ({ id, kind, activity, sessions }) => h('li', { testid: `device-${id}`, data: { activity, sessions } },
        h('span.icon', {}, icon(kind)),
        h('div.label', {},
          h('span', {}, id === presence.deviceId ? `This ${kind === 'web' ? 'browser' : 'device'}` : kindNames[kind] ?? kind),
          h('small', { title: id }, `${activities[activity] ?? activity} · ${sessions} ${sessions === 1 ? 'session' : 'sessions'}`))),
    });
  };
  show();
  presence.subscribe(show);
  document.addEventListener('visibilitychange', show);
}
