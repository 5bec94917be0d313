/*
 * Presence for React: hooks and components that show who is here and what they are doing. `docs/react.md` is its manual.
 */

export { HoverCard } from './card.js';
export { Avatar, AvatarStack, Cursors, StatusDot, StatusPicker, TypingLine } from './components.js';
export { useConnection, useCount, useCursors, useOthers, useRoom, useRoomState, useSelf, useStatus, useTyping } from './hooks.js';
export { PresenceProvider, usePresence } from './provider.js';
