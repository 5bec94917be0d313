/* Elements, without HTML from strings: what people write is text, always. */

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

export function svgElement(name, attributes) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

export const statusNames = { online: 'Online', away: 'Away', busy: 'Busy', offline: 'Offline' };

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
