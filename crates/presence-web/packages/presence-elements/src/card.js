/* A card about one person, beside whatever shows them. */

import { ago, initials, paint, statusNames } from 'presence-client/looks';

import { anyClient, onClient } from './client.js';
import { PresenceElement, h, rooted, sheetOf } from './element.js';

const GREY = '#63576a';
const OPEN_MS = 120;
const GAP = 8;
const KINDS = { web: 'Browser', mobile: 'Phone', desktop: 'Desktop app', other: 'Other device' };

/** What a dot of any status looks like. */
export const DOTS = `
  .dot { display: inline-block; box-sizing: border-box; flex: none; width: var(--presence-dot, 10px); height: var(--presence-dot, 10px); border-radius: 50%; }
  .online { background: var(--presence-online, #15803d); }
  .away { background: radial-gradient(circle at 22% 22%, transparent 38%, var(--presence-away, #b45309) 41%); }
  .busy { background: linear-gradient(#fff, #fff) center / 50% 17% no-repeat, var(--presence-busy, #b91c1c); }
  .offline { border: 2px solid var(--presence-offline, #6b7280); }`;

/** What a face looks like: a picture, or initials on a colour. */
export const FACES = `
  .face { position: relative; display: flex; flex: none; align-items: center; justify-content: center; box-sizing: border-box; overflow: hidden; border-radius: 50%;
    width: var(--size); height: var(--size); background: ${GREY}; color: #fff; font: 600 calc(var(--size) * 0.375)/1 system-ui, sans-serif; user-select: none; }
  .face::before { content: attr(data-initials); }
  .face img { width: 100%; height: 100%; object-fit: cover; }`;

/** What cards look like, for the style sheets of the elements that have one. */
export const CARDS = `${DOTS}${FACES}
  .card { position: fixed; inset: auto; margin: 0; box-sizing: border-box; width: max-content; max-width: min(300px, calc(100vw - 16px)); padding: 14px; z-index: 30;
    border: 1px solid var(--presence-card-line, light-dark(#e6e5e1, #3b3b42)); border-radius: 14px; background: var(--presence-card, light-dark(#fff, #1f1f23));
    color: var(--presence-card-ink, light-dark(#1d1c1a, #ededef)); box-shadow: 0 12px 40px rgb(0 0 0 / 22%), 0 2px 8px rgb(0 0 0 / 10%);
    font: 400 13px/1.45 system-ui, sans-serif; text-align: start; white-space: normal; pointer-events: none; }
  .card:not(.open) { display: none; }
  .card .top { display: flex; gap: 12px; align-items: center; --size: 44px; }
  .card strong { display: block; font-size: 14px; font-weight: 650; overflow-wrap: anywhere; }
  .card .state { display: flex; gap: 7px; align-items: center; }
  .card dl { display: grid; grid-template-columns: auto 1fr; gap: 3px 12px; margin: 10px 0 0; }
  .card dt { color: var(--presence-card-muted, light-dark(#615e58, #a6a6af)); }
  .card dd { margin: 0; overflow-wrap: anywhere; }
  .card .doing { margin: 10px 0 0; overflow-wrap: anywhere; }`;

/** A picture that may be shown: nothing that runs, nothing that is not a picture. */
export function pictureOf(address) {
  try {
    const url = new URL(address, document.baseURI);
    return /^https?:$/.test(url.protocol) || url.href.startsWith('data:image/') ? url.href : null;
  } catch {
    return null;
  }
}

/** A picture, or else initials on the person's colour; as well where the picture cannot be had. */
export function portrait({ name, color = GREY, avatar }, attributes = {}) {
  const picture = avatar ? pictureOf(avatar) : null;
  const face = h('span', { ...attributes, class: `face ${attributes.class ?? ''}`, style: paint(color) });
  // Letters that stand for a name are no text: they are neither read out nor copied.
  const write = () => { face.dataset.initials = initials(name); };
  if (!picture) {
    write();
    return face;
  }
  const image = h('img', { src: picture, alt: '', referrerpolicy: 'no-referrer' });
  image.addEventListener('error', () => {
    image.remove();
    write();
  });
  face.append(image);
  return face;
}

/** The card of one shadow root. It is about whoever is pointed at or has the focus. */
export class Card {
  #card;
  #presence;
  #room;
  #anchor = null;
  #close = null;
  #opening = 0;

  /** `room` is where the person's name, picture and meta are from; it may be `null`. */
  constructor(root, presence, room) {
    this.#card = h('div', { id: 'card', part: 'card', class: 'card', role: 'tooltip', popover: 'manual' });
    this.#presence = presence;
    this.#room = room;
    root.append(this.#card);
  }

  /** Opens for `anchor`, about the person that `who()` gives: at least their id and their name. */
  for(anchor, who) {
    const soon = () => {
      clearTimeout(this.#opening);
      this.#opening = setTimeout(() => this.#open(anchor, who()), OPEN_MS);
    };
    const close = () => this.#anchor === anchor ? this.close() : clearTimeout(this.#opening);
    anchor.addEventListener('pointerenter', soon);
    anchor.addEventListener('pointerleave', close);
    anchor.addEventListener('focus', soon);
    anchor.addEventListener('blur', close);
    anchor.addEventListener('keydown', ({ key }) => key === 'Escape' && close());
    // A finger has nothing to hover with.
    anchor.addEventListener('click', () => this.#open(anchor, who()));
    return anchor;
  }

  close() {
    clearTimeout(this.#opening);
    this.#close?.();
    this.#close = null;
    this.#anchor?.removeAttribute('aria-describedby');
    this.#anchor = null;
    this.#card.classList.remove('open');
    if (this.#card.matches(':popover-open')) this.#card.hidePopover();
  }

  /** Ends it, with the element that has it. */
  remove() {
    this.close();
    this.#card.remove();
  }

  #open(anchor, person) {
    if (!person || !anchor.isConnected) return;
    this.close();
    this.#anchor = anchor;
    const user = this.#presence.user(person.id);
    const show = () => {
      const member = this.#room?.getState().users.find(({ id }) => id === person.id);
      this.#card.replaceChildren(...content(this.#presence, member ?? person, user.getState(), Boolean(member)));
      this.#place(anchor.getBoundingClientRect());
    };
    this.#card.classList.add('open');
    if (this.#card.showPopover) this.#card.showPopover();
    show();
    anchor.setAttribute('aria-describedby', 'card');
    const away = () => this.close();
    const escape = ({ key }) => key === 'Escape' && this.close();
    document.addEventListener('keydown', escape);
    addEventListener('scroll', away, { capture: true, passive: true });
    // It follows the person only while it is open.
    const stops = [user.subscribe(show), user.follow(), this.#room?.subscribe(show), () => {
      document.removeEventListener('keydown', escape);
      removeEventListener('scroll', away, { capture: true });
    }];
    this.#close = () => stops.forEach((stop) => stop?.());
  }

  #place(anchor) {
    const { width, height } = this.#card.getBoundingClientRect();
    const isBelow = anchor.bottom + GAP + height <= innerHeight || anchor.top < height + GAP;
    const left = Math.max(GAP, Math.min(anchor.left, innerWidth - width - GAP));
    Object.assign(this.#card.style, { left: `${left}px`, top: `${isBelow ? anchor.bottom + GAP : anchor.top - GAP - height}px` });
  }
}

/** Whether somebody has the page open nowhere but in tabs in the background, as far as their metas say. */
export function isInBackground({ metas = [] }) {
  return metas.length > 0 && metas.every(({ meta }) => meta?.background === true);
}

function content(presence, person, told, isHere) {
  const { name, emoji, customMessage, metas = [] } = person;
  const isSelf = person.id === presence.userId;
  const status = isHere ? person.status : told.status ?? 'offline';
  const kinds = [...new Set(isHere ? metas.map(({ device }) => device) : told.devices ?? [])];
  const doing = [emoji ?? told.emoji, customMessage ?? told.customMessage].filter(Boolean).join(' ');
  const meta = (key) => metas.findLast((it) => it.meta?.[key] !== undefined)?.meta[key];
  const until = isSelf ? presence.self?.expiresAt : meta('until');
  const now = presence.now();
  const facts = [
    ['Until', doing && Number.isFinite(until) && until > now ? moment(until, now) : null],
    ['Local time', localTime(meta('timezone'), now)],
    ['On', kinds.map((kind) => KINDS[kind] ?? kind).join(', ')],
    ['Last seen', status === 'offline' && told.lastSeen !== undefined ? ago(told.lastSeen, now) : null],
  ].filter(([, value]) => value);
  return [
    h('div', { class: 'top' }, portrait(person, { 'aria-hidden': 'true' }),
      h('div', {}, h('strong', {}, h('bdi', {}, name)), h('span', { class: 'state' }, h('span', { class: `dot ${status}`, 'aria-hidden': 'true' }), `${statusNames[status]}${isHere && isInBackground(person) ? ', in the background' : ''}`))),
    doing ? h('p', { class: 'doing' }, h('bdi', {}, doing)) : null,
    facts.length ? h('dl', {}, ...facts.flatMap(([term, value]) => [h('dt', {}, term), h('dd', {}, value)])) : null,
  ].filter(Boolean);
}

/** The time of day, and the date unless it is today. */
function moment(at, now) {
  const [day, today] = [at, now].map((it) => new Date(it).toDateString());
  return new Date(at).toLocaleString([], { hour: '2-digit', minute: '2-digit', ...(day === today ? {} : { month: 'short', day: 'numeric' }) });
}

/** What others write into a meta is anything. */
function localTime(timeZone, now) {
  if (typeof timeZone !== 'string' || !timeZone) return null;
  try {
    return new Date(now).toLocaleTimeString([], { timeZone, hour: '2-digit', minute: '2-digit' });
  } catch {
    return null;
  }
}

/** `<presence-card user-id="bob" name="Bob" channel="room:42">…</presence-card>`: what is in it, with a card about somebody. It enters no room. */
export class PresenceCard extends PresenceElement {
  static observedAttributes = ['user-id', 'name', 'channel'];
  static #sheet = sheetOf(`:host { display: inline-block; } .person { display: block; border-radius: inherit; } .person:focus-visible { outline: 2px solid; outline-offset: 1px; }${CARDS}`);

  begin() {
    const presence = anyClient();
    const stopWaiting = onClient(() => this.restart());
    const root = rooted(this, PresenceCard.#sheet);
    root.replaceChildren(h('slot'));
    const id = this.getAttribute('user-id');
    if (!presence || !id) return [stopWaiting];
    const channel = this.getAttribute('channel');
    const person = h('span', { part: 'person', class: 'person', tabindex: '0' }, h('slot'));
    root.replaceChildren(person);
    const card = new Card(root, presence, channel ? presence.channel(channel) : null);
    card.for(person, () => ({ id, name: this.getAttribute('name') ?? id, ...this.person }));
    return [stopWaiting, () => card.remove()];
  }

  /** What is known of somebody who is not in the room any longer: their picture and colour, as a user of a state has them. */
  person = null;
}
