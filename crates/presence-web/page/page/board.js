/* The shared board: what the arrow keys do there, and a cheer where somebody clicks. */

import { $, h, paint, svgElement } from './dom.js';

const cheers = ['🎉', '👏', '💜', '🔥', '✨', '👀'];
const CHEERS_MAX = 40;

/** Who points where is shown by `<presence-cursors>`, which also tells where we point. The rest is for keys and cheers. */
export function showBoard(presence, channel) {
  const board = $('board');
  const layer = $('cheers');
  const stop = new AbortController();
  let own = null; // where the arrow keys have moved us

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
  on('pointermove', hideOwn);
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
      own = { x: 0.5, y: 0.5, element: arrow() };
      layer.append(own.element);
    }
    if (move) {
      own.x = clamp(own.x + move[0]);
      own.y = clamp(own.y + move[1]);
    } else {
      cheer(own.x, own.y);
    }
    Object.assign(own.element.style, { left: `${own.x * 100}%`, top: `${own.y * 100}%` });
    channel.cursor(own.x, own.y);
  });

  const stopCheers = channel.on('broadcast:cheer', ({ payload }) => rise(layer, payload));
  return () => {
    stop.abort();
    stopCheers();
    layer.replaceChildren();
  };
}

function arrow() {
  const svg = svgElement('svg', { viewBox: '0 0 18 20' });
  svg.append(svgElement('path', { d: 'M2 1.6 15.6 9.1a.8.8 0 0 1-.2 1.5l-5.6 1.3-2.9 5a.8.8 0 0 1-1.5-.3L1 2.4A.7.7 0 0 1 2 1.6z', 'stroke-linejoin': 'round' }));
  return h('span.own', {}, svg, h('span', {}, 'You'));
}

/** What arrives is anybody's: an emoji of some length, somewhere on the board, not too many. */
function rise(layer, payload) {
  const { emoji, x, y } = payload ?? {};
  if (typeof emoji !== 'string' || !Number.isFinite(x) || !Number.isFinite(y) || layer.querySelectorAll('.cheer').length >= CHEERS_MAX) return;
  const spot = h('span.cheer', { testid: 'cheer', onanimationend: () => spot.remove() }, [...emoji].slice(0, 4).join(''));
  Object.assign(spot.style, { left: `${clamp(x) * 100}%`, top: `${clamp(y) * 100}%` });
  layer.append(spot);
}

function clamp(value) {
  return Math.min(1, Math.max(0, value));
}
