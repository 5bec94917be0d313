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

  $('presets').append(...presets.map(([sign, text]) => h('button', {
    type: 'button',
    onclick: () => {
      emoji.value = sign;
      message.value = text;
      touch();
      message.focus();
    },
  }, `${sign} ${text}`)));

  /** A time is asked for only where it is wanted; it begins an hour from now. */
  const showCustom = () => {
    const isCustom = clear.value === 'custom';
    $('status-custom-row').hidden = !isCustom;
    custom.required = isCustom;
    if (isCustom && !custom.value) custom.value = local(presence.now() + 3_600_000);
    custom.min = local(presence.now());
  };

  const show = (self) => {
    form.dataset.status = self.status;
    invisible.checked = self.status === 'invisible' || self.status === 'offline';
    if (!invisible.checked) shown = self;
    if (untouched) {
      form.elements.status.value = shown?.status ?? 'online';
      emoji.value = self.emoji ?? '';
      message.value = self.customMessage ?? '';
      if (!self.expiresAt) clear.value = 'never';
      showCustom();
    }
    clearInterval(clock);
    const count = () => {
      $('status-until').textContent = self.expiresAt ? until(self.expiresAt, presence.now()) : '';
    };
    count();
    if (self.expiresAt) clock = setInterval(count, 1_000);
  };

  const tell = async (change) => {
    const problem = $('status-problem');
    const before = touches;
    try {
      await presence.setStatus(change);
      problem.hidden = true;
      untouched ||= touches === before; // what was written since is not told yet
      if (presence.self) show(presence.self);
    } catch (error) {
      problem.textContent = error.retryAfter ? `${error.message}. Try again in a moment.` : error.message;
      problem.hidden = false;
      if (presence.self) show(presence.self);
    }
  };

  form.oninput = () => {
    touch();
    showCustom();
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
  invisible.onchange = () => tell(invisible.checked ? { status: 'invisible' } : comingBack());

  /** Hiding has no end, or it would end with your lunch. So what was to end then is said again when you come back. */
  const comingBack = () => {
    const status = form.elements.status.value;
    const expiresAt = presence.self?.expiresAt ?? shown?.expiresAt;
    if (expiresAt && expiresAt <= presence.now()) return { status: 'online', emoji: null, customMessage: null };
    return { status, expiresAt };
  };

  if (presence.self) show(presence.self);
  presence.on('self', show);
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
