/* What happens right now, on all gateways, with a filter that the gateways apply. */

import { $, h } from '../page/html.js';
import { ask } from './asking.js';
import { open } from './opening.js';
import { moment } from './words.js';

const LINES_MAX = 300;
/** Nodes do not look at their clocks at the same moment: what is a little older is asked for again. */
const OVERLAP_MS = 3_000;
/** How far back the first lines go. */
const FIRST_MS = 600_000;
const TYPED_MS = 250;

export class Live {
  #seen = new Set();
  #lines = [];
  #after = null;
  #isPaused = false;
  #filter = '';
  #isRefused = false;

  constructor(refresh) {
    $('live-pause').onclick = () => {
      this.#isPaused = !this.#isPaused;
      $('live-pause').setAttribute('aria-pressed', this.#isPaused);
      $('live-pause').textContent = this.#isPaused ? 'Go on' : 'Pause';
      if (!this.#isPaused) refresh();
    };
    let typing;
    const changed = () => {
      clearTimeout(typing);
      typing = setTimeout(() => {
        this.#begin();
        refresh();
      }, TYPED_MS);
    };
    $('live-text').oninput = changed;
    $('live-kind').onchange = changed;
    $('live-filter').onsubmit = (event) => {
      event.preventDefault();
      changed();
    };
  }

  /** A gateway without a key would tell everybody who hides. */
  refuse() {
    this.#isRefused = true;
    $('live-note').textContent = 'What happens says who hides, so it is told only where the gateway has a key.';
  }

  #begin() {
    this.#filter = [$('live-text').value.trim(), $('live-kind').value].filter(Boolean).join(' ');
    this.#after = null;
    this.#seen.clear();
    this.#lines = [];
    $('live').replaceChildren();
  }

  /** Asks for what is new. `now` is the time of the gateway. */
  async look(now) {
    if (this.#isPaused || this.#isRefused) return;
    const filter = this.#filter;
    const after = this.#after ?? now - FIRST_MS;
    const answer = await ask('/admin/api/transitions', { after_ms: after, filter });
    if (filter !== this.#filter || this.#isPaused) return;
    this.#after = Math.max(after, answer.asked_at_ms - OVERLAP_MS);
    const fresh = answer.transitions.filter((line) => {
      const key = [line.at_ms, line.gateway, line.user_id, line.session, line.what, line.channel, line.text].join('\n');
      if (this.#seen.has(key)) return false;
      this.#seen.add(key);
      line.key = key;
      return true;
    });
    $('live-note').textContent = this.#note(answer);
    if (!fresh.length) return;
    this.#lines = [...fresh.map((line) => ({ ...line, element: row(line) })), ...this.#lines].sort((a, b) => b.at_ms - a.at_ms);
    for (const { key, element } of this.#lines.splice(LINES_MAX)) {
      element.remove();
      // What is older than what is asked for comes no more.
      this.#seen.delete(key);
    }
    this.#place();
  }

  /** Puts the lines in order, and leaves those that are there where they are. */
  #place() {
    const list = $('live');
    let next = list.firstElementChild;
    for (const { element } of this.#lines) {
      if (element === next) next = next.nextElementSibling;
      else list.insertBefore(element, next);
    }
  }

  #note({ is_cut: isCut, is_recorded: isRecorded, silent }) {
    if (!isRecorded) return 'Nothing is recorded: limits.history_bytes_max is 0 on this gateway.';
    const said = [];
    if (silent.length) said.push(`No answer from ${silent.join(', ')}.`);
    if (isCut) said.push('More happens than is shown: a filter helps.');
    return said.join(' ');
  }
}

function row(line) {
  const person = h('button.link', { type: 'button', onclick: () => open('user', line.user_id) }, line.user_id);
  const room = line.channel && h('button.link', { type: 'button', onclick: () => open('room', line.channel) }, line.channel);
  const where = [line.gateway, line.cause?.replaceAll('_', ' ')].filter(Boolean).join(' · ');
  return h('li', { testid: 'line', data: { what: line.what } },
    h('time', { dateTime: new Date(line.at_ms).toISOString() }, moment(line.at_ms)),
    h('span.text', {}, person, ': ', line.text.replace(/^./, (first) => first.toLowerCase())),
    h('span.where', {}, where, room && ' · ', room));
}
