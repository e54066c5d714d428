// Option strings such as `if=none,id=d0,file=a,,b.img`: keys and values as the emulators' command lines have them.

import { QtestError } from './errors.ts';
import { parseLoose } from './qmp/json-stream.ts';

/** Values by key, in the order in which they were given; the last of the same key counts. */
export type Options = ReadonlyMap<string, string>;

/**
 * Takes `text` apart at its commas; two commas are one that belongs to the value. A first part without `=` is the value of
 * `implied`; a later one is a switch, `on`, or `off` where it begins with `no`.
 */
export function parseOptions(text: string, implied: string | null = null): Map<string, string> {
  const options = new Map<string, string>();
  const parts = text
    .replaceAll(',,', '\0')
    .split(',')
    .map((part) => part.replaceAll('\0', ','));
  for (const [i, part] of parts.entries()) {
    if (part === '') continue;
    const equals = part.indexOf('=');
    if (equals > 0) options.set(part.slice(0, equals), part.slice(equals + 1));
    else if (i === 0 && implied !== null) options.set(implied, part);
    else if (part.startsWith('no') && part.length > 2) options.set(part.slice(2), 'off');
    else options.set(part, 'on');
  }
  return options;
}

/** A JSON object as options: what is nested gets keys with dots, as `file.driver`. Throws QtestError. */
export function flattenOptions(value: unknown, what: string): Map<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new QtestError(`${what}: an object is needed`);
  }
  const options = new Map<string, string>();
  const visit = (part: unknown, key: string): void => {
    if (typeof part === 'object' && part !== null) {
      for (const [name, inner] of Object.entries(part)) visit(inner, key === '' ? name : `${key}.${name}`);
    } else if (typeof part === 'boolean') options.set(key, part ? 'on' : 'off');
    else if (typeof part === 'string' || typeof part === 'number') options.set(key, String(part));
  };
  visit(value, '');
  return options;
}

/** `text` as an option string or, where it begins with a brace, as JSON. Throws QtestError. */
export function readOptions(text: string, implied: string | null, what: string): Map<string, string> {
  if (!text.trimStart().startsWith('{')) return parseOptions(text, implied);
  let value: unknown;
  try {
    value = parseLoose(text);
  } catch (error) {
    throw new QtestError(`${what}: it is no JSON: ${(error as Error).message}`);
  }
  return flattenOptions(value, what);
}

/** on/off, yes/no, true/false, y/n. Throws QtestError. */
export function toSwitch(value: string, what: string): boolean {
  if (['on', 'yes', 'true', 'y'].includes(value)) return true;
  if (['off', 'no', 'false', 'n'].includes(value)) return false;
  throw new QtestError(`${what} is "${value}"; it must be on or off`);
}

/** A whole number, decimal or with 0x. Throws QtestError. */
export function toNumber(value: string, what: string, min: number, max: number): number {
  const number = /^(?:\d+|0x[\da-f]+)$/i.test(value) ? Number(value) : Number.NaN;
  if (Number.isSafeInteger(number) && number >= min && number <= max) return number;
  throw new QtestError(`${what} is "${value}"; it must be a whole number from ${min} to ${max}`);
}

const UNITS = ['b', 'k', 'm', 'g', 't', 'p'] as const;

/** A size such as 512, 64K, 2G; a bare number counts in `unit`. Bytes. Throws QtestError. */
export function toSize(value: string, what: string, unit: (typeof UNITS)[number] = 'b'): number {
  const match = /^(\d+(?:\.\d+)?|0x[\da-f]+)([bkmgtp]?)$/i.exec(value);
  const letter = match?.[2]?.toLowerCase() ?? '';
  const scale = UNITS.findIndex((name) => name === (letter === '' ? unit : letter));
  const bytes = match === null ? Number.NaN : Number(match[1]) * 1024 ** scale;
  if (Number.isSafeInteger(bytes)) return bytes;
  throw new QtestError(`${what} is "${value}", which is no size; write bytes, or 64K, 32M, 2G`);
}

/** ` (did you mean "nvme"?)` where exactly one of `known` begins alike, else nothing. */
export function near(wrong: string, known: Iterable<string>): string {
  const alike = [...known].filter((name) => name.startsWith(wrong.slice(0, 3)) && name !== wrong);
  return alike.length > 0 && alike.length <= 3
    ? ` (did you mean ${alike.map((name) => `"${name}"`).join(' or ')}?)`
    : '';
}
