// How a program is printed, and words are read back.

import type { ScriptsProgram } from './program.ts';

/** A program as a JSON object: words as numbers, the rest as ScriptsProgram has it. */
export function toJson(program: ScriptsProgram): string {
  return `${JSON.stringify({ ...program, words: [...program.words] }, null, 2)}\n`;
}

/** One instruction of hex words a line. */
export function toHex(program: ScriptsProgram): string {
  const lines = program.lines.map(({ at, words }) => hexWords(program.words, at, words));
  return `${lines.join('\n')}\n`;
}

/** Offset, words and source side by side, as a comment-free table for reading. */
export function toListing(program: ScriptsProgram, source: string): string {
  const byLine = new Map<number, { at: number; words: number }>();
  for (const { line, at, words } of program.lines) {
    const before = byLine.get(line);
    byLine.set(line, before === undefined ? { at, words } : { at: before.at, words: before.words + words });
  }
  const lines = source
    .replace(/\r?\n$/, '')
    .split(/\r\n|\n|\r/)
    .map((text, index) => {
      const made = byLine.get(index + 1);
      const offset = made === undefined ? '' : (4 * made.at).toString(16).padStart(4, '0');
      const words = made === undefined ? '' : hexWords(program.words, made.at, made.words);
      return `${String(index + 1).padStart(5)}  ${offset.padEnd(4)}  ${words.padEnd(26)}  ${text}`.trimEnd();
    });
  for (const [name, at] of Object.entries(program.entries))
    lines.push(`entry       ${at.toString(16).padStart(4, '0')}  ${name}`);
  for (const [name, { kind, uses }] of Object.entries(program.unresolved)) {
    const places = uses.map(({ at }) => (4 * at).toString(16).padStart(4, '0'));
    lines.push(`${kind.padEnd(10)}        ${name}  used at ${places.join(' ') || 'no place'}`);
  }
  return `${lines.join('\n')}\n`;
}

function hexWords(words: Uint32Array, at: number, count: number): string {
  return Array.from(words.subarray(at, at + count), (word) => word.toString(16).padStart(8, '0')).join(' ');
}

export interface ReadWords {
  readonly words: Uint32Array;
  readonly labels: Readonly<Record<string, number>>;
}

/** What toJson() and toHex() print. Throws SyntaxError, which says what was read instead. */
export function readWords(text: string): ReadWords {
  if (/^\s*\{/.test(text)) return readJson(text);
  const words = text
    .replace(/[;#].*$/gm, '')
    .split(/[\s,]+/)
    .filter((word) => word !== '')
    .map((word) => {
      const digits = word.replace(/^0x/i, '');
      if (!/^[\da-f]{1,8}$/i.test(digits)) throw new SyntaxError(`"${word}" is no hex word of 32 bits`);
      return Number.parseInt(digits, 16);
    });
  return { words: Uint32Array.from(words), labels: {} };
}

function readJson(text: string): ReadWords {
  const value = JSON.parse(text) as { words?: unknown; labels?: unknown };
  const { words, labels } = value;
  const isWord = (word: unknown): boolean => Number.isInteger(word) && (word as number) >>> 0 === word;
  if (!Array.isArray(words) || !words.every(isWord))
    throw new SyntaxError('"words" must be an array of numbers of 32 bits');
  const named = typeof labels === 'object' && labels !== null ? Object.entries(labels) : [];
  const good = named.filter(([name, at]) => /^[a-z_][\w.]*$/i.test(name) && Number.isInteger(at));
  return { words: Uint32Array.from(words as number[]), labels: Object.fromEntries(good) };
}
