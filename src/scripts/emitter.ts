// The words of a program while it is assembled: instructions with holes, and the expressions that fill them when
// every label is known.

import { type Expression, PROGRAM, type SymbolEntry, type Symbols } from './expression.ts';
import { type Place, type Problems, StatementError } from './problems.ts';
import type { Patch, ScriptsProgram, SourceLine } from './program.ts';

/** A hole: `bits` wide, `shift` up in its word, for values from `min` to `max`. */
export interface Field {
  readonly what: string;
  readonly shift: number;
  readonly bits: number;
  readonly min: number;
  readonly max: number;
  /** An address in the program: as it is, as distance from the next instruction, or none at all. */
  readonly addresses: 'absolute' | 'relative' | 'none';
  /** It counts from DSA. */
  readonly table?: boolean;
}

function field(what: string, shift: number, bits: number, min: number, max: number): Field {
  return { what, shift, bits, min, max, addresses: 'none' };
}

const WORD = field('an address', 0, 32, -0x80000000, 0xffffffff);
export const ADDRESS: Field = { ...WORD, addresses: 'absolute' };
export const NUMBER: Field = { ...WORD, what: 'a number of 32 bits' };
export const DISTANCE: Field = {
  ...field('a distance', 0, 24, -0x800000, 0x7fffff),
  addresses: 'relative',
};
export const COUNT: Field = field('a count', 0, 24, 0, 0xffffff);
export const TABLE_OFFSET: Field = {
  ...field('an offset from DSA', 0, 24, -0x800000, 0xffffff),
  table: true,
};
export const DATA_BYTE: Field = field('a data byte', 8, 8, -0x80, 0xff);
export const COMPARE: Field = field('a byte to compare with', 0, 8, -0x80, 0xff);
export const MASK: Field = field('a mask', 8, 8, -0x80, 0xff);
export const TARGET_ID: Field = field('a SCSI id', 16, 4, 0, 15);

interface Hole {
  readonly field: Field;
  readonly expression: Expression;
  readonly negate: boolean;
  readonly at: number;
  /** Offsets of the instruction and of the next one. */
  readonly here: number;
  readonly next: number;
  readonly place: Place;
}

export class Emitter {
  readonly #words: number[] = [];
  readonly #holes: Hole[] = [];
  readonly #lines: SourceLine[] = [];

  /** Offset of the next instruction, in bytes. */
  get offset(): number {
    return 4 * this.#words.length;
  }

  /** Writes an instruction; `holes` says by the index of its word what goes where. */
  instruction(place: Place, words: readonly number[], holes: readonly HoleRequest[]): void {
    const at = this.#words.length;
    const here = 4 * at;
    for (const word of words) this.#words.push(word);
    const next = this.offset;
    for (const { word, ...hole } of holes)
      this.#holes.push({ negate: false, ...hole, at: at + word, here, next });
    this.#lines.push({ line: place.line, at, words: words.length });
  }

  /** Fills the holes; what does not fit goes to `problems`. */
  finish(
    file: string,
    symbols: Symbols,
    problems: Problems,
  ): Omit<ScriptsProgram, 'entries' | 'labels' | 'pass'> {
    const words = Uint32Array.from(this.#words);
    const absolutes = new Map<string, number[]>();
    const patches = new Map<string, Patch[]>();
    const relocations = new Set<number>();
    const relatives = new Set<number>();
    const tableOffsets: { at: number; offset: number; name: string }[] = [];
    for (const [name, { kind }] of symbols.entries) {
      if (kind === 'absolute') absolutes.set(name, []);
      else if (kind !== 'label') patches.set(name, []);
    }
    for (const hole of this.#holes) {
      try {
        const names: string[] = [];
        const value = symbols.evaluate(hole.expression, hole.here, (name) => {
          names.push(name);
        });
        const number = fill(words, hole, value.number, value.base);
        for (const name of names) {
          const uses = absolutes.get(name);
          if (uses !== undefined && uses.at(-1) !== hole.at) uses.push(hole.at);
        }
        const { at, field } = hole;
        if (value.base === PROGRAM) (field.addresses === 'relative' ? relatives : relocations).add(at);
        else if (value.base !== '')
          patches.get(value.base)?.push({ at, shift: field.shift, bits: field.bits });
        if (field.table === true) tableOffsets.push({ at, offset: number, name: names[0] ?? '' });
      } catch (error) {
        if (!(error instanceof StatementError)) throw error;
        if (error.message !== '') problems.add(error.place, error.message);
      }
    }
    const entry = (name: string): SymbolEntry => symbols.entries.get(name) as SymbolEntry;
    return {
      file,
      words,
      absolutes: Object.fromEntries(
        Array.from(absolutes, ([name, uses]) => [name, { value: entry(name).value, uses }]),
      ),
      unresolved: Object.fromEntries(
        Array.from(patches, ([name, uses]) => {
          const kind = entry(name).kind === 'external' ? ('external' as const) : ('relative' as const);
          return [name, { kind, value: entry(name).value, uses }];
        }),
      ),
      relocations: [...relocations].sort((a, b) => a - b),
      relatives: [...relatives].sort((a, b) => a - b),
      tableOffsets,
      lines: this.#lines,
    };
  }
}

/** What goes into a word of an instruction. */
export interface HoleRequest {
  readonly word: number;
  readonly field: Field;
  readonly expression: Expression;
  readonly place: Place;
  /** The value with the other sign. */
  readonly negate?: boolean;
}

/** Puts a value into its hole; what went in, with its sign. */
function fill(words: Uint32Array, hole: Hole, number: number, base: string): number {
  const { field, at, next, place } = hole;
  if (field.addresses === 'relative') {
    if (base !== PROGRAM)
      throw new StatementError(place, 'REL() takes a label of this program, or $ and a distance');
    number -= next;
  } else if (base === PROGRAM && field.addresses === 'none') {
    throw new StatementError(place, `${field.what} must be a number, not an address in the program`);
  }
  if (hole.negate) number = -number;
  if (number < field.min || number > field.max) {
    const shown = Math.abs(number) < 10 ? String(number) : `${number} (0x${(number >>> 0).toString(16)})`;
    throw new StatementError(place, `${field.what} is ${shown}; it can be from ${field.min} to ${field.max}`);
  }
  const mask = field.bits === 32 ? 0xffffffff : (1 << field.bits) - 1;
  words[at] = ((words[at] as number) | ((number & mask) << field.shift)) >>> 0;
  return number;
}
