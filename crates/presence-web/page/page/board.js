/* The shared board: everyone's cursor, in coordinates from 0 to 1, and a cheer where somebody clicks. */

import { $, h, paint, svgElement } from './dom.js';

const cheers = ['🎉', '👏', '💜', '🔥', '✨', '👀'];
const CHEERS_MAX = 40;

export function showBoard(presence, channel) {
  const board = $('board');
  const layer = $('cursors');
  const elements = new Map();
  const stop = new AbortController();
  let own = null; // where the arrow keys have moved us
  let drawing = false;

  const draw = () => {
    drawing = false;
    const { cursors, users } = channel.getState();
    const people = new Map(users.map((user) => [user.id, user]));
    for (const [session, element] of elements) {
      if (!cursors.has(session)) {
        element.remove();
        elements.delete(session);
      }
    }
    for (const [session, cursor] of cursors) {
      if (cursor.x === undefined || cursor.y === undefined) continue;
      if (!elements.has(session)) {
        elements.set(session, arrow(session, cursor.userId));
        layer.append(elements.get(session));
      }
      const element = elements.get(session);
      const user = people.get(cursor.userId);
      const name = user?.name ?? cursor.userId;
      const label = element.querySelector('span');
      if (label.textContent !== name) label.textContent = name;
      paint(element, user?.color ?? '#6b6862');
      place(element, cursor);
      element.style.opacity = cursor.visible === false ? '0' : '1';
    }
  };
  const drawSoon = () => {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(draw);
  };
  const place = (element, { x, y }) => {
    element.style.transform = `translate(${x * board.clientWidth}px, ${y * board.clientHeight}px)`;
    // The label stays on the board.
    const label = element.lastElementChild;
    element.classList.toggle('flip-x', x * board.clientWidth + label.clientWidth + 16 > board.clientWidth);
    element.classList.toggle('flip-y', y * board.clientHeight + 44 > board.clientHeight);
  };

  const point = (event) => {
    const box = board.getBoundingClientRect();
    return [clamp((event.clientX - box.left) / box.width), clamp((event.clientY - box.top) / box.height)];
  };
  const cheer = (x, y) => {
    channel.broadcast('cheer', { emoji: cheers[Math.floor(Math.random() * cheers.length)], x, y });
  };
  const hideOwn = () => {
    own?.element.remove();
    own = null;
  };
  const on = (event, listener) => board.addEventListener(event, listener, { signal: stop.signal });
  on('pointermove', (event) => {
    hideOwn();
    channel.cursor(...point(event));
  });
  on('pointerleave', () => channel.cursor(null));
  on('click', (event) => cheer(...point(event)));
  on('blur', () => {
    if (own) channel.cursor(null);
    hideOwn();
  });
  on('keydown', (event) => {
    const step = event.shiftKey ? 0.1 : 0.02;
    const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
    if (!move && event.key !== 'Enter') return;
    event.preventDefault();
    if (!own) {
      own = { x: 0.5, y: 0.5, element: arrow('own', presence.userId) };
      own.element.classList.add('own');
      own.element.querySelector('span').textContent = 'You';
      layer.append(own.element);
    }
    if (move) {
      own.x = clamp(own.x + move[0]);
      own.y = clamp(own.y + move[1]);
    } else {
      cheer(own.x, own.y);
    }
    place(own.element, own);
    channel.cursor(own.x, own.y);
  });

  const stops = [
    channel.subscribe(drawSoon),
    channel.on('broadcast:cheer', ({ payload }) => rise(layer, payload, board)),
  ];
  const resized = new ResizeObserver(drawSoon);
  resized.observe(board);
  drawSoon();
  return () => {
    stop.abort();
    resized.disconnect();
    for (const end of stops) end();
    layer.replaceChildren();
  };
}

function arrow(session, userId) {
  const svg = svgElement('svg', { viewBox: '0 0 18 20' });
  svg.append(svgElement('path', { d: 'M2 1.6 15.6 9.1a.8.8 0 0 1-.2 1.5l-5.6 1.3-2.9 5a.8.8 0 0 1-1.5-.3L1 2.4A.7.7 0 0 1 2 1.6z', 'stroke-linejoin': 'round' }));
  return h('div.cursor', { testid: `cursor-${session}`, data: { user: userId } }, svg, h('span'));
}

/** What arrives is anybody's: an emoji of some length, somewhere on the board, not too many. */
function rise(layer, payload, board) {
  const { emoji, x, y } = payload ?? {};
  if (typeof emoji !== 'string' || !Number.isFinite(x) || !Number.isFinite(y) || layer.querySelectorAll('.cheer').length >= CHEERS_MAX) return;
  const spot = h('span.cheer', { testid: 'cheer', onanimationend: () => spot.remove() }, [...emoji].slice(0, 4).join(''));
  spot.style.left = `${clamp(x) * board.clientWidth}px`;
  spot.style.top = `${clamp(y) * board.clientHeight}px`;
  layer.append(spot);
}

function clamp(value) {
  return Math.min(1, Math.max(0, value));
}
