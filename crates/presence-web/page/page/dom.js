/* Elements, without HTML from strings: what people write is text, always. */

import { portrait } from '../../packages/presence-elements/src/card.js';

/** `h('li.person', { testid, onclick, ariaLabel, hidden, ... }, ...children)`; children that are null or false are left out. */
export function h(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split('.');
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(' ');
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (key === 'testid') element.dataset.testid = value;
    else if (key === 'data') Object.assign(element.dataset, value);
    else element[key] = value;
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const $ = (id) => document.getElementById(id);

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

export function svgElement(name, attributes) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** A face: picture or initials, on the person's colour, with their status. */
export function avatar(user, { small = false, status } = {}) {
  return h(small ? 'span.avatar.small' : 'span.avatar', { ariaHidden: 'true' },
    portrait(user), status && h('i.dot', { testid: 'status-dot', data: { status } }));
}

export const statusNames = { online: 'Online', away: 'Away', busy: 'Busy', offline: 'Offline' };

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

/** Puts `elements` into `list` and moves as little as possible, so that focus and animations live on. */
export function arrange(list, elements) {
  const wanted = new Set(elements);
  for (const child of [...list.children]) if (!wanted.has(child)) child.remove();
  elements.forEach((element, at) => {
    if (list.children[at] !== element) list.insertBefore(element, list.children[at] ?? null);
  });
}

/** Elements by key, made again only when what they show has changed. */
export class Rows {
  #rows = new Map();

  /** `items` with a `key`; `parts(item)` is what it shows, `make(item)` its element. */
  render(list, items, { key, parts, make }) {
    const before = this.#rows;
    this.#rows = new Map();
    arrange(list, items.map((item) => {
      const id = key(item);
      const shown = JSON.stringify(parts(item));
      const old = before.get(id);
      let element = old?.element;
      if (old?.shown !== shown) {
        const fresh = make(item);
        if (element) {
          // The element stays, so that it does not arrive again; so does a card within it, which may be open.
          const [card, next] = [element, fresh].map((it) => it.querySelector(':scope > presence-card'));
          if (card && next) {
            card.person = next.person;
            card.setAttribute('name', next.getAttribute('name'));
            card.replaceChildren(...next.childNodes);
          } else {
            element.replaceChildren(...fresh.childNodes);
          }
          element.className = fresh.className;
          Object.assign(element.dataset, fresh.dataset);
        } else {
          element = fresh;
        }
      }
      this.#rows.set(id, { element, shown });
      return element;
    }));
  }
}
