// Colour, numbers and names, for people. Colour on a terminal, never with NO_COLOR, always with FORCE_COLOR.

import { isAbsolute, relative } from 'node:path';
import picocolors from 'picocolors';

export type Paint = ReturnType<typeof picocolors.createColors>;

/** Colours for a stream. NO_COLOR wins, then FORCE_COLOR (`0`: none), then what the terminal is. */
export function paintFor(stream: { readonly isTTY?: boolean }): Paint {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  if ((NO_COLOR ?? '') !== '') return picocolors.createColors(false);
  if ((FORCE_COLOR ?? '') !== '') {
    return picocolors.createColors(FORCE_COLOR !== '0' && FORCE_COLOR !== 'false');
  }
  return picocolors.createColors(stream.isTTY === true && TERM !== 'dumb');
}

const LONGEST_NAME = 200;

/** A name or message on one line of a terminal: control characters become `?`, the middle of a long one `…`. */
export function oneLine(text: string, longest = Number.POSITIVE_INFINITY): string {
  const clean = text.replace(/\p{Cc}/gu, '?');
  if (clean.length <= longest) return clean;
  const half = Math.floor(longest / 2);
  return `${clean.slice(0, half)}…${clean.slice(-half)}`;
}

/** A path as people would write it here: relative where it lies below the current folder. */
export function formatPath(path: string): string {
  const below = relative('', path);
  const outside = below === '' || below.startsWith('..') || isAbsolute(below) || !isAbsolute(path);
  return oneLine(outside ? path : below, LONGEST_NAME);
}

/** `64 KiB`, `3.2 MiB`, `17 bytes`. */
export function formatBytes(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  if (unit === 0) return bytes === 1 ? '1 byte' : `${bytes} bytes`;
  const digits = Number.isInteger(value) ? 0 : 1;
  return `${value.toFixed(digits)} ${units[unit]}`;
}

/** `60,532`. */
export function formatCount(count: number): string {
  return count.toLocaleString('en-US');
}

/** `1.204 ms`, of virtual time. */
export function formatNs(ns: number): string {
  if (ns < 1_000) return `${ns} ns`;
  if (ns < 1_000_000) return `${(ns / 1e3).toFixed(1)} µs`;
  return ns < 1e9 ? `${(ns / 1e6).toFixed(3)} ms` : `${(ns / 1e9).toFixed(3)} s`;
}

/** `1 page`, `16 pages`. */
export function plural(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? '' : 's'}`;
}

/** A physical address with its high half set apart: `1_04000000`, `00fe0000`. */
export function formatAddress(address: number): string {
  const low = (address % 2 ** 32).toString(16).padStart(8, '0');
  const high = Math.floor(address / 2 ** 32);
  return high === 0 ? low : `${high.toString(16)}_${low}`;
}
