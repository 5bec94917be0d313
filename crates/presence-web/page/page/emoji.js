/* The emoji to choose from. Any other can be typed into the field. */

import { $, h } from './dom.js';

const groups = [
  ['Work', '🎯 💻 📝 📅 📞 🎧 🔍 🧪 🐛 🚀 🎨 📚 ✍️ 🤝 🧠 🛠️'],
  ['Away', '🥪 ☕ 🍵 🏃 🚶 🚌 🚲 🚗 ✈️ 🏠 🌴 🤒 🩺 💤 🌙 👶'],
  ['Mood', '🙂 😀 😊 😎 🤔 😴 🥳 🤗 😅 🙏 💪 👋 👀 ❤️ 🔥 ✨'],
];

/** The popover beside the field `input`. `chosen` is called after each choice. */
export function showEmoji(input, chosen) {
  const picker = $('emoji-picker');
  const opener = $('emoji-open');
  $('emoji-grid').replaceChildren(...groups.flatMap(([title, emoji]) => [
    h('p.emoji-title', {}, title),
    h('div.emoji-row', { role: 'group', ariaLabel: title }, emoji.split(' ').map((sign) => h('button', {
      type: 'button',
      onclick: () => {
        input.value = sign;
        picker.hidePopover();
        chosen();
      },
    }, sign))),
  ]));
  picker.addEventListener('toggle', ({ newState }) => {
    const isOpen = newState === 'open';
    opener.setAttribute('aria-expanded', String(isOpen));
    if (!isOpen) return;
    const { left, bottom, top } = input.getBoundingClientRect();
    const { width, height } = picker.getBoundingClientRect();
    picker.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
    picker.style.top = `${bottom + 6 + height <= innerHeight ? bottom + 6 : Math.max(8, top - 6 - height)}px`;
    picker.querySelector('button').focus();
  });
  picker.addEventListener('keydown', (event) => {
    const buttons = [...picker.querySelectorAll('button')];
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -8, ArrowDown: 8 }[event.key];
    if (!step) return;
    event.preventDefault();
    buttons[buttons.indexOf(document.activeElement) + step]?.focus();
  });
}
