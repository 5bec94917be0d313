/* What you chose to show, until when, and whether you show at all. */

import { $, h } from './dom.js';
import { showEmoji } from './emoji.js';

const presets = [['🎯', 'Focusing'], ['📅', 'In a meeting'], ['🥪', 'Lunch'], ['🚌', 'On the way']];

export function showStatus(presence) {
  const form = $('status-form');
  const { emoji, message, clear, custom } = form.elements;
  const invisible = $('invisible');
  let untouched = true; // what you are writing is not overwritten by what your other tab says
  let touches = 0;
  const touch = () => {
    untouched = false;
    touches += 1;
  };
  let shown = null; // what others saw last: while you hide it waits here
  let clock;

  offerPresets((sign, text) => {
    emoji.value = sign;
    message.value = text;
    touch();
    message.focus();
  });

  const show = (self) => {
    form.dataset.status = self.status;
    invisible.checked = self.status === 'invisible' || self.status === 'offline';
    if (!invisible.checked) shown = self;
    if (untouched) {
      form.elements.status.value = shown?.status ?? 'online';
      emoji.value = self.emoji ?? '';
      message.value = self.customMessage ?? '';
      if (!self.expiresAt) clear.value = 'never';
      showCustom(clear, custom, presence.now());
    }
    clearInterval(clock);
    clock = countDown(self.expiresAt, presence);
  };

  const tell = async (change) => {
    const before = touches;
    try {
      await presence.setStatus(change);
      showProblem(null);
      untouched ||= touches === before; // what was written since is not told yet
    } catch (error) {
      showProblem(error);
    }
    if (presence.self) show(presence.self);
  };

  form.oninput = () => {
    touch();
    showCustom(clear, custom, presence.now());
  };
  showEmoji(emoji, () => {
    touch();
    message.focus();
  });
  form.onsubmit = (event) => {
    event.preventDefault();
    if (invisible.checked) shown = { status: form.elements.status.value };
    tell({
      // Invisible stays invisible: only the switch ends it.
      status: invisible.checked ? undefined : form.elements.status.value,
      emoji: emoji.value.trim() || null,
      customMessage: message.value.trim() || null,
      ...ending(clear.value, custom.value, presence.now()),
    });
  };
  $('status-reset').onclick = () => {
    if (invisible.checked) shown = null;
    tell({ status: invisible.checked ? undefined : 'online', emoji: null, customMessage: null, expiresAt: null });
  };
  invisible.onchange = () => {
    const expiresAt = presence.self?.expiresAt ?? shown?.expiresAt;
    const back = comingBack(form.elements.status.value, expiresAt, presence.now());
    tell(invisible.checked ? { status: 'invisible' } : back);
  };

  if (presence.self) show(presence.self);
  presence.on('self', show);
}

/** Shows a button for each preset. `pick` gets the emoji and the message of the one that is clicked. */
function offerPresets(pick) {
  $('presets').append(...presets.map(([sign, text]) => h('button', {
    type: 'button',
    onclick: () => pick(sign, text),
  }, `${sign} ${text}`)));
}

/** A time is asked for only if it is wanted; it begins an hour from now. */
function showCustom(clear, custom, now) {
  const isCustom = clear.value === 'custom';
  $('status-custom-row').hidden = !isCustom;
  custom.required = isCustom;
  if (isCustom && !custom.value) custom.value = local(now + 3_600_000);
  custom.min = local(now);
}

/** Shows how long the status still lasts, anew every second. Returns the interval, if the status has an end. */
function countDown(expiresAt, presence) {
  const count = () => {
    $('status-until').textContent = expiresAt ? until(expiresAt, presence.now()) : '';
  };
  count();
  return expiresAt ? setInterval(count, 1_000) : undefined;
}

/** Shows why a change was refused, or with `null` that it was not. */
function showProblem(error) {
  const problem = $('status-problem');
  problem.hidden = !error;
  if (error) problem.textContent = error.retryAfter ? `${error.message}. Try again in a moment.` : error.message;
}

/** Hiding has no end, or it would end with your lunch. So the end from before is set again when you come back. */
function comingBack(status, expiresAt, now) {
  if (expiresAt && expiresAt <= now) return { status: 'online', emoji: null, customMessage: null };
  return { status, expiresAt };
}

function ending(choice, custom, now) {
  if (choice === 'never') return { expiresAt: null };
  if (choice === 'custom') return { expiresAt: new Date(custom).getTime() };
  if (choice === 'today') return { expiresAt: new Date(now).setHours(24, 0, 0, 0) };
  return { clearAfter: Number(choice) };
}

function until(moment, now) {
  // Rounded: our idea of the gateway's clock is late by what the network takes.
  const seconds = Math.max(0, Math.round((moment - now) / 1_000));
  if (seconds < 60) return `Clears in ${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `Clears in ${minutes} min`;
  const at = new Date(moment);
  const today = at.getTime() <= new Date(now).setHours(24, 0, 0, 0);
  return `Clears ${today ? 'at' : at.toLocaleDateString()} ${at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })}`;
}

/** A moment as fields for a date and a time have it: local, to the minute. */
function local(moment) {
  return new Date(moment - new Date(moment).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
