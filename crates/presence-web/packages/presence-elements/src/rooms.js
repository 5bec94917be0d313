/* Elements that show a room. */

import { paint, statusNames } from 'presence-client/looks';

import { CARDS, Card, portrait } from './card.js';
import { anyClient, onClient } from './client.js';
import { PresenceElement, h, rooted, sheetOf } from './element.js';

const GREY = '#63576a';
const FACES = 5;
const ARROW = 'M2 1.6 15.6 9.1a.8.8 0 0 1-.2 1.5l-5.6 1.3-2.9 5a.8.8 0 0 1-1.5-.3L1 2.4A.7.7 0 0 1 2 1.6z';

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

/** `<presence-avatars channel="room:42" max="5">`: the faces of who is here, each with a card. */
export class PresenceAvatars extends RoomElement {
  static observedAttributes = ['channel', 'max'];
  static #sheet = sheetOf(`${CARDS}
    :host { display: inline-block; }
    ul { display: flex; list-style: none; margin: 0; padding: 0 0 0 calc(var(--size) * 0.05); --size: var(--presence-size, 32px); transition: filter .2s; }
    ul.stale { filter: grayscale(1); }
    li { position: relative; margin-left: calc(var(--size) * -0.05); }
    .of { all: unset; position: relative; display: block; border-radius: 50%; cursor: default; }
    .of:focus-visible { outline: 2px solid; outline-offset: 1px; z-index: 1; }
    .face { box-shadow: 0 0 0 2px var(--presence-ring, light-dark(#fff, #18181b)); }
    .of[data-status=offline] .face { filter: grayscale(1); }
    .badge { position: absolute; right: -1px; bottom: -1px; box-shadow: 0 0 0 2px var(--presence-ring, light-dark(#fff, #18181b)); --presence-dot: calc(var(--size) * 0.28); }
    .badge.away, .badge.offline { background-color: var(--presence-ring, light-dark(#fff, #18181b)); }
    .more { background: var(--presence-more, light-dark(#ecebe7, #2f2f36)); color: inherit; width: auto; min-width: var(--size); padding: 0 8px; font-variant-numeric: tabular-nums; }`);
  #shown = null;
  #faces = new Map();
  #more;
  #card;

  begin() {
    // The faces of before have the card of another room or client.
    this.#shown = null;
    this.#faces.clear();
    this.#more ??= h('li', {}, h('span', { part: 'more', class: 'face more' }));
    this.shadowRoot?.firstChild?.replaceChildren();
    return super.begin();
  }

  show({ users, count, live }) {
    const max = Number(this.getAttribute('max') ?? FACES) || FACES;
    const root = rooted(this, PresenceAvatars.#sheet);
    if (!root.firstChild) root.append(h('ul', { part: 'list', 'aria-label': 'People here' }));
    const list = root.firstChild;
    list.classList.toggle('stale', !live);
    if (this.#shown?.users === users && this.#shown.count === count && this.#shown.max === max) return;
    this.#shown = { users, count, max };
    const before = this.#faces;
    this.#faces = new Map();
    const faces = users.slice(0, max).map((user) => {
      const old = before.get(user.id);
      const look = JSON.stringify([user.name, user.color, user.avatar, user.status]);
      const face = { user, look, item: old?.item ?? h('li') };
      if (look !== old?.look) this.#draw(face);
      this.#faces.set(user.id, face);
      return face.item;
    });
    const more = count - faces.length;
    if (this.#more.textContent !== `+${more}`) this.#more.firstChild.textContent = `+${more}`;
    // Each face lies over the next one, or else its status would be covered.
    faces.forEach((face, at) => { face.style.zIndex = faces.length - at; });
    arrange(list, [...faces, ...(more > 0 ? [this.#more] : [])]);
  }

  listen(room) {
    const card = new Card(this.shadowRoot, anyClient(), room);
    this.#card = card;
    return [() => card.remove()];
  }

  /** The button stays when its person changes: it may have the focus. */
  #draw({ user, item }) {
    const { id, name, status } = user;
    let button = item.firstChild;
    if (!button) {
      button = h('button', { type: 'button', 'data-user': id });
      item.append(button);
      // The card is made after the first picture.
      queueMicrotask(() => this.#card?.for(button, () => this.#faces.get(id)?.user));
    }
    for (const [key, value] of Object.entries({ part: `avatar ${status}`, class: 'of', 'data-status': status, 'aria-label': `${name}, ${statusNames[status]}` })) button.setAttribute(key, value);
    button.replaceChildren(portrait(user), h('span', { class: `dot badge ${status}`, 'data-status': status, 'aria-hidden': 'true' }));
  }
}

/** Puts `elements` into `list` and moves as little as possible, so that the focus stays. */
function arrange(list, elements) {
  const wanted = new Set(elements);
  for (const child of [...list.children]) if (!wanted.has(child)) child.remove();
  elements.forEach((element, at) => {
    if (list.children[at] !== element) list.insertBefore(element, list.children[at] ?? null);
  });
}

/** `<presence-cursors channel="room:42">…</presence-cursors>`: an area in which everybody sees where the others point. */
export class PresenceCursors extends RoomElement {
  static #sheet = sheetOf(`
    :host { display: block; position: relative; }
    div { position: absolute; pointer-events: none; z-index: 10; transition: left 90ms linear, top 90ms linear; }
    svg { display: block; filter: drop-shadow(0 1px 1.5px rgb(0 0 0 / 25%)); }
    span { position: absolute; left: 13px; top: 16px; padding: 1px 8px 2px; border-radius: 4px 10px 10px; font: 550 12px/1.5 system-ui, sans-serif; white-space: nowrap;
      max-width: 160px; overflow: hidden; text-overflow: ellipsis; }
    .stale { filter: grayscale(1); }
    /* The name stays within the area. */
    .flip-x span { left: auto; right: 12px; }
    .flip-y span { top: auto; bottom: 20px; }
    @media (prefers-reduced-motion: reduce) { div { transition: none; } }`);
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
    const { cursors, users, live } = this.#state;
    const { clientWidth, clientHeight } = this;
    const people = new Map(users.map((user) => [user.id, user]));
    const gone = new Set(this.#places.keys());
    for (const { session, userId, x, y, visible } of cursors.values()) {
      if (!visible || x === undefined) continue;
      gone.delete(session);
      const { name = userId, color = GREY } = people.get(userId) ?? {};
      const place = this.#place(session, userId, name, color);
      Object.assign(place.style, { left: `${inside(x)}%`, top: `${inside(y)}%` });
      place.classList.toggle('stale', !live);
      place.classList.toggle('flip-x', (inside(x) / 100) * clientWidth + place.lastChild.offsetWidth + 16 > clientWidth);
      place.classList.toggle('flip-y', (inside(y) / 100) * clientHeight + 44 > clientHeight);
    }
    for (const session of gone) {
      this.#places.get(session).remove();
      this.#places.delete(session);
    }
  }

  #place(session, userId, name, color) {
    const look = `${name} ${color}`;
    const before = this.#places.get(session);
    if (before?.dataset.look === look) return before;
    const place = h('div', { part: 'cursor', 'aria-hidden': 'true', 'data-look': look, 'data-session': session, 'data-user': userId },
      arrow(color), h('span', { part: 'name', style: paint(color) }, name));
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
  for (const [element, attributes] of [[svg, { width: 18, height: 20 }], [path, { d: ARROW, stroke: '#fff', 'stroke-width': 1.4, 'stroke-linejoin': 'round' }]]) {
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  }
  path.style.fill = paint(color).background;
  svg.append(path);
  return svg;
}

function inside(part) {
  return Math.min(1, Math.max(0, part)) * 100;
}

/** `<presence-typing channel="room:42" for="message">`: who types. Keys in the field whose id is in `for` say that you do. */
export class PresenceTyping extends RoomElement {
  static observedAttributes = ['channel', 'for'];
  static #sheet = sheetOf(`
    :host { display: block; min-height: 1.5em; }
    i { display: inline-block; width: 4px; height: 4px; margin-right: 3px; border-radius: 50%; vertical-align: middle; background: currentcolor; animation: hop 1.1s ease-in-out infinite; }
    i:nth-child(2) { animation-delay: .14s; }
    i:nth-child(3) { animation-delay: .28s; margin-right: 8px; }
    @keyframes hop { 0%, 60%, 100% { translate: 0 0; } 30% { translate: 0 -3px; } }
    @media (prefers-reduced-motion: reduce) { i { animation: none; } }`);

  show({ typing, users }) {
    const root = rooted(this, PresenceTyping.#sheet);
    if (!root.firstChild) root.append(h('span', { part: 'dots', 'aria-hidden': 'true' }), h('span', { part: 'line', role: 'status' }));
    const [dots, line] = root.children;
    const names = typing.map((id) => users.find((user) => user.id === id)?.name ?? id);
    const words = sentence(names);
    // A live region is read out again at each change, even to the same.
    if (line.textContent === words.map((word) => word.textContent ?? word).join('')) return;
    line.replaceChildren(...words);
    dots.replaceChildren(...(names.length ? [h('i'), h('i'), h('i')] : []));
  }

  /** The whole page is listened to: the field may come later, or be another one with the same id. */
  listen(room) {
    const isField = ({ target }) => target?.id && target.id === this.getAttribute('for');
    // A field that was emptied, by hand or because its text was sent, is no typing.
    const key = (event) => isField(event) && room.typing(event.target.value !== '');
    const away = (event) => isField(event) && room.typing(false);
    document.addEventListener('input', key);
    document.addEventListener('focusout', away);
    return [() => {
      document.removeEventListener('input', key);
      document.removeEventListener('focusout', away);
    }];
  }
}

/** Who is typing, in words. Each name stands on its own: one that is written from right to left does not turn the sentence around. */
function sentence(names) {
  if (names.length === 0) return [];
  if (names.length > 3) return [`${names.length} people are typing`];
  const joined = names.flatMap((name, at) => [at === 0 ? '' : at === names.length - 1 ? ' and ' : ', ', h('bdi', {}, name)]).filter((part) => part !== '');
  return [...joined, names.length === 1 ? ' is typing' : ' are typing'];
}
