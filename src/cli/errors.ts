// What goes wrong on the command line, and the exit status that says so.

import { closest, distance } from 'fastest-levenshtein';

export const EXIT_FINE = 0;
/** The guard found something, or the data differ. */
export const EXIT_FOUND = 1;
export const EXIT_USAGE = 2;
/** Our own fault. */
export const EXIT_FAULT = 3;
/** Ended by Ctrl-C (128 + SIGINT). */
export const EXIT_INTERRUPTED = 130;

/** The person at the keyboard can put it right: one line on stderr, exit status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** ` (did you mean "ahci"?)` where one of `known` is near, else the list of what there is. */
export function suggest(wrong: string, known: readonly string[]): string {
  if (known.length === 0) return '';
  const nearest = closest(wrong, known);
  if (distance(wrong, nearest) <= Math.max(2, Math.floor(nearest.length / 3))) {
    return ` (did you mean "${nearest}"?)`;
  }
  return `; there are ${known.map((name) => `"${name}"`).join(', ')}`;
}

/** A number of bytes such as `4096`, `64K`, `32MiB`, `2G`. Throws UsageError. */
export function parseSize(text: string, option: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?$/i.exec(text);
  const unit = ['', 'k', 'm', 'g', 't'].indexOf((match?.[2] ?? '').toLowerCase());
  const bytes = match === null ? Number.NaN : Number(match[1]) * 1024 ** unit;
  if (!Number.isSafeInteger(bytes) || bytes <= 0) {
    throw new UsageError(`${option} "${text}" is no size; write bytes, or 64K, 32M, 2G`);
  }
  return bytes;
}

/** A whole number from `min` to `max`. Throws UsageError. */
export function parseWhole(text: string, option: string, min: number, max: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < min || value > max) {
    throw new UsageError(`${option} "${text}" must be a whole number from ${min} to ${max}`);
  }
  return value;
}
