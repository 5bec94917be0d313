/* Elements that show a room. */

import { initials, inkOn, says, statusNames } from 'presence-client/looks';

import { anyClient, onClient } from './client.js';
import { PresenceElement, h, rooted, sheetOf } from './element.js';

const GREY = '#4b5563';
const FACES = 5;

/** An element with a `channel`, which its user is in as long as it is shown. */
class RoomElement extends PresenceElement {
  static observedAttributes = ['channel'];

  begin() {
    const id = this.getAttribute('channel');
    const stopWaiting = onClient(() => this.restart());
    if (!id) {
      console.error(`<${this.localName}> needs a channel: <${this.localName} channel="room:42">`);
      return [stopWaiting];
    }
    const room = anyClient()?.channel(id);
    if (!room) return [stopWaiting];
    const show = () => this.show(room.getState(), room);
    show();
    return [stopWaiting, room.subscribe(show), ...this.listen(room), room.enter()];
  }

  /** Listens to what its user does; returns what ends that. */
  listen() {
    return [];
  }
}

/** `<presence-avatars channel="room:42" max="5">`: the faces of who is here. */
export class PresenceAvatars extends RoomElement {
  static observedAttributes = ['channel', 'max'];
  static #sheet = sheetOf(`
    :host { display: inline-block; }
    ul { display: flex; list-style: none; margin: 0; padding: 0 0 0 8px; }
    li { margin-left: -8px; }
    span { display: flex; align-items: center; justify-content: center; box-sizing: border-box; overflow: hidden; width: var(--presence-size, 32px);
      height: var(--presence-size, 32px); border: 2px solid var(--presence-ring, #fff); border-radius: 50%; background: ${GREY}; color: #fff;
      font: 600 calc(var(--presence-size, 32px) * 0.4)/1 system-ui, sans-serif; user-select: none; }
    img { width: 100%; height: 100%; object-fit: cover; }`);
  #shown = null;

  show({ users, count }) {
    const max = Number(this.getAttribute('max') ?? FACES) || FACES;
    if (this.#shown?.users === users && this.#shown.count === count && this.#shown.max === max) return;
    this.#shown = { users, count, max };
    const more = count - Math.min(max, users.length);
    rooted(this, PresenceAvatars.#sheet).replaceChildren(h('ul', { part: 'list', 'aria-label': 'People here' },
      ...users.slice(0, max).map((user) => h('li', {}, face(user))),
      more > 0 ? h('li', {}, h('span', { part: 'more' }, `+${more}`)) : ''));
  }
}

function face({ id, name, color = GREY, avatar, status }) {
  const label = `${name}, ${statusNames[status]}`;
  const look = { background: color, color: inkOn(color), opacity: status === 'offline' ? 0.5 : 1 };
  return h('span', { part: `avatar ${status}`, role: 'img', 'aria-label': label, title: label, 'data-user': id, style: look },
    avatar ? h('img', { src: avatar, alt: '', referrerpolicy: 'no-referrer' }) : initials(name));
}

/** `<presence-cursors channel="room:42">…</presence-cursors>`: an area in which everybody sees where the others point. */
export class PresenceCursors extends RoomElement {
  static #sheet = sheetOf(`
    :host { display: block; position: relative; }
    div { position: absolute; pointer-events: none; z-index: 10; }
    svg { display: block; }
    span { position: absolute; left: 12px; top: 14px; padding: 1px 6px; border-radius: 6px; font: 12px/1.4 system-ui, sans-serif; white-space: nowrap; }`);
  #places = new Map();
  #frame = 0;
  #state;

  show(state) {
    const root = rooted(this, PresenceCursors.#sheet);
    if (!root.firstChild) root.append(h('slot'));
    this.#state = state;
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  /** At most once a frame; a cursor that moves is the same element. */
  #draw() {
    this.#frame = 0;
    const { cursors, users } = this.#state;
    const people = new Map(users.map((user) => [user.id, user]));
    const gone = new Set(this.#places.keys());
    for (const { session, userId, x, y, visible } of cursors.values()) {
      if (!visible) continue;
      gone.delete(session);
      const { name = userId, color = GREY } = people.get(userId) ?? {};
      const place = this.#place(session, name, color);
      Object.assign(place.style, { left: `${inside(x)}%`, top: `${inside(y)}%` });
    }
    for (const session of gone) {
      this.#places.get(session).remove();
      this.#places.delete(session);
    }
  }

  #place(session, name, color) {
    const look = `${name} ${color}`;
    const before = this.#places.get(session);
    if (before?.dataset.look === look) return before;
    const place = h('div', { part: 'cursor', 'aria-hidden': 'true', 'data-look': look },
      arrow(color), h('span', { part: 'name', style: { background: color, color: inkOn(color) } }, name));
    if (before) before.replaceWith(place);
    else this.shadowRoot.append(place);
    this.#places.set(session, place);
    return place;
  }

  listen(room) {
    const move = (event) => {
      const area = this.getBoundingClientRect();
      room.cursor((event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height);
    };
    const leave = () => room.cursor(null);
    this.addEventListener('pointermove', move);
    this.addEventListener('pointerleave', leave);
    return [() => {
      this.removeEventListener('pointermove', move);
      this.removeEventListener('pointerleave', leave);
    }];
  }
}

function arrow(color) {
  const [svg, path] = ['svg', 'path'].map((name) => document.createElementNS('http://www.w3.org/2000/svg', name));
  for (const [element, attributes] of [[svg, { width: 14, height: 18 }], [path, { d: 'M1 1v14l4-4 3 6 2-1-3-6h6z', fill: color, stroke: '#fff' }]]) {
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  }
  svg.append(path);
  return svg;
}

function inside(part) {
  return Math.min(1, Math.max(0, part)) * 100;
}

/** `<presence-typing channel="room:42" for="message">`: who types. Keys in the field whose id is in `for` say that you do. */
export class PresenceTyping extends RoomElement {
  static observedAttributes = ['channel', 'for'];
  static #sheet = sheetOf(':host { display: block; min-height: 1.5em; }');

  show({ typing, users }) {
    const root = rooted(this, PresenceTyping.#sheet);
    if (!root.firstChild) root.append(h('span', { part: 'line', role: 'status' }));
    const text = says(typing.map((id) => users.find((user) => user.id === id)?.name ?? id));
    // A live region is read out again at each change, even to the same.
    if (root.firstChild.textContent !== text) root.firstChild.textContent = text;
  }

  /** The whole page is listened to: the field may come later, or be another one with the same id. */
  listen(room) {
    const isField = ({ target }) => target?.id && target.id === this.getAttribute('for');
    const key = (event) => isField(event) && room.typing();
    const away = (event) => isField(event) && room.typing(false);
    document.addEventListener('input', key);
    document.addEventListener('focusout', away);
    return [() => {
      document.removeEventListener('input', key);
      document.removeEventListener('focusout', away);
    }];
  }
}
