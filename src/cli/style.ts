// Colour and numbers, for people. Colour only on a terminal, and never with NO_COLOR.

import picocolors from 'picocolors';

export type Paint = ReturnType<typeof picocolors.createColors>;

/** Colours for a stream; plain where it is no terminal, NO_COLOR is set or TERM is `dumb`. */
export function paintFor(stream: { readonly isTTY?: boolean }): Paint {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  const wanted = FORCE_COLOR !== undefined && FORCE_COLOR !== '0' && FORCE_COLOR !== '';
  const forbidden = (NO_COLOR !== undefined && NO_COLOR !== '') || TERM === 'dumb';
  return picocolors.createColors(!forbidden && (wanted || stream.isTTY === true));
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
