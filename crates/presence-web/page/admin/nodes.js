/* The gateways: state, lease, levels, and pictures of the last hour. */

import { $, arrange, h } from '../page/html.js';
import { act } from './acting.js';
import { Chart } from './chart.js';
import { bytes, cores, count, milliseconds, perSecond, span, stateName } from './words.js';

const HOUR_MS = 3_600_000;

/** The column of the samples, the level now, what it is called, and how it is written. */
const CHARTS = [
  ['connections', 'connections', 'Connections', count],
  ['users', 'users', 'People online', count],
  ['opened', 'opened_per_second', 'Connects', perSecond],
  ['frames_in', 'frames_in_per_second', 'Frames in', perSecond],
  ['frames_out', 'frames_out_per_second', 'Frames out', perSecond],
  ['queued_bytes', 'queued_bytes', 'Send queues', bytes],
  ['mailboxes', 'mailboxes', 'Mailboxes', count],
  ['webhooks_waiting', 'webhooks_waiting', 'Webhooks waiting', count],
  ['cpu', 'cpu', 'CPU, of one core', cores],
  ['memory_bytes', 'memory_bytes', 'Memory', bytes],
  ['store_ms', 'store_ms', 'Redis call', milliseconds],
];

class NodeCard {
  #samples = [];
  #charts = CHARTS.map(([column, level, name, format]) => ({ column, level, chart: new Chart(name, format) }));
  #name = h('h3');
  #state = h('span.state');
  #facts = h('p.node-facts');
  #span = h('p.node-facts');
  #drain = h('button.quiet.small', { type: 'button' }, 'Drain');
  #node;
  element;

  constructor() {
    this.#drain.onclick = () => this.#askDrain();
    this.element = h('li.card.node', {},
      h('div.node-head', {}, this.#name, this.#state, h('div.actions', {}, this.#drain)),
      this.#facts,
      h('div.charts', {}, ...this.#charts.map(({ chart }) => chart.element)),
      this.#span);
  }

  get lastSample() {
    return this.#samples.at(-1)?.[0] ?? 0;
  }

  show(node, columns, now, store) {
    this.#node = node;
    Object.assign(this.element.dataset, { state: node.state, testid: `node-${node.name}` });
    this.#name.textContent = node.name;
    this.#state.textContent = stateName(node.state);
    this.#state.dataset.state = node.state;
    this.#facts.textContent = facts(node, now).join(' · ');
    this.#drain.hidden = ['dead', 'draining', 'unknown'].includes(node.state);
    this.#drain.setAttribute('aria-label', `Drain ${node.name}`);
    const last = this.lastSample;
    const fresh = node.samples.filter(([at]) => at > last);
    if (fresh.length) this.#samples = [...this.#samples, ...fresh].filter(([at]) => at > fresh.at(-1)[0] - HOUR_MS);
    const [first, end] = [this.#samples[0]?.[0], this.lastSample];
    this.#span.textContent = first < end ? `The pictures show the last ${span(end - first)}.` : '';
    for (const { column, level, chart } of this.#charts) {
      const at = columns.indexOf(column);
      chart.element.hidden = column === 'store_ms' && store === 'none';
      chart.show(node.levels?.[level], this.#samples.map(([moment, values]) => ({ at: moment, value: values[at] })));
    }
  }

  #askDrain() {
    const { id, name } = this.#node;
    act({
      title: `Drain ${name}?`,
      text: 'It lets nobody in, tells its clients to come back elsewhere, and ends its process once they are gone. What runs it may start it again.',
      button: 'Drain',
      path: `/admin/api/nodes/${encodeURIComponent(id ?? name)}/drain`,
      done: `${name} is stopping`,
    });
  }
}

function facts(node, now) {
  const said = [];
  if (node.is_me) said.push('answers this page');
  if (node.version) said.push(`version ${node.version}`);
  if (node.started_at_ms) said.push(`up ${span(now - node.started_at_ms)}`);
  const { lease_until_ms: until } = node;
  if (node.state === 'dead') said.push(`dead for ${span(now - until)}`);
  else if (until > now) said.push(`lease ${span(until - now)}`);
  else if (until) said.push(`lease ended ${span(now - until)} ago`);
  if (node.heard_ms && !node.is_me && node.state !== 'alive') said.push(`last heard ${span(now - node.heard_ms)} ago`);
  return said;
}

export class Nodes {
  #cards = new Map();

  /** The moment after which samples are wanted: what every gateway has sent by then is here. */
  get after() {
    const lasts = [...this.#cards.values()].filter((card) => card.element.dataset.state === 'alive').map((card) => card.lastSample);
    return lasts.length ? Math.min(...lasts) : 0;
  }

  show(overview) {
    const { nodes, columns, store, asked_at_ms: now } = overview;
    const before = this.#cards;
    this.#cards = new Map(nodes.map((node) => {
      const key = node.id ?? node.name;
      return [key, before.get(key) ?? new NodeCard()];
    }));
    for (const node of nodes) this.#cards.get(node.id ?? node.name).show(node, columns, now, store);
    arrange($('nodes'), [...this.#cards.values()].map(({ element }) => element));
  }
}
