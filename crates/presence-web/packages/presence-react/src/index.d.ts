/** The types of `presence-react`. Its manual is `docs/react.md`. */

import type { ComponentPropsWithoutRef, ReactElement, ReactNode } from 'react';
import type { Channel, Connection, Cursor, Member, Mode, Options, PlaceState, Presence, Self, UserStatus } from 'presence-client';

/** Options of `connect()`, or a client, and the room that hooks and components below are about. */
export interface PresenceProviderProps extends Omit<Options, 'autoConnect'> {
  /** A client of your own: the provider neither connects nor closes it. */
  client?: Presence;
  /** The room of hooks and components that name none. */
  channel?: string;
  /** Your meta in that room. */
  meta?: object;
  children?: ReactNode;
}

/**
 * Makes a client, and keeps it connected while it is mounted. With `client` it uses that one; within another provider and with nothing
 * but a `channel` and a `meta` it uses the client of that. Another `url`, `userId`, `workspace` or `deviceId` is another client.
 */
export function PresenceProvider(props: PresenceProviderProps): ReactElement;

/** The client of the nearest provider. */
export function usePresence(): Presence;

/**
 * The room called `channel`, or that of the provider: you are in it while the component is mounted. The object stays the same, and
 * rendering again is left to the other hooks.
 */
export function useRoom<Meta extends object = Record<string, unknown>>(channel?: string, options?: { meta?: Meta; mode?: Mode }): Channel<Meta>;

/** What `select` makes of the state of a room. It renders again only when that is something else. */
export function useRoomState(): PlaceState;
export function useRoomState<Selected>(select: (state: PlaceState) => Selected, channel?: string): Selected;

/** What `select` makes of the others in a room, who are in the order they came. It renders again only when that is something else. */
export function useOthers(): readonly Member[];
export function useOthers<Selected>(select: ((others: readonly Member[]) => Selected), channel?: string): Selected;

/** What `select` makes of the truth about yourself; that is `null` before the first connection. */
export function useSelf(): Self | null;
export function useSelf<Selected>(select: (self: Self | null) => Selected): Selected;

/** How many people are in a room, you among them. */
export function useCount(channel?: string): number;

/** Who is typing in a room, without yourself, and what to call at every key. */
export function useTyping(channel?: string): {
  readonly users: readonly { readonly id: string; readonly name: string }[];
  /** `typing(false)` stops at once; anything else is one more key. */
  readonly typing: (active?: unknown) => void;
};

/** A cursor, and whose it is. */
export interface Pointer extends Cursor {
  readonly name: string;
  readonly color?: string;
}

/** Who points where in a room, without yourself, at most once a frame; and what to call when you point. */
export function useCursors(channel?: string): {
  readonly cursors: readonly Pointer[];
  /** Places that mean the same on every screen, such as 0 to 1. `point(null)` hides your cursor. */
  readonly point: { (x: number, y: number): void; (hidden: null): void };
};

/** What others may see of one person, wherever they are. */
export function useStatus(userId: string): UserStatus;

/** Where the connection stands. */
export function useConnection(): Connection;

/** The faces of who is in the room: `max` of them (5), and how many more there are. */
export function AvatarStack(props: { channel?: string; max?: number; size?: number } & ComponentPropsWithoutRef<'ul'>): ReactElement;
/** One face: a picture, or initials on the person's colour. */
export function Avatar(props: { user: Pick<Member, 'name'> & Partial<Member>; size?: number } & ComponentPropsWithoutRef<'span'>): ReactElement;
/** An area in which everybody sees where the others point. */
export function Cursors(props: { channel?: string } & ComponentPropsWithoutRef<'div'>): ReactElement;
/** "Bob is typing", or nothing. */
export function TypingLine(props: { channel?: string } & ComponentPropsWithoutRef<'p'>): ReactElement;
/** One person's status as a dot with a name. */
export function StatusDot(props: { userId: string; size?: number } & ComponentPropsWithoutRef<'span'>): ReactElement;
/** Chooses your own status. */
export function StatusPicker(props: Omit<ComponentPropsWithoutRef<'select'>, 'value'>): ReactElement;
/** `children` with a card about `userId`, which is shown while they are pointed at or have the focus. */
export function HoverCard(props: { userId: string; name?: string } & ComponentPropsWithoutRef<'span'>): ReactElement;
