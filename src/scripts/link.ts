// The loader's part: a program for the address where it will lie, with the values that it left open.

import type { Patch, ScriptsProgram } from './program.ts';

export interface LinkOptions {
  /** Bus address of the program's first word. */
  readonly base: number;
  /** A value for each EXTERNAL, and a base for each RELATIVE symbol. */
  readonly values?: Readonly<Record<string, number>>;
}

/** The words to load. Throws RangeError where a value is missing, unknown to the program, or too large. */
export function link(program: ScriptsProgram, { base, values = {} }: LinkOptions): Uint32Array {
  const words = program.words.slice();
  for (const at of program.relocations) words[at] = (words[at] as number) + base;
  for (const name of Object.keys(values)) {
    if (program.unresolved[name] === undefined)
      throw new RangeError(`${program.file} leaves no "${name}" open`);
  }
  for (const [name, { uses }] of Object.entries(program.unresolved)) {
    const value = values[name];
    if (value === undefined) throw new RangeError(`${program.file} needs a value for "${name}"`);
    for (const patch of uses) addTo(words, patch, value, name);
  }
  return words;
}

function addTo(words: Uint32Array, { at, shift, bits }: Patch, value: number, name: string): void {
  const word = words[at] as number;
  const size = 2 ** bits;
  const mask = ((size - 1) * 2 ** shift) >>> 0;
  const sum = ((word & mask) >>> shift) + value;
  if (sum < 0 || sum >= size)
    throw new RangeError(`"${name}" is ${value}: it does not fit into ${bits} bits`);
  words[at] = ((word & ~mask) | (sum * 2 ** shift)) >>> 0;
}
