/* What the page shows of people: faces, icons and names. */

import { portrait } from '../../packages/presence-elements/src/card.js';
import { h, svgElement } from './html.js';

export * from './html.js';

const icons = {
  web: 'M3 5.5A1.5 1.5 0 0 1 4.5 4h11A1.5 1.5 0 0 1 17 5.5v9a1.5 1.5 0 0 1-1.5 1.5h-11A1.5 1.5 0 0 1 3 14.5zM3 8h14M5.4 6h.01M7.4 6h.01',
  desktop: 'M3 5a1 1 0 0 1 1-1h12a1 1 0 0 1 1 1v7.5a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1zM10 13.5V16.5M7 16.5h6',
  mobile: 'M6 4a1.5 1.5 0 0 1 1.5-1.5h5A1.5 1.5 0 0 1 14 4v12a1.5 1.5 0 0 1-1.5 1.5h-5A1.5 1.5 0 0 1 6 16zM9.2 15h1.6',
  other: 'M10 3.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13M10 8v2.5M10 13h.01',
};

export const kindNames = { web: 'Browser', desktop: 'Desktop app', mobile: 'Phone', other: 'Other device' };

export function icon(kind) {
  const svg = svgElement('svg', { viewBox: '0 0 20 20', 'aria-hidden': 'true' });
  svg.append(svgElement('path', {
    d: icons[kind] ?? icons.other, fill: 'none', stroke: 'currentColor', 'stroke-width': '1.5', 'stroke-linecap': 'round', 'stroke-linejoin': 'round',
  }));
  return svg;
}

/** A face: picture or initials, on the person's colour, with their status. */
export function avatar(user, { small = false, status } = {}) {
  return h(small ? 'span.avatar.small' : 'span.avatar', { ariaHidden: 'true' },
    portrait(user), status && h('i.dot', { testid: 'status-dot', data: { status } }));
}

/**
 * "Ann", "Ann and Bob", "Ann, Bob and 3 others", to be appended. Each name stands on its own: one that is written from
 * right to left does not turn the sentence around.
 */
export function enumerate(names, shown = 2) {
  const rest = names.length - shown;
  const last = rest > 0 ? `${rest} ${rest === 1 ? 'other' : 'others'}` : names.length > 1 && h('bdi', {}, names.at(-1));
  const first = rest > 0 ? names.slice(0, shown) : names.slice(0, last ? -1 : undefined);
  const parts = first.flatMap((name, at) => [at > 0 && ', ', h('bdi', {}, name)]);
  return [...parts, last && ' and ', last].filter(Boolean);
}
